"""Shift-based batch norm: every product that batch norm has becomes a shift.

Source: arXiv 1602.02830, in the form of the released code: c = x - mean, variance mean(c AP2(c)), scale
AP2(1/sqrt(variance + epsilon)), result AP2(gamma) (c scale) + beta. Its epsilon was not seen and is an argument, 0 by default.
"""

from typing import Any

import numpy as np

from ..means import checked_axes, means, rows_along
from .powers import ap2
from .signs import FloatArray, without_nan

#: Between these factors of the variance lies mean(c AP2(c)), for any data: AP2 is off by sqrt(2) at most.
SHIFT_VARIANCE_BOUNDS = 2.0**-0.5, 2.0**0.5
#: Between these factors of 1/sqrt(variance) lies the scale: a root of the above, and another AP2.
SHIFT_SCALE_BOUNDS = 2.0**-0.75, 2.0**0.75


def shift_variance(centred: Any, axis: int = 0) -> FloatArray:
    """mean(c AP2(c)) along an axis: float32 or float64 [..., n, ...] -> float64 without that axis; never negative.

    The terms are exact in float64 for float32 data, those of float64 data below 2**-1022 are rounded to subnormals; their
    mean is the exact one, rounded once, for any layout. Errors: TypeError for other dtypes, ValueError for NaN,
    infinities, an empty axis, and a term that float64 does not hold. Source: arXiv 1602.02830, shift-based batch
    normalization; the bounds are derived.
    """
    array = _finite(centred, "a variance").astype(np.float64)
    number = _axis_of(array, axis)
    with np.errstate(over="ignore", under="ignore"):
        terms = array * ap2(array)
    if not np.isfinite(terms).all():
        raise ValueError(
            "a term of the variance beyond the largest float64: multiply the numbers by a power of two first"
        )
    rows, kept = rows_along(terms, (number,))
    return np.squeeze(means(rows).reshape(kept), number)


def inverse_root(x: Any) -> FloatArray:
    """AP2(1/sqrt(x)) for x >= 0: float32 or float64 [...] -> float64, exact: the exponent of x, halved.

    x = s 2**q with s in [1, 2) gives 2**-ceil(q/2); where x = 2**odd two powers are as near, and the lower is taken.
    0 gives infinity and infinity 0. Errors: TypeError for other dtypes; ValueError for NaN and negatives.
    Source: arXiv 1602.02830, shift-based batch normalization.
    """
    array = without_nan(x, "a root")
    if (array < 0).any():
        raise ValueError(f"x = {array[array < 0].flat[0]}: a root needs x >= 0")
    _, exponent = np.frexp(array)  # q + 1
    power = np.ldexp(1.0, -(exponent // 2))
    return np.where(array == 0, np.inf, np.where(np.isinf(array), 0.0, power))


def shift_batch_norm(x: Any, gamma: Any, beta: Any, *, epsilon: float = 0.0, axis: int = 0) -> FloatArray:
    """AP2(gamma) (c AP2(1/sqrt(mean(c AP2(c)) + epsilon))) + beta: float32 or float64 [..., n, ...] -> the same.

    axis: the samples, over which mean and variance are taken. gamma, beta: broadcast over x without that axis. The
    scale is within `SHIFT_SCALE_BOUNDS` of 1/sqrt(variance) for epsilon 0. Computed in float64, with means that are exact
    before they are rounded, so that no layout changes a bit, and rounded once to the dtype of x. Where all samples are
    equal the result is beta.
    Errors: TypeError for other dtypes; ValueError for NaN or infinities, an axis that is empty or not there, gamma or beta
    of another shape, a negative epsilon, and numbers that differ from their mean by more than float64 holds.
    Source: arXiv 1602.02830, shift-based batch normalization, and its code.
    """
    array = _finite(x, "shift_batch_norm")
    number = _axis_of(array, axis)
    if not 0 <= epsilon < np.inf:
        raise ValueError(f"epsilon = {epsilon}: give a finite number of at least 0")
    factor, shift = (_of_channels(label, v, array.shape, axis) for label, v in (("gamma", gamma), ("beta", beta)))
    wide = array.astype(np.float64)
    rows, kept = rows_along(wide, (number,))
    with np.errstate(over="ignore"):
        centred = wide - means(rows).reshape(kept)  # 0 where all are equal: their mean is they
    if not np.isfinite(centred).all():
        raise ValueError("numbers that differ from their mean by more than float64 holds: multiply x by 2**-1 first")
    # The result does not change with a power of two, by which the terms of the variance stay numbers of float64.
    places = np.frexp(np.max(np.abs(centred), axis=axis, keepdims=True))[1]
    with np.errstate(over="ignore", under="ignore"):
        centred = np.ldexp(centred, -places)
        scale = inverse_root(
            np.expand_dims(shift_variance(centred, axis), axis) + np.ldexp(np.float64(epsilon), -2 * places)
        )
        scaled = centred * np.where(np.isinf(scale), 0.0, scale)
    return np.asarray((ap2(factor) * scaled + shift).astype(array.dtype))


def _finite(x: Any, verb: str) -> FloatArray:
    array = without_nan(x, verb)
    if not np.isfinite(array).all():
        raise ValueError("x has an infinity, of which there is no mean: clip it")
    return array


def _axis_of(array: FloatArray, axis: int) -> int:
    """The axis, counted from 0, of an array that has samples along it."""
    if array.ndim == 0:
        raise ValueError(f"x of shape () has no samples along axis {axis}: give at least one")
    (number,) = checked_axes(axis, array.ndim)
    if array.shape[number] == 0:
        raise ValueError(f"x of shape {array.shape} has no samples along axis {axis}: give at least one")
    return number


def _of_channels(label: str, values: Any, shape: tuple[int, ...], axis: int) -> FloatArray:
    """gamma or beta as it goes with x of this shape: float64, of length 1 along the axis or a number."""
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{label} has {array[~np.isfinite(array)][0]}: give finite numbers")
    (number,) = checked_axes(axis, len(shape))
    rest = shape[:number] + shape[number + 1 :]
    try:
        fits = np.broadcast_shapes(array.shape, rest) == rest
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{label} of shape {array.shape} for channels of shape {rest}: give one number a channel, or one"
        )
    return np.asarray(np.expand_dims(np.broadcast_to(array, rest), number))
