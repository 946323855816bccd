"""Laws of scales, of Smooth-SwiGLU and of stored tensors."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import Quantizer, catalog
from numerics.scaling import (
    DelayedScale,
    Storage,
    best_change,
    best_rate,
    biased_error,
    biased_limit,
    current_scale,
    expected_change,
    observe,
    quantize,
    restore,
    scale_of,
    smooth_swiglu,
    store,
    swish,
    unscale,
)

SIZES = st.floats(2.0**-100, 2.0**100)
LARGEST = st.sampled_from([448.0, 240.0, 57344.0, 65504.0, 6.0, 1.0])
TENSORS = st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=8).map(np.array)
RATIONALS = st.fractions(Fraction(1, 20), 20, max_denominator=50)


@given(SIZES, LARGEST)
def test_the_scale_is_the_largest_power_that_fits(size, largest):
    scale = Fraction(scale_of(size, largest))
    assert scale * Fraction(size) <= largest < 2 * scale * Fraction(size)
    assert scale_of(2 * size, largest) == float(scale / 2)
    plain = Fraction(scale_of(size, largest, power_of_two=False))
    assert abs(plain * Fraction(size) / Fraction(largest) - 1) <= Fraction(1, 2**23)
    assert scale <= plain * (1 + Fraction(1, 2**23)) < 2 * scale * (1 + Fraction(1, 2**22))


@given(st.lists(st.floats(0, 1e9, width=32), max_size=12), st.integers(1, 5))
def test_a_delayed_scale_knows_the_last_steps_alone(sizes, length):
    state = DelayedScale(448.0, length)
    for count, size in enumerate(sizes):
        seen = sizes[max(0, count - length) : count]
        assert state.scale == scale_of(max(seen, default=0.0), 448.0)
        state = observe(state, np.array([size, -size / 2]))
    assert state.history == tuple(sizes[-length:])


@given(TENSORS)
def test_quantizing_by_a_power_of_two_is_quantizing_and_scaling(x):
    quantizer = Quantizer(catalog.E4M3)
    scale = current_scale(x, 448)
    stored = quantize(x, quantizer, scale=scale)
    assert (quantizer.quantize(stored.values) == stored.values).all()
    back = unscale(stored)
    assert (back * scale == stored.values).all()
    assert np.abs(back).max() <= 2 * np.abs(x).max()
    # Nothing overflows: the error is half an ulp of E4M3, or half its smallest number.
    assert (np.abs(back - x) <= np.maximum(np.abs(x) / 16, 2.0**-10 / scale)).all()
    assert (quantize(-x, quantizer, scale=scale).values == -stored.values).all()
    doubled = quantize(2 * x, quantizer, scale=current_scale(2 * x, 448))
    if scale > 2.0**-126:
        assert (doubled.values == stored.values).all() or scale == 2.0**127 or not x.any()


@given(TENSORS, st.booleans())
def test_storing_what_was_stored_changes_nothing(x, power_of_two):
    how = Storage(Quantizer(catalog.BINARY16), power_of_two=True)
    once = store(x, how)
    assert (unscale(store(unscale(once), how, scale=once.scale)) == unscale(once)).all()
    # By a plain scale the largest magnitude is kept to a rounding of the dtype.
    kept = unscale(store(x, Storage(Quantizer(catalog.BINARY16), power_of_two=power_of_two)))
    if abs(x).max() >= 2.0**-80:
        assert np.abs(kept).max() == pytest.approx(np.abs(x).max(), rel=2.0**-11 + 1e-6)


@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=16), min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from([0, -1, (0, 1)]),
    st.integers(-8, 8),
)
def test_smoothing_is_the_identity(rows, axis, exponent):
    linear = np.array(rows)
    gate = linear[::-1] / 1024
    smoothed = smooth_swiglu(linear, gate, axis=axis)
    assert (restore(smoothed) == linear * swish(gate)).all()
    moved = smooth_swiglu(np.ldexp(linear, exponent), gate, axis=axis)
    # The scale takes up powers of two whole, except where all are 0.
    assert (moved.values == smoothed.values).all()
    assert (np.abs(linear) <= smoothed.scale).all()


@given(RATIONALS, RATIONALS, RATIONALS, RATIONALS, RATIONALS)
def test_no_rate_is_better_than_the_best(g2, curvature, trace, noise, rate):
    best = best_change(g2, curvature, trace, noise)
    assert expected_change(best_rate(g2, curvature, trace, noise), g2, curvature, trace, noise) == best
    assert best <= expected_change(rate, g2, curvature, trace, noise)
    assert best < best_change(g2, curvature, trace, noise + 1) < 0


@given(RATIONALS, RATIONALS, RATIONALS, st.integers(0, 6))
def test_descent_with_a_bias(start, rate, bias, steps):
    w = start
    for _ in range(steps):
        w -= rate * (w * 3 + bias)
    assert w == biased_error(start, steps, rate, bias, Fraction(3))
    limit, loss = biased_limit(bias, Fraction(3))
    assert biased_error(limit, steps, rate, bias, Fraction(3)) == limit and loss == 3 * limit**2 / 2
