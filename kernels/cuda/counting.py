"""Products whose events are counted, in every order of sums: a thread has one output, and its counts in registers."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..counted import product_events, round_counted, steps_of, sum_events
from ..gemm import DETERMINISTIC
from ..modes import NO_ROUNDING, RNE
from ..primitives import shift_left, shift_right, to_bits
from ..sums import stochastic, to_odd
from ._jit import device, kernel, moves
from .draws import make_word
from .orders import Steps, kahan_of, neutral_of, tree_of, words_of
from .steps import facts_of
from .tiles import DEPTH, SIDE, load_panels, output_of

U32 = np.uint32
# What a rounding met, a bit for each field of numerics.Events in their order: three of products, five of sums.
EVENTS = 8
PRODUCT_OVERFLOW, PRODUCT_UNDERFLOW, PRODUCT_INEXACT, OVERFLOW, UNDERFLOW, INEXACT, SWAMPED, ABSORBED = range(EVENTS)


def _noted(seen, met):
    p, q, r, over, under, inexact, swamped, absorbed = seen
    one = U32(1)
    return (
        U32(p + U32(met & one)),
        U32(q + U32(shift_right(met, U32(PRODUCT_UNDERFLOW)) & one)),
        U32(r + U32(shift_right(met, U32(PRODUCT_INEXACT)) & one)),
        U32(over + U32(shift_right(met, U32(OVERFLOW)) & one)),
        U32(under + U32(shift_right(met, U32(UNDERFLOW)) & one)),
        U32(inexact + U32(shift_right(met, U32(INEXACT)) & one)),
        U32(swamped + U32(shift_right(met, U32(SWAMPED)) & one)),
        U32(absorbed + U32(shift_right(met, U32(ABSORBED)) & one)),
    )


@moves
def _begun():
    zero = U32(0)
    return zero, zero, zero, zero, zero, zero, zero, zero


@moves
def _kept(notes, n, i, j, seen):
    """notes [B, M, N, EVENTS]: what was seen is added."""
    p, q, r, over, under, inexact, swamped, absorbed = seen
    notes[n, i, j, 0] += p
    notes[n, i, j, 1] += q
    notes[n, i, j, 2] += r
    notes[n, i, j, 3] += over
    notes[n, i, j, 4] += under
    notes[n, i, j, 5] += inexact
    notes[n, i, j, 6] += swamped
    notes[n, i, j, 7] += absorbed


counted = device(_noted)
_noted_step = moves(lambda seen, step, met: counted(seen, met))


def _sum_of(mode: int, normalise: int) -> Any:
    """(x, y, word, how) -> (x + y, rounded once, its events)."""

    def add(x, y, word, how):
        facts, tiny = how
        s = x + y
        t = s - x
        error = (x - (s - t)) + (y - t)
        zero = to_bits(x) | to_bits(y)
        odd = to_odd(s, error, zero, RNE)
        value, over = round_counted(to_odd(s, error, zero, mode), word, mode, normalise, facts, False)
        finite = (x - x == 0) & (y - y == 0)
        less, lossy, lost, gone = sum_events(x, y, odd, error, value, steps_of(facts), tiny, facts)
        met = shift_left(U32(1), U32(OVERFLOW)) if over & finite else U32(0)
        met = U32(met | (shift_left(U32(1), U32(UNDERFLOW)) if less else U32(0)))
        met = U32(met | (shift_left(U32(1), U32(INEXACT)) if lossy else U32(0)))
        met = U32(met | (shift_left(U32(1), U32(SWAMPED)) if lost else U32(0)))
        return value, U32(met | (shift_left(U32(1), U32(ABSORBED)) if gone else U32(0)))

    return add


@cache
def _make_sum(mode: int, normalise: int) -> Any:
    return device(_sum_of(mode, normalise))


@cache
def _make_difference(mode: int, normalise: int) -> Any:
    added = _make_sum(mode, normalise)
    return moves(lambda x, y, word, how: added(x, -y, word, how))


@cache
def _make_fused(mode: int, normalise: int) -> Any:
    added = _make_sum(mode, normalise)
    return moves(lambda x, factor, y, word, how: added(x, factor * y, word, how))


@cache
def _make_product(mode: int, normalise: int) -> Any:
    """(factor, y, word, how) -> (the product, exact in the carrier and then rounded, its events)."""

    def multiply(factor, y, word, how):
        facts, tiny = how
        product = factor * y
        value, over = round_counted(to_bits(product), word, mode, normalise, facts, False)
        less, lossy = product_events(product, value, tiny)
        met = U32(1) if over else U32(0)
        met = U32(met | (shift_left(U32(1), U32(PRODUCT_UNDERFLOW)) if less else U32(0)))
        return value, U32(met | (shift_left(U32(1), U32(PRODUCT_INEXACT)) if lossy else U32(0)))

    if mode == NO_ROUNDING:
        return moves(lambda factor, y, word, how: (factor * y, U32(0)))
    return device(multiply)


def steps_that_count(mode: int, product_mode: int, normalise: int, source: int) -> Steps:
    """Steps for `orders`, which count; rows: (parameter row, [the format's smallest normal]) of sums, and of products."""
    exact = product_mode == NO_ROUNDING
    return Steps(
        moves(lambda rows: (facts_of(rows[0]), rows[1][0])),
        moves(lambda how: how[0]),
        _make_fused(mode, normalise),
        _make_sum(mode, normalise),
        _make_difference(mode, normalise),
        _make_product(product_mode, normalise),
        *words_of(mode, product_mode, source),
        exact,
        not exact,
        neutral_of(mode),
        _begun,
        _noted_step,
        _kept,
    )


@cache
def make_tree(mode: int, product_mode: int, normalise: int, source: int, double: int) -> Any:
    """`orders.make_tree`, counting: notes is int32 [B, M, N, EVENTS], to which the counts are added."""
    return tree_of(steps_that_count(mode, product_mode, normalise, source), double)


@cache
def make_kahan(mode: int, product_mode: int, normalise: int, source: int, double: int) -> Any:
    """`orders.make_kahan`, counting, as the tree."""
    return kahan_of(steps_that_count(mode, product_mode, normalise, source), double)


@cache
def make_chain(mode: int, product_mode: int, outer_mode: int, normalise: int, source: int, double: int) -> Any:
    """`gemm.make_chain`, counting, as the tree; source: DETERMINISTIC, GIVEN or SINGLY."""
    kind = np.float64 if double else np.float32
    own, unbroken = steps_that_count(mode, product_mode, normalise, source), outer_mode == NO_ROUNDING
    exact, steps = own.exact, 1 if own.exact else 2
    how_of, in_facts, fused, add, multiply = own.how, own.facts, own.fused, own.add, own.multiply
    begun, noted, kept, sum_word, product_word = own.begun, own.noted, own.kept, own.sum_word, own.product_word
    combine = add if unbroken else _make_sum(outer_mode, normalise)
    outer_word = make_word(source if not unbroken and stochastic(outer_mode) else DETERMINISTIC)

    def chain(a, b, total, rows, chunk, words, numbers, notes):
        """total[n, i, j] = chain of a[n, i, :] against b[n, :, j] from total's own value.

        As the tree of `orders`; chunk: products of an inner chain, K or more for one unbroken one.
        """
        how, how_products, how_outer = how_of(rows[0]), how_of(rows[1]), how_of(rows[2])
        facts, product_facts, outer_facts = in_facts(how), in_facts(how_products), in_facts(how_outer)
        left = cuda.shared.array((DEPTH, SIDE), kind)
        right = cuda.shared.array((DEPTH, SIDE), kind)
        tx, ty, n = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.z
        height, width, depth = total.shape[1], total.shape[2], a.shape[2]
        i0, j0 = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE
        i, j, output, element = output_of(total, numbers, n, i0 + ty, j0 + tx)
        whole, seen, outer_step = kind(total[n, i, j]), begun(), steps * depth
        inner, left_in_chunk = whole if unbroken else kind(0), chunk
        for k0 in range(0, depth, DEPTH):
            cuda.syncthreads()
            load_panels(left, right, a, b, n, (i0, j0, k0), depth, ty * SIDE + tx, kind(0), kind(0))
            cuda.syncthreads()
            for k in range(min(DEPTH, depth - k0)):
                y, x = left[k, ty], right[k, tx]
                step = steps * (k0 + k)
                if not exact:
                    word = product_word(words, output, element, step, numbers, product_facts)
                    y, met = multiply(y, x, word, how_products)
                    seen = noted(seen, step, met)
                step += steps - 1
                word = sum_word(words, output, element, step, numbers, facts)
                inner, met = fused(inner, y, x, word, how) if exact else add(inner, y, word, how)
                seen = noted(seen, step, met)
                left_in_chunk -= 1
                if not unbroken and (left_in_chunk == 0 or k0 + k + 1 == depth):
                    word = outer_word(words, output, element, outer_step, numbers, outer_facts)
                    whole, met = combine(whole, inner, word, how_outer)
                    seen = noted(seen, outer_step, met)
                    inner, left_in_chunk = kind(0), chunk
                    outer_step += 1
        if i0 + ty < height and j0 + tx < width:
            total[n, i, j] = inner if unbroken else whole
            kept(notes, n, i, j, seen)

    return kernel(chain)
