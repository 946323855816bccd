"""Matrix units whose blocks are summed exactly, on vectors: the sums of kernels/unit_steps.py's `make_exact`.

A block's terms are added to 1.5 * 2**(52 + w), whose last place is 2**w. What each addition rounds off is exact and is
added apart. The two windows, above and below 2**w, hold the exact sum; rounded to odd from both, it rounds once more
without harm. `unit_forms.plan_windows` of the caller has proved the conditions:

- products within float32's exponents and 24 bits; no infinities or NaN among the operands;
- every sum is less than 2**(w + 51); terms are multiples of a power of two so large that what is rounded off a block's
  terms, each at most 2**(w - 1), adds up exactly; results are no subnormals where they are rounded toward zero.
"""

from functools import cache

import numpy as np

from ._jit import core, loop
from .expansions import odd, power_of_two, two_sum
from .primitives import widest_vectors
from .unit_counts import FULL, GRADUAL, INEXACT, SWAMPED, UNDER, below, spread
from .unit_fast import PANEL, TILE, toward_zero
from .unit_late import rounded

F32, U32, U64, F64 = np.float32, np.uint32, np.uint64, np.float64


@core
def pair_judged(result, c, high, low):
    """INEXACT and SWAMPED of a sum high + low, to nearest and its error, that became `result`; c is one part of it."""
    inexact = (result != high) | (low != 0.0)
    rest, error = two_sum(high - result, low)  # the first difference is exact: result is that sum rounded
    alone = (rest == c) & (error == 0.0) & (result != 0.0)  # the sum lacks c, so the rest of it is the result
    swamped = (c != 0.0) & (((result == c) & inexact) | alone)
    return U32(U32(INEXACT if inexact else U32(0)) | U32(SWAMPED if swamped else U32(0)))


@cache
def make_windows(depth: int, nearest: int, native: int, counting: int = 0):
    """The loop for blocks of `depth` products; nearest: RNE, else RZ; native: the output is binary32.

    counting: as in `unit_late.make_late`.
    """

    def windows(a, b, total, base, precision, emin, largest, more, k0, k1, start, stop):
        """total[n, i, :] = chain of exact blocks of a[n, i, k0:k1] against b[n, k0:k1, :] from total's own values.

        a float32 [Ba, M, K]; b [Bb, K, N]; total float32 [B, M, N]; Ba, Bb either B or 1. K and k0 are multiples of
        `depth`, filled up with zeros. base: 1.5 * 2**(52 + w). more: () or the counts, uint32 [8, B, M, N], that events
        are added to. Rows start <= n*M + i < stop.
        """
        widest_vectors()
        rows, columns = total.shape[1], total.shape[2]
        fresh = np.empty(TILE, np.float32)
        if counting:
            events, packed, tiny = np.empty(TILE, np.uint32), np.zeros((PANEL, TILE), np.uint32), power_of_two(emin)
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width, blocks = j1 - j0, 0
                for k in range(k0, k1, depth):
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        left, right = a[batch if a.shape[0] > 1 else 0, i], b[batch if b.shape[0] > 1 else 0]
                        c = total[batch, i, j0:j1]
                        for j in range(width):
                            high = base + F64(c[j])
                            low = F64(c[j]) - (high - base)
                            for u in range(depth):
                                product = F64(F32(left[k + u] * right[k + u, U64(j0 + j)]))
                                total_high = high + product
                                low += product - (total_high - high)
                                high = total_high
                            near, error = two_sum(high - base, low)
                            value = odd(near, error)
                            if nearest:
                                sum_ = rounded(value, native, precision, emin, largest)
                            else:
                                sum_ = F32(toward_zero(value, precision))
                            fresh[j] = sum_ if counting or abs(c[j]) < F32(np.inf) else c[j]
                            if counting:
                                found = pair_judged(F64(sum_), F64(c[j]), near, error)
                                if counting == GRADUAL:
                                    less = below(near, error, tiny) & (U32(found & INEXACT) != U32(0))
                                    found = U32(found | U32(UNDER if less else U32(0)))
                                events[j] = found
                        # Not at once: a choice between a place's old and new value would become a masked store.
                        for j in range(width):
                            c[j] = fresh[j]
                        if counting:
                            happened = packed[index - first]
                            for j in range(width):
                                happened[j] += events[j]
                    if counting:
                        blocks += 1
                        if blocks == FULL or k + depth >= k1:
                            spread(packed, more[0], first, past, rows, j0, j1)
                            blocks = 0

    return loop(windows)
