"""Aligned block dot products on vectors of float32: the form of kernels/matrix_unit.py for narrow operands.

Lanes run along the columns of the output. Within a block, one pass finds the largest exponent M of a lane's terms, the
next cuts each product: a*b is exact in float32, its product with 2**(F - M) is exact or of magnitude below one, and
conversion to int32 truncates toward zero. Eight such integers, and c's, stay below 2**31 (F <= 25). Their sums are
added in float64 (exact), which is then rounded once. `unit_forms.plan_vectors` of the caller has proved the conditions:

- terms cut toward zero; products within float32's exponents and 24 bits; no infinities or NaN among the operands;
- every exponent M that a block can have is within F - 127 .. 128, so that 2**(F - M) is a normal float32; results are
  no subnormals where they are rounded toward zero. An intermediate result may be infinite, and stays so.
"""

from functools import cache

import numpy as np

from ._jit import core, loop
from .primitives import from_bits, to_bits, widest_vectors

U32, I32, I16, F32, U64, I64 = np.uint32, np.int32, np.int16, np.float32, np.uint64, np.int64
TILE = 256  # columns whose block of b (values and exponents) stays in the L1 cache
PANEL = 16  # rows that use such a block before the next is fetched


@core
def larger(x, y):
    """The larger of two int32."""
    return x if x > y else y


@core
def exponent_of(c, emin, absent):
    """Exponent of a float32 in a format with that emin; `absent` of zero."""
    exponent = larger(I32(I32(U32(to_bits(c) >> U32(23)) & U32(0xFF)) - I32(127)), emin)
    return exponent if c != F32(0.0) else absent


@core
def power(exponent):
    """2.0**exponent as float64, of a normal exponent."""
    return from_bits(U64(U64(I64(exponent) + I64(1023)) << U64(52)))


@core
def scale_of(top, bias):
    """2.0**(F - top) as float32; bias: F + 127."""
    return from_bits(U32(U32(bias - top) << U32(23)))


@core
def cut_term(x, y, scale):
    """The product of two float32 in units of the block's last place, cut toward zero; it is exact before."""
    return I32(F32(F32(x * y) * scale))


@core
def block_value(exact, top, bits, precision, emin, largest, mask, nearest):
    """The sum of a block, an integer as float64 in units of 2**(top - bits), rounded to the output."""
    exact = exact * power(top - bits)
    return to_nearest(exact, precision, emin, largest) if nearest else from_bits(U64(to_bits(exact) & mask))


@core
def toward_zero(x, precision):
    """x cut to a precision."""
    return from_bits(U64(to_bits(x) & U64(U64(0xFFFFFFFFFFFFFFFF) << U64(53 - precision))))


@core
def to_nearest(x, precision, emin, largest):
    """x rounded to nearest even in a format; beyond its largest value infinite. Zeros are +0."""
    exponent = I64(U64(to_bits(x) >> U64(52)) & U64(0x7FF)) - I64(1023)
    exponent = exponent if exponent > emin else emin
    # 1.5 * 2**52 times the last place: adding it leaves no room for what is below.
    magic = power(exponent - precision + I64(53)) * 1.5
    rounded = (x + magic) - magic
    if abs(rounded) > largest:
        return np.inf if x > 0 else -np.inf
    return rounded


@core
def nearest_sum(x, y, precision, emin, largest):
    """x + y of two values of an output of up to 24 bits, once more rounded; exact zeros have IEEE 754's sign."""
    total = np.float64(x) + np.float64(y)
    rounded = to_nearest(total, precision, emin, largest) if abs(total) < np.inf else total
    return F32(total if total == 0.0 else rounded)


@cache
def make_fast(unroll: int, groups: int, nearest: int, apart: int, bounded: int):
    """The loop for blocks of unroll * groups products; nearest: RNE, else RZ; apart: c is added behind each `whole`.

    bounded: no sum can become infinite.
    """

    def fast(a, ea, b, eb, total, bits, lowest, c_emin, precision, emin, largest, whole, k0, k1, start, stop):
        """total[n, i, :] = chain of blocks of a[n, i, k0:k1] against b[n, k0:k1, :] from total's own values.

        a float32, ea int16 [Ba, M, K]; b, eb [Bb, K, N]; total float32 [B, M, N]; Ba, Bb either B or 1. K is a multiple
        of `unroll`, filled up with zeros. Rows start <= n*M + i < stop.
        """
        widest_vectors()
        rows, columns = total.shape[1], total.shape[2]
        block = unroll * groups
        tops, sums = np.empty(TILE, np.int16), np.empty((groups, TILE), np.int32)
        fresh = np.empty(TILE, np.float32)
        inner = np.empty((PANEL, TILE), np.float32)  # sums that begin at zero, where c is added behind them
        floor, bias, low_c = I32(lowest), I32(bits + 127), I32(c_emin)
        mask = U64(U64(0xFFFFFFFFFFFFFFFF) << U64(53 - precision))
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width = j1 - j0
                for k in range(k0, k1, block):
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        left, el = a[batch if a.shape[0] > 1 else 0, i], ea[batch if a.shape[0] > 1 else 0, i]
                        nb = batch if b.shape[0] > 1 else 0
                        right, er = b[nb], eb[nb]
                        given = total[batch, i, j0:j1]
                        c = inner[index - first, :width] if apart else given
                        if apart and (k - k0) % whole == 0:
                            c[:] = F32(0.0)
                        for j in range(width):
                            tops[j] = I16(larger(exponent_of(c[j], low_c, floor), floor))
                        for g in range(groups):
                            q = k + g * unroll
                            if q < k1:
                                for j in range(width):
                                    top = tops[j]
                                    for u in range(unroll):
                                        top = larger(top, I16(el[q + u] + er[q + u, U64(j0 + j)]))
                                    tops[j] = top
                        if groups > 1:  # a choice for g = 0 in the loop could become a masked load
                            for j in range(width):
                                sums[0, j] = cut_term(c[j], F32(1.0), scale_of(I32(tops[j]), bias))
                        for g in range(groups):
                            q = k + g * unroll
                            s = sums[g]
                            if g > 0:
                                s[:] = I32(0)
                            if q < k1:
                                for j in range(width):
                                    scale = scale_of(I32(tops[j]), bias)
                                    number = s[j] if groups > 1 else cut_term(c[j], F32(1.0), scale)
                                    for u in range(unroll):
                                        number = I32(number + cut_term(left[q + u], right[q + u, U64(j0 + j)], scale))
                                    s[j] = number
                        for j in range(width):
                            exact = np.float64(sums[0, j])
                            for g in range(1, groups):
                                exact += np.float64(sums[g, j])
                            value = block_value(exact, I32(tops[j]), bits, precision, emin, largest, mask, nearest)
                            if bounded:
                                c[j] = F32(value)
                            else:
                                fresh[j] = c[j] if abs(c[j]) == F32(np.inf) else F32(value)
                        if not bounded:
                            # Not at once: a choice between a place's old and new value would become a masked store.
                            for j in range(width):
                                c[j] = fresh[j]
                        if apart and ((k + block - k0) % whole == 0 or k + block >= k1):
                            for j in range(width):
                                if nearest:
                                    given[j] = nearest_sum(given[j], c[j], precision, emin, largest)
                                else:  # binary32, whose own addition this is
                                    given[j] = F32(given[j] + c[j])

    return loop(fast)
