"""Arrays of any strides to others: scaled by powers of two, packed, put in the order in which a unit takes them."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..primitives import from_bits, to_bits
from ..unit_decode import ABSENT, STRANGE, apart, truncated
from ._jit import device, kernel, moves

F32, F64, I32, U32 = np.float32, np.float64, np.int32, np.uint32
KEPT, POSITIVE = 1, 2  # the sign of a zero that a subnormal becomes


@moves
def place_in(i, x):
    """(n, row, column) of element number i of an array of three dimensions."""
    columns = x.shape[2]
    rows = x.shape[1]
    return i // (rows * columns), i // columns % rows, i % columns


@cache
def make_scaled(double: int) -> Any:
    """The kernel that writes float64, or float32."""
    kind = np.float64 if double else np.float32
    scale = device(lambda x, first, second, zero: kind(F64(F64(F64(x) * first) * second) + zero))

    def scaled(x, out, first, second, zero):
        """out[...] = x * first * second, which is exact, + zero: -0.0 leaves all as it is, +0.0 makes +0 of -0.

        x [1 or B, M, N] float32 or float64, out [B, M, N], any strides; first, second: float64 powers of two.
        """
        batches = x.shape[0]
        for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            n, row, column = place_in(i, out)
            out[n, row, column] = scale(x[n if batches > 1 else 0, row, column], first, second, zero)

    return kernel(scaled)


@cache
def make_without_negatives() -> Any:
    """The kernel that writes NaN for negative numbers."""
    kept = device(lambda x, nan: nan if x < 0 else x)

    def clear(x, out, nan):
        """out[i] = x[i], or nan, a number of their type, where x [n] is below zero."""
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            out[i] = kept(x[i], nan)

    return kernel(clear)


@cache
def make_negative() -> Any:
    """The kernel that looks for negative numbers."""
    negative = device(lambda x: x < 0)

    def find(x, found):
        """found[0] = 1 if an element of x [n] is below zero."""
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            if negative(x[i]):
                found[0] = 1

    return kernel(find)


@cache
def make_apart(truncates: int, flushes: int, gradual: int = 1) -> Any:
    """The kernel that takes an operand of a matrix unit apart.

    flushes: 0 keeps subnormals, KEPT or POSITIVE makes zeros of them. gradual: whether the format has any.
    """

    def take(x, trailing, emin, largest, tiny):
        narrow = F32(x)
        strange = U32(0) if (F64(narrow) == F64(x)) | (x != x) else U32(STRANGE)
        bits = to_bits(narrow)
        if truncates:
            bits = truncated(bits, trailing, emin)
        if not gradual:
            magnitude = U32(bits & U32(0x7FFFFFFF))
            strange = U32(strange | (U32(STRANGE) if (magnitude < tiny) & (magnitude != U32(0)) else U32(0)))
        if flushes:
            small = U32(bits & U32(0x7FFFFFFF)) < tiny
            bits = U32(bits & U32(0 if flushes == POSITIVE else 0x80000000)) if small else bits
        exponent, met = apart(bits, trailing, emin, largest)
        return from_bits(bits), exponent, U32(met | strange)

    taken = device(take)
    narrowed = device(lambda trailing, emin, largest, tiny: (I32(trailing), I32(emin), U32(largest), U32(tiny)))
    together = device(lambda x, y: U32(x | y))
    smaller = device(lambda x, y: min(x, y))
    larger = device(lambda x, y: max(x, y))
    lowest_of = device(lambda exponent: I32(-2 * ABSENT) if exponent == I32(ABSENT) else exponent)

    def apart_from(x, order, along, facts, values, exponents, flags, ends):
        """values, exponents [B, M, N] of x [B, M, N] in another order along an axis.

        order: int64, for each place along axis 1 or 2 of the result (`along`) that of x, beyond x where there is no
        term. facts: see `..unit_decode.decode`, and the bits of the smallest normal. flags: uint32 [1] of what was met;
        ends: int32 [2], lowest and highest exponent of the terms, at first -2 * ABSENT and ABSENT.
        """
        trailing, emin, largest, tiny = narrowed(facts[0], facts[1], facts[2], facts[3])
        seen, lowest, highest = U32(0), I32(-2 * ABSENT), I32(ABSENT)
        for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
            n, row, column = place_in(i, values)
            at = order[row if along == 1 else column]
            value, exponent = F32(0), I32(ABSENT)
            if at < x.shape[along]:
                given = x[n, at, column] if along == 1 else x[n, row, at]
                value, exponent, met = taken(given, trailing, emin, largest, tiny)
                seen = together(seen, met)
                lowest, highest = smaller(lowest, lowest_of(exponent)), larger(highest, exponent)
            values[n, row, column], exponents[n, row, column] = value, exponent
        cuda.atomic.or_(flags, 0, seen)
        cuda.atomic.min(ends, 0, lowest)
        cuda.atomic.max(ends, 1, highest)

    return kernel(apart_from)
