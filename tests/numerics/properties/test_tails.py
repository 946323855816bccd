"""Exact tails against rationals, and p-values put together against what they promise."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from numerics.properties.tails import (
    SAFETY,
    association,
    binomial_pmf,
    bonferroni,
    fisher,
    most_alarms,
    simes,
    two_sided,
)

CHANCES = [
    Fraction(1, 2),
    Fraction(1, 3),
    Fraction(15, 16),
    Fraction(1, 1000),
    Fraction(63, 1 << 14),
    Fraction(0),
    Fraction(1),
]


def exact_pmf(n: int, p: Fraction) -> list[Fraction]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


@pytest.mark.parametrize("p", CHANCES, ids=str)
def test_the_pmf_against_rationals_for_every_count_of_up_to_sixty_draws(p):
    for n in range(61):
        for seen, exact in zip(binomial_pmf(n, p).tolist(), exact_pmf(n, p), strict=True):
            assert abs(Fraction(seen) - exact) <= exact / 10**12


@pytest.mark.parametrize("p", CHANCES, ids=str)
def test_two_sided_p_values_are_never_too_small_and_hardly_too_large(p):
    for n in (1, 2, 7, 33, 60):
        pmf = exact_pmf(n, p)
        for k, seen in enumerate(two_sided(n, p).tolist()):
            exact = min(Fraction(1), 2 * min(sum(pmf[: k + 1]), sum(pmf[k:])))
            assert exact <= Fraction(seen) <= min(Fraction(1), exact * Fraction(SAFETY) ** 2)


@pytest.mark.parametrize("p", CHANCES, ids=str)
def test_a_two_sided_p_value_is_at_most_alpha_with_probability_at_most_alpha(p):
    for n in (1, 5, 23, 60):
        pmf, values = exact_pmf(n, p), two_sided(n, p)
        for alpha in {float(value) for value in values} | {0.01, 0.05, 0.5}:
            assert sum((q for q, v in zip(pmf, values, strict=True) if v <= alpha), Fraction(0)) <= Fraction(alpha)


def exact_association(n: int, first: int, second: int, both: int) -> Fraction:
    ways = [math.comb(first, k) * math.comb(n - first, second - k) for k in range(min(first, second) + 1)]
    return min(Fraction(1), Fraction(2 * min(sum(ways[: both + 1]), sum(ways[both:])), sum(ways)))


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_association_is_never_too_small_and_hardly_too_large(n):
    for first, second in product(range(n + 1), repeat=2):
        for both in range(max(0, first + second - n), min(first, second) + 1):
            exact, seen = exact_association(n, first, second, both), Fraction(association(n, first, second, both))
            assert exact <= seen <= min(Fraction(1), exact * Fraction(SAFETY) ** 2)


def test_association_says_nothing_of_means_and_all_of_dependence():
    assert association(448, 448, 448, 448) == association(448, 0, 200, 0) == 1.0
    assert association(448, 400, 400, 357) == 1.0
    assert association(448, 224, 224, 224) < 1e-130
    assert association(1 << 22, 1 << 21, 1 << 21, 1 << 21) == 0.0


@pytest.mark.parametrize("both", [-1, 3, 11])
def test_association_refuses_counts_that_cannot_be(both):
    with pytest.raises(ValueError, match=f"both = {both} of 10 and 13 in 19 pairs: it is from 4 to 10"):
        association(19, 10, 13, both)


@pytest.mark.parametrize("n", [100, 10**4, 10**6])
def test_association_against_scipy(n):
    hypergeom = pytest.importorskip("scipy.stats").hypergeom
    first, second = n // 2, n // 10
    for both in np.unique(np.linspace(0.8, 1.2, 9) * n / 20).astype(int).tolist():
        tails = hypergeom.cdf(both, n, first, second), hypergeom.sf(both - 1, n, first, second)
        assert association(n, first, second, both) == pytest.approx(min(1, 2 * min(tails)), rel=1e-5, abs=1e-280)


@pytest.mark.parametrize("n", [1000, 10**5, 10**6])
@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(1, 16), Fraction(63, 1 << 14), Fraction(999, 1000)], ids=str)
def test_tails_against_scipy(n, p):
    binom = pytest.importorskip("scipy.stats").binom
    spread, middle = math.sqrt(n * p * (1 - p)), float(n * p)
    ks = np.unique(np.clip(np.rint(middle + spread * np.linspace(-12, 12, 49)), 0, n).astype(int))
    theirs = np.minimum(1, 2 * np.minimum(binom.cdf(ks, n, float(p)), binom.sf(ks - 1, n, float(p))))
    assert two_sided(n, p)[ks] == pytest.approx(theirs, rel=1e-5, abs=1e-300)


def test_a_probability_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match="p = 3/2: a probability is from 0 to 1"):
        binomial_pmf(3, Fraction(3, 2))


def test_fisher_against_chi_square():
    chi2 = pytest.importorskip("scipy.stats").chi2
    for values in ([0.5], [0.01, 0.2], [1e-8, 0.9, 0.3], [0.7] * 40, [1e-3] * 100, [1.0, 1.0]):
        statistic = -2 * sum(map(math.log, values))
        assert fisher(values) == pytest.approx(min(1, chi2.sf(statistic, 2 * len(values))), rel=1e-5)


def test_what_cannot_be_makes_fisher_zero_and_nothing_says_nothing():
    assert fisher([0.0, 0.5]) == 0.0
    assert fisher([]) == simes([]) == bonferroni([]) == 1.0


CASES = [(3, Fraction(1, 2), 3), (5, Fraction(1, 4), 2), (1, Fraction(1, 8), 4), (8, Fraction(1, 2), 2)]


@pytest.mark.parametrize("combine", [simes, fisher, bonferroni], ids=lambda combine: combine.__name__)
@pytest.mark.parametrize(
    ("n", "p", "m"), [(3, Fraction(1, 2), 3), (5, Fraction(1, 4), 2), (1, Fraction(1, 8), 4), (8, Fraction(1, 2), 2)]
)
def test_combined_p_values_of_independent_counts_keep_their_rate_by_enumeration(combine, n, p, m):
    pmf, values = exact_pmf(n, p), two_sided(n, p)
    found = []
    for counts in product(range(n + 1), repeat=m):
        found.append(
            (combine([float(values[k]) for k in counts]), math.prod((pmf[k] for k in counts), start=Fraction(1)))
        )
    for alpha in {value for value, _ in found}:
        assert sum((weight for value, weight in found if value <= alpha), Fraction(0)) <= Fraction(alpha) * Fraction(
            1 + 1e-12
        )


def test_bonferroni_holds_for_one_count_looked_at_twice():
    pmf, values = exact_pmf(12, Fraction(1, 2)), two_sided(12, Fraction(1, 2))
    for alpha in (0.01, 0.05, 0.2):
        twice = sum(
            (q for q, v in zip(pmf, values, strict=True) if bonferroni([float(v), float(v)]) <= alpha), Fraction(0)
        )
        assert twice <= Fraction(alpha)


def test_simes_never_exceeds_bonferroni_nor_undercuts_the_smallest():
    for values in ([0.2, 0.01, 0.5], [0.03, 0.03, 0.03], [1.0, 1.0], [0.0, 0.4]):
        assert min(values) <= simes(values) <= bonferroni(values)


@pytest.mark.parametrize(("runs", "rate"), [(10, Fraction(1, 10)), (100, Fraction(1, 100)), (200, Fraction(1, 1000))])
def test_most_alarms_is_the_count_that_is_exceeded_with_the_stated_probability(runs, rate):
    most = most_alarms(runs, float(rate), 1e-6)
    tail = [sum(exact_pmf(runs, Fraction(float(rate)))[k:]) for k in (most, most + 1)]
    assert tail[1] <= Fraction(1e-6) < tail[0]
