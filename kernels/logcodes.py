"""Arithmetic on the codes of logarithmic formats: exponents are added, and sums of powers go through a table.

With y = 2**(2**-f) a code without sign is the power y**k of a whole number k. The sum of two powers is
y**k (1 +- y**-d), so where it lies among the powers depends on the difference d alone: the table says at or above
which power, relative to the larger operand, and on which side of the point where nearest turns to the next. A place is
the number that a code without sign is, going on below 1 and above the largest code.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .logscale import AT, BEFORE, ON, PAST
from .modes import SAW_OVERFLOW
from .primitives import widest_vectors
from .rounding import round_up32

U32, I64 = np.uint32, np.int64

# int64 [7]: the largest code without sign; steps in an octave; the sign bit of a code; the code without sign of a
# nonzero result that rounds to zero (0 or 1); what the rounder says (`logscale.decisions`); where an entry has the
# side that the mode looks at; 1 where places under the smallest magnitude do not count (all modes but RNL).
LARGEST, OCTAVE, SIGN, LEAST, DECISIONS, SIDE, ENDS = range(7)
SAW_ZERO_DIVISOR = 16

PLACE_SHIFT, LOG_SHIFT = 4, 2  # an entry of a table: place << 4 | side to RNL << 2 | side to the other modes


@core
def settle(place, side, negative, limits):
    """The code without sign of a nonzero result between a place and the next; it goes on beyond the largest."""
    # Under the smallest magnitude the neighbours are zero and it, except to the logarithm, where places go on.
    below = (place < 1) & (limits[ENDS] != 0)
    half = 1 - limits[OCTAVE]
    there = AT if (place == half) & (side == ON) else (PAST if place >= half else BEFORE)
    side = there if below else side
    place = 0 if below else place
    code = place + (limits[DECISIONS] >> (side << 2 | negative << 1 | (place & 1)) & 1)
    return code if code > 0 else limits[LEAST]


# The look-ups stay in the loops: an array that is handed to another function has its references counted at every call.


@core
def meeting(first, first_negative, second, second_negative, last):
    """Of two powers: the larger place, the difference, the row of `fill_moves`, and the sign of the larger."""
    larger = max(first, second)
    d = np.uint64(min(larger - min(first, second), last))
    negative = first_negative if first >= second else second_negative
    row = (first_negative ^ second_negative) << 2 | negative << 1 | (larger & 1)
    return larger, d, np.uint64(row), negative


@core
def at_the_bottom(larger, d, row, entry, negative, limits):
    """The code without sign of a sum that is at or under the smallest magnitude."""
    code = settle(larger + (entry >> PLACE_SHIFT), entry >> limits[SIDE] & 3, negative, limits)
    return 0 if (d == np.uint64(0)) & (row >= np.uint64(4)) else code


@core
def unpack_limits(limits):
    """The limits as a tuple of scalars."""
    return limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6]


@loop
def fill_moves(entries: NDArray[np.int32], limits: NDArray[np.int64], moves: NDArray[np.int32]) -> None:
    """moves [8, n]: from the larger place to the rounded sum, for (signs differ << 2 | negative << 1 | larger odd)."""
    for case in range(8):
        for d in range(entries.shape[1]):
            entry = I64(entries[case >> 2, d])
            place, side = entry >> PLACE_SHIFT, entry >> limits[SIDE] & 3
            odd = (place + case) & 1
            moves[case, d] = place + (limits[DECISIONS] >> (side << 2 | (case & 2) | odd) & 1)
    moves[4:, 0] = -(1 << 30)  # equals of different signs: nothing is left


@cache
def make_scale(divides: int):
    """The loop of products (divides = 0) or quotients (1)."""

    def scale(a, b, out, limits, bias, start, stop):
        """out = a * b or a / b; unsigned arrays [n] of one type; bias: the code of 1, whole. Returns SAW_ flags."""
        widest_vectors()
        a, b, out = a[start:stop], b[start:stop], out[start:stop]
        largest, sign, least = limits[LARGEST], limits[SIGN], limits[LEAST]
        flags = 0
        for i in range(a.size):
            x, y = I64(a[i]), I64(b[i])
            p, q = x & largest, y & largest
            place = (p - q + bias) if divides else (p + q - bias)
            nonzero = p != 0 if divides else (p != 0) & (q != 0)
            code = largest if place > largest else (place if place > 0 else least)
            out[i] = (code | ((x ^ y) & sign if code != 0 else 0)) if nonzero else 0
            flags |= SAW_OVERFLOW if nonzero & (place > largest) else 0
            if divides:
                flags |= SAW_ZERO_DIVISOR if q == 0 else 0
        return flags

    return loop(scale)


@loop
def add(
    a: NDArray[Any],
    b: NDArray[Any],
    out: NDArray[Any],
    moves: NDArray[np.int32],
    entries: NDArray[np.int32],
    limits: NDArray[np.int64],
    flip: int,
    start: int,
    stop: int,
) -> int:
    """out = a + b (flip 0) or a - b (1); unsigned arrays [n] of one type. Returns SAW_ flags.

    entries: int32 [2, n], for equal and for different signs, by the difference of the places; moves: `fill_moves`.
    """
    widest_vectors()
    a, b, out = a[start:stop], b[start:stop], out[start:stop]
    known, last = unpack_limits(limits), I64(entries.shape[1] - 1)
    largest, sign = known[LARGEST], known[SIGN]
    worst = I64(0)
    for i in range(a.size):
        p, q = I64(a[i]) & largest, I64(b[i]) & largest
        p_negative, q_negative = I64(I64(a[i]) != p), I64(I64(b[i]) != q) ^ flip
        larger, d, row, negative = meeting(p, p_negative, q, q_negative, last)
        code = larger + I64(moves[row, d])
        if code < 2:
            code = at_the_bottom(larger, d, row, I64(entries[row >> np.uint64(2), d]), negative, known)
        both = (p != 0) & (q != 0)
        code = code if both else p | q
        negative = negative if both else (p_negative if p != 0 else q_negative)
        worst = max(worst, code)
        out[i] = min(code, largest) | (sign if (negative != 0) & (code != 0) else 0)
    return SAW_OVERFLOW if worst > largest else 0


@loop
def log_product(
    a: NDArray[Any],
    b: NDArray[Any],
    out: NDArray[np.uint32],
    moves: NDArray[np.int32],
    entries: NDArray[np.int32],
    limits: NDArray[np.int64],
    mask: np.int64,
    lift: int,
    base: np.int64,
    start: int,
    stop: int,
) -> int:
    """out[n, i, j] = the chain over k of out + a[n, i, k] * b[n, k, j] from zero, each sum rounded once.

    a [1 or B, M, K], b [1 or B, K, N]: codes of one format, `mask` its largest; out [B, M, N] uint32: codes of the
    accumulator, whose sign is bit 31 here. The place of a product there is (code + code) << lift, plus base.
    Rows start <= n*M + i < stop. Returns SAW_ flags.
    """
    widest_vectors()
    known, last = unpack_limits(limits), I64(entries.shape[1] - 1)
    rows, depth = a.shape[1], a.shape[2]
    worst = I64(0)
    for index in range(start, stop):
        batch, i = index // rows, index % rows
        left, right = a[batch if a.shape[0] > 1 else 0, i], b[batch if b.shape[0] > 1 else 0]
        sums = out[batch, i]
        sums[:] = U32(0)
        for k in range(depth):
            x = I64(left[k])
            p = x & mask
            if p == 0:
                continue
            panel = right[k]
            for j in range(sums.size):
                y = I64(panel[j])
                q = y & mask
                if q == 0:
                    continue
                product = ((p + q) << lift) + base
                product_negative = I64((x != p) != (y != q))
                held = I64(sums[j] & U32(0x7FFFFFFF))
                if held == 0:
                    code, negative = settle(product, I64(ON), product_negative, known), product_negative
                else:
                    larger, d, row, negative = meeting(held, I64(sums[j] >> U32(31)), product, product_negative, last)
                    code = larger + I64(moves[row, d])
                    if code < 2:
                        code = at_the_bottom(larger, d, row, I64(entries[row >> np.uint64(2), d]), negative, known)
                worst = max(worst, code)
                sums[j] = U32(min(code, known[LARGEST])) | U32(U32(negative) << U32(31)) if code != 0 else U32(0)
    return SAW_OVERFLOW if worst > known[LARGEST] else 0


@cache
def make_fixed_product(wraps: int):
    """The matrix product with a fixed-point accumulator that saturates (wraps = 0) or wraps (1)."""

    def fixed_product(a, b, out, positive, negative, mask, lowest, highest, start, stop):
        """out[n, i, j] = sum over k of the table's integer for a[n, i, k] * b[n, k, j], limited after every step.

        out: int64. positive, negative: int64 [2 * mask + 1], the product rounded to the grid for a sum of two codes;
        modulo 2^64 where the accumulator wraps, clamped to 2^62 where it saturates. Returns SAW_ flags.
        """
        widest_vectors()
        rows, depth = a.shape[1], a.shape[2]
        flags = 0
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            left, right = a[batch if a.shape[0] > 1 else 0, i], b[batch if b.shape[0] > 1 else 0]
            sums = out[batch, i]
            sums[:] = 0
            for k in range(depth):
                x = I64(left[k])
                p = x & mask
                if p == 0:
                    continue
                panel = right[k]
                for j in range(sums.size):
                    y = I64(panel[j])
                    q = y & mask
                    place = np.uint64(p + q)
                    product = negative[place] if (x != p) != (y != q) else positive[place]
                    total = sums[j] + (product if q != 0 else 0)
                    if not wraps:
                        flags |= SAW_OVERFLOW if (total > highest) | (total < lowest) else 0
                        total = min(max(total, lowest), highest)
                    sums[j] = total
        return flags

    return loop(fixed_product)


@loop
def round_places(
    whole: NDArray[np.uint64],
    side: NDArray[np.uint8],
    rounding: int,
    positive: NDArray[np.int64],
    negative: NDArray[np.int64],
) -> None:
    """positive, negative: int64 [n], the roundings of numbers of both signs, of which these are known: the whole part,
    uint64 [n] modulo 2^64, and on which side of one half the rest is, uint8 [n].
    """
    for i in range(whole.size):
        fraction, odd = U32(U32(side[i]) << U32(30)), U32(whole[i] & np.uint64(1))
        up = round_up32(rounding, U32(0), odd, fraction, U32(0), U32(0), U32(0))
        down = round_up32(rounding, U32(1), odd, fraction, U32(0), U32(0), U32(0))
        positive[i] = I64(whole[i] + np.uint64(up))
        negative[i] = -I64(whole[i] + np.uint64(down))


@loop
def panels(a: NDArray[Any], b: NDArray[Any], values: NDArray[Any], mask: np.int64, out: NDArray[Any]) -> None:
    """out[n, k, j] = the value of a[n, k] * b[0 or n, k, j]; values [2 * mask + 1]: by the sum of the codes."""
    widest_vectors()
    zero = values[0]
    for n in range(out.shape[0]):
        right = b[n if b.shape[0] > 1 else 0]
        for k in range(out.shape[1]):
            x = I64(a[n, k])
            p = x & mask
            panel, products = right[k], out[n, k]
            for j in range(products.size):
                y = I64(panel[j])
                q = y & mask
                value = values[np.uint64(p + q)]
                value = -value if (x != p) != (y != q) else value
                products[j] = value if (p != 0) & (q != 0) else zero
