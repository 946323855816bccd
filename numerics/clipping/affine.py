"""The affine quantizer of GEMMLOWP: value = scale * (code - zero_point), with real 0 exactly a code."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.codes import code_dtype
from ..formats.integers import whole
from ..means import finite
from ..operands import as_array
from ..rounding import Rounding
from ..words import check_random_bits, given_words, needed_seed, random_words
from . import quotients
from .aciq import checked_bits

_MOST_BITS = 20  # quotients below 2**21 with 32 random bits are float64 with a bit to spare


def affine(
    x: Any,
    bits: int,
    *,
    lo: float | None = None,
    hi: float | None = None,
    half_range: bool = False,
    rounding: Rounding = Rounding.RNE,
    random_bits: int | None = None,
    seed: int | None = None,
    stream: int = 0,
    offset: int = 0,
    words: Any = None,
) -> tuple[NDArray[Any], float, int]:
    """(codes, scale, zero_point) of x: finite float32 or float64 [...] -> unsigned codes in [0, 2**bits), same shape.

    The range [lo, hi], by default that of x, is widened to hold 0. scale = (hi - lo) / (2**bits - 1) in float64,
    zero_point = round(-lo / scale), code = zero_point + round(x / scale), clamped: real 0 has the code zero_point and
    no error. Both quotients are rounded as exact rationals of the floats given, magnitudes to nearest with ties to
    even, or under Rounding.SR up iff floor(fraction * 2**r) + word >= 2**r, element i with word f(seed, stream, offset
    + i), or with words[i], and then the seed is not used; the zero point always to nearest. bits: 1 to 20. An x in
    [lo, hi] has an error of at most scale / 2, of at most scale at an end from which the rounding of the zero point has
    shifted the grid (or everywhere under SR, which is unbiased to a part in 2**r of the scale elsewhere). half_range:
    lo = 0, zero_point = 0, a ReLU fused in. A range of width 0 gives scale 0.0 and codes 0: no smallest scale is assumed
    (the authors' code has 1e-8). How their code breaks ties was not seen in a source. Errors: TypeError for other
    dtypes; ValueError for non-finite x, lo > hi, lo with half_range, a range that float64 cannot divide, another
    rounding mode, neither seed nor words under SR. Source:
    Jacob et al., arXiv 1712.05877, 2.1; used by Banner, Hubara, Hoffer and Soudry, arXiv 1805.11046.
    """
    array = finite(x)
    bits = checked_bits(bits, 1, _MOST_BITS)
    if rounding not in (Rounding.RNE, Rounding.SR):
        raise ValueError(f"rounding {rounding!r}: affine rounds to nearest even, RNE, or stochastically, SR")
    low, high = _range(array, lo, hi, half_range)
    top = 2**bits - 1
    scale = (high - low) / top
    drawn = _words(array, rounding, random_bits, seed, stream, offset, words)
    if scale == 0 and high == low:
        return np.zeros(array.shape, code_dtype(bits)), 0.0, 0
    # 2**-1000: the fixed power of two below which the last bits of the range would be lost to underflow.
    if not 2.0**-1000 <= scale < 2.0**1000:
        raise ValueError(
            f"range [{low}, {high}] in {bits} bits has the scale {scale}: multiply x by a power of two first"
        )
    exponent = math.frexp(scale)[1]
    unit = np.float64(math.ldexp(scale, -exponent))
    zero_point = int(_round(np.array([math.ldexp(-low, -exponent)]), unit, None, 0)[0])
    magnitudes = np.ldexp(np.abs(np.clip(array.astype(np.float64), low, high)), -exponent).reshape(-1)
    steps = np.copysign(_round(magnitudes, unit, *drawn), array.reshape(-1))
    codes = np.clip(steps + zero_point, 0, top).astype(code_dtype(bits))
    return codes.reshape(array.shape), scale, zero_point


def dequantize(codes: Any, scale: float, zero_point: int, *, dtype: Any = np.float64) -> NDArray[Any]:
    """scale * (code - zero_point), rounded to float64 and then to dtype: unsigned codes [...] -> dtype [...].

    Errors: TypeError for codes that are not integers and for a dtype other than float32 and float64; ValueError for codes
    and a zero point outside 0 to 2**20 - 1, and a scale that is negative or not finite. Source: as `affine`.
    """
    array, wanted = as_array(codes, "codes", "an array of unsigned integers"), np.dtype(dtype)
    if array.dtype.kind not in "iu":
        raise TypeError(f"codes of dtype {array.dtype}: give the integers that affine returned")
    if wanted not in (np.float32, np.float64):
        raise TypeError(f"dtype {wanted}: values are decoded to float32 or float64")
    end = 1 << _MOST_BITS
    outside = (array < 0) | (array >= end)
    if outside.any():
        raise ValueError(f"code {array[outside].flat[0]}: affine gives 0 to {end - 1}")
    zero = whole(zero_point)
    if zero is None or not 0 <= zero < end:
        raise ValueError(f"zero_point = {zero_point!r}: give the integer that affine returned, 0 to {end - 1}")
    if not 0 <= float(scale) < math.inf:
        raise ValueError(f"scale = {scale!r}: give the one that affine returned, finite and at least 0")
    return ((array.astype(np.int64) - zero) * float(scale)).astype(wanted)


def _range(x: NDArray[Any], lo: float | None, hi: float | None, half_range: bool) -> tuple[float, float]:
    """The range that codes span: the one given, or that of x, with 0 in it."""
    if half_range and lo is not None:
        raise ValueError(f"lo = {lo!r} with half_range: the range after a ReLU begins at 0; leave lo out")
    for label, end in (("lo", lo), ("hi", hi)):
        if end is not None and not math.isfinite(end):
            raise ValueError(f"{label} = {end!r}: give a finite number")
    if lo is not None and hi is not None and lo > hi:
        raise ValueError(f"lo = {lo!r}, hi = {hi!r}: give the lower end first")
    low = 0.0 if half_range else float(lo) if lo is not None else float(x.min(initial=0))
    high = float(hi) if hi is not None else float(x.max(initial=0))
    return min(low, 0.0), max(high, 0.0)


def _words(
    x: NDArray[Any], rounding: Rounding, random_bits: Any, seed: Any, stream: Any, offset: Any, words: Any
) -> tuple[NDArray[np.uint32] | None, int]:
    """(a word for each element, how many bits they have), or (None, 0) for rounding to nearest."""
    r = check_random_bits(rounding.stochastic, random_bits, rounding.name)
    if r is None:
        if words is not None:
            raise ValueError(f"words given with {rounding.name}: random words belong to SR")
        return None, 0
    if words is not None:
        return given_words(words, x.shape, r).reshape(-1), r
    return random_words(x.size, r, seed=needed_seed(seed, "SR", x.shape), stream=stream, offset=offset), r


def _round(
    magnitudes: NDArray[np.float64], unit: np.float64, words: NDArray[np.uint32] | None, random_bits: int
) -> NDArray[np.float64]:
    quotient, divisor = magnitudes / unit, np.full(magnitudes.shape, unit)
    if words is None:
        return quotients.nearest(magnitudes, quotient, divisor)
    return quotients.stochastic(magnitudes, quotient, divisor, words, random_bits)
