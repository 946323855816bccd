"""Matrix units that align nothing: exact block sums, chains of fused multiply-adds, and trees of rounded additions."""

from functools import cache

import numpy as np

from ._jit import core, loop
from .carrier import unpack_row
from .matrix_unit import DEPTH, SPECIALS, round_sum, special_product
from .primitives import fma, to_bits

U64, I64 = np.uint64, np.int64
# A chain from c; a chain from zero, or two over parts of the block, then c; a tree, then c.
SEQUENTIAL, LATE, EVEN_ODD, BIT1, PAIRWISE = range(5)
_SECOND = {SEQUENTIAL: 0, LATE: 0, EVEN_ODD: 1, BIT1: 2, PAIRWISE: 0}  # the bit of k that the second chain has


@core
def exact_block(a, b, k0, k1, c, parts, facts, over, nearest):
    """c + the products at k0 .. k1, added exactly and rounded once.

    The sum is kept as floats that do not overlap, smallest first (Shewchuk 1997, Grow-Expansion), which needs no bound
    on the exponents. Rounded to odd from its two largest ones, its 53 bits round once more without harm.
    """
    count = 0
    for k in range(k0, k1 + 1):
        x = c if k == k1 else np.float64(a[k]) * np.float64(b[k])
        kept = 0
        for i in range(count):
            y = parts[i]
            total = x + y
            back = total - x
            error = (x - (total - back)) + (y - back)
            if error != 0.0:
                parts[kept] = error
                kept += 1
            x = total
        parts[kept] = x
        count = kept + 1
    high, low = parts[count - 1], 0.0
    for i in range(count - 2, -1, -1):
        total = high + parts[i]
        low = parts[i] - (total - high)
        high = total
        if low != 0.0:
            break
    if high == 0.0:
        return 0.0
    bits = to_bits(high)
    if low != 0.0:
        bits = U64((bits - U64(1) if (low < 0.0) != (high < 0.0) else bits) | U64(1))
    magnitude = U64(bits & U64((1 << 63) - 1))
    exponent = I64(magnitude >> U64(52)) - 1023
    significand = I64(U64(magnitude & U64((1 << 52) - 1)) | U64(1 << 52))
    return round_sum(significand if bits == magnitude else -significand, exponent - 52, facts, over, nearest)


@loop
def exact_product(a, b, total, row, over, nearest, k0, k1, start, stop):
    """total[n, i, j] = chain of exact blocks of a[n, i, k0:k1] against b[n, j, k0:k1] from total's own values.

    a float32 [Ba, M, K]; b [Bb, N, K], transposed; total float64 [B, M, N]. Rows start <= n*M + i < stop.
    """
    facts, ends = unpack_row(row), (over[0], over[1])
    rows, columns = total.shape[1], total.shape[2]
    parts = np.empty(facts[DEPTH] + 2, np.float64)
    for index in range(start, stop):
        batch, i = index // rows, index % rows
        left = a[batch if a.shape[0] > 1 else 0, i]
        for j in range(columns):
            right = b[batch if b.shape[0] > 1 else 0, j]
            c = total[batch, i, j]
            for k in range(k0, k1, facts[DEPTH]):
                last = min(k + facts[DEPTH], k1)
                special = 0.0 if abs(c) < np.inf else c
                if facts[SPECIALS] or special != 0.0:
                    for n in range(k, last):
                        special += special_product(left[n], right[n], facts)
                if special == 0.0:
                    c = exact_block(left, right, k, last, c, parts, facts, ends, nearest)
                else:
                    c = special
            total[batch, i, j] = c


@core
def flushed(x, tiny):
    """x, or a zero of its sign where its magnitude is below `tiny`."""
    return np.copysign(x - x, x) if abs(x) < tiny else x


@core
def flushed_fma(a, b, c, tiny):
    """a*b + c of float32 to nearest even, flushed where it is tiny after rounding as if the exponent were unbounded.

    Rounded on the subnormal grid, a sum up to half of its step below the smallest normal number becomes that number;
    on the finer, unbounded grid half a step there is half as much. So that one result is looked at again, in float64,
    where the product is exact.
    """
    result = fma(a, b, c)
    if abs(result) == tiny and tiny > 0:
        x, y = np.float64(a) * np.float64(b), np.float64(c)
        total = x + y
        back = total - x
        error = (x - (total - back)) + (y - back)
        edge = np.float64(tiny) * (1.0 - 2.0**-25)
        inward = error != 0.0 and (error < 0.0) != (total < 0.0)
        if abs(total) < edge or (abs(total) == edge and inward):
            return np.copysign(c - c, result)
    return flushed(result, tiny)


@cache
def make_steps(kind: int):
    """The loop of a unit that rounds at every step, for one of SEQUENTIAL, LATE, EVEN_ODD, BIT1, PAIRWISE."""
    second = _SECOND[kind]

    def steps(a, b, total, depth, tiny, k0, k1, start, stop):
        """total[n, i, j] = blocks of `depth` k from total's own values; tiny: smaller results are flushed.

        a [Ba, M, K], b [Bb, N, K], transposed, total [B, M, N]: all float32, or all float64 with tiny = 0.
        """
        rows, columns = total.shape[1], total.shape[2]
        leaves = np.empty(depth, total.dtype)
        zero = leaves.dtype.type(0)
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            left = a[batch if a.shape[0] > 1 else 0, i]
            for j in range(columns):
                right = b[batch if b.shape[0] > 1 else 0, j]
                c = total[batch, i, j]
                for first in range(k0, k1, depth):
                    last = min(first + depth, k1)
                    if kind == SEQUENTIAL:
                        for k in range(first, last):
                            c = flushed_fma(left[k], right[k], c, tiny)
                    elif kind == PAIRWISE:
                        for k in range(depth):
                            leaves[k] = zero
                            if first + k < last:
                                leaves[k] = flushed(left[first + k] * right[first + k], tiny)
                        width = depth
                        while width > 1:
                            width //= 2
                            for k in range(width):
                                leaves[k] = flushed(leaves[2 * k] + leaves[2 * k + 1], tiny)
                        c = flushed(c + leaves[0], tiny)
                    else:
                        one, other = zero, zero
                        for k in range(first, last):
                            if (k - first) & second:
                                other = flushed_fma(left[k], right[k], other, tiny)
                            else:
                                one = flushed_fma(left[k], right[k], one, tiny)
                        if second:
                            one = flushed(one + other, tiny)
                        c = flushed(c + one, tiny)
                total[batch, i, j] = c

    return loop(steps)
