"""Laws of clips, allocations, corrections and affine codes, for any numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import Rounding
from numerics.clipping import (
    SAWB,
    aciq_alpha,
    aciq_mse,
    affine,
    bias_correction,
    bin_allocation,
    bit_allocation,
    choose_distribution,
    dequantize,
    lambert_w0,
    sawb,
    scale,
)
from numerics.reference import affine as oracle

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda v: v if abs(v) > 1e-30 else 0.0)
SINGLES = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
ARRAYS = st.lists(NUMBERS, min_size=1, max_size=12).map(np.array) | st.lists(SINGLES, min_size=1, max_size=12).map(
    lambda values: np.array(values, np.float32)
)


@given(st.floats(0, 1e300))
def test_lambert_inverts_and_is_monotone(x):
    w = lambert_w0(x)
    assert lambert_w0(math.nextafter(x, math.inf)) >= w - 4 * math.ulp(w)
    assert w * math.exp(w) == pytest.approx(x, rel=1e-13 * (1 + w), abs=1e-320)


@given(st.integers(0, 64), st.sampled_from(["laplace", "gauss"]), st.floats(0.2, 5))
def test_no_other_clip_has_less_error_in_the_model(bits, distribution, factor):
    alpha = aciq_alpha(bits, distribution)
    assert aciq_mse(alpha, bits, distribution) <= aciq_mse(factor * alpha, bits, distribution) * (1 + 1e-12)


@given(ARRAYS, st.integers(-60, 60))
def test_estimates_do_not_see_order_and_scale_with_powers_of_two(x, exponent):
    other = np.ldexp(x[::-1], exponent).astype(x.dtype)
    unit = 2.0**exponent
    for distribution in ("laplace", "gauss"):
        assert scale(other, distribution) == unit * scale(x, distribution)
    assert choose_distribution(other) == choose_distribution(x)
    for bits in SAWB:
        assert sawb(other, bits) == unit * sawb(x, bits)
    assert scale(x) <= scale(x, "gauss") * (1 + 1e-14)


@given(ARRAYS, st.sampled_from(list(SAWB)))
def test_a_sawb_clip_is_positive_unless_all_is_zero(x, bits):
    clip = sawb(x, bits)
    assert clip > 0 if x.any() else clip == 0


@given(st.lists(st.floats(0, 1e9, allow_subnormal=False), min_size=1, max_size=12), st.floats(1, 1e6))
def test_bins_add_up_and_grow_with_the_clips(alphas, total):
    bins = bin_allocation(np.array(alphas), total)
    assert math.fsum(bins.tolist()) == pytest.approx(total, rel=1e-13)
    order = np.argsort(alphas)
    assert (np.diff(bins[order]) >= -1e-13 * total).all()


@given(
    st.lists(st.floats(0, 1e9, allow_subnormal=False), min_size=1, max_size=12),
    st.integers(0, 8),
    st.sampled_from(["round", "ceil"]),
)
def test_bits_are_in_range_monotone_and_never_further_than_the_first_round(alphas, bits, rounding):
    clips = np.array(alphas)
    found = bit_allocation(clips, bits, rounding=rounding)
    assert ((found >= 0) & (found <= 8)).all()
    assert (np.diff(found[np.argsort(clips, kind="stable")]) >= 0).all()
    first = bit_allocation(clips, bits, rounding=rounding, iterations=1)
    assert abs(found.mean() - bits) <= abs(first.mean() - bits)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=12))
def test_corrections_restore_the_mean(pairs):
    w, w_q = np.array(pairs).T.reshape(2, 1, -1)
    found = bias_correction(w, w_q)[0]
    mean = sum(map(Fraction, w[0].tolist())) / w.size
    size = max(1e-300, *np.abs(w[0]), *np.abs(found))
    if np.ptp(w_q) > 1e-9 * np.abs(w_q).max():
        assert abs(sum(map(Fraction, found.tolist())) / w.size - mean) <= Fraction(1e-6) * Fraction(size)
        assert found.std() == pytest.approx(w[0].std(), rel=1e-6, abs=1e-9 * size)


@given(ARRAYS, st.integers(1, 20))
def test_codes_are_those_of_the_oracle_and_zero_is_one_of_them(x, bits):
    x = np.append(x, x.dtype.type(0))
    codes, step, zero_point = affine(x, bits)
    lo, hi = float(x.min()), float(x.max())
    assert (step, zero_point) == oracle.parameters(lo, hi, bits)
    assert codes.tolist() == [oracle.code(v, lo, hi, bits) for v in x.tolist()]
    assert codes[-1] == zero_point
    back = dequantize(codes, step, zero_point)
    assert back[-1] == 0
    assert np.abs(back - x).max() <= step / 2 * (1 + 2.0**-28)
    again = affine(back, bits, lo=lo, hi=hi)
    assert (again[0] == codes).all()


@given(ARRAYS, st.integers(1, 12), st.integers(1, 32), st.data())
def test_stochastic_codes_are_those_of_the_oracle(x, bits, random_bits, data):
    words = np.array([data.draw(st.integers(0, 2**random_bits - 1)) for _ in x])
    codes = affine(x, bits, rounding=Rounding.SR, random_bits=random_bits, words=words)[0]
    lo, hi = min(0.0, float(x.min())), max(0.0, float(x.max()))
    each = zip(x.tolist(), words.tolist(), strict=True)
    assert codes.tolist() == [oracle.code(v, lo, hi, bits, word=w, random_bits=random_bits) for v, w in each]
