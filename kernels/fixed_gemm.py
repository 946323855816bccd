"""Products accumulated on a fixed-point grid: the exact sum is rounded to the grid at every step, then limited.

Everything is in units of the accumulator's grid step: operands come scaled by powers of two, so that rounding to the
grid is rounding to an integer, which the processor has instructions for. The lanes run along a row of the output, and
the order in k is the declared one in every lane. The caller has proved that each sum is exact in the carrier or is
beyond the limits there too; or that the carrier has room to round it to odd first.

Kernels take a [Ba, M, K], b [Bb, K, N], total [B, M, N], contiguous, Ba and Bb either B or 1, and work on rows
start <= n*M + i < stop and columns j0 <= j < j1. thresholds: [stop - start, S, j1 - j0], see `fill_thresholds`.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .modes import NO_ROUNDING, RNA, RNE, RTN, RTO, RTP, RTZ, SR, SR_C, UNIFORM
from .primitives import ceil, floor, fma, from_bits, keep, rint, trunc, uncounted, widest_vectors
from .sums import fused_bits, sum_bits

# Slots of the row of a grid and its limits, in the carrier's type. Of sums, the grid step is 1. Products are in steps of
# their own grid until RATIO brings them to that of the sums. SPAN: 2**bits.
LOWEST, HIGHEST, SPAN, PER_SPAN, ONE, HALF, RATIO, NEVER, REPORTED = range(9)  # NEVER: infinity
CLAMPS, WRAPS, REPORTS = range(3)  # overflow rules; for lanes, what is reported is clamped, and `REPORTED` is 1
# What a kernel notes of each output: nothing; the number of the first rounding whose overflow is reported, else
# infinity; or how often each event happened, in these rows.
NOTHING, FIRST, COUNTS = range(3)
PRODUCT_OVERFLOW, PRODUCT_INEXACT, OVERFLOW, INEXACT, SWAMPED, ABSORBED = range(6)
EVENTS = 6
PAIRS = 0  # in place of a block: the leaves of a tree are the products
ODD = UNIFORM + RNE  # rounding to odd of sums that are finite


@core
def unpack_grid(row):
    """A row as a tuple of scalars."""
    return row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8]


@core
def to_grid(x, threshold, mode, grid):
    """x rounded to an integer; SR stands for all stochastic modes, which differ in their thresholds."""
    if mode == NO_ROUNDING:
        return x
    if mode == RNE:
        return rint(x)
    if mode == RTP:
        return ceil(x)
    if mode == RTN:
        return floor(x)
    below = trunc(x)
    if mode == RTZ:
        return below
    rest = abs(x - below)
    if mode == RTO:
        half = below * grid[HALF]
        rises = (rest != 0) & (trunc(half) == half)
    else:
        rises = rest >= (grid[HALF] if mode == RNA else threshold)
    away = -grid[ONE] if x < 0 else grid[ONE]
    return below + away if rises else below


@core
def limited(x, rule, grid):
    """An integer under the overflow rule."""
    if rule == WRAPS:
        return x - grid[SPAN] * floor((x - grid[LOWEST]) * grid[PER_SPAN])
    x = x if x > grid[LOWEST] else grid[LOWEST]
    return x if x < grid[HIGHEST] else grid[HIGHEST]


@core
def rows_of(notes, row, j0, j1):
    """The lines of one row of the output in the notes, of which only those that are written to are that long."""
    return (
        notes[0][row % notes[0].shape[0], j0:j1],
        notes[1][row % notes[1].shape[0], j0:j1],
        notes[2][row % notes[2].shape[0], j0:j1],
        notes[3][row % notes[3].shape[0], j0:j1],
        notes[4][row % notes[4].shape[0], j0:j1],
        notes[5][row % notes[5].shape[0], j0:j1],
    )


@core
def uncounted_notes(notes):
    """The notes, for a loop that keeps them."""
    return (
        uncounted(notes[0]),
        uncounted(notes[1]),
        uncounted(notes[2]),
        uncounted(notes[3]),
        uncounted(notes[4]),
        uncounted(notes[5]),
    )


@core
def count(line, j, happened, grid):
    """Adds one to the count of lane j if it happened."""
    line[j] += grid[ONE] if happened else grid[ONE] - grid[ONE]


@core
def note_first(notes, j, step, over, grid):
    """Keeps the smallest number of a step that overflowed; step: infinity where that is no error."""
    # Plus zero: what is stored is then not either of two values, of which one is there already. The compiler would make
    # a masked store of it, which takes some processors forty cycles.
    notes[0][j] = min(step if over else grid[NEVER], notes[0][j]) + (grid[ONE] - grid[ONE])


@core
def note_sum(notes, j, x, y, total, kept, mode, grid):
    """Counts what became of the smaller addend; total: the exact sum, or that rounded to odd."""
    swap = abs(x) > abs(y)
    small, large = y if swap else x, x if swap else y
    some = small != 0
    count(notes[SWAMPED], j, some & (kept == large), grid)
    if mode != NO_ROUNDING:  # else both are whole steps
        count(notes[INEXACT], j, total != kept, grid)
        count(notes[ABSORBED], j, some & (total != 0) & (abs(small) < grid[ONE]), grid)


@core
def multiply(factor, y, threshold, notes, j, step, how):
    """factor * y, exact in the carrier and then rounded as the product quantizer says, in steps of the sums' grid."""
    mode, rule, watch, grid = how
    product = factor * y
    if mode == NO_ROUNDING:
        return product
    rounded = to_grid(product, threshold, mode, grid)
    kept = limited(rounded, rule, grid)
    if watch == COUNTS:
        count(notes[PRODUCT_OVERFLOW], j, rounded != kept, grid)
        count(notes[PRODUCT_INEXACT], j, product != kept, grid)
    elif watch == FIRST:
        note_first(notes, j, step, rounded != kept, grid)
    return kept * grid[RATIO]


@core
def settle(total, x, y, threshold, notes, j, step, how):
    """The exact sum of x and y (or that rounded to odd) rounded to the grid and limited."""
    mode, rule, watch, grid = how
    rounded = to_grid(total, threshold, mode, grid)
    kept = limited(rounded, rule, grid)
    if watch == COUNTS:
        count(notes[OVERFLOW], j, rounded != kept, grid)
        note_sum(notes, j, x, y, total, kept, mode, grid)
    elif watch == FIRST:
        note_first(notes, j, step, rounded != kept, grid)
    return kept


@core
def multiply_row(out, factor, panel, draws, notes, step, how):
    """out[j] = the product of factor and panel[j]."""
    at = out.dtype.type(step) if how[3][REPORTED] != 0 else how[3][NEVER]
    for j in range(out.size):
        out[j] = multiply(factor, panel[j], draws[j], notes, j, at, how)


@core
def fused_row(sums, factor, panel, product_draws, draws, notes, product_step, step, odd, product_how, how):
    """One step of a chain: sums[j] + factor * panel[j]."""
    kind = sums.dtype.type
    product_at = kind(product_step) if product_how[3][REPORTED] != 0 else product_how[3][NEVER]
    at = kind(step) if how[3][REPORTED] != 0 else how[3][NEVER]
    for j in range(sums.size):
        x, y = sums[j], panel[j]
        if product_how[0] == NO_ROUNDING:
            total = from_bits(fused_bits(x, factor, y, ODD)) if odd else fma(factor, y, x)
            term = factor * y
        else:
            term = multiply(factor, y, product_draws[j], notes, j, product_at, product_how)
            total = from_bits(sum_bits(x, term, ODD)) if odd else x + term
        sums[j] = settle(total, x, term, draws[j], notes, j, at, how)


@core
def add_row(out, x, y, draws, notes, step, odd, how):
    """out[j] = x[j] + y[j] as one step; out may be x or y."""
    at = out.dtype.type(step) if how[3][REPORTED] != 0 else how[3][NEVER]
    for j in range(out.size):
        total = from_bits(sum_bits(x[j], y[j], ODD)) if odd else x[j] + y[j]
        out[j] = settle(total, x[j], y[j], draws[j], notes, j, at, how)


@cache
def make_chain(mode: int, rule: int, product_mode: int, product_rule: int, odd: int, watch: int):
    """The sequential order. Modes: of `to_grid`; odd: sums need rounding to odd; watch: what is noted.

    stride: how many roundings a step has, 2 with a product quantizer. notes: six arrays [B*M, N] in the carrier's
    type, those that nothing is written to [1, N]; where sums are not rounded, what is inexact is what overflows.
    """

    def chain(a, b, total, product_draws, draws, product_row, row, notes, stride, block, start, stop, j0, j1):
        widest_vectors()
        a, b, total, notes = uncounted(a), uncounted(b), uncounted(total), uncounted_notes(notes)
        product_draws, draws = uncounted(product_draws), uncounted(draws)
        how = mode, rule, watch, unpack_grid(row)
        product_how = product_mode, product_rule, watch, unpack_grid(product_row)
        rows, depth = a.shape[1], a.shape[2]
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            left = a[batch if a.shape[0] > 1 else 0, i]
            right = b[batch if b.shape[0] > 1 else 0]
            sums = total[batch, i, j0:j1]
            own = rows_of(notes, index, j0, j1)
            for k in range(depth):
                step = stride * k
                product_draw = product_draws[index - start, step] if product_mode == SR else sums
                draw = draws[index - start, step + stride - 1] if mode == SR else sums
                panel = right[k, j0:j1]
                last = step + stride - 1
                fused_row(sums, left[k], panel, product_draw, draw, own, step, last, odd, product_how, how)

    return loop(chain)


@cache
def make_tree(mode: int, rule: int, product_mode: int, product_rule: int, odd: int, watch: int):
    """The pairwise order, otherwise as `make_chain`; block: products in a leaf, or PAIRS."""

    def tree(a, b, total, product_draws, draws, product_row, row, notes, stride, block, start, stop, j0, j1):
        widest_vectors()
        a, b, total, notes = uncounted(a), uncounted(b), uncounted(total), uncounted_notes(notes)
        product_draws, draws = uncounted(product_draws), uncounted(draws)
        how = mode, rule, watch, unpack_grid(row)
        product_how = product_mode, product_rule, watch, unpack_grid(product_row)
        rows, depth = a.shape[1], a.shape[2]
        per_leaf = block if block != PAIRS else 2
        held = np.empty((-(-depth // per_leaf), j1 - j0), total.dtype)
        leaves = uncounted(held)
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            left = a[batch if a.shape[0] > 1 else 0, i]
            right = b[batch if b.shape[0] > 1 else 0]
            own = rows_of(notes, index, j0, j1)
            where = index - start
            step = (depth if stride == 2 else 0) if block == PAIRS else stride - 1
            for leaf in range(leaves.shape[0]):
                sums = leaves[leaf]
                first = leaf * per_leaf
                if block == PAIRS:
                    draw = product_draws[where, first] if product_mode == SR else sums
                    multiply_row(sums, left[first], right[first, j0:j1], draw, own, first, product_how)
                    first += 1
                else:
                    sums[:] = 0
                for k in range(first, min((leaf + 1) * per_leaf, depth)):
                    number = k if block == PAIRS else stride * k
                    product_draw = product_draws[where, number] if product_mode == SR else sums
                    draw = draws[where, step] if mode == SR else sums
                    panel = right[k, j0:j1]
                    fused_row(sums, left[k], panel, product_draw, draw, own, number, step, odd, product_how, how)
                    step += 1 if block == PAIRS else stride
            step = step if block == PAIRS else stride * depth
            sums, width, pair = total[batch, i, j0:j1], leaves.shape[0], 0
            for _ in range(leaves.shape[0]):  # one addition in one place: there is much to compile in it
                last = width == 1
                out, x, y = leaves[pair], leaves[2 * pair], leaves[0 if last else 2 * pair + 1]
                if last:
                    out, x = sums, sums
                draw = draws[where, step] if mode == SR else out
                add_row(out, x, y, draw, own, step, odd, how)
                step, pair = step + 1, pair + 1
                if pair == width // 2:
                    if width % 2:
                        leaves[pair] = leaves[width - 1]
                    width, pair = (width + 1) // 2, 0
        keep(held)

    return loop(tree)


@loop
def fill_thresholds(
    words: NDArray[np.uint32],
    out: NDArray[Any],
    first: int,
    stop: int,
    stride: int,
    mode: int,
    random_bits: int,
    cut: int,
) -> None:
    """out[i, s, j] = the fraction of a step from which on word [i*N + j, s] takes a magnitude up, for every stride-th s.

    k + R >= 2**r with k = floor(frac * 2**r) says frac >= 1 - R * 2**-r; with k to nearest, half a word less; of SR_C
    the tie, k + 1/2, goes up for even R only. cut: low bits of words that cannot decide and that the carrier does not
    hold; k is then whole, and SR_B and SR_C are SR.
    """
    one = out.dtype.type(1)
    scale = out.dtype.type(2.0 ** (cut - random_bits))
    part = out.dtype.type(0.0 if mode == SR or cut else 0.5)
    columns, few = out.shape[2], np.uint32(cut)
    for i in range(out.shape[0]):
        for s0 in range(first, stop, 16 * stride):  # by cache lines of the words
            for j in range(columns):
                own = words[i * columns + j]
                for s in range(s0, min(s0 + 16 * stride, stop), stride):
                    number = np.int64(own[s] >> few)
                    out[i, s, j] = one - (out.dtype.type(number) + part) * scale
    if mode == SR_C and cut == 0:
        for i in range(out.shape[0]):
            for s in range(first, stop, stride):
                for j in range(columns):
                    if words[i * columns + j, s] & np.uint32(1):
                        out[i, s, j] = np.nextafter(out[i, s, j], one)
