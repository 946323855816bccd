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
from .primitives import floor, fma, from_bits, to_bits, trunc, widest_vectors
from .unit_counts import (
    FULL,
    GONE,
    GRADUAL,
    HIGHEST,
    INEXACT,
    LESS_THAN_ONE,
    UNDER,
    by_expansion,
    is_below,
    judged,
    less_one,
    lowest_of,
    smaller,
    spread,
    too_far,
)
from .unit_counts import NOTHING as ZERO
from .unit_fast import PANEL, TILE, exponent_of, larger, scale_of, to_nearest

U16, U32, I16, I32, F32, U64, F64 = (
    np.uint16, np.uint32, np.int16, np.int32, np.float32, np.uint64, np.float64,
)  # fmt: skip
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
def cut_whole(value, floored):
    """A float64 cut by floor or toward zero."""
    return floor(value) if floored else trunc(value)


@core
def vanishes(value):
    """Whether a float64 is not zero, and less than one."""
    return (value != 0.0) & (abs(value) < 1.0)


@core
def rounded(value, native, precision, emin, largest):
    """A float64 as the output, to nearest even; native: that is binary32, where the processor rounds.

    Zeros are +0: the values are multiples of 2**-149, none of which becomes zero, and zero itself is +0.
    """
    return F32(value) if native else F32(to_nearest(value, precision, emin, largest))


@cache
def make_late(unroll: int, groups: int, parts: int, floored: int, native: int, counting: int = 0):
    """The loop for blocks of `parts` groups of unroll * groups products; floored: groups are cut by floor, else to zero.

    native: the output is binary32. counting: 1: it also counts events, of sums that cannot become infinite; 2: which may
    be below the smallest normal number besides, and not zero.
    """

    def late(a, ea, b, eb, total, facts, largest, more, k0, k1, start, stop):
        """total[n, i, :] = chain of blocks of a[n, i, k0:k1] against b[n, k0:k1, :] from total's own values.

        a float32, ea int16 [Ba, M, K]; b, eb [Bb, K, N]; total float32 [B, M, N]; Ba, Bb either B or 1. K is a multiple
        of `unroll`, of two parts also of the block, filled up with zeros. facts: (F, F2, Fc, c_reach, floor of the
        exponents, emin of c, precision and emin of the output). more: () or what counting takes, as of
        `unit_counted.make_counted`, without that of c. Rows start <= n*M + i < stop.
        """
        widest_vectors()
        bits, sum_bits, c_bits, reach, lowest, c_emin, precision, emin = facts
        rows, columns = total.shape[1], total.shape[2]
        length = unroll * groups
        block = length * parts
        tops, sums = np.empty((parts, TILE), np.int16), np.empty((parts, TILE), np.int32)
        fresh = np.empty(TILE, np.float32)
        bias, low_c, low_scale = I32(bits + 127), I32(c_emin), I32(bits - 127)
        finer = I32(sum_bits - bits)
        c_steps, sum_step, c_step = power_of_two(c_bits), power_of_two(-sum_bits), power_of_two(-c_bits)
        nothing, least, far = I32(NOTHING), I32(lowest), I32(reach)
        if counting:
            na, da, nb, db, span, counts = more
            lows, smallest, exact = np.empty(TILE, np.uint16), np.empty(TILE, np.uint32), np.empty(TILE, np.float64)
            events, packed = np.empty(TILE, np.uint32), np.zeros((PANEL, TILE), np.uint32)
            room, tiny = np.empty(2 * block + 16, np.float64), power_of_two(emin)
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width, blocks = j1 - j0, 0
                for k in range(k0, k1, block):
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        m, n = batch if a.shape[0] > 1 else 0, batch if b.shape[0] > 1 else 0
                        left, el, right, er = a[m, i], ea[m, i], b[n], eb[n]
                        c = total[batch, i, j0:j1]
                        if counting:
                            for j in range(width):
                                smallest[j], lows[j], exact[j] = ZERO, HIGHEST, 0.0
                        for part in range(parts):
                            t, s = tops[part], sums[part]
                            for j in range(width):
                                t[j], s[j] = I16(nothing), I32(0)
                            for g in range(groups):
                                q = k + part * length + g * unroll
                                if q < k1:
                                    for j in range(width):
                                        top = t[j]
                                        for u in range(unroll):
                                            top = larger(top, I16(el[q + u] + er[q + u, U64(j0 + j)]))
                                        t[j] = top
                            for g in range(groups):
                                q = k + part * length + g * unroll
                                if q < k1:
                                    for j in range(width):
                                        scale = scale_of(larger(I32(t[j]), low_scale), bias)
                                        number = s[j]
                                        if counting:
                                            least_term = smallest[j]
                                        for u in range(unroll):
                                            term = F32(F32(left[q + u] * right[q + u, U64(j0 + j)]) * scale)
                                            number = I32(number + I32(term))
                                            if counting:
                                                least_term = smaller(least_term, less_one(term))
                                        s[j] = number
                                        if counting:
                                            smallest[j] = least_term
                        if counting:
                            ul, ur, wide, wider = na[m, i], nb[n], da[m, i], db[n]
                            for g in range(parts * groups):
                                q = k + g * unroll
                                if q < k1:
                                    for j in range(width):
                                        low = lows[j]
                                        for u in range(unroll):
                                            low = lowest_of(low, ul[q + u], ur[q + u, U64(j0 + j)])
                                        lows[j] = low
                                    for j in range(width):
                                        number = exact[j]
                                        for u in range(unroll):
                                            number = fma(wide[q + u], wider[q + u, U64(j0 + j)], number)
                                        exact[j] = number
                        for j in range(width):
                            high, whole = I32(tops[0, j]), F64(sums[0, j])
                            lost = False
                            if parts == 2:
                                one, other = high, I32(tops[1, j])
                                high = larger(one, other)
                                first_sum = whole * power(I32(one - high))
                                second_sum = F64(sums[1, j]) * power(I32(other - high))
                                lost = vanishes(first_sum) | vanishes(second_sum)
                                whole = cut_whole(first_sum, floored) + cut_whole(second_sum, floored)
                            ec = exponent_of(c[j], low_c, nothing)
                            aligned = larger(larger(high, ec), least)
                            kept = F64(c[j] if ec >= I32(aligned - far) else F32(0.0))
                            unit = power(aligned)
                            products = whole * power(I32(I32(high - aligned) + finer))
                            addend = kept * inverse(unit) * c_steps
                            value = (floor(products) * sum_step + floor(addend) * c_step) * unit
                            rounded_value = rounded(value, native, precision, emin, largest)
                            fresh[j] = rounded_value if counting or abs(c[j]) < F32(np.inf) else c[j]
                            if counting:
                                beyond = (c[j] != F32(0.0)) & ((kept == 0.0) | vanishes(addend))
                                lost = lost | vanishes(products) | beyond
                                found = judged(F64(fresh[j]), F64(c[j]), exact[j])
                                if counting == GRADUAL:
                                    low = is_below(F64(c[j]), exact[j], tiny) & (U32(found & INEXACT) != U32(0))
                                    found = U32(found | U32(UNDER if low else U32(0)))
                                events[j] = U32(found | U32(GONE if lost else U32(0)))
                        # Not at once: a choice between a place's old and new value would become a masked store.
                        if counting:
                            happened, careful = packed[index - first], U16(0)
                            for j in range(width):
                                top = tops[0, j] if parts == 1 else larger(tops[0, j], tops[parts - 1, j])
                                lows[j] = too_far(lows[j], top, span)
                                careful = U16(careful | lows[j])
                            for j in range(width if careful != U16(0) else 0):
                                if lows[j] != U16(0):
                                    last = min(k + block, k1)
                                    found = by_expansion(room, left, right, k, last, U64(j0 + j), c[j], fresh[j], tiny)
                                    events[j] = U32(U32(events[j] & GONE) | found)
                            for j in range(width):
                                gone = GONE if smallest[j] < LESS_THAN_ONE else U32(0)
                                happened[j] += U32(events[j] | gone)
                                c[j] = fresh[j]
                        else:
                            for j in range(width):
                                c[j] = fresh[j]
                    if counting:
                        blocks += 1
                        if blocks == FULL or k + block >= k1:
                            spread(packed, counts, first, past, rows, j0, j1)
                            blocks = 0

    return loop(late)
