"""Masks that keep one of two, on gradients and on weights: unbiased of least variance, or the largest."""

from emul.operands import MVUE, Operand, TopN
from emul.recipe import Product, Recipe, Rule
from emul.recipes.parts import WEIGHTED
from emul.rows import Row

from .claim import Claim, Contrast
from .nets import letters, small_gpt
from .settings import LETTERS


def gradients(mask: Operand) -> Recipe:
    """The gradient of both gradient products under this mask; torch's own forward, and sums."""
    return Recipe((Rule(".*", grad_input=Product(gradient=mask), grad_weight=Product(gradient=mask)),))


def weights(mask: Operand) -> Recipe:
    """Weights under this mask, in the forward product and that of the input's gradient; their own gradient passes."""
    return Recipe((Rule(".*", types=WEIGHTED, forward=Product(weight=mask), grad_input=Product(weight=mask)),))


CLAIM = Claim(
    name="mvue",
    says="MVUE beats top-N on neural gradients and loses to it on weights",
    source="arXiv 2203.10991",
    model=small_gpt,
    data=letters,
    settings=LETTERS,
    rows=(
        Row("gradients-mvue", "gradients, MVUE 1:2", gradients(MVUE(1, 2)), "train"),
        Row("gradients-top", "gradients, top 1:2", gradients(TopN(1, 2)), "train"),
        Row("weights-mvue", "weights, MVUE 2:4", weights(MVUE(2, 4)), "train"),
        Row("weights-top", "weights, top 2:4", weights(TopN(2, 4)), "train"),
    ),
    contrasts=(
        Contrast("gradients-mvue", "gradients-top"),
        Contrast("weights-top", "weights-mvue"),
    ),
    setup="Masks lie along the axis that each product sums over. MVUE draws anew in every step, and in the test.",
)
