"""Binary nets in rationals and integers: signs, their probability, nearest powers of two, products, batch norm, AdaMax.

Sources: Hubara, Courbariaux, Soudry, El-Yaniv, Bengio, arXiv 1602.02830 and 1609.07061; threshold nets: arXiv 2410.19092.
"""

from collections.abc import Sequence
from fractions import Fraction

from .decision import floor_log2

Number = Fraction | float | int


def sign(x: Number) -> int:
    """1 for x >= 0, else -1."""
    return 1 if x >= 0 else -1


def hard_sigmoid(x: Number) -> Fraction:
    """(x + 1)/2 between 0 and 1."""
    return min(max((Fraction(x) + 1) / 2, Fraction(0)), Fraction(1))


def stochastic_sign(x: Number, word: int, random_bits: int) -> int:
    """1 iff floor(p * 2**random_bits) + word >= 2**random_bits, p the hard sigmoid; else -1."""
    whole = 1 << random_bits
    return 1 if hard_sigmoid(x) * whole // 1 + word >= whole else -1


def ap2(x: Number) -> Fraction:
    """The power of two nearest to x in its logarithm, with the sign of x; 0 of 0. A tie needs an irrational x."""
    x = Fraction(x)
    if not x:
        return x
    k = floor_log2(abs(x))
    k += (x / Fraction(2) ** k) ** 2 > 2
    return Fraction(2) ** k * sign(x)


def inverse_root(x: Number) -> Fraction:
    """The power of two nearest to 1/sqrt(x) in its logarithm, x > 0; the lower one of two as near (x = 2**odd)."""
    x = Fraction(x)
    # |log2(1/sqrt(x)) - k| <= 1/2  iff  1/2 <= x * 4**k <= 2
    near = -floor_log2(x) // 2
    return Fraction(2) ** min(k for k in range(near - 2, near + 3) if Fraction(1, 2) <= x * Fraction(4) ** k <= 2)


def xnor_matmul(a: Sequence[Sequence[int]], b: Sequence[Sequence[int]]) -> list[list[int]]:
    """The product of matrices of integers, as the sum that it is."""
    columns = list(zip(*b, strict=True))
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in a]


def shift_variance(x: Sequence[Number]) -> Fraction:
    """Mean of c * AP2(c), c = x - mean(x)."""
    centred = _centred(x)
    return sum((c * ap2(c) for c in centred), Fraction(0)) / len(centred)


def variance(x: Sequence[Number]) -> Fraction:
    """Mean of c**2."""
    centred = _centred(x)
    return sum((c * c for c in centred), Fraction(0)) / len(centred)


def _centred(x: Sequence[Number]) -> list[Fraction]:
    values = [Fraction(v) for v in x]
    mean = sum(values, Fraction(0)) / len(values)
    return [v - mean for v in values]


def threshold_layer(
    weights: Sequence[Sequence[int]], signs: Sequence[int], biases: Sequence[int], h: Sequence[int]
) -> list[int]:
    """1 where sign * (row of weights . h) + bias > 0, else 0."""
    return [
        int(s * sum(w * x for w, x in zip(row, h, strict=True)) + b > 0)
        for row, s, b in zip(weights, signs, biases, strict=True)
    ]
