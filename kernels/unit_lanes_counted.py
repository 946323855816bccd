"""The loops of kernels/unit_lanes.py, which also count events: of float32 by masks, of longer products in float64.

The caller has proved besides that no sum overflows.
"""

from functools import cache

import numpy as np

from ._jit import core, loop
from .carrier import unpack
from .expansions import two_sum
from .finite_tallies import FITTING
from .gemm import counts_of, first_of, room, tally_of, uncounted_room, uncounted_tally
from .modes import NATIVE_IEEE
from .primitives import fma, keep, uncounted, widest_vectors
from .scratch import TILE, lined_row
from .tallies import add, multiply_add, settle
from .unit_steps import PAIRWISE, SECOND, SEQUENTIAL
from .unit_tallies import SUMS, judged

U64, F64 = np.uint64, np.float64


@cache
def make_counted_lanes(kind: int, depth: int):
    """The loop of a unit that rounds products, exact in float32, and their sums at every step, in blocks of `depth`.

    kind: see kernels/unit_steps.py.
    """
    second, leaves = SECOND[kind], depth if kind == PAIRWISE else 2

    def counted(a, b, total, row, tiny, counts, k0, k1, start, stop):
        """total[n, i, :] = blocks of a[n, i, k0:k1] against b[n, k0:k1, :] from total's own values.

        a [Ba, M, K], b [Bb, K, N], total [B, M, N], float32; Ba, Bb either B or 1. row, tiny: the parameters of binary32
        and its smallest normal. counts uint32 [8, B, M, N], added to. Rows start <= n*M + i < stop.
        """
        widest_vectors()
        rows, columns = total.shape[1], total.shape[2]
        tile = min(TILE, columns)
        how, draw = (0, unpack(row), tiny), (row, np.uint32(0), np.uint32(0))
        held = lined_row(tile * leaves, total), lined_row(tile, total), room(tile, total, row), tally_of(tile, True)
        sums, product, scratch, tally = (
            uncounted(held[0]), uncounted(held[1]), uncounted_room(held[2]), uncounted_tally(held[3]),
        )  # fmt: skip
        a, b, total, counts = uncounted(a), uncounted(b), uncounted(total), uncounted(counts)
        size = k1 - k0 if kind == SEQUENTIAL else depth
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            x, y = a[batch if a.shape[0] > 1 else 0, i], b[batch if b.shape[0] > 1 else 0]
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width = j1 - j0
                c, made, some = total[batch, i, j0:j1], product[:width], first_of(scratch, width)
                met = counts_of(FITTING, counts, tally, batch, i, j0, j1)
                for begin in range(k0, k1, size):
                    end = min(begin + size, k1)
                    if kind == SEQUENTIAL:
                        for k in range(begin, end):
                            panel = y[k, j0:j1]
                            multiply_add(FITTING, c, made, x[k], panel, some, draw, NATIVE_IEEE, how, met)
                        continue
                    one, other = sums[:width], sums[tile : tile + width]
                    if kind == PAIRWISE:
                        for k in range(depth):
                            leaf = sums[k * tile : k * tile + width]
                            leaf[:] = 0.0
                            if begin + k < end:
                                factor, panel = x[begin + k], y[begin + k, j0:j1]
                                for j in range(width):
                                    leaf[j] = factor * panel[j]
                        apart = 1
                        while apart < depth:
                            for k in range(0, depth, 2 * apart):
                                leaf = sums[k * tile : k * tile + width]
                                right = sums[(k + apart) * tile : (k + apart) * tile + width]
                                add(FITTING, leaf, right, some, draw, NATIVE_IEEE, how, met)
                            apart *= 2
                    else:
                        one[:], other[:] = 0.0, 0.0
                        for k in range(begin, end):
                            chain = other if (k - begin) & second else one
                            panel = y[k, j0:j1]
                            multiply_add(FITTING, chain, made, x[k], panel, some, draw, NATIVE_IEEE, how, met)
                        if second:
                            add(FITTING, one, other, some, draw, NATIVE_IEEE, how, met)
                    add(FITTING, c, one, some, draw, NATIVE_IEEE, how, met)
                settle(FITTING, met)
        keep(held)

    return loop(counted)


FIELD = 12  # bits of a count of a lane; there are five
MOST = (1 << FIELD) - 1


@core
def spaced(found):
    """`unit_tallies.flags`, FIELD bits from one to the next."""
    total = U64(0)
    for event in range(5):
        total = U64(total | U64(U64(U64(found >> event) & U64(1)) << U64(FIELD * event)))
    return total


@cache
def make_counted_chain(wide: int):
    """The loop of a unit that is a chain of fused multiply-adds of longer operands; wide: in float64, else in float32."""

    def counted(a, b, total, tiny, counts, k0, k1, start, stop):
        """total[n, i, :] += a[n, i, k0:k1] times b[n, k0:k1, :], k ascending.

        a [Ba, M, K], b [Bb, K, N], total [B, M, N], all of the type of the steps; Ba, Bb either B or 1. tiny: its smallest
        normal number. counts uint32 [8, B, M, N], added to. Rows start <= n*M + i < stop.
        """
        widest_vectors()
        rows, columns = total.shape[1], total.shape[2]
        packed, fresh = np.zeros(TILE, np.uint64), np.empty(TILE, total.dtype)
        steps = F64(2.0**52 if wide else 2.0**23)
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            x, y = a[batch if a.shape[0] > 1 else 0, i], b[batch if b.shape[0] > 1 else 0]
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width = j1 - j0
                c, steps_held = total[batch, i, j0:j1], 0
                for k in range(k0, k1):
                    factor, panel = x[k], y[k, j0:j1]
                    for j in range(width):
                        result = fma(factor, panel[j], c[j])
                        fresh[j] = result
                        before, p = F64(c[j]), F64(factor) * F64(panel[j])
                        if wide:
                            e = fma(factor, panel[j], -p)
                            s, d = two_sum(p, before)
                            u, w = two_sum(d, e)
                            high, v = two_sum(s, u)
                            low = v + w
                        else:
                            e = 0.0
                            high, low = two_sum(p, before)
                        found = judged(before, p, e, high, low, F64(result), False, tiny, steps, False)
                        packed[j] += spaced(found)
                    for j in range(width):
                        c[j] = fresh[j]
                    steps_held += 1
                    if steps_held == MOST or k == k1 - 1:
                        for event in range(1, 5):
                            row = counts[SUMS + event, batch, i, j0:j1]
                            for j in range(width):
                                row[j] += np.uint32(U64(packed[j] >> U64(FIELD * event)) & U64(MOST))
                        packed[:] = U64(0)
                        steps_held = 0

    return loop(counted)
