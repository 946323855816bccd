"""Matrix units of scaled groups whose products are summed exactly, on vectors: as kernels/matrix_unit.py, for GROUP > 1.

The sum of a group is exact in float32, in any order; its exponent is that of its scales, unless all its products are
zero, which masks of what is not zero tell. A block has few groups: their sums are scaled, cut toward zero, added with c
and rounded in float64. `unit_forms.plan_groups` of the caller has proved the conditions:

- terms cut toward zero; group sums within 24 bits of the last place of a product; no infinities or NaN among operands
  and scales; a block's sum fits float64; results are no subnormals where they are rounded toward zero.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import loop
from .expansions import grow, power_of_two
from .primitives import fma, trunc, widest_vectors
from .unit_counts import FULL, GONE, GRADUAL, INEXACT, UNDER, is_below, judged, packed_flags, smaller, spread
from .unit_fast import PANEL, TILE, exponent_of, larger, to_nearest, toward_zero
from .unit_late import NOTHING, vanishes
from .unit_tallies import expansion_flags

U32, I32, F32, U64, I64, F64 = np.uint32, np.int32, np.float32, np.uint64, np.int64, np.float64


@cache
def make_groups(group: int, count: int, nearest: int, counting: int = 0):
    """The loop for blocks of `count` groups of `group` products; nearest: RNE, else RZ.

    counting: as in `unit_late.make_late`.
    """

    def groups(a, ma, xa, wa, b, mb, xb, wb, total, facts, largest, more, k0, k1, start, stop):
        """total[n, i, :] = chain of blocks of a[n, i, k0:k1] against b[n, k0:k1, :] from total's own values.

        a float32 [Ba, M, K], b [Bb, K, N]. Of each group, [Ba, M, G] and [Bb, G, N]: ma, mb uint32, the bits of products
        that may not be zero; xa, xb int32 and wa, wb float64, exponents and values of scales. total float32 [B, M, N];
        Ba, Bb either B or 1. k0 is a multiple of `group`, K too, and there are `count` - 1 more groups of zeros.
        facts: (F, floor of the exponents, emin of c, precision and emin of the output). more: () or, for counting, how
        far a group's scales may be below those of another for an exact sum, and counts uint32 [8, B, M, N], added to. Rows
        start <= n*M + i < stop.
        """
        widest_vectors()
        bits, lowest, c_emin, precision, emin = facts
        rows, columns = total.shape[1], total.shape[2]
        tops, sums = np.empty(TILE, np.int32), np.empty((count, TILE), np.float32)
        fresh = np.empty(TILE, np.float32)
        nothing, least, low_c = I32(NOTHING), I32(lowest), I32(c_emin)
        if counting:
            reach, counts = more
            highs, lows = np.empty(TILE, np.int32), np.empty(TILE, np.int32)
            events, packed = np.empty(TILE, np.uint32), np.zeros((PANEL, TILE), np.uint32)
            room, tiny = np.empty(2 * group * count + 16, np.float64), power_of_two(emin)
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width, blocks = j1 - j0, 0
                for k in range(k0, k1, group * count):
                    n = k // group
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        na, nb = batch if a.shape[0] > 1 else 0, batch if b.shape[0] > 1 else 0
                        left, right = a[na, i], b[nb]
                        c = total[batch, i, j0:j1]
                        for j in range(width):
                            tops[j] = larger(exponent_of(c[j], low_c, nothing), least)
                            if counting:
                                highs[j], lows[j] = nothing, I32(-nothing)
                        for g in range(count):
                            q, s = k + g * group, sums[g]
                            if q < k1:
                                mask, shift, masks, shifts = ma[na, i, n + g], xa[na, i, n + g], mb[nb], xb[nb]
                                for j in range(width):
                                    number = F32(0.0)
                                    for u in range(group):
                                        number = fma(left[q + u], right[q + u, U64(j0 + j)], number)
                                    s[j] = number
                                for j in range(width):
                                    exponent = I32(shift + shifts[n + g, U64(j0 + j)])
                                    some = U32(mask & masks[n + g, U64(j0 + j)]) != U32(0)
                                    tops[j] = larger(tops[j], exponent if some else nothing)
                                    if counting:
                                        highs[j] = larger(highs[j], exponent if some else nothing)
                                        lows[j] = smaller(lows[j], exponent if some else I32(-nothing))
                            else:
                                s[:] = F32(0.0)
                        factors, values = wa[na, i], wb[nb]
                        for j in range(width):
                            unit = power_of_two(bits - I64(tops[j]))
                            addend = F64(c[j]) * unit
                            kept, whole, lost = trunc(addend), 0.0, vanishes(addend)
                            for g in range(count):
                                factor = factors[n + g] * values[n + g, U64(j0 + j)]
                                term = F64(sums[g, j]) * factor
                                kept += trunc(term * unit)
                                if counting:
                                    whole += term
                                    lost = lost | vanishes(term * unit)
                            value = kept * power_of_two(I64(tops[j]) - bits)
                            if nearest:
                                sum_ = F32(to_nearest(value, precision, emin, largest))
                            else:
                                sum_ = F32(F32(toward_zero(value, precision)) + F32(0.0))
                            fresh[j] = sum_ if counting or abs(c[j]) < F32(np.inf) else c[j]
                            if counting:
                                found = judged(F64(sum_), F64(c[j]), whole)
                                if counting == GRADUAL:
                                    less = is_below(F64(c[j]), whole, tiny) & (U32(found & INEXACT) != U32(0))
                                    found = U32(found | U32(UNDER if less else U32(0)))
                                events[j] = U32(found | U32(GONE if lost else U32(0)))
                        if counting:
                            careful = U32(0)
                            for j in range(width):
                                far = I32(highs[j] - lows[j]) > I32(reach)
                                careful = U32(careful | U32(1 if far else 0))
                            if careful != U32(0):
                                for j in range(width):
                                    if I32(highs[j] - lows[j]) > I32(reach):
                                        held = grow(room, 0, F64(c[j]))
                                        for q in range(k, min(k + group * count, k1)):
                                            at = q // group
                                            factor = factors[at] * values[at, U64(j0 + j)]
                                            product = F64(left[q]) * F64(right[q, U64(j0 + j)])
                                            held = grow(room, held, product * factor)
                                        ends = F64(c[j]), F64(fresh[j])
                                        found = packed_flags(expansion_flags(room, held, *ends, False, tiny, False))
                                        events[j] = U32(U32(events[j] & GONE) | found)
                        # Not at once: a choice between a place's old and new value would become a masked store.
                        for j in range(width):
                            c[j] = fresh[j]
                        if counting:
                            happened = packed[index - first]
                            for j in range(width):
                                happened[j] += events[j]
                    if counting:
                        blocks += 1
                        if blocks == FULL or k + group * count >= k1:
                            spread(packed, counts, first, past, rows, j0, j1)
                            blocks = 0

    return loop(groups)


@loop
def mark_terms(values: NDArray[Any], group: int, along: bool, out: NDArray[np.uint32], start: int, stop: int) -> None:
    """out: of each group of products the bits of the values that are not zero, bit 0 that of its first.

    values float32 [B, M, N], groups `along` the rows, out [B, M, N/group]; or across, out [B, M/group, N]. Rows start <=
    n*M + i < stop of out.
    """
    widest_vectors()
    rows = out.shape[1]
    for row in range(start, stop):
        batch, i = row // rows, row % rows
        y = out[batch, i]
        if along:
            x = values[batch, i]
            for q in range(y.size):
                own, met = x[q * group : q * group + group], U32(0)
                for u in range(own.size):
                    met = U32(met | U32(U32(1 if own[u] != F32(0) else 0) << U32(u)))
                y[q] = met
        else:
            y[:] = U32(0)
            for u in range(group):
                x = values[batch, i * group + u]
                for j in range(y.size):
                    y[j] = U32(y[j] | U32(U32(1 if x[j] != F32(0) else 0) << U32(u)))
