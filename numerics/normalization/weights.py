"""Weights of bounded norm, and how the norm of scale-invariant weights sets the size of a step.

The paper fixes the norm of a layer's weights; its code has several rules for the fixed number, and which one gave the
reported figures was not seen: the number is an argument, and `initial_rho` has two of the rules by name.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..means import finite, means, norms, rows_of_channels

RULES = ("mean", "total")


def bounded_weight_norm(v: Any, rho: Any, *, axis: int = 0) -> NDArray[Any]:
    """w_i = rho v_i / ||v_i||_2 for each channel i along `axis`: finite float32 or float64 [...] -> same dtype and shape.

    rho: one finite number for the layer, or one a channel; a channel of zeros stays zeros. Within 3 ulp in float64,
    then rounded to the dtype. Errors: TypeError for other dtypes; ValueError for an axis that is not there, a
    non-finite rho, or one of another length. Source: Hoffer, Banner, Golan and Soudry, Norm matters, NeurIPS 2018,
    arXiv 1803.01814.
    """
    array = finite(v, "v")
    rows, shape = rows_of_channels(array, axis)
    gains = np.asarray(rho, np.float64)
    if gains.shape not in ((), (rows.shape[0],)) or not np.isfinite(gains).all():
        raise ValueError(f"rho = {rho!r}: give a finite number, or one for each of the {rows.shape[0]} channels")
    # By a power of two a channel, so that neither a length overflows nor one among subnormals is rounded.
    places = np.frexp(np.abs(rows).max(axis=1, initial=0))[1]
    lengths = norms(np.ldexp(rows, -places[:, None])).reshape(shape)
    near_one = np.ldexp(array.astype(np.float64), -places.reshape(shape))
    unit = np.divide(near_one, lengths, out=np.zeros(array.shape), where=lengths > 0)
    scaled: NDArray[Any] = np.broadcast_to(gains, places.shape).reshape(shape) * unit
    return scaled.astype(array.dtype)


def initial_rho(v: Any, *, axis: int = 0, rule: str = "total") -> float:
    """The rho of `bounded_weight_norm` from a layer's initial weights v, channels along `axis`.

    rule "total": ||v|| / sqrt(channels), which keeps the norm of the whole layer; "mean": the mean of the channels'
    norms. 0 without channels. Errors: as `bounded_weight_norm`; ValueError for an unknown rule.
    Source: the code of arXiv 1803.01814.
    """
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} is not known: known are {', '.join(RULES)}")
    rows, _ = rows_of_channels(finite(v, "v"), axis)
    if rows.shape[0] == 0:
        return 0.0
    if rule == "mean":
        return float(means(norms(rows)[None])[0])
    return float(norms(rows.reshape(1, -1))[0]) / math.sqrt(rows.shape[0])


def bounded_gains(gains: Any, total: float) -> NDArray[Any]:
    """Learned gains scaled to a fixed Euclidean norm: [channels] -> gains * total / ||gains||, same dtype; zeros stay.

    With total = ||gains|| of the start, weights g_i v_i / ||v_i|| keep the norm of the layer. Errors: as
    `bounded_weight_norm`. Source: the code of arXiv 1803.01814.
    """
    array = finite(gains, "gains")
    if array.ndim != 1:
        raise ValueError(f"gains of shape {array.shape}: give one number a channel, [channels]")
    return bounded_weight_norm(array[None], total).reshape(array.shape)


def effective_step(learning_rate: float, norm: float) -> float:
    """learning_rate / norm**2: the step of the direction w / ||w|| when scale-invariant w makes one of learning_rate.

    Exact to second order in the step: the gradient of a scale-invariant loss is orthogonal to w and falls as 1 / ||w||.
    Errors: ValueError for a norm that is not above 0, and a step beyond float64. Source: Hoffer, Banner, Golan and Soudry,
    arXiv 1803.01814.
    """
    _check_norm(norm, "norm")
    fraction, exponent = math.frexp(norm)
    return _moved(learning_rate / fraction**2, -2 * exponent, f"norm = {norm!r}")


def corrected_learning_rate(learning_rate: float, norm: float, decayed_norm: float) -> float:
    """learning_rate * norm**2 / decayed_norm**2: makes the step without weight decay the effective one with it.

    norm: of a channel trained without decay; decayed_norm: of the same channel with it, at the same iteration. Errors as
    there. Source: as `effective_step`.
    """
    _check_norm(norm, "norm")
    _check_norm(decayed_norm, "decayed_norm")
    (fraction, exponent), (below, place) = math.frexp(norm), math.frexp(decayed_norm)
    what = f"norm = {norm!r}, decayed_norm = {decayed_norm!r}"
    return _moved(learning_rate * (fraction / below) ** 2, 2 * (exponent - place), what)


def _moved(value: float, places: int, what: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{what}: a learning rate has to be a finite number, and this is none or makes {value}")
    try:
        return math.ldexp(value, places)
    except OverflowError:
        raise ValueError(f"{what}: the learning rate is beyond float64; scale the weights first") from None


def _check_norm(norm: float, label: str) -> None:
    if not 0 < norm < math.inf:
        raise ValueError(f"{label} = {norm!r}: a direction needs a finite norm above 0")
