"""The loop of kernels/unit_fast.py, which also counts events, as kernels/unit_counts.py says."""

from functools import cache

import numpy as np

from ._jit import loop
from .expansions import power_of_two
from .primitives import fma, to_bits, widest_vectors
from .unit_counts import (
    FULL,
    GONE,
    HIGHEST,
    INEXACT,
    LESS_THAN_ONE,
    NOTHING,
    SWAMPED,
    UNDER,
    by_expansion,
    is_below,
    judged,
    less_one,
    lowest_of,
    packed_flags,
    smaller,
    spread,
    too_far,
)
from .unit_fast import F32, I16, I32, PANEL, TILE, U32, U64, block_value, larger, nearest_sum, scale_of
from .unit_tallies import sum_flags

U16, F64 = np.uint16, np.float64
ABOVE = 1 << 14  # instead of the exponent of a c that is zero


@cache
def make_counted(unroll: int, groups: int, nearest: int, apart: int, eager: int, gradual: int):
    """`unit_fast.make_fast` for sums that cannot become infinite.

    eager: all terms are asked whether they vanish in units, else those of rows whose exponents allow it. gradual:
    whether a sum that is not zero can be below the smallest normal number.
    """

    def counted(a, ea, b, eb, total, bits, lowest, c_emin, precision, emin, largest, whole, more, k0, k1, start, stop):
        """As there, and more: a's exponents as if all were normal, int16, and a in float64; the same of b; how far below
        the largest exponent of a block that of its lowest product may be for an exact sum; log2 of how large c must be, in
        units of the block's last place, not to be asked more about; counts uint32 [8, B, M, N], added to.
        """
        widest_vectors()
        na, da, nb, db, reach, small, counts = more
        rows, columns = total.shape[1], total.shape[2]
        block = unroll * groups
        tops, lows = np.empty(TILE, np.int16), np.empty(TILE, np.uint16)
        sums, smallest = np.empty((groups, TILE), np.int32), np.empty(TILE, np.uint32)
        own, exact, below = np.empty(TILE, np.int16), np.empty(TILE, np.float64), np.empty(TILE, np.uint32)
        gap, after = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        inner = np.empty((PANEL, TILE), np.float32)
        events, packed = np.empty(TILE, np.uint32), np.zeros((PANEL, TILE), np.uint32)
        parts = np.empty(2 * block + 16, np.float64)
        floor, low_c, bias = I32(lowest), I32(c_emin), I32(bits + 127)
        c_span = I16(small - bits)
        mask = U64(U64(0xFFFFFFFFFFFFFFFF) << U64(53 - precision))
        tiny, steps = power_of_two(emin), power_of_two(precision - 1)
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width, blocks = j1 - j0, 0
                for k in range(k0, k1, block):
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        m, n = batch if a.shape[0] > 1 else 0, batch if b.shape[0] > 1 else 0
                        left, el, ul, wide = a[m, i], ea[m, i], na[m, i], da[m, i]
                        right, er, ur, wider = b[n], eb[n], nb[n], db[n]
                        given = total[batch, i, j0:j1]
                        c = inner[index - first, :width] if apart else given
                        if apart and (k - k0) % whole == 0:
                            c[:] = F32(0.0)
                        for j in range(width):
                            exponent = I32(U32(to_bits(c[j]) >> U32(23)) & U32(0xFF)) - I32(127)
                            some = c[j] != F32(0.0)
                            tops[j] = I16(larger(larger(exponent, low_c) if some else floor, floor))
                            own[j], lows[j] = I16(exponent if some else I32(ABOVE)), HIGHEST
                        for g in range(groups):
                            q = k + g * unroll
                            if q < k1:
                                for j in range(width):
                                    top, low = tops[j], lows[j]
                                    for u in range(unroll):
                                        top = larger(top, I16(el[q + u] + er[q + u, U64(j0 + j)]))
                                        low = lowest_of(low, ul[q + u], ur[q + u, U64(j0 + j)])
                                    tops[j], lows[j] = top, low
                        for j in range(width):
                            sums[0, j], exact[j] = I32(c[j] * scale_of(I32(tops[j]), bias)), 0.0
                            if eager:
                                smallest[j] = NOTHING
                        for g in range(groups):
                            q = k + g * unroll
                            s = sums[g]
                            if g > 0:
                                s[:] = I32(0)
                            if q < k1:
                                for j in range(width):
                                    scale, number = scale_of(I32(tops[j]), bias), s[j]
                                    if eager:
                                        least = smallest[j]
                                    for u in range(unroll):
                                        term = F32(F32(left[q + u] * right[q + u, U64(j0 + j)]) * scale)
                                        number = I32(number + I32(term))
                                        if eager:
                                            least = smaller(least, less_one(term))
                                    s[j] = number
                                    if eager:
                                        smallest[j] = least
                        for g in range(groups):
                            q = k + g * unroll
                            if q < k1:
                                for j in range(width):
                                    number = exact[j]
                                    for u in range(unroll):
                                        number = fma(wide[q + u], wider[q + u, U64(j0 + j)], number)
                                    exact[j] = number
                        careful, vanishing = U16(0), U16(0)
                        for j in range(width):
                            vanishing = U16(vanishing | too_far(lows[j], tops[j], bits))
                            lows[j] = too_far(lows[j], tops[j], reach)
                            careful = U16(careful | U16(lows[j] | U16(1 if own[j] < I16(tops[j] + c_span) else 0)))
                        for j in range(width):
                            kept = F64(sums[0, j])
                            for g in range(1, groups):
                                kept += F64(sums[g, j])
                            value = block_value(kept, I32(tops[j]), bits, precision, emin, largest, mask, nearest)
                            # Between what the products add up to and what they would have to.
                            gap[j], after[j] = F32(exact[j] - (value - F64(c[j]))), F32(value)
                            if gradual:
                                below[j] = UNDER if is_below(F64(c[j]), exact[j], tiny) else U32(0)
                        happened = packed[index - first]
                        if not eager and vanishing != U16(0):
                            careful = U16(1)
                            smallest[:] = NOTHING
                            for q in range(k, min(k + block, k1)):
                                for j in range(width):
                                    scale = scale_of(I32(tops[j]), bias)
                                    term = F32(F32(left[q] * right[q, U64(j0 + j)]) * scale)
                                    smallest[j] = smaller(smallest[j], less_one(term))
                        if careful == U16(0):
                            for j in range(width):
                                inexact = gap[j] != F32(0.0)
                                swamped = inexact & (after[j] == c[j]) & (c[j] != F32(0.0))
                                found = U32(U32(INEXACT if inexact else U32(0)) | U32(SWAMPED if swamped else U32(0)))
                                if eager:
                                    found = U32(found | U32(GONE if smallest[j] < LESS_THAN_ONE else U32(0)))
                                if gradual:
                                    found = U32(found | U32(below[j] if inexact else U32(0)))
                                happened[j] += found
                                c[j] = after[j]
                        else:
                            lost = LESS_THAN_ONE if eager or vanishing != U16(0) else U32(0)
                            for j in range(width):
                                found = judged(F64(after[j]), F64(c[j]), exact[j])
                                number = F32(c[j] * scale_of(I32(tops[j]), bias))
                                gone = (smallest[j] < lost) | ((c[j] != F32(0.0)) & (abs(number) < F32(1.0)))
                                if gradual:
                                    found = U32(found | U32(below[j] if U32(found & INEXACT) != U32(0) else U32(0)))
                                events[j] = U32(found | U32(GONE if gone else U32(0)))
                            for j in range(width):
                                if lows[j] != U16(0):
                                    last = min(k + block, k1)
                                    found = by_expansion(parts, left, right, k, last, U64(j0 + j), c[j], after[j], tiny)
                                    events[j] = U32(U32(events[j] & GONE) | found)
                            for j in range(width):
                                happened[j] += events[j]
                                c[j] = after[j]
                        if apart and ((k + block - k0) % whole == 0 or k + block >= k1):
                            for j in range(width):
                                before = given[j]
                                if nearest:
                                    given[j] = nearest_sum(before, c[j], precision, emin, largest)
                                else:  # binary32, whose own addition this is
                                    given[j] = F32(before + c[j])
                                found = sum_flags(F64(before), F64(c[j]), F64(given[j]), False, tiny, steps, False)
                                happened[j] += packed_flags(found)
                    blocks += 2 if apart else 1
                    if blocks >= FULL - 2 or k + block >= k1:
                        spread(packed, counts, first, past, rows, j0, j1)
                        blocks = 0

    return loop(counted)
