"""Error-free splitting: operands as sums of integers so short that a matrix product of any two is exact in float64.

Ozaki, Ogita, Oishi, Rump: Error-free transformations of matrix multiplication, Numerical Algorithms 59, 2012; here on
a fixed grid for each row of a and column of b, so that the products of two slices all have one unit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import loop
from .primitives import from_bits, leading_zeros, to_bits, widest_vectors

I64, U64 = np.int64, np.uint64


@loop
def row_spans(x: NDArray[np.float64], lowest: NDArray[np.int64], above: NDArray[np.int64]) -> None:
    """Exponents of the lowest bit of each row x[r], and of a power of two above it: [R, n] -> [R]; 0 and 1 for zeros."""
    for r in range(x.shape[0]):
        low, high = I64(1 << 20), I64(-(1 << 20))
        for i in range(x.shape[1]):
            bits = to_bits(x[r, i])
            field = I64(U64(bits >> U64(52)) & U64(0x7FF))
            m = U64(bits & U64((1 << 52) - 1))
            m = U64(m | U64(1 << 52)) if field != 0 else m
            if m != U64(0):
                own = max(field, I64(1)) - I64(1075)
                low = min(low, own + I64(63) - I64(leading_zeros(U64(m & U64(U64(0) - m)))))
                high = max(high, own + I64(63) - I64(leading_zeros(m)))
        lowest[r], above[r] = (low, high + I64(1)) if high >= low else (I64(0), I64(1))


@loop
def split(
    x: NDArray[Any],
    scale: NDArray[np.float64],
    rescale: NDArray[np.float64],
    width: int,
    slices: NDArray[Any],
    start: int,
    stop: int,
) -> int:
    """x[r, i] * scale[r] * rescale[r] = sum(slices[s, r, i] * 2**(s * width)), all integers; returns which are not zero.

    For start <= r < stop. x [R, n] float32 or float64, slices [S, R, n] float64, S <= 60. Each slice but the last is at
    most 2**(width-1) in magnitude, rounding to nearest: the remainder of a float by a multiple of a power of two is one.
    """
    widest_vectors()
    used = 0
    count = slices.shape[0]
    for r in range(start, stop):
        for s in range(count - 1, -1, -1):
            step, inverse = 2.0 ** (s * width), 2.0 ** (-s * width)
            source, out, rest = slices[0, r], slices[s, r], slices[0, r]
            if s == count - 1:
                for i in range(rest.size):
                    rest[i] = x[r, i] * scale[r] * rescale[r]
            some = False
            if s > 0:
                for i in range(rest.size):
                    value = np.rint(source[i] * inverse)
                    out[i] = value
                    rest[i] = source[i] - value * step
                    some |= value != 0.0
            else:
                for i in range(rest.size):
                    some |= rest[i] != 0.0
            used |= (1 << s) if some else 0
    return used


@loop
def settle_planes(planes: NDArray[np.float64], offsets: NDArray[np.int64], first: int, start: int, stop: int) -> None:
    """Move what planes[w, r, j] * 2**offsets[w] have above the next plane's unit into it, for w from `first` up.

    They are then at most half of that unit, except the last. Exact: integers below 2**53 before and after.
    """
    widest_vectors()
    for w in range(first, planes.shape[0] - 1):
        step = 2.0 ** (offsets[w + 1] - offsets[w])
        inverse = 1.0 / step
        for r in range(start, stop):
            low, high = planes[w, r], planes[w + 1, r]
            for j in range(low.size):
                over = np.rint(low[j] * inverse)
                low[j] -= over * step
                high[j] += over


@loop
def combine(
    planes: NDArray[np.float64],
    offsets: NDArray[np.int64],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    out: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """out[r, j] = sum of planes[w, r, j] * 2**offsets[w] rounded to odd in float64, times left[r] * right[j].

    planes [W, R, N] as `settle_planes` leaves them; offsets from 0 up; all but the last plane together are below 2**53.
    left, right: powers of two that leave the sum normal.
    """
    widest_vectors()
    last = planes.shape[0] - 1
    step = 2.0 ** offsets[last]
    for r in range(start, stop):
        low, top, row, scale = planes[0, r], planes[last, r], out[r], left[r]
        for w in range(1, last):
            unit, more = 2.0 ** offsets[w], planes[w, r]
            for j in range(low.size):
                low[j] += more[j] * unit
        if last == 0:
            for j in range(row.size):
                row[j] = low[j] * scale * right[j] + 0.0
            continue
        for j in range(row.size):
            # TwoSum, then a step toward zero and the lowest bit set where anything was lost (Boldo and Melquiond 2008).
            x, y = top[j] * step, low[j]
            s = x + y
            t = s - x
            error = (x - (s - t)) + (y - t)
            bits = to_bits(s)
            away = U64(U64(bits ^ to_bits(error)) >> U64(63))
            odd = from_bits(U64(U64(bits - away) | U64(1)) if error != 0.0 else bits)
            row[j] = odd * scale * right[j] + 0.0
