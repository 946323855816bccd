"""Exact tails of the binomial distribution, and how p-values are put together: no normal approximation anywhere.

A p-value here is never too small by more than float64's rounding of the sums, which `SAFETY` covers.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SAFETY = 1 + 1e-6
"""Upper bound of the relative error of the tails below, for up to 2**24 draws: n * 16 * 2**-52 is below 1e-7."""


def binomial_pmf(n: int, p: Fraction) -> NDArray[np.float64]:
    """P(X = k) for k = 0 ... n, X binomial: [n + 1]; relative error below 1e-7 for n up to 2**24."""
    if not 0 <= p <= 1:
        raise ValueError(f"p = {p}: a probability is from 0 to 1")
    if p in (0, 1):
        pmf = np.zeros(n + 1)
        pmf[n if p else 0] = 1.0
        return pmf
    k = np.arange(1, n + 1)
    steps = np.log(n + 1.0 - k) - np.log(k) + (math.log(p.numerator) - math.log(p.denominator - p.numerator))
    return _from_mode(steps, min(n, int((n + 1) * p)))


def _from_mode(steps: NDArray[np.float64], mode: int) -> NDArray[np.float64]:
    """Probabilities whose logarithms rise by `steps`, normalised by their own sum.

    Added up from the mode outwards, so that errors add up where the terms are small.
    """
    logs = np.empty(len(steps) + 1)
    logs[mode] = 0.0
    logs[mode + 1 :] = np.cumsum(steps[mode:])
    logs[:mode] = -np.cumsum(steps[:mode][::-1])[::-1]
    terms = np.exp(logs)
    pmf: NDArray[np.float64] = terms / math.fsum(terms[terms > 1e-30])
    return pmf


@lru_cache(maxsize=1024)
def two_sided(n: int, p: Fraction) -> NDArray[np.float64]:
    """p-values [n + 1] of each count of n draws of probability p: twice the smaller exact tail, at most 1.

    A count that cannot be (any but 0 for p = 0) has p-value 0: that is no chance, but a proof.
    """
    pmf = binomial_pmf(n, p)
    lower, upper = np.cumsum(pmf), np.cumsum(pmf[::-1])[::-1]
    values: NDArray[np.float64] = np.minimum(1.0, 2 * SAFETY * np.minimum(lower, upper))
    values.flags.writeable = False
    return values


def association(pairs: int, first: int, second: int, both: int) -> float:
    """The two-sided p-value of independence of two events of any probabilities, unknown ones: Fisher's exact test.

    Of so many pairs the first event came in `first`, the second in `second`, both in `both`. Given these two counts the
    third is hypergeometric, whatever the probabilities are, if the events are independent. 1 where one of them came
    never or always. Source: Fisher, J. Royal Statistical Society 98(1), 1935.
    """
    lowest, highest = max(0, first + second - pairs), min(first, second)
    if not lowest <= both <= highest:
        raise ValueError(f"both = {both} of {first} and {second} in {pairs} pairs: it is from {lowest} to {highest}")
    k = np.arange(lowest + 1, highest + 1, dtype=np.float64)
    steps = np.log(first + 1 - k) + np.log(second + 1 - k) - np.log(k) - np.log(pairs - first - second + k)
    mode = (first + 1) * (second + 1) // (pairs + 2)
    pmf = _from_mode(steps, min(max(mode, lowest), highest) - lowest)
    at = both - lowest
    return float(min(1.0, 2 * SAFETY * min(pmf[: at + 1].sum(), pmf[at:].sum())))


def simes(values: Sequence[float] | NDArray[np.float64]) -> float:
    """One p-value of m independent or positively dependent ones: min m p_(i)/i. Source: Simes, Biometrika 73(3), 1986."""
    ordered = np.sort(np.asarray(values, np.float64))
    if not ordered.size:
        return 1.0
    return float(min(1.0, np.min(ordered * ordered.size / np.arange(1, ordered.size + 1))))


def fisher(values: Sequence[float] | NDArray[np.float64]) -> float:
    """One p-value of m independent ones: P(chi-square of 2 m degrees >= -2 sum ln p), a Poisson tail in closed form.

    p-values of counts are larger in distribution than uniform ones, which makes this one too large, never too small.
    """
    array = np.asarray(values, np.float64)
    if not array.size:
        return 1.0
    if np.any(array <= 0):
        return 0.0
    half = -float(np.sum(np.log(array)))
    # sum over i < m of exp(-half) half**i / i!, in logarithms
    terms = [
        -half + i * math.log(half) - math.lgamma(i + 1) if half else (0.0 if i == 0 else -math.inf)
        for i in range(array.size)
    ]
    largest = max(terms)
    return min(1.0, SAFETY * math.exp(largest) * math.fsum(math.exp(t - largest) for t in terms))


def bonferroni(values: Sequence[float]) -> float:
    """One p-value of any number, however dependent: m times the smallest."""
    return min(1.0, len(values) * min(values)) if values else 1.0


def most_alarms(runs: int, rate: float, confidence: float = 1e-9) -> int:
    """The count that alarms of probability at most `rate` exceed in `runs` runs with probability at most `confidence`."""
    upper = np.cumsum(binomial_pmf(runs, Fraction(rate))[::-1])[::-1]  # P(X >= k)
    return int(np.argmax(np.append(upper, 0.0)[1:] * SAFETY <= confidence))
