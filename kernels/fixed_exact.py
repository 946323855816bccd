"""Fixed-point accumulation on integers of 128 bits, one output at a time: any operands, grids, limits and modes.

A number is a sign and a magnitude in units of 2**-60 grid steps, 128 bits of it: (negative, high, low). What is below
is kept in the lowest bit, so that one of the two numbers of a sum may lie on any finer grid: rounding to odd commutes
with adding multiples of two units. What is beyond 2**65 grid steps is replaced by a number there that is equal modulo
2**64: it overflows every format, to the same side.
"""

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .fixed_gemm import (
    ABSORBED,
    OVERFLOW,
    PAIRS,
    PRODUCT_OVERFLOW,
    REPORTS,
    SWAMPED,
    WRAPS,
)
from .modes import NO_ROUNDING
from .rounding import round_up64
from .wide import add, multiply, shift_left, shift_right_odd, zeros_above

U64, I64 = np.uint64, np.int64
FRACTION = 60  # bits below the grid
BEYOND = 65  # bits above it

# Slots of the facts of a rounding, int64: a mode, an overflow rule, the limits' magnitudes as bit patterns, the bits of
# the format, whether it is signed, the mask of random bits and the shift that aligns a word to the top of 32 bits, and
# the exponent of the grid step.
MODE, RULE, LARGEST, LARGEST_NEGATIVE, BITS, SIGNED, MASK, SHIFT, GRID = range(9)
FACTS = 9


@core
def placed(high, low, exponent, grid):
    """(high, low) * 2**exponent in units of 2**-60 steps of the grid 2**grid."""
    shift = exponent - grid + FRACTION
    if (high | low) == U64(0):
        return U64(0), U64(0)
    if shift < 0:
        return shift_right_odd(high, low, -shift)
    if 128 - zeros_above(high, low) + shift <= FRACTION + BEYOND:
        return shift_left(high, low, shift)
    if shift < 128:
        high, low = shift_left(high, low, shift)
    else:
        high, low = U64(0), U64(0)
    kept = U64(high & U64((1 << FRACTION) - 1))
    return U64(kept | U64(1 << (FRACTION + BEYOND - 64))), low


@core
def less(x, y):
    """Whether the magnitude of x is less than that of y."""
    return (x[1] < y[1]) or (x[1] == y[1] and x[2] < y[2])


@core
def sum_of(x, y):
    """x + y."""
    if x[0] == y[0]:
        high, low = add(x[1], x[2], y[1], y[2], U64(0))
        return x[0], high, low
    larger, smaller = (y, x) if less(x, y) else (x, y)
    borrow = U64(1) if larger[2] < smaller[2] else U64(0)
    return larger[0], U64(U64(larger[1] - smaller[1]) - borrow), U64(larger[2] - smaller[2])


@core
def settle(x, word, facts):
    """(negative, integer, whether it overflowed, whether it changed): x rounded to the grid, then limited."""
    negative, high, low = x
    up, down = U64(64 - FRACTION), U64(FRACTION)
    integer = U64(U64(high << up) | U64(low >> down))
    above = U64(high >> down)
    fraction = U64(low << up)
    mask, aligned = U64(facts[MASK]), U64(U64(word) << U64(facts[SHIFT]))
    parts = U64(fraction >> U64(32)), U64(fraction & U64(0xFFFFFFFF))
    more = round_up64(facts[MODE], negative, U64(integer & U64(1)), parts[0], parts[1], aligned, mask)
    integer = U64(integer + more)
    above = U64(above + (more if integer == U64(0) else U64(0)))
    limit = U64(facts[LARGEST_NEGATIVE]) if negative != U64(0) else U64(facts[LARGEST])
    over = (above != U64(0)) or (integer > limit)
    if over and facts[RULE] != WRAPS:
        integer = limit
    elif over:
        unused = U64(64 - facts[BITS])
        code = U64(U64(U64(0) - integer if negative != U64(0) else integer) << unused)
        if facts[SIGNED] and code >> U64(63) != U64(0):
            negative, integer = U64(1), U64(U64(U64(0) - code) >> unused)
        else:
            negative, integer = U64(0), U64(code >> unused)
    return negative, integer, over, over or fraction != U64(0)


@core
def lifted(negative, integer):
    """An integer of grid steps as a number."""
    return negative, U64(integer >> U64(64 - FRACTION)), U64(integer << U64(FRACTION))


@core
def note(counts, event, over, changed, step, first, facts):
    """Counts an overflow and a change; the smallest number of a step whose overflow is reported."""
    counts[event] += I64(over)
    counts[event + 1] += I64(changed)
    return min(first, step) if over and facts[RULE] == REPORTS else first


@core
def term(x, x_exponent, y, y_exponent, words, step, counts, first, product_facts, facts):
    """(the product of two integers times powers of two, rounded if the quantizer has a mode; first overflow)."""
    negative = U64(1) if (x < 0) != (y < 0) else U64(0)
    high, low = multiply(U64(abs(x)), U64(abs(y)))
    exponent = x_exponent + y_exponent
    if product_facts[MODE] != NO_ROUNDING:
        high, low = placed(high, low, exponent, product_facts[GRID])
        negative, low, over, changed = settle((negative, high, low), words[step], product_facts)
        first = note(counts, PRODUCT_OVERFLOW, over, changed, step, first, product_facts)
        high, exponent = U64(0), product_facts[GRID]
    high, low = placed(high, low, exponent, facts[GRID])
    return (negative, high, low), first


@core
def added(x, y, words, step, counts, first, facts):
    """(x + y as one step, first overflow)."""
    total = sum_of(x, y)
    negative, integer, over, changed = settle(total, words[step], facts)
    first = note(counts, OVERFLOW, over, changed, step, first, facts)
    kept = lifted(negative, integer)
    small, large = (y, x) if less(y, x) else (x, y)
    if (small[1] | small[2]) != U64(0):
        sign = kept[0] == large[0] or (kept[1] | kept[2]) == U64(0)
        counts[SWAMPED] += I64(sign and kept[1] == large[1] and kept[2] == large[2])
        some = (total[1] | total[2]) != U64(0)
        counts[ABSORBED] += I64(some and small[1] == U64(0) and small[2] < U64(1 << FRACTION))
    return kept, first


@core
def combined(leaves, width, words, step, counts, first, facts):
    """(the root of the tree over the first `width` leaves, the next step, first overflow)."""
    while width > 1:
        for pair in range(width // 2):
            x, y = leaves[2 * pair], leaves[2 * pair + 1]
            kept, first = added((x[0], x[1], x[2]), (y[0], y[1], y[2]), words, step, counts, first, facts)
            leaves[pair, 0], leaves[pair, 1], leaves[pair, 2] = kept
            step += 1
        if width % 2:
            leaves[width // 2] = leaves[width - 1]
        width = (width + 1) // 2
    return (leaves[0, 0], leaves[0, 1], leaves[0, 2]), step, first


@loop
def exact_product(
    a: tuple[NDArray[np.int64], NDArray[np.int64]],
    b: tuple[NDArray[np.int64], NDArray[np.int64]],
    c: tuple[NDArray[np.int64], NDArray[np.int64]],
    total: NDArray[np.int64],
    words: NDArray[np.uint32],
    product_facts: NDArray[np.int64],
    facts: NDArray[np.int64],
    counts: NDArray[np.int64],
    firsts: NDArray[np.int64],
    pairwise: int,
    block: int,
    base: int,
    start: int,
    stop: int,
) -> None:
    """total[o] = c[o] + the products of output o = (n*M + i)*N + j, as grid integers; start <= o < stop.

    a [Ba, M, K], b [Bb, N, K] (turned), c [B*M*N]: pairs of integers and exponents of two, contiguous. words [outputs, S]
    from output `base` on, or [1, S]. counts [B*M*N, EVENTS]; firsts [B*M*N]: the number of the first rounding whose
    overflow is reported, else left as it was.
    """
    rows, depth, columns = a[0].shape[1], a[0].shape[2], b[0].shape[1]
    products = depth if product_facts[MODE] != NO_ROUNDING else 0
    stride = 2 if products else 1
    leaf_products = (1 if block == PAIRS else block) if pairwise else depth
    leaves = np.empty((-(-depth // leaf_products), 3), np.uint64)
    for output in range(start, stop):
        batch, i, j = output // (rows * columns), output // columns % rows, output % columns
        a_batch, b_batch = batch if a[0].shape[0] > 1 else 0, batch if b[0].shape[0] > 1 else 0
        own_words = words[output - base if words.shape[0] > 1 else 0]
        own_counts = counts[output]
        first = firsts[output]
        high, low = placed(U64(0), U64(abs(c[0][output])), c[1][output], facts[GRID])
        begin = (U64(1) if c[0][output] < 0 else U64(0)), high, low
        sums = begin
        pairs = pairwise and block == PAIRS
        step = products if pairs else stride - 1
        for leaf in range(leaves.shape[0]):
            if pairwise:
                sums = U64(0), U64(0), U64(0)
            for k in range(leaf * leaf_products, min((leaf + 1) * leaf_products, depth)):
                x, x_exponent = a[0][a_batch, i, k], a[1][a_batch, i, k]
                y, y_exponent = b[0][b_batch, j, k], b[1][b_batch, j, k]
                number = k if pairs else stride * k
                product, first = term(
                    x, x_exponent, y, y_exponent, own_words, number, own_counts, first, product_facts, facts
                )
                if pairs:
                    sums = product
                else:
                    sums, first = added(sums, product, own_words, step, own_counts, first, facts)
                    step += stride
            leaves[leaf, 0], leaves[leaf, 1], leaves[leaf, 2] = sums
        if pairwise:
            step = step if pairs else stride * depth
            root, step, first = combined(leaves, leaves.shape[0], own_words, step, own_counts, first, facts)
            sums, first = added(begin, root, own_words, step, own_counts, first, facts)
        magnitude = U64(U64(sums[1] << U64(64 - FRACTION)) | U64(sums[2] >> U64(FRACTION)))
        total[output] = I64(U64(U64(0) - magnitude) if sums[0] != U64(0) else magnitude)
        firsts[output] = first
