"""Batch norms that take no squares: beside L2 in float32, and through sums in binary16."""

from emul import digits
from emul.norm import BATCH_NORMS, Norm
from emul.recipe import Product, Recipe, Rule
from emul.rows import Row
from emul.training import Settings
from numerics import Accumulator, Overflow, Rounding, catalog

from .claim import Claim, Contrast
from .nets import LOUD, normed

#: IEEE binary16: a sum beyond 65504 is infinite.
HALF = Accumulator(catalog.BINARY16, Rounding.RNE, Overflow.IEEE)


def norms(form: str, sums: Accumulator | None) -> Recipe:
    """Every batch norm in this form, its sum of elements and its sum of deviations through this accumulator."""
    return Recipe((Rule(".*", types=BATCH_NORMS, norm=Norm(form), forward=Product(accumulator=sums)),), name=form)


MARGIN = 1.0  # percentage points: four or five of the 445 test images

CLAIM = Claim(
    name="norms",
    says="Range and L1 norm match batch norm, and survive half-precision sums where L2 does not",
    source="arXiv 1803.01814, arXiv 1805.11046",
    model=normed,
    data=digits.load,
    settings=Settings(epochs=6),
    rows=(
        *(Row(form, f"{form} norm", norms(form, None), "train") for form in ("l1", "range")),
        *(
            Row(f"{form}-half", f"{form} norm, sums in binary16", norms(form, HALF), "train")
            for form in ("l1", "range")
        ),
        Row("l2-half", "L2 norm, sums in binary16", norms("l2", HALF), "train"),
    ),
    contrasts=(
        Contrast("l1", "native", MARGIN),
        Contrast("range", "native", MARGIN),
        Contrast("l1-half", "native", MARGIN),
        Contrast("range-half", "native", MARGIN),
        Contrast("l1-half", "l2-half"),
        Contrast("range-half", "l2-half"),
    ),
    setup=f"What each norm sees is multiplied by {LOUD:g}, so that the squares of deviations overflow binary16 and the sums"
    " of 32 magnitudes do not. The sums of the statistics are emulated, those of their gradient are torch's own.",
)
