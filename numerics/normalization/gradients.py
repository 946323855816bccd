"""Gradient bifurcation: one copy of the output's gradient for the weights, a coarser one for the input.

The poster gives the copy for the weights 16 bits, the code leaves it as it is: it is exact unless a quantizer is named.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import catalog
from ..accumulator import Accumulator
from ..matrix_unit import MatrixUnit
from ..operands import floats
from ..products import matmul
from ..quantizer import Quantizer
from ..words import stream_after
from .order_statistics import checked_count

#: What rounds a gradient: a Quantizer, or a function of an array that gives one of its shape and dtype.
Rounder = Quantizer | Callable[[NDArray[Any]], NDArray[Any]]


def bifurcated_gradients(
    x: Any,
    w: Any,
    g: Any,
    *,
    quantizer: Rounder,
    weight_quantizer: Rounder | None = None,
    accumulator: Accumulator | MatrixUnit | None = None,
    weight_accumulator: Accumulator | MatrixUnit | None = None,
    seed: int | None = None,
    stream: int = 0,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(gradient of x, gradient of w) of y = x @ w: x [B, K], w [K, N], g [B, N] = gradient of y -> [B, K], [K, N].

    The former is quantizer(g) @ w.T through `accumulator`, the latter x.T @ g, or of weight_quantizer(g), through
    `weight_accumulator`; None: the exact product, rounded once to the dtype. A stochastic Quantizer draws its words
    from (seed, stream), the weights' from (seed, stream + 1), stochastic accumulators from stream + 2 and stream + 3,
    0 after 2**64 - 1; without bias of the rounding the former gradient has none, for any w. Errors: as `numerics.matmul` and
    `Quantizer.quantize`; TypeError where the dtypes differ; ValueError for shapes that do not match and for a function
    whose result has another shape or dtype. Source: Banner, Hubara, Hoffer and Soudry, Scalable methods for 8-bit
    training, NeurIPS 2018, arXiv 1805.11046.
    """
    left, weights, gradient = floats(x, "x"), floats(w, "w"), floats(g, "g")
    if left.ndim != 2 or weights.ndim != 2 or gradient.shape != (left.shape[0], weights.shape[-1]):
        raise ValueError(
            f"x {left.shape}, w {weights.shape}, g {gradient.shape} do not match: give [B, K], [K, N] and [B, N]"
        )
    if left.shape[1] != weights.shape[0]:
        raise ValueError(f"x {left.shape} and w {weights.shape} do not match: give [B, K] and [K, N]")
    if not left.dtype == weights.dtype == gradient.dtype:
        raise TypeError(
            f"x of {left.dtype}, w of {weights.dtype}, g of {gradient.dtype}: give three arrays of one dtype"
        )
    exact = Accumulator(catalog.BINARY32 if left.dtype == np.float32 else catalog.BINARY64, order="exact")
    coarse = _rounded(gradient, quantizer, seed, stream)
    fine = gradient if weight_quantizer is None else _rounded(gradient, weight_quantizer, seed, stream_after(stream, 1))
    of_input, of_weights = accumulator or exact, weight_accumulator or exact
    return (
        matmul(coarse, weights.T, of_input, **_words(of_input, seed, stream_after(stream, 2))),
        matmul(left.T, fine, of_weights, **_words(of_weights, seed, stream_after(stream, 3))),
    )


def _words(accumulator: Accumulator | MatrixUnit, seed: int | None, stream: int) -> dict[str, Any]:
    stochastic = isinstance(accumulator, Accumulator) and accumulator.stochastic
    return {"seed": seed, "stream": stream} if stochastic else {}


def _rounded(g: NDArray[Any], rounder: Rounder, seed: int | None, stream: int) -> NDArray[Any]:
    if isinstance(rounder, Quantizer):
        result: NDArray[Any] = rounder.quantize(g, seed=seed if rounder.stochastic else None, stream=stream)
        return result
    if not callable(rounder):
        raise TypeError(f"quantizer {rounder!r}: give a Quantizer or a function of an array")
    result = np.asarray(rounder(g))
    if result.shape != g.shape or result.dtype != g.dtype:
        raise ValueError(f"the quantizer made {result.dtype} {result.shape} of {g.dtype} {g.shape}: keep both")
    return result


def cosine_bound(bits: int, n: int, *, sharp: bool = False) -> float:
    """How near in angle n normal weights stay when they are rounded in steps of max|w| / 2**bits: a lower bound on the cosine.

    With r = sqrt(ln n / 6) / 2**bits, the error's norm over that of w when max|w| is sqrt(2 ln n) sigma and errors are
    uniform: 1/(1 + r), or sharp: 1/sqrt(1 + r**2), the error being nearly orthogonal to w. Both hold with the
    probability that max|w| stays below that, and up to the spread of the sums; bits counts those of the magnitude, the
    sign is one more. bits >= 0, n >= 1. Errors: TypeError, ValueError for other numbers. Source: as
    `bifurcated_gradients` (the theorem; the sharp form is derived).
    """
    bits, n = checked_count(bits, 0, "bits"), checked_count(n, 1)
    ratio = math.ldexp(math.sqrt(math.log(n) / 6), -bits)
    return 1 / math.hypot(1, ratio) if sharp else 1 / (1 + ratio)
