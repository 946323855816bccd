"""Scales against exact rationals, Smooth-SwiGLU bit for bit, stored moments by enumeration."""

import math
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from numerics import Overflow, Quantizer, Rounding, catalog, scaling
from numerics.reference.floats import round_exact
from numerics.scaling import (
    FP8_ADAM,
    GAUDI2_E4M3,
    AdamStorage,
    DelayedScale,
    Scaled,
    Smoothed,
    Storage,
    adam_start,
    amax,
    current_scale,
    delayed_quantize,
    fp8_adam,
    observe,
    restore,
    scale_of,
    smooth_scale,
    smooth_swiglu,
    smooth_swiglu_gradient,
    store,
    swish,
    unscale,
)

RANDOM = np.random.default_rng(5)
E4M3, E5M2 = Quantizer(catalog.E4M3), Quantizer(catalog.E5M2)
SR8 = Quantizer(catalog.E4M3, Rounding.SR, random_bits=8)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_power_of_two_scales():
    for largest in (448.0, 240.0, 57344.0, 6.0, 1.0, 65504.0):
        for size in (1.0, 240.0, math.nextafter(240.0, 0), math.nextafter(240.0, 999), 448.0, 3e-9, 1e30, 2.0**-100):
            scale = Fraction(scale_of(size, largest))
            assert math.frexp(scale)[0] == 0.5
            assert Fraction(largest) / 2 < scale * Fraction(size) <= Fraction(largest)


def test_published_scales():
    assert [scale_of(1.0, top) for top in (448, 240, 57344)] == [256, 128, 32768]
    assert scale_of(0.0, 448) == scale_of(0.0, 448, power_of_two=False) == 1
    assert (scale_of(448.0, 448), scale_of(449.0, 448)) == (1, 0.5)
    assert scale_of(3.0, 448, power_of_two=False) == float(np.float32(448 / 3))
    # The ends of float32, for arrays of float64 too.
    assert (scale_of(1e-200, 448), scale_of(1e200, 448)) == (2.0**127, 2.0**-126)
    assert scale_of(5e-324, 448, power_of_two=False) == float(np.finfo(np.float32).max)
    assert scale_of(1e300, 448, power_of_two=False) == 2.0**-126
    assert (GAUDI2_E4M3.max, catalog.E4M3.max, catalog.E5M2.max) == (240, 448, 57344)


@DTYPES
def test_scaled_values_are_rounded_once(dtype):
    x = (RANDOM.standard_normal(400) * 10.0 ** RANDOM.integers(-8, 6, 400)).astype(dtype)
    for quantizer, top in ((E4M3, 448), (Quantizer(GAUDI2_E4M3), 240), (E5M2, 57344)):
        scale = current_scale(x, top)
        stored = scaling.quantize(x, quantizer, scale=scale)
        wanted = [
            round_exact(Fraction(float(v)) * Fraction(scale), quantizer.fmt, Rounding.RNE, Overflow.SATURATE) for v in x
        ]
        assert stored.values.dtype == dtype and (stored.values == wanted).all()
        assert np.abs(stored.values).max() > top / 2.2
        back = unscale(stored)
        assert back.dtype == dtype
        assert all(
            Fraction(float(b)) * Fraction(scale) == Fraction(float(v)) for b, v in zip(back, wanted, strict=True)
        )
        # Exact: quantizing again changes nothing.
        assert (scaling.quantize(back, quantizer, scale=scale).values == stored.values).all()


def test_a_plain_scale_rounds_twice_and_reaches_the_top():
    x = np.float32([3.0, -1.0, 0.7])
    scale = current_scale(x, 448, power_of_two=False)
    stored = scaling.quantize(x, E4M3, scale=scale)
    assert stored.values[0] == 448
    assert unscale(stored)[0] == pytest.approx(3.0, rel=2e-7)


def test_stochastic_scaled_values_have_no_bias():
    x = np.full(256, 0.3)
    stored = scaling.quantize(x, SR8, scale=scale_of(0.3, 448), words=np.arange(256))
    frac = Fraction(0.3) * 1024 / 32  # in units of the step, 32 between 256 and 448
    steps = math.floor(frac)
    up = math.floor((frac - steps) * 256)
    assert sorted(set(stored.values)) == [steps * 32, steps * 32 + 32]
    assert (stored.values == steps * 32 + 32).sum() == up


def test_delayed_scaling_step_by_step():
    state = DelayedScale(448.0, 3)
    assert state.scale == 1
    seen = []
    for size in (1.0, 4.0, 0.5, 0.25, 0.125, 0.0, 0.0, 0.0, 2.0):
        stored, state = delayed_quantize(np.array([size, -size / 2]), E4M3, state)
        seen.append(stored.scale)
    # 448/1 -> 256, 448/4 -> 64 while 4 is among the last three.
    assert seen == [1, 256, 64, 64, 64, 512, 1024, 2048, 1]
    assert state.history == (0.0, 0.0, 2.0)
    assert DelayedScale(448.0, 3, False, history=(3.0,)).scale == float(np.float32(448 / 3))
    assert hash(state) == hash(observe(DelayedScale(448.0, 3, history=(1.0, 0.0, 0.0)), np.array([2.0])))


def test_growth_between_steps_overflows_once():
    state = observe(DelayedScale(448.0, 4), np.array([1.0]))
    grown = np.array([3.0, 0.1])
    clipped, following = delayed_quantize(grown, E4M3, state)
    assert (clipped.values[0], unscale(clipped)[0]) == (448, 1.75)  # of 768
    assert np.isnan(Quantizer(catalog.E4M3, overflow=Overflow.IEEE).quantize(grown * 256)[0])
    with pytest.raises(OverflowError, match=r"768\.0 at element 0 is beyond 448"):
        delayed_quantize(grown, Quantizer(catalog.E4M3, overflow=Overflow.ERROR), state)
    fine, _ = delayed_quantize(grown, E4M3, following)
    assert unscale(fine)[0] == 3.0
    # The current scale never overflows; the delayed one by 240 does in a format that ends there.
    assert unscale(scaling.quantize(grown, E4M3, scale=current_scale(grown, 448)))[0] == 3.0
    gaudi, _ = delayed_quantize(grown, Quantizer(GAUDI2_E4M3), replace(state, largest=240.0))
    assert gaudi.values[0] == 240


def test_products_beyond_the_dtype_count_as_its_largest_number():
    x = np.float32([3e38, -3e38])
    assert (scaling.quantize(x, E4M3, scale=4.0).values == [448, -448]).all()
    assert (store(x, Storage(E4M3), scale=4.0).values == [448, -448]).all()


def test_zeros_and_empty_arrays():
    for x in (np.zeros(3, np.float32), np.zeros((0, 4))):
        stored = scaling.quantize(x, E4M3, scale=current_scale(x, 448))
        assert stored.scale == 1 and (stored.values == x).all() and (unscale(stored) == x).all()
        assert restore(smooth_swiglu(x, x, axis=-1)).shape == x.shape
    assert amax(np.zeros(0)) == 0


@DTYPES
@pytest.mark.parametrize("axis", [0, -1, (0, 1)], ids=str)
def test_smooth_swiglu_is_the_identity_bit_for_bit(dtype, axis):
    linear = (RANDOM.standard_normal((7, 5)) * 2.0 ** RANDOM.integers(-9, 9, (7, 5))).astype(dtype)
    gate = (3 * RANDOM.standard_normal((7, 5))).astype(dtype)
    linear[:, 2] = 0
    smoothed = smooth_swiglu(linear, gate, axis=axis)
    assert smoothed.values.dtype == smoothed.scale.dtype == dtype
    assert smoothed.scale.shape == {0: (1, 5), -1: (7, 1), (0, 1): (1, 1)}[axis]
    assert (np.frexp(smoothed.scale)[0] == 0.5).all()
    assert (restore(smoothed) == linear * swish(gate)).all()
    peaks = np.abs(linear / smoothed.scale).max(axis=axis)
    assert ((peaks > 0.5) & (peaks <= 1) | (peaks == 0)).all()
    # A scale of the step before: as exact, with another range.
    late = smooth_swiglu(linear, gate, axis=axis, scale=smoothed.scale * 4)
    assert (restore(late) == linear * swish(gate)).all() and (late.values * 4 == smoothed.values).all()
    plain = smooth_swiglu(linear, gate, axis=axis, power_of_two=False)
    assert np.abs(linear / plain.scale).max() == 1
    assert restore(plain) == pytest.approx(linear * swish(gate), rel=float(4 * np.finfo(dtype).eps))


def test_smooth_scales():
    x = np.float32([[4.0, 4.5, 0.0, 3e38, 1e-45], [-2.0, 1.0, 0.0, 0.0, 0.0]])
    found = smooth_scale(x, axis=0)
    assert found.dtype == np.float32 and found.tolist() == [[4, 8, 1, 2.0**127, 2.0**-126]]
    assert smooth_scale(x[:, :2], axis=-1).tolist() == [[8], [2]]
    assert smooth_scale(x[:, :3], axis=0, power_of_two=False).tolist() == [[4, 4.5, 1]]


def test_smooth_swiglu_tames_an_outlier_channel():
    linear = RANDOM.standard_normal((16, 4))
    gate = RANDOM.standard_normal((16, 4)) + 1
    linear[:, 1] *= 2.0**18  # w1 aligned with w2
    exact = linear * swish(gate)
    tensor = unscale(scaling.quantize(exact, E4M3, scale=current_scale(exact, 448)))
    smoothed = smooth_swiglu(linear, gate, axis=0)
    scale = current_scale(smoothed.values, 448)
    channel = unscale(scaling.quantize(smoothed.values, E4M3, scale=scale)) * smoothed.scale
    others = np.array([0, 2, 3])
    error = [np.abs(found - exact)[:, others].mean() / np.abs(exact[:, others]).mean() for found in (tensor, channel)]
    assert error[0] > 5 * error[1] and error[1] < 0.04


def test_smooth_per_token_commutes_with_the_next_layer():
    linear, gate, w = (RANDOM.integers(-8, 9, shape) / 4 for shape in ((6, 5), (6, 5), (5, 3)))
    per_token = smooth_swiglu(linear, gate, axis=-1)
    # Powers of two change no bit of any product or sum.
    assert (per_token.values @ w * per_token.scale == restore(per_token) @ w).all()
    per_channel = smooth_swiglu(linear, gate, axis=0)
    assert (per_channel.values @ (w * per_channel.scale.T) == restore(per_channel) @ w).all()


def test_swish():
    x = np.array([0.0, 1.0, -1.0, 800.0, -800.0, 40.0, -0.0])
    e = math.e
    assert swish(x) == pytest.approx([0, e / (1 + e), -1 / (1 + e), 800, 0, 40, 0], rel=1e-15)
    assert swish(np.float32([1.5])).dtype == np.float32


def test_swish_keeps_its_bound_where_the_exponential_is_subnormal():
    places = [RANDOM.uniform(low, high, 300) for low, high in ((-760, -690), (-700, 0), (-40, 0), (-1, 1), (0, 800))]
    x = np.concatenate([*places, -np.ldexp(RANDOM.random(300), RANDOM.integers(-1074, 10, 300))])
    found = swish(x)
    with localcontext(prec=60):
        wanted = [Decimal(v) / (1 + Decimal(-v).exp()) for v in x.tolist()]
        worst = max(
            abs(Decimal(y) - exact) / Decimal(ulp)
            for y, exact, ulp in zip(found.tolist(), wanted, np.spacing(np.abs(found)).tolist(), strict=True)
        )
    assert worst <= 4


def test_smooth_gradients():
    linear, gate = RANDOM.standard_normal((4, 3)), RANDOM.standard_normal((4, 3))
    upstream = RANDOM.standard_normal((4, 3))
    smoothed = smooth_swiglu(linear, gate, axis=0, power_of_two=False)
    h = 1e-6
    for detach in (True, False):
        of_linear, of_gate = smooth_swiglu_gradient(linear, gate, smoothed, upstream, axis=0, detach=detach)
        # Without rounding nothing flows through the scale.
        assert of_linear == pytest.approx(upstream * swish(gate), rel=1e-12, abs=1e-14)
        difference = (swish(gate + h) - swish(gate - h)) / (2 * h)
        assert of_gate == pytest.approx(upstream * linear * difference, rel=1e-7, abs=1e-9)
    # With it: values * scale has the derivative values along the scale, less that of the unrounded ones.
    rounded = smooth_swiglu(linear, gate, axis=0, power_of_two=False, quantizer=E4M3)
    found, _ = smooth_swiglu_gradient(linear, gate, rounded, upstream, axis=0, detach=False)
    kept, _ = smooth_swiglu_gradient(linear, gate, rounded, upstream, axis=0)
    through = (upstream * (rounded.values - linear / rounded.scale * swish(gate))).sum(axis=0)
    for channel in range(3):
        top = int(np.abs(linear[:, channel]).argmax())
        wanted = kept[:, channel].copy()
        wanted[top] += np.sign(linear[top, channel]) * through[channel]
        assert found[:, channel] == pytest.approx(wanted, rel=1e-12)
    tokens, _ = smooth_swiglu_gradient(
        linear, gate, smooth_swiglu(linear, gate, axis=-1, power_of_two=False, quantizer=E4M3), upstream,
        axis=-1, detach=False,
    )  # fmt: skip
    assert ((tokens != upstream * swish(gate)).sum(axis=1) >= 1).all()


def test_stochastic_flush_by_enumeration():
    for fmt, least in ((catalog.E4M3, 2.0**-9), (catalog.E5M2, 2.0**-16)):
        assert fmt.smallest_subnormal == least
        how = Storage(Quantizer(fmt), flush=True)
        for t in (0.3 * least, -0.75 * least, 0.999 * least, 0.0):
            x = np.full(256, t)
            stored = store(x, how, scale=1.0, words=np.arange(256), random_bits=8)
            assert set(np.abs(stored.values)) <= {0.0, least}
            assert (stored.values != 0).sum() == math.floor(abs(Fraction(t)) / Fraction(least) * 256)
            assert (np.signbit(stored.values) == np.signbit(x)).all()
        # Above it rounding is the quantizer's, and no word matters.
        x = least * np.array([1.0, 1.4, 1.5, -2.6, 1000.0])
        for words in (np.zeros(5, int), np.full(5, 255)):
            found = store(x, how, scale=1.0, words=words, random_bits=8).values
            assert (found == Quantizer(fmt).quantize(x)).all()
    plain = store(np.array([0.3 * 2.0**-9]), Storage(E4M3), scale=1.0)
    assert plain.values[0] == 0


def adam_oracle(theta, gradients, rate, beta1, beta2, epsilon, decay, storage):
    """Adam on one tensor in float64, each tensor scaled, rounded by the oracle and unscaled in every step."""

    def kept(values, how):
        top = max(map(abs, values))
        scale = float(np.float32(how.quantizer.fmt.max / top)) if top else 1.0
        fmt = how.quantizer.fmt
        return [round_exact(Fraction(v * scale), fmt, Rounding.RNE, Overflow.SATURATE) / scale for v in values]

    theta, m, v = kept(theta, storage.master), [0.0] * len(theta), [0.0] * len(theta)
    for t, g in enumerate(gradients, 1):
        m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
        v = [beta2 * a + (1 - beta2) * (b * b) for a, b in zip(v, g, strict=True)]
        moves = [(a / (1 - beta1**t)) / (math.sqrt(b / (1 - beta2**t)) + epsilon) for a, b in zip(m, v, strict=True)]
        theta = [w - rate * (move + decay * w) for w, move in zip(theta, moves, strict=True)]
        m, v, theta = kept(m, storage.first), kept(v, storage.second), kept(theta, storage.master)
    return theta, m, v


def test_adam_against_the_oracle():
    theta = RANDOM.standard_normal(6)
    gradients = RANDOM.standard_normal((5, 6)) * np.array([1, 1e-2, 3, 1e-4, 0.5, 10])
    state = adam_start(theta)
    for g in gradients:
        state = fp8_adam(g, state, rate=0.01, beta1=0.9, beta2=0.95, epsilon=1e-8, weight_decay=0.1)
    wanted = adam_oracle(theta.tolist(), gradients.tolist(), 0.01, 0.9, 0.95, 1e-8, 0.1, FP8_ADAM)
    found = [unscale(part).tolist() for part in (state.master, state.first, state.second)]
    assert found == [list(map(float, part)) for part in wanted]
    assert state.steps == 5
    # Everything stored is a number of its format.
    for part, quantizer in ((state.master, Quantizer(catalog.BINARY16)), (state.first, E4M3), (state.second, E5M2)):
        assert (quantizer.quantize(part.values) == part.values).all()


def test_adam_at_random():
    theta, g = RANDOM.standard_normal((2, 3, 4))
    how = AdamStorage(Storage(E4M3, flush=True), Storage(E5M2, flush=True))
    start = adam_start(theta, how)
    g = g * 2.0 ** -RANDOM.integers(0, 22, g.shape)  # some of it underflows
    one, two, other = (fp8_adam(g, start, rate=0.1, storage=how, seed=s) for s in (7, 7, 8))
    assert (one.first.values == two.first.values).all() and (one.first.values != other.first.values).any()
    how = replace(how, master=Storage(Quantizer(catalog.BINARY16, Rounding.SR)))
    start = adam_start(theta, how, words=RANDOM.integers(0, 2**32, theta.shape))
    words = RANDOM.integers(0, 2**32, (3, 3, 4))
    given = fp8_adam(g, start, rate=0.1, storage=how, words=words)
    again = fp8_adam(g, start, rate=0.1, storage=how, words=words, seed=None)
    assert (given.second.values == again.second.values).all()
    narrow = fp8_adam(g.astype(np.float32), adam_start(theta.astype(np.float32)), rate=0.1)
    assert all(part.values.dtype == np.float32 for part in narrow[:3])
    # The state that came in is unchanged, and a gradient of zeros moves nothing but the moments.
    assert not start.first.values.any() and start.steps == 0
    still = fp8_adam(np.zeros_like(g), adam_start(theta), rate=0.1, epsilon=0.0)
    assert (unscale(still.master) == unscale(adam_start(theta).master)).all()


def test_the_second_moment_needs_the_range_of_e5m2():
    g = np.array([1.0, 2.0**-11])
    for quantizer, kept in ((E4M3, False), (E5M2, True)):
        how = replace(FP8_ADAM, second=Storage(quantizer))
        state = fp8_adam(g, adam_start(np.zeros(2), how), rate=0.1, storage=how)
        assert bool(unscale(state.second)[1] > 0) is kept
        after = fp8_adam(g, state, rate=0.1, storage=how)
        moved = abs(unscale(after.master)[1] - unscale(state.master)[1]) / 0.1
        # Of a constant gradient the weight should move by the rate; where v was lost it has only the last square.
        assert moved == pytest.approx(1 if kept else math.sqrt(1.95), rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: amax(np.array([1.0, math.nan])), "x has nan at element 1"),
        (lambda: scale_of(-1.0, 448), "amax = -1.0"),
        (lambda: scale_of(math.inf, 448), "amax = inf"),
        (lambda: scale_of(1.0, 0.0), "largest = 0.0: give the largest number of the format"),
        (lambda: DelayedScale(448.0, 0), "length = 0"),
        (lambda: DelayedScale(448.0, 1, history=(1.0, 2.0)), "history of 2 steps, length = 1"),
        (lambda: DelayedScale(448.0, 2, history=(math.nan,)), "amax = nan"),
        (lambda: DelayedScale(-448.0), "largest = -448.0"),
        (lambda: scaling.quantize(np.ones(2), E4M3, scale=0.0), "scale = 0.0"),
        (lambda: scaling.quantize(np.ones(2), SR8, scale=1.0), "SR needs random words"),
        (lambda: unscale(Scaled(np.float32([3e38]), 0.25)), "over the scale 0.25 is beyond float32"),
        (lambda: unscale(Scaled(np.ones(1), math.inf)), "scale = inf"),
        (lambda: smooth_swiglu(np.ones((2, 2)), np.ones(2)), "gate float64 \\(2,\\): give one shape"),
        (lambda: smooth_swiglu(np.ones((2, 2)), np.ones((2, 2)), axis=2), "axis = 2"),
        (lambda: smooth_swiglu(np.ones((2, 3)), np.ones((2, 3)), scale=np.ones(3)), "scale of shape \\(3,\\)"),
        (lambda: smooth_swiglu(np.ones((2, 1)), np.ones((2, 1)), scale=np.zeros((1, 1))), "finite numbers above 0"),
        (lambda: smooth_swiglu(np.full((2, 1), 1e300), np.full((2, 1), 1e300), scale=np.ones((1, 1))), "element 0"),
        (
            lambda: smooth_swiglu_gradient(
                np.ones((1, 1)), np.ones((1, 1)), Smoothed(np.ones((1, 1)), np.full((1, 1), 2.0)), np.ones((1, 1)),
                detach=False,
            ),
            "give detach=True",
        ),
        (lambda: Storage(SR8, flush=True), "give a deterministic rounding"),
        (lambda: Storage(E4M3, largest=0.0), "largest = 0.0"),
        (lambda: store(np.ones(2), Storage(E4M3, flush=True)), "needs random words"),
        (lambda: store(np.ones(2), Storage(E4M3), words=[0, 0]), "words given with RNE"),
        (lambda: store(np.ones(2), Storage(E4M3), seed=-1), "seed = -1"),
        (lambda: smooth_swiglu(np.ones((2, 2)), np.ones((2, 2)), words=[0]), "words given without a quantizer"),
        (
            lambda: fp8_adam(np.ones(2), adam_start(np.ones(2)), rate=0.1, words=np.zeros((3, 2), int)),
            "nothing is stored at random",
        ),
        (lambda: fp8_adam(np.ones(2), adam_start(np.ones(3)), rate=0.1), "gradient float64 \\(2,\\) for weights"),
        (lambda: fp8_adam(np.ones(2), adam_start(np.ones(2)), rate=0.1, beta2=1.0), "beta2 = 1.0"),
        (lambda: fp8_adam(np.ones(2), adam_start(np.ones(2)), rate=0.1, words=np.zeros((2, 2), int)), "\\(3, 2\\)"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_refused_types():
    with pytest.raises(TypeError, match="x of dtype float16"):
        amax(np.ones(2, np.float16))
    with pytest.raises(TypeError, match="is no FloatFormat"):
        Storage(Quantizer(catalog.MXFP4_E2M1))
    with pytest.raises(OverflowError, match="makes a moment beyond float32"):
        fp8_adam(np.float32([3e30]), adam_start(np.float32([1])), rate=0.1)
    for rate in (np.inf, np.nan):
        with pytest.raises(ValueError, match=f"rate = {rate}, .* and the others finite and at least 0"):
            fp8_adam(np.float32([1]), adam_start(np.float32([1])), rate=rate)
    for rate, decay in ((1e39, 0.0), (3e38, 3.0)):
        with pytest.raises(OverflowError, match=r"weight_decay = .* make a weight beyond float32: lower them"):
            fp8_adam(np.float32([1, 0]), adam_start(np.float32([1, 0])), rate=rate, epsilon=0.0, weight_decay=decay)
