"""Sharpness, the largest eigenvalue of the Hessian, from products of the Hessian with vectors."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats.integers import whole
from ..means import finite, norms
from ..words import random_words

Vector = NDArray[np.float64]
Function = Callable[[Vector], Any]

_STEP = float(np.finfo(np.float64).eps) ** (1 / 3)


class Sharpness(NamedTuple):
    """value: v^T H v of the unit vector found. residual: ||H v - value v||; some eigenvalue of H is that near to value.

    products: how many times H was applied. converged: residual <= tolerance times the eigenvalue largest in magnitude,
    or, where H had to be moved, times the largest of H moved, at most twice as much.
    """

    value: float
    vector: Vector
    residual: float
    products: int
    converged: bool


def hessian_vector(gradient: Function, w: Any, *, step: float | None = None) -> Function:
    """The function v -> H v at w, by the central difference of a gradient: (g(w + h v) - g(w - h v)) / (2 h).

    gradient: float64 [...] -> same shape; w: float32 or float64 [...], taken to float64. h = step / ||v||; step None:
    6e-6 max(1, ||w||). The error is h**2/6 times the third derivative along v, 0 for a quadratic, and the gradient's
    rounding error over h. v = 0 gives 0 without a call.
    Errors: TypeError for other dtypes; ValueError for a step that is not above 0, and for non-finite or misshapen values.
    Source: Pearlmutter, Fast exact multiplication by the Hessian, Neural Comput. 6, 1994.
    """
    at = finite(w, "w").astype(np.float64)
    length = _STEP * max(1.0, norm(at)) if step is None else float(step)
    if not 0 < length < math.inf:
        raise ValueError(f"step = {step!r}: give a finite length above 0")

    def product(v: Vector) -> Vector:
        direction = finite(v, "v").astype(np.float64)
        if direction.shape != at.shape:
            raise ValueError(f"v of shape {direction.shape} for w of shape {at.shape}: give one shape")
        size = norm(direction)
        if size == 0:
            return np.zeros_like(at)
        moved = direction / size * length
        ahead, behind = (checked(gradient(at + sign * moved), at.shape, "the gradient") for sign in (1, -1))
        return (ahead - behind) * (size / (2 * length))

    return product


def sharpness(
    hv: Function, shape: int | tuple[int, ...], *, tolerance: float = 1e-6, iterations: int = 1000, seed: int = 0
) -> Sharpness:
    """The largest eigenvalue of a symmetric H by power iteration; hv: float64 array of this shape -> H times it.

    It goes v <- H v / ||H v|| from words of the seed until ||H v - (v^T H v) v|| <= tolerance |v^T H v|, at most
    `iterations` products. That finds the eigenvalue of largest magnitude. Where it is negative, or its negative is an
    eigenvalue too so that nothing is found, the same is done for H + ||H v||, whose eigenvalues are those of H moved up.
    The value is within `residual` of an eigenvalue and, a Rayleigh quotient, not above the largest but for rounding;
    within residual**2 / gap of it once the vector points there. H = 0 gives 0.
    Errors: TypeError, ValueError for a shape, tolerance or number of iterations out of range, and for a product that is
    not finite or has another shape. Source: Golub and Van Loan, Matrix Computations, 2013, 8.2.
    """
    lengths = [whole(one) for one in (shape if isinstance(shape, tuple | list) else (shape,))]
    size = tuple(one for one in lengths if one is not None)
    if len(size) < len(lengths):
        raise TypeError(f"shape = {shape!r}: give an integer, or a tuple of them")
    count = math.prod(size)
    if count < 1 or min(size, default=1) < 1:
        raise ValueError(f"shape = {shape}: give at least one parameter")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance = {tolerance!r}: give a relative residual between 0 and 1")
    if iterations < 1:
        raise ValueError(f"iterations = {iterations!r}: give how many products may be taken, at least 1")
    # Odd multiples of 2**-32: no element of the start is 0.
    start: Vector = ((random_words(count, seed=seed).astype(np.float64) + 0.5) * 2.0**-31 - 1).reshape(size)
    found, size_of_image = _iterate(hv, start, 0.0, tolerance, iterations)
    if found.converged and found.value >= 0:
        return found
    again, _ = _iterate(hv, start, size_of_image, tolerance, iterations)
    best = again if again.converged or again.value >= found.value else found
    return best._replace(products=found.products + again.products)


def _iterate(hv: Function, start: Vector, shift: float, tolerance: float, iterations: int) -> tuple[Sharpness, float]:
    """(what iterating with H + shift found of H, the norm of the last product)."""
    vector = start / norm(start)
    for count in range(1, iterations + 1):
        image = checked(hv(vector), vector.shape, "hv") + shift * vector
        value, size = float(np.vdot(vector, image)), norm(image)
        residual = norm(image - value * vector)
        converged = residual <= tolerance * abs(value)
        if converged or count == iterations:
            break
        vector = image / size  # not 0: the residual is not
    return Sharpness(value - shift, vector, residual, count, converged), size


def norm(x: Vector) -> float:
    """Euclidean norm of all elements, without over- or underflow."""
    return float(norms(x.reshape(1, -1))[0])


def checked(values: Any, shape: tuple[int, ...], label: str) -> Vector:
    """What a caller's function gave, as float64 of this shape. Errors: ValueError for non-finite numbers and others."""
    array = np.asarray(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"{label} gave an array of shape {array.shape} for {shape}: give one number a parameter")
    if not np.isfinite(array).all():
        first = int(np.argmin(np.isfinite(array).reshape(-1)))
        raise ValueError(f"{label} gave {array.reshape(-1)[first]} at element {first}: it has to be finite")
    return array
