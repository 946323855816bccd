"""Chains of accumulation once more, for what each step does to a gradient: `gemm.make_chain` keeping masks, not counts.

The same words, roundings and order as there, so that the sums are the product's own bits. A mask is a bit for each step
and output: that of step k of a chain is bit k % 32 of word k // 32, and lanes run along a row of the output.
"""

from functools import cache

import numpy as np

from ._jit import by_literals, core, loop
from .carrier import unpack
from .gemm import (
    DETERMINISTIC,
    draw_row,
    first_element,
    first_of,
    operands,
    scratch_of,
    uncounted_scratch,
)
from .modes import LARGEST, NO_ROUNDING, ONCE
from .primitives import fma, from_bits, keep, shift_left, shift_right, uncounted, widest_vectors
from .scratch import TILE
from .sums import copy_row, fused_bits, multiply_row, stochastic, to_format
from .tallies import word_of

U32, U64 = np.uint32, np.uint64
ALL, ONE = U32(0xFFFFFFFF), U32(1)
OVERFLOW, MOVED, MOVED_FAR = range(3)  # what masks ask of a step


@core
def below(s, error, top):
    """Whether |s + error| < top, s being the nearest float: where s is the top itself, the error tells."""
    size = abs(s)
    short = error < 0 if s > 0 else error > 0
    return (size < top) | ((size == top) & short)


@core
def far(new, old, tolerance):
    """Whether |new - old| > tolerance * |old|, exactly: both sides as a float64 and its error, compared in turn."""
    x, y = np.float64(new), np.float64(old)
    s = x - y
    t = s - x
    error = (x - (s - t)) - (y + t)
    threshold = tolerance * abs(y)
    rest = fma(tolerance, abs(y), -threshold)
    size, error = abs(s), error if s >= 0 else -error
    return (size > threshold) | ((size == threshold) & (error > rest))


@by_literals
def moves(event, new, old, tolerance):
    """Whether a step's sum differs from the number, never where one of them is a NaN."""
    if event.literal_value == MOVED_FAR:
        return lambda event, new, old, tolerance: far(new, old, tolerance)
    return lambda event, new, old, tolerance: (new < old) | (new > old)


@core
def set_bit(mask, j, shift, condition):
    """Puts the condition into a bit that is zero."""
    mask[j] = U32(mask[j] | shift_left(ONE if condition else U32(0), shift))


@by_literals
def inside(x, factor, y, bits, top, mode):
    """Whether |x + factor * y| < top, the format's largest; bits: of the sum as `fused_bits` has it in this mode.

    To odd or toward zero they are on the same side of it, having more digits than it has. To nearest they need not be.
    """
    if not _nearest(mode.literal_value):
        return lambda x, factor, y, bits, top, mode: abs(from_bits(bits)) < top

    def by_error(x, factor, y, bits, top, mode):
        s = from_bits(bits)
        t = s - x
        return below(s, (x - (s - t)) + fma(factor, y, -t), top)

    return by_error


def _nearest(mode: int) -> bool:
    return mode < 0 or bool(mode & ONCE)


# marks: (word rows of the local mask and of that of the way through the sum before, the bit of the step, tolerance).


@by_literals
def step_row(event, recursive, total, factor, panel, scratch, draw, mode, how, marks):
    """total[j] += factor * panel[j], rounded once, and the step's bits; of the way through where it differs from local."""
    m = mode.literal_value
    if m == NO_ROUNDING:
        return lambda event, recursive, total, factor, panel, scratch, draw, mode, how, marks: None
    if event.literal_value == OVERFLOW:
        return _step_inside
    return _step_moved_at_once if _nearest(m) and not stochastic(m) and not recursive.literal_value else _step_moved


def _step_inside(event, recursive, total, factor, panel, scratch, draw, mode, how, marks):
    bits = scratch[0]
    local, _, shift, _ = marks
    top = from_bits(how[1][LARGEST])
    for j in range(total.size):
        bits[j] = fused_bits(total[j], factor, panel[j], mode)
    for j in range(total.size):
        set_bit(local, j, shift, inside(total[j], factor, panel[j], bits[j], top, mode))
        total[j] = to_format(bits[j], word_of(draw, j, mode), mode, how[0], how[1])


def _step_moved_at_once(event, recursive, total, factor, panel, scratch, draw, mode, how, marks):
    local, _, shift, tolerance = marks
    for j in range(total.size):
        value = to_format(fused_bits(total[j], factor, panel[j], mode), U32(0), mode, how[0], how[1])
        set_bit(local, j, shift, moves(event, value, total[j], tolerance))
        total[j] = value


def _step_moved(event, recursive, total, factor, panel, scratch, draw, mode, how, marks):
    bits, alone = scratch[0], scratch[1]
    local, through, shift, tolerance = marks
    for j in range(total.size):
        bits[j] = fused_bits(total[j], factor, panel[j], mode)
    for j in range(total.size):
        value = to_format(bits[j], word_of(draw, j, mode), mode, how[0], how[1])
        set_bit(local, j, shift, moves(event, value, total[j], tolerance))
        total[j] = value
    if recursive:
        for j in range(total.size):
            alone[j] = fused_bits(total.dtype.type(0.0), factor, panel[j], mode)
        for j in range(total.size):
            value = to_format(alone[j], word_of(draw, j, mode), mode, how[0], how[1])
            set_bit(through, j, shift, moves(event, total[j], value, tolerance))


@core
def fill(row, value):
    """Sets every word of a row."""
    for j in range(row.size):
        row[j] = value


@core
def clear_large(local, through, factor, panel, shift, how):
    """Clears the step's bit where the product, before it is rounded, is not below its format's largest.

    The way through keeps the bit.
    """
    top, one = from_bits(how[1][LARGEST]), shift_left(ONE, shift)
    for j in range(panel.size):
        through[j] = U32(through[j] | U32(local[j] & one))
        large = U32(0) if abs(factor * panel[j]) < top else one
        local[j] = U32(local[j] & U32(ALL ^ large))


@core
def fold(local, first, through, first_through, inner, start, stop, recursive):
    """Multiplies the masks of steps start ... stop - 1 by that of their chain, `inner`, and of later steps if recursive.

    inner: 0 or all ones for each lane, consumed; lane 0 has column `first` of local, `first_through` of through, which may
    be one array. Rows are taken from whole arrays: of a part of one it would not be known that its lanes are neighbours.
    """
    n = inner.size
    for back in range(start >> 5, ((stop - 1) >> 5) + 1):
        w = ((stop - 1) >> 5) - (back - (start >> 5))
        low, high = max(start - 32 * w, 0), min(stop - 32 * w, 32)
        others = U32(ALL ^ shift_left(shift_right(ALL, U32(32 - high + low)), U32(low)))
        row = local[w, first : first + n]
        if recursive:
            passed = through[w, first_through : first_through + n]
            for j in range(n):
                run = U32(passed[j] | others)  # bit k becomes: whether it and all above it are set
                run = U32(run & U32(shift_right(run, U32(1)) | U32(0x80000000)))
                run = U32(run & U32(shift_right(run, U32(2)) | U32(0xC0000000)))
                run = U32(run & U32(shift_right(run, U32(4)) | U32(0xF0000000)))
                run = U32(run & U32(shift_right(run, U32(8)) | U32(0xFF000000)))
                run = U32(run & U32(shift_right(run, U32(16)) | U32(0xFFFF0000)))
                later = U32(shift_right(run, U32(1)) | U32(0x80000000))
                row[j] = U32(row[j] & U32(U32(later & inner[j]) | others))
                inner[j] = U32(inner[j] & U32(U32(0) - U32(run & ONE)))
        else:
            for j in range(n):
                row[j] = U32(row[j] & U32(inner[j] | others))


@cache
def make_replay(
    mode: int,
    product_mode: int,
    outer_mode: int,
    normalise: int,
    source: int = DETERMINISTIC,
    event: int = MOVED,
    recursive: int = 0,
):
    """The chain of `gemm.make_chain` for these modes, with the masks of an event; recursive: of all that follows too."""
    exact, unbroken = product_mode == NO_ROUNDING, outer_mode == NO_ROUNDING
    one_mask = event == OVERFLOW  # of sums: the way through is as open as the term's own
    products_too = one_mask and not exact
    steps = 1 if exact else 2

    def replay(a, b, total, rows, masks, tolerance, chunk, given, start, stop):
        """total[n, i, :] as by the chain; masks [rows from given.base on, words, N], of zeros: the paths' masks."""
        widest_vectors()
        how, how_products = (normalise, unpack(rows[0])), (normalise, unpack(rows[1]))
        how_outer = normalise, unpack(rows[2])
        depth, columns = b.shape[1], b.shape[2]
        width = min(TILE, columns)
        chunks = (depth + chunk - 1) // chunk
        a, b, total, masks = uncounted(a), uncounted(b), uncounted(total), uncounted(masks)
        held = scratch_of(width, total, rows[0], source, 0)
        part, products, whole, blocks, outer_blocks, _ = uncounted_scratch(held)
        kept = (
            np.empty((masks.shape[1] if recursive else 1, width), np.uint32),
            np.empty(((chunks + 31) >> 5, width), np.uint32),
            np.empty(((chunks + 31) >> 5, width), np.uint32),
            np.empty(width, np.uint32),
            np.empty(width, np.uint32),
        )
        through, outer_local, outer_through = uncounted(kept[0]), uncounted(kept[1]), uncounted(kept[2])
        live_all, inner_all = uncounted(kept[3]), uncounted(kept[4])
        along = U64(given.along * given.span)
        one = total.dtype.type(1.0)
        for index in range(start, stop):
            left, right, batch, i = operands(a, b, index)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                n = j1 - j0
                tile = index, j0, j1, first_element(given, total, batch, i, j0), along
                sums = total[batch, i, j0:j1]
                inner = sums if unbroken else part[:n]
                product, scratch = products[:n], first_of(whole, n)
                local = masks[index - given.base]
                for word in range(through.shape[0]):
                    fill(through[word], U32(0))
                for word in range(outer_local.shape[0]):
                    fill(outer_local[word], U32(0))
                    fill(outer_through[word], U32(0))
                for number in range(chunks):
                    if not unbroken:
                        inner[:] = 0.0
                    for k in range(number * chunk, min(number * chunk + chunk, depth)):
                        factor, panel, step = left[k], right[k, j0:j1], steps * k
                        word = k >> 5
                        passed = through[word if recursive else 0, :n]
                        marks = local[word, j0:j1], passed, U32(k & 31), tolerance
                        if exact:
                            draw = draw_row(source, given, blocks, tile, step, step, mode, how)
                            step_row(event, recursive, inner, factor, panel, scratch, draw, mode, how, marks)
                        else:
                            draw = draw_row(source, given, blocks, tile, step, step, product_mode, how_products)
                            multiply_row(product, factor, panel, draw, product_mode, how_products, ())
                            draw = draw_row(source, given, blocks, tile, step + 1, step, mode, how)
                            step_row(event, recursive, inner, one, product, scratch, draw, mode, how, marks)
                        if products_too:
                            clear_large(marks[0], passed, factor, panel, marks[2], how_products)
                    if not unbroken:
                        step = steps * depth + number
                        row = number >> 5
                        marks = outer_local[row, :n], outer_through[row, :n], U32(number & 31), tolerance
                        draw = draw_row(source, given, outer_blocks, tile, step, step, outer_mode, how_outer)
                        step_row(event, recursive, sums, one, inner, scratch, draw, outer_mode, how_outer, marks)
                if recursive or not unbroken:
                    live, path = live_all[:n], inner_all[:n]
                    fill(live, ALL)
                    for back in range(chunks):
                        number = chunks - 1 - back
                        if not unbroken:
                            outer = outer_local if one_mask else outer_through
                            bit, row = U32(number & 31), outer_local[number >> 5, :n]
                            for j in range(n):
                                path[j] = U32(live[j] & U32(U32(0) - U32(shift_right(row[j], bit) & ONE)))
                            if recursive:
                                row = outer[number >> 5, :n]
                                for j in range(n):
                                    live[j] = U32(live[j] & U32(U32(0) - U32(shift_right(row[j], bit) & ONE)))
                        else:
                            copy_row(path, live)
                        k0, k1 = number * chunk, min(number * chunk + chunk, depth)
                        if one_mask and not products_too:
                            fold(local, j0, local, j0, path, k0, k1, recursive)
                        else:
                            fold(local, j0, through, 0, path, k0, k1, recursive)
        keep(held)
        keep(kept)

    return loop(replay)
