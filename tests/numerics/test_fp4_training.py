"""Split rounding and its bias, what noisy and biased gradients gain, and the clips of EXAQ."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, Overflow, Quantizer, Rounding, catalog, matmul
from numerics.reference.block import Policy
from numerics.reference.block import quantize as oracle_blocks
from numerics.scaling import (
    EXAQ_FITS,
    EXAQ_OPTIMA,
    MXFP4_E3M0,
    MXFP4_NEVER_CLIP,
    SPLIT_MXFP4,
    SPLIT_NVFP4,
    SWITCH_RATIO,
    SplitRounding,
    best_change,
    best_change_slope,
    best_rate,
    biased_error,
    biased_limit,
    exaq_clip,
    expected_change,
    exponential_mse,
    gradient_to_noise,
    high_precision_backward,
    high_precision_needed,
    measured_noise,
    product_operands,
    split_products,
    split_rounding,
)
from numerics.theory import gradient_noise_threshold

RANDOM = np.random.default_rng(5)


def exact_mean(quantizer, x, bits):
    """Mean of a block over all words, the same word for each element: each element's mean is its own."""
    total = [Fraction(0)] * x.size
    for word in range(2**bits):
        out = quantizer.quantize(x, words=np.full(x.shape, word))
        total = [a + Fraction(float(b)) for a, b in zip(total, out, strict=True)]
    return [one / 2**bits for one in total]


def test_stochastic_rounding_is_biased_where_a_scale_clips():
    """(6, 8] over the scale: the OCP rule clips it to 6; under the rule that never clips the mean is exact."""
    block = np.zeros(32)
    block[:5] = [7.5, 6.5, 1.25, -0.375, -7.0]
    ocp = exact_mean(Quantizer(catalog.MXFP4_E2M1, Rounding.SR, random_bits=4), block, 4)
    free = exact_mean(Quantizer(MXFP4_NEVER_CLIP, Rounding.SR, random_bits=4), block, 4)
    assert free == [Fraction(float(v)) for v in block]
    bias = [a - Fraction(float(v)) for a, v in zip(ocp, block, strict=True)]
    assert bias[:5] == [Fraction(-3, 2), Fraction(-1, 2), 0, 0, 1]
    assert not any(bias[5:])


def test_a_scale_of_e4m3_rounded_down_clips_too():
    """By the oracle, whose blocks the kernels are held against elsewhere."""
    fmt = replace(catalog.NVFP4, tensor_scale=False)
    how = Policy(Rounding.SR, Overflow.SATURATE, 4, True)
    block = np.zeros(16)

    def mean(top):
        block[0] = top
        draws = [oracle_blocks(block, fmt, how, -1, np.full(16, word))[0] for word in range(16)]
        return sum(map(Fraction, draws)) / 16

    assert mean(6 * 1.05) == 6  # the scale, 1.05, rounds down to 1
    assert abs(mean(6 * 1.1) - Fraction(6 * 1.1)) < Fraction(2, 16) * Fraction(9, 8)  # and this one up to 1.125


def test_operands_of_the_three_products():
    x, w, g = (RANDOM.standard_normal(shape) for shape in ((33, 40), (40, 17), (33, 17)))
    near, random = Quantizer(MXFP4_NEVER_CLIP), Quantizer(MXFP4_NEVER_CLIP, Rounding.SR)
    found = product_operands(x, w, g, SPLIT_MXFP4, seed=3, stream=10)

    def at(quantizer, tensor, axis, **options):
        return replace(quantizer, axis=axis).quantize(tensor, **options)

    assert (found.forward[0] == at(near, x, 1)).all() and (found.forward[1] == at(near, w, 0)).all()
    assert (found.backward[0] == at(random, g, 1, seed=3, stream=12)).all()
    assert (found.backward[1] == at(near, w, 1).T).all()
    assert (found.update[0] == at(random, x, 0, seed=3, stream=14).T).all()
    assert (found.update[1] == at(random, g, 0, seed=3, stream=15)).all()
    # The two copies of a tensor differ: their blocks lie along different axes.
    assert (found.backward[1] != found.forward[1].T).any() and (found.backward[0] != found.update[1]).any()
    exact = Accumulator(catalog.BINARY64, order="exact")
    for product, pair, shape in zip(
        split_products(x, w, g, SPLIT_MXFP4, seed=3, stream=10), found, ((33, 17), (33, 40), (40, 17)), strict=True
    ):
        assert product.shape == shape and (product == matmul(*pair, exact)).all()
    # The last phase: the backward and update products in high precision.
    late = product_operands(x, w, g, high_precision_backward(SPLIT_MXFP4))
    assert (late.forward[0] == found.forward[0]).all() and (late.forward[1] == found.forward[1]).all()
    assert (late.backward[0] == g).all() and (late.backward[1] == w.T).all()
    assert (late.update[0] == x.T).all() and (late.update[1] == g).all()


def test_split_rounding_of_the_paper_and_of_its_predecessor():
    near, random = Quantizer(catalog.NVFP4), Quantizer(catalog.NVFP4, Rounding.SR)
    assert SplitRounding(near, near, random, near, random, random) == SPLIT_NVFP4
    chosen = split_rounding(MXFP4_NEVER_CLIP, MXFP4_E3M0, random_bits=8)
    assert chosen.backward_g == chosen.update_g == Quantizer(MXFP4_E3M0, Rounding.SR, random_bits=8)
    assert chosen.update_x == Quantizer(MXFP4_NEVER_CLIP, Rounding.SR, random_bits=8)
    assert chosen.stochastic and not high_precision_backward(chosen).stochastic
    assert (MXFP4_E3M0.element.max, MXFP4_E3M0.block, catalog.NVFP4.block) == (64, 32, 16)


def test_gradients_of_split_rounding_have_no_bias():
    """The update of a layer with one sample: its mean over seeds is x.T g, by a z-test with a fixed seed."""
    x, w, g = (RANDOM.standard_normal(shape) for shape in ((4, 3), (3, 2), (4, 2)))
    draws = [split_products(x, w, g, SPLIT_MXFP4, seed=s) for s in range(400)]
    for found, exact in (
        (np.array([d.dw for d in draws]), x.T @ g),
        (np.array([d.dx for d in draws]), g @ replace(SPLIT_MXFP4.backward_w, axis=1).quantize(w).T),
    ):
        spread = found.std(axis=0) / 20
        assert (np.abs(found.mean(axis=0) - exact) < 5 * spread + 1e-12).all()
    assert len({d.y.tobytes() for d in draws}) == 1


def test_progress_of_noisy_steps():
    g2, curvature, trace = Fraction(9, 4), Fraction(5), Fraction(7)
    for noise in (Fraction(0), Fraction(1, 3), Fraction(2)):
        rate = best_rate(g2, curvature, trace, noise)
        best = best_change(g2, curvature, trace, noise)
        assert best == expected_change(rate, g2, curvature, trace, noise) == -rate * g2 / 2
        for off in (Fraction(-1, 9), Fraction(1, 1000)):
            assert expected_change(rate + off, g2, curvature, trace, noise) > best
        h = Fraction(1, 10**9)
        slope = (best_change(g2, curvature, trace, noise + h) - best_change(g2, curvature, trace, noise - h)) / (2 * h)
        assert float(best_change_slope(g2, curvature, trace, noise)) == pytest.approx(float(slope), abs=1e-12)


def test_expected_change_is_the_mean_on_a_quadratic():
    """Noise of +-s on each entry, all signs enumerated: the mean change of a quadratic loss, exactly."""
    hessian = [[Fraction(3), Fraction(1)], [Fraction(1), Fraction(2)]]
    w, s, rate = [Fraction(1, 2), Fraction(-2)], Fraction(2, 3), Fraction(1, 5)

    def product(v):
        return [sum(a * b for a, b in zip(row, v, strict=True)) for row in hessian]

    def loss(v):
        return sum(a * b for a, b in zip(v, product(v), strict=True)) / 2

    g = product(w)
    noises = [(a, b) for a in (s, -s) for b in (s, -s)]
    changes = [loss([wi - rate * (gi + ni) for wi, gi, ni in zip(w, g, n, strict=True)]) - loss(w) for n in noises]
    g2, curvature = sum(x * x for x in g), sum(a * b for a, b in zip(g, product(g), strict=True))
    assert sum(changes) / 4 == expected_change(rate, g2, curvature, Fraction(5), s)


def test_the_threshold_is_where_progress_falls_fastest():
    norm, d, lam = 1.0, 100, 0.7
    noises = np.linspace(0.001, 0.3, 3000)
    slopes = [best_change_slope(norm**2, lam * norm**2, lam * d, s) for s in noises.tolist()]
    steepest = noises[int(np.argmax(slopes))]
    assert gradient_noise_threshold(norm, d) == pytest.approx(0.057735, abs=5e-7)
    assert steepest == pytest.approx(0.057735, abs=1e-4)
    threshold = gradient_noise_threshold(norm, d)
    assert math.sqrt(3) == SWITCH_RATIO
    assert gradient_to_noise(norm, threshold, d) == pytest.approx(math.sqrt(3), rel=1e-15)
    # Noise of twice, once nearly, and half the threshold.
    assert [high_precision_needed(norm, k * threshold, d) for k in (2, 1.001, 0.999, 0.5)] == [True, True, False, False]
    assert not high_precision_needed(1.0, 0.0, 5) and high_precision_needed(1.0, 0.5, 1, ratio=3.0)
    assert measured_noise(np.float32([1, 2]), np.float32([2, 0])) == pytest.approx(math.sqrt(2.5))
    assert measured_noise(np.zeros(0), np.zeros(0)) == 0


def test_biased_rounding_stops_short():
    bias, lam, rate = Fraction(1, 7), Fraction(3), Fraction(1, 10)
    limit, loss = biased_limit(bias, lam)
    assert (limit, loss) == (-bias / lam, lam * limit**2 / 2)
    w = Fraction(2)
    for steps in range(30):
        assert biased_error(Fraction(2), steps, rate, bias, lam) == w
        w -= rate * (lam * w + bias)
    assert abs(w - limit) < abs(2 - limit) * Fraction(1, 10**4)
    # Stochastic rounding of the same gradient leaves noise instead, of mean 0: the smaller the rate, the less of it.
    truncated = Quantizer(FixedFormat(12, 4), Rounding.RTN)
    at = 2.0
    for _ in range(400):
        at -= 0.03125 * float(truncated.quantize(np.array([3.0 * at + 1 / 32]))[0])
    assert at == pytest.approx(0, abs=0.05)


def test_exaq():
    assert exaq_clip(1.0, 2) == pytest.approx(-3.51) and exaq_clip(2.0, 4) == pytest.approx(-5.93)
    # The published lines and the published table do not agree.
    off = {s: [round(exaq_clip(s, b) - EXAQ_OPTIMA[s][b], 2) for b in EXAQ_FITS] for s in EXAQ_OPTIMA}
    assert off == {1.01: [-0.34, -0.27, -0.21], 2.02: [-0.89, -0.73, -0.55]}
    x = np.array([0.0, -1.0, -2.0, -9.0])
    # Two bits from -3: values 0, -1, -2, -3.
    assert exponential_mse(x, -3.0, 2) == pytest.approx((math.exp(-9) - math.exp(-3)) ** 2 / 4, rel=1e-14)
    assert exponential_mse(x.astype(np.float32), -9.0, 16) < 1e-9
    wide = -np.abs(np.random.default_rng(0).standard_normal(2000)) * 2
    mse = [exponential_mse(wide, clip, 2) for clip in (-0.5, -2.2, -12.0)]
    assert mse[1] < mse[0] and mse[1] < mse[2]
    assert exponential_mse(np.zeros(0), -1.0, 2) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: product_operands(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)), SPLIT_MXFP4), "do not match"),
        (lambda: product_operands(np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4)), SPLIT_MXFP4), "SR needs random"),
        (lambda: best_rate(1.0, -1.0, 0.0, 1.0), "does not bend up"),
        (lambda: gradient_to_noise(1.0, 1.0, 0), "dimension = 0"),
        (lambda: gradient_to_noise(-1.0, 1.0, 1), "gradient_norm = -1.0"),
        (lambda: high_precision_needed(1.0, math.nan, 1), "noise = nan"),
        (lambda: high_precision_needed(1.0, 1.0, 1, ratio=0.0), "ratio = 0.0"),
        (lambda: measured_noise(np.ones(2), np.ones(3)), "give two arrays of one shape"),
        (lambda: biased_limit(1.0, 0.0), "curvature = 0.0"),
        (lambda: biased_error(1.0, -1, 0.1, 0.1, 1.0), "steps = -1"),
        (lambda: exaq_clip(1.0, 5), "bits = 5: published are 2, 3, 4"),
        (lambda: exaq_clip(-1.0, 2), "sigma = -1.0"),
        (lambda: exponential_mse(np.array([0.5]), -1.0, 2), "x reaches 0.5"),
        (lambda: exponential_mse(np.array([-0.5]), 1.0, 2), "clip = 1.0"),
        (lambda: exponential_mse(np.array([-0.5]), -1.0, 0), "bits = 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_refused_types():
    with pytest.raises(TypeError, match="forward_w = 'e2m1': give a Quantizer"):
        SplitRounding(None, "e2m1", None, None, None, None)
    with pytest.raises(TypeError, match="give three arrays of one dtype"):
        product_operands(np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4), np.float32), SPLIT_MXFP4)
