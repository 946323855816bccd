"""N:M masks: probabilities, variances and their ratio, shares of a normal gradient's energy, counts of masks.

The papers' own tables were not seen; what is expected here was derived from their statements, in rationals or to the
digits given, and is found again by the functions that train.
"""

import math
from fractions import Fraction
from functools import lru_cache
from itertools import combinations_with_replacement, pairwise

import numpy as np
from numpy.typing import NDArray

from .. import sparsity
from ..reference import masks
from ..words import random_words
from .claim import Claim, Paper

_SAMPLES = 1 << 17  # blocks of four
_ERROR = 3e-3  # five standard errors of a share at this many
_METHODS = ("exact", "approximate")


@lru_cache(maxsize=1)
def _normal() -> NDArray[np.float64]:
    """Blocks of four normal numbers, from a seed."""
    words = random_words(4 * _SAMPLES, 32, seed=2203).reshape(2, -1)
    radius = np.sqrt(-2 * np.log((words[0] + 0.5) / 2.0**32))
    angle = words[1] * (2 * math.pi / 2.0**32)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).reshape(-1, 4)


def _variance_share(n: int, m: int, method: str = "exact") -> float:
    """Mean variance over mean square, on normal numbers."""
    x = _normal()
    return float(sparsity.variance(x, n, m, method=method).sum() / (x**2).sum())


def _pruned_share(n: int, m: int) -> float:
    x = _normal()
    return float(1 - (sparsity.top_n(x, n, m) ** 2).sum() / (x**2).sum())


def _by_quadrature() -> tuple[float, float]:
    """E|x| squared, and E min(x**2, y**2)/2, of normal x and y, by the trapezium rule."""
    step = 1e-4
    x = np.arange(100_001) * step
    density = np.exp(-x * x / 2) * math.sqrt(2 / math.pi)  # of |x|
    above = np.array([math.erfc(value / math.sqrt(2)) for value in x[::20]])
    return float((x * density).sum() * step) ** 2, float((x**2 * density)[::20] @ above * 20 * step)


def _mean_ratio(sigma: float) -> float:
    """Mean ratio of the two variances on blocks of lognormal numbers."""
    x = np.exp(sigma * _normal())
    return float((sparsity.variance(x, method="approximate") / sparsity.variance(x)).mean())


def _ratio(block: tuple[int, ...]) -> Fraction:
    least, other = (
        masks.masked_variance(block, law)
        for law in (masks.inclusion_probabilities(block, 2), masks.approximate_probabilities(block))
    )
    return other / least


def _ratios() -> tuple[Fraction, Fraction]:
    found = [_ratio(block) for block in combinations_with_replacement(range(1, 9), 4)]
    return min(found), max(found)


def _unbiased() -> bool:
    """Over all words, by the functions that train: the count of each element is a difference of floors of 2**r C."""
    bits, ok = 8, True
    words = np.arange(1 << bits)[:, None]
    for block in ([4.0, 3, 2, 1], [4.0, 1, 1, 1], [5.0, 0, 3, 3], [1.0, 2, 4, 8]):
        for method in _METHODS:
            law = (
                masks.inclusion_probabilities(block, 2) if method == "exact" else masks.approximate_probabilities(block)
            )
            kept = sparsity.mvue(np.tile(block, (1 << bits, 1)), method=method, words=words, random_bits=bits) != 0
            edges = [sum(law[:i], Fraction(0)) * (1 << bits) // 1 for i in range(5)]
            ok &= kept.sum(axis=0).tolist() == [b - a for a, b in pairwise(edges)]
            ok &= all(p * (Fraction(x) / p) == x for x, p in zip(block, law, strict=True) if p)
    return ok


def _together(method: str) -> Fraction:
    """How often the first two of 4, 3, 2, 1 are kept together, of all words of 12 bits."""
    words = np.arange(1 << 12)[:, None]
    kept = sparsity.mvue(np.tile([4.0, 3, 2, 1], (1 << 12, 1)), method=method, words=words, random_bits=12) != 0
    return Fraction(int((kept[:, 0] & kept[:, 1]).sum()), 1 << 12)


def _spots() -> list[Claim]:
    """Probability of the largest element, and the variance, of four blocks."""
    table = [
        ((1, 1, 1, 1), 0.5, 4, 0.5, 4),
        ((4, 1, 1, 1), 1, 6, 0.857, 7.5417),
        ((3, 1, 1, 1), 1, 6, None, 6.75),
        ((4, 3, 2, 1), 0.8, 20, 0.7159, 20.4736),
    ]
    claims = []
    for block, p, variance, other_p, other_variance in table:
        x = np.array(block, float)
        for method, chance, spread in (("exact", p, variance), ("approximate", other_p, other_variance)):
            name = f"2:4 {method}, block {', '.join(map(str, block))}"
            near = 1e-12 if method == "exact" else 5e-4
            if chance is not None:
                claims.append(
                    Claim(
                        f"{name}: the first is kept with probability {chance}",
                        chance,
                        lambda x=x, method=method: float(sparsity.inclusion_probabilities(x, method=method)[0]),  # type: ignore[misc]
                        "derived",
                        near,
                    )
                )
            claims.append(
                Claim(
                    f"{name}: variance {spread}",
                    spread,
                    lambda x=x, method=method: float(sparsity.variance(x, method=method)[0]),  # type: ignore[misc]
                    "derived",
                    1e-12 if method == "exact" else 5e-5,
                )
            )
    return claims


def _sampled(statement: str, expected: float, share: tuple[str, int, int, str], digits: float) -> Claim:
    kind, n, m, method = share
    return Claim(
        statement,
        expected,
        lambda: _pruned_share(n, m) if kind == "pruned" else _variance_share(n, m, method),
        "derived",
        digits + _ERROR,
        f"{_SAMPLES} blocks drawn from a seed",
    )


PAPER = Paper(
    "Chmiel, Hubara, Banner, Soudry: Minimum variance unbiased N:M sparsity for the neural gradients, arXiv 2203.10991",
    (
        Claim("over all words each element's count is that of its probability, and p (x/p) = x", True, _unbiased),
        *_spots(),
        Claim(
            "2:4 sequential, block 4, 3, 2, 1: the first two are kept together, 4/10 3/6 + 3/10 4/7",
            Fraction(13, 35),
            lambda: _together("sequential"),
            "derived",
            2.0**-12,
            "the systematic draw of the approximate method keeps them together with probability 0.324, p being the same",
        ),
        Claim("two draws have at least the least variance, on {1..8}^4", 1, lambda: _ratios()[0], "derived"),
        Claim("and less than twice the least, on {1..8}^4", True, lambda: _ratios()[1] < 2, "derived"),
        Claim("twice, where one element dominates", 2, lambda: _ratio((10**9, 1, 1, 1)), "derived", 1e-8, "a supremum"),
        Claim("1:2 on normal numbers: variance 2/pi of the energy", 2 / math.pi, lambda: _by_quadrature()[0], "", 1e-8),
        Claim(
            "1:2, the larger kept, on normal numbers: (1 - 2/pi)/2 of the energy is lost",
            (1 - 2 / math.pi) / 2,
            lambda: _by_quadrature()[1],
            "derived",
            1e-8,
        ),
        _sampled("1:2, drawn: 0.6366 of the energy", 0.6366, ("drawn", 1, 2, "exact"), 5e-5),
        _sampled("2:4 exact, drawn: 0.474 of the energy", 0.474, ("drawn", 2, 4, "exact"), 5e-4),
        _sampled("2:4 approximate, drawn: 0.502 of the energy", 0.502, ("drawn", 2, 4, "approximate"), 5e-4),
        _sampled("1:2, the larger kept: 0.1817 is lost", 0.1817, ("pruned", 1, 2, "exact"), 5e-5),
        _sampled("2:4, the two largest kept: 0.1323 is lost", 0.1323, ("pruned", 2, 4, "exact"), 5e-5),
        Claim("approximate over least variance, lognormal(1), mean", 1.195, lambda: _mean_ratio(1.0), "derived", 3e-3),
        Claim("the same for lognormal(0.3)", 1.009, lambda: _mean_ratio(0.3), "derived", 1e-3),
    ),
)

TRANSPOSABLE = Paper(
    "Hubara, Chmiel, Island, Banner, Naor, Soudry: Accelerated sparse neural training, arXiv 2102.08124",
    (
        Claim(
            "transposable 2:4 masks of a tile",
            90,
            lambda: sparsity.transposable_mask_count(2, 4),
            "mask diversity",
            note="the published product M! (M-1)! ... gives 144",
        ),
        Claim(
            "transposable 4:8 masks of a tile",
            116_963_796_250,
            lambda: sparsity.transposable_mask_count(4, 8),
            "mask diversity",
            note="the published product gives 1.7e13",
        ),
        Claim("2:4 masks of an 8 x 8 matrix, along one axis", 6**16, lambda: math.comb(4, 2) ** 16, "mask diversity"),
    ),
)
