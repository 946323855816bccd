"""FP4 gradients with the parts of LUQ taken out one by one."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from emul.operands import LUQ, Applied, Factor
from emul.recipe import Product, Recipe, Rule
from emul.rows import Row
from numerics import luq

from .claim import Claim, Contrast
from .nets import letters, small_gpt
from .settings import LETTERS


@dataclass(frozen=True)
class Ablated(LUQ):
    """`emul.operands.LUQ` with underflow or rounding made deterministic: `numerics.luq.ablation`, on the same grid."""

    underflow: str = field(default="stochastic", kw_only=True)
    rounding: str = field(default="stochastic", kw_only=True)

    def _apply(self, x: NDArray[Any], used: float, axis: int, **words: Any) -> Applied:
        ways = {"underflow": self.underflow, "rounding": self.rounding}
        values = luq.ablation(x, self.levels, alpha=used, random_bits=self.random_bits, **ways, **words)
        return Applied(values / values.dtype.type(used), Factor(used)) if used else Applied(values)


def gradients(gradient: LUQ, samples: int = 1) -> Recipe:
    """This operand in both gradient products; torch's own forward, and sums."""
    rule = Rule(".*", grad_input=Product(gradient=gradient), grad_weight=Product(gradient=gradient, samples=samples))
    return Recipe((rule,))


_NEAREST = {"underflow": "nearest", "rounding": "nearest"}
#: Key, name, operand, samples.
_ROWS: tuple[tuple[str, str, LUQ, int], ...] = (
    ("nearest", "FP4, to nearest", Ablated(7, **_NEAREST), 1),
    ("sr-zero", "FP4, SR, 0 below alpha", Ablated(7, underflow="zero"), 1),
    ("sr-nearest", "FP4, SR, to nearest below alpha", Ablated(7, underflow="nearest"), 1),
    ("luq", "FP4, LUQ", LUQ(7), 1),
    ("luq-smp", "FP4, LUQ, mean of 2 draws (SMP)", LUQ(7), 2),
    ("luq3", "3 levels, LUQ", LUQ(3), 1),
    ("luq3-smp", "3 levels, LUQ, mean of 2 draws", LUQ(3), 2),
    ("luq3-smp8", "3 levels, LUQ, mean of 8 draws", LUQ(3), 8),
)

CLAIM = Claim(
    name="luq",
    says="LUQ beats nearest-rounded FP4 gradients and those of SR without stochastic underflow, SMP narrows the rest",
    source="arXiv 2112.10769",
    model=small_gpt,
    data=letters,
    settings=LETTERS,
    rows=tuple(Row(key, name, gradients(operand, samples), "train") for key, name, operand, samples in _ROWS),
    contrasts=(
        Contrast("luq", "nearest"),
        Contrast("luq", "sr-zero"),
        Contrast("luq", "sr-nearest"),
        Contrast("luq", "native", 0.05),
        Contrast("luq-smp", "luq"),
        Contrast("native", "luq3"),
        Contrast("luq3-smp", "luq3"),
        Contrast("luq3-smp8", "luq3"),
    ),
    setup="Gradients alone are quantized, attention's among them: INT4 in every forward product by itself stops this net at"
    " 5.5 bits. FP4 has 7 levels; 3 levels leave more for SMP, which is in the weight gradient alone, to narrow.",
)
