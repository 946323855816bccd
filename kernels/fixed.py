"""Fixed point: the rounder on a uniform grid, then the limits and two's complement on 64-bit integers.

The grid is that of a float format whose subnormals never end, so rounding is `carrier.round_magnitude`; what differs is
the end of the range and the code.
"""

from collections import namedtuple

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .carrier import grid_of, noticed, quantize_bits, saw, shown, unpack, unpack_row
from .forms import magic_magnitude32, magic_magnitude64
from .magnitude import round_magnitude32, round_magnitude64
from .modes import MAGIC, MODE_MASK, SAW_NAN, SAW_NEGATIVE, SAW_OVERFLOW
from .primitives import from_bits

U32, U64 = np.uint32, np.uint64

# row: the grid as a parameter row. limits: uint64 [6], see the constants. quantum: float64 [1], the grid step.
# The general row: any width, wrapping or saturating, on 64-bit integers.
FixedRow = namedtuple("FixedRow", "row limits quantum")
# Saturating, with limits that the carrier holds: they are applied to values. ends: [lowest, highest, 1/quantum] there.
SaturatingRow = namedtuple("SaturatingRow", "row ends")
SaturatingFacts = namedtuple("SaturatingFacts", "grid lowest highest scale mask")
LARGEST, LARGEST_NEGATIVE, MASK, SIGN, POINT, WRAPS = range(6)  # POINT: fraction bits, two's complement
FixedFacts = namedtuple("FixedFacts", "grid limits quantum")


@core
def _unpack_limits(limits):
    return limits[0], limits[1], limits[2], limits[3], limits[4], limits[5]


def _is(kind, value):
    return isinstance(value, types.NamedTuple) and value.instance_class is kind


@overload(unpack, jit_options=SCALAR)
def _unpack_fixed(row):
    if not _is(FixedRow, row):
        return None

    def unpacked(row):
        return FixedFacts(unpack_row(row.row), _unpack_limits(row.limits), row.quantum[0])

    return unpacked


@overload(grid_of, jit_options=SCALAR)
def _grid_of_fixed(facts):
    return (lambda facts: facts.grid) if _is(FixedFacts, facts) else None


@overload(unpack, jit_options=SCALAR)
def _unpack_saturating(row):
    if not _is(SaturatingRow, row):
        return None

    def unpacked(row):
        ends = row.ends
        return SaturatingFacts(unpack_row(row.row), ends[0], ends[1], ends[2], np.uint32(np.int64(ends[3])))

    return unpacked


@overload(grid_of, jit_options=SCALAR)
def _grid_of_saturating(facts):
    return (lambda facts: facts.grid) if _is(SaturatingFacts, facts) else None


def _make_grid_bits(U, SIGN_BIT, EXPONENT, round_magnitude, magic_magnitude):
    TOP, INF, ONE, ZERO = U(SIGN_BIT), U(EXPONENT), U(1), U(0)

    def grid_bits(bits, word, mode, normalise, facts):
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        negative = ONE if sign != ZERO else ZERO
        if mode & MAGIC:
            rounded = magic_magnitude(a, negative, mode & MODE_MASK, facts.grid)
        else:
            rounded = round_magnitude(a, negative, U(word), mode, normalise, facts.grid)
        return U((rounded if a < INF else a) | sign)

    return grid_bits


_grid_bits32 = _make_grid_bits(U32, 0x80000000, 0x7F800000, round_magnitude32, magic_magnitude32)
_grid_bits64 = _make_grid_bits(U64, 1 << 63, 0x7FF << 52, round_magnitude64, magic_magnitude64)


@overload(quantize_bits, jit_options=SCALAR)
def _quantize_fixed(bits, word, mode, normalise, facts):
    if not _is(FixedFacts, facts) and not _is(SaturatingFacts, facts):
        return None
    return _grid_bits32 if bits == types.uint32 else _grid_bits64


def _make_integer(SIGN_BIT, EXPONENT, TRAILING, BIAS):
    TOP, INF = U64(SIGN_BIT), U64(EXPONENT)
    T, LOW, HIDDEN = U64(TRAILING), U64((1 << TRAILING) - 1), U64(1 << TRAILING)

    def integer(bits, limits):
        """(magnitude in grid steps modulo 2^64, whether it is beyond the limit) of a value on the grid."""
        wide = U64(bits)
        negative = wide >= TOP
        a = U64(wide & U64(TOP - U64(1)))
        field = U64(a >> T)
        m = U64(U64(a & LOW) | (HIDDEN if field != U64(0) else U64(0)))
        left = np.int64(field if field != U64(0) else U64(1)) - (BIAS + TRAILING) + np.int64(limits[POINT])
        up = U64(m << U64(left & 63)) if left < 64 else U64(0)
        magnitude = up if left >= 0 else (U64(m >> U64(-left & 63)) if left > -64 else U64(0))
        too_wide = (left >= 64 - TRAILING) & (m != U64(0))
        limit = limits[LARGEST_NEGATIVE] if negative else limits[LARGEST]
        return magnitude, too_wide | (magnitude > limit) | (a >= INF), negative

    return integer


integer32 = core(_make_integer(0x80000000, 0x7F800000, 23, 127))
integer64 = core(_make_integer(1 << 63, 0x7FF << 52, 52, 1023))


@core
def fixed_code(magnitude, over, negative, limits):
    """Two's complement code: saturated, or the integer modulo 2^bits."""
    limit = limits[LARGEST_NEGATIVE] if negative else limits[LARGEST]
    kept = limit if over and limits[WRAPS] == U64(0) else magnitude
    return U64((U64(U64(0) - kept) if negative else kept) & limits[MASK])


@overload(shown, jit_options=SCALAR)
def _shown_fixed(kind, bits, facts):
    if not _is(FixedFacts, facts):
        return None
    integer = integer32 if bits == types.uint32 else integer64
    if isinstance(kind, types.Float):

        def value(kind, bits, facts):
            magnitude, over, negative = integer(bits, facts.limits)
            code = fixed_code(magnitude, over, negative, facts.limits)
            sign = U64(code & facts.limits[SIGN])
            number = np.int64(code) - np.int64(U64(sign << U64(1))) if sign != U64(0) else np.int64(code)
            return np.float64(number) * facts.quantum

        return value

    def code_of(kind, bits, facts):
        magnitude, over, negative = integer(bits, facts.limits)
        return fixed_code(magnitude, over, negative, facts.limits)

    return code_of


@overload(shown, jit_options=SCALAR)
def _shown_saturating(kind, bits, facts):
    if not _is(SaturatingFacts, facts):
        return None
    if isinstance(kind, types.Float):

        def value(kind, bits, facts):
            # The difference is +0 in the carrier's type; adding it makes +0 of -0.
            return min(max(from_bits(bits), facts.lowest), facts.highest) + (facts.highest - facts.highest)

        return value

    def code_of(kind, bits, facts):
        value = min(max(from_bits(bits), facts.lowest), facts.highest)
        return np.uint32(np.int32(value * facts.scale)) & facts.mask

    return code_of


@overload(noticed, jit_options=SCALAR)
def _noticed_saturating(bits, result, facts):
    if not _is(SaturatingFacts, facts):
        return None

    def noticed_of(bits, result, facts):
        x, value = from_bits(bits), from_bits(result)
        over = (value < facts.lowest) | (value > facts.highest)
        return U32(saw(SAW_NAN, x != x) | saw(SAW_OVERFLOW, over) | saw(SAW_NEGATIVE, x < 0))

    return noticed_of


@overload(noticed, jit_options=SCALAR)
def _noticed_fixed(bits, result, facts):
    if not _is(FixedFacts, facts):
        return None
    integer = integer32 if bits == types.uint32 else integer64
    infinity = U64(0x7F800000) if bits == types.uint32 else U64(0x7FF << 52)
    top = U64(1 << 31) if bits == types.uint32 else U64(1 << 63)

    def noticed_of(bits, result, facts):
        _, over, negative = integer(result, facts.limits)
        a = U64(U64(bits) & U64(top - U64(1)))
        nan = a > infinity
        return U32(
            saw(SAW_NAN, nan)
            | saw(SAW_OVERFLOW, over and not nan)
            | saw(SAW_NEGATIVE, negative and a != U64(0) and not nan)
        )

    return noticed_of
