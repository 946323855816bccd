"""Aligned block dot products on integers: every term cut below the largest exponent, summed exactly, rounded once.

The general form, one output at a time: any fields, scales, groups, infinities and NaN. Sums fit an int64 because the
caller's record refuses parameters with which they would not (`MatrixUnit.sum_bits`).
"""

from functools import cache

import numpy as np

from ._jit import core, loop
from .carrier import unpack_row
from .expansions import grow, grow_integer, power_of_two
from .primitives import leading_zeros, to_bits
from .unit_decode import ABSENT
from .unit_remainders import block_flags, divided, places_for, vanished, vanishes
from .unit_tallies import SUMS, added, expansion_flags, store, sum_flags

U64, I64 = np.uint64, np.int64

# Slots of the row of facts, int64 [modes.ROW_LENGTH].
(
    DEPTH,  # L
    BITS,  # F
    FLOORED,  # 1: terms are cut by floor, 0: toward zero
    GROUP_FLOORED,
    NORMALISED,  # prodnorm
    LOWEST,  # Emin_floor, or ABSENT
    LATE,
    APART,  # c_place = "separate_add"
    SPLIT,  # groups: how many parts a block is in; k are already in the order of the groups
    SUM_BITS,  # F2
    C_BITS,  # Fc
    C_REACH,
    POINT,  # fraction bits of a product of significands, scales included
    GROUP,  # exact_group
    SCALED,  # operands in the block of a scale, 0: none
    PRODUCT_LIMIT,  # or 1 << 20
    PRECISION,  # of the output
    EMIN,
    NEAREST,  # 1: RNE, 0: toward zero
    FLUSHED,  # ftz_out
    C_MANTISSA,
    C_EMIN,
    SPECIALS,  # 1: operands may be infinite or NaN, or products beyond the limit
) = range(23)


@core
def cut(value, shift, floored):
    """The integer value * 2**shift, cut by floor or toward zero; what is shifted up fits."""
    if shift >= 0:
        return value << shift
    down = min(-shift, 63)
    if floored:
        return value >> down
    return (value >> down) if value >= 0 else -((-value) >> down)


@core
def round_flagged(total, exponent, facts, over, nearest):
    """(`round_sum`, whether it left the range)."""
    if total == 0:
        return 0.0, False
    magnitude = U64(total if total > 0 else -total)
    width = 64 - I64(leading_zeros(magnitude))
    top = exponent + width - 1
    last = (top if facts[FLUSHED] else max(top, facts[EMIN])) - (facts[PRECISION] - 1)
    shift = last - exponent
    kept = magnitude
    if shift > 0:
        kept = magnitude >> U64(shift) if shift < 64 else U64(0)
        if nearest and shift < 65:
            rest = magnitude - (kept << U64(shift) if shift < 64 else U64(0))
            half = U64(1) << U64(shift - 1)
            if rest > half or (rest == half and kept & U64(1)):
                kept += U64(1)
    else:
        last = exponent
    value = np.float64(kept) * power_of_two(last)
    if facts[FLUSHED] and value < power_of_two(facts[EMIN]):
        value = 0.0
    beyond = value > over[1]
    if beyond:
        value = over[0]
    return (value if total > 0 or value == 0.0 else -value), beyond


@core
def round_sum(total, exponent, facts, over, nearest):
    """The integer total * 2**exponent as a value of the output, zeros +0; over: what overflow becomes, the largest value."""
    value, _ = round_flagged(total, exponent, facts, over, nearest)
    return value


@core
def apart(x, facts):
    """(significand as integer, exponent) of a float64 in the format of c; (0, ABSENT) of zero and what is not finite."""
    magnitude = abs(x)
    if not (magnitude > 0.0 and magnitude < np.inf):
        return I64(0), I64(ABSENT)
    exponent = max(I64(to_bits(magnitude) >> U64(52)) - 1023, facts[C_EMIN])
    return I64(x * power_of_two(facts[C_MANTISSA] - exponent)), exponent


@core
def plain_add(x, y, facts, over):
    """(x + y to nearest in the output, whether that left the range).

    float64 adds exactly enough, its 53 bits being more than twice the output's + 2.
    """
    total = x + y
    if total == 0.0 or not abs(total) < np.inf:
        return total, False
    exponent = I64(to_bits(abs(total)) >> U64(52)) - 1023
    return round_flagged(I64(total * power_of_two(52 - exponent)), exponent - 52, facts, over, True)


@core
def special_product(x, y, facts):
    """The product where it is infinite (or beyond the limit, which makes it so) or NaN, else 0."""
    product = np.float64(x) * np.float64(y)
    if abs(product) < np.inf and abs(product) >= power_of_two(min(facts[PRODUCT_LIMIT], 1000)):
        product = np.copysign(np.inf, product)
    return 0.0 if abs(product) < np.inf else product


@core
def late_sum(first, e1, second, e2, c, facts, over):
    """c + the integer sums of a block's groups, aligned with each other, then with c.

    Returns (sum, whether it left the range, whether an alignment left no bit of a group's sum, of theirs or of c).
    """
    largest = max(e1, e2)
    products = cut(first, e1 - largest, facts[GROUP_FLOORED]) + cut(second, e2 - largest, facts[GROUP_FLOORED])
    lost = vanishes(first, e1 - largest) or vanishes(second, e2 - largest)
    significand, ec = apart(c, facts)
    top = max(max(largest, ec), facts[LOWEST])
    if top <= ABSENT // 2:
        return 0.0, False, False
    shift = facts[SUM_BITS] - facts[BITS] + largest - top
    total = cut(products, shift, True)
    lost = lost or vanishes(products, shift)
    if significand != 0 and ec >= top - facts[C_REACH]:
        shift = facts[C_BITS] + ec - top - facts[C_MANTISSA]
        total += cut(significand, shift, True) << (facts[SUM_BITS] - facts[C_BITS])
        lost = lost or vanishes(significand, shift)
    else:
        lost = lost or significand != 0
    value, beyond = round_flagged(total, top - facts[SUM_BITS], facts, over, facts[NEAREST])
    return value, beyond, lost


# One long function: each array that a function called in a loop takes would be counted in and out, at many times the
# cost of a product.
@cache
def make_product(counting: bool):
    """The loop of a fused unit that cuts its terms; counting: it also counts events."""

    def product(a, sa, ea, b, sb, eb, wa, xa, wb, xb, total, row, over, counts, k0, k1, start, stop):
        """total[n, i, j] = chain of blocks of a[n, i, k0:k1] against b[n, j, k0:k1] from total's own values.

        a float32, sa, ea int32 [Ba, M, K]; b, sb, eb [Bb, N, K], transposed; Ba, Bb either B or 1. wa, xa [Ba, M,
        K/block], wb, xb [Bb, N, K/block]: significands and exponents of scales, or empty. total float64 [B, M, N];
        counts uint32 [8, B, M, N], added to where counting. Rows start <= n*M + i < stop. A block with an infinite or
        NaN product is what those add up to, and no event.
        """
        facts, ends = unpack_row(row), (over[0], over[1])
        rows, columns = total.shape[1], total.shape[2]
        group, parts = facts[GROUP], facts[SPLIT]
        values, exponents = np.empty(facts[DEPTH], np.int64), np.empty(facts[DEPTH], np.int64)
        places, tiny = places_for(facts[DEPTH]), power_of_two(facts[EMIN])
        expansion = np.empty(2 * facts[DEPTH] + 16 if counting else 0, np.float64)
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            na = batch if a.shape[0] > 1 else 0
            nb = batch if b.shape[0] > 1 else 0
            va, ia, pa, la, ja = a[na, i], sa[na, i], ea[na, i], wa[na, i], xa[na, i]
            for j in range(columns):
                vb, ib, pb, lb, jb = b[nb, j], sb[nb, j], eb[nb, j], wb[nb, j], xb[nb, j]
                c = total[batch, i, j]
                tally = (I64(0), I64(0), I64(0), I64(0), I64(0))
                for begin in range(k0, k1, facts[DEPTH]):
                    end = min(begin + facts[DEPTH], k1)
                    if facts[SPECIALS] or not abs(c) < np.inf:
                        special = 0.0 if facts[APART] or abs(c) < np.inf else c
                        for k in range(begin, end):
                            special += special_product(va[k], vb[k], facts)
                        if special != 0.0:
                            c = c + special if facts[APART] else special
                            continue
                    middle = begin + (end - begin + 1) // 2 if parts == 2 else end
                    running = 0.0 if facts[APART] else c
                    first, e1, second, e2 = I64(0), I64(ABSENT), I64(0), I64(ABSENT)
                    held, lost = 0, False
                    for part in range(parts):
                        low, high = (begin, middle) if part == 0 else (middle, end)
                        significand, ec = I64(0), I64(ABSENT)
                        largest = I64(ABSENT)
                        if not facts[LATE]:
                            significand, ec = apart(running, facts)
                            largest = max(ec, facts[LOWEST])
                        count = 0
                        for k in range(low, high, group):
                            if group == 1:
                                value, exponent = I64(ia[k]) * I64(ib[k]), I64(pa[k]) + I64(pb[k])
                            else:  # a sum of products, of no exponent of its own; absent if all of them are zero
                                value, exponent = I64(0), I64(2 * ABSENT)
                                for g in range(k, min(k + group, high)):
                                    if ia[g] != 0 and ib[g] != 0:
                                        exponent = I64(0)
                                        value += (I64(ia[g]) << I64(pa[g])) * (I64(ib[g]) << I64(pb[g]))
                            if facts[SCALED]:
                                n = k // facts[SCALED]
                                value *= I64(la[n]) * I64(lb[n])
                                exponent += I64(ja[n]) + I64(jb[n])
                            values[count], exponents[count] = value, exponent
                            if facts[NORMALISED] and value != 0:  # which moves the largest exponent, not the value
                                exponent += 63 - I64(leading_zeros(U64(abs(value)))) - facts[POINT]
                            largest = max(largest, exponent)
                            count += 1
                        shift_c = facts[BITS] + ec - largest - facts[C_MANTISSA]
                        integer = cut(significand, shift_c, facts[FLOORED])
                        wholes, fines = I64(0), I64(0)
                        for n in range(count):
                            shift = facts[BITS] + exponents[n] - largest - facts[POINT]
                            integer += cut(values[n], shift, facts[FLOORED])
                            if counting:
                                whole, fine, rest = divided(values[n], shift, places)
                                wholes += whole
                                fines += fine
                                lost |= vanished(whole, fine, rest)
                                if rest != 0:
                                    held = grow_integer(expansion, held, rest, exponents[n] - facts[POINT])
                        if counting and facts[LATE]:
                            held = grow_integer(expansion, held, wholes, largest - facts[BITS])
                            held = grow_integer(expansion, held, fines, largest - facts[BITS] - places)
                        if facts[LATE] and part == 0:
                            first, e1 = integer, largest
                        elif facts[LATE]:
                            second, e2 = integer, largest
                        elif abs(running) < np.inf:
                            u, before = largest - facts[BITS], running
                            running, beyond = round_flagged(integer, u, facts, ends, facts[NEAREST])
                            if counting and largest > ABSENT // 2:
                                pieces = divided(significand, shift_c, places)
                                lost |= vanished(pieces[0], pieces[1], pieces[2])
                                infinite = ends[0] == np.inf
                                found = block_flags(
                                    expansion, held, wholes, fines, places, u, before, pieces, running, beyond,
                                    infinite, facts[EMIN], lost,
                                )  # fmt: skip
                                tally = added(tally, found)
                                held, lost = 0, False
                    before = c
                    if facts[LATE]:
                        c, beyond, missed = late_sum(first, e1, second, e2, c, facts, ends)
                        if counting:
                            held = grow(expansion, held, before)
                            found = expansion_flags(expansion, held, before, c, beyond, tiny, lost or missed)
                            tally = added(tally, found)
                    elif facts[APART]:
                        c, beyond = plain_add(c, running, facts, ends)
                        if counting:
                            steps = power_of_two(facts[PRECISION] - 1)
                            found = sum_flags(before, running, c, beyond, tiny, steps, facts[FLUSHED])
                            tally = added(tally, found)
                    else:
                        c = running
                total[batch, i, j] = c
                if counting:
                    store(counts, SUMS, batch, i, j, tally)

    return loop(product)
