"""N:M masks of any n and m on float64 blocks: the largest, the least variance, and the probabilities behind it.

Sums are carried as a float64 number, what it lacks, and a bound on what that lacks. Every decision of a draw is the sign
of a difference whose error is bounded; a block where a bound does not decide is left to the caller, who has integers.
Not the choice of the elements kept for certain: where it is in doubt both choices give nearly the same probabilities.
"""

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .expansions import two_sum
from .primitives import fma

HUGE, TINY = 2.0**900, 2.0**-900  # between these in float64, products and quotients are accurate
EXACT, APPROXIMATE, SEQUENTIAL = 0, 1, 2
UNIT = 2.0**-53


@loop
def keep_largest(x: NDArray[np.float64], out: NDArray[np.float64], n: int, m: int) -> bool:
    """out = x where fewer than n of the block's m go before it, else +0; returns whether a NaN was met."""
    met = False
    for start in range(0, x.size, m):
        for i in range(m):
            size, before = abs(x[start + i]), 0
            met |= size != size
            for j in range(m):
                rival = abs(x[start + j])
                before += (rival > size) | ((rival == size) & (j < i))
            out[start + i] = x[start + i] if before < n else 0.0
    return met


@core
def _water(sizes, certain, n):
    """Marks the elements kept for certain: (how many, the sum of the others in three parts, whether the choice is in doubt).

    The sum is high + low, within `lost`. At least n + 1 sizes are not zero.
    """
    window = (4 * sizes.size + 16) * UNIT
    kept, doubt = 0, False
    for j in range(sizes.size):
        certain[j] = False
    while True:
        high, low, lost, largest, where = 0.0, 0.0, 0.0, -1.0, 0
        for j in range(sizes.size):
            if not certain[j]:
                high, e = two_sum(high, sizes[j])
                low, f = two_sum(low, e)
                lost += abs(f)
                if sizes[j] > largest:
                    largest, where = sizes[j], j
        left = np.float64(n - kept)
        product = largest * left
        inexact = low != 0.0 or lost != 0.0 or fma(largest, left, -product) != 0.0
        doubt |= inexact and abs(product - high) <= window * high
        if product <= high:  # in particular where one is left to keep
            return kept, high, low, lost, doubt
        certain[where] = True
        kept += 1


@core
def _quotient(high, low, lost, divisor, single):
    """(high + low +- lost)/divisor from below and above: as float64 to be rounded to float32 if single, else as rounded."""
    first = high / divisor
    rest, e = two_sum(fma(-first, divisor, high), low)
    second = rest / divisor
    spread = 0.0
    if lost != 0.0 or e != 0.0 or fma(second, divisor, -rest) != 0.0:
        spread = 4.0 * (lost + abs(e)) + 8.0 * UNIT * abs(second)
    if single and rest != 0.0:  # a sum rounded to float64 must not be rounded again
        spread += 8.0 * UNIT * first
    return first + (second - spread), first + (second + spread)


@core
def draw_exact(sizes, certain, values, n, word, period, single):
    """values = magnitudes kept for `word` (the random word plus 1), else 0; returns whether that is certain."""
    kept, high, low, lost, doubt = _water(sizes, certain, n)
    below, above = _quotient(high, low, lost, np.float64(n - kept), single)
    if single:
        below, above = np.float64(np.float32(below)), np.float64(np.float32(above))
    sure = (not doubt) and below == above and below < np.inf and (single or high > TINY)
    scale, running, reached = (n - kept) * period, 0.0, 0
    window = (4 * sizes.size + 16) * UNIT
    for i in range(sizes.size):
        if certain[i]:
            values[i] = sizes[i]
            continue
        values[i] = 0.0
        if sizes[i] > 0.0 and reached < n - kept:
            running += sizes[i]  # the last one is `high`, rounded in the same order
            total = scale * running
            gap = fma(-(word + reached * period), high, total)
            inexact = low != 0.0 or lost != 0.0 or fma(scale, running, -total) != 0.0
            sure &= not (inexact and abs(gap) <= window * total)
            if gap >= 0.0:
                values[i] = below
                reached += 1
    return sure and reached == n - kept


@core
def _two_draws(sizes, others, rests):
    """Of two draws without replacement: others = T - x_j, rests = sum over j != i of x_j/(T - x_j); returns T.

    Positive terms alone: nothing cancels. At least three sizes are not zero.
    """
    m = sizes.size
    after = 0.0
    for j in range(m - 1, -1, -1):
        others[j] = after
        after += sizes[j]
    total = 0.0
    for j in range(m):
        others[j] += total
        total += sizes[j]
    after = 0.0
    for j in range(m - 1, -1, -1):
        rests[j] = after
        after += sizes[j] / others[j]
    before = 0.0
    for j in range(m):
        rests[j] += before
        before += sizes[j] / others[j]
    return total


@core
def draw_approximate(sizes, others, rests, values, word, period, single):
    """The same with the probabilities of two draws without replacement."""
    total = _two_draws(sizes, others, rests)
    window = (4 * sizes.size + 16) * UNIT
    last = 0
    for i in range(sizes.size):
        last = i if sizes[i] > 0.0 else last
    running, reached, sure = 0.0, 0, total > TINY
    for i in range(sizes.size):
        values[i] = 0.0
        if sizes[i] > 0.0 and reached < 2:
            running += sizes[i] / total * (1.0 + rests[i])
            limit = word + reached * period
            gap = running * period - limit
            sure &= i == last or abs(gap) > window * limit
            if i == last or gap >= 0.0:
                value = total / (1.0 + rests[i])
                if single:
                    sure &= np.float32(value * (1.0 - window)) == np.float32(value * (1.0 + window))
                    value = np.float64(np.float32(value))
                sure &= value < np.inf
                values[i] = value
                reached += 1
    return sure and reached == 2


@core
def draw_sequential(sizes, others, rests, values, word, period, single):
    """The same with the pairs of two draws without replacement: the one whose running sum the word falls into.

    A pair has probability x_i/T x_j/(T - x_i) + x_j/T x_i/(T - x_j); no quotient is above 1, and a term that underflows is
    below every window. The last pair of numbers that are not zero ends at 1 by definition.
    """
    total = _two_draws(sizes, others, rests)
    m = sizes.size
    window = (m * m + 4 * m + 16) * UNIT
    first, last = 0, 0  # the pair that is taken if none is before
    for i in range(m):
        values[i] = 0.0
        if sizes[i] > 0.0:
            first, last = last, i
    running, sure, i, j, open_ = 0.0, total > TINY, 0, 0, True
    while open_:
        j += 1
        if j == m:
            i += 1
            j = i + 1
        if i == first and j == last:
            open_ = False
        elif sizes[i] > 0.0 and sizes[j] > 0.0:
            running += sizes[i] / total * (sizes[j] / others[i]) + sizes[j] / total * (sizes[i] / others[j])
            gap = running * period - word
            sure &= abs(gap) > window * word
            open_ = gap < 0.0
    for k in (i, j):
        value = total / (1.0 + rests[k])
        if single:
            sure &= np.float32(value * (1.0 - window)) == np.float32(value * (1.0 + window))
            value = np.float64(np.float32(value))
        sure &= value < np.inf
        values[k] = value
    return sure


@loop
def draw_rows(
    x: NDArray[np.float64],
    out: NDArray[np.float64],
    words: NDArray[np.uint32],
    left: NDArray[np.uint8],
    n: int,
    m: int,
    method: int,
    random_bits: int,
    single: bool,
) -> bool:
    """out = x_i/p_i where kept for the block's word, else +0; returns whether any block was left.

    left [blocks]: 1 where a decision is in doubt, numbers are too large or small for that, or not finite; out is then
    unspecified. single: x holds float32 numbers, and values are rounded to float32.
    """
    period = np.float64(np.uint64(1) << np.uint64(random_bits))
    sizes, values, others, rests = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    certain = np.empty(m, np.bool_)
    any_left = False
    for b in range(words.size):
        filled, fine = 0, True
        for i in range(m):
            size = abs(x[b * m + i])
            fine &= size <= HUGE
            filled += size > 0.0
            sizes[i] = values[i] = size
        word = np.float64(words[b]) + 1.0
        if filled > n and fine and method == EXACT:
            fine = draw_exact(sizes, certain, values, n, word, period, single)
        elif filled > n and fine and method == SEQUENTIAL:
            fine = draw_sequential(sizes, others, rests, values, word, period, single)
        elif filled > n and fine:
            fine = draw_approximate(sizes, others, rests, values, word, period, single)
        for i in range(m):
            out[b * m + i] = np.copysign(values[i], x[b * m + i]) if values[i] > 0.0 else 0.0
        left[b] = not fine
        any_left |= not fine
    return any_left


@core
def _missed(sizes, others, total, i):
    """The probability that neither of two draws takes element i, from positive terms alone."""
    result = 0.0
    for j in range(sizes.size):
        if j != i:
            neither = 0.0
            for k in range(sizes.size):
                if k != i and k != j:
                    neither += sizes[k]
            result += sizes[j] / total * (neither / others[j])
    return result


@loop
def laws(
    x: NDArray[np.float64], p: NDArray[np.float64], variances: NDArray[np.float64], n: int, m: int, method: int
) -> None:
    """p [x.size]: inclusion probabilities; variances [blocks]: total variance of each block. x is finite."""
    sizes, others, rests = np.empty(m), np.empty(m), np.empty(m)
    certain = np.empty(m, np.bool_)
    for b in range(variances.size):
        filled, largest = 0, 0.0
        for i in range(m):
            sizes[i] = abs(x[b * m + i])
            filled += sizes[i] > 0.0
            largest = max(largest, sizes[i])
        scale = 2.0**-128 if largest > HUGE else 1.0
        for i in range(m):
            sizes[i] *= scale
        variance = 0.0
        if filled <= n:
            for i in range(m):
                p[b * m + i] = 1.0 if sizes[i] > 0.0 else 0.0
        elif method == EXACT:
            kept, high, low, _, _ = _water(sizes, certain, n)
            left = np.float64(n - kept)
            for i in range(m):
                p[b * m + i] = 1.0 if certain[i] else min(1.0, sizes[i] / high * left)
                if not certain[i]:
                    variance += sizes[i] * max(0.0, ((high - left * sizes[i]) + low) / left)
        else:
            total = _two_draws(sizes, others, rests)
            for i in range(m):
                chance = min(1.0, sizes[i] / total * (1.0 + rests[i]))
                p[b * m + i] = chance
                if sizes[i] > 0.0:
                    value = total / (1.0 + rests[i])
                    variance += sizes[i] * value * _missed(sizes, others, total, i)
        variances[b] = variance / scale / scale
