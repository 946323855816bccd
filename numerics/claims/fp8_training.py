"""Scaling FP8 training: scales of tensors, Smooth-SwiGLU as an identity, Adam's moments in FP8."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from .. import catalog
from ..quantizer import Quantizer
from ..scaling import (
    FP8_ADAM,
    GAUDI2_E4M3,
    DelayedScale,
    Storage,
    adam_start,
    delayed_quantize,
    fp8_adam,
    observe,
    restore,
    scale_of,
    smooth_swiglu,
    store,
    swish,
    unscale,
)
from .claim import Claim, Paper

_E4M3, _E5M2 = Quantizer(catalog.E4M3), Quantizer(catalog.E5M2)
_SIZES = (1.0, 1e-9, 3.0, 240.0, math.nextafter(240.0, 999), 57344.0, 1e12)


def _scale_is_the_power() -> bool:
    """2**k with k the largest for which amax 2**k <= largest, compared in rationals."""
    pairs = [(Fraction(size), Fraction(top), size, top) for top in (240.0, 448.0, 57344.0) for size in _SIZES]
    return all(exact * Fraction(scale_of(size, top)) <= end < 2 * exact * Fraction(scale_of(size, top))
               for exact, end, size, top in pairs)  # fmt: skip


def _exact_back() -> bool:
    """x -> round(x * scale) -> / scale: what comes back, times the scale, is what was stored."""
    x = np.sin(np.arange(1.0, 100)) * 1e-3
    stored, _ = delayed_quantize(x, _E4M3, observe(DelayedScale(240.0), x))
    back = unscale(stored)
    return all(
        Fraction(float(b)) * Fraction(stored.scale) == Fraction(float(v))
        for b, v in zip(back, stored.values, strict=True)
    )


def _grown() -> float:
    """What a value of 3 becomes by the scale of an amax of 1."""
    stored, _ = delayed_quantize(np.array([3.0]), _E4M3, observe(DelayedScale(448.0), np.array([1.0])))
    return float(unscale(stored)[0])


def _identity(axis: int) -> bool:
    linear = np.sin(np.arange(1.0, 61)).reshape(10, 6) * 2.0 ** np.arange(-6, 6, 2)
    gate = 3 * np.cos(np.arange(1.0, 61)).reshape(10, 6)
    return bool((restore(smooth_swiglu(linear, gate, axis=axis)) == linear * swish(gate)).all())


def _flushed(fmt: Quantizer, share: float) -> Fraction:
    """The mean over 256 words of share times the smallest number, in that number."""
    least = 2.0**-9 if fmt is _E4M3 else 2.0**-16
    x = np.full(256, share * least)
    found = store(x, Storage(fmt, flush=True), scale=1.0, words=np.arange(256), random_bits=8)
    return sum(map(Fraction, found.values.tolist()), Fraction(0)) / 256 / Fraction(least)


def _kept(second: Quantizer) -> bool:
    """Whether gradients 2**-11 apart both leave a second moment."""
    how = replace(FP8_ADAM, second=Storage(second))
    state = fp8_adam(np.array([1.0, 2.0**-11]), adam_start(np.zeros(2), how), rate=0.1, storage=how)
    return bool(state.second.values.all())


PAPER = Paper(
    "Fishman, Chmiel, Banner, Soudry: Scaling FP8 training to trillion-token LLMs, ICLR 2025, arXiv 2409.12517",
    (
        Claim("largest E4M3 number of Gaudi 2", 240, lambda: GAUDI2_E4M3.max, "code"),
        Claim("largest E5M2 number", 57344, lambda: catalog.E5M2.max, "code"),
        Claim("the scale is 2**floor(log2(largest / amax))", True, _scale_is_the_power, "code"),
        Claim("the scale of amax = 0", 1, lambda: scale_of(0.0, 240.0), "code"),
        Claim("unscaling by a power of two is exact", True, _exact_back, "", note="derived"),
        Claim(
            "delayed scaling clips what grows: 3 after an amax of 1, E4M3",
            1.75,
            _grown,
            "",
            note="derived: 448/256; once, the next scale knows it",
        ),
        Claim("Smooth-SwiGLU per channel is SwiGLU, bit for bit", True, lambda: _identity(0), "Smooth-SwiGLU",
              note="with scales that are powers of two"),
        Claim("Smooth-SwiGLU per token is SwiGLU, bit for bit", True, lambda: _identity(-1), "code",
              note="the code's axis is not the paper's"),
        Claim("stochastic flush, E4M3: 3/8 of the smallest number in the mean", Fraction(3, 8),
              lambda: _flushed(_E4M3, 0.375), "code"),
        Claim("stochastic flush, E5M2: 3/8 of the smallest number in the mean", Fraction(3, 8),
              lambda: _flushed(_E5M2, 0.375), "code"),
        Claim("second moments of gradients 2**11 apart in E5M2", True, lambda: _kept(_E5M2), "Adam"),
        Claim("second moments of gradients 2**11 apart in E4M3", False, lambda: _kept(_E4M3), "Adam"),
    ),
)  # fmt: skip
