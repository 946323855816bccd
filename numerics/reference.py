"""The oracle: every operation in exact rationals, slow and readable. It shares no code with the kernels.

Values are Python floats (float64 holds every format exactly); what lies between them is `fractions.Fraction`.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .formats import FloatFormat, NanEncoding, Subnormals
from .quantizer import Quantizer
from .rounding import Overflow, Rounding

_WHOLE = (Subnormals.NORMAL_BINADE, Subnormals.FULL_BINADE)
_HALF = Fraction(1, 2)


def floor_log2(x: Fraction) -> int:
    """The exponent e with 2**e <= x < 2**(e+1), of a positive rational."""
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if x >= Fraction(2) ** e else e - 1


def lower_neighbour(magnitude: Fraction, fmt: FloatFormat) -> tuple[Fraction, Fraction]:
    """(lo, ulp): the grid value at or below and the step there; the grid has no top, and no bottom if flushed."""
    if magnitude == 0:
        return Fraction(0), Fraction(2) ** (fmt.emin - fmt.mantissa_bits)
    exponent = floor_log2(magnitude)
    if fmt.subnormals is Subnormals.GRADUAL:
        exponent = max(exponent, fmt.emin)
    ulp = Fraction(2) ** (exponent - fmt.mantissa_bits)
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
    significand = magnitude / Fraction(2) ** (exponent - fmt.mantissa_bits)
    code: int = int(significand) + (exponent - fmt.emin) * 2**fmt.mantissa_bits
    return code - (1 << fmt.mantissa_bits) if fmt.subnormals in _WHOLE else code


def stochastic_threshold(fraction: Fraction, rounding: Rounding, random_bits: int) -> int:
    """k of IEEE P3109 v4.0, 4.7.4: the value rounds up for k of the 2**r words, those with k + R >= 2**r."""
    scaled = fraction * (1 << random_bits)
    k: int = math.floor(scaled)
    if rounding is Rounding.SR_B:
        return k + (scaled - k >= _HALF)
    if rounding is Rounding.SR_C:
        return k + (scaled - k > _HALF or (scaled - k == _HALF and k % 2 == 1))
    return k


def rounds_up(
    fraction: Fraction, rounding: Rounding, *, negative: bool, odd: bool, word: int | None, random_bits: int | None
) -> bool:
    """Whether a magnitude that is `fraction` ulp above its lower neighbour goes up; odd: that neighbour's code is."""
    if fraction == 0:
        return False
    match rounding:
        case Rounding.RNE:
            return fraction > _HALF or (fraction == _HALF and odd)
        case Rounding.RNA:
            return fraction >= _HALF
        case Rounding.RTZ:
            return False
        case Rounding.RTP:
            return not negative
        case Rounding.RTN:
            return negative
        case Rounding.RTO:
            return not odd
        case _:
            if word is None or random_bits is None:
                raise ValueError(f"{rounding.name} needs a word and its number of random bits")
            k = stochastic_threshold(fraction, rounding, random_bits)
            return k + word >= 1 << random_bits


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
    magnitude = abs(exact)
    lo, ulp = lower_neighbour(magnitude, fmt)
    fraction = (magnitude - lo) / ulp
    odd = magnitude_code(lo, fmt) % 2 == 1
    up = rounds_up(fraction, rounding, negative=below_zero, odd=odd, word=word, random_bits=random_bits)
    result = lo + ulp if up else lo
    if fmt.subnormals is not Subnormals.GRADUAL and result < Fraction(fmt.smallest_normal):
        result = Fraction(0)
    if result > Fraction(fmt.max):
        return _overflowed(fmt, rounding, overflow, below_zero)
    value = float(result)
    return -value if below_zero and (value or fmt.has_negative_zero) else value


def _overflowed(fmt: FloatFormat, rounding: Rounding, overflow: Overflow, negative: bool) -> float:
    sign = -1.0 if negative else 1.0
    if overflow is Overflow.ERROR:
        raise OverflowError(f"beyond {fmt.max}")
    inward = rounding in (Rounding.RTZ, Rounding.RTO) or rounding is (Rounding.RTP if negative else Rounding.RTN)
    if overflow is not Overflow.IEEE or inward:
        return sign * fmt.max
    return sign * math.inf if fmt.infinities else math.nan


def round_value(
    x: float,
    fmt: FloatFormat,
    rounding: Rounding = Rounding.RNE,
    overflow: Overflow = Overflow.SATURATE,
    *,
    word: int | None = None,
    random_bits: int | None = None,
) -> float:
    """One rounding of a float, specials included. Errors: as `round_exact`; ValueError for a NaN without a code."""
    if math.isnan(x):
        if not fmt.has_nan:
            raise ValueError(f"NaN in {fmt}, which has none")
        return math.nan
    if math.isinf(x):
        return _infinite(x, fmt, overflow)
    negative = math.copysign(1.0, x) < 0
    return round_exact(Fraction(x), fmt, rounding, overflow, negative=negative, word=word, random_bits=random_bits)


def _infinite(x: float, fmt: FloatFormat, overflow: Overflow) -> float:
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
    if code < 1 and value:
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
    if magnitude == 0 or (top == 0 and fmt.subnormals is Subnormals.FLUSH):
        return sign * 0.0
    if top == 0 and fmt.subnormals is Subnormals.GRADUAL:
        return sign * float(fraction * scale * Fraction(2) ** (1 - fmt.bias))
    return sign * float((1 + fraction * scale) * Fraction(2) ** (top - fmt.bias))


def quantize(x: Any, quantizer: Quantizer, *, words: Any = None) -> NDArray[Any]:
    """`quantizer.quantize(x, words=words)`, element by element."""
    array = np.asarray(x)
    given = [None] * array.size if words is None else [int(w) for w in np.asarray(words).ravel()]
    values = [
        round_value(
            float(v), quantizer.fmt, quantizer.rounding, quantizer.overflow, word=w, random_bits=quantizer.random_bits
        )
        for v, w in zip(array.ravel(), given, strict=True)
    ]
    return np.array(values, dtype=array.dtype).reshape(array.shape)


def encode(x: Any, quantizer: Quantizer, *, words: Any = None) -> NDArray[Any]:
    """`quantizer.encode(x, words=words)`, element by element, as Python integers in an object array."""
    array = np.asarray(x)
    values = quantize(array.astype(np.float64), quantizer, words=words)
    codes = [encode_value(float(v), quantizer.fmt) for v in values.ravel()]
    return np.array(codes, dtype=object).reshape(array.shape)


def add(x: float, y: float, accumulator: Accumulator) -> float:
    """One step: x + y exactly, rounded once; an exact zero has IEEE 754's sign."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return _passed_on(x + y, accumulator)
    total = Fraction(x) + Fraction(y)
    return _round_sum(total, math.copysign(1.0, x) < 0, math.copysign(1.0, y) < 0, accumulator)


def _round_sum(total: Fraction, first_negative: bool, second_negative: bool, accumulator: Accumulator) -> float:
    both, either = first_negative and second_negative, first_negative or second_negative
    negative = either if accumulator.rounding is Rounding.RTN else both
    return round_exact(total, accumulator.format, accumulator.rounding, accumulator.overflow, negative=negative)


def _passed_on(total: float, accumulator: Accumulator) -> float:
    if math.isnan(total):
        return math.nan
    return _infinite(total, accumulator.format, accumulator.overflow)


def multiply_add(total: float, a: float, b: float, accumulator: Accumulator) -> float:
    """One step of a chain: total + a*b with the product exact, or rounded first by the product quantizer."""
    exact = Fraction(a) * Fraction(b)
    negative = (math.copysign(1.0, a) < 0) != (math.copysign(1.0, b) < 0)
    quantizer = accumulator.product
    if quantizer is not None:
        product = round_exact(exact, quantizer.fmt, quantizer.rounding, quantizer.overflow, negative=negative)
        return add(total, product, accumulator)
    if not math.isfinite(total):
        return _passed_on(total, accumulator)
    return _round_sum(Fraction(total) + exact, math.copysign(1.0, total) < 0, negative, accumulator)


def accumulate(a: Any, b: Any, accumulator: Accumulator, c: float = 0.0) -> float:
    """c + sum of a[k]*b[k], k ascending, as the accumulator says."""
    depth = len(a)
    outer = accumulator.combining
    if depth == 0:
        return round_value(c, outer.format, outer.rounding, outer.overflow)
    if accumulator.chunk is None:
        for k in range(depth):
            c = multiply_add(c, float(a[k]), float(b[k]), accumulator)
        return c
    for start in range(0, depth, accumulator.chunk):
        part = 0.0
        for k in range(start, min(start + accumulator.chunk, depth)):
            part = multiply_add(part, float(a[k]), float(b[k]), accumulator)
        c = add(c, part, outer)
    return c


def matmul(a: Any, b: Any, accumulator: Accumulator, *, c: Any = None, **_: Any) -> NDArray[Any]:
    """`numerics.matmul` by the definition: a [..., M, K], b [..., K, N], c broadcast to [..., M, N]."""
    left, right = np.asarray(a), np.asarray(b)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    start = np.broadcast_to(np.zeros(()) if c is None else np.asarray(c), shape)
    out = np.empty(shape, np.result_type(left, right))
    for index in np.ndindex(*shape):
        *outer, i, j = index
        row, column = left[(*outer, i)], right[(*outer, slice(None), j)]
        out[index] = accumulate(row, column, accumulator, float(start[index]))
    return out
