"""Linear, with its three products emulated."""

from typing import Any

import torch
from torch import Tensor

from ..geometry import LinearGeometry
from ..operators.checks import widened
from ..recipe import Rule
from .base import Emulated


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
        input, weight, bias = widened(input), self.weight, self.bias  # once: a parametrized one may compute and count
        self._check(input, weight)
        if input.dim() == 0 or input.shape[-1] != weight.shape[1]:
            raise ValueError(
                f"the input of Linear {self.emulation.name!r} has shape {list(input.shape)}:"
                f" its last dimension must be {weight.shape[1]}"
            )
        output: Tensor = self._product(input, weight, LinearGeometry())
        return output if bias is None else output + bias
