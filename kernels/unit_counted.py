"""The loop of kernels/unit_fast.py, which also counts events: what a cut takes off is summed beside what it leaves.

A term in units of the block's last place is a float32, so what is behind its point is one too. As an integer of `places`
bits below the point it is added to the others'; whole and fraction together are the block's exact sum, and beside the
result they answer what numerics.Events asks. A lane with a term that has lower bits is looked at again, alone, by
expansions: in few blocks of ordinary data. The caller has proved besides that no sum overflows.
"""

from functools import cache

import numpy as np

from ._jit import core, loop
from .expansions import grow, power_of_two
from .primitives import shift_right, to_bits, widest_vectors
from .unit_fast import F32, I32, PANEL, TILE, U32, U64, block_value, exponent_of, larger, power, scale_of
from .unit_tallies import SUMS, expansion_flags

SIZE = U32(0x7FFFFFFF)  # a product that is -0 has a fraction that is
NOTHING, SMALL_PART = U32(0xFFFFFFFF), U32(0x3F7FFFFF)  # the bits of zero and of 1.0, less one
UNDER, INEXACT, SWAMPED, GONE = U32(1), U32(1 << 8), U32(1 << 16), U32(1 << 24)  # counts of a lane, in one number
FULL = 255


@core
def divided_term(x, y, scale, fine):
    """(whole, fraction, bits of its magnitude less one, bits that tell of what is below the fraction) of x*y in units.

    fine: units of a fraction in one, 2.0**places as float32. The third is large for zero, else below SMALL_PART where
    less than one is there.
    """
    number = F32(F32(x * y) * scale)
    whole = I32(number)
    rest = F32(F32(number - F32(whole)) * fine)
    part = I32(rest)
    size = U32(U32(to_bits(number) & SIZE) - U32(1))
    return whole, part, size, U32(to_bits(rest) ^ to_bits(F32(part)))


@core
def split(fraction, places):
    """(its whole part, rounded down, and the rest) of a fraction, of less than 2**30 units of 2**-places."""
    whole = shift_right(U32(fraction + I32(1 << 30)), U32(places))
    return I32(I32(whole) - I32(1 << (30 - places))), I32(fraction & I32((1 << places) - 1))


@core
def answers(result, same, some, products, fraction, c_whole, c_fraction, places, low):
    """UNDER, INEXACT and SWAMPED, as far as they happened in a sum that was rounded to `result`.

    float64 in units, fractions as integers.

    same: whether the result is c, which is not zero where `some`. low: the smallest normal number, or 0 for none.
    """
    carry, rest = split(I32(fraction + c_fraction), places)
    total = products + np.float64(I32(c_whole + carry))
    lift, others = split(fraction, places)
    alone = products + np.float64(lift)
    inexact = (rest != I32(0)) | (result != total)
    swamped = some & ((same & inexact) | ((others == I32(0)) & (result == alone) & (alone != 0.0)))
    under = False
    if low != 0.0:
        one = np.float64(1 << places)
        down = (total < 0.0) & (rest != I32(0))
        size = abs(total) - (1.0 if down else 0.0)
        behind = one - np.float64(rest) if down else np.float64(rest)
        # Two whole numbers below 2**53, of which the first decides unless it is zero.
        nothing = (size == 0.0) & (behind == 0.0)
        under = inexact & (size < low) & ((low >= 1.0) | (behind < low * one)) & (not nothing)
    both = U32((UNDER if under else U32(0)) | (INEXACT if inexact else U32(0)))
    return U32(both | (SWAMPED if swamped else U32(0)))


@cache
def make_counted(unroll: int, groups: int, nearest: int, gradual: int):
    """`unit_fast.make_fast` for sums that c is part of and that cannot become infinite.

    gradual: whether a sum that is not zero can be below the smallest normal number.
    """
    places = 30 - (unroll * groups).bit_length()
    fine = F32(1 << places)

    def counted(
        a, ea, b, eb, total, bits, lowest, c_emin, precision, emin, largest, whole, counts, k0, k1, start, stop
    ):
        """As there; counts uint32 [8, B, M, N], to which the events are added."""
        widest_vectors()
        rows, columns = total.shape[1], total.shape[2]
        block = unroll * groups
        tops, sums, fractions = np.empty(TILE, np.int32), np.empty((groups, TILE), np.int32), np.empty(TILE, np.int32)
        c_wholes, c_fractions = np.empty(TILE, np.int32), np.empty(TILE, np.int32)
        smallest, rough = np.empty(TILE, np.uint32), np.empty(TILE, np.uint32)
        before, after = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        events, packed = np.empty(TILE, np.uint32), np.zeros((PANEL, TILE), np.uint32)
        parts = np.empty(2 * block + 16, np.float64)
        floor, bias, low_c = I32(lowest), I32(bits + 127), I32(c_emin)
        mask = U64(U64(0xFFFFFFFFFFFFFFFF) << U64(53 - precision))
        tiny = power_of_two(emin)
        for first in range(start, stop, PANEL):
            past = min(first + PANEL, stop)
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                width, blocks = j1 - j0, 0
                for k in range(k0, k1, block):
                    for index in range(first, past):
                        batch, i = index // rows, index % rows
                        left, el = a[batch if a.shape[0] > 1 else 0, i], ea[batch if a.shape[0] > 1 else 0, i]
                        nb = batch if b.shape[0] > 1 else 0
                        right, er = b[nb], eb[nb]
                        c = total[batch, i, j0:j1]
                        for g in range(groups):
                            q = k + g * unroll
                            if q < k1:
                                for j in range(width):
                                    top = larger(exponent_of(c[j], low_c, floor), floor) if g == 0 else tops[j]
                                    for u in range(unroll):
                                        top = larger(top, I32(el[q + u] + er[q + u, U64(j0 + j)]))
                                    tops[j] = top
                        for j in range(width):
                            w, f, small, rest = divided_term(c[j], F32(1.0), scale_of(tops[j], bias), fine)
                            before[j], c_wholes[j], c_fractions[j], fractions[j] = c[j], w, f, I32(0)
                            vanished = (small == NOTHING) & (c[j] != F32(0.0))
                            smallest[j], rough[j] = (U32(0) if vanished else small), (U32(1) if vanished else rest)
                        for g in range(groups):
                            q = k + g * unroll
                            s = sums[g]
                            if q < k1:
                                for j in range(width):
                                    scale = scale_of(tops[j], bias)
                                    number, fraction, size, unsure = I32(0), fractions[j], smallest[j], rough[j]
                                    for u in range(unroll):
                                        x, y = left[q + u], right[q + u, U64(j0 + j)]
                                        w, f, small, rest = divided_term(x, y, scale, fine)
                                        number, fraction = I32(number + w), I32(fraction + f)
                                        size, unsure = min(size, small), U32(unsure | rest)
                                    s[j], fractions[j], smallest[j], rough[j] = number, fraction, size, unsure
                            else:
                                s[:] = I32(0)
                        for j in range(width):
                            products = np.float64(sums[0, j])
                            for g in range(1, groups):
                                products += np.float64(sums[g, j])
                            exact = products + np.float64(c_wholes[j])
                            value = F32(block_value(exact, tops[j], bits, precision, emin, largest, mask, nearest))
                            result = np.float64(value) * power(I32(bits - tops[j]))
                            low = power(I32(emin + bits - tops[j])) if gradual else 0.0
                            same, some = value == before[j], before[j] != F32(0.0)
                            after[j] = value
                            found = answers(
                                result, same, some, products, fractions[j], c_wholes[j], c_fractions[j], places, low
                            )
                            events[j] = U32(found | (GONE if smallest[j] < SMALL_PART else U32(0)))
                        unsure = U32(0)
                        for j in range(width):
                            c[j] = after[j]
                            unsure = U32(unsure | U32(rough[j] & SIZE))
                        for j in range(width if unsure != U32(0) else 0):
                            if U32(rough[j] & SIZE) == U32(0):
                                continue
                            held = grow(parts, 0, np.float64(before[j]))
                            for q in range(k, min(k + block, k1)):
                                held = grow(parts, held, np.float64(left[q]) * np.float64(right[q, U64(j0 + j)]))
                            found = expansion_flags(
                                parts, held, np.float64(before[j]), np.float64(after[j]), False, tiny, False
                            )
                            under = UNDER if found >> 1 & 1 else U32(0)
                            inexact = INEXACT if found >> 2 & 1 else U32(0)
                            swamped = SWAMPED if found >> 3 & 1 else U32(0)
                            events[j] = U32(U32(events[j] & GONE) | U32(U32(under | inexact) | swamped))
                        happened = packed[index - first]
                        for j in range(width):
                            happened[j] += events[j]
                    blocks += 1
                    if blocks == FULL or k + block >= k1:
                        for index in range(first, past):
                            happened = packed[index - first]
                            for event in range(4):
                                row = counts[SUMS + 1 + event, index // rows, index % rows, j0:j1]
                                for j in range(width):
                                    row[j] += U32(shift_right(happened[j], U32(8 * event)) & U32(FULL))
                        packed[:] = U32(0)
                        blocks = 0

    return loop(counted)
