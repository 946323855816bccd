"""What happened in the roundings of a product, counted per output."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Events:
    """Counts over the roundings of each output, int32 arrays [..., M, N] of the shape of the product.

    product_*: roundings of products by the accumulator's product quantizer, 0 where products are exact. The others:
    roundings of sums, those of the chunks and of their combination together.
    overflow: the rounded number is beyond the largest finite one, before the overflow rule. underflow: the exact number
    is not zero, below the smallest normal, and was changed (IEEE 754, tininess before rounding); never in fixed point.
    inexact: the result is not the exact number. Of a sum of two numbers besides: swamped, the smaller one is not zero
    and the result equals the larger one: adding it changed nothing; absorbed, the smaller one is not zero and less than
    one ulp at the exact sum: all of its bits are lost, and only the rounding may have felt them.

    A MatrixUnit rounds once for each block (each group of one, where groups are a chain), once more where c is added
    apart ("separate_add") and at every step of a tree or chain; with chunks, once for each sum by `outer`. The exact
    number of a block is the running total plus all its products, whatever the alignment cut: inexact and underflow
    tell what cutting and rounding did together; overflow is that of the number which the unit rounds. A block's two
    numbers are the running total and the exact sum of its products: swamped, neither is zero and the result equals one
    of them. absorbed is about alignment there: it left no bit of at least one term that is not zero (a product, an
    exact group of products, the sum of a group, or the running total: it is less than one unit of the last place kept,
    or beyond c_reach), and only a cut by floor may have felt it; never where nothing is cut (ar="exact"). Sums of two
    numbers (steps, "separate_add", `outer`) count as above. Products of a unit are exact, except in a pairwise tree,
    which rounds them to its output: product_*. What becomes of operands before (tf32_trunc, ftz_in) is no event, nor is
    anything in a rounding where a number is infinite or NaN, or a product beyond product_limit.
    """

    product_overflow: NDArray[Any]
    product_underflow: NDArray[Any]
    product_inexact: NDArray[Any]
    overflow: NDArray[Any]
    underflow: NDArray[Any]
    inexact: NDArray[Any]
    swamped: NDArray[Any]
    absorbed: NDArray[Any]
