"""Exact sums of float64 numbers, as numbers that do not overlap, smallest first (Shewchuk 1997)."""

import numpy as np

from ._jit import core
from .primitives import from_bits, to_bits

U64, I64 = np.uint64, np.int64


@core
def power_of_two(exponent):
    """2.0**exponent for exponents of normal float64 numbers."""
    return from_bits(U64(U64(exponent + 1023) << U64(52)))


@core
def two_sum(x, y):
    """(x + y rounded, what that lacks), exactly, if nothing overflows."""
    total = x + y
    back = total - x
    return total, (x - (total - back)) + (y - back)


@core
def odd(high, low):
    """high + low rounded to odd, high being that sum to nearest or next to it; only the sign of low matters."""
    sticky = U64((low != 0.0) & (high != 0.0))  # no branch: it would be taken at random
    inward = U64((low < 0.0) != (high < 0.0)) & sticky
    return from_bits(U64(U64(to_bits(high) - inward) | sticky))


@core
def grow(parts, count, x):
    """Add x to the first `count` of parts; the new count. No part is zero."""
    kept = 0
    for i in range(count):
        x, error = two_sum(x, parts[i])
        if error != 0.0:
            parts[kept] = error
            kept += 1
    if x != 0.0:
        parts[kept] = x
        kept += 1
    return kept


@core
def grow_integer(parts, count, value, exponent):
    """Add the int64 value * 2**exponent, which takes two floats."""
    if value == 0:
        return count
    high = np.float64(value)
    count = grow(parts, count, high * power_of_two(exponent))
    low = value - I64(high)
    return count if low == 0 else grow(parts, count, np.float64(low) * power_of_two(exponent))


@core
def leading(parts, count):
    """(the sum of the first `count` parts to nearest or next to it, the sign of what that lacks)."""
    high, low = 0.0, 0.0
    if count > 0:
        high = parts[count - 1]
    for i in range(count - 2, -1, -1):
        total = high + parts[i]
        low = parts[i] - (total - high)
        high = total
        if low != 0.0:
            break
    return high, low
