"""Logarithmic formats, by the definition of their codes and of nearest, with the powers rounded here on their own."""

from bisect import bisect_right
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from ..formats import LogFormat
from ..rounding import Overflow, Rounding
from .decision import floor_log2, rounds_up
from .powers import exceeds_power, nearest_power


class Neighbours(NamedTuple):
    """The code at or below a magnitude and the values of it and of the next; codes go on beyond the largest."""

    code: int
    low: Fraction
    high: Fraction


@lru_cache(maxsize=64)
def _octave(f: int, precision: int) -> tuple[Fraction, ...]:
    return tuple(nearest_power(j, 1 << f, precision) for j in range((1 << f) + 1))


def magnitude_of(code: int, fmt: LogFormat, precision: int = 53) -> Fraction:
    """The value of a code without sign, in the table of float64 (precision 53) or float32 (24)."""
    if code == 0:
        return Fraction(0)
    octave, j = divmod(code - (fmt.bias << fmt.fraction_bits), 1 << fmt.fraction_bits)
    return _octave(fmt.fraction_bits, precision)[j] * Fraction(2) ** octave


def neighbours(magnitude: Fraction, fmt: LogFormat, precision: int = 53) -> Neighbours:
    """The neighbours of a magnitude; below the smallest value they are zero and it."""
    smallest = magnitude_of(1, fmt, precision)
    if magnitude < smallest:
        return Neighbours(0, Fraction(0), smallest)
    octave = floor_log2(magnitude)
    table = _octave(fmt.fraction_bits, precision)
    j = bisect_right(table, magnitude / Fraction(2) ** octave) - 1
    code = ((octave + fmt.bias) << fmt.fraction_bits) + j
    return Neighbours(code, *(table[n] * Fraction(2) ** octave for n in (j, j + 1)))


def _nearest_logarithm(magnitude: Fraction, fmt: LogFormat, precision: int) -> int:
    """The code, zero for all below the first, that RNL goes to: the lower one up to the geometric mean."""
    degree = 2 << fmt.fraction_bits
    code, low, _ = neighbours(magnitude, fmt, precision)
    middle = 2 * (code - (fmt.bias << fmt.fraction_bits)) + 1
    up = magnitude != low and exceeds_power(magnitude, middle, degree)
    return code + up


def round_code(
    exact: Fraction,
    fmt: LogFormat,
    rounding: Rounding = Rounding.RNE,
    *,
    word: int | None = None,
    random_bits: int | None = None,
    precision: int = 53,
) -> int:
    """The code without sign that a value rounds to, on a grid that has no top."""
    magnitude = abs(exact)
    if rounding is Rounding.RNL:
        return _nearest_logarithm(magnitude, fmt, precision)
    code, low, high = neighbours(magnitude, fmt, precision)
    fraction = (magnitude - low) / (high - low)
    odd = code % 2 == 1
    return code + rounds_up(fraction, rounding, negative=exact < 0, odd=odd, word=word, random_bits=random_bits)


def round_exact(
    exact: Fraction,
    fmt: LogFormat,
    rounding: Rounding = Rounding.RNE,
    overflow: Overflow = Overflow.SATURATE,
    *,
    word: int | None = None,
    random_bits: int | None = None,
    precision: int = 53,
) -> float:
    """One rounding to the values of the table of this precision, then the overflow rule.

    Errors: OverflowError under Overflow.ERROR; ValueError for a negative value in an unsigned format.
    """
    if exact < 0 and not fmt.signed:
        raise ValueError(f"{float(exact)} in {fmt}: unsigned, and no NaN")
    code = round_code(exact, fmt, rounding, word=word, random_bits=random_bits, precision=precision)
    if code > fmt.largest_code and overflow is Overflow.ERROR:
        raise OverflowError(f"beyond {fmt.max}")
    value = float(magnitude_of(min(code, fmt.largest_code), fmt, precision))
    return -value if exact < 0 and value else value


def round_infinite(x: float, fmt: LogFormat, overflow: Overflow, *, precision: int = 53) -> float:
    """What an infinity becomes: the largest value. Errors: OverflowError under Overflow.ERROR."""
    if x < 0 and not fmt.signed:
        raise ValueError(f"{x} in {fmt}: unsigned, and no NaN")
    if overflow is Overflow.ERROR:
        raise OverflowError(f"{x} is beyond {fmt.max}")
    largest = float(magnitude_of(fmt.largest_code, fmt, precision))
    return -largest if x < 0 else largest


def encode_value(value: float, fmt: LogFormat, *, precision: int = 53) -> int:
    """Codepoint of a member of the table of this precision."""
    code, low, _ = neighbours(abs(Fraction(value)), fmt, precision)
    assert low == abs(Fraction(value)) and code <= fmt.largest_code
    return code | (1 << (fmt.bits - 1) if value < 0 else 0)


def decode_code(code: int, fmt: LogFormat, *, precision: int = 53) -> float:
    """Value of a codepoint; the sign over a zero means nothing."""
    magnitude = code & fmt.largest_code
    value = float(magnitude_of(magnitude, fmt, precision))
    return -value if code != magnitude and value else value
