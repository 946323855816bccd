"""Smooth-SwiGLU: the linear branch is divided by its own largest magnitude, before the product with the other is rounded.

The paper scales channel by channel, and how it chooses the scale was not seen; its code divides by the largest magnitude
of the linear branch, token by token. `axis` says which: the maximum runs along it. The paper's s_i is 1 / scale here.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..means import checked_axes, finite
from ..quantizer import Quantizer


class Smoothed(NamedTuple):
    """values = round(swish(gate) * (linear / scale)), and the scale, which broadcasts: 1 along the axes of the maximum."""

    values: NDArray[Any]
    scale: NDArray[Any]


def swish(x: Any) -> NDArray[Any]:
    """x / (1 + e**-x): finite float32 or float64 [...] -> same, by float64 within 4 ulp of it, then one rounding.

    Errors: TypeError for other dtypes, ValueError for non-finite ones.
    Source: Ramachandran, Zoph and Le, Searching for activation functions, arXiv 1710.05941.
    """
    array = finite(x)
    wide = array.astype(np.float64)
    with np.errstate(under="ignore"):
        small = np.exp(-np.abs(wide))
        # Below -708 e**x is subnormal and short of bits, which x times its two halves is not.
        half = np.exp(np.minimum(wide, 0) / 2)
        above = np.where(wide < -700, wide * half * half, wide * np.where(wide >= 0, 1.0, small))
        return np.asarray((above / (1 + small)).astype(array.dtype))


def smooth_scale(linear: Any, *, axis: Any = 0, power_of_two: bool = True) -> NDArray[Any]:
    """What the linear branch is divided by: max|linear| along `axis`, kept as 1 -> dtype of linear.

    For [tokens, channels] axis 0 gives one a channel, as the paper has it, axis -1 one a token, as its code. With
    power_of_two it is the next power of two, at least the smallest normal number, at most the largest power of the
    dtype. 1 where all are 0. Exact. Errors: as `smooth_swiglu`. Source: as `smooth_swiglu`.
    """
    array = finite(linear, "linear")
    peak = np.abs(array).max(axis=checked_axes(axis, array.ndim), keepdims=True, initial=0)
    if power_of_two:
        ends = np.finfo(array.dtype)
        fraction, exponent = np.frexp(peak)
        power = np.clip(exponent - (fraction == 0.5), ends.minexp, ends.maxexp - 1)
        peak = np.where(peak > 0, np.ldexp(array.dtype.type(1), power), array.dtype.type(0))
    return np.asarray(np.where(peak > 0, peak, array.dtype.type(1)))


def smooth_swiglu(
    linear: Any,
    gate: Any,
    *,
    axis: Any = 0,
    power_of_two: bool = True,
    scale: Any = None,
    quantizer: Quantizer | None = None,
    seed: int | None = None,
    words: Any = None,
    stream: int = 0,
    offset: int = 0,
) -> Smoothed:
    """swish(gate) * (linear / scale), rounded by the quantizer, and the scale: two arrays of one shape and dtype.

    scale: None for `smooth_scale` of this linear branch; or given, that of the step before (delayed), any positive
    numbers that broadcast along `axis` as it does. Each operation is rounded to the dtype. values * scale, `restore`,
    is then bit for bit swish(gate) * linear in the dtype if the scale is a power of two, there is no quantizer and
    nothing under- or overflows; any other scale costs at most three roundings. The product with a scale per token can
    be done after the next layer's matrix, one per channel in that matrix.
    Errors: TypeError for other dtypes; ValueError for shapes that differ, non-finite numbers, an axis that is not
    there, a scale that is not positive or of another shape; as `Quantizer.quantize`.
    Source: Fishman, Chmiel, Banner and Soudry, Scaling FP8 training to trillion-token LLMs, arXiv 2409.12517, and code.
    """
    left, right = _branches(linear, gate)
    divisor = smooth_scale(left, axis=axis, power_of_two=power_of_two) if scale is None else _given(scale, left, axis)
    with np.errstate(over="ignore", under="ignore"):
        values = left / divisor * swish(right)
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values).reshape(-1)))
        raise ValueError(f"the product at element {first} is beyond {left.dtype}: give a larger scale")
    if quantizer is None and words is not None:
        raise ValueError("words given without a quantizer: nothing is rounded by them")
    if quantizer is not None:
        values = quantizer.quantize(values, seed=seed, words=words, stream=stream, offset=offset)
    return Smoothed(values, divisor)


def restore(smoothed: Smoothed) -> NDArray[Any]:
    """values * scale in the dtype; overflows to infinity where SwiGLU itself does. Errors: none of its own.

    Source: as `smooth_swiglu`.
    """
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(smoothed.values * smoothed.scale)


def smooth_swiglu_gradient(
    linear: Any,
    gate: Any,
    smoothed: Smoothed,
    upstream: Any,
    *,
    axis: Any = 0,
    detach: bool = True,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(gradient of linear, gradient of gate) for `upstream`, that of `restore(smoothed)`: all of one shape and dtype.

    The rounding passes gradients straight through. detach: the scale is a constant, as it is when delayed or a power
    of two. Otherwise, for scale = max|linear|, the gradient of the linear element of largest magnitude (the first of
    several) also has its sign times sum upstream * (values - unrounded values) along `axis`: through the scale there
    flows nothing but the rounding error. float64 arithmetic, one rounding to the dtype.
    Errors: as `smooth_swiglu`; ValueError for detach=False with a scale that is not max|linear|. Source: derived; the
    released code has both options.
    """
    left, right = _branches(linear, gate)
    _, given = _branches(left, upstream, "upstream")
    axes = checked_axes(axis, left.ndim)
    x, z, g = left.astype(np.float64), right.astype(np.float64), given.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        sigmoid = np.where(z >= 0, 1.0, np.exp(-np.abs(z))) / (1 + np.exp(-np.abs(z)))
        of_linear = g * z * sigmoid
        of_gate = g * x * (sigmoid + z * sigmoid * (1 - sigmoid))
    if not detach:
        peak = smooth_scale(left, axis=axis, power_of_two=False)
        if not np.array_equal(np.broadcast_to(smoothed.scale, peak.shape), peak):
            raise ValueError("detach=False with a scale that is not max|linear|: it has no gradient; give detach=True")
        exact = left / smoothed.scale * swish(right)
        error = (g * (smoothed.values.astype(np.float64) - exact)).sum(axis=axes, keepdims=True)
        of_linear = of_linear + np.where(_first_peak(left, axes), np.sign(x) * error, 0.0)
    return of_linear.astype(left.dtype), of_gate.astype(left.dtype)


def _first_peak(x: NDArray[Any], axes: tuple[int, ...]) -> NDArray[np.bool_]:
    """Marks the first element of largest magnitude along the axes."""
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    moved = np.abs(x).transpose(*kept, *axes)
    rows = moved.reshape(*(x.shape[i] for i in kept), -1)
    marks = np.zeros(rows.shape, bool)
    if rows.size:
        np.put_along_axis(marks, rows.argmax(axis=-1)[..., None], True, axis=-1)
    return marks.reshape(moved.shape).transpose(np.argsort((*kept, *axes)))


def _branches(linear: Any, gate: Any, label: str = "gate") -> tuple[NDArray[Any], NDArray[Any]]:
    left, right = finite(linear, "linear"), finite(gate, label)
    if left.shape != right.shape or left.dtype != right.dtype:
        raise ValueError(
            f"linear {left.dtype} {left.shape} and {label} {right.dtype} {right.shape}: give one shape and dtype"
        )
    return left, right


def _given(scale: Any, linear: NDArray[Any], axis: Any) -> NDArray[Any]:
    axes = checked_axes(axis, linear.ndim)
    wanted = tuple(1 if i in axes else n for i, n in enumerate(linear.shape))
    divisor = np.asarray(scale).astype(linear.dtype)
    if divisor.shape != wanted:
        raise ValueError(f"scale of shape {divisor.shape} for linear {linear.shape} along axis {axis}: give {wanted}")
    if not ((divisor > 0) & np.isfinite(divisor)).all():
        raise ValueError(f"scale = {scale!r}: give finite numbers above 0")
    return divisor
