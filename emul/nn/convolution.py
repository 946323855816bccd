"""Convolutions, with their three products emulated."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..geometry import Conv2dGeometry
from ..recipe import Rule
from .base import Emulated


class Conv2d(Emulated, torch.nn.Conv2d):
    """torch.nn.Conv2d whose products are emulated: input [N, C, H, W] or [C, H, W] -> [N, O, OH, OW] or [O, OH, OW].

    Each output sums over (channel, kernel row, kernel column) in ascending order, padding zeros included; the order of
    the gradients' sums is that of `emul.geometry.Conv2dGeometry`. Padding other than by zeros is torch's own copy of
    the border before the product, and in backward torch's own addition to it. name and seed, types: as for `Linear`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
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
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )
        self._start(rule, seed, name)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, O, OH, OW], or both without N."""
        self._check(input, self.weight)
        if input.dim() not in (3, 4) or input.shape[-3] != self.in_channels:
            raise ValueError(
                f"the input of Conv2d {self.emulation.name!r} has shape {list(input.shape)}:"
                f" give [N, {self.in_channels}, H, W] or [{self.in_channels}, H, W]"
            )
        images = input if input.dim() == 4 else input.unsqueeze(0)
        left, right, top, bottom = self._reversed_padding_repeated_twice
        if self.padding_mode != "zeros":
            images = pad(images, (left, right, top, bottom), mode=self.padding_mode)
            left = right = top = bottom = 0
        geometry = Conv2dGeometry(
            _pair(images.shape[2:]),
            _pair(self.kernel_size),
            _pair(self.stride),
            (left, right, top, bottom),
            _pair(self.dilation),
            self.groups,
        )
        if min(geometry.output_size) < 1:
            raise ValueError(
                f"the input of Conv2d {self.emulation.name!r} has shape {list(input.shape)}: with its padding it is"
                f" smaller than the kernel {self.kernel_size} of dilation {self.dilation}"
            )
        output: Tensor = self._product(images, self.weight, geometry)
        if self.bias is not None:
            output = output + self.bias[:, None, None]
        return output if input.dim() == 4 else output.squeeze(0)


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    first, second = values
    return first, second
