"""What happened in the roundings of a matrix unit: flags of one rounding, and their counts over an output's.

The flags say what numerics.Events does, of a result and the exact numbers whose sum it should be.
"""

import numpy as np

from ._jit import core
from .expansions import grow, leading, odd, power_of_two, two_sum
from .primitives import fma, from_bits, to_bits

U64, I64 = np.uint64, np.int64

PRODUCTS, SUMS = 0, 3  # rows of Events' counts: three of products, five of sums


@core
def flags(over, under, inexact, swamped, absorbed):
    """Five answers in one integer."""
    return I64(over) | I64(under) << 1 | I64(inexact) << 2 | I64(swamped) << 3 | I64(absorbed) << 4


@core
def added(tally, found):
    """Counts of the five events, with those of one more rounding."""
    return (
        tally[0] + (found & 1),
        tally[1] + (found >> 1 & 1),
        tally[2] + (found >> 2 & 1),
        tally[3] + (found >> 3 & 1),
        tally[4] + (found >> 4 & 1),
    )


@core
def store(counts, first, batch, i, j, tally):
    """Add the counts of one output to rows first .. of counts [8, B, M, N]; of products there are three."""
    counts[first, batch, i, j] += tally[0]
    counts[first + 1, batch, i, j] += tally[1]
    counts[first + 2, batch, i, j] += tally[2]
    if first == SUMS:
        counts[first + 3, batch, i, j] += tally[3]
        counts[first + 4, batch, i, j] += tally[4]


@core
def judged(c, p, e, high, low, result, over, tiny, steps, flushed):
    """Of the sum of c and p + e, which is high and more or less as the sign of low says, rounded to `result`.

    p: the product to nearest. tiny: the smallest normal number. steps: ulp in a binade. flushed: below tiny the ulp
    goes on to shrink. None of what is not finite. Without branches: what happens in one step says little of the next.
    """
    total = odd(high, low)
    size, other = abs(p), abs(c)
    inward = ((e < 0.0) != (p < 0.0)) & (e != 0.0)  # |p + e| < |p|
    product_smaller = (size < other) | ((size == other) & inward)
    finite = abs(high) < np.inf
    inexact = finite & ((low != 0.0) | (high != result))
    under = inexact & (total != 0.0) & (abs(total) < tiny)
    acts = finite & (size != 0.0) & (other != 0.0)
    swamped = acts & ((product_smaller & (result == c)) | ((not product_smaller) & (result == p) & (e == 0.0)))
    binade = from_bits(U64(to_bits(total) & U64(0x7FF << 52)))
    if not flushed:
        binade = max(binade, tiny)
    small = (size if product_smaller else other) * steps
    below = (small < binade) | ((small == binade) & product_smaller & inward)
    return flags(finite & over, under, inexact, swamped, acts & (total != 0.0) & below)


@core
def sum_flags(c, p, result, over, tiny, steps, flushed):
    """Of the sum of c and p, exact products or numbers of binary32, in float64."""
    high, low = two_sum(p, c)
    return judged(c, p, 0.0, high, low, result, over, tiny, steps, flushed)


@core
def wide_sum_flags(x, y, c, result, over, tiny, steps):
    """Of the sum of c and x*y, numbers of binary64."""
    if not (abs(x) < np.inf and abs(y) < np.inf and abs(c) < np.inf):
        return I64(0)
    p, e, c, result, tiny = in_range(x, y, c, result, tiny)
    s, d = two_sum(p, c)
    u, w = two_sum(d, e)
    high, v = two_sum(s, u)
    return judged(c, p, e, high, v + w, result, over, tiny, steps, False)


@core
def in_range(x, y, c, result, tiny):
    """(p, e, c, result, tiny): p + e = x*y exactly, all numbers times one power of two such that this holds.

    A product or c that lies so far below the other that only its sign matters is replaced by one that is in range.
    """
    p = x * y
    size = max(abs(p), abs(c))
    if power_of_two(-960) <= abs(p) and size < power_of_two(1000):
        return p, fma(x, y, -p), c, result, tiny
    # Products and sums are scaled by it twice: 2**-1200 is no normal number.
    scale, floor = 1.0, 0.0
    if abs(p) == np.inf:
        scale, floor = power_of_two(-600), power_of_two(300)
    elif size >= power_of_two(1000):
        scale, floor = power_of_two(-100), power_of_two(-700)
    elif size < power_of_two(-700):
        scale = power_of_two(350)
    if abs(c) < floor and c != 0.0:
        c = np.copysign(floor, c)
    c, result, tiny = c * scale * scale, result * scale * scale, tiny * scale * scale
    large, small = (x, y) if abs(x) >= abs(y) else (y, x)
    # The larger factor first takes what makes it smaller, the smaller one what makes it larger.
    if abs(p) < np.inf:
        scale *= scale
    left, right = (large * scale, small) if scale < 1.0 else (large, small * scale)
    if abs(p) == np.inf:
        right *= scale
    p = left * right
    if abs(p) < power_of_two(-960) and x != 0.0 and y != 0.0:
        return np.copysign(power_of_two(-960), x) * np.copysign(1.0, y), 0.0, c, result, tiny
    return p, fma(left, right, -p), c, result, tiny


@core
def expansion_flags(parts, count, c, value, over, tiny, absorbed):
    """Of a block whose exact sum, c and products, is the expansion parts, which is used up."""
    high, low = leading(parts, count)
    total = odd(high, low)
    inexact = low != 0.0 or high != value
    under = inexact and total != 0.0 and abs(total) < tiny
    swamped = False
    if c != 0.0 and value == c:
        swamped = inexact  # the products add up to what the result lacks
    elif c != 0.0 and value != 0.0 and abs(value) < np.inf:
        count = grow(parts, count, -value)
        swamped = grow(parts, count, -c) == 0
    return flags(over, under, inexact, swamped, absorbed)
