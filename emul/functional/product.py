"""The emulated product of one call of a function."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..autograd import layer_product
from ..draws import Draw
from ..geometry import Geometry
from ..nn.base import Emulation, run
from ..ops import check_operand, check_together
from .einsum import Unfit


@dataclass(frozen=True)
class Product:
    """`products.Multiplied` of a call: how its operands are named in errors, what it keeps, and the module that calls."""

    label: str
    state: Emulation
    module: torch.nn.Module

    def __call__(
        self, activation: Tensor, weight: Tensor, geometry: Geometry, part: str = "", *, shared: bool = False
    ) -> Tensor:
        """As `products.Multiplied`. Errors: Unfit for integers; TypeError and ValueError for operands no product takes."""
        _check(self.label, activation, weight)

        def compute(draw: Draw) -> Tensor:
            return layer_product(activation, weight, geometry, self.state.rule, replace(draw, shared=shared))

        return run(self.state, self.module.training, compute, (activation, weight), part)

    def holds(self, tensor: Tensor) -> bool:
        """As `products.Multiplied`."""
        whole = _whole(tensor)
        if isinstance(whole, torch.nn.Parameter):
            return True
        return any(_whole(one) is whole for one in self.module.parameters())  # torch.func.functional_call's are none


def _whole(tensor: Tensor) -> Tensor:
    """What it is a view of, or itself."""
    return tensor if tensor._base is None else tensor._base


def _check(label: str, activation: Tensor, weight: Tensor) -> None:
    for operand in (activation, weight):
        if not operand.dtype.is_floating_point and not operand.dtype.is_complex:
            raise Unfit(f"its operands are {operand.dtype}, whose products are exact")
    for operand in (activation, weight):
        check_operand(operand, label.format("an operand"), ", or give a rule with keep=True")
    check_together(activation, weight, label.format("an operand"), "the other")
    if activation.dtype != weight.dtype:
        raise TypeError(
            f"{label.format('an operand')} is {activation.dtype} and the other {weight.dtype}: convert one of them"
        )
