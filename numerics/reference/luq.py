"""Logarithmic unbiased quantization in rationals: the two neighbours, the probability of the upper one, its words.

The grid is 0 and alpha 2**k, k = 0 ... levels - 1, with both signs. Source: arXiv 2112.10769.
"""

import math
from fractions import Fraction
from typing import NamedTuple


class Choice(NamedTuple):
    """A magnitude becomes `high` with probability `chance`, else `low`; on the grid low is the magnitude itself."""

    low: Fraction
    high: Fraction
    chance: Fraction


def largest(alpha: Fraction, levels: int) -> Fraction:
    """The largest value of the grid."""
    return alpha * (1 << (levels - 1))


def choice(x: float | Fraction, alpha: float | Fraction, levels: int) -> Choice:
    """What |x| may become. Errors: ValueError for a negative alpha and for fewer than one level."""
    step, size = Fraction(alpha), abs(Fraction(x))
    if step < 0 or levels < 1:
        raise ValueError(f"alpha = {alpha}, levels = {levels}: no grid")
    top = largest(step, levels)
    if size >= top:
        return Choice(top, top, Fraction(0))
    if size < step:
        return Choice(Fraction(0), step, size / step)
    low = step
    while 2 * low <= size:
        low *= 2
    return Choice(low, 2 * low, (size - low) / low)


def quantize_value(x: float, alpha: float, levels: int, word: int, random_bits: int) -> float:
    """The value of one element, of the sign of x, zero too: the upper neighbour iff floor(p 2**r) + word >= 2**r."""
    low, high, chance = choice(x, alpha, levels)
    up = math.floor(chance * (1 << random_bits)) + word >= 1 << random_bits
    return math.copysign(float(high if up else low), x)


def moments(x: float | Fraction, alpha: float | Fraction, levels: int) -> tuple[Fraction, Fraction]:
    """Mean and variance of |x| quantized with ideal randomness, from the two outcomes and nothing else."""
    low, high, chance = choice(x, alpha, levels)
    mean = (1 - chance) * low + chance * high
    return mean, (1 - chance) * (low - mean) ** 2 + chance * (high - mean) ** 2


def nearest_power(x: Fraction) -> Fraction:
    """The power of two at the least distance from a positive number, the larger of two."""
    low = Fraction(1)
    while low > x:
        low /= 2
    while 2 * low <= x:
        low *= 2
    return 2 * low if 2 * low - x <= x - low else low
