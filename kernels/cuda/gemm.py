"""Matrix products whose accumulator is rounded at every step: the order of k is the declared one for every output.

A block of threads computes a tile of the output from panels of a and b in shared memory; a thread a few outputs of it,
whose accumulators are registers. Each output is computed by one thread, k ascending, so no tiling changes a bit.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..gemm import DETERMINISTIC, DRAWN, GIVEN
from ..modes import NO_ROUNDING
from ..sums import stochastic
from ._jit import SIMULATED, kernel
from .draws import begins, block, element_of, lifted, picked, place, plus, word_at
from .steps import facts_of, make_add, make_fused, make_multiply
from .tiles import DEPTH, SIDE, THREADS, load_panels

U32 = np.uint32
EACH = 2 if SIMULATED else 4  # rows and columns of a thread
TILE = SIDE * EACH  # outputs along each side of a block's tile
OUTPUTS = EACH * EACH
WORDS = 4 * OUTPUTS
# Where words come from, besides DETERMINISTIC and GIVEN: blocks that each output's steps begin together, or each word by
# itself, where outputs begin within a block or where it is products or outer sums that are rounded stochastically.
BLOCKS, SINGLY = DRAWN, DRAWN + 1


@cache
def make_chain(mode: int, product_mode: int, outer_mode: int, normalise: int, source: int, double: int) -> Any:
    """The kernel for the constants of `..gemm.make_chain`; double: whether the carrier is float64.

    Errors: ValueError for BLOCKS with products that are rounded stochastically.
    """
    kind = np.float64 if double else np.float32
    exact, unbroken = product_mode == NO_ROUNDING, outer_mode == NO_ROUNDING
    steps = 1 if exact else 2
    fused, add = make_fused(mode, normalise), make_add(mode, normalise)
    multiply, combine = make_multiply(product_mode, normalise), make_add(outer_mode, normalise)
    of_sums = source if stochastic(mode) else DETERMINISTIC
    of_products = source if not exact and stochastic(product_mode) else DETERMINISTIC
    of_outer = source if not unbroken and stochastic(outer_mode) else DETERMINISTIC
    if of_products == BLOCKS:
        raise ValueError("BLOCKS with a stochastic product: blocks are drawn for sums alone, so take SINGLY")
    by_blocks, drawn_outer = of_sums == BLOCKS, of_outer not in (DETERMINISTIC, GIVEN)
    # Words that are drawn singly wait in shared memory: with so much code in between, the loops over a thread's outputs
    # would not be unrolled, and its accumulators would not be registers.
    product_slots = THREADS * OUTPUTS if of_sums == SINGLY or drawn_outer else 0  # those of sums are the first
    slots = max(1, product_slots + (THREADS * OUTPUTS if of_products == SINGLY else 0))

    def chain(a, b, total, rows, chunk, words, numbers):
        """total[n, i, j] = chain of a[n, i, :] against b[n, :, j] from total's own value.

        a [Ba, M, K], b [Bb, K, N], total [B, M, N], any strides; Ba, Bb either B or 1. rows: the parameter rows of sums,
        products and outer sums. chunk: products of an inner chain, K or more for one unbroken one. words: uint32
        [B*M*N, S] if given. numbers: uint64 (seed, stream, span, first, down, along), see `..gemm.Words`.
        Grid (columns, rows, B) in tiles of TILE; block (SIDE, SIDE).
        """
        how, how_products, how_outer = facts_of(rows[0]), facts_of(rows[1]), facts_of(rows[2])
        left = cuda.shared.array((DEPTH, TILE), kind)
        right = cuda.shared.array((DEPTH, TILE), kind)
        inner, whole = cuda.local.array(OUTPUTS, kind), cuda.local.array(OUTPUTS, kind)
        ys, xs = cuda.local.array(EACH, kind), cuda.local.array(EACH, kind)
        drawn = cuda.local.array(WORDS if by_blocks else 1, np.uint32)
        chosen = cuda.local.array(OUTPUTS if by_blocks else 1, np.uint32)
        held = cuda.shared.array(slots, np.uint32)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        height, width, depth = total.shape[1], total.shape[2], a.shape[2]
        i0, j0 = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
        thread = ty * SIDE + tx
        for r in range(EACH):
            for c in range(EACH):
                i, j = i0 + ty + r * SIDE, j0 + tx + c * SIDE
                value = total[n, i, j] if i < height and j < width else kind(0)
                whole[r * EACH + c] = value
                inner[r * EACH + c] = value if unbroken else kind(0)
        left_in_chunk, at = chunk, place(0, how)
        outer_step = steps * depth
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            load_panels(left, right, a, b, n, (i0, j0, k0), depth, thread, kind(0), kind(0))
            cuda.syncthreads()
            for k in range(min(DEPTH, depth - k0)):
                step = steps * (k0 + k)
                sum_step = step + steps - 1
                for r in range(EACH):
                    ys[r] = left[k, ty + r * SIDE]
                    xs[r] = right[k, tx + r * SIDE]
                if by_blocks:
                    if begins(step, how):
                        for r in range(EACH):
                            for c in range(EACH):
                                o = 4 * (r * EACH + c)
                                first = element_of(numbers, n, i0 + ty + r * SIDE, j0 + tx + c * SIDE, height, width)
                                w0, w1, w2, w3 = block(plus(first, step), numbers, how)
                                drawn[o], drawn[o + 1], drawn[o + 2], drawn[o + 3] = w0, w1, w2, w3
                    at = place(sum_step, how)
                    for o in range(OUTPUTS):
                        q = 4 * o
                        chosen[o] = picked(drawn[q], drawn[q + 1], drawn[q + 2], drawn[q + 3], at, how)
                if of_sums == SINGLY or of_products == SINGLY:
                    for o in range(OUTPUTS):
                        i, j = i0 + ty + o // EACH * SIDE, j0 + tx + o % EACH * SIDE
                        first = element_of(numbers, n, i, j, height, width)
                        if of_sums == SINGLY:
                            held[o * THREADS + thread] = word_at(plus(first, sum_step), numbers, how)
                        if of_products == SINGLY:
                            held[product_slots + o * THREADS + thread] = word_at(
                                plus(first, step), numbers, how_products
                            )
                for r in range(EACH):
                    for c in range(EACH):
                        o = r * EACH + c
                        word, product_word = U32(0), U32(0)
                        i, j = min(i0 + ty + r * SIDE, height - 1), min(j0 + tx + c * SIDE, width - 1)
                        if by_blocks:
                            word = chosen[o]
                        elif of_sums == GIVEN:
                            word = lifted(words[(n * height + i) * width + j, sum_step], how)
                        elif of_sums == SINGLY:
                            word = held[o * THREADS + thread]
                        if exact:
                            inner[o] = fused(inner[o], ys[r], xs[c], word, how)
                        else:
                            if of_products == GIVEN:
                                product_word = lifted(words[(n * height + i) * width + j, step], how_products)
                            elif of_products == SINGLY:
                                product_word = held[product_slots + o * THREADS + thread]
                            product = multiply(ys[r], xs[c], product_word, how_products)
                            inner[o] = add(inner[o], product, word, how)
                if not unbroken:
                    left_in_chunk -= 1
                    if left_in_chunk == 0 or k0 + k + 1 == depth:
                        left_in_chunk = chunk
                        if drawn_outer:
                            for o in range(OUTPUTS):
                                i, j = i0 + ty + o // EACH * SIDE, j0 + tx + o % EACH * SIDE
                                first = element_of(numbers, n, i, j, height, width)
                                held[o * THREADS + thread] = word_at(plus(first, outer_step), numbers, how_outer)
                        for r in range(EACH):
                            for c in range(EACH):
                                o = r * EACH + c
                                i, j = min(i0 + ty + r * SIDE, height - 1), min(j0 + tx + c * SIDE, width - 1)
                                word = U32(0)
                                if of_outer == GIVEN:
                                    word = lifted(words[(n * height + i) * width + j, outer_step], how_outer)
                                elif drawn_outer:
                                    word = held[o * THREADS + thread]
                                whole[o] = combine(whole[o], inner[o], word, how_outer)
                                inner[o] = kind(0)
                        outer_step += 1
        for r in range(EACH):
            for c in range(EACH):
                i, j = i0 + ty + r * SIDE, j0 + tx + c * SIDE
                if i < height and j < width:
                    total[n, i, j] = inner[r * EACH + c] if unbroken else whole[r * EACH + c]

    return kernel(chain)
