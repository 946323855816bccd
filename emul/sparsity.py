"""`numerics.sparsity` on tensors, as `published` says: N:M masks.

The result of `mvue` has the mean x, so its gradient is the identity, whatever was drawn. That of `top_n` reaches what is
kept and nothing else, zeros among it, so that a weight that is kept can leave zero.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from numerics import sparsity as _numpy

from .published import STRAIGHT, Gradient, published

__all__ = [
    "inclusion_probabilities",
    "mvue",
    "top_n",
    "transposable_mask",
    "transposable_mask_count",
    "variance",
]


def _kept(arguments: dict[str, Any], result: NDArray[Any]) -> NDArray[np.bool]:
    """Which elements `top_n` keeps. Zeros are kept only where there is room beside all that are not zero."""
    x = arguments["x"]
    pattern = {label: value for label, value in arguments.items() if label not in ("x", "out")}
    chosen = _numpy.top_n(1.0 + (x != 0), **pattern)
    kept: NDArray[np.bool] = (result != 0) | ((x == 0) & (chosen != 0))
    return kept


def _kept_there(arguments: dict[str, Any], result: Tensor) -> Tensor:
    """The same on the result's device."""
    x = arguments["x"].detach()
    pattern = {label: value for label, value in arguments.items() if label not in ("x", "out")}
    chosen: Tensor = top_n(1.0 + (x != 0), **pattern)
    kept: Tensor = (result != 0) | ((x == 0) & (chosen != 0))
    return kept


KEPT = Gradient("to what of x is kept, the identity", _kept, _kept_there)

inclusion_probabilities = published(_numpy.inclusion_probabilities)
mvue = published(_numpy.mvue, STRAIGHT, on_device="mvue")
top_n = published(_numpy.top_n, KEPT, on_device="top_n")
transposable_mask = published(_numpy.transposable_mask)
transposable_mask_count = published(_numpy.transposable_mask_count)
variance = published(_numpy.variance)
