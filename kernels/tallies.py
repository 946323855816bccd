"""The loops of `sums`, which also count what happened in each rounding; sums are exact or rounded to odd first.

counts: eight rows, uint32, those of numerics.Events in their order: three of products, five of sums. scratch: rows for
the bits that are rounded, the sum to odd, the error of the carrier's own sum, the result, and a negative.

Where all sums are finite, `finite_tallies` counts them; the literal `counting` says what else is known of them.
"""

import numpy as np
from numba import types

from ._jit import by_literals, core
from .counted import binade, one_if, product_events, round_counted, steps_of, sum_events
from .finite_tallies import FITTING, lane_numbers, make_add_finite, spread
from .mask_tallies import MASKS, PRODUCT_MASKS, next_fitting, next_product, spread_fitting, spread_products, spread_tame
from .modes import NATIVE, NATIVE_IEEE, NO_ROUNDING, RNE
from .primitives import to_bits
from .sums import (
    FINITE,
    add_row,
    copy_row,
    fused_row,
    multiply_row,
    stochastic,
    subtract_row,
    to_odd,
)
from .tally_lanes import in_lanes, make_count_lanes, make_product_lanes, make_row

U32, U64 = np.uint32, np.uint64


@by_literals
def word_of(draw, j, mode):
    """The word of lane j, aligned to the top, or zero where none is drawn."""
    if not stochastic(mode.literal_value):
        return lambda draw, j, mode: U32(0)
    return lambda draw, j, mode: U32(U32(draw[0][j] << draw[1]) & draw[2])


@core
def count_sum(x, y, scratch, how, counts):
    """Count what the sums of x and y, whose odd roundings, errors and results are in `scratch`, came to."""
    _, facts, tiny = how
    _, odd, error, result, _ = scratch
    underflow, inexact, swamped, absorbed = counts[4], counts[5], counts[6], counts[7]
    steps = steps_of(facts)
    for j in range(x.size):
        less, lossy, lost, gone = sum_events(x[j], y[j], odd[j], error[j], result[j], steps, tiny, facts)
        inexact[j] += one_if(lossy)
        underflow[j] += one_if(less)
        swamped[j] += one_if(lost)
        absorbed[j] += one_if(gone)


@core
def sum_counted(out, x, y, scratch, draw, mode, how, counts):
    """out[j] = x[j] + y[j], rounded once, and its events counted."""
    normalise, facts, _ = how
    bits, odd, error, result, _ = scratch
    overflow = counts[3]
    for j in range(x.size):
        s = x[j] + y[j]
        t = s - x[j]
        error[j] = (x[j] - (s - t)) + (y[j] - t)
        zero = to_bits(x[j]) | to_bits(y[j])
        odd[j] = to_odd(s, error[j], zero, RNE)
        bits[j] = to_odd(s, error[j], zero, mode)
    for j in range(x.size):
        value, over = round_counted(bits[j], word_of(draw, j, mode), mode, normalise, facts, False)
        result[j] = value
        finite = (x[j] - x[j] == 0) & (y[j] - y[j] == 0)
        overflow[j] += one_if(over & finite)
    count_sum(x, y, scratch, how, counts)
    copy_row(out, result)


def _finite(mode, total, counting, fused):
    width = 32 if total.dtype == types.float32 else 64
    return core(make_add_finite(mode, width, counting.literal_value, fused, round_counted, word_of, binade))


def _native(mode, fused):
    """`sum_counted` in place, of sums that float32 itself commits and that fit; fused: y[j] = factor * panel[j] before."""
    count_row = make_row(make_count_lanes(mode, True, True, fused))

    def add_native(total, y, factor, panel, scratch, draw, mode, how, counts):
        at, numbers = next_fitting(counts, False), lane_numbers(how[1], how[2])
        begin = count_row(total, factor, panel, counts[MASKS], at, numbers)
        if begin == total.size:
            return
        if fused:
            for j in range(begin, y.size):
                y[j] = factor * panel[j]
        rest, rows = total[begin:], (counts[3][begin:], counts[4][begin:], counts[5][begin:], counts[6][begin:])
        own = counts[0], counts[1], counts[2], rows[0], rows[1], rows[2], rows[3], counts[7][begin:]
        sum_counted(rest, rest, y[begin:], scratch, draw, mode, how, own)

    return core(add_native)


def _in_place(mode, total, counting, fused):
    """The counting sum in place of a mode whose sums are finite, or None: it depends on what is known of them."""
    if mode >= 0 and mode & FINITE:
        return _finite(mode, total, counting, fused)
    native = mode in (NATIVE, NATIVE_IEEE) and total.dtype == types.float32 and counting.literal_value == FITTING
    return _native(mode, fused) if native else None


@by_literals
def add_row_counted(counting, total, y, scratch, draw, mode, how, counts):
    """`sums.add_row`, counting."""
    m = mode.literal_value
    if m == NO_ROUNDING:
        return lambda counting, total, y, scratch, draw, mode, how, counts: None
    in_place = _in_place(m, total, counting, False)
    if in_place is not None:
        return lambda counting, total, y, scratch, draw, mode, how, counts: in_place(
            total, y, total.dtype.type(1), y, scratch, draw, mode, how, counts
        )

    def add_any(counting, total, y, scratch, draw, mode, how, counts):
        sum_counted(total, total, y, scratch, draw, mode, how, counts)

    return add_any


@by_literals
def subtract_row_counted(counting, out, x, y, scratch, draw, mode, how, counts):
    """`sums.subtract_row`, counting; out may be x or y."""
    m = mode.literal_value
    if m < 0 or not m & FINITE:

        def subtract_any(counting, out, x, y, scratch, draw, mode, how, counts):
            minus = scratch[4]
            for j in range(y.size):
                minus[j] = -y[j]
            sum_counted(out, x, minus, scratch, draw, mode, how, counts)

        return subtract_any
    finite = _finite(m, out, counting, False)

    def subtract_finite(counting, out, x, y, scratch, draw, mode, how, counts):
        minus = scratch[4]
        for j in range(y.size):
            minus[j] = -y[j]
        copy_row(out, x)
        finite(out, minus, out.dtype.type(1), minus, scratch, draw, mode, how, counts)

    return subtract_finite


@by_literals
def multiply_row_counted(out, factor, panel, draw, mode, how, counts):
    """`sums.multiply_row`, counting."""
    if mode.literal_value == NO_ROUNDING:
        return lambda out, factor, panel, draw, mode, how, counts: multiply_row(
            out, factor, panel, draw, mode, how, counts
        )

    lanes = in_lanes(mode.literal_value) and out.dtype == types.float32
    product_row = make_row(make_product_lanes(mode.literal_value))

    def multiply_and_count(out, factor, panel, draw, mode, how, counts):
        normalise, facts, tiny = how
        overflow, underflow, inexact, begin = counts[0], counts[1], counts[2], 0
        if lanes:
            at, numbers = next_product(counts, True), lane_numbers(facts, tiny)
            begin = product_row(out, factor, panel, counts[PRODUCT_MASKS], at, numbers)
        for j in range(begin, out.size):
            product = factor * panel[j]
            result, over = round_counted(to_bits(product), word_of(draw, j, mode), mode, normalise, facts, False)
            less, lossy = product_events(product, result, tiny)
            overflow[j] += one_if(over)
            inexact[j] += one_if(lossy)
            underflow[j] += one_if(less)
            out[j] = result

    return multiply_and_count


@by_literals
def settle(counting, counts):
    """To be called when a tile's last rounding is done."""
    if not counting.literal_value:
        return lambda counting, counts: None

    spread_masks = spread_fitting if counting.literal_value == FITTING else spread_tame

    def spread_all(counting, counts):
        spread(counts)
        spread_masks(counts)
        spread_products(counts)

    return spread_all


# What kernels call: the counting loops, or those of `sums`, as the literal `counting` says.


@by_literals
def add(counting, total, y, scratch, draw, mode, how, counts):
    """`sums.add_row`, or counting."""
    if counting.literal_value:
        return lambda counting, total, y, scratch, draw, mode, how, counts: add_row_counted(
            counting, total, y, scratch, draw, mode, how, counts
        )
    return lambda counting, total, y, scratch, draw, mode, how, counts: add_row(
        total, y, scratch, draw, mode, how, counts
    )


@by_literals
def subtract(counting, out, x, y, scratch, draw, mode, how, counts):
    """`sums.subtract_row`, or counting."""
    if counting.literal_value:
        return lambda counting, out, x, y, scratch, draw, mode, how, counts: subtract_row_counted(
            counting, out, x, y, scratch, draw, mode, how, counts
        )
    return lambda counting, out, x, y, scratch, draw, mode, how, counts: subtract_row(
        out, x, y, scratch, draw, mode, how, counts
    )


@by_literals
def multiply(counting, out, factor, panel, draw, mode, how, counts):
    """`sums.multiply_row`, or counting."""
    chosen = multiply_row_counted if counting.literal_value else multiply_row
    return lambda counting, out, factor, panel, draw, mode, how, counts: chosen(
        out, factor, panel, draw, mode, how, counts
    )


@by_literals
def multiply_add(counting, total, product, factor, panel, scratch, draw, mode, how, counts):
    """total[j] += factor * panel[j], the product exact; product: a row of scratch."""
    if not counting.literal_value:
        return lambda counting, total, product, factor, panel, scratch, draw, mode, how, counts: fused_row(
            total, factor, panel, scratch, draw, mode, how
        )

    m = mode.literal_value
    in_place = _in_place(m, total, counting, True)
    if in_place is not None:
        return lambda counting, total, product, factor, panel, scratch, draw, mode, how, counts: in_place(
            total, product, factor, panel, scratch, draw, mode, how, counts
        )

    def counted(counting, total, product, factor, panel, scratch, draw, mode, how, counts):
        for j in range(total.size):
            product[j] = factor * panel[j]
        add_row_counted(counting, total, product, scratch, draw, mode, how, counts)

    return counted
