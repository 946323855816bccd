"""Sums of magnitudes and of squares through a declared accumulator."""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..accumulator import Accumulator
from ..means import Rows, mean_magnitudes, root_mean_squares
from ..products import matmul
from ..quantizer import Quantizer


class Sums(TypedDict, total=False):
    """How a norm is accumulated; what is left out is exact and rounded once to float64.

    accumulator: the sum of a channel runs through it, of n exact products by `numerics.matmul`, channel c as batch c;
    seed, stream: its random words. deviations: rounds x - mean before anything else is done with it (float64 input
    needs it where the accumulator could not hold exact products). prescale: each term is multiplied by 2**-ceil(log2 n)
    first and the sum multiplied back, exactly but for terms that leave the normal numbers of x's dtype, so that no exact
    sum is larger than its largest term was.
    """

    accumulator: Accumulator | None
    deviations: Quantizer | None
    prescale: bool
    seed: int | None
    stream: int


def check_sums(sums: Sums) -> None:
    """Refuses names that `Sums` does not have, and what would have no effect."""
    unknown = set(sums) - set(Sums.__annotations__)
    if unknown:
        raise TypeError(f"{', '.join(sorted(unknown))}: known are {', '.join(Sums.__annotations__)}")
    useless = sums.get("prescale") or sums.get("seed") is not None
    if sums.get("accumulator") is None and useless:
        raise ValueError("prescale or seed without an accumulator: sums are exact then; leave them out")


def rounded_deviations(deviations: Rows, dtype: np.dtype[Any], sums: Sums) -> Rows:
    """x - mean as it enters all that follows: rounded by `deviations`, else to x's dtype where sums are emulated."""
    quantizer = sums.get("deviations")
    if quantizer is not None:
        rounded: Rows = quantizer.quantize(deviations)
        return rounded
    return deviations.astype(dtype).astype(np.float64) if sums.get("accumulator") is not None else deviations


def mean_of_magnitudes(rows: Rows, dtype: np.dtype[Any], sums: Sums) -> Rows:
    """mean|x| of each row [rows, n] -> [rows]."""
    if sums.get("accumulator") is None:
        return mean_magnitudes(rows)
    magnitudes = np.abs(rows)
    return _mean_of_products(magnitudes, np.ones_like(magnitudes), dtype, sums)


def root_of_mean_square(rows: Rows, dtype: np.dtype[Any], sums: Sums) -> Rows:
    """sqrt(mean x**2) of each row [rows, n] -> [rows]; division and root in float64."""
    if sums.get("accumulator") is None:
        return root_mean_squares(rows)
    return np.sqrt(_mean_of_products(rows, rows, dtype, sums))


def _mean_of_products(a: Rows, b: Rows, dtype: np.dtype[Any], sums: Sums) -> Rows:
    n = a.shape[1]
    shift = (n - 1).bit_length() if sums.get("prescale") else 0  # ceil(log2 n)
    left: NDArray[Any] = np.ldexp(a, -shift).astype(dtype)[:, None, :]
    right: NDArray[Any] = b.astype(dtype)[:, :, None]
    accumulator = sums["accumulator"]
    assert accumulator is not None
    found = matmul(left, right, accumulator, seed=sums.get("seed"), stream=sums.get("stream", 0))
    total = np.asarray(found, np.float64).reshape(-1)
    return np.asarray(np.ldexp(total, shift) / max(1, n))
