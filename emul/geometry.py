"""How the three products of a layer are products of matrices, and so in which order each of their sums runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import torch
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
        product = multiply(_rows(activation), weight.mT)
        return product.reshape(*activation.shape[:-1], weight.shape[0])

    def grad_input(self, gradient: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[..., I]."""
        product = multiply(_rows(gradient), weight)
        return product.reshape(*gradient.shape[:-1], weight.shape[1])

    def grad_weight(self, gradient: Tensor, activation: Tensor, multiply: Multiply) -> Tensor:
        """[O, I]."""
        return multiply(_rows(gradient).mT, _rows(activation))


def _rows(x: Tensor) -> Tensor:
    """[..., F] as [samples, F], also where F is 0."""
    return x.reshape(x.shape[:-1].numel(), x.shape[-1])


@dataclass(frozen=True)
class BatchGeometry:
    """activation [..., M, K], weight [..., N, K], gradient [..., M, N]: a Linear for each leading index.

    forward sums over K, grad_input over N, grad_weight over M, each in ascending order.
    """

    def forward(self, activation: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[..., M, N]."""
        return multiply(activation, weight.mT)

    def grad_input(self, gradient: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[..., M, K]."""
        return multiply(gradient, weight)

    def grad_weight(self, gradient: Tensor, activation: Tensor, multiply: Multiply) -> Tensor:
        """[..., N, K]."""
        return multiply(gradient.mT, activation)


@dataclass(frozen=True)
class GroupGeometry:
    """activation [T, K], weight [E, N, K], gradient [T, N]: a Linear for each group of rows, as experts have.

    ends: where each group's rows end, in ascending order; rows behind the last are in no group, and their products are
    zeros. forward sums over K, grad_input over N, grad_weight over the rows of the group, each in ascending order. Groups
    are filled up with rows of zeros to the length of the longest, and these are operands like any others in grad_weight.
    """

    ends: tuple[int, ...]

    def forward(self, activation: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[T, N]."""
        return self._together(multiply(self._apart(activation), weight.mT), len(activation))

    def grad_input(self, gradient: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[T, K]."""
        return self._together(multiply(self._apart(gradient), weight), len(gradient))

    def grad_weight(self, gradient: Tensor, activation: Tensor, multiply: Multiply) -> Tensor:
        """[E, N, K]."""
        return multiply(self._apart(gradient).mT, self._apart(activation))

    @property
    def _sizes(self) -> list[int]:
        return [end - start for start, end in zip((0, *self.ends), self.ends, strict=False)]

    def _apart(self, rows: Tensor) -> Tensor:
        """[T, F] as [E, longest, F]."""
        longest = max(self._sizes)
        places = torch.full((len(self.ends), longest), len(rows))  # a row of zeros
        for group, (size, end) in enumerate(zip(self._sizes, self.ends, strict=True)):
            places[group, :size] = torch.arange(end - size, end)
        return pad(rows, (0, 0, 0, 1))[places.to(rows.device)]

    def _together(self, product: Tensor, samples: int) -> Tensor:
        """[E, longest, F] as [samples, F]."""
        parts = [one[:size] for one, size in zip(product, self._sizes, strict=True)]
        return pad(torch.cat(parts), (0, 0, 0, samples - self.ends[-1]))


@dataclass(frozen=True)
class ConvGeometry:
    """activation [N, C, *size], weight [O, C / groups, *kernel], gradient [N, O, *output_size], each group on its own.

    forward sums over (channel, kernel position); grad_weight over (sample, output position); grad_input, which is the
    convolution of the gradient with the rotated kernel, over (output channel, position of the gradient inside the
    window); positions in C order. Zeros that pad an activation or lie between the gradients of a stride are operands
    like any others: they take their place in a chunk.

    size, kernel, stride, dilation: one number for each spatial dimension, (H, W) of an image. padding: zeros before
    and after, not negative, the last dimension first, as torch.nn.functional.pad has them: (left, right, top, bottom).
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def output_size(self) -> tuple[int, ...]:
        """(OH, OW) of an image; not positive where the kernel does not fit."""
        return _positions(
            [size + sum(ends) for size, ends in zip(self.size, self._ends, strict=True)],
            self.kernel,
            self.stride,
            self.dilation,
        )

    @property
    def _ends(self) -> list[tuple[int, int]]:
        """(zeros before, zeros after) of each dimension, the first one first."""
        return [(self.padding[i], self.padding[i + 1]) for i in range(len(self.padding) - 2, -1, -2)]

    @property
    def _tail(self) -> tuple[int, ...]:
        """The spatial dimensions of a tensor."""
        return tuple(range(-len(self.size), 0))

    def forward(self, activation: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[N, O, *output_size]."""
        filters = weight.reshape(self.groups, weight.shape[0] // self.groups, weight[0].numel())
        return self._image(multiply(self._patches(activation), filters.mT), activation.shape[0], self.output_size)

    def grad_weight(self, gradient: Tensor, activation: Tensor, multiply: Multiply) -> Tensor:
        """[O, C / groups, *kernel]."""
        samples, outputs, *spatial = gradient.shape
        positions = prod(spatial)
        columns = gradient.reshape(samples, self.groups, outputs // self.groups, positions).permute(1, 2, 0, 3)
        columns = columns.reshape(self.groups, outputs // self.groups, samples * positions)
        product = multiply(columns, self._patches(activation))
        return product.reshape(outputs, activation.shape[1] // self.groups, *self.kernel)

    def grad_input(self, gradient: Tensor, weight: Tensor, multiply: Multiply) -> Tensor:
        """[N, C, *size]."""
        spread = self._spread(gradient)
        padding: list[int] = []
        for i in reversed(self._tail):
            reach = self.dilation[i] * (self.kernel[i] - 1)  # from the first tap of the kernel to its last
            before = reach - self._ends[i][0]
            padding += [before, self.size[i] + reach - before - spread.shape[i]]
        windows = _windows(pad(spread, padding), self.kernel, (1,) * len(self.size), self.dilation, self.groups)
        outputs, inputs, *_ = weight.shape
        filters = weight.flip(self._tail).reshape(self.groups, outputs // self.groups, inputs, *self.kernel)
        filters = filters.movedim(2, -1).reshape(self.groups, windows.shape[2], inputs)
        return self._image(multiply(windows, filters), gradient.shape[0], self.size)

    def _patches(self, activation: Tensor) -> Tensor:
        """What the kernel sees at each output position: [groups, N positions, (C / groups) taps]."""
        return _windows(pad(activation, self.padding), self.kernel, self.stride, self.dilation, self.groups)

    def _spread(self, gradient: Tensor) -> Tensor:
        """The gradient at the positions that its stride leaves, zeros between them."""
        if set(self.stride) == {1}:
            return gradient
        sizes = [(gradient.shape[i] - 1) * self.stride[i] + 1 for i in self._tail]
        spread = gradient.new_zeros(*gradient.shape[:2], *sizes)
        places: tuple[Any, ...] = (..., *(slice(None, None, step) for step in self.stride))
        spread[places] = gradient
        return spread

    def _image(self, product: Tensor, samples: int, size: tuple[int, ...]) -> Tensor:
        """[groups, N positions, channels of a group] as contiguous [N, channels, *size]."""
        groups, _, channels = product.shape
        image = product.reshape(groups, samples, *size, channels).movedim(0, 1).movedim(-1, 2)
        return image.reshape(samples, groups * channels, *size).contiguous()


def _positions(
    size: Sequence[int], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...]:
    """Of each dimension, where a window fits."""
    return tuple(
        (length - gap * (taps - 1) - 1) // step + 1
        for length, taps, step, gap in zip(size, kernel, stride, dilation, strict=True)
    )


def _windows(
    image: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], groups: int
) -> Tensor:
    """Every window of [N, C, *size] as a row of [groups, N positions, (C / groups) taps]; one copy."""
    samples, channels, *size = image.shape
    places = _positions(size, kernel, stride, dilation)
    per_group = channels // groups
    n, c, *inner = image.stride()
    view = image.as_strided(
        (groups, samples, *places, per_group, *kernel),
        (
            c * per_group,
            n,
            *(one * step for one, step in zip(inner, stride, strict=True)),
            c,
            *(one * gap for one, gap in zip(inner, dilation, strict=True)),
        ),
    )
    return view.reshape(groups, samples * prod(places), per_group * prod(kernel))
