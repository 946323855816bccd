"""What a range, a largest magnitude or a mean magnitude of normal numbers is multiplied by to give their sigma.

The published constants are approximations and stay so under their names; "exact" is the reciprocal of the expectation.
Which constant the Range BN paper prints was not seen: "paper" is the one that is quoted for it, "poster" that of its
poster, "code" that of its code, which is less than 1/d2(n) by 6 % at n = 1024 and by 19 % at 16.
"""

import math

from ..clipping import RANGE_SCALE
from .order_statistics import checked_count, expected_max_magnitude, expected_range, expected_top_mean

#: sigma = L1_CONSTANT * E|x| of a normal x.
L1_CONSTANT = math.sqrt(math.pi / 2)

#: The published constant of the largest magnitude is this over sqrt(2 ln n).
LINF_SCALE = 0.5 * (1 + math.sqrt(math.pi * math.log(4)))

RANGE_KINDS = ("exact", "paper", "poster", "code")
LINF_KINDS = ("exact", "paper")


def range_constant(n: int, kind: str = "exact") -> float:
    """sigma over the expected range of n >= 2 normal numbers.

    "exact": 1/d2(n), d2 = `expected_range`; "paper": 1/sqrt(2 ln n); "poster": half of that; "code": 0.540208 of it.
    Against "exact", at n = 16 to 65536: paper 1.50 to 1.82, poster 0.75 to 0.91, code 0.81 to 0.98. Errors: TypeError,
    ValueError for an n that is no such integer, an unknown kind. Source: Banner, Hubara, Hoffer and Soudry, Scalable
    methods for 8-bit training of neural networks, NeurIPS 2018, arXiv 1805.11046; its poster and code.
    """
    _check_kind(kind, RANGE_KINDS)
    n = checked_count(n, 2)
    if kind == "exact":
        return 1 / expected_range(n)
    factor = {"paper": 1.0, "poster": 0.5, "code": RANGE_SCALE}[kind]
    return factor / math.sqrt(2 * math.log(n))


def linf_constant(n: int, kind: str = "exact") -> float:
    """sigma over the expected largest magnitude of n normal numbers, n >= 1 ("exact") or 2 ("paper").

    "exact": 1 / `expected_max_magnitude`; "paper": LINF_SCALE / sqrt(2 ln n), LINF_SCALE = 1.5434525, which is 1.35 (n
    = 8) to 1.46 (n = 65536) times the exact one. Errors: as `range_constant`. Source: Hoffer, Banner, Golan and Soudry,
    Norm matters, NeurIPS 2018, arXiv 1803.01814.
    """
    _check_kind(kind, LINF_KINDS)
    n = checked_count(n, 1 if kind == "exact" else 2)
    return 1 / expected_max_magnitude(n) if kind == "exact" else LINF_SCALE / math.sqrt(2 * math.log(n))


def top_constant(n: int, k: int = 10, kind: str = "exact") -> float:
    """sigma over the expected mean of the k largest magnitudes of n normal numbers.

    "exact": 1 / `expected_top_mean`; "paper": that of the largest alone, `linf_constant(n, "paper")`, with k = 10 in
    the authors' code. Errors: as `range_constant`; ValueError for a k beyond n.
    Source: as `linf_constant`; "exact" is derived.
    """
    _check_kind(kind, LINF_KINDS)
    exact = 1 / expected_top_mean(n, k)
    return exact if kind == "exact" else linf_constant(n, kind)


def _check_kind(kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise ValueError(f"kind {kind!r} is not known: known are {', '.join(known)}")
