"""Clips of an array: the closed form or the exact optimum times the estimated scale, about the mean."""

import math
from typing import Any

import numpy as np

from ..means import finite, means, rows_of_channels
from .aciq import aciq_alpha
from .distributions import scale
from .optimum import optimal_alpha

SOLVERS = ("aciq", "exact")


def clip_range(
    x: Any,
    bits: int,
    distribution: str = "laplace",
    *,
    axis: int | None = None,
    half_range: bool = False,
    solver: str = "aciq",
    method: str = "moments",
) -> tuple[Any, Any]:
    """(lo, hi) of x [...] at which it is clipped before 2**bits levels: floats, or float64 [channels] along `axis`.

    mean -/+ alpha * scale, alpha by `aciq_alpha` (solver "aciq") or `optimal_alpha` ("exact"), the scale by `scale`
    with its `method`. half_range: x is what a ReLU is given; the range is [0, alpha * scale], by the model in which its
    mean is 0. Errors: as those functions; ValueError for an unknown solver and for "exact" with half_range, for which
    no quantizer is defined. Source: Banner, Nahshan and Soudry, arXiv 1810.05723.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver {solver!r} is not known: known are {', '.join(SOLVERS)}")
    if solver == "exact" and half_range:
        raise ValueError('solver "exact" with half_range: it is that of mid-rise levels on both sides; use "aciq"')
    if solver == "exact":
        alpha = optimal_alpha(bits, distribution)
    else:
        alpha = aciq_alpha(bits, distribution, half_range=half_range)
    spread = np.asarray(scale(x, distribution, axis=axis, method=method), np.float64)
    with np.errstate(over="ignore"):
        reach = np.asarray(alpha * spread)
    if half_range:
        lo, hi = np.zeros_like(reach), reach
    else:
        center = means(rows_of_channels(finite(x), axis)[0]).reshape(reach.shape)
        lo, hi = center - reach, center + reach
    if not math.isfinite(float(np.abs(hi).max(initial=0.0))):
        raise ValueError("a clip beyond the largest float64: multiply x by a power of two first")
    return (float(lo), float(hi)) if axis is None else (lo, hi)
