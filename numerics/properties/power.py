"""Which shift of a probability is found with how many draws, by the tests of `draws_check`."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from .draws_check import ALPHA, PARTS, tests_of
from .tails import binomial_pmf, two_sided


def smallest_shift(draws_in_all: int, *, alpha: float = ALPHA, power: float = 0.9, points: int = 16) -> float:
    """The smallest shift of a probability of 1/2, the same at `points` points, found with this power.

    By the exact binomial tail of the pooled count alone, at its share of alpha: the other tests help a little, and other
    probabilities are easier. Half of the draws go to the points, of which the default plan has 16 in 144 at 1/2, 8 of
    either sign; of up to 12 random bits there are 32 points more. The power is measured: `make mutants`.
    """
    n = max(1, int(Fraction(points, 144) * draws_in_all / 2))
    level = alpha / tests_of(draws_in_all)  # and Simes over the probabilities at its most strict
    rejected = np.flatnonzero(two_sided(n, Fraction(1, 2)) * len(PARTS) <= level)
    above = rejected[rejected > n / 2]
    if not len(above):
        return 0.5
    low, high = 0.0, 0.5
    for _ in range(30):
        middle = (low + high) / 2
        found = float(binomial_pmf(n, Fraction(0.5 + middle))[above[0] :].sum())
        low, high = (low, middle) if found >= power else (middle, high)
    return high


def power_table(alpha: float = ALPHA, power: float = 0.9) -> Iterator[tuple[int, float]]:
    """(draws, smallest shift of a probability found with this power) for 2**11 to 2**23 draws."""
    for exponent in range(11, 24, 2):
        yield 1 << exponent, smallest_shift(1 << exponent, alpha=alpha, power=power)
