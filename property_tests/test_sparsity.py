"""The published masks put to the proof by the public suite, and against the oracle on drawn blocks and words."""

from fractions import Fraction
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import sparsity
from numerics.properties import as_mask, mask_suite, strategies, verify
from numerics.reference import masks

BITS = 10
PATTERNS = [(1, 2), (1, 4), (2, 4), (2, 8), (4, 8)]
DRAWS = [(n, m, "exact") for n, m in PATTERNS]
DRAWS += [(2, m, method) for method in ("approximate", "sequential") for m in (4, 8)]


def drawn(n, m, method="exact", dtype=np.float64, bits=BITS):
    """The estimator as a function of blocks and words."""

    def mvue(x, words):
        return sparsity.mvue(x, n, m, method=method, words=words, random_bits=bits)

    return as_mask(mvue, n, m, method=method, random_bits=bits, dtype=dtype)


def largest(n, m, dtype=np.float64):
    return as_mask(lambda x: sparsity.top_n(x, n, m), n, m, kind="top_n", dtype=dtype, name="top_n")


def from_seeds(method):
    seeds = count()
    return as_mask(lambda x: sparsity.mvue(x, method=method, seed=next(seeds)), method=method, name="mvue of seeds")


TestTwoOfFour = mask_suite(drawn(2, 4, dtype=np.float32))
TestApproximate = mask_suite(drawn(2, 4, "approximate"))
TestSequential = mask_suite(drawn(2, 4, "sequential"))
TestLargest = mask_suite(largest(2, 4, np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_the_largest(n, m, dtype):
    report = verify(largest(n, m, dtype))
    assert report.ok, report


@pytest.mark.parametrize(("n", "m", "method"), DRAWS)
def test_the_estimators(n, m, method):
    report = verify(drawn(n, m, method, np.float32 if m == 8 else np.float64, bits=8))
    assert report.ok, report


@pytest.mark.parametrize("method", ["exact", "approximate", "sequential"])
def test_draws_from_seeds(method):
    report = verify(from_seeds(method))
    assert report.ok, report


@pytest.mark.parametrize(("n", "m", "method"), [*DRAWS, (3, 5, "exact"), (2, 3, "approximate"), (2, 3, "sequential")])
@given(data=st.data())
def test_the_oracle_at_any_word(n, m, method, data):
    x = data.draw(strategies.nm_blocks(m, dtype=data.draw(st.sampled_from([np.float32, np.float64]))))
    bits = data.draw(st.sampled_from([1, 3, 8, 16, 31, 32]))
    block = x[0].tolist()
    law = masks.inclusion_probabilities(block, n) if method == "exact" else masks.approximate_probabilities(block)
    if method == "sequential" and sum(1 for v in block if v) > 2:
        law = list(masks.pair_probabilities(block).values())
    telling = masks.deciding_words(law, bits)
    words = np.array([data.draw(st.sampled_from(telling) | st.integers(0, 2**bits - 1)) for _ in x])
    found = sparsity.mvue(x, n, m, method=method, words=words[:, None], random_bits=bits)
    for block, word, row in zip(x.tolist(), words.tolist(), found, strict=True):
        how = {} if method == "exact" else {method: True}
        wanted = masks.estimate(block, n, word, bits, **how)
        assert [bool(v) for v in row] == [bool(v) for v in wanted]
        for value, exact in zip(row, wanted, strict=True):
            half = Fraction(float(np.spacing(abs(value)))) / 2 * (1 if method == "exact" else 6 * m)
            assert abs(Fraction(float(value)) - exact) <= half


@given(x=strategies.nm_blocks(4), order=st.permutations(range(4)), power=st.integers(-200, 200))
def test_laws_do_not_see_order_sign_or_scale(x, order, power):
    for method in ("exact", "approximate"):
        p, v = (law(x, method=method) for law in (sparsity.inclusion_probabilities, sparsity.variance))
        other = -x[:, order] * 2.0**power
        moved = sparsity.inclusion_probabilities(other, method=method)
        np.testing.assert_allclose(moved, p[:, order], rtol=1e-14)
        scale = (x**2).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(
            sparsity.variance(other, method=method) * 2.0 ** (-2 * power) / np.maximum(scale, 1e-30),
            v / np.maximum(scale, 1e-30),
            atol=1e-13,
        )
        assert np.allclose(p.sum(axis=1), np.minimum(2, np.count_nonzero(x, axis=1)))


@given(x=strategies.nm_blocks(8, max_blocks=8), n=st.integers(1, 4))
def test_transposable_masks(x, n):
    tile = np.zeros((8, 8))
    tile[: len(x)] = x
    exact, greedy = (sparsity.transposable_mask(tile, n, 8, method=method) for method in ("exact", "greedy"))
    assert (exact.sum(axis=0) == n).all() and (exact.sum(axis=1) == n).all()
    assert (greedy.sum(axis=0) <= n).all() and (greedy.sum(axis=1) <= n).all()
    sums = [sum(map(Fraction, abs(t)[mask].tolist())) for t, mask in (
        (tile, exact), (tile.T, sparsity.transposable_mask(tile.T, n, 8)), (tile, greedy)
    )]  # fmt: skip
    assert sums[0] == sums[1]
    lost = sum(map(Fraction, abs(tile).ravel().tolist()))
    assert lost - sums[2] <= 2 * (lost - sums[0])
