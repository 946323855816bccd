"""Logarithmic formats of few steps: a chain of comparisons in place of a table, so that loops are vectorised.

For up to eight steps an octave and the modes that do not look at the sign: the steps and the turning points between
them are scalars, which stay in registers or in the first cache. What goes from `quantize_bits` to `shown` is the value.
"""

from collections import namedtuple

import numpy as np
from numba import types
from numba.extending import overload

from ._jit import SCALAR, core
from .carrier import grid_of, noticed, quantize_bits, saw, shown, shown_value, unpack, unpack_row
from .modes import SAW_NAN, SAW_NEGATIVE, SAW_OVERFLOW

U32, U64 = np.uint32, np.uint64

# row: a parameter row that is not looked at. points [8]: the fraction bits from which on a value goes to the next step,
# ascending. steps [8]: those steps, the last one the next octave: fraction bits beyond the field. Unused ones are out of
# reach. ends [7]: bits of the smallest and the largest value, of the least magnitude that does not become zero and of the
# least that overflows; the fraction bits of the format, the carrier exponent of the octave of code 0, codes' sign bit.
ChainRow = namedtuple("ChainRow", "row points steps ends")
ChainFacts = namedtuple("ChainFacts", "grid points steps ends")
SMALLEST, LARGEST, BOTTOM, OVER, FRACTION_BITS, OCTAVE, SIGN = range(7)
LENGTH = 8


@core
def _eight(a):
    return a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]


@core
def _seven(a):
    return a[0], a[1], a[2], a[3], a[4], a[5], a[6]


def _is(kind, value):
    return isinstance(value, types.BaseNamedTuple) and value.instance_class is kind


@overload(unpack, jit_options=SCALAR)
def _unpack_chain(row):
    if not _is(ChainRow, row):
        return None
    return lambda row: ChainFacts(unpack_row(row.row), _eight(row.points), _eight(row.steps), _seven(row.ends))


@overload(grid_of, jit_options=SCALAR)
def _grid_of_chain(facts):
    return (lambda facts: facts.grid) if _is(ChainFacts, facts) else None


def _make_chain(U, TRAILING, SIGN_BIT):
    LOW, TOP, ZERO, ONE = U((1 << TRAILING) - 1), U(SIGN_BIT), U(0), U(1)
    T = U(TRAILING)

    def value_of(bits, word, mode, normalise, facts):
        """Bits of the value that a finite or infinite number rounds to, clamped to the largest; a zero has no sign."""
        points, steps, ends = facts.points, facts.steps, facts.ends
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        low = U(a & LOW)
        step = ZERO
        step = steps[0] if low >= points[0] else step
        step = steps[1] if low >= points[1] else step
        step = steps[2] if low >= points[2] else step
        step = steps[3] if low >= points[3] else step
        step = steps[4] if low >= points[4] else step
        step = steps[5] if low >= points[5] else step
        step = steps[6] if low >= points[6] else step
        step = steps[7] if low >= points[7] else step
        value = min(U(U(a ^ low) + step), ends[LARGEST])
        below = ends[SMALLEST] if a >= ends[BOTTOM] else ZERO
        value = value if a >= ends[SMALLEST] else below
        return U(value | (sign if value != ZERO else ZERO))

    def code_of(bits, facts):
        """Code of a value of the format."""
        steps, ends = facts.steps, facts.ends
        a = U(bits & U(TOP - ONE))
        low = U(a & LOW)
        place = ZERO
        for j in range(LENGTH):
            place = U(place + (ONE if low >= steps[j] else ZERO))
        octaves = U(U(a >> T) - ends[OCTAVE])
        code = U(U(octaves << U(ends[FRACTION_BITS] & U(3))) + place)
        signed = U(code | (ends[SIGN] if bits >= TOP else ZERO))
        return signed if a != ZERO else ZERO

    return value_of, core(code_of)


_value32, _code32 = _make_chain(U32, 23, 0x80000000)
_value64, _code64 = _make_chain(U64, 52, 1 << 63)


@overload(quantize_bits, jit_options=SCALAR)
def _quantize_chain(bits, word, mode, normalise, facts):
    if not _is(ChainFacts, facts):
        return None
    return _value32 if bits == types.uint32 else _value64


@overload(shown, jit_options=SCALAR)
def _shown_chain(kind, bits, facts):
    if not _is(ChainFacts, facts):
        return None
    if isinstance(kind, types.Float):
        return shown_value
    code = _code32 if bits == types.uint32 else _code64
    return lambda kind, bits, facts: code(bits, facts)


def _make_noticed(U, SIGN_BIT, EXPONENT):
    TOP, INF, ZERO, ONE = U(SIGN_BIT), U(EXPONENT), U(0), U(1)

    def noticed_of(bits, result, facts):
        a = U(bits & U(TOP - ONE))
        over = (a >= facts.ends[OVER]) & (a <= INF)
        negative = (bits >= TOP) & (a != ZERO) & (a <= INF)
        return U32(saw(SAW_NAN, a > INF) | saw(SAW_OVERFLOW, over) | saw(SAW_NEGATIVE, negative))

    return noticed_of


_noticed32, _noticed64 = _make_noticed(U32, 0x80000000, 0x7F800000), _make_noticed(U64, 1 << 63, 0x7FF << 52)


@overload(noticed, jit_options=SCALAR)
def _noticed_chain(bits, result, facts):
    if not _is(ChainFacts, facts):
        return None
    return _noticed32 if bits == types.uint32 else _noticed64
