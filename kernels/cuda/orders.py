"""Sums in other orders than one after the other: the pairwise tree and Kahan's compensated sum.

As in `gemm`, but a thread has one output. Words are given or each is drawn for itself: `gemm.SINGLY`.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..gemm import DETERMINISTIC, GIVEN
from ..modes import MODE_MASK, NO_ROUNDING, RTN
from ..sums import stochastic
from ._jit import SIMULATED, kernel
from .draws import element_of, make_word
from .steps import facts_of, make_add, make_fused, make_multiply, make_subtract

U32 = np.uint32
SIDE = 2 if SIMULATED else 16  # threads, and outputs, along each side of a block
THREADS = SIDE * SIDE
DEPTH = 4 if SIMULATED else 16  # products of a panel
LEVELS = 20  # of a tree, so that its stack fits into shared memory: fewer than 2**20 leaves


@cache
def make_tree(mode: int, product_mode: int, normalise: int, source: int, double: int) -> Any:
    """The kernel for the constants of `..orders.make_tree`; source: DETERMINISTIC, GIVEN or SINGLY."""
    kind = np.float64 if double else np.float32
    exact = product_mode == NO_ROUNDING
    steps = 1 if exact else 2
    fused, add, multiply = (
        make_fused(mode, normalise),
        make_add(mode, normalise),
        make_multiply(product_mode, normalise),
    )
    of_sums = source if stochastic(mode) else DETERMINISTIC
    of_products = source if not exact and stochastic(product_mode) else DETERMINISTIC
    sum_word, product_word = make_word(of_sums), make_word(of_products)
    given, products_given = of_sums == GIVEN, of_products == GIVEN
    neutral = 0.0 if mode >= 0 and mode & MODE_MASK == RTN else -0.0

    def tree(a, b, total, rows, block, add_total, words, numbers):
        """total[n, i, j] = its own value (if add_total, else nothing) plus the tree's.

        Arrays, rows, words, numbers: as the chain of `gemm`. block: products of a leaf, 0: they are the leaves, of which
        there are fewer than 2**LEVELS. Grid (columns, rows, B) in tiles of SIDE; block (SIDE, SIDE).
        """
        how, how_products = facts_of(rows[0]), facts_of(rows[1])
        left = cuda.shared.array((DEPTH, SIDE), kind)
        right = cuda.shared.array((DEPTH, SIDE), kind)
        stack = cuda.shared.array((LEVELS, THREADS), kind)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        height, width, depth = total.shape[1], total.shape[2], a.shape[2]
        na, nb = (n if a.shape[0] > 1 else 0), (n if b.shape[0] > 1 else 0)
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        thread = ty * SIDE + tx
        i, j = min(i0 + ty, height - 1), min(j0 + tx, width - 1)
        output = (n * height + i) * width + j
        element = element_of(numbers, n, i, j, height, width)
        per_leaf = block if block > 0 else 1
        leaves = (depth + per_leaf - 1) // per_leaf
        first = steps * depth if block > 0 else (0 if exact else depth)  # step of the tree's first addition
        current = kind(0)
        leaf, left_in_leaf = 0, per_leaf
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            for e in range(thread, DEPTH * SIDE, THREADS):
                k, i1 = e % DEPTH, e // DEPTH
                inside = k0 + k < depth and i0 + i1 < height
                left[k, i1] = a[na, i0 + i1, k0 + k] if inside else kind(0)
                k, j1 = e // SIDE, e % SIDE
                inside = k0 + k < depth and j0 + j1 < width
                right[k, j1] = b[nb, k0 + k, j0 + j1] if inside else kind(0)
            cuda.syncthreads()
            for k in range(min(DEPTH, depth - k0)):
                y, x = left[k, ty], right[k, tx]
                step = steps * (k0 + k) if block > 0 else k0 + k
                if not exact or block == 0:
                    word = product_word(
                        words[output, step] if products_given else U32(0), element, step, numbers, how_products
                    )
                    y = multiply(y, x, word, how_products)
                if block == 0:
                    current = y
                else:
                    step += steps - 1
                    word = sum_word(words[output, step] if given else U32(0), element, step, numbers, how)
                    current = fused(current, y, x, word, how) if exact else add(current, y, word, how)
                left_in_leaf -= 1
                if left_in_leaf == 0 or k0 + k + 1 == depth:
                    # The new leaf goes where a run of complete subtrees will end: level after level, pairs are added.
                    step, size, level = first, leaves, 0
                    while (leaf >> level) & 1:
                        at = step + (leaf >> (level + 1))
                        word = sum_word(words[output, at] if given else U32(0), element, at, numbers, how)
                        current = add(stack[level, thread], current, word, how)
                        step += size // 2
                        size = (size + 1) // 2
                        level += 1
                    stack[level, thread] = current
                    current = kind(0)
                    leaf += 1
                    left_in_leaf = per_leaf
        # What is left are the complete subtrees of the bits of `leaves`; the odd ones are carried up.
        step, size, level, some = first, leaves, 0, False
        while leaves >> level:
            if (leaves >> level) & 1:
                if some:
                    at = step + size // 2 - 1
                    word = sum_word(words[output, at] if given else U32(0), element, at, numbers, how)
                    current = add(stack[level, thread], current, word, how)
                else:
                    current, some = stack[level, thread], True
            step += size // 2
            size = (size + 1) // 2
            level += 1
        step = first + leaves - 1
        word = sum_word(words[output, step] if given else U32(0), element, step, numbers, how)
        start = kind(total[n, i, j]) if add_total else kind(neutral)
        if i0 + ty < height and j0 + tx < width:
            total[n, i, j] = add(start, current, word, how)

    return kernel(tree)


@cache
def make_kahan(mode: int, product_mode: int, normalise: int, source: int, double: int) -> Any:
    """The kernel for the constants of `..orders.make_kahan`; source: DETERMINISTIC, GIVEN or SINGLY."""
    kind = np.float64 if double else np.float32
    exact = product_mode == NO_ROUNDING
    steps = 4 if exact else 5
    add, subtract = make_add(mode, normalise), make_subtract(mode, normalise)
    multiply = make_multiply(product_mode, normalise)
    of_sums = source if stochastic(mode) else DETERMINISTIC
    of_products = source if not exact and stochastic(product_mode) else DETERMINISTIC
    sum_word, product_word = make_word(of_sums), make_word(of_products)
    given, products_given = of_sums == GIVEN, of_products == GIVEN

    def kahan(a, b, total, rows, words, numbers):
        """total[n, i, j] = Kahan's sum from total's own value. Otherwise as the tree."""
        how, how_products = facts_of(rows[0]), facts_of(rows[1])
        left = cuda.shared.array((DEPTH, SIDE), kind)
        right = cuda.shared.array((DEPTH, SIDE), kind)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        height, width, depth = total.shape[1], total.shape[2], a.shape[2]
        na, nb = (n if a.shape[0] > 1 else 0), (n if b.shape[0] > 1 else 0)
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        thread = ty * SIDE + tx
        i, j = min(i0 + ty, height - 1), min(j0 + tx, width - 1)
        output = (n * height + i) * width + j
        element = element_of(numbers, n, i, j, height, width)
        whole, rest = kind(total[n, i, j]), kind(0)  # the result may be narrower than the carrier
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            for e in range(thread, DEPTH * SIDE, THREADS):
                k, i1 = e % DEPTH, e // DEPTH
                inside = k0 + k < depth and i0 + i1 < height
                left[k, i1] = a[na, i0 + i1, k0 + k] if inside else kind(0)
                k, j1 = e // SIDE, e % SIDE
                inside = k0 + k < depth and j0 + j1 < width
                right[k, j1] = b[nb, k0 + k, j0 + j1] if inside else kind(0)
            cuda.syncthreads()
            for k in range(min(DEPTH, depth - k0)):
                step = steps * (k0 + k)
                word = product_word(
                    words[output, step] if products_given else U32(0), element, step, numbers, how_products
                )
                y = multiply(left[k, ty], right[k, tx], word, how_products)
                step += steps - 4
                word = sum_word(words[output, step] if given else U32(0), element, step, numbers, how)
                y = subtract(y, rest, word, how)
                word = sum_word(words[output, step + 1] if given else U32(0), element, step + 1, numbers, how)
                larger = add(whole, y, word, how)
                word = sum_word(words[output, step + 2] if given else U32(0), element, step + 2, numbers, how)
                rest = subtract(larger, whole, word, how)
                word = sum_word(words[output, step + 3] if given else U32(0), element, step + 3, numbers, how)
                rest = subtract(rest, y, word, how)
                whole = larger
        if i0 + ty < height and j0 + tx < width:
            total[n, i, j] = whole

    return kernel(kahan)
