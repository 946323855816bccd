"""Float formats, by the definition of their fields and of rounding to a grid."""

import math
from fractions import Fraction

from ..formats import FloatFormat, NanEncoding, Subnormals
from ..rounding import Overflow, Rounding
from .decision import floor_log2, power_of_two, rounds_up

_WHOLE = (Subnormals.NORMAL_BINADE, Subnormals.FULL_BINADE, Subnormals.NO_ZERO)


def lower_neighbour(magnitude: Fraction, fmt: FloatFormat) -> tuple[Fraction, Fraction]:
    """(lo, ulp): the grid value at or below and the step there; the grid has no top, and no bottom if flushed."""
    if magnitude == 0:
        return Fraction(0), power_of_two(fmt.emin - fmt.mantissa_bits)
    exponent = floor_log2(magnitude)
    if fmt.subnormals is Subnormals.GRADUAL:
        exponent = max(exponent, fmt.emin)
    ulp = power_of_two(exponent - fmt.mantissa_bits)
    return math.floor(magnitude / ulp) * ulp, ulp


def magnitude_code(magnitude: Fraction, fmt: FloatFormat) -> int:
    """Codepoint, without sign, of a grid value.

    The grid goes on beyond the largest finite code, and below the smallest where a flushed format is rounded as if its
    exponents were unbounded: the parity there is that of the codes it would have.
    """
    if magnitude == 0:
        return 0
    exponent = floor_log2(magnitude)
    if fmt.subnormals is Subnormals.GRADUAL:
        exponent = max(exponent, fmt.emin)
    significand = magnitude / power_of_two(exponent - fmt.mantissa_bits)
    code: int = int(significand) + (exponent - fmt.emin) * 2**fmt.mantissa_bits
    return code - (1 << fmt.mantissa_bits) if fmt.subnormals in _WHOLE else code


def round_exact(
    exact: Fraction,
    fmt: FloatFormat,
    rounding: Rounding = Rounding.RNE,
    overflow: Overflow = Overflow.SATURATE,
    *,
    negative: bool | None = None,
    word: int | None = None,
    random_bits: int | None = None,
) -> float:
    """One rounding of an exact rational; negative: the sign, where the value is zero.

    Errors: OverflowError under Overflow.ERROR, ValueError for a negative value in an unsigned format without NaN.
    """
    below_zero = exact < 0 if exact else bool(negative)
    if below_zero and exact and not fmt.signed:
        if not fmt.has_nan:
            raise ValueError(f"{float(exact)} in {fmt}: unsigned, and no NaN")
        return math.nan
    result = round_unbounded(exact, fmt, rounding, negative=below_zero, word=word, random_bits=random_bits)
    if result > Fraction(fmt.max):
        return _overflowed(fmt, rounding, overflow, below_zero)
    value = float(result)
    return -value if below_zero and fmt.signed and (value or fmt.has_negative_zero) else value


def round_unbounded(
    exact: Fraction,
    fmt: FloatFormat,
    rounding: Rounding,
    *,
    negative: bool,
    word: int | None = None,
    random_bits: int | None = None,
) -> Fraction:
    """The magnitude that an exact rational is rounded to in the format without a top."""
    magnitude = abs(exact)
    lo, ulp = lower_neighbour(magnitude, fmt)
    fraction = (magnitude - lo) / ulp
    odd = magnitude_code(lo, fmt) % 2 == 1
    up = rounds_up(fraction, rounding, negative=negative, odd=odd, word=word, random_bits=random_bits)
    result = lo + ulp if up else lo
    if fmt.subnormals is not Subnormals.GRADUAL and result < Fraction(fmt.smallest_normal):
        return Fraction(fmt.smallest_normal) if fmt.subnormals is Subnormals.NO_ZERO else Fraction(0)
    return result


def _overflowed(fmt: FloatFormat, rounding: Rounding, overflow: Overflow, negative: bool) -> float:
    sign = -1.0 if negative else 1.0
    if overflow is Overflow.ERROR:
        raise OverflowError(f"beyond {fmt.max}")
    inward = rounding in (Rounding.RTZ, Rounding.RTO) or rounding is (Rounding.RTP if negative else Rounding.RTN)
    if overflow is not Overflow.IEEE or inward:
        return sign * fmt.max
    return sign * math.inf if fmt.infinities else math.nan


def round_infinite(x: float, fmt: FloatFormat, overflow: Overflow) -> float:
    """What an infinity becomes. Errors: OverflowError under Overflow.ERROR where the format has none."""
    if x < 0 and not fmt.signed:
        if not fmt.has_nan:
            raise ValueError(f"{x} in {fmt}: unsigned, and no NaN")
        return math.nan
    if overflow is Overflow.SATURATE or (overflow is Overflow.PROPAGATE and not fmt.infinities):
        return math.copysign(fmt.max, x)
    if fmt.infinities:
        return x
    if overflow is Overflow.ERROR:
        raise OverflowError(f"{x} is beyond {fmt.max}")
    return math.nan


def encode_value(value: float, fmt: FloatFormat) -> int:
    """Codepoint of a member of the format. Errors: ValueError for a value that has no code."""
    if math.isnan(value):
        if fmt.nan_code is None:
            raise ValueError(f"NaN in {fmt}, which has none")
        return fmt.nan_code
    sign = 1 << (fmt.bits - 1) if fmt.signed and math.copysign(1.0, value) < 0 else 0
    if math.isinf(value):
        if fmt.infinity_code is None:
            raise ValueError(f"{value} in {fmt}, which has no infinity")
        return sign | fmt.infinity_code
    code = magnitude_code(Fraction(abs(value)), fmt)
    if code < 1 and value and fmt.subnormals is not Subnormals.NO_ZERO:
        raise ValueError(f"{value} is a value of {fmt} without a code")
    return sign | code


def decode_code(code: int, fmt: FloatFormat) -> float:
    """Value of a codepoint, by the definition of the fields."""
    if fmt.nan is NanEncoding.NEGATIVE_ZERO and code == 1 << (fmt.bits - 1):
        return math.nan
    negative = fmt.signed and code >> (fmt.bits - 1) == 1
    magnitude = code & ((1 << (fmt.exponent_bits + fmt.mantissa_bits)) - 1)
    sign = -1.0 if negative else 1.0
    if magnitude > fmt.largest_code:
        return sign * math.inf if magnitude == fmt.infinity_code else math.nan
    top, fraction = magnitude >> fmt.mantissa_bits, magnitude & ((1 << fmt.mantissa_bits) - 1)
    scale = Fraction(2) ** -fmt.mantissa_bits
    assert fmt.bias is not None
    if top == 0 and fmt.subnormals is Subnormals.FLUSH:
        return 0.0 if fmt.nan is NanEncoding.NEGATIVE_ZERO else sign * 0.0
    if magnitude == 0 and fmt.subnormals is not Subnormals.NO_ZERO:
        return sign * 0.0
    if top == 0 and fmt.subnormals is Subnormals.GRADUAL:
        return sign * float(fraction * scale * Fraction(2) ** (1 - fmt.bias))
    return sign * float((1 + fraction * scale) * Fraction(2) ** (top - fmt.bias))
