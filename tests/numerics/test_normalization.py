"""Constants against closed forms and tables, norms against exact rationals, sums that overflow in half precision."""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, Overflow, Quantizer, Rounding, catalog, matmul, normalization
from numerics.clipping import affine, dequantize
from numerics.normalization import (
    L1_CONSTANT,
    LINF_SCALE,
    bifurcated_gradients,
    bounded_gains,
    bounded_weight_norm,
    corrected_learning_rate,
    cosine_bound,
    effective_step,
    emulated,
    expected_max_magnitude,
    expected_range,
    expected_top_mean,
    gradients,
    initial_rho,
    l1_batch_norm,
    l2_batch_norm,
    linf_batch_norm,
    linf_constant,
    range_batch_norm,
    range_constant,
    top_constant,
    topk_batch_norm,
)

D2 = {16: 3.5320, 32: 4.1393, 64: 4.6875, 128: 5.1892, 256: 5.6537, 1024: 6.4965, 4096: 7.2522, 65536: 8.5823}
MAXIMA = {16: 2.0772, 64: 2.5961, 256: 3.0442, 1024: 3.4419, 4096: 3.8023}
HALF = Accumulator(catalog.BINARY16, overflow=Overflow.IEEE)
NORMS = [l2_batch_norm, l1_batch_norm, linf_batch_norm, range_batch_norm, topk_batch_norm]
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_expected_ranges():
    root = math.sqrt(math.pi)
    assert expected_range(2) == pytest.approx(2 / root, rel=1e-14)
    assert expected_range(3) == pytest.approx(3 / root, rel=1e-14)
    for n, wanted in D2.items():
        assert expected_range(n) == pytest.approx(wanted, abs=5e-5)
    # The table of control charts.
    for n, wanted in {5: 2.326, 10: 3.078, 25: 3.931}.items():
        assert expected_range(n) == pytest.approx(wanted, abs=6e-4)


def test_expected_largest_magnitudes():
    assert expected_max_magnitude(1) == pytest.approx(math.sqrt(2 / math.pi), rel=1e-14)
    assert expected_max_magnitude(2) == pytest.approx(2 / math.sqrt(math.pi), rel=1e-14)
    for n, wanted in MAXIMA.items():
        assert expected_max_magnitude(n) == pytest.approx(wanted, abs=5e-5)
    assert expected_max_magnitude(2**62) < math.sqrt(2 * math.log(2**63))


def test_expected_means_of_the_largest():
    for n in (1, 2, 7, 100):
        assert expected_top_mean(n, 1) == pytest.approx(expected_max_magnitude(n), rel=1e-13)
        assert expected_top_mean(n, n) == pytest.approx(math.sqrt(2 / math.pi), rel=1e-11)
        means = [expected_top_mean(n, k) for k in range(1, n + 1)]
        assert means == sorted(means, reverse=True)
    # Of two, the larger and the smaller have the mean of both.
    assert top_constant(2, 1) == pytest.approx(math.sqrt(math.pi) / 2, rel=1e-13)
    assert expected_top_mean(1024, 10) == pytest.approx(2.8826, abs=5e-5)
    assert 0.9 < expected_top_mean(2**40, 2) / expected_max_magnitude(2**40) < 1


def test_expectations_against_a_sample():
    x = np.random.default_rng(0).standard_normal((20_000, 12))
    magnitudes = -np.sort(-np.abs(x), axis=1)
    for expected, found in (
        (expected_range(12), np.ptp(x, axis=1)),
        (expected_max_magnitude(12), magnitudes[:, 0]),
        (expected_top_mean(12, 4), magnitudes[:, :4].mean(axis=1)),
    ):
        assert abs(found.mean() - expected) < 5 * found.std() / math.sqrt(20_000)


def test_published_constants():
    assert pytest.approx(1.2533141, abs=5e-8) == L1_CONSTANT
    assert pytest.approx(1.5434525, abs=5e-8) == LINF_SCALE
    root = math.sqrt(2 * math.log(1024))
    assert range_constant(1024, "paper") == pytest.approx(1 / root, rel=1e-15)
    assert range_constant(1024, "poster") == pytest.approx(1 / (2 * root), rel=1e-15)
    assert range_constant(1024, "code") == pytest.approx(0.540208 / root, rel=1e-6)
    assert linf_constant(1024, "paper") == pytest.approx(1.5434525 / root, rel=1e-7)
    assert range_constant(1024) == 1 / expected_range(1024)
    assert linf_constant(1) == pytest.approx(L1_CONSTANT)
    assert top_constant(1024, 10, "paper") == linf_constant(1024, "paper")


def test_how_far_published_constants_are_from_the_expectation():
    ratios = {
        kind: [range_constant(n, kind) / range_constant(n) for n in (16, 256, 1024, 65536)]
        for kind in ("paper", "poster", "code")
    }
    assert (ratios["paper"][0], ratios["paper"][-1]) == pytest.approx((1.50, 1.82), abs=5e-3)
    assert (ratios["poster"][0], ratios["poster"][-1]) == pytest.approx((0.75, 0.91), abs=5e-3)
    assert ratios["code"] == pytest.approx([0.81, 0.917, 0.943, 0.984], abs=5e-4)
    for n, over in {8: 1.3497, 64: 1.3894, 256: 1.4109, 1024: 1.4268, 65536: 1.4561}.items():
        assert linf_constant(n, "paper") / linf_constant(n) == pytest.approx(over, abs=5e-5)


def exact_figures(row, norm):
    """(mean, deviations, magnitude of the norm) of a row, in rationals."""
    values = [Fraction(v) for v in row]
    mean = sum(values) / len(values)
    off = [v - mean for v in values]
    sizes = sorted(map(abs, off), reverse=True)
    if norm is l2_batch_norm:
        return mean, off, math.sqrt(sum(d * d for d in off) / len(off))
    found = {
        l1_batch_norm: L1_CONSTANT * float(sum(sizes) / len(off)),
        linf_batch_norm: linf_constant(len(off)) * float(sizes[0]),
        range_batch_norm: range_constant(len(off)) * float(max(off) - min(off)),
        topk_batch_norm: top_constant(len(off)) * float(sum(sizes[:10]) / 10),
    }
    return mean, off, found[norm]


@DTYPES
@pytest.mark.parametrize("norm", NORMS, ids=lambda f: f.__name__)
def test_norms_are_those_of_exact_arithmetic(norm, dtype):
    rng = np.random.default_rng(1)
    x = ((rng.standard_normal((4, 3, 5)) + 0.5) * np.array([1, 1e-30, 1e30])[:, None]).astype(dtype)
    found = norm(x, axis=(0, 2))
    assert found.values.dtype == dtype
    assert found.values.shape == x.shape
    assert found.mean.shape == found.scale.shape == (1, 3, 1)
    for c in range(3):
        mean, off, scale = exact_figures(x[:, c].ravel().tolist(), norm)
        assert found.mean[0, c, 0] == float(mean)
        assert found.scale[0, c, 0] == pytest.approx(scale, rel=1e-14)
        wanted = [float(d) / scale for d in off]
        assert found.values[:, c].ravel() == pytest.approx(wanted, rel=2 * float(np.finfo(dtype).eps), abs=1e-14)


@pytest.mark.parametrize("norm", NORMS, ids=lambda f: f.__name__)
def test_layouts_and_shapes(norm):
    norm = partial(norm, k=3) if norm is topk_batch_norm else norm
    x = np.random.default_rng(2).standard_normal((12, 2, 4))
    whole = norm(x, axis=(0, 2)).values
    assert (norm(np.asfortranarray(x), axis=(2, 0)).values == whole).all()
    # One channel at a time, and a channel of the whole: the same bits.
    assert (norm(np.ascontiguousarray(x[:, 1].ravel()), axis=0).values.reshape(12, 4) == whole[:, 1]).all()
    assert (norm(x.transpose(1, 0, 2), axis=(1, 2)).values.transpose(1, 0, 2) == whole).all()
    # Scale invariance, exact for powers of two; a shift of all changes nothing where it is exact.
    assert (norm(x * 2.0**-40, axis=(0, 2)).values == whole).all()
    assert norm(np.zeros((0, 3))).values.shape == (0, 3)
    assert norm(np.zeros((3, 0))).values.shape == (3, 0)
    assert norm(np.ones((1, 3), np.float32)).values.tolist() == [[0.0] * 3]
    assert not norm(np.full((49, 2), 0.1)).values.any()
    assert not norm(np.full((49, 2), 0.1)).scale.any()


def test_normal_numbers_have_unit_scale():
    x = 3 * np.random.default_rng(3).standard_normal((4096, 40)) + 7
    for norm in NORMS:
        assert norm(x).scale.mean() == pytest.approx(3, rel=0.03)
    # With the published constants they are off by what the constants are off.
    for kind, over in (("paper", 1.778), ("poster", 0.889), ("code", 0.961)):
        assert range_batch_norm(x, kind=kind).scale.mean() == pytest.approx(3 * over, rel=0.03)
    assert linf_batch_norm(x, kind="paper").scale.mean() == pytest.approx(3 * 1.4389, rel=0.03)
    # Ten largest with the constant of the largest alone.
    ratio = linf_constant(4096, "paper") * expected_top_mean(4096, 10)
    assert topk_batch_norm(x, kind="paper").scale.mean() == pytest.approx(3 * ratio, rel=0.03)


def test_ranges_by_chunks():
    x = np.random.default_rng(4).standard_normal((64, 3))
    found = range_batch_norm(x, chunks=16, kind="code").scale
    runs = x.reshape(16, 4, 3)
    # The code averages maxima and minima, and takes the constant of a run.
    wanted = (runs.max(axis=1).mean(axis=0) - runs.min(axis=1).mean(axis=0)) * range_constant(4, "code")
    assert found[0] == pytest.approx(wanted, rel=1e-14)
    assert (range_batch_norm(x).scale == range_batch_norm(x, chunks=1).scale).all()
    # A short last run, 62 = 3 * 16 + 14, has its own constant.
    short = range_batch_norm(x[:62], chunks=4).scale
    runs = [x[:16], x[16:32], x[32:48], x[48:62]]
    wanted = sum(np.ptp(run, axis=0) * range_constant(len(run)) for run in runs) / 4
    assert short[0] == pytest.approx(wanted, rel=1e-13)
    with pytest.raises(ValueError, match="chunks = 4 of 13 elements leave a run of 1"):
        range_batch_norm(x[:13], chunks=4)
    with pytest.raises(ValueError, match="chunks = 0: give an integer of at least 1"):
        range_batch_norm(x, chunks=0)


def pairs(magnitude, n):
    """Members of binary16 with mean 0: +-magnitude, n in all, one channel."""
    return np.tile(np.array([magnitude, -magnitude], np.float32), n // 2)[:, None]


def test_squares_overflow_in_half_precision_where_magnitudes_do_not():
    largest_safe, first_lost = 255.875, 256.0  # neighbours in binary16; 256**2 is above 65520
    for magnitude, overflows in ((largest_safe, False), (first_lost, True), (257.0, True), (30000.0, True)):
        x = pairs(magnitude, 2)
        # Two squares: their sum overflows far earlier, their mean at 256.
        prescaled = l2_batch_norm(x, accumulator=HALF, prescale=True)
        assert np.isinf(prescaled.scale[0, 0]) == overflows
        assert np.isinf(l2_batch_norm(x, accumulator=HALF).scale[0, 0])
        assert (prescaled.values == 0).all() == overflows
        l1 = l1_batch_norm(x, accumulator=HALF)
        assert l1.scale[0, 0] == L1_CONSTANT * magnitude
        assert np.isfinite(linf_batch_norm(x).scale).all()
        assert np.isfinite(topk_batch_norm(x, k=2, accumulator=HALF).scale).all()
        assert np.isfinite(range_batch_norm(x).scale).all()
    # One square of 256 overflows on its own; 180 is the last whole number of which two do not, 2 * 181**2 = 65522.
    assert l2_batch_norm(pairs(180.0, 2), accumulator=HALF).scale[0, 0] == pytest.approx(180, rel=1e-3)
    assert np.isinf(l2_batch_norm(pairs(181.0, 2), accumulator=HALF).scale[0, 0])


def test_magnitudes_overflow_in_half_precision_too_where_there_are_many():
    # 1024 magnitudes of 64 add up to 65536: the claim needs sums that are scaled, or few terms.
    x = pairs(64.0, 1024)
    assert np.isinf(l1_batch_norm(x, accumulator=HALF).scale[0, 0])
    assert l1_batch_norm(x, accumulator=HALF, prescale=True).scale[0, 0] == L1_CONSTANT * 64
    assert l1_batch_norm(pairs(32.0, 1024), accumulator=HALF).scale[0, 0] == L1_CONSTANT * 32
    # Prescaled, no sum of members overflows, the largest included.
    top = l1_batch_norm(pairs(65504.0, 1024), accumulator=HALF, prescale=True)
    assert top.scale[0, 0] <= L1_CONSTANT * 65504
    assert np.isfinite(top.scale).all()
    # In bfloat16 nothing overflows, but a sum stands still once its terms are below half an ulp.
    coarse = l1_batch_norm(pairs(1.0, 1024), accumulator=Accumulator(catalog.BFLOAT16, overflow=Overflow.IEEE))
    assert coarse.scale[0, 0] == L1_CONSTANT * 256 / 1024


def test_squares_underflow_in_half_precision_where_magnitudes_do_not():
    x = pairs(2.0**-13, 4)
    assert l2_batch_norm(x, accumulator=HALF).scale[0, 0] == 0
    assert l1_batch_norm(x, accumulator=HALF).scale[0, 0] == L1_CONSTANT * 2.0**-13
    assert not l2_batch_norm(x, accumulator=HALF).values.any()


def test_sums_run_through_the_accumulator_that_is_named():
    x = np.random.default_rng(5).standard_normal((50, 3)).astype(np.float32)
    found = l1_batch_norm(x, accumulator=HALF)
    off = (x.astype(np.float64) - found.mean).astype(np.float32)
    sums = matmul(np.ones((1, 50), np.float32), np.abs(off), HALF)
    assert (found.scale == L1_CONSTANT * (sums.astype(np.float64) / 50)).all()
    squares = [matmul(off[:, c][None], off[:, c][:, None], HALF)[0, 0] for c in range(3)]
    assert (l2_batch_norm(x, accumulator=HALF).scale[0] == np.sqrt(np.array(squares, np.float64) / 50)).all()
    # A fixed format for deviations; float64 input needs one, or the products would not be exact.
    quantizer = Quantizer(catalog.BINARY16)
    rounded = l2_batch_norm(x.astype(np.float64), accumulator=HALF, deviations=quantizer)
    narrow = quantizer.quantize(x.astype(np.float64) - found.mean)
    assert (rounded.values == narrow / rounded.scale).all()
    with pytest.raises(ValueError, match="quantize the operands first"):
        l2_batch_norm(x.astype(np.float64), accumulator=HALF)


def test_stochastic_accumulators_are_given_seed_and_stream(monkeypatch):
    calls = []

    def recorded(a, b, accumulator, **options):
        calls.append((a.shape, b.shape, accumulator, options))
        return np.matmul(a, b)

    stochastic = Accumulator(catalog.BINARY16, Rounding.SR)
    monkeypatch.setattr(emulated, "matmul", recorded)
    l1_batch_norm(np.ones((4, 3), np.float32), accumulator=stochastic, seed=7, stream=2)
    monkeypatch.setattr(gradients, "matmul", recorded)
    x, w, g = (np.ones(shape, np.float32) for shape in ((6, 5), (5, 4), (6, 4)))
    options = {"quantizer": np.copy, "accumulator": stochastic, "weight_accumulator": stochastic}
    bifurcated_gradients(x, w, g, seed=4, stream=8, **options)
    bifurcated_gradients(x, w, g, quantizer=np.copy, accumulator=HALF)
    exact = Accumulator(catalog.BINARY32, order="exact")
    assert calls == [
        ((3, 1, 4), (3, 4, 1), stochastic, {"seed": 7, "stream": 2}),
        ((6, 4), (4, 5), stochastic, {"seed": 4, "stream": 10}),
        ((5, 6), (6, 4), stochastic, {"seed": 4, "stream": 11}),
        ((6, 4), (4, 5), HALF, {}),
        ((5, 6), (6, 4), exact, {}),
    ]


@DTYPES
def test_bounded_weight_norm(dtype):
    v = np.random.default_rng(6).standard_normal((4, 3, 2)).astype(dtype)
    v[1] = 0
    for axis in (0, -1):
        w = bounded_weight_norm(v, 2.5, axis=axis)
        assert w.dtype == dtype
        rows, given = (np.moveaxis(a, axis, 0).reshape(v.shape[axis], -1).tolist() for a in (w, v))
        for row, old in zip(rows, given, strict=True):
            length = math.sqrt(sum(Fraction(x) ** 2 for x in old))
            wanted = [2.5 * x / length if length else 0.0 for x in old]
            assert row == pytest.approx(wanted, rel=2 * float(np.finfo(dtype).eps))
    again = bounded_weight_norm(v * dtype(2.0**-60), np.full(4, 2.5))
    assert (again == bounded_weight_norm(v, 2.5)).all()


def test_rules_for_the_bound():
    v = np.random.default_rng(7).standard_normal((4, 30))
    total = np.linalg.norm(v)
    w = bounded_weight_norm(v, initial_rho(v))
    assert np.linalg.norm(w) == pytest.approx(total)
    assert initial_rho(v, rule="mean") == pytest.approx(np.linalg.norm(v, axis=1).mean())
    assert initial_rho(np.zeros((0, 3))) == 0
    gains = np.array([1.0, 2.0, 2.0])
    assert bounded_gains(gains, 6.0).tolist() == [2.0, 4.0, 4.0]
    assert bounded_gains(np.zeros(3), 6.0).tolist() == [0.0] * 3
    # Learned gains of a fixed norm keep that of the layer.
    units = bounded_weight_norm(v, bounded_gains(np.array([1.0, -2.0, 0.5, 3.0]), total))
    assert np.linalg.norm(units) == pytest.approx(total)


def loss_gradient(w, a):
    """Gradient of the scale-invariant a . w / ||w||."""
    length = np.linalg.norm(w)
    return (a - w * (a @ w) / length**2) / length


def test_the_effective_step_is_exact_to_second_order():
    rng = np.random.default_rng(8)
    w, a = rng.standard_normal((2, 20))
    assert loss_gradient(w, a) @ w == pytest.approx(0, abs=1e-14)
    unit = w / np.linalg.norm(w)
    missed = []
    for rate in (0.1, 0.05, 0.025, 0.0125):
        stepped = w - rate * loss_gradient(w, a)
        direction = stepped / np.linalg.norm(stepped)
        predicted = unit - effective_step(rate, float(np.linalg.norm(w))) * loss_gradient(unit, a)
        missed.append(np.linalg.norm(direction - predicted))
    ratios = np.array(missed[:-1]) / missed[1:]
    assert ratios == pytest.approx([4, 4, 4], rel=0.02)
    # Halving the norm makes the step four times as large; the correction undoes it.
    assert effective_step(0.1, 0.5) == 4 * effective_step(0.1, 1.0)
    rate = corrected_learning_rate(0.1, 3.0, 1.5)
    assert effective_step(rate, 3.0) == pytest.approx(effective_step(0.1, 1.5), rel=1e-15)


def test_bifurcation_leaves_the_gradient_of_weights_exact():
    rng = np.random.default_rng(9)
    x, w, g = (rng.standard_normal(s).astype(np.float32) for s in ((6, 5), (5, 4), (6, 4)))
    coarse = Quantizer(FixedFormat(8, 5), Rounding.SR)
    of_input, of_weights = bifurcated_gradients(x, w, g, quantizer=coarse, seed=3)
    exact = Accumulator(catalog.BINARY32, order="exact")
    assert (of_weights == matmul(x.T, g, exact)).all()
    for i, j in np.ndindex(of_weights.shape):
        wanted = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x[:, i], g[:, j], strict=True))
        assert of_weights[i, j] == np.float32(float(wanted))
    rounded = coarse.quantize(g, seed=3)
    assert (rounded != g).any()
    assert (of_input == matmul(rounded, w.T, exact)).all()
    assert (of_input != matmul(g, w.T, exact)).any()
    assert of_input.dtype == of_weights.dtype == np.float32


def test_bifurcation_with_other_copies_and_accumulators():
    rng = np.random.default_rng(10)
    x, w, g = (rng.standard_normal(s).astype(np.float32) for s in ((6, 5), (5, 4), (6, 4)))

    def eight_bits(gradient):
        codes = affine(gradient, 8, rounding=Rounding.SR, seed=5)
        return dequantize(*codes, dtype=gradient.dtype)

    fine = Quantizer(FixedFormat(16, 12), Rounding.SR)
    of_input, of_weights = bifurcated_gradients(
        x, w, g, quantizer=eight_bits, weight_quantizer=fine, accumulator=HALF, weight_accumulator=HALF, seed=6
    )
    assert (of_input == matmul(eight_bits(g), w.T, HALF)).all()
    assert (of_weights == matmul(x.T, fine.quantize(g, seed=6, stream=1), HALF)).all()


def test_after_the_last_stream_of_a_bifurcation_comes_the_first():
    x, w, g = (np.ones(s, np.float32) / 3 for s in ((6, 5), (5, 4), (6, 4)))
    last, fine = 2**64 - 1, Quantizer(FixedFormat(16, 12), Rounding.SR)
    of_input, of_weights = bifurcated_gradients(x, w, g, quantizer=fine, weight_quantizer=fine, seed=6, stream=last)
    exact = Accumulator(catalog.BINARY32, order="exact")
    assert (of_input == matmul(fine.quantize(g, seed=6, stream=last), w.T, exact)).all()
    assert (of_weights == matmul(x.T, fine.quantize(g, seed=6, stream=0), exact)).all()
    with pytest.raises(ValueError, match="stream = -1: give an integer"):
        bifurcated_gradients(x, w, g, quantizer=np.copy, seed=6, stream=-1)


def test_the_stochastic_gradient_of_the_input_has_no_bias():
    # Two bits of word, all of them: the mean over the words of the quantized gradient is the gradient itself, and the
    # product is linear in it.
    fmt, r = FixedFormat(6, 2), 2
    g = np.array([[0.3125, -1.1875, 0.0625, 2.0]], np.float32)  # multiples of a quarter of a step
    w = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
    total = np.zeros((1, 3))
    for word in range(2**r):

        def rounds(gradient, word=word):
            words = np.full(gradient.shape, word)
            return Quantizer(fmt, Rounding.SR, random_bits=r).quantize(gradient, words=words)

        total += bifurcated_gradients(np.ones((1, 3), np.float32), w, g, quantizer=rounds)[0]
    assert (total / 2**r == g.astype(np.float64) @ w.T).all()


@pytest.mark.parametrize("n", [100, 1000, 100_000])
def test_quantized_weights_stay_within_the_angle(n):
    rng = np.random.default_rng(n)
    for bits in (2, 3, 4, 6, 8):
        bound, sharp = cosine_bound(bits, n), cosine_bound(bits, n, sharp=True)
        assert bound < sharp < 1
        cosines = []
        for _ in range(20 if n < 1e5 else 3):
            w = rng.standard_normal(n)
            step = np.abs(w).max() / 2**bits
            q = np.round(w / step) * step
            cosines.append(w @ q / math.sqrt((w @ w) * (q @ q)))
        assert min(cosines) > bound
        # The sharp form is what is observed, up to the spread of the largest magnitude.
        assert np.mean(cosines) >= sharp - 0.1 * (1 - sharp)
        assert 1 - np.mean(cosines) == pytest.approx(1 - sharp, rel=0.45)


def test_cosine_bounds_that_are_printed():
    ratio = math.sqrt(math.log(1e5) / 6)
    for bits, bound in ((2, 0.7428), (4, 0.9203), (8, 0.9946)):
        assert cosine_bound(bits, 100_000) == pytest.approx(bound, abs=5e-5)
        assert cosine_bound(bits, 100_000) == pytest.approx(2**bits / (2**bits + ratio), rel=1e-15)
        sharp = 1 / math.sqrt(1 + math.log(1e5) / (6 * 4**bits))
        assert cosine_bound(bits, 100_000, sharp=True) == pytest.approx(sharp, rel=1e-15)
    assert cosine_bound(0, 1) == cosine_bound(5, 1, sharp=True) == 1.0


ONE = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: range_constant(1), ValueError, "n = 1: give an integer of at least 2"),
        (lambda: range_constant(2.0), TypeError, r"n = 2\.0: give an integer"),
        (lambda: range_constant(4, "best"), ValueError, "kind 'best' is not known: known are exact, paper, poster"),
        (lambda: linf_constant(1, "paper"), ValueError, "n = 1: give an integer of at least 2"),
        (lambda: linf_constant(4, "code"), ValueError, "kind 'code' is not known"),
        (lambda: top_constant(4, 5), ValueError, "k = 5: give the number of largest of 4 magnitudes"),
        (lambda: cosine_bound(-1, 4), ValueError, "bits = -1: give an integer of at least 0"),
        (lambda: l1_batch_norm(np.array([1, 2])), TypeError, "x of dtype int64"),
        (lambda: l1_batch_norm(np.array([1.0, np.inf])), ValueError, "x has inf at element 1"),
        (lambda: l1_batch_norm(ONE, axis=2), ValueError, "axis = 2: the array has 2 dimensions"),
        (lambda: l1_batch_norm(ONE, axis=(0, -2)), ValueError, "an axis is named twice"),
        (lambda: l1_batch_norm(ONE, axis=0.5), TypeError, r"axis = 0\.5: give an integer"),
        (lambda: l1_batch_norm(ONE, scaled=True), TypeError, "scaled: known are accumulator, deviations, prescale"),
        (lambda: l1_batch_norm(ONE, prescale=True), ValueError, "without an accumulator"),
        (lambda: linf_batch_norm(ONE, accumulator=HALF), ValueError, "a norm that sums nothing"),
        (
            lambda: range_batch_norm(np.array([1.5e308, -1.5e308])),
            ValueError,
            "numbers whose range is beyond float64: multiply them by 2\\*\\*-1 first",
        ),
        (lambda: range_batch_norm(ONE, accumulator=HALF), ValueError, "a norm that sums nothing"),
        (lambda: topk_batch_norm(ONE), ValueError, "k = 10: give the number of largest of 2 magnitudes"),
        (lambda: bounded_weight_norm(ONE, np.ones(3)), ValueError, "one for each of the 2 channels"),
        (lambda: bounded_weight_norm(ONE, np.nan), ValueError, "rho = nan: give a finite number"),
        (lambda: initial_rho(ONE, rule="max"), ValueError, "rule 'max' is not known: known are mean, total"),
        (lambda: bounded_gains(ONE, 1.0), ValueError, r"gains of shape \(2, 2\): give one number a channel"),
        (lambda: effective_step(0.1, 0.0), ValueError, r"norm = 0\.0: a direction needs a finite norm above 0"),
        (lambda: corrected_learning_rate(0.1, 1.0, np.inf), ValueError, "decayed_norm = inf"),
        (
            lambda: bifurcated_gradients(ONE, ONE, np.ones((3, 2), np.float32), quantizer=Quantizer(catalog.E4M3)),
            ValueError,
            "do not match",
        ),
        (
            lambda: bifurcated_gradients(ONE, ONE, np.ones((2, 2)), quantizer=Quantizer(catalog.E4M3)),
            TypeError,
            "give three arrays of one dtype",
        ),
        (
            lambda: bifurcated_gradients(ONE, ONE, ONE, quantizer=lambda g: g.astype(np.float64)),
            ValueError,
            "the quantizer made float64",
        ),
        (
            lambda: bifurcated_gradients(np.ones((2, 3), np.float32), ONE, ONE, quantizer=Quantizer(catalog.E4M3)),
            ValueError,
            r"give \[B, K\] and \[K, N\]",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_package_says_what_it_offers():
    assert all(hasattr(normalization, name) for name in normalization.__all__)
