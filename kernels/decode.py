"""Codepoints to values by the fields of a code: a few vector instructions, where a table is a gather for each element."""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ._jit import SCALAR, loop
from .primitives import from_bits, shift_left, to_bits, uncounted, widest_vectors
from .streams import ask_ahead, strip_of

U32, U64 = np.uint32, np.uint64

# The row of a float format with gradual underflow, uint32 or uint64 as its carrier is wide.
(
    SIGN,  # the sign bit of a code
    NORMAL,  # the smallest magnitude of a code that is a normal value's
    LAST,  # that of the largest finite value
    INFINITY,  # that of infinity; the sign bit, which no magnitude is, where there is none
    NAN,  # a code that is NaN although its magnitude is small: that of -0; else one that no code is
    SHIFT,  # trailing bits that the carrier has more
    BASE,  # added to a magnitude in its place: the difference of the biases in the carrier's exponent field
    ONE,  # the carrier's lowest bit of that field
    ORIGIN,  # bits of 2**emin
    TO_SIGN,  # places from a code's sign to the carrier's
) = range(10)
ROW_LENGTH = 10


def _make_value_bits(U, WIDTH, EXPONENT, QUIET):
    COUNT, INF, QUIET_NAN, ZERO, UNIT = U(WIDTH - 1), U(EXPONENT), U(QUIET), U(0), U(1)

    def value_bits(code, facts):
        """Bits of the value of a code. A subnormal is a normal of the lowest binade, from which 2**emin is taken off."""
        magnitude = U(code & U(facts[SIGN] - UNIT))
        below = magnitude < facts[NORMAL]
        bits = U(shift_left(magnitude, U(facts[SHIFT] & COUNT)) + facts[BASE])
        bits = U(bits + (facts[ONE] if below else ZERO))
        value = to_bits(from_bits(bits) - from_bits(facts[ORIGIN] if below else ZERO))
        finite = magnitude <= facts[LAST]
        value = value if finite else INF
        value = U(value | shift_left(U(code & facts[SIGN]), U(facts[TO_SIGN] & COUNT)))
        nan = ((magnitude != facts[INFINITY]) & (not finite)) | (code == facts[NAN])
        return QUIET_NAN if nan else value

    return value_bits


_value_bits32 = _make_value_bits(U32, 32, 0x7F800000, 0x7FC00000)
_value_bits64 = _make_value_bits(U64, 64, 0x7FF << 52, 0xFFF << 51)


def value_bits(code, facts):
    """Bits of the value of a code, in the width of its row."""
    raise NotImplementedError("compiled code only")


@overload(value_bits, jit_options=SCALAR)
def _value_bits(code, facts):
    return _value_bits32 if code == types.uint32 else _value_bits64


@loop
def decode_floats(codes: NDArray[Any], out: NDArray[Any], row: NDArray[Any], start: int, stop: int) -> None:
    """out[i] = the value of codes[i], i in [start, stop); codes unsigned and in range, out of the row's width."""
    widest_vectors()
    facts = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9])
    strip = strip_of(codes, out)
    for begin in range(start, stop, strip):
        ask_ahead(codes, out, begin, stop)
        values = uncounted(out)[begin : min(begin + strip, stop)]
        some = uncounted(codes)[begin : begin + values.size]
        for i in range(values.size):
            values[i] = from_bits(value_bits(row.dtype.type(some[i]), facts))


@loop
def decode_integers(codes: NDArray[Any], out: NDArray[Any], sign: int, quantum: float, start: int, stop: int) -> None:
    """out[i] = the integer of codes[i] times quantum, a power of two; codes of up to 16 bits; sign: the sign bit or 0.

    Two's complement is undone in floats, exactly: integers of 32 bits would be widened to 64.
    """
    widest_vectors()
    lowest, whole = U32(sign if sign else 1 << 31), out.dtype.type(2 * sign)
    step, zero = out.dtype.type(quantum), out.dtype.type(0)
    strip = strip_of(codes, out)
    for begin in range(start, stop, strip):
        ask_ahead(codes, out, begin, stop)
        values = uncounted(out)[begin : min(begin + strip, stop)]
        some = uncounted(codes)[begin : begin + values.size]
        for i in range(values.size):
            code = U32(some[i])
            values[i] = (out.dtype.type(np.int32(code)) - (whole if code >= lowest else zero)) * step
