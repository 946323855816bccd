"""What loops call for each element: one set of names for both carriers and for every family of formats.

`unpack`, `grid_of`, `quantize_bits`, `shown` and `noticed` are overloaded on the type of the facts; float formats are
served here, the other families in files of their own.
"""

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .forms import (
    byte_code32,
    direct_code32,
    direct_code64,
    finish_plain32,
    finish_plain64,
    lifted_magnitude32,
    lifted_magnitude64,
    magic_magnitude32,
    magic_magnitude64,
    shifted_magnitude32,
    short_code32,
    short_code64,
    uniform_magnitude32,
    uniform_magnitude64,
)
from .magnitude import code32, code64, finish32, finish64, round_magnitude32, round_magnitude64
from .modes import (
    CLAMPED,
    LARGEST,
    LIFTED,
    MAGIC,
    MODE_MASK,
    PLAIN,
    SAW_NAN,
    SAW_NEGATIVE,
    SAW_OVERFLOW,
    SAW_UNCODED,
    SHIFTED,
    SMALLEST,
    UNCODED,
    UNIFORM,
)
from .primitives import from_bits

U32, U64 = np.uint32, np.uint64


@core
def unpack_row(row):
    """The facts of a parameter row as a tuple of scalars."""
    return (
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        row[13],
        row[14],
        row[15],
        row[16],
        row[17],
        row[18],
        row[19],
        row[20],
        row[21],
        row[22],
        row[23],
        row[24],
    )


def unpack(row):
    """What a loop needs to know of a format, read once before it: scalars, which stay in registers.

    The functions below are overloaded on what this returns. A float format has a plain tuple; other families bring
    their own types of row and facts, and their own overloads.
    """
    raise NotImplementedError("compiled code only")


@overload(unpack, jit_options=SCALAR)
def _unpack(row):
    if not isinstance(row, types.Array):
        return None

    def unpacked(row):
        return unpack_row(row)

    return unpacked


def grid_of(facts):
    """The tuple of a parameter row that these facts hold: it has the random bits, in every family."""
    raise NotImplementedError("compiled code only")


@overload(grid_of, jit_options=SCALAR)
def _grid_of(facts):
    if not isinstance(facts, types.UniTuple):
        return None
    return lambda facts: facts


def _make_magnitude_bits(U, round_magnitude, uniform_magnitude, magic_magnitude, lifted_magnitude):
    def magnitude_bits(a, negative, word, mode, normalise, facts):
        if mode < 0:  # NATIVE
            return a
        if mode & UNIFORM:
            return uniform_magnitude(a, negative, U(word), mode & MODE_MASK, facts)
        if mode & MAGIC:
            return magic_magnitude(a, negative, mode & (MODE_MASK | CLAMPED), facts)
        if mode & LIFTED:
            return lifted_magnitude(a, U(word), facts)
        if mode & SHIFTED:
            return U(shifted_magnitude32(U32(a), U32(word), facts))
        return round_magnitude(a, negative, U(word), mode & MODE_MASK, normalise, facts)

    return magnitude_bits


_magnitude_bits32 = core(
    _make_magnitude_bits(U32, round_magnitude32, uniform_magnitude32, magic_magnitude32, lifted_magnitude32)
)
_magnitude_bits64 = core(
    _make_magnitude_bits(U64, round_magnitude64, uniform_magnitude64, magic_magnitude64, lifted_magnitude64)
)


def magnitude_bits(a, negative, word, mode, normalise, facts):
    """Bits of a magnitude (bits `a`) rounded in any form, before what is too small or too large is dealt with."""
    raise NotImplementedError("compiled code only")


@overload(magnitude_bits, jit_options=SCALAR)
def _magnitude_bits(a, negative, word, mode, normalise, facts):
    rounding = _magnitude_bits32 if a == types.uint32 else _magnitude_bits64
    return lambda a, negative, word, mode, normalise, facts: rounding(a, negative, word, mode, normalise, facts)


def _make_quantize_bits(U, SIGN, magnitude_bits, finish, finish_plain):
    TOP, ONE, ZERO = U(SIGN), U(1), U(0)

    def quantize_bits(bits, word, mode, normalise, facts):
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        negative = ONE if sign != ZERO else ZERO
        cut = min(a, facts[LARGEST]) if mode >= 0 and mode & CLAMPED else a  # a value of the format, which stays
        rounded = magnitude_bits(cut, negative, word, mode, normalise, facts)
        if mode >= 0 and mode & PLAIN:
            return finish_plain(rounded, a, sign, mode, facts)
        return finish(rounded, a, sign, facts)

    return quantize_bits


_quantize_bits32 = _make_quantize_bits(U32, 0x80000000, _magnitude_bits32, finish32, finish_plain32)
_quantize_bits64 = _make_quantize_bits(U64, 1 << 63, _magnitude_bits64, finish64, finish_plain64)


def quantize_bits(bits, word, mode, normalise, facts):
    """Bits of a value rounded once to the format of `facts`; width by the type of `bits`; words aligned to the top."""
    raise NotImplementedError("compiled code only")


@overload(quantize_bits, jit_options=SCALAR)
def _quantize_bits(bits, word, mode, normalise, facts):
    if not isinstance(facts, types.UniTuple):
        return None
    return _quantize_bits32 if bits == types.uint32 else _quantize_bits64


def _make_saturate_bits(U, SIGN, uniform_magnitude, magic_magnitude, lifted_magnitude):
    TOP, ZERO = U(SIGN), U(0)

    def saturate_bits(bits, word, mode, facts):
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        if mode & MAGIC:
            a = magic_magnitude(a, sign, mode & MODE_MASK, facts)
        elif mode & LIFTED:
            a = lifted_magnitude(a, U(word), facts)
        elif mode & SHIFTED:
            a = U(shifted_magnitude32(U32(a), U32(word), facts))
        else:
            a = uniform_magnitude(a, sign, U(word), mode & MODE_MASK, facts)
            a = a if a >= facts[SMALLEST] else ZERO
        return U(min(a, facts[LARGEST]) | sign)

    return saturate_bits


_saturate_bits32 = _make_saturate_bits(U32, 0x80000000, uniform_magnitude32, magic_magnitude32, lifted_magnitude32)
_saturate_bits64 = _make_saturate_bits(U64, 1 << 63, uniform_magnitude64, magic_magnitude64, lifted_magnitude64)


def saturate_bits(bits, word, mode, facts):
    """`quantize_bits` in one of the FINITE forms of `sums`, for finite values, Overflow.SATURATE and a negative zero."""
    raise NotImplementedError("compiled code only")


@overload(saturate_bits, jit_options=SCALAR)
def _saturate_bits(bits, word, mode, facts):
    return _saturate_bits32 if bits == types.uint32 else _saturate_bits64


def shown(kind, bits, facts):
    """What `bits` are in the type of `kind`, a number whose value is of no matter: a value in a float, or a codepoint."""
    raise NotImplementedError("compiled code only")


def shown_value(kind, bits, facts):
    """`shown` of a value whose bits are at hand, for the overloads of every family."""
    return from_bits(bits)


@overload(shown, jit_options=SCALAR)
def _shown(kind, bits, facts):
    if not isinstance(facts, types.UniTuple):
        return None
    if isinstance(kind, types.Float):
        return shown_value
    code = code32 if bits == types.uint32 else code64
    return lambda kind, bits, facts: code(bits, facts)


def shown_short(kind, bits, facts):
    """`shown` by the short way to a code; of other families and for values, `shown` itself."""
    raise NotImplementedError("compiled code only")


@overload(shown_short, jit_options=SCALAR)
def _shown_short(kind, bits, facts):
    if isinstance(kind, types.Float) or not isinstance(facts, types.UniTuple):
        return lambda kind, bits, facts: shown(kind, bits, facts)
    short_code = short_code32 if bits == types.uint32 else short_code64
    return lambda kind, bits, facts: short_code(bits, facts)


def shown_direct(kind, bits, facts):
    """The codepoint of a float format that `bits` round to, in the form DIRECT_CODE."""
    raise NotImplementedError("compiled code only")


@overload(shown_direct, jit_options=SCALAR)
def _shown_direct(kind, bits, facts):
    if not isinstance(facts, types.UniTuple):
        return None
    direct_code = direct_code32 if bits == types.uint32 else direct_code64
    return lambda kind, bits, facts: direct_code(bits, facts)


def shown_byte(bits, facts):
    """The same in the form BYTE_CODE, of which the low byte counts."""
    raise NotImplementedError("compiled code only")


@overload(shown_byte, jit_options=SCALAR)
def _shown_byte(bits, facts):
    if not isinstance(facts, types.UniTuple) or bits != types.uint32:
        return None
    return lambda bits, facts: byte_code32(bits, facts)


@core
def saw(flag, met):
    """The flag where the condition is met, else 0, in 32 bits: a wider integer would widen the lanes of the loop."""
    return U32(flag) if met else U32(0)


def _make_noticed(U, SIGN, EXPONENT):
    MAGNITUDE, INF, ZERO = U(SIGN - 1), U(EXPONENT), U(0)

    def noticed(bits, result, facts):
        a, r = U(bits & MAGNITUDE), U(result & MAGNITUDE)
        over = ((a < INF) & (r >= INF)) | ((a == INF) & (r > INF))
        negative = (bits > MAGNITUDE) & (a != ZERO) & (a <= INF)
        uncoded = (r == facts[UNCODED]) & (r != ZERO)
        ends = saw(SAW_OVERFLOW, over) | saw(SAW_NAN, a > INF)
        return U32(ends | saw(SAW_NEGATIVE, negative) | saw(SAW_UNCODED, uncoded))

    return noticed


_noticed32 = _make_noticed(U32, 0x80000000, 0x7F800000)
_noticed64 = _make_noticed(U64, 1 << 63, 0x7FF << 52)


def noticed(bits, result, facts):
    """What an input and its result show of overflow, NaN, sign and a value without a code: a sum of SAW_ constants."""
    raise NotImplementedError("compiled code only")


@overload(noticed, jit_options=SCALAR)
def _noticed(bits, result, facts):
    if not isinstance(facts, types.UniTuple):
        return None
    return _noticed32 if bits == types.uint32 else _noticed64
