"""Matrix units that round at every step, on vectors: the chains and trees of kernels/unit_steps.py, one lane an output.

Lanes run along the columns of the output and take the steps in the same order. `unit_forms.plan_lanes` of the caller has
proved the conditions: no infinities or NaN among the operands, and no result that the unit would flush.
"""

from functools import cache

import numpy as np

from ._jit import loop
from .primitives import fma, widest_vectors
from .unit_fast import PANEL, TILE
from .unit_steps import SECOND, SEQUENTIAL

U64 = np.uint64
STEPS = 8  # of a chain between a load and a store of its sums


@cache
def make_tree(leaves: int):
    """The loop of a unit that adds the products of a block as a tree, for 1, 2, 4 or 8 leaves."""

    def tree(a, b, total, k0, k1, start, stop):
        """total[n, i, :] = blocks of a[n, i, k0:k1] against b[n, k0:k1, :], each added to total's own values.

        a [Ba, M, K], b [Bb, K, N], total [B, M, N], all float32 or all float64; Ba, Bb either B or 1. K is filled up
        with zeros to whole blocks from k0. Rows start <= n*M + i < stop.
        """
        widest_vectors()
        rows, columns = total.shape[1], total.shape[2]
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                for k in range(k0, k1, leaves):
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        x, y = a[batch if a.shape[0] > 1 else 0, i], b[batch if b.shape[0] > 1 else 0]
                        c = total[batch, i]
                        for j in range(U64(j0), U64(j1)):
                            s = x[k] * y[k, j]
                            if leaves >= 2:
                                s += x[k + 1] * y[k + 1, j]
                            if leaves >= 4:
                                s += x[k + 2] * y[k + 2, j] + x[k + 3] * y[k + 3, j]
                            if leaves >= 8:
                                t = x[k + 4] * y[k + 4, j] + x[k + 5] * y[k + 5, j]
                                s += t + (x[k + 6] * y[k + 6, j] + x[k + 7] * y[k + 7, j])
                            c[j] += s

    return loop(tree)


@cache
def make_chains(kind: int):
    """The loop of a unit of fused multiply-adds, for one of SEQUENTIAL, LATE, EVEN_ODD, BIT1."""
    second = SECOND[kind]

    def chains(a, b, total, depth, k0, k1, start, stop):
        """total[n, i, :] = blocks of `depth` of a[n, i, k0:k1] against b[n, k0:k1, :] from total's own values.

        a [Ba, M, K], b [Bb, K, N], total [B, M, N], all float32 or all float64; Ba, Bb either B or 1. Rows start <= n*M
        + i < stop.
        """
        widest_vectors()
        rows, columns = total.shape[1], total.shape[2]
        sums = np.empty((2, TILE), total.dtype)  # of the block, where c is added behind it
        zero = sums.dtype.type(0)
        size = k1 - k0 if kind == SEQUENTIAL else depth
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width = j1 - j0
                for begin in range(k0, k1, size):
                    end = min(begin + size, k1)
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        x, y = a[batch if a.shape[0] > 1 else 0, i], b[batch if b.shape[0] > 1 else 0]
                        c = total[batch, i, j0:j1]
                        one = c if kind == SEQUENTIAL else sums[0, :width]
                        other = sums[1, :width]
                        if kind != SEQUENTIAL:
                            sums[:] = zero
                        whole = begin + (end - begin) // STEPS * STEPS
                        for k in range(begin, whole, STEPS):
                            for j in range(width):
                                s, t = one[j], other[j]
                                for u in range(STEPS):
                                    if u & second:
                                        t = fma(x[k + u], y[k + u, U64(j0 + j)], t)
                                    else:
                                        s = fma(x[k + u], y[k + u, U64(j0 + j)], s)
                                one[j] = s
                                if second:
                                    other[j] = t
                        for k in range(whole, end):
                            chain = other if (k - begin) & second else one
                            for j in range(width):
                                chain[j] = fma(x[k], y[k, U64(j0 + j)], chain[j])
                        if kind != SEQUENTIAL:
                            for j in range(width):
                                c[j] += one[j] + other[j] if second else one[j]

    return loop(chains)
