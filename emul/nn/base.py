"""What the emulated layers have in common: the rule they follow, their name and steps, and the product."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..autograd import Draw, layer_product
from ..geometry import Geometry
from ..ops import check_operand, check_together
from ..recipe import Recipe, Rule


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
