"""Which neighbour a value goes to, by the definitions of the modes."""

import math
from fractions import Fraction
from functools import lru_cache

from ..rounding import Rounding

_HALF = Fraction(1, 2)


@lru_cache(maxsize=1 << 13)
def power_of_two(e: int) -> Fraction:
    """2**e: kept, as most of the time of a rounding in rationals went into the same few powers."""
    return Fraction(2) ** e


def floor_log2(x: Fraction) -> int:
    """The exponent e with 2**e <= x < 2**(e+1), of a positive rational."""
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if x >= power_of_two(e) else e - 1


def stochastic_threshold(fraction: Fraction, rounding: Rounding, random_bits: int) -> int:
    """k of IEEE P3109 v4.0, 4.7.4: the value rounds up for k of the 2**r words, those with k + R >= 2**r."""
    scaled = fraction * (1 << random_bits)
    k: int = math.floor(scaled)
    if rounding is Rounding.SR_B:
        return k + (scaled - k >= _HALF)
    if rounding is Rounding.SR_C:
        return k + (scaled - k > _HALF or (scaled - k == _HALF and k % 2 == 1))
    return k


def rounds_up(
    fraction: Fraction, rounding: Rounding, *, negative: bool, odd: bool, word: int | None, random_bits: int | None
) -> bool:
    """Whether a magnitude that is `fraction` ulp above its lower neighbour goes up; odd: that neighbour's code is."""
    if fraction == 0:
        return False
    match rounding:
        case Rounding.RNE:
            return fraction > _HALF or (fraction == _HALF and odd)
        case Rounding.RNA:
            return fraction >= _HALF
        case Rounding.RTZ:
            return False
        case Rounding.RTP:
            return not negative
        case Rounding.RTN:
            return negative
        case Rounding.RTO:
            return not odd
        case _:
            if word is None or random_bits is None:
                raise ValueError(f"{rounding.name} needs a word and its number of random bits")
            k = stochastic_threshold(fraction, rounding, random_bits)
            return k + word >= 1 << random_bits
