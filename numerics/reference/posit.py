"""Posits, by the definitions of the 2022 standard: fields of a code, and the code with one bit more as the tie."""

import math
from bisect import bisect_right
from fractions import Fraction
from functools import lru_cache

from ..formats import PositFormat
from ..rounding import Overflow, Rounding
from .decision import rounds_up


@lru_cache(maxsize=1 << 18)
def value_of(code: int, bits: int) -> Fraction | None:
    """Value of a posit of any number of bits; None for NaR. (Section 3: no negation, the sign is one of the fields.)"""
    if code == 0:
        return Fraction(0)
    if code == 1 << (bits - 1):
        return None
    digits = f"{code:0{bits}b}"
    sign, behind = int(digits[0]), digits[1:]
    run = len(behind) - len(behind.lstrip(behind[0]))
    regime = run - 1 if behind[0] == "1" else -run
    tail = behind[run + 1 :]
    exponent = int(tail[:2].ljust(2, "0"), 2)
    fraction = Fraction(int(tail[2:], 2), 1 << len(tail[2:])) if tail[2:] else Fraction(0)
    return (1 - 3 * sign + fraction) * Fraction(2) ** ((1 - 2 * sign) * (4 * regime + exponent + sign))


def _member(code: int, bits: int) -> Fraction:
    value = value_of(code, bits)
    assert value is not None
    return value


@lru_cache(maxsize=1 << 16)
def lower_code(magnitude: Fraction, bits: int) -> int:
    """The largest nonnegative code whose value is at most `magnitude`."""
    return bisect_right(range(1 << (bits - 1)), magnitude, key=lambda code: _member(code, bits)) - 1


def tie(code: int, bits: int) -> Fraction:
    """What lies half-way between a positive code and the next: the value of the string with a one appended."""
    return _member(2 * code + 1, bits + 1)


def round_exact(
    exact: Fraction,
    fmt: PositFormat,
    rounding: Rounding = Rounding.RNE,
    overflow: Overflow = Overflow.SATURATE,
    *,
    word: int | None = None,
    random_bits: int | None = None,
) -> float:
    """One rounding; a nonzero value never becomes zero or NaR. Errors: OverflowError under Overflow.ERROR."""
    if exact == 0:
        return 0.0
    magnitude, last = abs(exact), (1 << (fmt.bits - 1)) - 1
    if overflow is Overflow.ERROR and magnitude > _member(last, fmt.bits):
        raise OverflowError(f"beyond {fmt.max}")
    lo = lower_code(magnitude, fmt.bits)
    if 0 < lo < last:
        part = _part(magnitude, lo, fmt.bits, rounding)
        lo += rounds_up(part, rounding, negative=exact < 0, odd=lo % 2 == 1, word=word, random_bits=random_bits)
    value = float(_member(max(lo, 1), fmt.bits))
    return -value if exact < 0 else value


def _part(magnitude: Fraction, lo: int, bits: int, rounding: Rounding) -> Fraction:
    """The distance to the lower neighbour: linear for random words, else only on which side of the tie it is."""
    below, above = _member(lo, bits), _member(lo + 1, bits)
    if rounding.stochastic:
        return (magnitude - below) / (above - below)
    if magnitude == below:
        return Fraction(0)
    middle = tie(lo, bits)
    return Fraction(2 + (magnitude > middle) - (magnitude < middle), 4)


def round_infinite(x: float, fmt: PositFormat, overflow: Overflow) -> float:
    """What an infinity becomes: NaR. Errors: OverflowError under Overflow.ERROR."""
    if overflow is Overflow.ERROR:
        raise OverflowError(f"{x} is beyond {fmt.max}")
    return math.nan


def encode_value(value: float, fmt: PositFormat) -> int:
    """Codepoint of a member of the format."""
    if math.isnan(value):
        return 1 << (fmt.bits - 1)
    code = lower_code(Fraction(abs(value)), fmt.bits)
    assert _member(code, fmt.bits) == abs(value)
    return -code % (1 << fmt.bits) if value < 0 else code


def decode_code(code: int, fmt: PositFormat) -> float:
    """Value of a codepoint."""
    value = value_of(code, fmt.bits)
    return math.nan if value is None else float(value)
