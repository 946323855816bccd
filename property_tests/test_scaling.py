"""Laws of scales, of Smooth-SwiGLU and of stored tensors."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import FloatFormat, NanEncoding, Quantizer, Rounding, catalog
from numerics.properties import as_quantizer, quantizer_suite, verify
from numerics.scaling import (
    MXFP4_NEVER_CLIP,
    AdamStorage,
    DelayedScale,
    Storage,
    adam_start,
    best_change,
    best_rate,
    biased_error,
    biased_limit,
    current_scale,
    delayed_quantize,
    expected_change,
    fp8_adam,
    observe,
    product_operands,
    quantize,
    restore,
    scale_of,
    smooth_scale,
    smooth_swiglu,
    split_rounding,
    store,
    swish,
    unscale,
)

SHIFT = 5  # a scale of 2**5 is an exponent bias that is larger by 5
SCALED = FloatFormat(4, 3, 7 + SHIFT, infinities=False, nan=NanEncoding.NONE, name="e4m3 over 2**5")
STORED = FloatFormat(4, 3, infinities=False, nan=NanEncoding.NONE, name="e4m3 without a NaN")
FAR = 2.0**60  # infinities saturate in the suite and are refused by functions of tensors


def _delayed(x, words):
    """A tensor's quantization and the way back, by the scale that a step of amax 15 leaves: 480/15 = 2**5."""
    state = observe(DelayedScale(480.0, 3), np.float32([15.0, -1.0]))
    quantizer = Quantizer(STORED, Rounding.SR, random_bits=6)
    return unscale(delayed_quantize(np.clip(x, -FAR, FAR), quantizer, state, words=words)[0])


def _stored(x):
    """A moment of Adam as it is stored to nearest."""
    return unscale(store(np.clip(x, -FAR, FAR), Storage(Quantizer(STORED)), scale=2.0**SHIFT))


TestDelayed = quantizer_suite(as_quantizer(_delayed, fmt=SCALED, rounding=Rounding.SR, random_bits=6))
TestStoredMoment = quantizer_suite(as_quantizer(_stored, fmt=SCALED))


def _operand(place, side, fmt):
    """One operand of the three products of a layer whose other tensors do not matter, as a function of a matrix.

    Blocks of the forward x and the backward g lie along their rows; those of the update along columns, here turned.
    """
    rounding = split_rounding(fmt)

    def fn(x):
        x = x.reshape(-1, x.shape[-1])
        if (place, side) == (0, 0):
            other = np.zeros((x.shape[1], 1), x.dtype)
            return product_operands(x, other, np.zeros((len(x), 1), x.dtype), rounding, seed=1).forward[0]
        w = x.T if (place, side) == (0, 1) else x  # forward blocks of w lie along its columns, backward ones along rows
        zeros = np.zeros((1, w.shape[0]), x.dtype), np.zeros((1, w.shape[1]), x.dtype)
        operands = product_operands(zeros[0], w, zeros[1], rounding, seed=1)
        return operands.forward[1].T if side == 1 and place == 0 else operands.backward[1].T

    return as_quantizer(lambda x: fn(x).reshape(x.shape), fmt=fmt, name=f"operand {side} of product {place}")


@pytest.mark.sampled
@pytest.mark.parametrize("fmt", [catalog.NVFP4, MXFP4_NEVER_CLIP], ids=str)
@pytest.mark.parametrize(("place", "side"), [(0, 0), (0, 1), (1, 1)])
def test_operands_to_nearest_are_those_of_the_format(place, side, fmt):
    report = verify(_operand(place, side, fmt))
    assert report.ok, report


@pytest.mark.parametrize("fmt", [catalog.NVFP4, MXFP4_NEVER_CLIP], ids=str)
def test_stochastic_operands_draw_from_streams_of_their_own(fmt):
    """Each is what the format's quantizer makes along its axis of the words of its stream; all six differ in stream."""
    generator = np.random.default_rng(5)
    x, w, g = (generator.standard_normal(shape).astype(np.float32) for shape in ((35, 20), (20, 33), (35, 33)))
    found = product_operands(x, w, g, split_rounding(fmt), seed=9, stream=100)
    for operand, tensor, axis, stream in (
        (found.backward[0], g, 1, 102),
        (found.update[0].T, x, 0, 104),
        (found.update[1], g, 0, 105),
    ):
        drawn = Quantizer(fmt, Rounding.SR, axis=axis).quantize(tensor, seed=9, stream=stream)
        assert operand.tobytes() == drawn.tobytes()


@given(st.lists(st.floats(-100, 100, width=16), min_size=12, max_size=12), st.sampled_from([0, -1]), st.integers(0, 99))
def test_rounded_smooth_swiglu_is_one_rounding_of_the_quotient(values, axis, seed):
    linear = np.array(values, np.float32).reshape(4, 3)
    gate = linear[::-1].copy() / 16
    scale = smooth_scale(linear, axis=axis)
    for rounding in (Rounding.RNE, Rounding.SR):
        quantizer = Quantizer(catalog.E4M3, rounding)
        drawn = {"seed": seed} if rounding is Rounding.SR else {}
        found = smooth_swiglu(linear, gate, axis=axis, quantizer=quantizer, **drawn)
        wanted = quantizer.quantize(linear / scale * swish(gate), **drawn)
        assert (found.values == wanted).all() and (found.scale == scale).all()
        assert (np.abs(linear / scale) <= 1).all()


@given(
    st.lists(st.integers(-64, 64), min_size=1, max_size=6),
    st.sampled_from([catalog.E4M3, catalog.E5M2]),
    st.integers(-20, 20),
)
def test_flushed_moments_have_no_bias_and_the_variance_of_two_points(counts, fmt, exponent):
    """j/64 of the smallest number, over all words of 6 bits, under any power of two as scale."""
    least, scale = fmt.smallest_subnormal, 2.0**exponent
    x = np.array(counts) / 64 * least / scale
    words = np.broadcast_to(np.arange(64)[:, None], (64, x.size))
    stored = store(
        np.broadcast_to(x, words.shape), Storage(Quantizer(fmt), flush=True), scale=scale, words=words, random_bits=6
    )
    for column, value in zip(unscale(stored).T.tolist(), x.tolist(), strict=True):
        drawn = [Fraction(v) for v in column]
        mean = sum(drawn) / 64
        assert mean == Fraction(value)
        size, end = abs(Fraction(value)), Fraction(least) / Fraction(scale)
        assert sum((v - mean) ** 2 for v in drawn) / 64 == size * (end - size)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6), st.integers(0, 2**32))
def test_a_step_of_adam_stores_each_moment_once(values, seed):
    """The state after a step is what `store` makes of the moments computed in the dtype, by streams of their own."""
    g = np.array(values, np.float32)
    how = AdamStorage(Storage(Quantizer(catalog.E4M3), flush=True), Storage(Quantizer(catalog.E5M2, Rounding.SR)))
    state = fp8_adam(g, adam_start(np.ones_like(g), how), rate=0.01, storage=how, seed=seed, stream=7)
    m, v = np.float32(1 - 0.9) * g, np.float32(1 - 0.95) * (g * g)
    assert (state.first.values == store(m, how.first, seed=seed, stream=7).values).all()
    assert (state.second.values == store(v, how.second, seed=seed, stream=8).values).all()
    assert set(np.abs(state.first.values)) <= set(np.abs(Quantizer(catalog.E4M3).quantize(state.first.values)))


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
