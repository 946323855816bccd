"""The statistics of a comparison: mean with spread, and of a paired difference the t interval and an exact p-value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

#: Of every interval in the tables.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1 in the denominator), in the unit of the values."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences and the ends of its confidence interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least two values."""
    if len(values) < 2:
        raise ValueError(f"a standard deviation was asked of {len(values)} value(s); give at least 2")
    mean = math.fsum(values) / len(values)
    return Spread(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)))


def paired(values: Sequence[float], others: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Student's t interval for the mean of ``values[i] - others[i]``: mean -+ t * deviation / sqrt(n), n - 1 degrees.

    The differences are taken as independent and normal. Differences that are all equal give an interval of length 0.
    """
    from scipy.special import stdtrit  # the inverse of Student's distribution, without the import time of scipy.stats

    if len(values) != len(others):
        raise ValueError(f"{len(values)} values cannot be paired with {len(others)}; give one of each per seed")
    differences = spread([value - other for value, other in zip(values, others, strict=True)])
    quantile = float(stdtrit(len(values) - 1, 0.5 + confidence / 2))
    half = quantile * differences.deviation / math.sqrt(len(values))
    return Interval(differences.mean, differences.mean - half, differences.mean + half)


#: Differences that `sign_flips` takes: it looks at 2**20 sums at the most.
MOST_FLIPPED = 20


def sign_flips(differences: Sequence[Fraction | float]) -> Fraction:
    """The exact p-value of Fisher's paired permutation test that the mean of these is above 0, one-sided.

    The share of the 2**n ways to sign the differences whose sum is at least the one seen, in rationals, so that ties are
    ties: never below 2**-n. It is a p-value where differences are independent and symmetric about 0 under the null; no
    normality is asked for. Errors: ValueError for none, more than 20, and one that is not finite.
    Source: Fisher, The design of experiments, 1935, section 21.
    """
    count = len(differences)
    if not 1 <= count <= MOST_FLIPPED:
        raise ValueError(f"{count} differences were given; all their signs are tried: give 1 to {MOST_FLIPPED}")
    for value in differences:
        if not math.isfinite(value):
            raise ValueError(f"a difference is {value}; give finite ones, and say what a diverged run counts as")
    exact = [Fraction(value) for value in differences]
    total = sum(exact)
    ways = product(*((value, -value) for value in exact))
    return Fraction(sum(sum(way) >= total for way in ways), 2**count)
