"""The affine quantizer in exact rationals, number by number."""

from fractions import Fraction
from math import floor


def to_nearest(x: Fraction) -> int:
    """Nearest integer, ties to even."""
    nearest: int = round(x)
    return nearest


def stochastic(x: Fraction, word: int, random_bits: int) -> int:
    """x with its magnitude rounded up iff floor(fraction * 2**r) + word >= 2**r."""
    magnitude = abs(x)
    whole: int = floor(magnitude)
    up = floor((magnitude - whole) * 2**random_bits) + word >= 2**random_bits
    return -(whole + int(up)) if x < 0 else whole + int(up)


def parameters(lo: float, hi: float, bits: int) -> tuple[float, int]:
    """(scale, zero_point) of a range that holds 0; the scale is the float64 quotient of the float64 width."""
    scale = (hi - lo) / (2**bits - 1)
    return (scale, to_nearest(-Fraction(lo) / Fraction(scale))) if scale else (0.0, 0)


def code(x: float, lo: float, hi: float, bits: int, *, word: int | None = None, random_bits: int = 32) -> int:
    """The code of x in the range [lo, hi], to nearest where there is no word."""
    scale, zero_point = parameters(lo, hi, bits)
    if scale == 0:
        return 0
    steps = Fraction(min(max(x, lo), hi)) / Fraction(scale)
    rounded = to_nearest(steps) if word is None else stochastic(steps, word, random_bits)
    highest: int = 2**bits - 1
    return min(max(zero_point + rounded, 0), highest)
