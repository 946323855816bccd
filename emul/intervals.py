"""The two statistics of a comparison: mean with spread, and the t confidence interval of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
