"""Aligned block dot products of matrix units, in the form of `..unit_fast`: 32-bit integers, one rounding a block.

As in `gemm`: a block of threads computes a tile of the output from panels in shared memory, a panel being one block of
the unit; a thread has a few outputs, whose running sums are registers. The conditions are those of `..unit_fast`.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..unit_decode import ABSENT
from ..unit_fast import block_value, cut_term, exponent_of, larger, nearest_sum, scale_of
from ._jit import SIMULATED, device, kernel
from .tiles import SIDE, load_panels

F32, F64, I32, U64 = np.float32, np.float64, np.int32, np.uint64
EACH = 2 if SIMULATED else 4  # rows and columns of a thread
TILE = SIDE * EACH
OUTPUTS = EACH * EACH

scale_for = device(lambda top, bits: scale_of(I32(top), I32(bits + 127)))
added = device(lambda number, x, y, scale: I32(number + cut_term(x, y, scale)))
begun = device(lambda c, scale: cut_term(c, F32(1.0), scale))
raised = device(lambda top, x, y: larger(top, I32(x + y)))
start_of = device(lambda c, c_emin, floor: larger(exponent_of(c, I32(c_emin), I32(floor)), I32(floor)))
together = device(lambda exact, number: F64(exact + F64(number)))
kept_bits = device(lambda precision: U64(U64(0xFFFFFFFFFFFFFFFF) << U64(53 - precision)))


@cache
def make_fast(unroll: int, groups: int, nearest: int, apart: int, bounded: int) -> Any:
    """The kernel for the constants of `..unit_fast.make_fast`."""
    depth = unroll * groups

    def finish(exact, top, c, bits, precision, emin, largest, mask):
        value = F32(block_value(exact, I32(top), I32(bits), I32(precision), I32(emin), largest, mask, nearest))
        if bounded:
            return value
        return c if abs(c) == F32(np.inf) else value

    def plus(given, c, precision, emin, largest):
        if nearest:
            return nearest_sum(given, c, precision, emin, largest)
        return F32(given + c)

    finished, placed = device(finish), device(plus)

    def fast(a, ea, b, eb, total, facts, largest, k0, k1):
        """total[n, i, j] = chain of blocks of a[n, i, k0:k1] against b[n, k0:k1, j] from total's own values.

        a float32, ea int32 [Ba, M, K]; b, eb [Bb, K, N]; total float32 [B, M, N]; Ba, Bb either B or 1. facts: (F, the
        floor of exponents, emin of c, precision and emin of the output, products after which c is added). Grid (columns,
        rows, B) in tiles of TILE; block (SIDE, SIDE).
        """
        bits, floor, c_emin, precision, emin, whole = facts
        left = cuda.shared.array((depth, TILE), F32)  # a line each: the simulator tells them apart by it
        right = cuda.shared.array((depth, TILE), F32)
        of_left = cuda.shared.array((depth, TILE), I32)  # exponents
        of_right = cuda.shared.array((depth, TILE), I32)
        c, given = cuda.local.array(OUTPUTS, F32), cuda.local.array(OUTPUTS, F32)
        tops, sums = cuda.local.array(OUTPUTS, I32), cuda.local.array(OUTPUTS, I32)
        exact, scales = cuda.local.array(OUTPUTS, F64), cuda.local.array(OUTPUTS, F32)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        height, width = total.shape[1], total.shape[2]
        i0, j0 = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
        thread, mask = ty * SIDE + tx, kept_bits(precision)
        for r in range(EACH):
            for s in range(EACH):
                i, j = i0 + ty + r * SIDE, j0 + tx + s * SIDE
                value = total[n, i, j] if i < height and j < width else F32(0)
                given[r * EACH + s] = value
                c[r * EACH + s] = F32(0) if apart else value
        for k in range(k0, k1, depth):
            cuda.syncthreads()
            load_panels(left, right, a, b, n, (i0, j0, k), k1, thread, F32(0), F32(0))
            load_panels(of_left, of_right, ea, eb, n, (i0, j0, k), k1, thread, I32(ABSENT), I32(ABSENT))
            cuda.syncthreads()
            for o in range(OUTPUTS):
                tops[o] = start_of(c[o], c_emin, floor)
                exact[o] = F64(0)
            for u in range(depth):
                for r in range(EACH):
                    for s in range(EACH):
                        o = r * EACH + s
                        tops[o] = raised(tops[o], of_left[u, ty + r * SIDE], of_right[u, tx + s * SIDE])
            for o in range(OUTPUTS):
                scales[o] = scale_for(tops[o], bits)
                sums[o] = begun(c[o], scales[o])
            for g in range(groups):
                for u in range(g * unroll, g * unroll + unroll):
                    for r in range(EACH):
                        for s in range(EACH):
                            o = r * EACH + s
                            sums[o] = added(sums[o], left[u, ty + r * SIDE], right[u, tx + s * SIDE], scales[o])
                for o in range(OUTPUTS):
                    exact[o] = together(exact[o], sums[o])
                    sums[o] = I32(0)
            for o in range(OUTPUTS):
                c[o] = finished(exact[o], tops[o], c[o], bits, precision, emin, largest, mask)
            if apart and ((k + depth - k0) % whole == 0 or k + depth >= k1):
                for o in range(OUTPUTS):
                    given[o] = placed(given[o], c[o], precision, emin, largest)
                    c[o] = F32(0)
        for r in range(EACH):
            for s in range(EACH):
                i, j = i0 + ty + r * SIDE, j0 + tx + s * SIDE
                if i < height and j < width:
                    total[n, i, j] = given[r * EACH + s] if apart else c[r * EACH + s]

    return kernel(fast)
