"""Matrices of +-1 or 0/1 to rows of bits, and products of these by counting where they differ or agree."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from .._jit import core
from ..primitives import population_count
from ._jit import SIMULATED, device, kernel

U64, I32 = np.uint64, np.int32
SIDE = 2 if SIMULATED else 16  # threads along each side of a block
DEPTH = 4 if SIMULATED else 32  # words of a panel
THREADS = 8 if SIMULATED else 256


@core
def _differ(total, x, y):
    return I32(total + I32(population_count(U64(x ^ y))))


@core
def _agree(total, x, y):
    return I32(total + I32(population_count(U64(x & y))))


@core
def _signed(count, length):
    return I32(length - 2 * count)


@core
def _plain(count, length):
    return I32(count)


@cache
def make_pack(double: int) -> Any:
    """The kernel that packs rows, a thread a word."""
    kind = np.float64 if double else np.float32
    with_bit = device(lambda word, x, k: U64(word | U64(U64(1 if x == kind(1) else 0) << U64(k))))
    wrong = device(lambda x, low: (x != kind(1)) & (x != kind(low)))

    def pack(x, low, words, flags):
        """words uint64 [R, ceil(K/64)]: element k of a row of x [R, K] in bit k % 64; flags[0] = 1 if one is not low or 1."""
        per_row, length = words.shape[1], x.shape[1]
        for w in range(cuda.grid(1), words.size, cuda.gridsize(1)):
            row, first, word, bad = w // per_row, w % per_row * 64, U64(0), False
            for k in range(min(64, length - first)):
                value = x[row, first + k]
                word = with_bit(word, value, k)
                bad = bad or wrong(value, low)
            words[row, w % per_row] = word
            if bad:
                flags[0] = 1

    return kernel(pack)


@cache
def make_product(signed: int) -> Any:
    """The kernel for bits that stand for +-1 (signed), or for 0 and 1."""
    counted = device(_differ if signed else _agree)
    shown = device(_signed if signed else _plain)

    def product(a, b, length, out):
        """out int32 [M, N] = products of the rows of a [M, W] and b [N, W], uint64, of `length` elements, exact.

        Grid (columns, rows) in tiles of SIDE; block (SIDE, SIDE).
        """
        left = cuda.shared.array((DEPTH, SIDE), np.uint64)
        right = cuda.shared.array((DEPTH, SIDE), np.uint64)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        depth, count, thread = a.shape[1], I32(0), ty * SIDE + tx
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            for e in range(thread, DEPTH * SIDE, SIDE * SIDE):
                k, i = e % DEPTH, e // DEPTH
                inside = k0 + k < depth
                left[k, i] = a[i0 + i, k0 + k] if inside and i0 + i < a.shape[0] else U64(0)
                right[k, i] = b[j0 + i, k0 + k] if inside and j0 + i < b.shape[0] else U64(0)
            cuda.syncthreads()
            for k in range(DEPTH):
                count = counted(count, left[k, ty], right[k, tx])
        if i0 + ty < out.shape[0] and j0 + tx < out.shape[1]:
            out[i0 + ty, j0 + tx] = shown(count, length)

    return kernel(product)
