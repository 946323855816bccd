"""How the three products of a layer are products of matrices, and so in which order each of their sums runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import pad

#: [..., M, K] @ [..., K, N] -> [..., M, N], emulated or torch's own.
Multiply = Callable[[Tensor, Tensor], Tensor]


class Geometry(Protocol):
    """The three products of a layer; each is one call of `multiply`, which makes all of its additions."""

    def forward(self, activation: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """The layer's output without bias."""

    def grad_input(self, gradient: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """The gradient of the activation, from that of the output."""

    def grad_weight(self, gradient: Tensor, activation: Tensor, multiply: Multiply) -> Tensor:
        """The gradient of the weight, from that of the output."""


@dataclass(frozen=True)
class LinearGeometry:
    """activation [..., I], weight [O, I], gradient [..., O].

    forward sums over input features, grad_input over output features, grad_weight over samples, which are the leading
    dimensions in C order.
    """

    def forward(self, activation: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[..., O]."""
        product = multiply(activation.reshape(-1, weight.shape[1]), weight.mT)
        return product.reshape(*activation.shape[:-1], weight.shape[0])

    def grad_input(self, gradient: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[..., I]."""
        product = multiply(gradient.reshape(-1, weight.shape[0]), weight)
        return product.reshape(*gradient.shape[:-1], weight.shape[1])

    def grad_weight(self, gradient: Tensor, activation: Tensor, multiply: Multiply) -> Tensor:
        """[O, I]."""
        samples = gradient.shape[:-1].numel()
        return multiply(
            gradient.reshape(samples, gradient.shape[-1]).mT, activation.reshape(samples, activation.shape[-1])
        )


@dataclass(frozen=True)
class Conv2dGeometry:
    """activation [N, C, H, W], weight [O, C / groups, KH, KW], gradient [N, O, OH, OW], each group on its own.

    forward sums over (channel, kernel row, kernel column); grad_weight over (sample, output row, output column);
    grad_input, which is the convolution of the gradient with the rotated kernel, over (output channel, row and column
    of the gradient inside the window). Zeros that pad an activation or lie between the gradients of a stride are
    operands like any others: they take their place in a chunk.

    size: (H, W). padding: zeros (left, right, top, bottom), not negative.
    """

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def output_size(self) -> tuple[int, int]:
        """(OH, OW); not positive where the kernel does not fit."""
        left, right, top, bottom = self.padding
        (height, width), (down, across) = self.size, self._reach
        return (
            (height + top + bottom - down - 1) // self.stride[0] + 1,
            (width + left + right - across - 1) // self.stride[1] + 1,
        )

    @property
    def _reach(self) -> tuple[int, int]:
        """Rows and columns from the first tap of the kernel to its last."""
        return self.dilation[0] * (self.kernel[0] - 1), self.dilation[1] * (self.kernel[1] - 1)

    def forward(self, activation: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[N, O, OH, OW]."""
        filters = weight.reshape(self.groups, weight.shape[0] // self.groups, weight[0].numel())
        return self._image(multiply(self._patches(activation), filters.mT), activation.shape[0], self.output_size)

    def grad_weight(self, gradient: Tensor, activation: Tensor, multiply: Multiply) -> Tensor:
        """[O, C / groups, KH, KW]."""
        samples, outputs, height, width = gradient.shape
        columns = gradient.reshape(samples, self.groups, outputs // self.groups, height * width).permute(1, 2, 0, 3)
        columns = columns.reshape(self.groups, outputs // self.groups, samples * height * width)
        product = multiply(columns, self._patches(activation))
        return product.reshape(outputs, activation.shape[1] // self.groups, *self.kernel)

    def grad_input(self, gradient: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[N, C, H, W]."""
        (height, width), (down, across) = self.size, self._reach
        spread = self._spread(gradient)
        left, top = across - self.padding[0], down - self.padding[2]
        right, bottom = width + across - left - spread.shape[3], height + down - top - spread.shape[2]
        windows = _windows(pad(spread, (left, right, top, bottom)), self.kernel, (1, 1), self.dilation, self.groups)
        outputs, inputs, *_ = weight.shape
        filters = weight.flip(2, 3).reshape(self.groups, outputs // self.groups, inputs, *self.kernel)
        filters = filters.permute(0, 1, 3, 4, 2).reshape(self.groups, windows.shape[2], inputs)
        return self._image(multiply(windows, filters), gradient.shape[0], self.size)

    def _patches(self, activation: Tensor) -> Tensor:
        """What the kernel sees at each output position: [groups, N OH OW, (C / groups) KH KW]."""
        return _windows(pad(activation, self.padding), self.kernel, self.stride, self.dilation, self.groups)

    def _spread(self, gradient: Tensor) -> Tensor:
        """The gradient at the positions that its stride leaves, zeros between them."""
        if self.stride == (1, 1):
            return gradient
        *outer, height, width = gradient.shape
        rows, columns = self.stride
        spread = gradient.new_zeros(*outer, (height - 1) * rows + 1, (width - 1) * columns + 1)
        spread[..., ::rows, ::columns] = gradient
        return spread

    def _image(self, product: Tensor, samples: int, size: tuple[int, int]) -> Tensor:
        """[groups, N H W, channels of a group] as contiguous [N, channels, H, W]."""
        groups, _, channels = product.shape
        image = product.reshape(groups, samples, *size, channels).permute(1, 0, 4, 2, 3)
        return image.reshape(samples, groups * channels, *size).contiguous()


def _windows(
    image: Tensor, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], groups: int
) -> Tensor:
    """Every window of [N, C, H, W] as a row of [groups, N positions, (C / groups) KH KW]; one copy."""
    samples, channels, height, width = image.shape
    rows = (height - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    columns = (width - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    per_group = channels // groups
    n, c, h, w = image.stride()
    view = image.as_strided(
        (groups, samples, rows, columns, per_group, *kernel),
        (c * per_group, n, h * stride[0], w * stride[1], c, h * dilation[0], w * dilation[1]),
    )
    return view.reshape(groups, samples * rows * columns, per_group * kernel[0] * kernel[1])
