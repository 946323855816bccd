"""Mean and variance in closed form: on arrays for ideal randomness, in rationals for words of r bits."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ..formats.integers import whole
from ..means import finite
from ..theory import Moments
from ..theory.roundoff import exactly
from .scale import check_levels, grid_below, grid_ends


def variance(x: Any, alpha: float, levels: int | None = None) -> Any:
    """Variance of each element with ideal randomness: float32 or float64 [...] -> same, in the square of x's unit.

    |x| (alpha - |x|) below alpha, else (|x| - L)(2 L - |x|) with L = alpha 2**k <= |x| < 2 L: 0 on the grid, at most L**2/4,
    at 1.5 L. levels: what is above the largest magnitude has none; None: the grid has no end. Samples of `smp` divide it.
    In float64, at most three roundings, then one to x's dtype; infinite beyond it. alpha as in `quantize`;
    0, whose grid draws nothing: zeros.
    Errors: TypeError for other dtypes; ValueError for NaN and infinities, and as `quantize` for alpha.
    Source: derived from arXiv 2112.10769; SR's (x - lo)(hi - x) on its grid.
    """
    array = finite(x)
    step, top = grid_ends(alpha, array.dtype, 1 if levels is None else check_levels(levels))
    if step == 0:
        return np.zeros_like(array)
    size, lowest = np.abs(array).astype(np.float64), np.float64(step)
    low = grid_below(size, lowest)
    with np.errstate(over="ignore", under="ignore"):
        # Halves: 2 L may overflow where L does not.
        above = (size - low) * (2 * (low - size / 2))
        result = np.where(size < lowest, size * (lowest - size), above)
        if levels is not None:
            result = np.where(size < top, result, 0.0)
        return result.astype(array.dtype)


def moments(x: float | Fraction, alpha: float | Fraction, levels: int = 7, random_bits: int | float = 32) -> Moments:
    """Exact mean and variance of one element over all words, in rationals.

    With low and step those of its bin, p = (|x| - low)/step and k = floor(p 2**r): mean low + step k/2**r, short of |x| by
    less than step 2**-r, and variance step**2 k/2**r (1 - k/2**r). random_bits = math.inf: ideal randomness, mean |x| and
    variance step**2 p (1 - p). Beyond the largest magnitude: that, and 0. The mean has the sign of x.
    Errors: TypeError for what is no number; ValueError for NaN and infinities, levels, a negative alpha, alpha = 0 with
    another x than 0, and random bits that are no integer of at least 1.
    Source: derived from arXiv 2112.10769. Test: test_luq.py, by enumeration of all words through `quantize`.
    """
    exact, step, levels = exactly("x", x), exactly("alpha", alpha), check_levels(levels)
    size = abs(exact)
    if step < 0 or (step == 0 and size):
        raise ValueError(f"alpha = {alpha} for x = {x}: give a positive smallest magnitude")
    if random_bits != math.inf and (whole(random_bits) or 0) < 1:
        raise ValueError(f"random_bits = {random_bits!r}: give an integer of at least 1, or math.inf")
    top = step * (1 << (levels - 1))
    if size >= top:
        return Moments(top if exact >= 0 else -top, Fraction(0))
    low = Fraction(0)
    if size >= step:
        low = step = step * (1 << (math.floor(size / step).bit_length() - 1))
    chance = (size - low) / step
    if random_bits != math.inf:
        words = 1 << int(random_bits)
        chance = Fraction(math.floor(chance * words), words)
    mean = low + step * chance
    return Moments(mean if exact >= 0 else -mean, step * step * chance * (1 - chance))
