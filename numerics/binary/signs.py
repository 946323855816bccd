"""Signs, drawn or not, the mask of their straight-through gradient, and what keeps real weights in range.

Source: arXiv 1602.02830, and the authors' released code. Seen in that code and not in the text: the
Glorot factor, and that weights are clipped after each update.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..operands import as_array
from ..parameters import check_dtype
from ..words import bits_of_words, given_words, needed_seed, random_words

FloatArray = NDArray[Any]


def without_nan(x: Any, verb: str) -> FloatArray:
    """x as a float32 or float64 array without NaN, or a sentence about it."""
    array = carried(x)
    if np.isnan(array).any():
        place = int(np.argmax(np.isnan(array)))
        raise ValueError(f"x[{place}] (in C order) is NaN: {verb} has none; replace it, np.nan_to_num does")
    return array


def carried(x: Any) -> FloatArray:
    """x as a float32 or float64 array, or a sentence about its dtype."""
    array = as_array(x, "x", "a float32 or float64 array")
    check_dtype(array.dtype)
    return array


def sign(x: Any) -> FloatArray:
    """+1 for x >= 0 and for -0.0, else -1: float32 or float64 [...] -> the same shape and dtype. Exact.

    Errors: TypeError for other dtypes, ValueError for NaN. torch's and numpy's `sign` have a third value, 0 at 0.
    Source: arXiv 1602.02830, deterministic binarization; +1 at 0 as in its Theano code.
    """
    array = without_nan(x, "a sign")
    return np.asarray(np.where(array >= 0, array.dtype.type(1), array.dtype.type(-1)))


def hard_sigmoid(x: Any) -> FloatArray:
    """(x + 1)/2 between 0 and 1, with one rounding: float32 or float64 [...] -> the same. NaN stays NaN.

    Errors: TypeError for other dtypes. `stochastic_sign` does not go through this rounded value.
    Source: arXiv 1602.02830, stochastic binarization.
    """
    array = carried(x)
    # Clipped before, so that nothing overflows and the halving is exact: x + 1 is at most 2.
    return np.asarray((np.clip(array, -1, 1) + array.dtype.type(1)) * array.dtype.type(0.5))


def stochastic_sign(
    x: Any, *, seed: int | None = None, words: Any = None, random_bits: int = 32, stream: int = 0, offset: int = 0
) -> FloatArray:
    """+1 with probability clip((x + 1)/2, 0, 1), else -1: float32 or float64 [...] -> the same shape and dtype.

    +1 comes of exactly floor(p * 2**random_bits) of the words, p the rational of the given float. words: unsigned, of the
    shape of x, in [0, 2**random_bits); without them element i (in C order) draws word f(seed, stream, offset + i).
    Errors: TypeError for other dtypes; ValueError for NaN, for neither seed nor words, and for words out of range.
    Source: arXiv 1602.02830, stochastic binarization.
    """
    array = without_nan(x, "a sign")
    bits = bits_of_words(random_bits)
    if words is not None:
        drawn = given_words(words, array.shape, bits)
    else:
        seed = needed_seed(seed, "stochastic_sign", array.shape)
        drawn = random_words(array.size, bits, seed=seed, stream=stream, offset=offset).reshape(array.shape)
    # floor((x + 1)/2 * 2**r) = floor(x * 2**(r-1)) + 2**(r-1): the product with a power of two is exact in float64.
    half = float(1 << (bits - 1))
    count = np.floor(np.clip(array.astype(np.float64), -1, 1) * half) + half
    return np.asarray(np.where(count + drawn >= 2 * half, array.dtype.type(1), array.dtype.type(-1)))


def ste_mask(x: Any) -> NDArray[np.bool_]:
    """|x| <= 1, where the gradient of a sign goes through unchanged: float32 or float64 [...] -> bool. False at NaN.

    Errors: TypeError for other dtypes. It is the derivative of hard tanh; the ends belong to it.
    Source: arXiv 1602.02830, straight-through estimator.
    """
    return np.asarray(np.abs(carried(x)) <= 1)


def clip_weights(w: Any) -> FloatArray:
    """The real weights behind the signs, kept in [-1, 1] after an update: float32 or float64 [...] -> the same. Exact.

    Beyond, a weight would move without a change of its sign, and the mask would stop its gradient for good.
    Errors: TypeError for other dtypes, ValueError for NaN. Source: arXiv 1602.02830 and its code.
    """
    return np.asarray(np.clip(without_nan(w, "a weight"), -1, 1))


def glorot_scale(fan_in: int, fan_out: int) -> float:
    """1/sqrt(1.5/(fan_in + fan_out)), by which the released code multiplies the learning rate of a layer's weights.

    Errors: ValueError for fans below 1. Source: the code of arXiv 1602.02830.
    """
    if fan_in < 1 or fan_out < 1:
        raise ValueError(f"fan_in = {fan_in}, fan_out = {fan_out}: give the units of the layers, at least 1")
    return float(np.sqrt((fan_in + fan_out) / 1.5))
