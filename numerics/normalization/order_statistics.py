"""Expected extremes of n independent standard normal numbers, by quadrature of their distribution functions."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..formats.integers import whole

Nodes = NDArray[np.float64]

_END = 40.0  # P(|x| > 40) is below 1e-349: no n that fits in a machine gets there
_PIECE = 0.25
_ORDER = 16


def checked_count(n: int, least: int, label: str = "n") -> int:
    """n as an integer in [least, 2**63], or a sentence."""
    number = whole(n)
    if number is None:
        raise TypeError(f"{label} = {n!r}: give an integer of at least {least}")
    if not least <= number <= 1 << 63:
        raise ValueError(f"{label} = {number}: give an integer of at least {least}, and of at most 2**63")
    return number


@lru_cache(maxsize=1024)
def expected_range(n: int) -> float:
    """d2(n) = E (max - min) of n standard normal numbers, n >= 2; relative error below 1e-13.

    The integral of 1 - F**n - (1 - F)**n over the line, F the distribution function. d2(2) = 2 / sqrt(pi), d2(3) = 3 /
    sqrt(pi). Errors: TypeError, ValueError for an n that is no such integer. Source: Tippett, On the extreme
    individuals and the range of samples taken from a normal population, Biometrika 17, 1925.
    """
    n = checked_count(n, 2)
    _, weights, tail = _quadrature()
    none_above = n * np.log1p(-tail)
    all_above = n * np.log(tail, out=np.full_like(tail, -np.inf), where=tail > 0)
    return 2 * math.fsum((weights * (-np.expm1(none_above) - np.exp(all_above))).tolist())


@lru_cache(maxsize=1024)
def expected_max_magnitude(n: int) -> float:
    """E max|x| of n standard normal numbers, n >= 1; relative error below 1e-13.

    The integral of 1 - (1 - S)**n over t > 0, S(t) = P(|x| > t). sqrt(2 / pi) for n = 1, 2 / sqrt(pi) for n = 2.
    Errors: as `expected_range`. Source: derived, as the integral of a tail.
    """
    n = checked_count(n, 1)
    _, weights, tail = _quadrature()
    return math.fsum((weights * -np.expm1(n * np.log1p(-2 * tail))).tolist())


@lru_cache(maxsize=1024)
def expected_top_mean(n: int, k: int) -> float:
    """E of the mean of the k largest of |x| of n standard normal numbers, 1 <= k <= n; relative error below 1e-11.

    The integral of E min(B, k) / k over t > 0, B the binomial count of magnitudes above t; k terms a node. Errors: as
    `expected_range`; ValueError for a k outside 1 to min(n, 2**16). Source: derived, as the integral of a tail.
    """
    n = checked_count(n, 1)
    k = checked_count(k, 1, "k")
    if k > min(n, 1 << 16):
        raise ValueError(f"k = {k}: give the number of largest of {n} magnitudes, 1 to {min(n, 1 << 16)}")
    _, weights, tail = _quadrature()
    above = 2 * tail
    log_above = np.log(above, out=np.full_like(above, -np.inf), where=above > 0)
    log_below = np.log1p(-above)
    short = np.zeros_like(above)  # k - E min(B, k)
    choices = 0.0  # log of n over i
    for i in range(k):
        # 0 log 0 = 0: no magnitude above is certain where the tail is empty.
        power = i * log_above if i else np.zeros_like(above)
        short += (k - i) * np.exp(choices + power + (n - i) * log_below)
        choices += math.log((n - i) / (i + 1))
    return math.fsum((weights * (1 - short / k)).tolist())


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Nodes, Nodes, Nodes]:
    """Nodes and weights of Gauss-Legendre quadrature over [0, _END], piece by piece, and P(x > node)."""
    at, weights = np.polynomial.legendre.leggauss(_ORDER)
    starts = np.arange(0, _END, _PIECE)
    nodes = (starts[:, None] + _PIECE * (at + 1) / 2).reshape(-1)
    tail = np.array([math.erfc(t / math.sqrt(2)) / 2 for t in nodes.tolist()])
    return nodes, np.tile(_PIECE / 2 * weights, starts.size), tail
