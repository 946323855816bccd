"""FP4 gradients with the parts of LUQ taken out one by one."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emul
from emul.operands import LUQ, Applied, Factor
from emul.recipe import Recipe
from emul.rows import Row
from numerics import luq

from .claim import Claim, Contrast
from .nets import letters, small_gpt
from .settings import LETTERS


@dataclass(frozen=True)
class Ablated(LUQ):
    """`emul.operands.LUQ` with underflow or rounding made deterministic: `numerics.luq.ablation`, the same grid."""

    underflow: str = field(default="stochastic", kw_only=True)
    rounding: str = field(default="stochastic", kw_only=True)

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        ways = {"underflow": self.underflow, "rounding": self.rounding}
        values = luq.ablation(x, self.levels, alpha=used, random_bits=self.random_bits, **ways, **words)
        return Applied(values / values.dtype.type(used), Factor(used)) if used else Applied(np.asarray(values))


def with_gradient(gradient: LUQ | None) -> Recipe:
    """The recipe `luq` with another operand for its gradients; None: INT4 forward, and gradients as they are."""
    recipe = emul.recipes.luq(levels=LEVELS)
    (rule,) = recipe.rules
    backward = {name: replace(getattr(rule, name), gradient=gradient) for name in ("grad_input", "grad_weight")}
    return replace(recipe, rules=(replace(rule, **backward),))


#: Powers of two on which the gradients lie: those of FP4 [1,3,0].
LEVELS = 7
_NEAREST = Ablated(LEVELS, underflow="nearest", rounding="nearest")
_NO_UNDERFLOW = Ablated(LEVELS, underflow="zero")

ROWS = (
    Row("int4", "INT4 forward, gradients in float32", with_gradient(None), "train"),
    Row("nearest", "FP4 gradients to nearest", with_gradient(_NEAREST), "train"),
    Row("sr", "FP4 gradients, SR above alpha, 0 below", with_gradient(_NO_UNDERFLOW), "train"),
    Row("luq", "LUQ", emul.recipes.luq(levels=LEVELS), "train"),
    Row("luq-smp", "LUQ, the mean of 2 draws (SMP)", emul.recipes.luq_smp(levels=LEVELS), "train"),
    Row("luq-smp8", "LUQ, the mean of 8 draws (SMP)", emul.recipes.luq_smp(levels=LEVELS, samples=8), "train"),
)
