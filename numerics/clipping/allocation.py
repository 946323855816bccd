"""Bits for each channel: as many bins as lower the total error most, and integers near their logarithms.

The paper rounds those to nearest, its code up unless told otherwise: both by name, the paper's is the default. What the
code returns where the mean is never met was not seen; here it is the nearest.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.integers import whole
from ..means import finite

ROUNDINGS = ("round", "ceil")

_REACH = 256.0  # of a target that no mean can follow, as where channels have alpha 0


def bin_allocation(alphas: Any, total_bins: float) -> NDArray[np.float64]:
    """B_i = total_bins * alpha_i**(2/3) / sum alpha**(2/3): alphas [...], clips of at least 0 -> float64 [...].

    The least of sum alpha_i**2 / B_i**2 under sum B_i = total_bins, by a Lagrange multiplier. Within 8 ulp; equal
    alphas get equal bins, total_bins / n to the last bit; so do alphas that are all 0. Errors: TypeError for other
    dtypes; ValueError for a negative or non-finite alpha, total_bins not above 0. Source: Banner, Nahshan and Soudry,
    arXiv 1810.05723, eq. 10.
    """
    clips = finite(alphas, "alphas").astype(np.float64)
    if (clips < 0).any():
        raise ValueError(f"alphas has {clips[clips < 0][0]}: clips are at least 0")
    if not 0 < total_bins < math.inf:
        raise ValueError(f"total_bins = {total_bins!r}: give a finite number above 0")
    if clips.size == 0:
        return clips
    largest = clips.max()
    weights = np.cbrt(clips / largest) ** 2 if largest > 0 else np.ones_like(clips)
    return weights * total_bins / math.fsum(weights.ravel().tolist())


def bit_allocation(
    alphas: Any,
    bits: float,
    *,
    minimum: int = 0,
    maximum: int = 8,
    rounding: str = "round",
    iterations: int = 10,
    tolerance: float = 0.01,
) -> NDArray[np.int64]:
    """Bits of each channel, integers in [minimum, maximum] whose mean aims at `bits`: alphas [...] -> int64 [...].

    M_i is log2 of `bin_allocation(alphas, n * 2**target)`, rounded to nearest or up ("ceil") as `rounding` says and
    then clamped; a channel of alpha 0 has the minimum. The target is `bits` first; while the mean of M lies `tolerance`
    or more from `bits`, half of what is missing is added to it, for `iterations` rounds at most. Returned is the round
    whose mean came nearest, the first of equals. Logarithms are not computed: the rounding is exact for the B_i of
    `bin_allocation`. Errors: as there; ValueError for a range without integers, bits outside it, an unknown rounding,
    iterations < 1, a negative tolerance. Source: as `bin_allocation`, eq. 11; the iteration is that of its code, which
    rounds up unless told otherwise.
    """
    least, most, rounds = whole(minimum), whole(maximum), whole(iterations)
    if least is None or most is None or least > most:
        raise ValueError(f"minimum = {minimum!r}, maximum = {maximum!r}: give integers, the minimum first")
    if not least <= bits <= most:
        raise ValueError(f"bits = {bits!r}: a mean of integers in [{least}, {most}] lies in there")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding {rounding!r} is not known: known are {', '.join(ROUNDINGS)}")
    if rounds is None or rounds < 1:
        raise ValueError(f"iterations = {iterations!r}: give an integer of at least 1")
    if not tolerance >= 0:
        raise ValueError(f"tolerance = {tolerance!r}: give how far the mean may be off, at least 0")
    clips = np.asarray(alphas)
    target, best, missed = float(bits), np.zeros(clips.shape, np.int64), math.inf
    for _ in range(rounds):
        found = _logarithms(bin_allocation(clips, max(1, clips.size) * 2.0**target), rounding, least, most)
        if clips.size == 0:
            return found
        missing = bits - int(found.sum()) / found.size
        if abs(missing) < abs(missed):
            best, missed = found, missing
        if abs(missing) < tolerance:
            break
        target = min(max(target + missing / 2, -_REACH), _REACH)
    return best


def _logarithms(bins: NDArray[np.float64], rounding: str, least: int, most: int) -> NDArray[np.int64]:
    """log2 rounded to integers and clamped; `least` for 0."""
    significands, exponents = np.frexp(bins)  # bins = significand * 2**exponent, 1/2 <= significand < 1
    down = significands == 0.5 if rounding == "ceil" else significands < math.sqrt(0.5)
    found = exponents.astype(np.int64) - down
    return np.where(bins > 0, np.clip(found, least, most), least)
