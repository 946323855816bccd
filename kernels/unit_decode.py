"""Operands of matrix units taken apart: membership in their format, exponents, integer significands."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import loop
from .primitives import to_bits, widest_vectors

U32, I32, U64, I64 = np.uint32, np.int32, np.uint64, np.int64
ABSENT = -(
    1 << 20
)  # exponent of what is no term: zero, infinity, NaN; so low that two of them stay far below any other
STRANGE, INFINITE, NAN = 1, 2, 4  # what a pass met: a finite value that the format lacks, an infinity, a NaN


@loop
def decode(x: NDArray[Any], exponents: NDArray[Any], mantissa_bits: int, emin: int, largest: int) -> tuple[Any, ...]:
    """Exponents of the elements of contiguous x [n], float32 bit patterns in uint32, into int32 [n].

    emin: of the format, whose subnormals have that exponent. largest: bit pattern of its largest value. Returns (flags
    met, lowest exponent, highest exponent) of the terms; of none (-2 * ABSENT, ABSENT).
    """
    widest_vectors()
    trailing, low_normal, top = I32(23 - mantissa_bits), I32(emin), U32(largest)
    strange, infinite, nan = U32(0), U32(0), U32(0)
    lowest, highest = I32(-2 * ABSENT), I32(ABSENT)
    for i in range(x.size):
        magnitude = U32(x[i] & U32(0x7FFFFFFF))
        field = I32(magnitude >> U32(23))
        raw = I32((field if field > I32(1) else I32(1)) - I32(127))
        exponent = raw if raw > low_normal else low_normal
        # Bits below the format's last place: those of the carrier, and more below the smallest normal.
        places = I32(trailing + I32(exponent - raw))
        mask = U32(U32(U32(1) << U32(places if places < I32(31) else I32(31))) - U32(1))
        significand = U32(U32(magnitude & U32(0x7FFFFF)) | (U32(0x800000) if field > I32(0) else U32(0)))
        finite = magnitude < U32(0x7F800000)
        odd = U32(1) if (U32(significand & mask) != U32(0)) | (magnitude > top) else U32(0)
        strange |= U32(odd if finite else U32(0))
        infinite |= U32(1) if magnitude == U32(0x7F800000) else U32(0)
        nan |= U32(1) if magnitude > U32(0x7F800000) else U32(0)
        term = finite & (magnitude != U32(0))
        exponents[i] = exponent if term else I32(ABSENT)
        low = exponent if term else I32(-2 * ABSENT)
        high = exponent if term else I32(ABSENT)
        lowest = low if low < lowest else lowest
        highest = high if high > highest else highest
    return U32(U32(U32(strange * U32(STRANGE)) | U32(infinite * U32(INFINITE))) | U32(nan * U32(NAN))), lowest, highest


@loop
def truncate(x: NDArray[Any], mantissa_bits: int, emin: int) -> None:
    """The finite ones of float32 x [n] toward zero to the last place of a format, in place."""
    for i in range(x.size):
        magnitude = np.float64(abs(x[i]))
        if magnitude < np.inf:
            raw = I64(to_bits(magnitude) >> U64(52)) - 1023
            exponent = raw if raw > emin else emin
            whole = np.floor(np.ldexp(magnitude, mantissa_bits - exponent))
            x[i] = np.copysign(np.ldexp(whole, exponent - mantissa_bits), x[i])


@loop
def significands(x: NDArray[Any], exponents: NDArray[Any], mantissa_bits: int, out: NDArray[Any]) -> None:
    """Signed integers x * 2**(mantissa_bits - exponent) of float32 x [n] into int32 [n]; 0 of what is no term."""
    for i in range(x.size):
        scaled = np.float64(0.0)
        if exponents[i] > ABSENT:
            scaled = np.ldexp(np.float64(x[i]), mantissa_bits - exponents[i])
        out[i] = I32(scaled)
