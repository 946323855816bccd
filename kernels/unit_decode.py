"""Operands of matrix units taken apart: membership in their format, exponents, integer significands."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .primitives import to_bits, widest_vectors

U32, I32, I16, F32 = np.uint32, np.int32, np.int16, np.float32
LEAST_NORMAL = F32(2.0**-126)
TILE = 512
# Exponent of what is no term: zero, infinity, NaN. It is far below any other, and the sum of two of them fits an int16.
ABSENT = -(1 << 14)
# What a pass met: a finite value that lies between those of the format, an infinity, a NaN, a value below the smallest
# normal, a zero, a zero with a sign.
STRANGE, INFINITE, NAN, SUBNORMAL, ZERO, NEGATIVE_ZERO = 1, 2, 4, 8, 16, 32


@core
def places_below(magnitude, trailing, emin):
    """(bits of a float32 below the last place of a format, at most 31; exponent in the format of magnitude bits)."""
    field = I32(magnitude >> U32(23))
    raw = I32((field if field > I32(1) else I32(1)) - I32(127))
    exponent = raw if raw > emin else emin
    # Bits below the format's last place: those of the carrier, and more below the smallest normal.
    places = I32(trailing + I32(exponent - raw))
    return U32(places if places < I32(31) else I32(31)), exponent


@core
def apart(bits, trailing, emin, largest):
    """(exponent or ABSENT, flags met) of a float32; trailing: its mantissa bits that the format lacks."""
    magnitude = U32(bits & U32(0x7FFFFFFF))
    places, exponent = places_below(magnitude, trailing, emin)
    mask = U32(U32(U32(1) << places) - U32(1))
    significand = U32(U32(magnitude & U32(0x7FFFFF)) | (U32(0x800000) if magnitude >= U32(0x800000) else U32(0)))
    finite = magnitude < U32(0x7F800000)
    odd = U32(STRANGE) if (U32(significand & mask) != U32(0)) | (magnitude > largest) else U32(0)
    special = U32(INFINITE) if magnitude == U32(0x7F800000) else U32(NAN)
    term = finite & (magnitude != U32(0))
    return (exponent if term else I32(ABSENT)), (odd if finite else special)


@core
def truncated(bits, trailing, emin):
    """The bits of a float32 cut toward zero to the last place of a format; what is not finite stays."""
    magnitude = U32(bits & U32(0x7FFFFFFF))
    places, _ = places_below(magnitude, trailing, emin)
    below = U32(U32(U32(1) << places) - U32(1)) if places < U32(24) else U32(0x7FFFFFFF)
    return U32(bits & U32(~below)) if magnitude < U32(0x7F800000) else bits


@loop
def decode(x: NDArray[Any], exponents: NDArray[Any], mantissa_bits: int, emin: int, largest: int) -> tuple[Any, ...]:
    """Exponents of the elements of contiguous x [n], float32 bit patterns in uint32, into int16 [n].

    emin: of the format, whose subnormals have that exponent. largest: bit pattern of its largest value. Returns (flags
    met, lowest exponent, highest exponent) of the terms; of none (-2 * ABSENT, ABSENT).
    """
    widest_vectors()
    trailing, low_normal, top = I32(23 - mantissa_bits), I32(emin), U32(largest)
    flags = U32(0)
    lowest, highest = I32(-2 * ABSENT), I32(ABSENT)
    held = np.empty(TILE, np.int32)  # stored as they are found, narrow, ABSENT would become a branch
    for begin in range(0, x.size, TILE):
        some, found = x[begin : begin + TILE], exponents[begin : begin + TILE]
        for i in range(some.size):
            exponent, met = apart(some[i], trailing, low_normal, top)
            held[i] = exponent
            flags = U32(flags | met)
            low = exponent if exponent != I32(ABSENT) else I32(-2 * ABSENT)
            lowest = low if low < lowest else lowest
            highest = exponent if exponent > highest else highest
        for i in range(some.size):
            found[i] = I16(held[i])
    return flags, lowest, highest


@loop
def widen(x: NDArray[np.float32], exponents: NDArray[np.int16], out: NDArray[np.float64]) -> None:
    """out = x [n] in float64; exponents: those of x as if float32 had no subnormals, ABSENT of zero."""
    widest_vectors()
    held = np.empty(TILE, np.int32)
    for begin in range(0, x.size, TILE):
        some, found, wide = x[begin : begin + TILE], exponents[begin : begin + TILE], out[begin : begin + TILE]
        for i in range(some.size):
            tiny = abs(some[i]) < LEAST_NORMAL
            bits = to_bits(F32(some[i] * F32(2.0**24))) if tiny else to_bits(some[i])
            exponent = I32(I32(U32(bits >> U32(23)) & U32(0xFF)) - (I32(127 + 24) if tiny else I32(127)))
            held[i] = exponent if some[i] != F32(0.0) else I32(ABSENT)
        for i in range(some.size):
            found[i], wide[i] = I16(held[i]), np.float64(some[i])


@loop
def survey(x: NDArray[Any], mantissa_bits: int, emin: int, largest: int, smallest: int) -> tuple[Any, ...]:
    """What `decode` returns, without the exponents; the flags have SUBNORMAL, ZERO, NEGATIVE_ZERO too.

    smallest: bit pattern of the format's smallest normal.
    """
    widest_vectors()
    trailing, low_normal, top, least = I32(23 - mantissa_bits), I32(emin), U32(largest), U32(smallest)
    flags = U32(0)
    lowest, highest = I32(-2 * ABSENT), I32(ABSENT)
    for i in range(x.size):
        exponent, met = apart(x[i], trailing, low_normal, top)
        magnitude = U32(x[i] & U32(0x7FFFFFFF))
        tiny = U32(SUBNORMAL) if magnitude < least else U32(0)
        zero = U32(NEGATIVE_ZERO + ZERO) if x[i] == U32(0x80000000) else U32(ZERO)
        flags = U32(U32(flags | met) | (tiny if magnitude != U32(0) else zero))
        low = exponent if exponent != I32(ABSENT) else I32(-2 * ABSENT)
        lowest = low if low < lowest else lowest
        highest = exponent if exponent > highest else highest
    return flags, lowest, highest


@core
def placed(exponent, shift):
    """An exponent moved by that of a scale, or ABSENT of what is no term."""
    total = I32(I32(exponent) + shift)
    return I16(total if total > I32(ABSENT) else I32(ABSENT))


@loop
def weigh(
    values: NDArray[Any],
    exponents: NDArray[Any],
    scales: NDArray[Any],
    shifts: NDArray[Any],
    block: int,
    along: bool,
    out: NDArray[Any],
    sums: NDArray[Any],
    start: int,
    stop: int,
) -> tuple[Any, ...]:
    """out = values times scales, sums = exponents plus the scales' exponents, of rows start <= n*M + i < stop.

    values, out float32 and exponents, sums int16 [B, M, N]. scales float32, shifts int32: [B, M, N/block] if they are
    those of `along` the rows, else [B, M/block, N]. Returns the lowest and the highest sum as `decode`.
    """
    widest_vectors()
    rows, columns = values.shape[1], values.shape[2]
    lowest, highest, least = I32(-2 * ABSENT), I32(ABSENT), I32(ABSENT // 2)
    for row in range(start, stop):
        batch, i = row // rows, row % rows
        factors, places = scales[batch, i if along else i // block], shifts[batch, i if along else i // block]
        if along:
            for q in range(factors.size):
                j0, j1 = q * block, min(q * block + block, columns)
                factor, place = factors[q], places[q]
                x, y = values[batch, i, j0:j1], out[batch, i, j0:j1]
                for j in range(y.size):
                    y[j] = x[j] * factor
                e, s = exponents[batch, i, j0:j1], sums[batch, i, j0:j1]
                for j in range(s.size):
                    s[j] = placed(e[j], place)
        else:
            x, y = values[batch, i], out[batch, i]
            for j in range(y.size):
                y[j] = x[j] * factors[j]
            e, s = exponents[batch, i], sums[batch, i]
            for j in range(s.size):
                s[j] = placed(e[j], places[j])
        s = sums[batch, i]
        for j in range(s.size):
            exponent = I32(s[j])
            low = exponent if exponent > least else I32(-2 * ABSENT)
            high = exponent if exponent > least else I32(ABSENT)
            lowest = low if low < lowest else lowest
            highest = high if high > highest else highest
    return lowest, highest


@loop
def truncate(x: NDArray[Any], mantissa_bits: int, emin: int) -> None:
    """The finite ones of float32 x [n], bit patterns in uint32, toward zero to the last place of a format, in place."""
    widest_vectors()
    trailing, low_normal = I32(23 - mantissa_bits), I32(emin)
    for i in range(x.size):
        x[i] = truncated(x[i], trailing, low_normal)


@loop
def significands(x: NDArray[Any], exponents: NDArray[Any], mantissa_bits: int, out: NDArray[Any]) -> None:
    """Signed integers x * 2**(mantissa_bits - exponent) of float32 x [n] into int32 [n]; 0 of what is no term."""
    for i in range(x.size):
        scaled = np.float64(0.0)
        if exponents[i] > ABSENT:
            scaled = np.ldexp(np.float64(x[i]), mantissa_bits - exponents[i])
        out[i] = I32(scaled)
