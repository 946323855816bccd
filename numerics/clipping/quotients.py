"""Quotients rounded to integers as if they were exact, which a float64 quotient alone does not say near ties."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SPLITTER = float(2**27 + 1)


def _halves(x: Floats) -> tuple[Floats, Floats]:
    """x as the sum of two numbers of at most 26 significant bits."""
    shifted = _SPLITTER * x
    high = shifted - (shifted - x)
    return high, x - high


def remainder_sign(x: Floats, q: Floats, y: Floats) -> Floats:
    """Sign of x - q y for q the float64 quotient of x and y: exact for y in [1/2, 1) and |q| < 2**60.

    The product is taken as a sum of two floats; the remainder of a quotient is a float, so that neither difference is
    rounded. Source: Dekker, A floating-point technique for extending the available precision, Numer. Math. 18, 1971.
    """
    product = q * y
    q1, q2 = _halves(q)
    y1, y2 = _halves(y)
    rest = ((q1 * y1 - product) + q1 * y2 + q2 * y1) + q2 * y2
    return np.sign((x - product) - rest)


def nearest(x: Floats, q: Floats, y: Floats) -> Floats:
    """x / y of magnitudes to the nearest integer, ties to even; q the float64 quotient, operands as `remainder_sign`."""
    rounded = np.rint(q)
    down = np.floor(q)
    tie = q - down == 0.5
    side = remainder_sign(x, q, y)
    return np.where(tie & (side != 0), down + (side > 0), rounded)


def stochastic(x: Floats, q: Floats, y: Floats, words: NDArray[np.uint32], random_bits: int) -> Floats:
    """x / y of magnitudes, up iff floor(fraction * 2**r) + word >= 2**r; operands as `nearest`, q 2**r < 2**53."""
    scaled = np.floor(np.ldexp(q, random_bits))
    scaled -= (scaled == np.ldexp(q, random_bits)) & (remainder_sign(x, q, y) < 0)
    return np.floor(np.ldexp(scaled + words, -random_bits))
