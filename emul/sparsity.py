"""`numerics.sparsity` on tensors, as `published` says: N:M masks.

The result of `mvue` has the mean x, so its gradient is the identity, whatever was drawn. That of `top_n` reaches what is
kept and nothing else, zeros among it, so that a weight that is kept can leave zero.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from numerics import sparsity as _numpy

from .operators import masks
from .published import STRAIGHT, Gradient, operated, published, whole_numbers

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
transposable_mask_count = published(_numpy.transposable_mask_count)
variance = published(_numpy.variance)

# With `out`, or arguments that no operator takes.
_mvue = published(_numpy.mvue, STRAIGHT, on_device="mvue")
_top_n = published(_numpy.top_n, KEPT, on_device="top_n")
_transposable_mask = published(_numpy.transposable_mask)


@operated(_numpy.top_n, KEPT)
def top_n(x: Any, n: int = 2, m: int = 4, *, axis: int = -1, out: Any = None) -> Any:
    """The operator where it takes the arguments, or the numpy function."""
    if out is not None or not isinstance(x, Tensor) or not whole_numbers(n, m, axis):
        return _top_n(x, n, m, axis=axis, out=out)
    return masks.top_n(x, n, m, axis)


@operated(_numpy.mvue, STRAIGHT)
def mvue(
    x: Any,
    n: int = 2,
    m: int = 4,
    *,
    method: str = "exact",
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
    axis: int = -1,
    out: Any = None,
) -> Any:
    """The operator where it takes the arguments, or the numpy function."""
    numbers = whole_numbers(n, m, random_bits, seed, stream, offset, axis) and isinstance(method, str)
    tensors = isinstance(x, Tensor) and (words is None or isinstance(words, Tensor))
    if out is not None or not (numbers and tensors):
        drawn = {"seed": seed, "words": words, "random_bits": random_bits, "stream": stream, "offset": offset}
        return _mvue(x, n, m, method=method, axis=axis, **drawn, out=out)
    return masks.mvue(x, n, m, method, axis, words, random_bits, seed, stream, offset)


@operated(_numpy.transposable_mask)
def transposable_mask(w: Any, n: int = 2, m: int = 4, *, method: str = "exact") -> Any:
    """The operator where it takes the arguments, or the numpy function."""
    if not isinstance(w, Tensor) or not whole_numbers(n, m) or not isinstance(method, str):
        return _transposable_mask(w, n, m, method=method)
    return masks.transposable_mask(w, n, m, method)
