"""What a product can do to an operand beside rounding it by a Quantizer: records, without torch.

Each record is one stage: an array goes in, and out come values on the stage's grid and, where the stage scales, the
`Factor` that the finished product is multiplied or divided by. So a product of scaled operands runs on the numbers that
the hardware holds (codes times a power of two, integers), and one factor an operand follows its sums.

Blocks and masks lie along the axis that the product sums over, in the matrices that are multiplied; everything else
looks at the operand's own tensor as a whole. After the first stage that has blocks, later ones see these matrices too.

On CUDA tensors a Quantizer rounds where they are; the other stages go to the host and back: the same bits, and slow.

gradient: what of the incoming gradient passes to the stage's input x, "straight" all of it; "clipped" where x is not
beyond the largest value of the stage; "hard_tanh" where |x| <= 1; "kept" where a mask keeps it. The straight-through
estimator: Bengio, Leonard and Courville, arXiv 1308.3432.
"""

from functools import lru_cache
from typing import Any

from numerics import Quantizer
from numerics.formats.naming import made_from, named

from .channels import Calibrated, Channels
from .grids import LinearQuant, LogQuant, Rounded, Sign, StochasticSign
from .masks import MVUE, TopN, Transposable
from .scales import LUQ, SAWB, Affine, Scaled
from .stage import Applied, Factor, Stage

__all__ = [
    "LUQ",
    "MVUE",
    "SAWB",
    "Affine",
    "Applied",
    "Calibrated",
    "Channels",
    "Factor",
    "LinearQuant",
    "LogQuant",
    "Rounded",
    "Scaled",
    "Sign",
    "Stage",
    "StochasticSign",
    "TopN",
    "Transposable",
]


#: What a Product takes for an operand, None aside: one of them, or several that are applied from left to right.
Operand = Quantizer | Stage | tuple[Quantizer | Stage, ...]


@lru_cache(maxsize=4096)
def stages_of(operand: Operand | None) -> tuple[Stage, ...]:
    """The stages of an operand, from left to right; none for None."""
    if operand is None:
        return ()
    given = operand if isinstance(operand, tuple) else (operand,)
    return tuple(Rounded(one) if isinstance(one, Quantizer) else one for one in given)


def checked_operand(label: str, operand: Any) -> Operand | None:
    """The operand as it is kept, a list as a tuple; or a sentence."""
    kept = tuple(operand) if isinstance(operand, list) else operand
    parts = kept if isinstance(kept, tuple) else (kept,)
    if not parts:
        raise ValueError(f"{label} = (): give the stages of the operand, or None to leave it as it is")
    for part in parts:
        if not isinstance(part, Quantizer | Stage) and kept is not None:
            raise TypeError(
                f"{label} = {named(part)}: give {made_from(part, 'numerics.Quantizer')}, or None to leave it as it is;"
                " emul.operands has more, and a tuple applies several"
            )
    stages = stages_of(kept)
    first = next((i for i, stage in enumerate(stages) if stage.blocked), len(stages))
    for stage in stages[first:]:
        if stage.gradient != "straight":
            raise ValueError(
                f"{label}: {type(stage).__name__} with gradient = {stage.gradient!r} after"
                f" {type(stages[first]).__name__}, from which on stages see the matrices of one product and not the"
                " operand's own tensor; put it before, or give gradient='straight'"
            )
    result: Operand | None = kept
    return result
