"""Laws of norms over a batch, of their constants and of bounded weights."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics.normalization import (
    bounded_weight_norm,
    cosine_bound,
    expected_max_magnitude,
    expected_range,
    expected_top_mean,
    l1_batch_norm,
    l2_batch_norm,
    linf_batch_norm,
    range_batch_norm,
    topk_batch_norm,
)

NORMS = pytest.mark.parametrize(
    "norm",
    [l2_batch_norm, l1_batch_norm, linf_batch_norm, range_batch_norm, lambda x: topk_batch_norm(x, k=2)],
    ids=["l2", "l1", "linf", "range", "topk"],
)
NUMBERS = st.integers(-(2**20), 2**20).map(lambda k: k / 64)
COLUMNS = st.lists(NUMBERS, min_size=2, max_size=10).map(np.array)
COUNTS = st.integers(2, 2**40)


@NORMS
@given(COLUMNS, st.integers(-40, 40), st.integers(-1000, 1000))
def test_scale_and_shift_change_nothing(norm, x, exponent, shift):
    found = norm(x)
    # The mean of x + shift is rounded where that of x is not, unless the count is a power of two.
    scaled = norm(np.ldexp(x, exponent))
    assert (scaled.values == found.values).all()
    assert (scaled.scale == np.ldexp(found.scale, exponent)).all()
    assert (norm(-x).values == -found.values).all()
    assert norm(x + shift).values == pytest.approx(found.values, rel=1e-6, abs=1e-6)
    assert (norm(x.astype(np.float32)).values == found.values.astype(np.float32)).all()


@NORMS
@given(COLUMNS, st.randoms(use_true_random=False))
def test_order_does_not_matter(norm, x, random):
    order = list(range(x.size))
    random.shuffle(order)
    assert (norm(x[order]).values == norm(x).values[order]).all()


@NORMS
@given(COLUMNS, COLUMNS)
def test_channels_are_independent(norm, x, y):
    n = min(x.size, y.size)
    both = norm(np.stack([x[:n], y[:n]], axis=1)).values
    assert (both[:, 0] == norm(x[:n]).values).all()
    assert (both[:, 1] == norm(y[:n]).values).all()


@NORMS
@given(COLUMNS)
def test_the_mean_is_correctly_rounded_and_a_constant_gives_zeros(norm, x):
    found = norm(x)
    assert found.mean[0] == float(sum(map(Fraction, x.tolist())) / x.size)
    assert (found.scale[0] == 0) == (np.ptp(x) == 0)
    assert not norm(np.full(x.size, x[0] / 3)).values.any()


@given(COUNTS, st.integers(1, 5))
def test_expectations_are_ordered(n, k):
    largest, spread = expected_max_magnitude(n), expected_range(n)
    assert largest <= spread * (1 + 1e-13) <= 2.1 * largest  # equal for n = 2
    assert expected_range(n + 1 + n // 100) > spread
    assert expected_top_mean(n, min(k, n)) <= largest * (1 + 1e-11)
    # The bound of the union of n two-sided tails.
    assert largest <= math.sqrt(2 * math.log(2 * n))


@given(st.integers(0, 24), COUNTS)
def test_the_sharp_bound_is_sharper(bits, n):
    assert 0 < cosine_bound(bits, n) <= cosine_bound(bits, n, sharp=True) <= 1
    assert cosine_bound(bits, n) <= cosine_bound(bits + 1, n)
    assert cosine_bound(bits, n) >= cosine_bound(bits, n + 1)


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5), st.floats(0.01, 100))
def test_channels_of_bounded_weights_have_the_norm(rows, rho):
    v = np.array(rows)
    w = bounded_weight_norm(v, rho)
    for given_row, row in zip(v, w, strict=True):
        assert math.hypot(*row) == pytest.approx(rho if given_row.any() else 0, rel=1e-14)
    assert bounded_weight_norm(w, rho) == pytest.approx(w, rel=1e-14)
