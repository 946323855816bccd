"""Binarized networks: signs, powers of two, the factors of shift-based batch norm, the product by exclusive or."""

import math
from fractions import Fraction

import numpy as np

from .. import binary
from ..words import random_words
from .claim import Claim, Paper


def _drawn_signs(rows: int, columns: int, stream: int) -> np.ndarray:
    bits = random_words(rows * columns, 1, seed=1, stream=stream).reshape(rows, columns)
    return 2.0 * bits - 1


def _products_agree() -> int:
    """For how many K from 1 to 130 the product of bits is that of integers."""
    a, b = _drawn_signs(9, 130, 0), _drawn_signs(130, 70, 1)
    return sum(
        np.array_equal(binary.xnor_matmul(a[:, :k], b[:k]), (a[:, :k] @ b[:k]).astype(int)) for k in range(1, 131)
    )


def _bytes_agree() -> bool:
    x = random_words(5 * 147, 8, seed=2).reshape(5, 147)
    w = _drawn_signs(147, 8, 2)
    exact = x.astype(float) @ w
    return bool(np.array_equal(binary.byte_matmul(x.astype(np.uint8), w), exact))


def _chance() -> Fraction:
    """How often a sign of 0.25 is +1 over all words of 8 bits."""
    words = np.arange(256)
    return Fraction(int((binary.stochastic_sign(np.full(256, 0.25), words=words, random_bits=8) == 1).sum()), 256)


def _first_above(power: float) -> bool:
    """Whether AP2 goes up from the first float64 above sqrt(2) times a power on, decided by squares of integers."""
    root = Fraction(math.isqrt(1 << 105), 1 << 52)
    low, high = float(root) * power, float(root + Fraction(1, 1 << 52)) * power
    return bool(binary.ap2(np.array([low, high])).tolist() == [power, 2 * power])


def _factors() -> list[tuple[float, float]]:
    """(variance by shifts over variance, scale over 1/sqrt(variance)) of many small sets of samples."""
    words = random_words(6 * 2000, 32, seed=3).astype(float).reshape(6, 2000)
    x = (words - 2.0**31) * 2.0 ** (random_words(12000, 4, seed=4).reshape(6, 2000).astype(float) - 8)
    x -= x.mean(axis=0)
    exact, shifted = (x * x).mean(axis=0), binary.shift_variance(x)
    return list(zip(shifted / exact, binary.inverse_root(shifted) * np.sqrt(exact), strict=True))


def _within(which: int, bounds: tuple[float, float]) -> bool:
    # Rounding errors of the float64 quotient stay under 2**-48.
    slack = 1 + 2.0**-48
    return all(bounds[0] / slack <= pair[which] <= bounds[1] * slack for pair in _factors())


def _largest_factor() -> float:
    """The factor of the variance for +-c with c barely above sqrt(2)."""
    c = np.nextafter(math.sqrt(2), 2)
    return float(binary.shift_variance(np.array([c, -c]))) / float(c * c)


def _after_zeros(store: str) -> float:
    theta = np.zeros(1)
    _, state = binary.shift_adamax(theta, np.array([4.0]), binary.AdaMaxState.zeros(theta), store=store)
    for _ in range(1000):
        _, state = binary.shift_adamax(theta, np.zeros(1), state, store=store)
    return float(state.v[0])


PAPER = Paper(
    "Hubara, Courbariaux, Soudry, El-Yaniv, Bengio: Binarized neural networks, arXiv 1602.02830; QNN, arXiv 1609.07061",
    (
        Claim("the sign of zero is +1", 1.0, lambda: float(binary.sign(np.array(0.0)))),
        Claim("0.25 becomes +1 with probability (0.25 + 1)/2", Fraction(5, 8), _chance),
        Claim("AP2(1.41)", 1.0, lambda: float(binary.ap2(np.array(1.41))), note="derived"),
        Claim("AP2(1.42)", 2.0, lambda: float(binary.ap2(np.array(1.42))), note="derived; nearest in distance is 1"),
        Claim("AP2 parts at sqrt(2), to the last bit", True, lambda: _first_above(2.0**-3), note="derived"),
        Claim(
            "the variance by shifts is within [2^-1/2, 2^1/2] of the variance",
            True,
            lambda: _within(0, binary.SHIFT_VARIANCE_BOUNDS),
            note="derived",
        ),
        Claim("the upper end is approached", 2.0**0.5, _largest_factor, tolerance=1e-12, note="derived"),
        Claim(
            "the scale by shifts is within [2^-3/4, 2^3/4] of 1/std",
            True,
            lambda: _within(1, binary.SHIFT_SCALE_BOUNDS),
            note="derived",
        ),
        Claim(
            "v = 4 written back as AP2(v) is 4 after 1000 gradients of zero",
            4.0,
            lambda: _after_zeros("ap2"),
            "released code",
            note="a defect: v stands still",
        ),
        Claim(
            "v kept exactly decays by (1 - 2^-10)^1000",
            4 * (1 - 2.0**-10) ** 1000,
            lambda: _after_zeros("exact"),
            tolerance=1e-12,
        ),
        Claim("products by exclusive or that are exact, K = 1 ... 130", 130, _products_agree),
        Claim("a first layer of bytes by eight planes of bits is exact", True, _bytes_agree),
        Claim(
            "Glorot factor of 784 inputs and 4096 outputs",
            math.sqrt(4880 / 1.5),
            lambda: binary.glorot_scale(784, 4096),
            "released code",
            tolerance=1e-12,
        ),
    ),
)
