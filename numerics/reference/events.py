"""What can happen in a rounding, by the definition, counted over the roundings of one output."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

from ..formats import FixedFormat, Subnormals
from .decision import floor_log2
from .numbers import Exact, Number


def _ulp(exact: Fraction, fmt: Any) -> Fraction:
    """The grid step at a nonzero number, as if exponents were unbounded (below only where underflow is not gradual)."""
    if isinstance(fmt, FixedFormat):
        return Fraction(1, 1 << fmt.fraction_bits) if fmt.fraction_bits >= 0 else Fraction(1 << -fmt.fraction_bits)
    exponent = floor_log2(abs(exact))
    if fmt.subnormals is Subnormals.GRADUAL:
        exponent = max(exponent, fmt.emin)
    ulp: Fraction = Fraction(2) ** (exponent - fmt.mantissa_bits)
    return ulp


class Tally:
    """Counts of one output's events, see `numerics.Events`."""

    NAMES: ClassVar[tuple[str, ...]] = (
        "product_overflow",
        "product_underflow",
        "product_inexact",
        "overflow",
        "underflow",
        "inexact",
        "swamped",
        "absorbed",
    )

    def __init__(self) -> None:
        self.counts = dict.fromkeys(self.NAMES, 0)

    def rounding(self, exact: Fraction, result: Number, over: bool, fmt: Any, prefix: str = "") -> None:
        """One rounding; over: whether it left the range. result: an `Exact`, or a float that is not finite."""
        inexact = not isinstance(result, Exact) or result.value != exact
        self.counts[prefix + "inexact"] += inexact
        self.counts[prefix + "overflow"] += over
        if not isinstance(fmt, FixedFormat):
            self.counts[prefix + "underflow"] += inexact and 0 < abs(exact) < Fraction(fmt.smallest_normal)

    def sum(self, x: Fraction, y: Fraction, result: Number, fmt: Any) -> None:
        """What a sum of two numbers kept of the smaller one."""
        small, large = sorted((x, y), key=abs)
        if small == 0:
            return
        self.counts["swamped"] += isinstance(result, Exact) and result.value == large
        if x + y != 0:
            self.counts["absorbed"] += abs(small) < _ulp(x + y, fmt)

    def block(self, total: Fraction, products: Fraction, result: Number, lost: bool) -> None:
        """What the sum of a running total and of the products of a block of a matrix unit kept of the two.

        lost: whether an alignment left no bit of a term.
        """
        kept = isinstance(result, Exact) and result.value in (total, products)
        self.counts["swamped"] += bool(total) and bool(products) and kept
        self.counts["absorbed"] += lost
