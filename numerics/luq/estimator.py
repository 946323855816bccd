"""The unbiased quantizer: stochastic underflow and stochastic rounding between powers, in one draw an element."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.integers import whole
from ..kernels import luq as kernel
from ..kernels import threads
from ..operands import as_array, floats
from ..quantizer import array_out
from ..words import needed_seed, stream_after
from .drawing import Draw, draw_of
from .scale import (
    alpha_of,
    check_finite,
    check_levels,
    check_power_of_two,
    ends_from,
    grid_ends,
    largest_magnitude,
)

_COST = 0.6  # nanoseconds of an element
_LIFT = 200  # binades by which float64 arrays of tiny alpha are moved up


def quantize(
    x: Any,
    levels: int = 7,
    *,
    alpha: float | None = None,
    power_of_two: str | None = None,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
    out: Any = None,
) -> Any:
    """x on the grid of 0 and alpha 2**k, k = 0 ... levels - 1, without bias: float32 or float64 [...] -> same.

    |x| < alpha becomes alpha with probability |x|/alpha, else 0; with L = alpha 2**k <= |x| < 2 L it becomes 2 L with
    probability (|x| - L)/L, else L; signs are kept, those of zeros too. Grid values stay; |x| above the largest magnitude
    becomes it, the only source of bias. Exact: with r-bit words it goes up for floor(p 2**r) of them, p the rational of
    the given floats; mean and variance are those of `moments`.
    alpha: the smallest magnitude, None for that of `alpha(x, levels, power_of_two=...)`; it is rounded to x's dtype first,
    to nearest. Element i draws word offset + i of (seed, stream), or has words[i], in [0, 2**random_bits).
    out: written and returned, x itself or disjoint from it; after an error a disjoint one holds no result.
    Errors: TypeError for other dtypes; ValueError for NaN and infinities, neither seed nor words, alpha = 0 where x has
    a nonzero element, an alpha that x's dtype does not hold, a largest magnitude beyond it, power_of_two beside alpha.
    Source: arXiv 2112.10769, section 4. Tests: test_luq.py holds it against exact rationals, bit for bit.
    """
    array, levels = floats(x, "x"), check_levels(levels)
    result = array_out(out, array, array.dtype)
    draw = draw_of(array.shape, seed, words, random_bits, stream, offset, out)
    if check_power_of_two(power_of_two) is not None and alpha is not None:
        raise ValueError(f"power_of_two = {power_of_two!r} beside alpha = {alpha}: give one of the two")
    flat = array.ravel()
    if alpha is None:
        own = flat.dtype.type(alpha_of(flat, levels, power_of_two))
        step, top = ends_from(own, flat.dtype, levels)
    else:
        step, top = grid_ends(alpha, array.dtype, levels)
    if step == 0:
        if largest_magnitude(flat) > 0:
            first = int(np.argmax(flat != 0))
            raise ValueError(
                f"alpha = 0 and {flat[first]} at element {first}: zero is all that its grid has; give a larger alpha"
            )
        result[...] = array
        return result
    if alpha is not None and out is not None and np.may_share_memory(out, array):
        largest_magnitude(flat)  # refuses before x is written to
    target = result.reshape(-1) if result.flags.c_contiguous else np.empty(flat.size, flat.dtype)
    _run(flat, target, step, top, draw)
    if not result.flags.c_contiguous:
        result[...] = target.reshape(array.shape)
    return result


def smp(
    x: Any,
    samples: int = 2,
    levels: int = 7,
    *,
    alpha: float | None = None,
    power_of_two: str | None = None,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
) -> Any:
    """The average of independent quantizations of x: float32 or float64 [...] -> same; no bias, variance / samples.

    Sample s draws as `quantize` does from stream + s (after 2**64 - 1 comes 0), or has words[s]; words [samples, ...].
    With low and high the two neighbours and c samples at high it is low + (high - low) c/samples in float64, then rounded
    to x's dtype: one rounding for samples = 2, and at most 2 ulp of the dtype for any number.
    Errors: as `quantize`; ValueError for samples below 1. Source: arXiv 2112.10769, sampling of the update product.
    """
    array, levels = floats(x, "x"), check_levels(levels)
    count = whole(samples)
    if count is None or count < 1:
        raise ValueError(
            f"samples = {samples!r}: give the number of quantizations to average, an integer of at least 1"
        )
    rows: list[Any] = [None] * count
    if words is not None:
        given = as_array(words, "words", f"integers of shape {(count, *array.shape)}")
        if given.shape != (count, *array.shape):
            raise ValueError(
                f"words of shape {given.shape} for {count} samples of {array.shape}: one word per quantization"
            )
        rows = list(given)
    else:
        needed_seed(seed, "LUQ", (count, *array.shape))
    if alpha is None:
        alpha = alpha_of(array, levels, check_power_of_two(power_of_two))
        power_of_two = None
    near = far = np.zeros(0)
    ups = np.zeros(array.shape, np.int64)
    for sample, row in enumerate(rows):
        one = quantize(
            array,
            levels,
            alpha=alpha,
            power_of_two=power_of_two,
            seed=seed,
            words=row,
            random_bits=random_bits,
            stream=stream_after(stream, sample),
            offset=offset,
        )
        size = np.abs(one).astype(np.float64)
        if sample == 0:
            near = far = size
        ups = np.where(size > far, 1, ups + (size == far))
        near, far = np.minimum(near, size), np.maximum(far, size)
    average = near + (far - near) * (ups / count)
    return np.copysign(average, array).astype(array.dtype)


def _run(flat: NDArray[Any], target: NDArray[Any], step: Any, top: Any, draw: Draw) -> None:
    """target = flat on the grid. Errors: ValueError for NaN and infinities."""
    floor = kernel.FLOOR32 if flat.dtype == np.float32 else kernel.FLOOR64
    if math.frexp(step)[1] <= floor:
        largest_magnitude(flat)
        _run_tiny(flat, target, step, top, draw)
        return

    most = max(
        threads.run(lambda start, stop: kernel.quantize(flat, target, step, top, *draw, start, stop), flat.size, _COST)
    )
    check_finite(most, flat)


def _run_tiny(flat: NDArray[Any], target: NDArray[Any], step: Any, top: Any, draw: Draw) -> None:
    """The same where products with alpha underflow in the array's own type: float32 in float64, float64 moved up."""
    if flat.dtype == np.float32:
        wide = flat.astype(np.float64)
        _run(wide, wide, np.float64(step), np.float64(top), draw)
        target[...] = wide
        return
    clipped = np.copysign(np.minimum(np.abs(flat), top), flat)
    moved = np.ldexp(clipped, _LIFT)
    _run(moved, moved, np.ldexp(step, _LIFT), np.ldexp(top, _LIFT), draw)
    target[...] = np.ldexp(moved, -_LIFT)
