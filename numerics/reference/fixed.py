"""Fixed point, by the definition of two's complement."""

import math
from fractions import Fraction

from ..formats import FixedFormat
from ..rounding import Overflow, Rounding
from .decision import rounds_up


def round_exact(
    exact: Fraction,
    fmt: FixedFormat,
    rounding: Rounding = Rounding.RNE,
    overflow: Overflow = Overflow.SATURATE,
    *,
    word: int | None = None,
    random_bits: int | None = None,
) -> Fraction:
    """One rounding to the grid, then the overflow rule.

    Errors: OverflowError under Overflow.ERROR; ValueError for a negative value in an unsigned format.
    """
    if exact < 0 and not fmt.signed:
        raise ValueError(f"{float(exact)} in {fmt}: unsigned, and no NaN")
    integer = round_unbounded(exact, fmt, rounding, word=word, random_bits=random_bits)
    return _limited(integer, fmt, overflow) / Fraction(2) ** fmt.fraction_bits


def round_unbounded(
    exact: Fraction, fmt: FixedFormat, rounding: Rounding, *, word: int | None = None, random_bits: int | None = None
) -> int:
    """The number of grid steps that an exact rational is rounded to, without limits."""
    steps = abs(exact) * Fraction(2) ** fmt.fraction_bits
    lo = math.floor(steps)
    up = rounds_up(steps - lo, rounding, negative=exact < 0, odd=lo % 2 == 1, word=word, random_bits=random_bits)
    return (lo + up) * (-1 if exact < 0 else 1)


def _limited(integer: int, fmt: FixedFormat, overflow: Overflow) -> Fraction:
    lowest, highest = fmt.lowest_integer, fmt.largest_code
    if lowest <= integer <= highest:
        return Fraction(integer)
    if overflow is Overflow.ERROR:
        raise OverflowError(f"{integer} is outside of {lowest} to {highest}")
    if overflow is Overflow.WRAP:
        return Fraction((integer - lowest) % (1 << fmt.bits) + lowest)
    return Fraction(max(lowest, min(integer, highest)))


def round_infinite(x: float, fmt: FixedFormat, overflow: Overflow) -> Fraction:
    """What an infinity becomes: a limit. Errors: OverflowError under WRAP and ERROR, which have no answer."""
    if x < 0 and not fmt.signed:
        raise ValueError(f"{x} in {fmt}: unsigned, and no NaN")
    if overflow in (Overflow.WRAP, Overflow.ERROR):
        raise OverflowError(f"{x} in {fmt}")
    return Fraction(fmt.lowest_integer if x < 0 else fmt.largest_code) / Fraction(2) ** fmt.fraction_bits


def encode_value(value: Fraction | float, fmt: FixedFormat) -> int:
    """Codepoint of a member of the format."""
    integer = Fraction(value) * Fraction(2) ** fmt.fraction_bits
    assert integer.denominator == 1
    return int(integer) % (1 << fmt.bits)


def decode_code(code: int, fmt: FixedFormat) -> float:
    """Value of a codepoint."""
    integer = code - (1 << fmt.bits) if fmt.signed and code >> (fmt.bits - 1) else code
    return float(Fraction(integer) / Fraction(2) ** fmt.fraction_bits)
