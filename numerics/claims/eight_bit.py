"""Scalable methods for 8-bit training: the constant of Range BN, the angle of quantized weights, bifurcation."""

from functools import lru_cache
from math import log, sqrt

import numpy as np

from .. import catalog
from ..accumulator import Accumulator
from ..clipping import affine, dequantize
from ..normalization import bifurcated_gradients, cosine_bound, expected_range, range_constant
from ..products import matmul
from ..rounding import Rounding
from ..words import random_words
from .claim import Claim, Paper

_RANGES = {
    16: 3.5320,
    32: 4.1393,
    64: 4.6875,
    128: 5.1892,
    256: 5.6537,
    1024: 6.4965,
    4096: 7.2522,
    16384: 7.9427,
    65536: 8.5823,
}
_COUNT = 100_000


def _range(n: int) -> Claim:
    return Claim(
        f"the expected range of {n} normal numbers over sigma",
        _RANGES[n],
        lambda: expected_range(n),
        "",
        5e-5,
        "derived",
    )


def _over(kind: str, n: int, ratio: float, tolerance: float) -> Claim:
    return Claim(
        f'n = {n}: sigma by the constant "{kind}" over sigma',
        ratio,
        lambda: range_constant(n, kind) * expected_range(n),
        kind if kind != "paper" else "Range BN",
        tolerance,
        "not 1: a systematic factor, which the learned gain absorbs",
    )


@lru_cache(maxsize=1)
def _normal() -> np.ndarray:
    """Normal numbers from words, by Box and Muller's transform."""
    words = random_words(2 * (_COUNT // 2), seed=1).reshape(2, -1).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log((words[0] + 1) * 2.0**-32)), 2 * np.pi * 2.0**-32 * words[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])


def _cosine(bits: int) -> float:
    weights = _normal()
    step = abs(weights).max() / 2**bits
    rounded = np.rint(weights / step) * step
    return float(weights @ rounded / sqrt((weights @ weights) * (rounded @ rounded)))


def _angle(bits: int, bound: float) -> tuple[Claim, Claim]:
    printed = Claim(
        f"{bits} bits, n = 100000: the bound on the cosine", bound, lambda: cosine_bound(bits, _COUNT), "theorem", 5e-5
    )
    kept = Claim(
        f"{bits} bits, n = 100000: a sample is within the bound",
        True,
        lambda: _cosine(bits) >= cosine_bound(bits, _COUNT),
        "theorem",
        note="with the probability that the largest of n normal numbers stays below sqrt(2 ln n) sigma",
    )
    return printed, kept


def _weights_exact() -> bool:
    """The gradient of the weights is that of the gradient as it is; that of the input is not."""
    x, w, g = (np.sin(np.arange(1.0, 1 + m * n)).reshape(m, n).astype(np.float32) for m, n in ((4, 3), (3, 5), (4, 5)))

    def coarse(gradient: np.ndarray) -> np.ndarray:
        return dequantize(*affine(gradient, 8, rounding=Rounding.SR, seed=1), dtype=gradient.dtype)

    exact = Accumulator(catalog.BINARY32, order="exact")
    of_input, of_weights = bifurcated_gradients(x, w, g, quantizer=coarse)
    return bool((of_weights == matmul(x.T, g, exact)).all() and (of_input != matmul(g, w.T, exact)).any())


def _stochastic_mean() -> float:
    """The mean over all words of 6 bits of an 8-bit gradient, its difference from the gradient in steps."""
    words = np.arange(64)
    codes, scale, zero_point = affine(
        np.full(64, 0.3), 8, lo=-1.0, hi=1.0, rounding=Rounding.SR, random_bits=6, words=words
    )
    return float(abs(0.3 - dequantize(codes, scale, zero_point).mean()) / scale)


PAPER = Paper(
    "Banner, Hubara, Hoffer, Soudry: Scalable methods for 8-bit training, NeurIPS 2018, arXiv 1805.11046",
    (
        *map(_range, _RANGES),
        _over("paper", 16, 1.50, 5e-3),
        _over("paper", 65536, 1.82, 5e-3),
        _over("poster", 16, 0.75, 5e-3),
        _over("poster", 65536, 0.91, 5e-3),
        _over("code", 16, 0.81, 5e-3),
        _over("code", 256, 0.917, 5e-4),
        _over("code", 1024, 0.943, 5e-4),
        _over("code", 65536, 0.984, 5e-4),
        Claim(
            "0.35 * 0.5 * (1 + sqrt(pi ln 4))",
            0.540208,
            lambda: range_constant(1024, "code") * sqrt(2 * log(1024)),
            "code",
            5e-7,
        ),
        *_angle(2, 0.7428),
        *_angle(4, 0.9203),
        *_angle(8, 0.9946),
        Claim("bifurcation leaves the gradient of the weights exact", True, _weights_exact, "gradient bifurcation"),
        Claim(
            "8-bit stochastic gradients have no bias",
            0.0,
            _stochastic_mean,
            "gradients",
            2.0**-6,
            "to the last random bit",
        ),
    ),
)
