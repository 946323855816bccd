"""Clips against high-precision arithmetic, closed forms against brute force, identities of the corrections."""

import itertools
import math
from decimal import Decimal, localcontext
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest

from numerics import clipping
from numerics.clipping import (
    SAWB,
    aciq_alpha,
    aciq_mse,
    bias_correction,
    bin_allocation,
    bit_allocation,
    choose_distribution,
    clip_range,
    lambert_w0,
    optimal_alpha,
    quantizer_mse,
    sawb,
    scale,
)

# bits: Laplace, Gauss, half-range Laplace, least error of Laplace, of Gauss
TABLE = {
    1: (1.86282, 1.23991, 2.83068, None, None),
    2: (2.83068, 1.71064, 3.89723, 0.284878, 0.0871485),
    3: (3.89723, 2.15159, 5.02864, 0.119702, 0.0314294),
    4: (5.02864, 2.55914, 6.20477, 0.0460215, 0.0104933),
    5: (6.20477, 2.93620, 7.41313, 0.0165718, 0.00332259),
    6: (7.41313, 3.28691, 8.64562, 0.00567877, 0.00101292),
    7: (8.64562, 3.61511, 9.89676, 0.00187252, 0.000300215),
    8: (9.89676, 3.92404, 11.16269, 0.000598853, 0.0000870779),
}
BOTH = pytest.mark.parametrize("distribution", ["laplace", "gauss"])
N = 4001
PLACES = (np.arange(N) + 0.5) / N
GAUSS = np.array([NormalDist().inv_cdf(p) for p in PLACES])
LAPLACE = np.sign(PLACES - 0.5) * -np.log(1 - 2 * np.abs(PLACES - 0.5))


def product_log(w):
    """w e**w in 60 digits."""
    return Decimal(w) * Decimal(w).exp()


def assert_within_two_ulp(w, x):
    low, high = w, w
    for _ in range(2):
        low, high = math.nextafter(low, 0), math.nextafter(high, math.inf)
    with localcontext(prec=60):
        assert product_log(low) <= Decimal(x) <= product_log(high)


@pytest.mark.parametrize(
    "x", [5e-324, 1e-300, 1e-20, 0.1, 1.0, math.e, 3.0, *(3 * 4.0**m for m in range(1, 65, 7)), 1e50, 1e200, 1.7e308]
)
def test_lambert_is_within_two_ulp(x):
    assert_within_two_ulp(lambert_w0(x), x)


def test_lambert_on_a_grid_is_within_two_ulp():
    assert lambert_w0(0.0) == 0.0
    for x in np.exp(np.linspace(-30, 60, 300)).tolist():
        assert_within_two_ulp(lambert_w0(x), x)
    for x in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="give a finite number of at least 0"):
            lambert_w0(x)


def tail(x):
    """P(x' > x) of a standard normal number, in the context's digits, by the series of erf."""
    x = Decimal(x)
    term, total, n = x, x, 0
    while abs(term) > Decimal(10) ** -100:
        n += 1
        term *= -x * x / (2 * n)
        total += term / (2 * n + 1)
    return Decimal("0.5") - total / root_of_two_pi()


def root_of_two_pi():
    # Machin's formula.
    def inverse_tangent(n):
        total, power, k = Decimal(0), Decimal(1) / n, 0
        while abs(power) > Decimal(10) ** -110:
            total += power / (2 * k + 1) * (-1) ** k
            power, k = power / (n * n), k + 1
        return total

    return (8 * (4 * inverse_tangent(5) - inverse_tangent(239))).sqrt()


@pytest.mark.parametrize("bits", [0, 1, 2, 4, 8, 16, 64])
def test_clips_solve_their_equations(bits):
    # The slopes of the error change sign within 2 ulp (Laplace) and 1e-13 (Gauss) of the clips.
    with localcontext(prec=130):
        weight = 1 / (3 * Decimal(4) ** bits)

        def laplace(a):
            return Decimal(a) * weight - (-Decimal(a)).exp()

        def gauss(a):
            density = (-Decimal(a) * Decimal(a) / 2).exp() / root_of_two_pi()
            return Decimal(a) * weight - 2 * (density - Decimal(a) * tail(a))

        for slope, name, accuracy in ((laplace, "laplace", 2.0**-51), (gauss, "gauss", 1e-13)):
            alpha = aciq_alpha(bits, name)
            assert slope(alpha * (1 - accuracy)) < 0 < slope(alpha * (1 + accuracy))


@pytest.mark.parametrize(("bits", "gauss"), [(2, 5e-14), (5, 5e-14), (16, 5e-10), (64, 5e-10)])
def test_the_error_of_a_clip_is_as_accurate_as_is_said(bits, gauss):
    with localcontext(prec=130):
        for alpha in (0.0, 0.25, 1.0, 2.2, 3.9, 5.2, 8.2, 11.0, 11.8, 12.0, 12.3, 14.0):
            a = Decimal(alpha)
            inside = a * a / (3 * Decimal(4) ** bits)
            density = (-a * a / 2).exp() / root_of_two_pi()
            for name, limit, clipped in (
                ("laplace", 1e-15, 2 * (-a).exp()),
                ("gauss", gauss, 2 * ((a * a + 1) * tail(a) - a * density)),
            ):
                exact = clipped + inside
                assert abs(Decimal(aciq_mse(alpha, bits, name)) - exact) <= Decimal(limit) * exact


@pytest.mark.parametrize("bits", TABLE)
def test_table_of_clips(bits):
    laplace, gauss, half, *errors = TABLE[bits]
    found = [aciq_alpha(bits), aciq_alpha(bits, "gauss"), aciq_alpha(bits, half_range=True)]
    assert found == pytest.approx([laplace, gauss, half], abs=1e-5)
    assert aciq_alpha(bits, "gauss", half_range=True) == aciq_alpha(bits + 1, "gauss")
    for name, error in zip(("laplace", "gauss"), errors, strict=True):
        if error is not None:
            assert aciq_mse(aciq_alpha(bits, name), bits, name) == pytest.approx(error, rel=5e-6)


def test_the_clip_printed_for_three_bits_is_a_slip():
    # The repository's text says 3.86; the table of its code, cut to a few digits, and eq. 6 say 3.897.
    assert aciq_mse(3.86, 3) > aciq_mse(aciq_alpha(3), 3)
    assert abs(aciq_alpha(3) - 3.86) > 0.03
    assert aciq_alpha(3) == pytest.approx(3.89722946)
    # Comments of the code give seven digits for 2 bits, and they are right.
    assert aciq_alpha(2) == pytest.approx(2.8306829, abs=1e-7)
    assert aciq_alpha(2, "gauss") == pytest.approx(1.7106351, abs=1e-7)


@BOTH
@pytest.mark.parametrize("half", [False, True])
def test_the_model_is_convex_about_its_clip(distribution, half):
    alphas = [aciq_alpha(bits, distribution, half_range=half) for bits in range(17)]
    assert alphas == sorted(set(alphas))
    for bits in (1, 4, 8):
        grid = alphas[bits] * np.linspace(0.2, 3, 200)
        errors = np.array([aciq_mse(a, bits, distribution, half_range=half) for a in grid])
        assert (np.diff(errors, 2) > -1e-15).all() or distribution == "gauss"
        assert (np.diff(np.sign(np.diff(errors))) >= 0).all()  # falls, then rises
        assert errors.min() >= aciq_mse(alphas[bits], bits, distribution, half_range=half)


def test_the_half_range_is_derived_from_one_tail_and_half_the_mass():
    for alpha, bits in itertools.product((0.5, 3.0), (1, 4)):
        one_tail = math.exp(-alpha) + alpha**2 / (24 * 4.0**bits)
        assert aciq_mse(alpha, bits, half_range=True) == pytest.approx(one_tail, rel=1e-15)


def bin_errors(alpha, bits, distribution):
    """The error bin by bin, from antiderivatives of f, x f and x**2 f."""
    if distribution == "laplace":

        def moments(t):
            e = math.exp(-t) if t < math.inf else 0.0
            return (-e, -(t + 1) * e, -(t * t + 2 * t + 2) * e) if e else (0.0, 0.0, 0.0)
    else:

        def moments(t):
            e = 2 * math.exp(-t * t / 2) / math.sqrt(2 * math.pi) if t < math.inf else 0.0
            mass = math.erf(t / math.sqrt(2))
            return mass, -e, mass - (t * e if e else 0.0)

    n = 2 ** (bits - 1)
    step = alpha / n
    edges = [k * step for k in range(n)] + [math.inf]
    total = []
    for k in range(n):
        level = (k + 0.5) * step
        m0, m1, m2 = (b - a for a, b in zip(moments(edges[k]), moments(edges[k + 1]), strict=True))
        total += [m2, -2 * level * m1, level * level * m0]
    return math.fsum(total)


@BOTH
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
def test_the_error_of_the_real_quantizer(distribution, bits):
    for alpha in (0.3, 1.0, 2.7, 9.0, 70.0):
        wanted = bin_errors(alpha, bits, distribution)
        assert quantizer_mse(alpha, bits, distribution) == pytest.approx(wanted, rel=1e-9, abs=1e-13)


@BOTH
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 10])
def test_the_exact_optimum_is_one(distribution, bits):
    alpha = optimal_alpha(bits, distribution)
    least = quantizer_mse(alpha, bits, distribution)
    for factor in (0.5, 0.9, 0.999, 1 - 1e-5, 1 + 1e-5, 1.001, 1.1, 2):
        assert quantizer_mse(alpha * factor, bits, distribution) > least
    # Independently: E |x| |Q| = E Q**2, from the tails at the thresholds.
    n, root = 2 ** (bits - 1), math.sqrt(2)
    step = alpha / n
    at = [k * step for k in range(1, n)]
    if distribution == "laplace":
        beyond, first, mean = [math.exp(-t) for t in at], [(t + 1) * math.exp(-t) for t in at], 1.0
    else:
        beyond = [math.erfc(t / root) for t in at]
        first = [math.exp(-t * t / 2) * math.sqrt(2 / math.pi) for t in at]
        mean = math.sqrt(2 / math.pi)
    products = math.fsum([mean / 2, *first])
    squares = math.fsum([step / 4, *(2 * step * k * p for k, p in zip(range(1, n), beyond, strict=True))])
    assert products == pytest.approx(squares, rel=1e-9)
    assert alpha > aciq_alpha(bits, distribution)
    assert aciq_mse(alpha, bits, distribution) > aciq_mse(aciq_alpha(bits, distribution), bits, distribution)


def test_the_exact_optima_that_are_known():
    assert optimal_alpha(1, "gauss") == pytest.approx(2 * math.sqrt(2 / math.pi), rel=1e-12)
    assert optimal_alpha(1) == pytest.approx(2, rel=1e-12)
    # Max 1960: (step, error) of uniform quantizers of normal numbers.
    for bits, step, error in ((1, 1.596, 0.3634), (2, 0.9957, 0.1188), (3, 0.5860, 0.03744), (4, 0.3352, 0.01154)):
        alpha = optimal_alpha(bits, "gauss")
        assert alpha / 2 ** (bits - 1) == pytest.approx(step, abs=5e-5 if bits > 1 else 5e-4)
        assert quantizer_mse(alpha, bits, "gauss") == pytest.approx(error, rel=5e-4)
    assert [optimal_alpha(bits) for bits in (2, 3, 4)] == pytest.approx([3.0756, 4.1348, 5.2156], abs=5e-5)
    penalty = quantizer_mse(aciq_alpha(4), 4) / quantizer_mse(optimal_alpha(4), 4) - 1
    assert penalty == pytest.approx(0.006, abs=5e-4)


def test_both_clips_on_a_sample():
    # The empirical error of the quantizer is that of the closed form, and the exact optimum beats the model's clip.
    for name, x in (("laplace", LAPLACE), ("gauss", GAUSS)):
        errors = {}
        for solver in ("aciq", "exact"):
            lo, hi = clip_range(x, 3, name, solver=solver)
            step = (hi - lo) / 8
            q = lo + (np.clip(np.floor((x - lo) / step), 0, 7) + 0.5) * step
            errors[solver] = np.mean((x - q) ** 2)
        assert errors["exact"] < errors["aciq"]
        assert errors["exact"] == pytest.approx(quantizer_mse(optimal_alpha(3, name), 3, name), rel=0.02)


@pytest.mark.parametrize("options", [{}, {"criterion": "kolmogorov"}, {"criterion": "mse", "bits": 4}], ids=str)
def test_the_distribution_that_fits(options):
    for name, x in (("laplace", LAPLACE), ("gauss", GAUSS)):
        for sample in (x, 3.5 * x + 7, (x * 0.25).astype(np.float32), x[::-1].reshape(1, -1)):
            assert choose_distribution(sample, **options) == name
    for dull in (np.zeros(5), np.full(3, 0.1), np.zeros(0), np.ones(1, np.float32)):
        assert choose_distribution(dull, **options) == "laplace"


def test_scales():
    assert scale(LAPLACE) == pytest.approx(1, rel=2e-3)
    assert scale(GAUSS, "gauss") == pytest.approx(1, rel=2e-3)
    assert scale(2 * GAUSS + 100) == pytest.approx(2 * math.sqrt(2 / math.pi), rel=2e-3)
    assert scale(GAUSS, "gauss", method="range") == pytest.approx(1, abs=0.05)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 4, 5))
    for name in ("laplace", "gauss"):
        each = scale(x, name, axis=1)
        assert each.shape == (4,)
        assert each.tolist() == [scale(x[:, c], name) for c in range(4)]
        turned = np.asfortranarray(x).transpose(2, 1, 0)
        assert scale(turned, name, axis=1).tolist() == each.tolist()
        assert scale(np.full((2, 3), 0.1), name) == scale(np.zeros(0), name) == 0.0
        deviations = [Fraction(float(v)) - sum(map(Fraction, x.ravel().tolist())) / x.size for v in x.ravel()]
        power = 1 if name == "laplace" else 2
        exact = float(sum(abs(d) ** power for d in deviations) / x.size) ** (1 / power)
        assert scale(x, name) == pytest.approx(exact, rel=1e-15)


def test_clip_ranges():
    x = np.stack([LAPLACE, 2 * LAPLACE + 3])
    lo, hi = clip_range(x, 4, axis=0)
    alpha = aciq_alpha(4)
    assert (hi - lo) / 2 == pytest.approx(alpha * np.array(scale(x, axis=0)))
    assert (hi + lo) / 2 == pytest.approx([0, 3], abs=1e-12)
    assert clip_range(x[0], 4) == (lo[0], hi[0])
    assert clip_range(x[0], 4, half_range=True) == (0.0, aciq_alpha(5) * scale(x[0]))
    assert clip_range(np.zeros(3), 4, "gauss") == (0.0, 0.0)


def test_bins_by_the_law_of_two_thirds():
    rng = np.random.default_rng(2)
    for alphas in (rng.exponential(size=5), np.array([1e-300, 1.0, 1e300]), np.array([0.0, 2.0, 3.0], np.float32)):
        found = bin_allocation(alphas, 80)
        with localcontext(prec=50):
            weights = [Decimal(float(a)) ** (Decimal(2) / 3) if a else Decimal(0) for a in alphas]
            wanted = [float(80 * w / sum(weights)) for w in weights]
        assert found == pytest.approx(wanted, rel=8 * 2.0**-52)
    assert bin_allocation(np.full((2, 3), 0.1), 96).tolist() == [[16.0] * 3] * 2
    assert bin_allocation(np.zeros(4), 8).tolist() == [2.0] * 4
    assert bin_allocation(np.zeros(0), 8).shape == (0,)


@pytest.mark.parametrize("alphas", [(1.0, 2.0, 4.0), (1.0, 1.0, 8.0), (0.3, 5.0, 5.1)])
def test_no_whole_bins_are_much_better_than_the_law(alphas):
    total = 48
    law = bin_allocation(np.array(alphas), total)
    triples = ((a, b, total - a - b) for a in range(1, total - 1) for b in range(1, total - a))
    best = min(triples, key=lambda bins: sum((a / n) ** 2 for a, n in zip(alphas, bins, strict=True)))
    assert np.abs(np.array(best) - law).max() < 1
    least = sum((a / n) ** 2 for a, n in zip(alphas, best, strict=True))
    assert sum((a / n) ** 2 for a, n in zip(alphas, law, strict=True)) <= least * (1 + 1e-12)


def test_bits_of_channels():
    assert bit_allocation(np.full(6, 0.7), 4).tolist() == [4] * 6
    assert bit_allocation(np.full(49, 0.1), 4, rounding="ceil").tolist() == [4] * 49
    assert bit_allocation(np.zeros(3), 4).tolist() == [4] * 3
    assert bit_allocation(np.zeros((0, 2)), 4).shape == (0, 2)
    # 8**(2/3) = 4: two bits more.
    assert bit_allocation(np.array([1.0, 8.0, 64.0]), 4).tolist() == [2, 4, 6]
    found = bit_allocation(np.array([0.0, 1.0, 1.0, 1.0]), 3)
    assert found.tolist() == [0, 4, 4, 4]
    assert found.dtype == np.int64
    assert bit_allocation(np.array([1e-9, 1.0]), 4, maximum=4).tolist() == [0, 4]
    assert bit_allocation(np.array([1e-9, 1.0]), 4, minimum=3, maximum=5).tolist() == [3, 5]


def test_the_mean_of_bits_is_met():
    rng = np.random.default_rng(3)
    missed = {}
    for iterations in (1, 10):
        means = []
        for _ in range(20):
            alphas = rng.lognormal(sigma=1, size=400)
            found = bit_allocation(alphas, 4, iterations=iterations, rounding="ceil")
            assert ((found >= 0) & (found <= 8)).all()
            order = np.argsort(alphas)
            assert (np.diff(found[order]) >= 0).all()
            means.append(abs(found.mean() - 4))
        missed[iterations] = max(means)
    assert missed[1] > 0.2
    assert missed[10] <= 0.01
    # The logarithm is concave: rounded to nearest, the first round has too few bits.
    assert bit_allocation(rng.lognormal(size=400), 4, iterations=1).mean() < 3.9


def exact_moments(row):
    values = [Fraction(v) for v in row]
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bias_correction_restores_mean_and_spread(dtype):
    rng = np.random.default_rng(4)
    w = (rng.standard_normal((4, 3, 5)) + rng.standard_normal((1, 3, 1))).astype(dtype)
    w_q = (np.round(w * 1.5) / 1.5 + 0.1).astype(dtype)
    eps = float(np.finfo(dtype).eps)
    for axis in (0, 1, -1):
        found = bias_correction(w, w_q, axis=axis)
        assert found.dtype == dtype
        assert found.shape == w.shape
        rows, channels = (np.moveaxis(a, axis, 0).reshape(w.shape[axis], -1) for a in (found, w))
        for row, channel in zip(rows.tolist(), channels.tolist(), strict=True):
            mean, squares = exact_moments(row)
            wanted, wanted_squares = exact_moments(channel)
            assert abs(mean - wanted) <= 4 * eps * max(map(abs, channel))
            assert math.sqrt(squares) == pytest.approx(math.sqrt(wanted_squares), rel=20 * eps)


def test_bias_correction_as_printed_scales_the_mean_too():
    rng = np.random.default_rng(5)
    w = rng.standard_normal((2, 50)) + 3
    w_q = np.round(w * 2) / 2
    printed, code = bias_correction(w, w_q, form="paper"), bias_correction(w, w_q)
    for c in range(2):
        mean, squares = exact_moments(w[c].tolist())
        _, squares_q = exact_moments(w_q[c].tolist())
        ratio = math.sqrt(squares / squares_q)
        assert abs(ratio - 1) > 1e-3
        assert printed[c].mean() == pytest.approx(ratio * float(mean), rel=1e-14)
        assert code[c].mean() == pytest.approx(float(mean), rel=1e-14)
        assert printed[c].std() == pytest.approx(code[c].std(), rel=1e-13)


def test_bias_correction_of_channels_without_spread():
    w = np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
    w_q = np.array([[0.3, 0.3, 0.3], [0.1, 0.1, 0.1], [0.0, 0.0, 0.0]])
    for form in ("code", "paper"):
        found = bias_correction(w, w_q, form=form)
        assert found[0] == pytest.approx([0.1] * 3, rel=1e-15)
        assert found[1] == pytest.approx([7 / 3] * 3)
        assert found[2].tolist() == [0.0] * 3
    # Forty-nine tenths add up to more than 49 * 0.1, yet their mean is a tenth and they have no spread.
    tenths = np.full((1, 49), 0.1)
    assert bias_correction(np.linspace(0, 1, 49)[None], tenths) == pytest.approx(np.full((1, 49), 0.5))
    assert bias_correction(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0, 3)
    assert bias_correction(np.zeros((2, 0)), np.zeros((2, 0))).shape == (2, 0)


@pytest.mark.parametrize("bits", SAWB, ids=str)
def test_sawb(bits):
    rng = np.random.default_rng(6)
    c1, c2 = SAWB[bits]
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal((5, 7)).astype(dtype)
        exact = [Fraction(v) for v in x.ravel().tolist()]
        root = math.sqrt(sum(v * v for v in exact) / len(exact))
        magnitude = float(sum(map(abs, exact)) / len(exact))
        wanted = c1 * root - c2 * magnitude
        assert wanted > 0
        found = sawb(x, bits)
        assert isinstance(found, float)
        assert abs(found - wanted) <= 4 * (c1 * root + c2 * magnitude) * 2.0**-52
        assert sawb(np.asfortranarray(x).T[::-1], bits) == found
        assert sawb(x * dtype(2.0**-90), bits) == found * 2.0**-90
    assert sawb(np.zeros((2, 2), np.float32), bits) == sawb(np.zeros(0), bits) == 0.0


def test_sawb_falls_back_where_the_clip_is_not_positive():
    # All magnitudes alike: c1 - c2 < 0 for 4 bits.
    assert sawb(np.array([-3.0, 3.0, 3.0]), 4) == 3.0
    # Most of a real weight tensor zero, and one outlier: the unguarded rule gives a clip for 2 bits.
    assert sawb(np.array([1.0, -1.0]), 2) == pytest.approx(3.12 - 2.064)
    assert {c1 - c2 > 0 for c1, c2 in SAWB.values()} == {True, False}


def test_sawb_is_near_the_best_outermost_level_of_normal_numbers():
    for bits in (2, 3, 4, 5, 8):
        best = optimal_alpha(bits, "gauss") * (1 - 2.0**-bits)
        c1, c2 = SAWB[bits]
        assert 0.96 < (c1 - c2 * math.sqrt(2 / math.pi)) / best < 1


def test_extreme_magnitudes():
    tiny, huge = np.array([5e-324, -5e-324, 0.0]), np.array([1.7e308, 1.7e308, -1.7e308, 1.6e308])
    assert scale(huge / 2) == pytest.approx(2.0**1000 * scale(huge * 2.0**-1001))
    with pytest.raises(ValueError, match="multiply them by 2"):
        scale(huge)
    assert sawb(tiny, 2) > 0
    assert sawb(huge, "103") < math.inf
    assert scale(tiny, "gauss") >= 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: aciq_alpha(4, "normal"), ValueError, "distribution 'normal' is not known: known are laplace, gauss"),
        (lambda: aciq_alpha(65), ValueError, "bits = 65: give 0 to 64"),
        (lambda: aciq_alpha(2.0), TypeError, r"bits = 2\.0: give an integer"),
        (lambda: aciq_mse(-1.0, 4), ValueError, r"alpha = -1\.0: give a clip over the scale"),
        (lambda: quantizer_mse(0.0, 4), ValueError, r"alpha = 0\.0: give a clip over the scale, above 0"),
        (lambda: optimal_alpha(17), ValueError, "bits = 17: give 1 to 16"),
        (lambda: scale(np.ones(3), method="max"), ValueError, "method 'max' is not known"),
        (lambda: scale(np.ones(3), method="range"), ValueError, "it estimates the sigma"),
        (lambda: scale(np.ones(1), "gauss", method="range"), ValueError, "give at least 2"),
        (lambda: scale(np.ones(3), axis=1), ValueError, "axis = 1: the array has 1 dimensions"),
        (lambda: scale(np.array([1, 2])), TypeError, "x of dtype int64: give a float32"),
        (lambda: scale(np.array([1.0, np.nan])), ValueError, "x has nan at element 1: give finite numbers"),
        (lambda: choose_distribution(np.ones(3), criterion="best"), ValueError, "criterion 'best' is not known"),
        (lambda: choose_distribution(np.ones(3), criterion="mse"), ValueError, "give bits="),
        (lambda: choose_distribution(np.ones(3), bits=4), ValueError, "leave bits out"),
        (lambda: clip_range(np.ones(3), 4, solver="best"), ValueError, "solver 'best' is not known"),
        (lambda: clip_range(np.ones(3), 4, solver="exact", half_range=True), ValueError, 'use "aciq"'),
        (lambda: clip_range(np.array([1.7e308, -1.7e308]), 8), ValueError, "multiply x by a power of two"),
        (lambda: bin_allocation(np.array([1.0, -2.0]), 8), ValueError, r"alphas has -2\.0: clips are at least 0"),
        (lambda: bin_allocation(np.ones(2), 0), ValueError, "total_bins = 0: give a finite number above 0"),
        (lambda: bit_allocation(np.ones(2), 9), ValueError, "bits = 9: a mean of integers in"),
        (lambda: bit_allocation(np.ones(2), 4, minimum=5, maximum=3), ValueError, "minimum = 5, maximum = 3"),
        (lambda: bit_allocation(np.ones(2), 4, rounding="floor"), ValueError, "rounding 'floor' is not known"),
        (lambda: bit_allocation(np.ones(2), 4, iterations=0), ValueError, "iterations = 0"),
        (lambda: bias_correction(np.ones((2, 3)), np.ones((3, 2))), ValueError, "give two arrays of one shape"),
        (lambda: bias_correction(np.ones(2), np.ones(2), form="x"), ValueError, "form 'x' is not known"),
        (lambda: bias_correction(np.float64(1), np.float64(1)), ValueError, "an axis of channels"),
        (lambda: sawb(np.ones(3), 6), ValueError, "bits = 6: SAWB has coefficients for 2, 3, 4, 5, 8, '103'"),
        (lambda: sawb(np.array([np.inf]), 4), ValueError, "x has inf at element 0"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_package_says_what_it_offers():
    assert all(hasattr(clipping, name) for name in clipping.__all__)
