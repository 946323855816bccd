"""What a step of noisy or biased gradients gains on a quadratic loss, and when a backward pass in low precision stops gaining.

g: the gradient, H: the Hessian, s: the standard deviation of the noise of each entry, independent and of mean 0. With
g2 = ||g||**2, curvature = g^T H g and trace = tr H, a step w - rate (g + noise) changes the loss by
-rate g2 + rate**2 (curvature + s**2 trace)/2 in the mean: exactly for a quadratic, to second order for others.
Closed forms take int, float or Fraction and return what arithmetic on these gives: exact for Fractions.
Source: Chmiel, Fishman, Banner and Soudry, FP4 All the Way, arXiv 2505.19115. Its rule is stated for H = lambda I.
"""

import math
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from ..means import finite, norms

Number = TypeVar("Number", float, Fraction)

SWITCH_RATIO = math.sqrt(3)


def expected_change(rate: Number, g2: Number, curvature: Number, trace: Number, noise: Number) -> Number:
    """The mean change of the loss in a step of this rate; negative: progress. Exact for a quadratic loss.

    Source: arXiv 2505.19115, the mean change of the loss.
    """
    return -rate * g2 + rate * rate * (curvature + noise * noise * trace) / 2


def best_rate(g2: Number, curvature: Number, trace: Number, noise: Number) -> Number:
    """The rate of least `expected_change`: g2 / (curvature + noise**2 trace).

    Errors: ValueError where that denominator is not positive: the longer the step the better, or there is none.
    Source: arXiv 2505.19115, the optimal rate.
    """
    return g2 / _bend(curvature, trace, noise)


def best_change(g2: Number, curvature: Number, trace: Number, noise: Number) -> Number:
    """`expected_change` at the best rate: -g2**2 / (2 (curvature + noise**2 trace)). Errors: as `best_rate`.

    Source: arXiv 2505.19115, the change at the optimal rate.
    """
    return -g2 * g2 / (2 * _bend(curvature, trace, noise))


def best_change_slope(g2: Number, curvature: Number, trace: Number, noise: Number) -> Number:
    """How fast `best_change` grows with the noise: noise trace g2**2 / (curvature + noise**2 trace)**2.

    It is largest at noise = sqrt(curvature / (3 trace)), for H = lambda I at ||g|| / sqrt(3 dimension), which is
    `numerics.theory.gradient_noise_threshold`. Errors: as `best_rate`. Source: arXiv 2505.19115; the slope is derived.
    """
    bend = _bend(curvature, trace, noise)
    return noise * trace * g2 * g2 / (bend * bend)


def _bend(curvature: Number, trace: Number, noise: Number) -> Number:
    bend = curvature + noise * noise * trace
    if not bend > 0:
        raise ValueError(
            f"curvature {curvature}, trace {trace}, noise {noise}: the loss does not bend up; no best rate"
        )
    return bend


def gradient_to_noise(gradient_norm: float, noise: float, dimension: int) -> float:
    """||g|| / (noise sqrt(dimension)): the gradient's root mean square over the noise's; inf without noise.

    Errors: ValueError for a dimension that is not finite and at least 1, a negative or non-finite norm or noise.
    Source: arXiv 2505.19115, the threshold sqrt(3).
    """
    if not 1 <= dimension < math.inf:
        raise ValueError(f"dimension = {dimension!r}: give the number of entries, at least 1")
    for label, value in (("gradient_norm", gradient_norm), ("noise", noise)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{label} = {value!r}: give a finite number of at least 0")
    return math.inf if noise == 0 else gradient_norm / math.sqrt(dimension) / noise


def high_precision_needed(gradient_norm: float, noise: float, dimension: int, *, ratio: float = SWITCH_RATIO) -> bool:
    """Whether `gradient_to_noise` is below sqrt(3): then the backward and update products belong in high precision.

    ratio: another threshold. Errors: as `gradient_to_noise`; ValueError for a ratio that is not above 0.
    Source: arXiv 2505.19115, the threshold sqrt(3).
    """
    if not 0 < ratio < math.inf:
        raise ValueError(f"ratio = {ratio!r}: give a finite number above 0")
    return gradient_to_noise(gradient_norm, noise, dimension) < ratio


def measured_noise(gradient: Any, quantized: Any) -> float:
    """Root mean square of quantized - gradient, two finite float arrays of one shape; 0 of empty ones.

    Within 3 ulp in float64, whose differences of float32 or float64 numbers are rounded once.
    Errors: TypeError for other dtypes; ValueError for shapes that differ, non-finite numbers and noise beyond float64.
    Source: derived.
    """
    exact, rounded = finite(gradient, "gradient"), finite(quantized, "quantized")
    if exact.shape != rounded.shape:
        raise ValueError(f"gradient {exact.shape} and quantized {rounded.shape}: give two arrays of one shape")
    with np.errstate(over="ignore"):
        off = rounded.astype(np.float64) - exact.astype(np.float64)
        length = float(norms(off.reshape(1, -1))[0]) if np.isfinite(off).all() else math.inf
    if length == math.inf:
        raise ValueError("noise whose norm is beyond the largest float64: multiply both by a power of two first")
    return length / math.sqrt(max(1, off.size))


def biased_limit(bias: Number, curvature: Number) -> tuple[Number, Number]:
    """(error, loss) in which descent on curvature w**2/2 ends when each gradient is off by `bias`.

    error = -bias / curvature, loss = bias**2 / (2 curvature): a smaller rate does not help.
    Errors: ValueError for a curvature that is not above 0. Source: arXiv 2505.19115, biased rounding.
    """
    if not curvature > 0:
        raise ValueError(f"curvature = {curvature}: give a number above 0; there is no minimum to miss")
    return -bias / curvature, bias * bias / (2 * curvature)


def biased_error(start: Number, steps: int, rate: Number, bias: Number, curvature: Number) -> Number:
    """w after that many steps w - rate (curvature w + bias) from `start`: limit + (1 - rate curvature)**steps (start - limit).

    Errors: ValueError for a curvature that is not above 0, and for negative steps.
    Source: arXiv 2505.19115, biased rounding; the path is derived.
    """
    if steps < 0:
        raise ValueError(f"steps = {steps}: give a number of at least 0")
    limit, _ = biased_limit(bias, curvature)
    factor: Number = (1 - rate * curvature) ** steps
    return limit + factor * (start - limit)
