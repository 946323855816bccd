"""Bounds that hold but for a stated probability, against the counts of sums that exceed them; rules of papers."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Quantizer, Rounding, theory
from tests.numerics.error_bounds import (
    BINARY16,
    P6,
    error,
    limit,
    top_words,
)


@pytest.mark.parametrize(
    ("options", "k"),
    [
        ({}, 6),
        ({"chunk": 2}, 4),
        ({"order": "pairwise"}, 7),
        ({"product": Quantizer(P6, Rounding.SR, random_bits=2)}, 3),
    ],
    ids=["chain", "chunks", "tree", "rounded_products"],
)
def test_all_words_exceed_the_probable_bound_as_rarely_as_stated(options, k):
    bits = 2
    accumulator = Accumulator(P6, Rounding.SR, random_bits=bits, **options)
    a, ones = [1.0] + [1 / 50] * (k - 1), [1.0 + 1 / 128] * k
    exceeded = dict.fromkeys((0.9, 0.5, 0.2), 0)
    limits = {
        f: limit(theory.probabilistic_error_bound(accumulator, k, failure_probability=f), a, ones) for f in exceeded
    }
    assert limits[0.9] < limit(theory.error_bound(accumulator, k), a, ones)
    used = accumulator.roundings(k) - (1 if options.get("order") else 0)  # the tree's last word is never needed
    spare = [0] * (accumulator.roundings(k) - used)
    for words in itertools.product(range(1 << bits), repeat=used):
        err = error(a, ones, accumulator, words=[*words, *spare])
        for f, bound in limits.items():
            exceeded[f] += err > bound
    assert all(count <= f * (1 << bits * used) for f, count in exceeded.items())


def stochastic_chain(x, precision, bits, rng):
    """Sums of x[k] with p-bit stochastic rounding, one for each column; float64 is exact for these."""
    total = np.zeros(x.shape[1])
    for row in x:
        exact = total + row
        ulp = np.ldexp(1.0, np.frexp(exact)[1] - precision)
        ulp[exact == 0] = 1.0
        lo = np.floor(np.abs(exact) / ulp)
        k = np.floor((np.abs(exact) / ulp - lo) * 2**bits)
        total = np.sign(exact) * (lo + (k + rng.integers(0, 2**bits, exact.shape) >= 2**bits)) * ulp
    return total


def test_long_chains_exceed_the_probable_bound_as_rarely_as_stated():
    k, trials, failure = 400, 20_000, 0.01
    accumulator = Accumulator(FloatFormat(8, 9), Rounding.SR, random_bits=8)
    rng = np.random.default_rng(3)
    terms = np.float64(rng.integers(-(1 << 11), 1 << 11, (k, 1))) / 2048
    found = stochastic_chain(np.broadcast_to(terms, (k, trials)), 10, 8, rng)
    error_over_x = np.abs(found - terms.sum()) / np.abs(terms).sum()
    bound = theory.probabilistic_error_bound(accumulator, k, failure_probability=failure)
    assert (error_over_x > float(bound.products)).mean() <= failure
    # Positive terms, for which the running sum is largest: the quantile is within a factor of 5 of the bound.
    found = stochastic_chain(np.broadcast_to(np.abs(terms), (k, trials)), 10, 8, rng)
    error_over_x = np.abs(found - np.abs(terms).sum()) / np.abs(terms).sum()
    assert (error_over_x > float(bound.products)).mean() <= failure
    assert np.quantile(error_over_x, 1 - failure) > float(bound.products) / 5
    assert bound.products < theory.error_bound(accumulator, k).products / 5


def test_few_random_bits_drift_as_the_bound_says():
    # Numbers just too small to move the sum with any word: the error is the drift alone, n u 2**-r.
    k, bits = 200, 4
    accumulator = Accumulator(BINARY16, Rounding.SR, random_bits=bits)
    u = Fraction(1, 1 << 10)
    x = u / 16 - Fraction(1, 1 << 30)
    a, ones = [1.0] + [float(x)] * (k - 1), [1.0] * k
    err = error(a, ones, accumulator, words=top_words(accumulator, k))
    drift = k * u / 16
    assert err > drift * Fraction(98, 100)
    bound = theory.probabilistic_error_bound(accumulator, k, failure_probability=1e-3)
    assert drift < bound.products
    more = theory.probabilistic_error_bound(
        Accumulator(BINARY16, Rounding.SR, random_bits=20), k, failure_probability=1e-3
    )
    assert drift * Fraction(9, 10) < bound.products - more.products < drift * 2
    half = theory.probabilistic_error_bound(
        Accumulator(BINARY16, Rounding.SR_B, random_bits=bits), k, failure_probability=1e-3
    )
    assert more.products < half.products < bound.products
    assert [theory.random_bits_rule(n) for n in (1, 2, 4, 5, 1024, 4097)] == [0, 1, 1, 2, 5, 7]


def test_probable_bounds_scale_as_the_square_root():
    fmt = FloatFormat(8, 19)
    u = 2.0**-19
    for k in (100, 10_000):
        bound = theory.probabilistic_error_bound(Accumulator(fmt, Rounding.SR), k, failure_probability=1e-6)
        lam = theory.deviations_for(1e-6)
        assert float(bound.products) == pytest.approx(lam / 2 * math.sqrt(k) * u, rel=0.02)
        assert theory.gamma_tilde(k, u, lam) == pytest.approx(2 * float(bound.products), rel=0.02)
    tree = theory.probabilistic_error_bound(
        Accumulator(fmt, Rounding.SR, order="pairwise"), 1 << 14, failure_probability=1e-6
    )
    assert float(tree.products) == pytest.approx(lam / 2 * math.sqrt(14) * u, rel=0.02)
    chunks = theory.probabilistic_error_bound(
        Accumulator(fmt, Rounding.SR, chunk=64), 64 * 64, failure_probability=1e-6
    )
    assert float(chunks.products) == pytest.approx(lam / 2 * math.sqrt(128) * u, rel=0.02)
    grid = Accumulator(FixedFormat(20, 4), Rounding.SR, random_bits=16)
    fixed_bound = theory.probabilistic_error_bound(grid, 400, failure_probability=1e-6)
    assert fixed_bound.products == 0
    assert float(fixed_bound.underflow) == pytest.approx((lam / 2 * 20 + 400 * 2.0**-16) / 16, rel=1e-6)
    # More outputs at once, and sums for which the worst case is smaller.
    more = theory.probabilistic_error_bound(Accumulator(fmt, Rounding.SR), k, failure_probability=1e-6, outputs=10**6)
    assert bound.products < more.products < 2 * bound.products
    single = Accumulator(fmt, Rounding.SR)
    assert theory.probabilistic_error_bound(single, 1, failure_probability=1e-6) == theory.error_bound(single, 1)
    assert theory.probabilistic_error_bound(Accumulator(fmt), 9, failure_probability=0.1).failure_probability == 0
    for options, sentence in (({"failure_probability": 0.0}, "between 0 and 1"), ({"outputs": 0}, "outputs = 0")):
        with pytest.raises(ValueError, match=sentence):
            theory.probabilistic_error_bound(single, 5, **{"failure_probability": 0.1, **options})


def test_gamma_tilde_bounds_products_of_random_factors():
    n, u = 14, 0.1
    factors = np.array(list(itertools.product((1 - u, 1 + u), repeat=n))).prod(axis=1)
    for lam in (0.5, 1.0, 2.0):
        assert (np.abs(factors - 1) > theory.gamma_tilde(n, u, lam)).mean() <= 2 * math.exp(-lam * lam / 2)
    with pytest.raises(ValueError, match="give u from 0 to below 1"):
        theory.gamma_tilde(3, 1.0, 1.0)


def test_rules_of_papers():
    assert theory.lba_accumulator_bias(12, 16) == 10  # the pair of arXiv 2401.14110
    assert theory.lba_accumulator_bias(12, 1) == 12
    assert theory.gradient_noise_threshold(1.0, 100) == pytest.approx(1 / math.sqrt(300))
    # The slope of the best step's progress in the noise s is steepest there, for a Hessian alike in all directions.
    s = np.linspace(0.01, 0.2, 200_001)
    progress = 1 / (1 + 100 * s**2)
    steepest = s[np.argmin(np.gradient(progress, s))]
    assert steepest == pytest.approx(theory.gradient_noise_threshold(1.0, 100), abs=1e-5)
    for call, sentence in (
        (lambda: theory.lba_accumulator_bias(12, 0), "chunk = 0"),
        (lambda: theory.lba_accumulator_bias(math.nan, 16), "product_bias = nan"),
        (lambda: theory.gradient_noise_threshold(1.0, 0), "dimension = 0"),
        (lambda: theory.gradient_noise_threshold(-1.0, 2), "gradient_norm = -1.0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()


def test_random_signs_reach_the_range_that_the_bias_rule_gives():
    rng = np.random.default_rng(2)
    sums = rng.choice([-1.0, 1.0], (100_000, 16)).sum(axis=1)
    assert sums.std() == pytest.approx(2.0 ** (12 - theory.lba_accumulator_bias(12, 16)), rel=0.01)
