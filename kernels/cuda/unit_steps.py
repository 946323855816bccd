"""Matrix units that round at every step: chains of fused multiply-adds and trees of rounded additions, as `..unit_steps`.

A thread has one output; panels are cut through blocks, so that a thread keeps the place in its block.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..unit_steps import BIT1, EVEN_ODD, PAIRWISE, SEQUENTIAL, flushed, flushed_fma
from ._jit import device, kernel
from .tiles import DEPTH, SIDE, THREADS, load_panels

LEVELS = 8  # of a tree over the products of a block
MOST = 1 << (LEVELS - 1)  # products of such a block


@cache
def make_steps(kind: int, double: int) -> Any:
    """The kernel for a kind of `..unit_steps.make_steps`; double: whether the steps are in float64."""
    number = np.float64 if double else np.float32
    second = {EVEN_ODD: 1, BIT1: 2}.get(kind, 0)  # the bit of a place in the block that the second chain has
    fused = device(lambda x, y, c, tiny: flushed_fma(x, y, c, tiny))
    product = device(lambda x, y, tiny: flushed(x * y, tiny))
    add = device(lambda x, y, tiny: flushed(x + y, tiny))

    def steps(a, b, total, length, tiny):
        """total[n, i, j] = blocks of `length` k of a[n, i, :] against b[n, :, j] from total's own value.

        a [Ba, M, K], b [Bb, K, N], total [B, M, N], Ba, Bb either B or 1; all, and tiny, below which results are flushed,
        of the type of the steps. length of a tree: a power of two up to MOST.
        Grid (columns, rows, B) in tiles of SIDE; block (SIDE, SIDE).
        """
        left = cuda.shared.array((DEPTH, SIDE), number)
        right = cuda.shared.array((DEPTH, SIDE), number)
        stack = cuda.shared.array((LEVELS if kind == PAIRWISE else 1, THREADS), number)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        thread = ty * SIDE + tx
        height, width, depth = total.shape[1], total.shape[2], a.shape[2]
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        i, j = min(i0 + ty, height - 1), min(j0 + tx, width - 1)
        c, chain, other, place = total[n, i, j], number(0), number(0), 0
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            load_panels(left, right, a, b, n, (i0, j0, k0), depth, thread, number(0), number(0))
            cuda.syncthreads()
            for k in range(min(DEPTH, depth - k0)):
                y, x = left[k, ty], right[k, tx]
                if kind == SEQUENTIAL:
                    c = fused(y, x, c, tiny)
                else:
                    ends = k0 + k + 1 == depth
                    if kind == PAIRWISE:
                        chain = product(y, x, tiny)
                        for leaf in range(place, length if ends else place + 1):  # what the last block lacks are zeros
                            level = 0
                            while (leaf >> level) & 1:
                                chain = add(stack[level, thread], chain, tiny)
                                level += 1
                            stack[level, thread] = chain
                            if leaf + 1 < length:
                                chain = number(0)
                    elif place & second:
                        other = fused(y, x, other, tiny)
                    else:
                        chain = fused(y, x, chain, tiny)
                    place += 1
                    if place == length or ends:
                        if second:
                            chain = add(chain, other, tiny)
                        c = add(c, chain, tiny)
                        chain, other, place = number(0), number(0), 0
        if i0 + ty < height and j0 + tx < width:
            total[n, i, j] = c

    return kernel(steps)
