"""Published functions at the ends of float64: what a power of two would give elsewhere, or a sentence."""

import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import binary, clipping, diagnostics, luq, normalization, scaling
from numerics.reference import luq as oracle

LARGEST = float(np.finfo(np.float64).max)
TINY = 2.0**-1074
SAMPLES = np.array([3.0, -2.0, 5.0, 1.0, -7.0])


@pytest.mark.parametrize("place", [-1060, -600, 0, 600, 1000])
def test_shift_batch_norm_does_not_change_with_a_power_of_two(place):
    """Terms of the variance beyond float64, or below it, made it beta for all."""
    wanted = binary.shift_batch_norm(SAMPLES, 2.0, 0.5)
    assert len(set(wanted.tolist())) == SAMPLES.size
    scaled = np.ldexp(SAMPLES, place)
    np.testing.assert_array_equal(binary.shift_batch_norm(scaled, 2.0, 0.5), wanted)
    with_epsilon = binary.shift_batch_norm(SAMPLES, 2.0, 0.5, epsilon=300.0)
    assert (with_epsilon != wanted).any()
    if abs(place) <= 400:
        found = binary.shift_batch_norm(scaled, 2.0, 0.5, epsilon=math.ldexp(300.0, 2 * place))
        np.testing.assert_array_equal(found, with_epsilon)


@pytest.mark.parametrize("place", [-1074, -600, 0, 600, 1020])
def test_bounded_weight_norm_does_not_change_with_a_power_of_two(place):
    """A length among subnormals was rounded to one, and one beyond float64 made zeros."""
    v = np.stack([SAMPLES, SAMPLES[::-1], np.zeros(5)])
    wanted = normalization.bounded_weight_norm(v, 3.0)
    np.testing.assert_array_equal(normalization.bounded_weight_norm(np.ldexp(v, place), 3.0), wanted)
    length = math.sqrt(sum(Fraction(x) ** 2 for x in SAMPLES.tolist()))
    np.testing.assert_allclose(wanted[0], 3 * SAMPLES / length, rtol=3 * 2.0**-52)


def test_steps_of_any_norm():
    for norm in (2.0**-400, 3.0, 1e100):
        assert normalization.effective_step(0.1, norm) == 0.1 / norm**2
        assert normalization.corrected_learning_rate(0.1, norm, norm) == 0.1
    assert normalization.effective_step(1e-300, 2.0**-600) == math.ldexp(1e-300, 1200)
    assert normalization.effective_step(1.0, 2.0**600) == 0.0
    assert normalization.corrected_learning_rate(2.0**-1000, 2.0**600, 2.0**-300) == 2.0**800


@pytest.mark.parametrize("distribution", ["laplace", "gauss"])
def test_error_of_clips_far_beyond_the_mass(distribution):
    """Two levels of +-alpha/2: E x**2 - alpha E|x| + alpha**2/4; a bin far wider than the mass is no more work."""
    square, magnitude = (2.0, 1.0) if distribution == "laplace" else (1.0, math.sqrt(2 / math.pi))
    for alpha in (70.0, 1e4, 1e9, 1e100):
        wanted = square - alpha * magnitude + alpha * alpha / 4
        assert clipping.quantizer_mse(alpha, 1, distribution) == pytest.approx(wanted, rel=1e-12)
        # Of four levels the outer two are met by no mass.
        assert clipping.quantizer_mse(2 * alpha, 2, distribution) == pytest.approx(wanted, rel=1e-12)
    assert clipping.aciq_mse(2.0**500, 0, distribution) == pytest.approx(2.0**1000 / 3, rel=1e-13)


@pytest.mark.parametrize("biased", [luq.biased_noise_then_round, luq.biased_log_rounding])
def test_the_biased_ones_below_and_above_their_grid(biased):
    alpha = 2.0**-1000
    x = np.array([LARGEST, -LARGEST, alpha / 4, 0.0])
    found = biased(x, alpha=alpha, words=[0, 9, 255, 0], random_bits=8)
    assert found.tolist() == [alpha * 64, -alpha * 64, alpha, 0.0]
    long = biased(np.array([1.5 * 2.0**23, 2.0**23]), 1024, alpha=2.0**-1000, words=[0, 255], random_bits=8)
    assert set(long.tolist()) <= {2.0**22, 2.0**23, 2.0**24}


def test_closed_forms_of_bias_on_a_grid_without_end():
    alpha = 1.25 * TINY * 2**60
    low = oracle.choice(LARGEST, alpha, 2200).low
    x = np.array([LARGEST, 1.1 * float(low), float(low)])
    for found, exact in zip(
        luq.noise_then_round_bias(x, alpha).tolist(), [0.0, -0.075 * float(low), -float(low) / 8], strict=True
    ):
        assert found == pytest.approx(exact, rel=1e-12)
    assert luq.log_rounding_bias(x, alpha)[1] == pytest.approx(float(low) * (1 + math.log2(1.1) - 1.1), rel=1e-12)


def test_softmax_inputs_far_beyond_their_clip():
    assert scaling.exponential_mse(np.array([-LARGEST]), -TINY, 4) == 1.0


PAIR = np.array([LARGEST, -LARGEST])
REFUSED = [
    ("at most 2[*][*]500", lambda: clipping.aciq_mse(1e200, 4)),
    ("at most 2[*][*]500", lambda: clipping.quantizer_mse(math.inf, 4)),
    ("a range beyond the largest float64", lambda: clipping.scale(PAIR, "gauss", method="range")),
    ("a term of the variance beyond the largest float64", lambda: binary.shift_variance(np.array([1e200, -1e200]))),
    ("an infinity, of which there is no mean", lambda: binary.shift_variance(np.array([1.0, np.inf]))),
    (
        "differ from their mean by more than float64 holds",
        lambda: binary.shift_batch_norm(np.array([LARGEST, LARGEST, -LARGEST]), 1.0, 0.0),
    ),
    (
        r"gradient\[1\] \(in C order\) is infinite",
        lambda: binary.shift_adamax(PAIR, np.array([0, np.inf]), binary.AdaMaxState.zeros(PAIR)),
    ),
    ("norm = 1e-200: the learning rate is beyond float64", lambda: normalization.effective_step(0.1, 1e-200)),
    ("the learning rate is beyond float64", lambda: normalization.corrected_learning_rate(0.1, 1e200, 1e-200)),
    ("noise whose norm is beyond", lambda: scaling.measured_noise(PAIR, -PAIR)),
    ("noise whose norm is beyond", lambda: scaling.measured_noise(PAIR, PAIR / 8)),
    ("a sharpness beyond the largest float64", lambda: diagnostics.depth_two_sharpness((1e200, 1e-200))),
]


@pytest.mark.parametrize(("sentence", "call"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refused_with_a_sentence(sentence, call):
    with pytest.raises(ValueError, match=sentence):
        call()
