"""Matrix units that add c behind the products, on vectors: the form of kernels/matrix_unit.py's `late_sum`.

The products of a group are cut and summed as in kernels/unit_fast.py, in int32. What follows is rare, once a block, and
done in float64, which holds all of it: the sums of two groups aligned with each other, cut to the places of their sum,
c cut to its own places, both added and rounded once. `unit_forms.plan_late` of the caller has proved the conditions:

- terms cut toward zero; products within float32's exponents and 24 bits; no infinities or NaN among the operands;
- each product's exponent is at least F - 127, so that 2**(F - M) is a normal float32; the sum of a group fits int32;
- the sum with c fits float64, and is rounded to nearest. A result may be infinite, and stays so.
"""

from functools import cache

import numpy as np

from ._jit import core, loop
from .expansions import power_of_two
from .primitives import floor, from_bits, to_bits, trunc, widest_vectors
from .unit_fast import PANEL, TILE, cut_term, exponent_of, larger, scale_of, to_nearest

U32, I32, F32, U64, F64 = np.uint32, np.int32, np.float32, np.uint64, np.float64
NOTHING = -512  # exponent of a sum of no terms: below every other, and 2.0**NOTHING is a normal float64


@core
def power(exponent):
    """2.0**exponent as float64, of a normal exponent in int32: what is done before it is made wider is done once."""
    return from_bits(U64(U64(U32(exponent + I32(1023))) << U64(52)))


@core
def inverse(unit):
    """1 / unit, of a power of two whose inverse is normal."""
    return from_bits(U64(U64(U64(2 * 1023) << U64(52)) - to_bits(unit)))


@core
def cut_whole(whole, shift, floored):
    """The integer whole * 2**shift as float64, shift <= 0, cut by floor or toward zero."""
    value = whole * power(shift)
    return floor(value) if floored else trunc(value)


@core
def rounded(value, native, precision, emin, largest):
    """A float64 as the output, to nearest even; native: that is binary32, where the processor rounds.

    Zeros are +0: the values are multiples of 2**-149, none of which becomes zero, and zero itself is +0.
    """
    return F32(value) if native else F32(to_nearest(value, precision, emin, largest))


@cache
def make_late(unroll: int, groups: int, parts: int, floored: int, native: int):
    """The loop for blocks of `parts` groups of unroll * groups products; floored: groups are cut by floor, else to zero.

    native: the output is binary32.
    """

    def late(a, ea, b, eb, total, facts, largest, k0, k1, start, stop):
        """total[n, i, :] = chain of blocks of a[n, i, k0:k1] against b[n, k0:k1, :] from total's own values.

        a float32, ea int32 [Ba, M, K]; b, eb [Bb, K, N]; total float32 [B, M, N]; Ba, Bb either B or 1. K is a multiple
        of `unroll`, of two parts also of the block, filled up with zeros. facts: (F, F2, Fc, c_reach, floor of the
        exponents, emin of c, precision and emin of the output). Rows start <= n*M + i < stop.
        """
        widest_vectors()
        bits, sum_bits, c_bits, reach, lowest, c_emin, precision, emin = facts
        rows, columns = total.shape[1], total.shape[2]
        length = unroll * groups
        tops, sums = np.empty((parts, TILE), np.int32), np.empty((parts, TILE), np.int32)
        fresh = np.empty(TILE, np.float32)
        bias, low_c, low_scale = I32(bits + 127), I32(c_emin), I32(bits - 127)
        finer = I32(sum_bits - bits)
        c_steps, sum_step, c_step = power_of_two(c_bits), power_of_two(-sum_bits), power_of_two(-c_bits)
        nothing, least, far = I32(NOTHING), I32(lowest), I32(reach)
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width = j1 - j0
                for k in range(k0, k1, length * parts):
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        left, el = a[batch if a.shape[0] > 1 else 0, i], ea[batch if a.shape[0] > 1 else 0, i]
                        nb = batch if b.shape[0] > 1 else 0
                        right, er = b[nb], eb[nb]
                        c = total[batch, i, j0:j1]
                        for part in range(parts):
                            t, s = tops[part], sums[part]
                            if groups == 1:
                                q = k + part * unroll
                                for j in range(width):
                                    top, number = nothing, I32(0)
                                    for u in range(unroll):
                                        top = larger(top, I32(el[q + u] + er[q + u, U64(j0 + j)]))
                                    scale = scale_of(larger(top, low_scale), bias)
                                    for u in range(unroll):
                                        number = I32(number + cut_term(left[q + u], right[q + u, U64(j0 + j)], scale))
                                    t[j], s[j] = top, number
                                continue
                            for g in range(groups):
                                q = k + part * length + g * unroll
                                if q < k1:
                                    for j in range(width):
                                        top = nothing if g == 0 else t[j]
                                        for u in range(unroll):
                                            top = larger(top, I32(el[q + u] + er[q + u, U64(j0 + j)]))
                                        t[j] = top
                            for g in range(groups):
                                q = k + part * length + g * unroll
                                if q < k1:
                                    for j in range(width):
                                        scale = scale_of(larger(t[j], low_scale), bias)
                                        number = I32(0) if g == 0 else s[j]
                                        for u in range(unroll):
                                            y = right[q + u, U64(j0 + j)]
                                            number = I32(number + cut_term(left[q + u], y, scale))
                                        s[j] = number
                        for j in range(width):
                            high, exact = tops[0, j], F64(sums[0, j])
                            if parts == 2:
                                high = larger(high, tops[1, j])
                                exact = cut_whole(exact, I32(tops[0, j] - high), floored)
                                exact += cut_whole(F64(sums[1, j]), I32(tops[1, j] - high), floored)
                            ec = exponent_of(c[j], low_c, nothing)
                            aligned = larger(larger(high, ec), least)
                            kept = F64(c[j] if ec >= I32(aligned - far) else F32(0.0))
                            unit = power(aligned)
                            products = floor(exact * power(I32(I32(high - aligned) + finer)))
                            addend = floor(kept * inverse(unit) * c_steps)
                            value = (products * sum_step + addend * c_step) * unit
                            fresh[j] = rounded(value, native, precision, emin, largest)
                        # Not at once: a choice between a place's old and new value would become a masked store.
                        for j in range(width):
                            c[j] = c[j] if abs(c[j]) == F32(np.inf) else fresh[j]

    return loop(late)
