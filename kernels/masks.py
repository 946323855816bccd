"""Two of four, the largest or drawn with the least variance, and one of two, drawn; other blocks are in mask_rows.

The draw compares and does not divide. With z_i = min(|x_i|, R), R the sum of all but the largest magnitude, the running
sum of the inclusion probabilities is C_i = 2 (z_0 + ... + z_i)/(z_0 + ... + z_3), and it reaches (word + 1)/2**r + j where
2**(r+1) (z_0 + ... + z_i) - (word + 1 + j 2**r)(z_0 + ... + z_3) >= 0. Four float32 magnitudes that are zero or within
2**27 of each other have exact sums in float64: multiples of the last place of the smallest, below 2**53 of them. Then
one fused multiply-add gives the sign exactly, and half of the whole is rounded to float32 once. Other blocks are left.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .primitives import fma, from_bits, to_bits, widest_vectors

SPREAD = np.float32(2.0**27)  # from the smallest to the largest magnitude that is not zero, for exact sums


@core
def largest_of_four(x0, x1, x2, x3, zero):
    """(each x where it is one of the two largest magnitudes, else zero, that of their type; 1 if there is a NaN)."""
    m0, m1, m2, m3 = abs(x0), abs(x1), abs(x2), abs(x3)
    met = np.uint8((m0 != m0) | (m1 != m1) | (m2 != m2) | (m3 != m3))
    # f: the earlier goes first, as among equals; l: the later. Who goes before two of three rivals is kept.
    f01, f02, f03, f12, f13, f23 = m0 >= m1, m0 >= m2, m0 >= m3, m1 >= m2, m1 >= m3, m2 >= m3
    l01, l02, l03, l12, l13, l23 = m0 < m1, m0 < m2, m0 < m3, m1 < m2, m1 < m3, m2 < m3
    y0 = x0 if (f01 & f02) | (f03 & (f01 | f02)) else zero
    y1 = x1 if (l01 & f12) | (f13 & (l01 | f12)) else zero
    y2 = x2 if (l02 & l12) | (f23 & (l02 | l12)) else zero
    y3 = x3 if (l03 & l13) | (l23 & (l03 | l13)) else zero
    return y0, y1, y2, y3, met


@loop
def keep_two_of_four(x: NDArray[Any], out: NDArray[Any]) -> bool:
    """out = x where of each four it is one of the two largest magnitudes, else +0; returns whether a NaN was met."""
    widest_vectors()
    met = np.uint8(0)
    for b in range(x.size // 4):
        y0, y1, y2, y3, one = largest_of_four(x[4 * b], x[4 * b + 1], x[4 * b + 2], x[4 * b + 3], x.dtype.type(0))
        met |= one
        out[4 * b], out[4 * b + 1], out[4 * b + 2], out[4 * b + 3] = y0, y1, y2, y3
    return bool(met)


@core
def _value(x, size, kept, level):
    """x/p where kept, p = min(1, size/level): of magnitude max(size, level)."""
    zero = np.float32(0)
    magnitude = to_bits(size if size > level else level)
    signed = from_bits(np.uint32(magnitude | np.uint32(to_bits(x) & np.uint32(0x80000000))))
    return signed if kept & (size > zero) else zero


@core
def draw_of_four(x0, x1, x2, x3, drawn, period):
    """(x_i/p_i where kept for the word, else +0; 1 where that is left): float32, period 2.0**random_bits."""
    zero, top = np.float32(0), np.float32(np.inf)
    m0, m1, m2, m3 = abs(x0), abs(x1), abs(x2), abs(x3)
    a, c = m0 if m0 > m1 else m1, m2 if m2 > m3 else m3
    e, d = m1 if m0 > m1 else m0, m3 if m2 > m3 else m2
    largest, middle = a if a > c else c, c if a > c else a
    n0, n1 = m0 if m0 > zero else top, m1 if m1 > zero else top
    n2, n3 = m2 if m2 > zero else top, m3 if m3 > zero else top
    n01, n23 = n0 if n0 < n1 else n1, n2 if n2 < n3 else n3
    smallest = n01 if n01 < n23 else n23
    others = np.float64(e) + np.float64(d) + np.float64(middle)
    z0, z1, z2, z3 = np.float64(m0), np.float64(m1), np.float64(m2), np.float64(m3)
    z0, z1 = z0 if z0 < others else others, z1 if z1 < others else others
    z2, z3 = z2 if z2 < others else others, z3 if z3 < others else others
    s2 = z0 + z1
    s3 = s2 + z2
    whole = s3 + z3
    twice = 2.0 * period
    word = np.float64(drawn) + 1.0
    again = word + period
    first = fma(-word, whole, twice * z0) >= 0.0
    second = fma(-word, whole, twice * s2) >= 0.0
    second_again = fma(-again, whole, twice * s2) >= 0.0
    third = fma(-again, whole, twice * s3) >= 0.0
    few = others == 0.0  # at most one is not zero
    # Half of the whole is `others` where the largest is kept for certain, since it counts for that much.
    level = np.float32(0.5 * whole)
    y0 = _value(x0, m0, first | few, level)
    y1 = _value(x1, m1, second_again | (second & (not first)) | few, level)
    y2 = _value(x2, m2, ((not second_again) & (third | (not second))) | few, level)
    y3 = _value(x3, m3, (not third) | few, level)
    # A NaN is in `largest` or in `level`, and fails every comparison.
    fine = (largest <= SPREAD * smallest) & (largest < top) & (level < top)
    return y0, y1, y2, y3, np.uint8(0) if fine else np.uint8(1)


@loop
def draw_two_of_four(
    x: NDArray[np.float32],
    out: NDArray[np.float32],
    words: NDArray[np.uint32],
    left: NDArray[np.uint8],
    random_bits: int,
) -> bool:
    """out = x_i/p_i where of each four it is kept for its word, else +0; returns whether any block was left.

    left [blocks]: 1 where sums may be inexact, the value overflows, or the input is not finite; out is unspecified there.
    """
    widest_vectors()
    period = np.float64(np.uint64(1) << np.uint64(random_bits))
    met = np.uint8(0)
    for b in range(words.size):
        y0, y1, y2, y3, flag = draw_of_four(x[4 * b], x[4 * b + 1], x[4 * b + 2], x[4 * b + 3], words[b], period)
        out[4 * b], out[4 * b + 1], out[4 * b + 2], out[4 * b + 3] = y0, y1, y2, y3
        left[b] = flag
        met |= flag
    return bool(met)


@core
def draw_of_two(x0, x1, drawn, period):
    """The same of two: the first is kept with probability |x_0|/(|x_0| + |x_1|), else the second."""
    zero, top = np.float32(0), np.float32(np.inf)
    m0, m1 = abs(x0), abs(x1)
    largest, other = m0 if m0 > m1 else m1, m1 if m0 > m1 else m0
    whole = np.float64(m0) + np.float64(m1)
    level = np.float32(whole)
    first = fma(-(np.float64(drawn) + 1.0), whole, period * np.float64(m0)) >= 0.0
    fine = ((largest <= SPREAD * other) | (other == zero)) & (level < top)
    flag = np.uint8(0) if fine else np.uint8(1)
    return _value(x0, m0, first, level), _value(x1, m1, not first, level), flag


@loop
def draw_one_of_two(
    x: NDArray[np.float32],
    out: NDArray[np.float32],
    words: NDArray[np.uint32],
    left: NDArray[np.uint8],
    random_bits: int,
) -> bool:
    """The same for blocks of two."""
    widest_vectors()
    period = np.float64(np.uint64(1) << np.uint64(random_bits))
    met = np.uint8(0)
    for b in range(words.size):
        out[2 * b], out[2 * b + 1], flag = draw_of_two(x[2 * b], x[2 * b + 1], words[b], period)
        left[b] = flag
        met |= flag
    return bool(met)
