"""Sums in other orders than one after the other: the pairwise tree and Kahan's compensated sum.

As in `gemm`, but a thread has one output. Words are given or each is drawn for itself: `gemm.SINGLY`.
"""

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..gemm import DETERMINISTIC
from ..modes import MODE_MASK, NO_ROUNDING, RTN
from ..sums import stochastic
from ._jit import kernel, moves
from .draws import make_word
from .steps import facts_of, make_add, make_fused, make_multiply, make_subtract
from .tiles import DEPTH, SIDE, THREADS, load_panels, output_of

LEVELS = 20  # of a tree, so that its stack fits into shared memory: fewer than 2**20 leaves


# What the roundings of an output are. how: rows of sums or products -> what the others take, facts: of that, the facts that
# have the random bits. fused (x, factor, y, word, how), add and subtract (x, y, word, how), multiply (factor, y, word, how):
# the result and what is to be noted of it. sum_word, product_word: see `draws.make_word`. exact: products are not rounded;
# numbered: each has a number among the roundings all the same. neutral: what a sum begins with. begun (): what is noted of
# no rounding; noted (seen, step, met); kept (notes, n, i, j, seen): writes that of an output.
Steps = namedtuple(
    "Steps",
    "how facts fused add subtract multiply sum_word product_word exact numbered neutral begun noted kept",
)
NEVER = 0x7FFFFFFF  # in place of the number of a rounding


@moves
def earlier(seen, step, over):
    """The smaller of the numbers of roundings that are to be reported: a tree does not come to them in their order."""
    return step if over and step < seen else seen


@moves
def keep_first(notes, n, i, j, seen):
    """The number of the first rounding that is to be reported, or -1."""
    notes[n, i, j] = seen if seen < NEVER else -1


def reporting(reports: bool) -> tuple[Any, Any, Any]:
    """(begun, noted, kept) of steps that report, and of those that note nothing."""
    begun = moves(lambda: NEVER)
    if reports:
        return begun, earlier, keep_first
    noted = moves(lambda seen, step, over: seen)
    return begun, noted, moves(lambda notes, n, i, j, seen: None)


def steps_of(mode: int, product_mode: int, normalise: int, source: int) -> Steps:
    """Steps that note nothing, for the constants of `..orders.make_tree`; source: DETERMINISTIC, GIVEN or SINGLY."""
    exact = product_mode == NO_ROUNDING
    fused, add, subtract = make_fused(mode, normalise), make_add(mode, normalise), make_subtract(mode, normalise)
    multiply = make_multiply(product_mode, normalise)
    return Steps(
        facts_of,
        moves(lambda how: how),
        moves(lambda x, factor, y, word, how: (fused(x, factor, y, word, how), False)),
        moves(lambda x, y, word, how: (add(x, y, word, how), False)),
        moves(lambda x, y, word, how: (subtract(x, y, word, how), False)),
        moves(lambda factor, y, word, how: (multiply(factor, y, word, how), False)),
        *words_of(mode, product_mode, source),
        exact,
        not exact,
        neutral_of(mode),
        *reporting(False),
    )


def words_of(mode: int, product_mode: int, source: int) -> tuple[Any, Any]:
    """(sum_word, product_word) of steps."""
    of_products = product_mode != NO_ROUNDING and stochastic(product_mode)
    return make_word(source if stochastic(mode) else DETERMINISTIC), make_word(source if of_products else DETERMINISTIC)


def neutral_of(mode: int) -> float:
    """The zero that leaves whatever is added to it as it is, -0 too."""
    return 0.0 if mode >= 0 and mode & MODE_MASK == RTN else -0.0


@cache
def make_tree(mode: int, product_mode: int, normalise: int, source: int, double: int) -> Any:
    """The kernel for the constants of `..orders.make_tree`; source: DETERMINISTIC, GIVEN or SINGLY."""
    return tree_of(steps_of(mode, product_mode, normalise, source), double)


def tree_of(own: Steps, double: int) -> Any:
    """The kernel of the pairwise order, for steps of any family of formats."""
    kind = np.float64 if double else np.float32
    exact, neutral, begun, noted, kept = own.exact, own.neutral, own.begun, own.noted, own.kept
    steps = 2 if own.numbered else 1
    how_of, in_facts, fused, add, multiply = own.how, own.facts, own.fused, own.add, own.multiply
    sum_word, product_word = own.sum_word, own.product_word

    def tree(a, b, total, rows, block, add_total, words, numbers, notes):
        """total[n, i, j] = its own value (if add_total, else nothing) plus the tree's.

        Arrays, rows, words, numbers: as the chain of `gemm`. block: products of a leaf, 0: they are the leaves, of which
        there are fewer than 2**LEVELS. notes: what the steps write, for each output.
        Grid (columns, rows, B) in tiles of SIDE; block (SIDE, SIDE).
        """
        how, how_products = how_of(rows[0]), how_of(rows[1])
        facts, product_facts = in_facts(how), in_facts(how_products)
        left = cuda.shared.array((DEPTH, SIDE), kind)
        right = cuda.shared.array((DEPTH, SIDE), kind)
        stack = cuda.shared.array((LEVELS, THREADS), kind)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        thread = ty * SIDE + tx
        height, width, depth = total.shape[1], total.shape[2], a.shape[2]
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        i, j, output, element = output_of(total, numbers, n, i0 + ty, j0 + tx)
        per_leaf = block if block > 0 else 1
        leaves = (depth + per_leaf - 1) // per_leaf
        first = steps * depth if block > 0 else (0 if steps == 1 else depth)  # step of the tree's first addition
        current = kind(0)
        leaf, left_in_leaf, seen = 0, per_leaf, begun()
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            load_panels(left, right, a, b, n, (i0, j0, k0), depth, ty * SIDE + tx, kind(0), kind(0))
            cuda.syncthreads()
            for k in range(min(DEPTH, depth - k0)):
                y, x = left[k, ty], right[k, tx]
                step = steps * (k0 + k) if block > 0 else k0 + k
                if not exact or block == 0:
                    word = product_word(words, output, element, step, numbers, product_facts)
                    y, met = multiply(y, x, word, how_products)
                    seen = noted(seen, step, met)
                if block == 0:
                    current = y
                else:
                    step += steps - 1
                    word = sum_word(words, output, element, step, numbers, facts)
                    current, met = fused(current, y, x, word, how) if exact else add(current, y, word, how)
                    seen = noted(seen, step, met)
                left_in_leaf -= 1
                if left_in_leaf == 0 or k0 + k + 1 == depth:
                    # The new leaf goes where a run of complete subtrees will end: level after level, pairs are added.
                    step, size, level = first, leaves, 0
                    while (leaf >> level) & 1:
                        at = step + (leaf >> (level + 1))
                        word = sum_word(words, output, element, at, numbers, facts)
                        current, met = add(stack[level, thread], current, word, how)
                        seen = noted(seen, at, met)
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
                    word = sum_word(words, output, element, at, numbers, facts)
                    current, met = add(stack[level, thread], current, word, how)
                    seen = noted(seen, at, met)
                else:
                    current, some = stack[level, thread], True
            step += size // 2
            size = (size + 1) // 2
            level += 1
        step = first + leaves - 1
        word = sum_word(words, output, element, step, numbers, facts)
        start = kind(total[n, i, j]) if add_total else kind(neutral)
        current, met = add(start, current, word, how)
        if i0 + ty < height and j0 + tx < width:
            total[n, i, j] = current
            kept(notes, n, i, j, noted(seen, step, met))

    return kernel(tree)


@cache
def make_kahan(mode: int, product_mode: int, normalise: int, source: int, double: int) -> Any:
    """The kernel for the constants of `..orders.make_kahan`; source: DETERMINISTIC, GIVEN or SINGLY."""
    return kahan_of(steps_of(mode, product_mode, normalise, source), double)


def kahan_of(own: Steps, double: int) -> Any:
    """The kernel of Kahan's sum, for steps of any kind."""
    kind = np.float64 if double else np.float32
    exact, begun, noted, kept = own.exact, own.begun, own.noted, own.kept
    steps = 4 if exact else 5
    how_of, in_facts, add, subtract, multiply = own.how, own.facts, own.add, own.subtract, own.multiply
    sum_word, product_word = own.sum_word, own.product_word

    def kahan(a, b, total, rows, words, numbers, notes):
        """total[n, i, j] = Kahan's sum from total's own value. Otherwise as the tree."""
        how, how_products = how_of(rows[0]), how_of(rows[1])
        facts, product_facts = in_facts(how), in_facts(how_products)
        left = cuda.shared.array((DEPTH, SIDE), kind)
        right = cuda.shared.array((DEPTH, SIDE), kind)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        height, width, depth = total.shape[1], total.shape[2], a.shape[2]
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        i, j, output, element = output_of(total, numbers, n, i0 + ty, j0 + tx)
        whole, rest = kind(total[n, i, j]), kind(0)  # the result may be narrower than the carrier
        seen = begun()
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            load_panels(left, right, a, b, n, (i0, j0, k0), depth, ty * SIDE + tx, kind(0), kind(0))
            cuda.syncthreads()
            for k in range(min(DEPTH, depth - k0)):
                step = steps * (k0 + k)
                word = product_word(words, output, element, step, numbers, product_facts)
                y, met = multiply(left[k, ty], right[k, tx], word, how_products)
                seen = noted(seen, step, met)
                step += steps - 4
                word = sum_word(words, output, element, step, numbers, facts)
                y, met = subtract(y, rest, word, how)
                seen = noted(seen, step, met)
                word = sum_word(words, output, element, step + 1, numbers, facts)
                larger, met = add(whole, y, word, how)
                seen = noted(seen, step + 1, met)
                word = sum_word(words, output, element, step + 2, numbers, facts)
                rest, met = subtract(larger, whole, word, how)
                seen = noted(seen, step + 2, met)
                word = sum_word(words, output, element, step + 3, numbers, facts)
                rest, met = subtract(rest, y, word, how)
                seen = noted(seen, step + 3, met)
                whole = larger
        if i0 + ty < height and j0 + tx < width:
            total[n, i, j] = whole
            kept(notes, n, i, j, seen)

    return kernel(kahan)
