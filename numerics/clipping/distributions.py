"""The two distributions that clips are derived for, how their scale is estimated, and which of them fits.

How the authors choose between the two was not seen in a source: `choose_distribution` offers three criteria by name.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..means import Rows, deviations, finite, mean_magnitudes, root_mean_squares, rows_of_channels
from .aciq import DISTRIBUTIONS, aciq_alpha, check_distribution

#: sigma = RANGE_SCALE * (max - min) / sqrt(2 ln n), a rule of the authors' code: 0.35 * 0.5 * (1 + sqrt(pi ln 4)).
RANGE_SCALE = 0.35 * 0.5 * (1 + math.sqrt(math.pi * math.log(4)))

CRITERIA = ("likelihood", "kolmogorov", "mse")


def scale(x: Any, distribution: str = "laplace", *, axis: int | None = None, method: str = "moments") -> Any:
    """Scale of x about its mean: b of "laplace", sigma of "gauss"; a float, or float64 [channels] along `axis`.

    x: finite float32 or float64 [...]. method "moments": b = mean|x - mean|, sigma = sqrt(mean (x - mean)**2), which
    are the estimates of largest likelihood but for b's center, the median there; "range" ("gauss" alone): RANGE_SCALE *
    (max - min) / sqrt(2 ln n), for n >= 2. The mean is correctly rounded, deviations are rounded to float64. 0 where
    there is no element. Errors: ValueError for an unknown name, "range" of "laplace" or of less than 2 elements,
    non-finite x, deviations or a range beyond float64. Source: Banner, Nahshan and Soudry, arXiv 1810.05723 and its code
    (the range rule).
    """
    check_distribution(distribution)
    if method not in ("moments", "range"):
        raise ValueError(f"method {method!r} is not known: known are moments, range")
    rows, _ = rows_of_channels(finite(x), axis)
    if method == "range":
        if distribution != "gauss":
            raise ValueError(f'method "range" of {distribution!r}: it estimates the sigma of "gauss"; use "moments"')
        n = rows.shape[1]
        if n < 2:
            raise ValueError(f'method "range" of {n} elements: give at least 2, or use "moments"')
        with np.errstate(over="ignore"):
            reach = rows.max(axis=1) - rows.min(axis=1)
        if not np.isfinite(reach).all():
            raise ValueError("a range beyond the largest float64: multiply x by 2**-1 first")
        found = RANGE_SCALE * reach / math.sqrt(2 * math.log(n))
    else:
        spread = mean_magnitudes if distribution == "laplace" else root_mean_squares
        found = spread(deviations(rows))
    return float(found[0]) if axis is None else found


def choose_distribution(x: Any, *, criterion: str = "likelihood", bits: int | None = None) -> str:
    """Which of "laplace" and "gauss", at the scale estimated from x [...] as a whole, fits it better.

    criterion "likelihood": the larger likelihood, which is "laplace" iff b < sigma sqrt(pi / (2e)); "kolmogorov": the
    smaller distance between the distribution functions, the empirical one's on either side of its steps; "mse": the
    clip of `aciq_alpha(bits, ...)` that quantizes x to 2**bits mid-rise levels about its mean with the smaller mean
    square error (needs bits). A tie, and an x without spread, is "laplace". Errors: ValueError for an unknown name,
    bits missing or given in vain, non-finite x. Source: derived; how arXiv 1810.05723 chooses was not seen.
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion {criterion!r} is not known: known are {', '.join(CRITERIA)}")
    if (bits is None) == (criterion == "mse"):
        remedy = "give bits=" if bits is None else 'leave bits out, or take criterion="mse"'
        raise ValueError(f"criterion {criterion!r} with bits = {bits}: {remedy}")
    rows, _ = rows_of_channels(finite(x), None)
    if rows.size == 0 or rows.max() == rows.min():
        return "laplace"
    centered = deviations(rows)[0]
    scales = {name: float(scale(x, name)) for name in DISTRIBUTIONS}
    if criterion == "likelihood":
        return "laplace" if scales["laplace"] < math.sqrt(math.pi / (2 * math.e)) * scales["gauss"] else "gauss"
    if criterion == "kolmogorov":
        misfit = {name: _kolmogorov(centered / scales[name], name) for name in DISTRIBUTIONS}
    else:
        assert bits is not None
        misfit = {name: _error(centered, scales[name] * aciq_alpha(bits, name), bits) for name in DISTRIBUTIONS}
    return "gauss" if misfit["gauss"] < misfit["laplace"] else "laplace"


def _kolmogorov(values: Rows, distribution: str) -> float:
    """Largest distance between the empirical distribution function and that of unit scale."""
    ordered = np.sort(values)
    if distribution == "laplace":
        tail = 0.5 * np.exp(-np.abs(ordered))
        fitted: NDArray[Any] = np.where(ordered < 0, tail, 1 - tail)
    else:
        fitted = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in ordered.tolist()])
    n = ordered.size
    above, below = np.arange(1, n + 1) / n - fitted, fitted - np.arange(n) / n
    return float(max(above.max(), below.max()))


def _error(centered: Rows, alpha: float, bits: int) -> float:
    """Mean square error of quantizing to 2**bits mid-rise levels on [-alpha, alpha]."""
    step = 2 * alpha / 2**bits
    level = np.clip(np.floor(centered / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) + 0.5
    return float(root_mean_squares((centered - level * step)[None])[0])
