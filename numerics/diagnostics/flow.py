"""Gradient flow dw/dt = -g(w), followed to where it ends; the sharpness there is GFS sharpness.

Source: Kreisler, Nacson, Soudry and Carmon, Gradient descent monotonically decreases the sharpness of gradient flow
solutions in scalar networks and beyond, ICML 2023, arXiv 2305.13064. Its integrator was not seen; this one is classical.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..means import finite
from .power_iteration import Function, Sharpness, Vector, checked, hessian_vector, norm, sharpness


class FlowEnd(NamedTuple):
    """Where the flow was left: parameters, the norm of the gradient there, steps taken, whether that is small enough."""

    w: Vector
    gradient_norm: float
    steps: int
    converged: bool


def gradient_flow(gradient: Function, w: Any, *, step: float, tolerance: float = 1e-9, steps: int = 100_000) -> FlowEnd:
    """Follows the flow from w by Runge and Kutta's fourth-order steps of time `step` until ||g|| <= tolerance.

    gradient: float64 [...] -> same shape; w: finite float32 or float64 [...]. Stable where step < 2.78 / sharpness; the
    path is within O(step**4) of the flow's. At most `steps` steps. Errors: TypeError for other dtypes; ValueError for a
    step, tolerance or number out of range, for a gradient that is not finite or has another shape, and where a
    step that is too long leads beyond float64.
    Source: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, 1993, II.1.
    """
    if not 0 < step < math.inf or not tolerance > 0 or steps < 0:
        raise ValueError(
            f"step = {step!r}, tolerance = {tolerance!r}, steps = {steps!r}: give a finite step and a tolerance above 0"
            " and at least 0 steps"
        )
    at = finite(w, "w").astype(np.float64)

    def slope(place: Vector) -> Vector:
        return -checked(gradient(place), at.shape, "the gradient")

    first = slope(at)
    count = 0
    while (size := norm(first)) > tolerance and count < steps:
        second = slope(_ahead(at, step / 2, first))
        third = slope(_ahead(at, step / 2, second))
        fourth = slope(_ahead(at, step, third))
        at = _ahead(at, step / 6, first + 2 * second + 2 * third + fourth)
        first = slope(at)
        count += 1
    return FlowEnd(at, size, count, size <= tolerance)


def _ahead(at: Vector, step: float, slope: Vector) -> Vector:
    """at + step slope, or a sentence where that is no number."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: Vector = at + step * slope
    if not np.isfinite(found).all():
        raise ValueError(
            f"the flow leaves float64 at a step of {step}: it is too long for this gradient; give a shorter one"
        )
    return found


def flow_sharpness(
    gradient: Function, w: Any, *, step: float, tolerance: float = 1e-9, steps: int = 100_000, seed: int = 0
) -> tuple[Sharpness, FlowEnd]:
    """(sharpness at the end of the flow from w, that end): `gradient_flow`, then `sharpness` by central differences.

    Errors: as these. Look at both `converged`. Source: arXiv 2305.13064, gradient flow solution sharpness.
    """
    end = gradient_flow(gradient, w, step=step, tolerance=tolerance, steps=steps)
    return sharpness(hessian_vector(gradient, end.w), end.w.shape, seed=seed), end
