"""Convolutions, with their three products emulated."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..culprits import given
from ..geometry import ConvGeometry
from ..operators.checks import widened
from ..recipe import Rule
from .base import Emulated

Sizes = int | tuple[int, ...]


class _Convolution(Emulated):
    """A convolution in as many dimensions as its kernel has, over the namesake in torch.nn."""

    in_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    weight: Tensor
    bias: Tensor | None
    _reversed_padding_repeated_twice: list[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: str | Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        rule: Rule,
        seed: int = 0,
        name: str = "",
    ) -> None:
        arguments = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        super().__init__(*arguments, device, dtype)
        self._start(rule, seed, name)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, *size] -> [N, O, *output size], or both without N."""
        input, weight, bias = widened(input), self.weight, self.bias  # once, as a Linear
        self._check(input, weight)
        dims = len(self.kernel_size)
        title = f"the input of Conv{dims}d {self.emulation.name!r} has shape {list(input.shape)}"
        if input.dim() not in (dims + 1, dims + 2) or input.shape[-dims - 1] != self.in_channels:
            sizes = ", ".join((str(self.in_channels), *"DHW"[-dims:])) if dims > 1 else f"{self.in_channels}, L"
            raise ValueError(f"{title}: give [N, {sizes}] or [{sizes}]")
        images = input if input.dim() == dims + 2 else input.unsqueeze(0)
        padding = tuple(self._reversed_padding_repeated_twice)
        if self.padding_mode != "zeros":
            images = pad(images, padding, mode=self.padding_mode)
            padding = (0,) * (2 * dims)
        geometry = ConvGeometry(
            tuple(images.shape[2:]), self.kernel_size, self.stride, padding, self.dilation, self.groups
        )
        if min(geometry.output_size) < 1:
            raise ValueError(
                f"{title}: with its padding it is smaller than the kernel {self.kernel_size} of dilation {self.dilation}"
            )
        with given(f"Conv{dims}d {self.emulation.name!r}", {"input": input}):
            output: Tensor = self._product(images, weight, geometry)
        if bias is not None:
            output = output + bias.reshape(-1, *(1,) * dims)
        return output if input.dim() == dims + 2 else output.squeeze(0)


class Conv1d(_Convolution, torch.nn.Conv1d):  # type: ignore[misc]
    """torch.nn.Conv1d whose products are emulated: input [N, C, L] or [C, L] -> [N, O, OL] or [O, OL].

    As `Conv2d`, of images with one row.
    """


class Conv2d(_Convolution, torch.nn.Conv2d):  # type: ignore[misc]
    """torch.nn.Conv2d whose products are emulated: input [N, C, H, W] or [C, H, W] -> [N, O, OH, OW] or [O, OH, OW].

    Each output sums over (channel, kernel row, kernel column) in ascending order, padding zeros included; the order of
    the gradients' sums is that of `emul.geometry.ConvGeometry`. Padding other than by zeros is torch's own copy of
    the border before the product, and in backward torch's own addition to it. name and seed, types: as for `Linear`.
    Errors: ValueError for an input of another shape or smaller than the kernel.
    """


class Conv3d(_Convolution, torch.nn.Conv3d):  # type: ignore[misc]
    """torch.nn.Conv3d whose products are emulated: input [N, C, D, H, W] or [C, D, H, W] -> [N, O, OD, OH, OW].

    As `Conv2d`; each output sums over (channel, kernel plane, row, column).
    """
