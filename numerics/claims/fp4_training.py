"""FP4 All the Way: its grid and blocks, noise that a step can bear, biased rounding; and EXAQ's lines against its table."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import catalog
from ..formats import BlockFormat
from ..quantizer import Quantizer
from ..rounding import Rounding
from ..scaling import (
    EXAQ_FITS,
    EXAQ_OPTIMA,
    MXFP4_NEVER_CLIP,
    SPLIT_NVFP4,
    SWITCH_RATIO,
    best_change,
    best_change_slope,
    best_rate,
    biased_error,
    biased_limit,
    exaq_clip,
    expected_change,
    gradient_to_noise,
)
from ..theory import gradient_noise_threshold
from ..words import random_words
from .claim import Claim, Paper

_G2, _CURVATURE, _TRACE, _NOISE = Fraction(9, 4), Fraction(5), Fraction(7), Fraction(1, 3)


def _grid() -> str:
    return " ".join(
        f"{v:g}" for v in sorted(set(np.abs(Quantizer(catalog.E2M1).decode(np.arange(16, dtype=np.uint8)))))
    )


def _best() -> bool:
    """The closed forms of the best rate and change, against the parabola that they are the vertex of."""
    rate = best_rate(_G2, _CURVATURE, _TRACE, _NOISE)
    here = expected_change(rate, _G2, _CURVATURE, _TRACE, _NOISE)
    sides = [
        expected_change(rate + off, _G2, _CURVATURE, _TRACE, _NOISE) for off in (Fraction(-1, 97), Fraction(1, 97))
    ]
    return here == best_change(_G2, _CURVATURE, _TRACE, _NOISE) and sides[0] == sides[1] > here


def _steepest() -> float:
    """Where the slope of the best change is largest: ||g|| = 1, 100 entries, H = I, by golden section."""
    low, high, golden = 0.01, 0.2, (5**0.5 - 1) / 2
    for _ in range(60):
        a, b = high - golden * (high - low), low + golden * (high - low)
        if best_change_slope(1.0, 1.0, 100.0, a) > best_change_slope(1.0, 1.0, 100.0, b):
            high = b
        else:
            low = a
    return (low + high) / 2


def _descended() -> Fraction:
    """Where descent with a bias is after 400 steps, over its limit; 0 unless 12 steps are the closed form exactly."""
    bias, curvature = Fraction(1, 7), Fraction(3)
    w = Fraction(2)
    for _ in range(12):
        w -= Fraction(1, 10) * (curvature * w + bias)
    if w != biased_error(Fraction(2), 12, Fraction(1, 10), bias, curvature):
        return Fraction(0)
    return Fraction(biased_error(2.0, 400, 0.1, float(bias), float(curvature))) / biased_limit(bias, curvature)[0]


def _mean_of_top(fmt: Quantizer) -> Fraction:
    """Mean over 16 words of 7.5, the largest element of a block."""
    block = np.zeros(32)
    block[0] = 7.5
    return sum((Fraction(float(fmt.quantize(block, words=np.full(32, w))[0])) for w in range(16)), Fraction(0)) / 16


def _stochastic(fmt: BlockFormat) -> Quantizer:
    return Quantizer(fmt, Rounding.SR, random_bits=4)


def _roundings() -> str:
    return " ".join(quantizer.rounding.name for quantizer in vars(SPLIT_NVFP4).values())


def _normal() -> NDArray[np.float32]:
    """Normal numbers by Box and Muller's transform of words, 2**21."""
    words = random_words(1 << 21, seed=2505).reshape(2, -1).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log((words[0] + 0.5) * 2.0**-32)), words[1] * (2 * np.pi * 2.0**-32)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32)


def _share(x: NDArray[np.float32], found: NDArray[Any]) -> float:
    """Square error over energy."""
    wide = x.astype(np.float64)
    return float(np.square(found - wide).sum() / np.square(wide).sum())


def _lost(fmt: BlockFormat) -> float:
    return _share(x := _normal(), Quantizer(fmt).quantize(x))


def _lost_by_sixths() -> float:
    """In blocks of 16, divided by a sixth of the largest magnitude as float32 has it."""
    blocks = _normal().reshape(-1, 16)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(6)
    return _share(blocks, Quantizer(catalog.E2M1).quantize(blocks / scales).astype(np.float64) * scales)


def _clipped() -> float:
    """How many elements exceed 6 times the scale of their block by the OCP rule."""
    codes = Quantizer(catalog.MXFP4_E2M1).encode(x := _normal())
    scales = catalog.MXFP4_E2M1.scale.decode(codes.scales).repeat(32)
    return float((np.abs(x) > 6 * scales).mean())


def _sampled(statement: str, expected: float, found: Callable[[], float], tolerance: float) -> Claim:
    return Claim(statement, expected, found, "", tolerance, "derived: measured on 2**21 numbers drawn from a seed")


def _exaq(bits: int) -> Claim:
    slope, intercept = EXAQ_FITS[bits]
    return Claim(
        f"EXAQ, {bits} bits, sigma 1.01: the line misses the optimum of the table by",
        round(slope * 1.01 + intercept - EXAQ_OPTIMA[1.01][bits], 2),
        lambda: exaq_clip(1.01, bits) - EXAQ_OPTIMA[1.01][bits],
        "arXiv 2410.03185, table",
        5e-3,
        "the distribution behind either was not seen",
    )


PAPER = Paper(
    "Chmiel, Fishman, Banner, Soudry: FP4 All the Way, NeurIPS 2025, arXiv 2505.19115",
    (
        Claim("magnitudes of E2M1", "0 0.5 1 1.5 2 3 4 6", _grid),
        Claim("elements in a block of NVFP4", 16, lambda: catalog.NVFP4.block),
        Claim("elements in a block of MXFP4", 32, lambda: catalog.MXFP4_E2M1.block),
        Claim(
            "x and w forward, g and w backward, x and g in the update",
            "RNE RNE SR RNE SR SR",
            _roundings,
            "eq. 4 to 6",
        ),
        Claim("the best rate and its change are the vertex of the expected change", True, _best, "threshold"),
        Claim("||g|| = 1, 100 entries: the noise of steepest loss", 0.057735, _steepest, "threshold", 5e-7),
        Claim("the threshold as a closed form", 0.057735, lambda: gradient_noise_threshold(1.0, 100), "", 5e-7),
        Claim("gradient over noise at the threshold", 1.7320508, lambda: SWITCH_RATIO, "sqrt 3", 5e-8),
        Claim(
            "the threshold is where the ratio is sqrt 3",
            3.0,
            lambda: gradient_to_noise(1.0, gradient_noise_threshold(1.0, 100), 100) ** 2,
            "threshold",
            1e-14,
        ),
        Claim("descent with a bias ends at -bias / curvature", 1.0, _descended, "biased rounding", 1e-12),
        Claim(
            "7.5 in MXFP4 by the OCP rule: mean of stochastic rounding",
            6,
            lambda: _mean_of_top(_stochastic(catalog.MXFP4_E2M1)),
            "",
            note="derived: what the scale clips is biased",
        ),
        Claim(
            "7.5 in MXFP4 that never clips: mean of stochastic rounding",
            Fraction(15, 2),
            lambda: _mean_of_top(_stochastic(MXFP4_NEVER_CLIP)),
            "code of the predecessor",
        ),
        _sampled(
            "normal numbers in MXFP4, OCP rule: error over energy", 0.01324, lambda: _lost(catalog.MXFP4_E2M1), 6e-5
        ),
        _sampled("the same by the scale that never clips", 0.01333, lambda: _lost(MXFP4_NEVER_CLIP), 6e-5),
        _sampled("per cent that the OCP rule clips", 2.36, lambda: 100 * _clipped(), 0.06),
        _sampled("E2M1 in blocks of 16 with float32 scales", 0.00886, _lost_by_sixths, 4e-5),
        *map(_exaq, EXAQ_FITS),
    ),
)
