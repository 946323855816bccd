"""Layers of torch.nn whose three products run in the arithmetic of a rule.

Their parameters, buffers and state_dict are those of the native layer. The bias is added in the operands' own dtype
after the product, its gradient is torch's own sum.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .autograd import Draw, layer_product
from .geometry import Conv2dGeometry, Geometry, LinearGeometry
from .ops import check_operand, check_together
from .recipe import Recipe, Rule

__all__ = ["EMULATED", "Conv2d", "Emulated", "Emulation", "Linear"]


@dataclass
class Emulation:
    """All that an emulated layer has beyond its native one: the rule of the recipe, its name, its training steps.

    name: the layer's part of the key of its random words. step: forward calls in training mode so far. A call in
    evaluation mode draws the words of the step to come and leaves the count as it is.
    """

    recipe: Recipe
    index: int
    name: str
    step: int = 0

    @property
    def rule(self) -> Rule:
        """The rule of the recipe that the layer follows."""
        return self.recipe.rules[self.index]


class Emulated(torch.nn.Module):
    """What the emulated layers have in common: the attribute `emulation`, and the product."""

    emulation: Emulation

    def _start(self, rule: Rule, seed: int, name: str) -> None:
        if rule.keep:
            raise ValueError(f"the rule {rule.pattern!r} keeps layers native: build a torch.nn.{type(self).__name__}")
        self.emulation = Emulation(Recipe((rule,), seed), 0, name)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _product(self, activation: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """The forward product, and with it a step. A compiled model calls it as it is: the step is not a constant."""
        state = self.emulation
        draw = Draw(state.recipe.seed, state.name, state.step)
        output = layer_product(activation, weight, geometry, state.rule, draw)
        if self.training:
            state.step += 1
        return output

    def _check(self, input: Tensor, weight: Tensor) -> None:
        label = f"the {{}} of {type(self).__name__} {self.emulation.name!r}"
        check_operand(input, label.format("input"))
        check_operand(weight, label.format("weight"))
        check_together(input, weight, label.format("input"), "its weight")
        if input.dtype != weight.dtype:
            raise TypeError(
                f"{label.format('input')} is {input.dtype} and its weight {weight.dtype}: convert one of them"
            )

    def extra_repr(self) -> str:
        """The native layer's, and the rule."""
        return f"{super().extra_repr()}, rule={self.emulation.index}"


class Linear(Emulated, torch.nn.Linear):
    """torch.nn.Linear whose products are emulated: input [..., in_features] -> [..., out_features].

    The forward product sums over input features in ascending order, grad_input over output features, grad_weight over
    samples in C order. name and seed key the random words of stochastic quantizers: give each layer its own name.
    Input and weight: float32 or float64, both the same, on the CPU or on one CUDA device; others are refused with
    TypeError or ValueError.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rule: Rule,
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self._start(rule, seed, name)

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        self._check(input, self.weight)
        if input.dim() == 0 or input.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"the input of Linear {self.emulation.name!r} has shape {list(input.shape)}:"
                f" its last dimension must be {self.weight.shape[1]}"
            )
        output: Tensor = self._product(input, self.weight, LinearGeometry())
        return output if self.bias is None else output + self.bias


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


#: The native types and what they become.
EMULATED: dict[type[torch.nn.Module], type[Emulated]] = {torch.nn.Linear: Linear, torch.nn.Conv2d: Conv2d}
