"""Two ways that look like LUQ and are biased: published, here for comparison and as examples that the tests must catch.

Both leave |x| < alpha to the unbiased stochastic underflow and clamp what is above the largest magnitude, so that the bias
is theirs alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..means import finite
from ..operands import floats
from ..words import random_words
from .drawing import draw_of
from .estimator import quantize
from .powers import rdnp
from .scale import check_levels, grid_below, grid_ends


def biased_noise_then_round(
    x: Any,
    levels: int = 7,
    *,
    alpha: float,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
) -> Any:
    """BIASED: noise, uniform over a bin around zero, then the nearest power of two. Shapes and errors as `quantize`.

    With s = alpha 2**k <= |x| < 2 s the noise is s ((word + 1/2)/2**r - 1/2), and the power is alpha's multiple nearest to
    |x| + noise. For |x| < 1.25 s that may fall below 0.75 s, and s/2, which is no neighbour of x, is what comes out, below
    alpha too: the bias is `noise_then_round_bias`, -12.5 % of every value that is on the grid. Arithmetic in float64.
    Source: the trick that arXiv 2112.10769 offers for its rounding. `quantize` is what to use.
    """
    array, step, levels = _checked(x, alpha, levels)
    drawn = _words(array, seed, words, random_bits, stream, offset)
    size = _multiples(array, step, levels)
    low = _power_below(size)
    noisy = size + low * ((drawn + 0.5) / 2.0**random_bits - 0.5)
    rounded = rdnp(np.where(size >= 1, noisy, 1.0)) * step
    return _ended(array, size, rounded, levels, alpha, drawn, random_bits)


def biased_log_rounding(
    x: Any,
    levels: int = 7,
    *,
    alpha: float,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
) -> Any:
    """BIASED: log2|x| is rounded stochastically. Shapes and errors as `quantize`.

    With s = alpha 2**k <= |x| = s 2**f it becomes 2 s with probability f, else s: the mean is s (1 + f), never below |x|,
    and the bias `log_rounding_bias`. The probability is a float64 logarithm, right to a few of its ulp.
    Source: third-party implementations of arXiv 2112.10769 that quantize log2|x|. `quantize` is what to use.
    """
    array, step, levels = _checked(x, alpha, levels)
    drawn = _words(array, seed, words, random_bits, stream, offset)
    size = _multiples(array, step, levels)
    low = _power_below(size)
    chance = np.log2(np.where(size >= 1, size / low, 1.0))
    up = np.floor(chance * 2.0**random_bits) + drawn >= 2.0**random_bits
    return _ended(array, size, np.where(up, 2 * low, low) * step, levels, alpha, drawn, random_bits)


def noise_then_round_bias(x: Any, alpha: float) -> Any:
    """E - |x| of `biased_noise_then_round` with ideal noise: -(1.25 s - |x|)/2 for s <= |x| <= 1.25 s, else 0.

    float64 arithmetic; the grid has no end. Shapes, and s: as there. On a grid value -s/8; with r-bit words it is within
    s 2**-r of this. Errors: as there, and for NaN and infinities. Source: derived; tests: by enumeration.
    """
    array, step, _ = _checked(finite(x), alpha, 1)
    size = np.abs(array).astype(np.float64)
    low = grid_below(size, step)
    return np.where(size >= step, np.minimum((size - 1.25 * low) / 2, 0.0), 0.0).astype(array.dtype)


def log_rounding_bias(x: Any, alpha: float) -> Any:
    """E - |x| of `biased_log_rounding`: s (1 + f - 2**f) with |x| = s 2**f, 0 below alpha; float64 arithmetic.

    Its maximum is 0.0861 s at f = -log2(ln 2) = 0.5288, and 6.1 % of |x| at f = 1/ln 2 - 1 = 0.4427. Errors: as
    `noise_then_round_bias`. Source: derived.
    """
    array, step, _ = _checked(finite(x), alpha, 1)
    size = np.abs(array).astype(np.float64)
    low = grid_below(size, step)
    within = np.where(size >= step, size / low, 1.0)
    return (low * (1 + np.log2(within) - within)).astype(array.dtype)


def _checked(x: Any, alpha: float, levels: int) -> tuple[NDArray[Any], float, int]:
    array, levels = floats(x, "x"), check_levels(levels)
    step, _ = grid_ends(alpha, array.dtype, levels)
    if step == 0:
        raise ValueError("alpha = 0: give the smallest magnitude of the grid, a positive number")
    return array, float(step), levels


def _words(x: NDArray[Any], seed: Any, words: Any, bits: int, stream: int, offset: int) -> NDArray[Any]:
    draw = draw_of(x.shape, seed, words, bits, stream, offset)
    flat = draw.words if words is not None else random_words(x.size, bits, seed=seed, stream=stream, offset=offset)
    return flat.reshape(x.shape)


def _multiples(x: NDArray[Any], step: float, levels: int) -> NDArray[np.float64]:
    """|x|/step, but 0 from the largest magnitude on, where neither function rounds."""
    with np.errstate(over="ignore"):
        size = np.abs(x).astype(np.float64) / step
    return np.where(size < 2.0 ** (levels - 1), size, 0.0)


def _power_below(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """The power of two at or below, at least 1."""
    power: NDArray[np.float64] = np.ldexp(1.0, np.maximum(np.frexp(size)[1] - 1, 0))
    return power


def _ended(
    x: NDArray[Any], size: NDArray[Any], rounded: NDArray[Any], levels: int, alpha: float, drawn: Any, bits: int
) -> Any:
    """The rounded magnitudes of what lies on the grid, and LUQ below and above it."""
    unbiased = quantize(x, levels, alpha=alpha, words=drawn, random_bits=bits)
    return np.where(size >= 1, np.copysign(rounded, x).astype(x.dtype), unbiased)
