"""Matrix units that align nothing: exact block sums, chains of fused multiply-adds, and trees of rounded additions."""

from functools import cache

import numpy as np

from ._jit import core, loop
from .carrier import unpack_row
from .expansions import leading, odd, power_of_two, two_sum
from .matrix_unit import DEPTH, EMIN, SPECIALS, round_flagged, special_product
from .primitives import fma, to_bits
from .unit_tallies import PRODUCTS, SUMS, added, expansion_flags, store, sum_flags, wide_sum_flags

U64, I64 = np.uint64, np.int64
# A chain from c; a chain from zero, or two over parts of the block, then c; a tree, then c.
SEQUENTIAL, LATE, EVEN_ODD, BIT1, PAIRWISE = range(5)
SECOND = {SEQUENTIAL: 0, LATE: 0, EVEN_ODD: 1, BIT1: 2, PAIRWISE: 0}  # the bit of k that the second chain has


@core
def exact_sum(a, b, k0, k1, c, parts):
    """c + the products at k0 .. k1 as an expansion in parts, c last; how many parts it has, the last may be zero.

    Which needs no bound on the exponents (Grow-Expansion). Written out here: a call for each product would count
    the references to its array, at many times the cost of the sum.
    """
    count = 0
    for k in range(k0, k1 + 1):
        x = c if k == k1 else np.float64(a[k]) * np.float64(b[k])
        kept = 0
        for i in range(count):
            x, error = two_sum(x, parts[i])
            if error != 0.0:
                parts[kept] = error
                kept += 1
        parts[kept] = x
        count = kept + 1
    return count


@core
def round_parts(parts, count, facts, over, nearest):
    """(the sum of an expansion rounded once, whether it left the range).

    Rounded to odd from its two largest parts, its 53 bits round once more without harm.
    """
    high, low = leading(parts, count)
    if high == 0.0:
        return 0.0, False
    bits = to_bits(odd(high, low))
    magnitude = U64(bits & U64((1 << 63) - 1))
    exponent = I64(magnitude >> U64(52)) - 1023
    significand = I64(U64(magnitude & U64((1 << 52) - 1)) | U64(1 << 52))
    return round_flagged(significand if bits == magnitude else -significand, exponent - 52, facts, over, nearest)


@cache
def make_exact(counting: bool):
    """The loop of a unit whose blocks are summed exactly; counting: it also counts events."""

    def exact_product(a, b, total, row, over, nearest, counts, k0, k1, start, stop):
        """total[n, i, j] = chain of exact blocks of a[n, i, k0:k1] against b[n, j, k0:k1] from total's own values.

        a float32 [Ba, M, K]; b [Bb, N, K], transposed; total float64 [B, M, N]; counts uint32 [8, B, M, N], added to
        where counting. Rows start <= n*M + i < stop.
        """
        facts, ends = unpack_row(row), (over[0], over[1])
        rows, columns = total.shape[1], total.shape[2]
        parts = np.empty(facts[DEPTH] + 4, np.float64)
        tiny = power_of_two(facts[EMIN])
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            left = a[batch if a.shape[0] > 1 else 0, i]
            for j in range(columns):
                right = b[batch if b.shape[0] > 1 else 0, j]
                c = total[batch, i, j]
                tally = (I64(0), I64(0), I64(0), I64(0), I64(0))
                for k in range(k0, k1, facts[DEPTH]):
                    last = min(k + facts[DEPTH], k1)
                    special = 0.0 if abs(c) < np.inf else c
                    if facts[SPECIALS] or special != 0.0:
                        for n in range(k, last):
                            special += special_product(left[n], right[n], facts)
                    if special == 0.0:
                        count, before = exact_sum(left, right, k, last, c, parts), c
                        c, beyond = round_parts(parts, count, facts, ends, nearest)
                        if counting:
                            found = expansion_flags(parts, count, before, c, beyond, tiny, False)
                            tally = added(tally, found)
                    else:
                        c = special
                total[batch, i, j] = c
                if counting:
                    store(counts, SUMS, batch, i, j, tally)

    return loop(exact_product)


@core
def flushed(x, tiny):
    """x, or a zero of its sign where its magnitude is below `tiny`."""
    return x * (x - x) if abs(x) < tiny else x


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
            return result * (result - result)
    return flushed(result, tiny)


@core
def step_flags(wide, x, y, c, result, tiny, flushed):
    """Of the sum x*y + c rounded to `result`, all of the steps' type; wide: that is float64."""
    x, y, c, result = np.float64(x), np.float64(y), np.float64(c), np.float64(result)
    over = abs(result) == np.inf
    if wide:
        return wide_sum_flags(x, y, c, result, over, tiny, power_of_two(52))
    return sum_flags(c, x * y, result, over, tiny, power_of_two(23), flushed)


@cache
def make_steps(kind: int, wide: bool = False, counting: bool = False):
    """The loop of a unit that rounds at every step, for one of SEQUENTIAL, LATE, EVEN_ODD, BIT1, PAIRWISE.

    wide: the steps are in float64, else in float32. counting: it also counts events.
    """
    second = SECOND[kind]

    def steps(a, b, total, depth, tiny, normal, counts, k0, k1, start, stop):
        """total[n, i, j] = blocks of `depth` k from total's own values; tiny: smaller results are flushed.

        a [Ba, M, K], b [Bb, N, K], transposed, total [B, M, N]: all float32, or all float64 with tiny = 0. normal: the
        smallest normal number. counts uint32 [8, B, M, N], added to where counting.
        """
        rows, columns = total.shape[1], total.shape[2]
        leaves = np.empty(depth, total.dtype)
        zero = leaves.dtype.type(0)
        one = leaves.dtype.type(1)
        shrinks = tiny > 0
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            left = a[batch if a.shape[0] > 1 else 0, i]
            for j in range(columns):
                right = b[batch if b.shape[0] > 1 else 0, j]
                c = total[batch, i, j]
                tally = products = (I64(0), I64(0), I64(0), I64(0), I64(0))
                for first in range(k0, k1, depth):
                    last = min(first + depth, k1)
                    if kind == SEQUENTIAL:
                        for k in range(first, last):
                            before = c
                            c = flushed_fma(left[k], right[k], c, tiny)
                            if counting:
                                found = step_flags(wide, left[k], right[k], before, c, normal, shrinks)
                                tally = added(tally, found)
                    elif kind == PAIRWISE:
                        for k in range(depth):
                            leaves[k] = zero
                            if first + k < last:
                                leaves[k] = flushed(left[first + k] * right[first + k], tiny)
                                if counting:
                                    x, y = left[first + k], right[first + k]
                                    found = step_flags(wide, x, y, zero, leaves[k], normal, shrinks)
                                    products = added(products, found)
                        width = depth
                        while width > 1:
                            width //= 2
                            for k in range(width):
                                x, y = leaves[2 * k], leaves[2 * k + 1]
                                leaves[k] = flushed(x + y, tiny)
                                if counting:
                                    found = step_flags(wide, y, one, x, leaves[k], normal, shrinks)
                                    tally = added(tally, found)
                        before = c
                        c = flushed(c + leaves[0], tiny)
                        if counting:
                            found = step_flags(wide, leaves[0], one, before, c, normal, shrinks)
                            tally = added(tally, found)
                    else:
                        chain, other = zero, zero
                        for k in range(first, last):
                            before = other if (k - first) & second else chain
                            x = flushed_fma(left[k], right[k], before, tiny)
                            if (k - first) & second:
                                other = x
                            else:
                                chain = x
                            if counting:
                                found = step_flags(wide, left[k], right[k], before, x, normal, shrinks)
                                tally = added(tally, found)
                        if second:
                            before = chain
                            chain = flushed(chain + other, tiny)
                            if counting:
                                found = step_flags(wide, other, one, before, chain, normal, shrinks)
                                tally = added(tally, found)
                        before = c
                        c = flushed(c + chain, tiny)
                        if counting:
                            found = step_flags(wide, chain, one, before, c, normal, shrinks)
                            tally = added(tally, found)
                total[batch, i, j] = c
                if counting:
                    store(counts, PRODUCTS, batch, i, j, products)
                    store(counts, SUMS, batch, i, j, tally)

    return loop(steps)
