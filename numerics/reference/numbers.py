"""What a sum is made of: rationals with a sign at zero, and what is not finite."""

import math
from fractions import Fraction
from typing import NamedTuple


class Exact(NamedTuple):
    """A rational, and the sign that it has where it is zero."""

    value: Fraction
    negative: bool


Number = Exact | float  # a float where it is infinite or NaN


def number(x: float) -> Number:
    """The number that a float is."""
    return Exact(Fraction(x), math.copysign(1.0, x) < 0) if math.isfinite(x) else float(x)


def as_float(x: Number) -> float:
    """The float that a member of a format is."""
    if not isinstance(x, Exact):
        return x
    return -0.0 if x.negative and not x.value else float(x.value)
