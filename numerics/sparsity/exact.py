"""A block's draw in integers, for the blocks that floating point leaves in doubt: any magnitudes, any n and m."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray


def draw(block: Sequence[float], n: int, word: int, random_bits: int, *, method: str) -> list[Fraction]:
    """The magnitudes |x_i|/p_i where the word keeps element i, else 0, exact: m finite numbers -> m fractions."""
    exact = [Fraction(abs(x)) for x in block]
    if sum(1 for x in exact if x) <= n:
        return exact
    unit = max(x.denominator for x in exact)  # powers of two
    sizes = [int(x * unit) for x in exact]
    weights, values = _water(sizes, n) if method == "exact" else _two_draws(sizes)
    kept = _pair(sizes, word + 1, random_bits) if method == "sequential" else _kept(weights, n, word + 1, random_bits)
    return [value / unit if one else Fraction(0) for value, one in zip(values, kept, strict=True)]


def _kept(weights: Sequence[int], n: int, first: int, random_bits: int) -> list[bool]:
    """Whether a point first + j 2**r lies in (C_(i-1), C_i] 2**r, C the running sums of n weights/sum(weights)."""
    whole, running, reached = sum(weights), 0, 0
    kept = []
    for weight in weights:
        running += weight
        kept.append(weight > 0 and (first + (reached << random_bits)) * whole <= (n * running) << random_bits)
        reached += kept[-1]
    return kept


def _pair(sizes: Sequence[int], first: int, random_bits: int) -> list[bool]:
    """The first pair, in order, whose running sum of probabilities reaches first / 2**r: those of two draws in sequence."""
    total = sum(sizes)
    common = prod(total - size for size in sizes)
    shares = [common // (total - size) for size in sizes]
    running = 0
    for i, j in combinations(range(len(sizes)), 2):
        running += sizes[i] * sizes[j] * (shares[i] + shares[j])
        if first * total * common <= running << random_bits:
            return [k in (i, j) for k in range(len(sizes))]
    raise AssertionError("the probabilities of all pairs add up to 1")


def _water(sizes: Sequence[int], n: int) -> tuple[list[int], list[Fraction]]:
    """(integers in proportion to the probabilities, the magnitude of each where kept): p = min(1, size/level)."""
    rest, left = sum(sizes), n
    for size in sorted(sizes, reverse=True):
        if size * left <= rest:
            break
        rest, left = rest - size, left - 1
    return [min(size * left, rest) for size in sizes], [max(Fraction(size), Fraction(rest, left)) for size in sizes]


def _two_draws(sizes: Sequence[int]) -> tuple[list[int], list[Fraction]]:
    """The same for two draws without replacement: p_i = size_i/T (1 + sum over j != i of size_j/(T - size_j))."""
    total = sum(sizes)
    common = prod(total - size for size in sizes)
    shares = [size * (common // (total - size)) for size in sizes]
    factors = [common + sum(shares) - share for share in shares]
    return [s * f for s, f in zip(sizes, factors, strict=True)], [Fraction(total * common, f) for f in factors]


def nearest(value: Fraction, dtype: np.dtype[np.floating]) -> float:
    """A positive fraction rounded to nearest, ties to even, as float32 or float64; infinite where that overflows."""
    precision, emin, emax = (24, -126, 127) if dtype == np.float32 else (53, -1022, 1023)
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    exponent -= value < Fraction(2) ** exponent
    place = max(exponent, emin) - precision + 1
    rounded = round(value / Fraction(2) ** place) * Fraction(2) ** place  # Python's round takes ties to even
    return float(rounded) if rounded < Fraction(2) ** (emax + 1) else float("inf")


def settle(
    x: NDArray[np.floating], words: NDArray[np.uint32], n: int, random_bits: int, *, method: str
) -> NDArray[np.floating]:
    """Blocks [B, m] of finite numbers and a word each -> what is kept, x_i/p_i rounded once to x's dtype.

    Errors: OverflowError where that is beyond the dtype.
    """
    out = np.zeros_like(x)
    for block, word, row in zip(x.tolist(), words.tolist(), out, strict=True):
        for i, value in enumerate(draw(block, n, word, random_bits, method=method)):
            size = nearest(value, x.dtype) if value else 0.0
            if size == float("inf"):
                raise OverflowError(
                    f"x/p of element {i} of the block {block} is beyond {x.dtype}: scale x by a power of two, which the"
                    " estimator commutes with"
                )
            if size:
                row[i] = np.copysign(size, block[i])
    return out
