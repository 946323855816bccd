"""The quantizer with its parts taken out, as in the comparison FP4, FP4 + SU, FP4 + SR, LUQ."""

from typing import Any

import numpy as np

from ..operands import floats
from .estimator import quantize
from .powers import rdnp
from .scale import alpha_of, check_levels, grid_ends

_UNDERFLOWS, _ROUNDINGS = ("stochastic", "nearest", "zero"), ("stochastic", "nearest")


def ablation(
    x: Any,
    levels: int = 7,
    *,
    underflow: str = "stochastic",
    rounding: str = "stochastic",
    alpha: float | None = None,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
) -> Any:
    """LUQ with either part replaced by a deterministic one: float32 or float64 [...] -> same.

    underflow, below alpha: "stochastic"; "nearest", alpha from alpha/2 on, else 0; or "zero". rounding, between the powers:
    "stochastic"; or "nearest", the multiple of alpha by a power of two at the least distance, midpoints up. Both
    stochastic is `quantize`; "zero" with "nearest" a plain FP4; each part alone removes the bias of its own range. Which
    deterministic underflow the source compares with it does not say.
    Errors: as `quantize`, and ValueError for other names. A seed or words are needed always. Source: arXiv 2112.10769.
    """
    array, levels = floats(x, "x"), check_levels(levels)
    for label, value, names in (("underflow", underflow, _UNDERFLOWS), ("rounding", rounding, _ROUNDINGS)):
        if value not in names:
            raise ValueError(f"{label} = {value!r}: give one of {', '.join(names)}")
    number = alpha_of(array, levels, None) if alpha is None else alpha
    result = quantize(
        array,
        levels,
        alpha=number,
        seed=seed,
        words=words,
        random_bits=random_bits,
        stream=stream,
        offset=offset,
    )
    step, top = (float(end) for end in grid_ends(number, array.dtype, levels))
    size = np.abs(array).astype(np.float64)
    below = size < step
    if underflow != "stochastic":
        least = step if underflow == "nearest" else 0.0
        result = np.where(below, np.copysign(np.where(size >= step / 2, least, 0.0), array), result)
    if rounding == "nearest" and step:
        nearest = rdnp(np.maximum(np.minimum(size, top) / step, 1.0)) * step
        result = np.where(below, result, np.copysign(nearest, array))
    return result.astype(array.dtype)
