"""What happened in the roundings of a product, counted per output."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Events:
    """Counts over the roundings of each output, integer arrays [..., M, N] of the shape of the product.

    product_*: roundings of products by the accumulator's product quantizer, 0 where products are exact. The others:
    roundings of sums, those of the chunks and of their combination together.
    overflow: the rounded number is beyond the largest finite one, before the overflow rule. underflow: the exact number
    is not zero, below the smallest normal, and was changed (IEEE 754, tininess before rounding); never in fixed point.
    inexact: the result is not the exact number. Of a sum of two numbers besides: swamped, the smaller one is not zero
    and the result equals the larger one: adding it changed nothing; absorbed, the smaller one is not zero and less than
    one ulp at the exact sum: all of its bits are lost, and only the rounding may have felt them.
    """

    product_overflow: NDArray[Any]
    product_underflow: NDArray[Any]
    product_inexact: NDArray[Any]
    overflow: NDArray[Any]
    underflow: NDArray[Any]
    inexact: NDArray[Any]
    swamped: NDArray[Any]
    absorbed: NDArray[Any]
