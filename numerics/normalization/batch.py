"""Batch normalization by other norms than L2: L1, the largest magnitude, the mean of the k largest, the range.

x is reduced over `axis`, one axis or several; what remains are channels, each with a mean and a scale, n elements in C
order of the reduced axes. All but the emulated sums is float64, with sums as in `numerics.means`, so that no layout or
thread changes a bit, and is rounded to x's dtype at the end. No epsilon: a channel whose scale is 0 is constant and
becomes zeros; one whose emulated sum overflows to infinity becomes zeros too, with that scale. How the papers compute
the mean in low precision was not seen: it is exact here, and so is the division by n.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ..formats.integers import whole
from ..means import Rows, checked_axes, deviations, finite, means, rows_along
from .constants import L1_CONSTANT, linf_constant, range_constant, top_constant
from .emulated import Sums, check_sums, mean_of_magnitudes, root_of_mean_square, rounded_deviations

Axes = int | tuple[int, ...]
_Spread = Callable[[Rows, np.dtype[Any], Sums], Rows]


@dataclass(frozen=True)
class Normalized:
    """Values of x's shape and dtype; mean and scale, float64, of x's shape with the reduced axes of length 1."""

    values: NDArray[Any]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


def l2_batch_norm(x: Any, *, axis: Axes = 0, **sums: Unpack[Sums]) -> Normalized:
    """(x - mean) / sqrt(mean (x - mean)**2) along `axis`: finite float32 or float64 [...] -> Normalized.

    sums: see `Sums`. In binary16 a square overflows from a magnitude of 256 on, and so does their mean, prescaled, from
    that root mean square on. Errors: TypeError for other dtypes; ValueError for non-finite x, an axis that is not
    there, whatever `numerics.matmul` refuses. Source: Ioffe and Szegedy, Batch normalization, arXiv 1502.03167.
    """
    return _normalized(x, axis, root_of_mean_square, sums)


def l1_batch_norm(x: Any, *, axis: Axes = 0, **sums: Unpack[Sums]) -> Normalized:
    """(x - mean) / (L1_CONSTANT * mean|x - mean|): arguments, result and errors as `l2_batch_norm`.

    The scale has expectation sigma for normal deviations. In binary16 a sum of n magnitudes overflows where their mean
    is 65520 / n or more, which the paper's claim leaves out; prescaled, it never does. Source: Hoffer, Banner, Golan
    and Soudry, Norm matters, NeurIPS 2018, arXiv 1803.01814.
    """
    return _normalized(x, axis, lambda *given: L1_CONSTANT * mean_of_magnitudes(*given), sums)


def linf_batch_norm(x: Any, *, axis: Axes = 0, kind: str = "exact", **sums: Unpack[Sums]) -> Normalized:
    """(x - mean) / (linf_constant(n, kind) * max|x - mean|): arguments, result and errors as `l2_batch_norm`.

    Nothing is summed: of `sums` only `deviations` matters, and the rest is refused. Source: as `l1_batch_norm`.
    """
    _check_unsummed(sums)

    def spread(rows: Rows, dtype: np.dtype[Any], _: Sums) -> Rows:
        return np.asarray(linf_constant(rows.shape[1], kind) * np.abs(rows).max(axis=1))

    return _normalized(x, axis, spread, sums)


def topk_batch_norm(x: Any, *, axis: Axes = 0, k: int = 10, kind: str = "exact", **sums: Unpack[Sums]) -> Normalized:
    """(x - mean) / (top_constant(n, k, kind) * mean of the k largest |x - mean|): the rest as `l2_batch_norm`.

    The k magnitudes are summed from the largest down. ValueError also for a k that is not in 1 to n. Source: as
    `l1_batch_norm`, whose code has k = 10.
    """

    def spread(rows: Rows, dtype: np.dtype[Any], given: Sums) -> Rows:
        constant = top_constant(rows.shape[1], k, kind)
        largest = -np.sort(-np.abs(rows), axis=1)[:, :k]
        return np.asarray(constant * mean_of_magnitudes(largest, dtype, given))

    return _normalized(x, axis, spread, sums)


def range_batch_norm(
    x: Any, *, axis: Axes = 0, kind: str = "exact", chunks: int = 1, **sums: Unpack[Sums]
) -> Normalized:
    """(x - mean) / (range_constant(n, kind) * (max - min)), of the deviations: the rest as `l2_batch_norm`.

    chunks: the n elements are taken as so many runs of ceil(n / chunks), the last may be short, and the estimates of
    sigma from each, with the constant of its length, are averaged; 16 in the authors' code, of equal runs, for which
    this is the average of maxima less that of minima. Nothing is summed but those averages, exactly: of `sums` only
    `deviations` matters, and the rest is refused. ValueError also for a run of a single element, and a range beyond
    float64. Source: Banner, Hubara, Hoffer and Soudry, Scalable methods for 8-bit training of neural networks, NeurIPS
    2018, arXiv 1805.11046.
    """
    _check_unsummed(sums)
    count = whole(chunks)
    if count is None or count < 1:
        raise ValueError(f"chunks = {chunks!r}: give an integer of at least 1")

    def spread(rows: Rows, dtype: np.dtype[Any], _: Sums) -> Rows:
        n = rows.shape[1]
        length = -(-n // count)
        estimates = []
        for start in range(0, n, length):
            run = rows[:, start : start + length]
            if run.shape[1] < 2:
                raise ValueError(f"chunks = {chunks} of {n} elements leave a run of 1: give fewer chunks")
            with np.errstate(over="ignore"):
                width = run.max(axis=1) - run.min(axis=1)
            if not np.isfinite(width).all():
                raise ValueError("numbers whose range is beyond float64: multiply them by 2**-1 first")
            estimates.append(range_constant(run.shape[1], kind) * width)
        return means(np.stack(estimates, axis=1))

    return _normalized(x, axis, spread, sums)


def _check_unsummed(sums: Sums) -> None:
    if sums.get("accumulator") is not None:
        raise ValueError("accumulator with a norm that sums nothing: leave it out")


def _normalized(x: Any, axis: Axes, spread: _Spread, sums: Sums) -> Normalized:
    check_sums(sums)
    array = finite(x)
    axes = checked_axes(axis, array.ndim)
    rows, shape = rows_along(array, axes)
    mean = means(rows)
    centered = rounded_deviations(deviations(rows), array.dtype, sums)
    # Of one element nothing deviates, and no constant is defined.
    scale = spread(centered, array.dtype, sums) if rows.shape[1] > 1 else np.zeros(rows.shape[0])
    scaled = np.divide(centered, scale[:, None], out=np.zeros_like(centered), where=scale[:, None] > 0)
    kept = [i for i in range(array.ndim) if i not in axes]
    moved = scaled.reshape([array.shape[i] for i in (*kept, *axes)])
    values = moved.transpose(np.argsort((*kept, *axes))).astype(array.dtype, order="C")
    return Normalized(values, mean.reshape(shape), scale.reshape(shape))
