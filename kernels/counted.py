"""One rounding and what happened in it: the cores of `tallies` and of the counting kernels on CUDA."""

import numpy as np
from numba import types

from ._jit import by_literals, core
from .carrier import magnitude_bits
from .forms import finish_plain32, finish_plain64
from .magnitude import finish32, finish64
from .modes import CODE_MANTISSA, EMIN, LARGEST, OFFSET, PLAIN, SIGNED, SMALLEST, UNIFORM
from .primitives import from_bits, shift_left
from .sums import FINITE, saturated, signed_value

U32, U64 = np.uint32, np.uint64


@core
def one_if(condition):
    """1 or 0, in 32 bits."""
    return U32(1) if condition else U32(0)


def _make_round_counted(U, SIGN, finish, finish_plain):
    TOP, ONE, ZERO = U(SIGN), U(1), U(0)

    def round_counted(bits, word, mode, normalise, facts):
        """(value rounded to the format, whether it left the range)."""
        sign = U(bits & TOP)
        a = U(bits ^ sign)
        r = magnitude_bits(a, ONE if sign != ZERO else ZERO, word, mode, normalise, facts)
        over = r > facts[LARGEST]
        if mode >= 0 and mode & FINITE:
            r = r if (not mode & UNIFORM) or r >= facts[SMALLEST] else ZERO
            return from_bits(U(min(r, facts[LARGEST]) | sign)), over
        if mode >= 0 and mode & PLAIN:
            return from_bits(finish_plain(r, a, sign, mode, facts)), over
        return from_bits(finish(r, a, sign, facts)), over

    return round_counted


_round_counted32 = core(_make_round_counted(U32, 0x80000000, finish32, finish_plain32))
_round_counted64 = core(_make_round_counted(U64, 1 << 63, finish64, finish_plain64))


@by_literals
def round_counted(bits, word, mode, normalise, facts, fitting):
    """Of the width of the bits, see above; fitting: a constant, whether the value is known not to leave the range."""
    m, rounding = mode.literal_value, _round_counted32 if bits == types.uint32 else _round_counted64
    if m >= 0 and m & SIGNED:

        def signed(bits, word, mode, normalise, facts, fitting):
            value = signed_value(bits, m, facts)
            if fitting:
                return value, False
            within = saturated(value, facts)
            return within, within != value

        return signed

    def rounded(bits, word, mode, normalise, facts, fitting):
        value, over = rounding(bits, word, m, normalise, facts)
        return value, over and not fitting

    return rounded


def _make_binade(U, EXPONENT, TRAILING):
    FIELD, T, START = U(EXPONENT), U(TRAILING), U(OFFSET)

    def binade(bits, facts):
        """The power of two at or below a magnitude, not below the format's smallest normal where underflow is gradual."""
        lowest = U(facts[EMIN] - START) if facts[EMIN] > START else U(0)
        return from_bits(max(U(bits & FIELD), U(lowest << T)))

    return binade


_binade32 = core(_make_binade(U32, 0x7F800000, 23))
_binade64 = core(_make_binade(U64, 0x7FF << 52, 52))


@by_literals
def binade(bits, facts):
    """Of the width of the bits, see above."""
    power = _binade32 if bits == types.uint32 else _binade64
    return lambda bits, facts: power(bits, facts)


_steps32 = core(lambda facts: np.float32(shift_left(U32(1), facts[CODE_MANTISSA])))
_steps64 = core(lambda facts: np.float64(shift_left(U64(1), facts[CODE_MANTISSA])))


@by_literals
def steps_of(facts):
    """How many steps of the format are in one of its binades, a float of the carrier."""
    steps = _steps32 if facts.dtype == types.uint32 else _steps64
    return lambda facts: steps(facts)


@core
def sum_events(x, y, odd, error, result, steps, tiny, facts):
    """(underflow, inexact, swamped, absorbed) of the sum x + y, see numerics.Events; all false unless both are finite.

    odd: bits of the sum rounded to odd, error: what the carrier's own sum lacks; steps: `steps_of`; tiny: the format's
    smallest normal.
    """
    p, q, total = abs(x), abs(y), from_bits(odd)
    finite = (p - p == 0) & (q - q == 0)
    small = min(p, q)
    large = y if p <= q else x
    lossy = finite & ((total != result) | (error != 0))
    acts = finite & (small != 0)
    gone = acts & (small * steps < binade(odd, facts)) & (total != 0)
    return lossy & (abs(total) < tiny) & (total != 0), lossy, acts & (result == large), gone


@core
def product_events(product, result, tiny):
    """(underflow, inexact) of a product, exact in the carrier, that was rounded."""
    lossy = result != product
    return lossy & (abs(product) < tiny) & (product != 0), lossy
