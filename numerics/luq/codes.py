"""Codes of the grid: a sign bit above an exponent code, 0 for zero and k + 1 for alpha 2**k. Seven levels: [1,3,0]."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..formats.codes import checked_codes, code_dtype
from ..operands import floats
from .estimator import quantize
from .scale import alpha_of, check_levels, check_power_of_two, grid_ends


def encode(
    x: Any,
    levels: int = 7,
    *,
    alpha: float | None = None,
    power_of_two: str | None = None,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
) -> NDArray[Any]:
    """The codes that x becomes: float32 or float64 [...] -> the smallest unsigned dtype that holds them, [...].

    For 7 levels 4 bits: sign * 8 + exponent code, 8 being -0; in general the exponent code has the bits of `levels`.
    decode(encode(x), alpha, dtype=x.dtype) is quantize(x) for the same words, with the alpha and the levels in force.
    Errors and other arguments: as `quantize`. Source: derived; the grid is that of `quantize`.
    """
    array, levels = floats(x, "x"), check_levels(levels)
    if alpha is None:
        alpha, power_of_two = alpha_of(array, levels, check_power_of_two(power_of_two)), None
    values = quantize(
        array,
        levels,
        alpha=alpha,
        power_of_two=power_of_two,
        seed=seed,
        words=words,
        random_bits=random_bits,
        stream=stream,
        offset=offset,
    )
    step, _ = grid_ends(alpha, array.dtype, levels)
    powers = np.abs(values).astype(np.float64) / (float(step) or 1.0)  # 0 or 2**k, exact
    exponents = np.frexp(powers)[1].astype(code_dtype(code_bits(levels)))
    signs: NDArray[Any] = np.signbit(values).astype(exponents.dtype)
    return np.asarray((signs << exponents.dtype.type(code_bits(levels) - 1)) | exponents)


def decode(codes: Any, alpha: float, levels: int = 7, *, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """The values of codes: unsigned integers [...] -> float64 or float32 [...], exact; alpha rounded to it, to nearest.

    Errors: TypeError for codes that are no integers and for other dtypes; ValueError for codes that `encode` does not
    give for as many levels, and as `quantize` for alpha. Source: as `encode`.
    """
    wanted, levels = np.dtype(dtype), check_levels(levels)
    if wanted not in (np.float32, np.float64):
        raise TypeError(f"dtype {wanted}: values are decoded to float32 or float64")
    step, _ = grid_ends(alpha, wanted, levels)
    bits = code_bits(levels)
    array = checked_codes(codes, bits, f"a grid of {levels} levels")
    exponents = (array & np.uint64((1 << (bits - 1)) - 1)).astype(np.int64)
    if exponents.size and int(exponents.max()) > levels:
        worst = int(array.reshape(-1)[int(np.argmax(exponents))])
        raise ValueError(
            f"code {worst} has exponent code {int(exponents.max())}: a grid of {levels} levels ends at {levels}"
        )
    sizes = np.where(exponents > 0, np.ldexp(step, np.maximum(exponents - 1, 0)), wanted.type(0))
    return np.asarray(np.where(array >> np.uint64(bits - 1), -sizes, sizes))


def code_bits(levels: int) -> int:
    """Bits of a code with its sign."""
    return levels.bit_length() + 1
