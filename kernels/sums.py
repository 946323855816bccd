"""One sum, rounded once: exact or to odd in the carrier, then to the accumulator's format.

The parts work on whole rows of accumulators, one after the other: adding and rounding in one loop makes a chain of
dependent operations so long that the processor runs out of room for the next lanes. Modes are literals: what a mode
does not need is not compiled.
"""

import numpy as np
from numba import types

from ._jit import by_literals, core
from .carrier import quantize_bits, saturate_bits
from .forms import centred32, centred64, truncated32, truncated64
from .modes import (
    LARGEST,
    LIFTED,
    MAGIC,
    MODE_MASK,
    NATIVE,
    NATIVE_IEEE,
    NO_ROUNDING,
    ONCE,
    RTN,
    RTZ,
    SHIFTED,
    SIGNED,
    SR,
    SR_C,
    UNIFORM,
)
from .primitives import fma, from_bits, to_bits

U32, U64 = np.uint32, np.uint64
FINITE = UNIFORM | MAGIC | SHIFTED | LIFTED | SIGNED  # forms in which no sum is infinite or NaN


def stochastic(mode: int) -> bool:
    """Whether a compiled mode draws words."""
    return mode >= 0 and SR <= (mode & MODE_MASK) <= SR_C


def _one_loop(mode: int) -> bool:
    """Whether adding and rounding go in one loop: the carrier's own sum comes first."""
    return (mode < 0 or bool(mode & ONCE)) and not stochastic(mode)


def _make_odd(U, SIGN, EXPONENT, WIDTH, guarded, sticky):
    TOP, MAGNITUDE, INF, ONE, ZERO = U(SIGN), U(SIGN - 1), U(EXPONENT), U(1), U(0)
    LAST = U(WIDTH - 1)

    def odd(s, error):
        bits = to_bits(s)
        away = U(U(bits ^ to_bits(error)) >> LAST)
        inexact = error != 0
        if guarded:
            inexact = inexact & (U(bits & MAGNITUDE) < INF)
        return U(U(bits - away) | ONE) if inexact else bits

    def toward_zero(s, error):
        bits = to_bits(s)
        away = from_bits(U(to_bits(error) ^ U(bits & TOP))) < 0  # not of a zero error, whatever its sign
        if guarded:
            away = away & (U(bits & MAGNITUDE) < INF)
        return U(bits - (ONE if away else ZERO))

    return odd if sticky else toward_zero


def _make_signed_zero(U, SIGN):
    TOP, ZERO = U(SIGN), U(0)
    return lambda bits, zero: U(zero & TOP) if U(bits & U(TOP - U(1))) == ZERO else bits


_signed_zero32, _signed_zero64 = core(_make_signed_zero(U32, 0x80000000)), core(_make_signed_zero(U64, 1 << 63))
_WIDTHS = {types.float32: (U32, 0x80000000, 0x7F800000, 32), types.float64: (U64, 1 << 63, 0x7FF << 52, 64)}


@by_literals
def to_odd(s, error, zero, mode):
    """Bits of s + error rounded to odd, s being the nearest float: toward zero, the lowest bit set if inexact.

    For RTZ the lowest bit is not needed: truncations compose. With ONCE and NATIVE, the bits of s. zero: the sign, in
    place, of a zero sum for RTN. Errors of an infinite or NaN sum mean nothing: it is passed on.
    """
    m = mode.literal_value
    if m < 0 or m & ONCE:
        odd = core(lambda s, error: to_bits(s))
    else:
        odd = core(_make_odd(*_WIDTHS[s], not m & FINITE, m & MODE_MASK != RTZ))
    if m < 0 or m & MODE_MASK != RTN:
        return lambda s, error, zero, mode: odd(s, error)
    signed_zero = _signed_zero32 if s == types.float32 else _signed_zero64
    return lambda s, error, zero, mode: signed_zero(odd(s, error), zero)


@core
def sum_bits(x, y, mode):
    """Bits of x + y rounded to odd: rounding them to p bits is exact in every mode if the carrier has p + 2 bits.

    Boldo and Melquiond, IEEE TC 57(4), 2008; r-bit stochastic rounding needs p + r + 1 (p + r + 2 for SR_B and SR_C).
    """
    s = x + y
    t = s - x
    error = (x - (s - t)) + (y - t)
    return to_odd(s, error, to_bits(x) | to_bits(y), mode)


@core
def fused_bits(x, factor, y, mode):
    """Bits of x + factor * y, as `sum_bits`; the product is exact in the carrier (or the sum is the carrier's own)."""
    s = fma(factor, y, x)
    t = s - x
    error = (x - (s - t)) + fma(factor, y, -t)
    return to_odd(s, error, to_bits(x) | (to_bits(factor) ^ to_bits(y)), mode)


@by_literals
def signed_value(bits, mode, facts):
    """The value of a finite sum's `bits` rounded in the form SIGNED, before it is saturated."""
    m, narrow = mode.literal_value, bits == types.uint32
    if m & MODE_MASK == RTZ:
        signed = truncated32 if narrow else truncated64
    else:
        signed = centred32 if narrow else centred64
    return lambda bits, mode, facts: signed(bits, m, facts)


@core
def saturated(value, facts):
    """The value, no larger than the format's largest."""
    largest = from_bits(facts[LARGEST])
    return min(max(value, -largest), largest)


@by_literals
def to_format(bits, word, mode, normalise, facts):
    """The value of `bits` rounded to the format of `facts`; word: aligned to the top of 32 bits."""
    m = mode.literal_value
    if m == NATIVE_IEEE:
        return lambda bits, word, mode, normalise, facts: from_bits(bits)
    if m < 0:
        return lambda bits, word, mode, normalise, facts: from_bits(quantize_bits(bits, U32(0), NATIVE, 0, facts))
    if m & SIGNED:
        return lambda bits, word, mode, normalise, facts: saturated(signed_value(bits, m, facts), facts)
    form = m & ~ONCE
    if m & FINITE:
        return lambda bits, word, mode, normalise, facts: from_bits(saturate_bits(bits, word, form, facts))
    return lambda bits, word, mode, normalise, facts: from_bits(quantize_bits(bits, word, form, normalise, facts))


# What the loops over rows are given besides numbers.
# draw: (uint32 row of words, shift that brings a word to the top of 32 bits, mask of its bits).
# how: (whether to normalise, facts of the format, its smallest normal).
# scratch: rows for what is in between; the first is of bits, the others serve `tallies`, as does `counts`.


@by_literals
def round_row(out, bits, draw, mode, how):
    """out[j] = bits[j], rounded."""
    if stochastic(mode.literal_value):

        def round_by_words(out, bits, draw, mode, how):
            words, shift, mask = draw
            for j in range(out.size):
                out[j] = to_format(bits[j], U32(U32(words[j] << shift) & mask), mode, how[0], how[1])

        return round_by_words

    def round_all(out, bits, draw, mode, how):
        for j in range(out.size):
            out[j] = to_format(bits[j], U32(0), mode, how[0], how[1])

    return round_all


@by_literals
def add_row(total, y, scratch, draw, mode, how, counts):
    """total[j] += y[j], rounded once."""
    if mode.literal_value == NO_ROUNDING:
        return lambda total, y, scratch, draw, mode, how, counts: None
    if _one_loop(mode.literal_value):

        def add_at_once(total, y, scratch, draw, mode, how, counts):
            for j in range(total.size):
                total[j] = to_format(sum_bits(total[j], y[j], mode), U32(0), mode, how[0], how[1])

        return add_at_once

    def add_then_round(total, y, scratch, draw, mode, how, counts):
        bits = scratch[0]
        for j in range(total.size):
            bits[j] = sum_bits(total[j], y[j], mode)
        round_row(total, bits, draw, mode, how)

    return add_then_round


@by_literals
def fused_row(total, factor, panel, scratch, draw, mode, how):
    """total[j] += factor * panel[j], rounded once; products are exact in the carrier."""
    if _one_loop(mode.literal_value):

        def add_at_once(total, factor, panel, scratch, draw, mode, how):
            for j in range(total.size):
                total[j] = to_format(fused_bits(total[j], factor, panel[j], mode), U32(0), mode, how[0], how[1])

        return add_at_once

    def add_then_round(total, factor, panel, scratch, draw, mode, how):
        bits = scratch[0]
        for j in range(total.size):
            bits[j] = fused_bits(total[j], factor, panel[j], mode)
        round_row(total, bits, draw, mode, how)

    return add_then_round


@core
def copy_row(out, x):
    """out[j] = x[j]. `out[:] = x` would compile numba's message about shapes: longer than a chain of roundings takes."""
    for j in range(out.size):
        out[j] = x[j]


@core
def subtract_row(out, x, y, scratch, draw, mode, how, counts):
    """out[j] = x[j] - y[j], rounded once; out may be x or y."""
    bits = scratch[0]
    for j in range(out.size):
        bits[j] = sum_bits(x[j], -y[j], mode)
    round_row(out, bits, draw, mode, how)


@by_literals
def multiply_row(out, factor, panel, draw, mode, how, counts):
    """out[j] = factor * panel[j], exact in the carrier, rounded unless the mode is NO_ROUNDING."""
    if mode.literal_value == NO_ROUNDING:

        def multiply(out, factor, panel, draw, mode, how, counts):
            for j in range(out.size):
                out[j] = factor * panel[j]

        return multiply
    if stochastic(mode.literal_value):

        def multiply_by_words(out, factor, panel, draw, mode, how, counts):
            words, shift, mask = draw
            for j in range(out.size):
                word = U32(U32(words[j] << shift) & mask)
                out[j] = to_format(to_bits(factor * panel[j]), word, mode, how[0], how[1])

        return multiply_by_words

    def multiply_and_round(out, factor, panel, draw, mode, how, counts):
        for j in range(out.size):
            out[j] = to_format(to_bits(factor * panel[j]), U32(0), mode, how[0], how[1])

    return multiply_and_round
