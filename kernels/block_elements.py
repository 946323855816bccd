"""What the kernels of blocks share: the maximum of a block, the end of a two's complement grid, values and codes.

A fixed-point element is the uniform grid of a float format that has subnormals only; its parameter row is of that
format, and what it adds is a lower limit of its own, one zero, and two's complement.
"""

from collections import namedtuple

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .forms import magic_magnitude32, magic_magnitude64
from .magnitude import code32, code64, round_magnitude32, round_magnitude64
from .modes import LARGEST, MAGIC, MODE_MASK, OVER_POSITIVE
from .primitives import from_bits, to_bits

U32, U64 = np.uint32, np.uint64

# row: the element's parameter row. scale_row: that of a scale that is no power of two, in float32, else row again.
# rule: int64, the slots below. largest: float32 [1], the element's largest value.
BlockRow = namedtuple("BlockRow", "row scale_row rule largest")
(
    ADDED,  # to the maximum's bits, so that the field of the sum is the exponent that the scale rule wants
    BASE,  # subtracted from that field: the carrier's bias and the exponent of the element's largest value
    LOWEST,  # exponent of the smallest scale
    HIGHEST,  # exponent of the largest scale
    FAST_LOWEST,  # from this exponent of the scale
    FAST_HIGHEST,  # to this one the elements need neither the carrier's subnormals nor its top
    ELEMENT_NAN,  # whether an element can be NaN
    SCALE_NAN,  # whether a scale can: then it makes the whole block NaN where an element cannot
    COUNTS_INFINITY,  # whether an infinity is clamped, and counts as the largest finite number
    LOWER,  # bits of the magnitude of the most negative value of a fixed-point element
    CODE_MASK,  # the bits of its code
) = range(11)
RULE_LENGTH = 11


def _make_maximum(U, SIGN, EXPONENT):
    MAGNITUDE, INF, ZERO, ONE = U(SIGN - 1), U(EXPONENT), U(0), U(1)

    def magnitude(value):
        """The bits of a value without its sign: ordered as magnitudes are, NaNs above infinity."""
        return U(to_bits(value) & MAGNITUDE)

    def is_finite(bits):
        """Whether magnitude bits are those of a finite number."""
        return bits < INF

    def finite_magnitude(value, counts_infinity):
        """(magnitude bits, 0 of what is not finite; whether it is a NaN); see COUNTS_INFINITY."""
        a = U(to_bits(value) & MAGNITUDE)
        nan = a > INF
        a = U(INF - ONE) if a == INF and counts_infinity else a
        return (a if a < INF else ZERO), nan

    finite_magnitude = core(finite_magnitude)

    def finite_maximum(x, begin, end, counts_infinity):
        """(largest finite magnitude bits of x[begin:end], whether there is a NaN); see COUNTS_INFINITY."""
        top, nan = ZERO, False
        for i in range(begin, end):
            a, own = finite_magnitude(x[i], counts_infinity)
            nan = nan or own
            top = max(top, a)
        return top, nan

    return core(magnitude), core(is_finite), finite_magnitude, core(finite_maximum)


_magnitude32, _is_finite32, _finite_magnitude32, _finite_maximum32 = _make_maximum(U32, 0x80000000, 0x7F800000)
_magnitude64, _is_finite64, _finite_magnitude64, _finite_maximum64 = _make_maximum(U64, 1 << 63, 0x7FF << 52)


def magnitude(value):
    """The bits of a value without its sign: ordered as magnitudes are, NaNs above infinity."""
    raise NotImplementedError("compiled code only")


@overload(magnitude, jit_options=SCALAR)
def _magnitude(value):
    return (lambda value: _magnitude32(value)) if value == types.float32 else (lambda value: _magnitude64(value))


def is_finite(bits):
    """Whether magnitude bits are those of a finite number."""
    raise NotImplementedError("compiled code only")


@overload(is_finite, jit_options=SCALAR)
def _is_finite(bits):
    return (lambda bits: _is_finite32(bits)) if bits == types.uint32 else (lambda bits: _is_finite64(bits))


def finite_magnitude(value, counts_infinity):
    """(magnitude bits, 0 of what is not finite; whether it is a NaN); counts_infinity: as in `finite_maximum`."""
    raise NotImplementedError("compiled code only")


@overload(finite_magnitude, jit_options=SCALAR)
def _finite_magnitude(value, counts_infinity):
    if value == types.float32:
        return lambda value, counts_infinity: _finite_magnitude32(value, counts_infinity)
    return lambda value, counts_infinity: _finite_magnitude64(value, counts_infinity)


def finite_maximum(x, begin, end, counts_infinity):
    """(largest finite magnitude bits of x[begin:end], whether there is a NaN).

    counts_infinity: an infinity is the largest finite number of its type, else it is left out.
    """
    raise NotImplementedError("compiled code only")


@overload(finite_maximum, jit_options=SCALAR)
def _finite_maximum(x, begin, end, counts_infinity):
    if x.dtype == types.float32:
        return lambda x, begin, end, counts_infinity: _finite_maximum32(x, begin, end, counts_infinity)
    return lambda x, begin, end, counts_infinity: _finite_maximum64(x, begin, end, counts_infinity)


def _make_fixed_bits(U, SIGN, EXPONENT, round_magnitude, magic_magnitude):
    TOP, INF, ONE, ZERO = U(SIGN), U(EXPONENT), U(1), U(0)

    def saturated_fixed_bits(bits, mode, facts, lower):
        sign = U(bits & TOP)
        rounded = magic_magnitude(U(bits ^ sign), sign, mode & MODE_MASK, facts)
        r = min(rounded, lower if sign != ZERO else facts[LARGEST])
        return U(r | (sign if r != ZERO else ZERO))

    def fixed_bits(bits, word, mode, normalise, facts, lower):
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        negative = ONE if sign != ZERO else ZERO
        if mode & MAGIC:
            rounded = magic_magnitude(a, negative, mode & MODE_MASK, facts)
        else:
            rounded = round_magnitude(a, negative, U(word), mode & MODE_MASK, normalise, facts)
        limit = lower if sign != ZERO else facts[LARGEST]
        # Where overflow is an error the mark of one is infinity; of an infinity, a NaN (see `noticed`).
        over = limit if facts[OVER_POSITIVE] < INF else (U(INF | ONE) if a == INF else INF)
        r = rounded if rounded <= limit else over
        return U(r | (sign if r != ZERO else ZERO))

    return core(fixed_bits), saturated_fixed_bits


_fixed_bits32, _saturated32 = _make_fixed_bits(U32, 0x80000000, 0x7F800000, round_magnitude32, magic_magnitude32)
_fixed_bits64, _saturated64 = _make_fixed_bits(U64, 1 << 63, 0x7FF << 52, round_magnitude64, magic_magnitude64)


def saturated_fixed_bits(bits, mode, facts, lower):
    """`fixed_bits` in the form MAGIC, for finite values and Overflow.SATURATE."""
    raise NotImplementedError("compiled code only")


@overload(saturated_fixed_bits, jit_options=SCALAR)
def _saturated_fixed_bits(bits, mode, facts, lower):
    return _saturated32 if bits == types.uint32 else _saturated64


def fixed_bits(bits, word, mode, normalise, facts, lower):
    """`quantize_bits` for the grid of a fixed-point element; `bits` is no NaN, `lower` those of the lowest value."""
    raise NotImplementedError("compiled code only")


@overload(fixed_bits, jit_options=SCALAR)
def _fixed_bits(bits, word, mode, normalise, facts, lower):
    fixed = _fixed_bits32 if bits == types.uint32 else _fixed_bits64
    return lambda bits, word, mode, normalise, facts, lower: fixed(bits, word, mode, normalise, facts, lower)


def _make_element_code(U, SIGN, code):
    TOP, ZERO = U(SIGN), U(0)

    def element_code(bits, facts, integers, mask):
        if integers:
            magnitude = code(U(bits & U(TOP - U(1))), facts)
            return U(U(U(ZERO - magnitude) if bits >= TOP else magnitude) & mask)
        return code(bits, facts)

    return element_code


_element_code32 = _make_element_code(U32, 0x80000000, code32)
_element_code64 = _make_element_code(U64, 1 << 63, code64)


def element_code(bits, facts, integers, mask):
    """Codepoint of an element's bits; mask: the bits of a fixed-point code."""
    raise NotImplementedError("compiled code only")


@overload(element_code, jit_options=SCALAR)
def _element_code(bits, facts, integers, mask):
    return _element_code32 if bits == types.uint32 else _element_code64


def put(out, i, bits, facts, integers, mask):
    """out[i] = the value of an element, or its code."""
    raise NotImplementedError("compiled code only")


@overload(put, jit_options=SCALAR)
def _put(out, i, bits, facts, integers, mask):
    if isinstance(out.dtype, types.Float):

        def put_value(out, i, bits, facts, integers, mask):
            out[i] = from_bits(bits)

        return put_value
    return _put_code


def _put_code(out, i, bits, facts, integers, mask):
    out[i] = element_code(bits, facts, integers, mask)


def put_scaled(out, i, bits, d, facts, integers, mask):
    """out[i] = the value of an element times d, or the element's code."""
    raise NotImplementedError("compiled code only")


@overload(put_scaled, jit_options=SCALAR)
def _put_scaled(out, i, bits, d, facts, integers, mask):
    if isinstance(out.dtype, types.Float):
        wide = np.float32 if out.dtype == types.float32 else np.float64

        def put_value(out, i, bits, d, facts, integers, mask):
            out[i] = wide(from_bits(bits)) * wide(d)

        return put_value

    def put_code(out, i, bits, d, facts, integers, mask):
        out[i] = element_code(bits, facts, integers, mask)

    return put_code


def fill_nan(out, begin, end):
    """out[begin:end] = NaN, or code 0 in an array of codes: the elements of a block whose scale is NaN."""
    raise NotImplementedError("compiled code only")


@overload(fill_nan, jit_options=SCALAR)
def _fill_nan(out, begin, end):
    nothing = np.nan if isinstance(out.dtype, types.Float) else 0

    def filled(out, begin, end):
        for i in range(begin, end):
            out[i] = nothing

    return filled
