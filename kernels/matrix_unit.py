"""Aligned block dot products on integers: every term cut below the largest exponent, summed exactly, rounded once.

The general form, one output at a time: any fields, scales, groups, infinities and NaN. Sums fit an int64 because the
caller's record refuses parameters with which they would not (`MatrixUnit.sum_bits`).
"""

import numpy as np

from ._jit import core, loop
from .carrier import unpack_row
from .primitives import from_bits, leading_zeros, to_bits
from .unit_decode import ABSENT

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
def power_of_two(exponent):
    """2.0**exponent for exponents of normal float64 numbers."""
    return from_bits(U64(U64(exponent + 1023) << U64(52)))


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
def round_sum(total, exponent, facts, over, nearest):
    """The integer total * 2**exponent as a value of the output, zeros +0; over: what overflow becomes, the largest value."""
    if total == 0:
        return 0.0
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
    if value > over[1]:
        value = over[0]
    return value if total > 0 or value == 0.0 else -value


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
    """x + y to nearest in the output: float64 adds exactly enough, its 53 bits being more than twice the output's + 2."""
    total = x + y
    if total == 0.0 or not abs(total) < np.inf:
        return total
    exponent = I64(to_bits(abs(total)) >> U64(52)) - 1023
    return round_sum(I64(total * power_of_two(52 - exponent)), exponent - 52, facts, over, True)


@core
def special_product(x, y, facts):
    """The product where it is infinite (or beyond the limit, which makes it so) or NaN, else 0."""
    product = np.float64(x) * np.float64(y)
    if abs(product) < np.inf and abs(product) >= power_of_two(min(facts[PRODUCT_LIMIT], 1000)):
        product = np.copysign(np.inf, product)
    return 0.0 if abs(product) < np.inf else product


@core
def late_sum(first, e1, second, e2, c, facts, over):
    """c + the integer sums of a block's groups, aligned with each other, then with c."""
    largest = max(e1, e2)
    products = cut(first, e1 - largest, facts[GROUP_FLOORED]) + cut(second, e2 - largest, facts[GROUP_FLOORED])
    significand, ec = apart(c, facts)
    top = max(max(largest, ec), facts[LOWEST])
    if top <= ABSENT // 2:
        return 0.0
    total = cut(products, facts[SUM_BITS] - facts[BITS] + largest - top, True)
    if significand != 0 and ec >= top - facts[C_REACH]:
        cut_c = cut(significand, facts[C_BITS] + ec - top - facts[C_MANTISSA], True)
        total += cut_c << (facts[SUM_BITS] - facts[C_BITS])
    return round_sum(total, top - facts[SUM_BITS], facts, over, facts[NEAREST])


# One long function: each array that a function called in a loop takes would be counted in and out, at many times the
# cost of a product.
@loop
def unit_product(a, sa, ea, b, sb, eb, wa, xa, wb, xb, total, row, over, k0, k1, start, stop):
    """total[n, i, j] = chain of blocks of a[n, i, k0:k1] against b[n, j, k0:k1] from total's own values.

    a float32, sa, ea int32 [Ba, M, K]; b, sb, eb [Bb, N, K], transposed; Ba, Bb either B or 1. wa, xa [Ba, M, K/block],
    wb, xb [Bb, N, K/block]: significands and exponents of scales, or empty. total float64 [B, M, N]. Rows start <=
    n*M + i < stop. A block with an infinite or NaN product is what those add up to.
    """
    facts, ends = unpack_row(row), (over[0], over[1])
    rows, columns = total.shape[1], total.shape[2]
    group, parts = facts[GROUP], facts[SPLIT]
    values, exponents = np.empty(facts[DEPTH], np.int64), np.empty(facts[DEPTH], np.int64)
    for index in range(start, stop):
        batch, i = index // rows, index % rows
        na = batch if a.shape[0] > 1 else 0
        nb = batch if b.shape[0] > 1 else 0
        va, ia, pa, la, ja = a[na, i], sa[na, i], ea[na, i], wa[na, i], xa[na, i]
        for j in range(columns):
            vb, ib, pb, lb, jb = b[nb, j], sb[nb, j], eb[nb, j], wb[nb, j], xb[nb, j]
            c = total[batch, i, j]
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
                    integer = cut(significand, facts[BITS] + ec - largest - facts[C_MANTISSA], facts[FLOORED])
                    for n in range(count):
                        shift = facts[BITS] + exponents[n] - largest - facts[POINT]
                        integer += cut(values[n], shift, facts[FLOORED])
                    if facts[LATE] and part == 0:
                        first, e1 = integer, largest
                    elif facts[LATE]:
                        second, e2 = integer, largest
                    elif abs(running) < np.inf:
                        running = round_sum(integer, largest - facts[BITS], facts, ends, facts[NEAREST])
                if facts[LATE]:
                    c = late_sum(first, e1, second, e2, c, facts, ends)
                elif facts[APART]:
                    c = plain_add(c, running, facts, ends)
                else:
                    c = running
            total[batch, i, j] = c
