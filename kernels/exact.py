"""Products whose exact sum is rounded once: long accumulators, and the finish of sums that matrix products made.

Every loop takes rows start <= r < stop of the output, from arrays in which the batch is the first dimension, and
writes bits (of float64, or codes of fixed point) and what the rounding met (see kernels.digits). Threads share nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .arithmetic import FINITE, INFINITE, LOWEST, NAN, ZERO, operand, raw_product
from .carrier import grid_of, unpack
from .digits import (
    INEXACT,
    MINUS_INFINITY,
    MINUS_ZERO,
    NEGATIVE,
    NO_NUMBER,
    NONZERO,
    NOTHING,
    OVER,
    PLUS_INFINITY,
    PLUS_ZERO,
    UNDER,
    add_double,
    add_member,
    add_pair,
    add_word,
    carry,
    multiply_words,
    round_digits,
    round_value,
    round_wide,
)
from .modes import RANDOM_SHIFT, RTN
from .primitives import to_bits
from .wide import add, shift_left

I64, U64 = np.int64, np.uint64

SHORT, LONG, FAR = range(3)  # products of few bits, of up to 106, and those too far apart to be gathered
RUN = 1 << 13  # products after which carries are moved on


@loop
def decompose(
    x: NDArray[np.float64], significant_bits: int, lowest: int, significands: NDArray[Any], places: NDArray[Any]
) -> None:
    """x[i] = significands[i] * 2**(places[i] + lowest), flat arrays; places int32, not negative.

    All x are multiples of 2**lowest with at most `significant_bits` bits, so that a significand has no more than these.
    """
    for i in range(x.size):
        bits = to_bits(x[i])
        field = I64(U64(bits >> U64(52)) & U64(0x7FF))
        m = U64(bits & U64((1 << 52) - 1))
        m = U64(m | U64(1 << 52)) if field != 0 else m
        own = max(field, I64(1)) - I64(1075)
        place = max(own + I64(53) - significant_bits, I64(lowest)) - lowest
        if m == U64(0):
            significands[i], places[i] = 0, 0
            continue
        integer = I64(m >> U64(place + lowest - own))
        significands[i] = -integer if bits >> U64(63) != U64(0) else integer
        places[i] = place


@core
def aligned(words, i, facts):
    """Word i at the top of 32 bits; 0 where there are none."""
    return U64(U64(words[i]) << U64(grid_of(facts)[RANDOM_SHIFT])) if words.size else U64(0)


@core
def add_short_products(buckets, x, xe, y, ye, coarse):
    """buckets[place >> coarse] += x * y * 2**(place & (2**coarse - 1)), place = xe + ye; for all of a row."""
    low = I64(I64(1 << coarse) - I64(1))
    for k in range(x.size):
        place = I64(xe[k]) + I64(ye[k])
        buckets[U64(place >> coarse)] += I64(I64(x[k] * y[k]) << I64(place & low))


@core
def add_long_products(buckets, x, xe, y, ye):
    """buckets[place] += the low 53 bits of x * y, buckets[place + 53] += the others; for all of a row."""
    for k in range(x.size):
        place = U64(I64(xe[k]) + I64(ye[k]))
        high, low = multiply_words(U64(abs(x[k])), U64(abs(y[k])))
        flip = I64(I64(x[k] ^ y[k]) >> 63)
        upper = I64(U64(high << U64(11)) | U64(low >> U64(53)))
        buckets[place] += I64(I64(low & U64((1 << 53) - 1)) ^ flip) - flip
        buckets[U64(place + U64(53))] += I64(upper ^ flip) - flip


@core
def add_far_products(digits, x, xe, y, ye, shift):
    """digits += x * y * 2**(xe + ye + shift); for all of a row."""
    for k in range(x.size):
        high, low = multiply_words(U64(abs(x[k])), U64(abs(y[k])))
        add_pair(digits, I64(xe[k]) + I64(ye[k]) + I64(shift), U64(U64(x[k] ^ y[k]) >> U64(63)), high, low)


@core
def drain(buckets, coarse, shift, digits):
    """Move buckets[i] * 2**(i << coarse) to digits * 2**shift, and their carries on."""
    for i in range(buckets.size):
        if buckets[i] != 0:
            add_word(digits, I64(I64(i) << coarse) + I64(shift), buckets[i])
            buckets[i] = 0
    carry(digits)


@loop
def superaccumulate(
    am, ae, bm, be, c, words, row, mode, width, coarse, run, places, shift, base, size, bits, met, start, stop
) -> None:
    """bits[r, j], met[r, j] = c[r, j] + the sum of am*bm * 2**(ae + be + shift + base), rounded once.

    am, ae [1 or B, M, K]; bm, be [1 or B, N, K]; c [B*M, N] or empty; words of rows from `start`, flat or empty.
    size: digits, five more than the largest sum takes. Products are gathered by their exponents first, in `places`
    buckets of 2**coarse exponents, `run` of them at a time without overflow (width SHORT, LONG), or go to their digits (FAR).
    """
    facts = unpack(row)
    digits, buckets = np.zeros(size, np.int64), np.zeros(places, np.int64)
    rows, depth, columns = am.shape[1], am.shape[2], bm.shape[1]
    for r in range(start, stop):
        batch, i = r // rows, r % rows
        x, xe = am[batch if am.shape[0] > 1 else 0, i], ae[batch if ae.shape[0] > 1 else 0, i]
        own = batch if bm.shape[0] > 1 else 0
        for j in range(columns):
            y, ye = bm[own, j], be[own, j]
            for k0 in range(0, depth, run):
                k1 = min(k0 + run, depth)
                if width == SHORT:
                    add_short_products(buckets, x[k0:k1], xe[k0:k1], y[k0:k1], ye[k0:k1], coarse)
                    drain(buckets, coarse, shift, digits)
                elif width == LONG:
                    add_long_products(buckets, x[k0:k1], xe[k0:k1], y[k0:k1], ye[k0:k1])
                    drain(buckets, coarse, shift, digits)
                else:
                    add_far_products(digits, x[k0:k1], xe[k0:k1], y[k0:k1], ye[k0:k1], shift)
                    carry(digits)
            if c.size:
                add_double(digits, base, to_bits(c[r, j]))
            word = aligned(words, (r - start) * columns + j, facts)
            bits[r, j], met[r, j] = round_digits(digits, base, word, mode, facts)
            digits[:] = 0


@loop
def rounded_products(
    a, b, c, words, product_words, row, product_row, mode, product_mode, base, size, bits, met, counts, start, stop
) -> None:
    """As `superaccumulate`, from a [1 or B, M, K] and b [1 or B, N, K] as float64.

    product_words: of rows from `start`, [outputs, K] or empty. counts [B*M, N, 3]: products that overflowed,
    underflowed, were inexact. A product that is not finite makes the sum so. met has NEGATIVE for a product too.
    """
    facts, product_facts = unpack(row), unpack(product_row)
    digits = np.zeros(size, np.int64)
    rows, depth, columns = a.shape[1], a.shape[2], b.shape[1]
    for r in range(start, stop):
        batch, i = r // rows, r % rows
        x = a[batch if a.shape[0] > 1 else 0, i]
        for j in range(columns):
            y = b[batch if b.shape[0] > 1 else 0, j]
            own = (r - start) * columns + j
            over, under, inexact, refused = I64(0), I64(0), I64(0), I64(0)
            seen = I64(PLUS_ZERO)
            if c.size:
                seen = I64(NONZERO)
                if c[r, j] == 0.0:
                    seen = I64(MINUS_ZERO) if to_bits(c[r, j]) != U64(0) else I64(PLUS_ZERO)
                add_double(digits, base, to_bits(c[r, j]))
            for k in range(depth):
                kx, sx, ex, mx = operand(to_bits(x[k]))
                ky, sy, ey, my = operand(to_bits(y[k]))
                kind, sign, exponent, high, low = raw_product(kx, sx, ex, mx, ky, sy, ey, my)
                word = U64(0)
                if product_words.size:
                    word = aligned(product_words[own], k, product_facts)
                member, found = round_value(kind, sign, exponent, high, low, word, product_mode, product_facts)
                over += I64(found & I64(OVER))
                under += I64(found & I64(UNDER))
                inexact += I64(found & I64(INEXACT))
                refused |= I64(found & I64(NEGATIVE))
                seen |= add_member(digits, base, member, product_facts)
                if k % RUN == RUN - 1:
                    carry(digits)
            counts[r, j, 0], counts[r, j, 1], counts[r, j, 2] = over // OVER, under // UNDER, inexact // INEXACT
            found_bits, found = round_digits(digits, base, aligned(words, own, facts), mode, facts)
            kind, sign = FINITE, U64(0)
            if seen & (NO_NUMBER | PLUS_INFINITY | MINUS_INFINITY):
                both = seen & PLUS_INFINITY != 0 and seen & MINUS_INFINITY != 0
                kind = NAN if both or seen & NO_NUMBER != 0 else INFINITE
                sign = U64(1) if kind == INFINITE and seen & MINUS_INFINITY != 0 else U64(0)
            elif found & NOTHING:
                kind = ZERO
                negative = seen & PLUS_ZERO == 0
                if mode == RTN:
                    negative = seen & MINUS_ZERO != 0
                if seen & NONZERO:
                    negative = mode == RTN
                sign = U64(1) if negative else U64(0)
            if kind != FINITE:
                found_bits, _ = round_value(kind, sign, LOWEST, U64(0), U64(0), U64(0), mode, facts)
                found = I64(0)
            bits[r, j], met[r, j] = found_bits, found | refused
            digits[:] = 0


@core
def add_to_wide(high, low, base, bits):
    """(high, low) + the finite float64 of these bits / 2**base, an integer; two's complement."""
    kind, sign, exponent, significand = operand(bits)
    if kind == ZERO:
        return high, low
    place = exponent - I64(63) - I64(base)
    upper, lower = U64(0), significand
    if place < 0:  # the bits that are shifted out are zeros
        lower = U64(lower >> U64(I64(0) - place))
    else:
        upper, lower = shift_left(upper, lower, place)
    flip = U64(U64(0) - sign)
    return add(high, low, U64(upper ^ flip), U64(lower ^ flip), sign)


@loop
def finish(planes, offsets, left, right, c, words, row, mode, wide, base, size, bits, met, start, stop) -> None:
    """bits[r, j], met[r, j] = c[r, j] + the sum of planes[w, r, j] * 2**(offsets[w] + left[r] + right[j]), once.

    planes [W, R, N] integers as float64, below 2**62; c [R, N] or empty; words as in `superaccumulate`. All terms
    are multiples of 2**base. wide: sums fit 126 bits, without c those of one output.
    """
    facts = unpack(row)
    digits = np.zeros(size, np.int64)
    columns = planes.shape[2]
    for r in range(start, stop):
        for j in range(columns):
            own = left[r] + right[j]
            word = aligned(words, (r - start) * columns + j, facts)
            if wide:
                high, low = U64(0), U64(0)
                unit = I64(base) if c.size else own
                for w in range(offsets.size):
                    value = I64(planes[w, r, j])
                    upper, lower = shift_left(U64(value >> 63), U64(value), offsets[w] + own - unit)
                    high, low = add(high, low, upper, lower, U64(0))
                if c.size:
                    high, low = add_to_wide(high, low, unit, to_bits(c[r, j]))
                bits[r, j], met[r, j] = round_wide(high, low, unit, word, mode, facts)
            else:
                for w in range(offsets.size):
                    add_word(digits, offsets[w] + own - base, I64(planes[w, r, j]))
                if c.size:
                    add_double(digits, base, to_bits(c[r, j]))
                bits[r, j], met[r, j] = round_digits(digits, base, word, mode, facts)
                digits[:] = 0


@loop
def sign_zeros(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    down: bool,
    met: NDArray[np.uint8],
    values: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Give exact zero sums values[r, j] their sign: that of all terms if all are zeros of one sign, else -0 for RTN.

    down: the mode is RTN; a zero is then negative if any term is, or terms that are not zero cancel. a [1 or B, M, K],
    b [1 or B, K, N], c [B*M, N] or empty (+0 is added), values [B*M, N]. met: like values, the zeros have NOTHING; or
    empty, every zero is one.
    """
    rows, depth, columns = a.shape[1], a.shape[2], b.shape[2]
    for r in range(start, stop):
        x = a[r // rows if a.shape[0] > 1 else 0, r % rows]
        y = b[r // rows if b.shape[0] > 1 else 0]
        for j in range(columns):
            if values[r, j] != 0.0 or (met.size != 0 and not met[r, j] & NOTHING):
                continue
            values[r, j] = 0.0
            start_negative = c.size != 0 and to_bits(c[r, j]) >> U64(63) != U64(0)
            if not down and not (start_negative and c[r, j] == 0.0):
                continue
            some = c.size != 0 and c[r, j] != 0.0
            any_negative, all_negative = start_negative, start_negative
            for k in range(depth):
                if some or not (down or all_negative):
                    break
                some = x[k] != 0.0 and y[k, j] != 0.0
                negative = U64(to_bits(x[k]) ^ to_bits(y[k, j])) >> U64(63) != U64(0)
                any_negative, all_negative = any_negative or negative, all_negative and negative
            if down if some else (any_negative if down else all_negative):
                values[r, j] = -0.0
