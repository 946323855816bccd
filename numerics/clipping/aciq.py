"""Analytical clipping (ACIQ): the clip of least error in a model of the quantizer, by closed form.

The model: what lies in [-alpha, alpha] is quantized with steps 2 alpha / 2**bits and an error of variance step**2 / 12,
charged to the whole mass; what lies outside is moved to the nearer end. `optimum` has the clip of the real quantizer.
"""

import math
from typing import Any

from ..formats.integers import whole
from .lambert import lambert_w0

DISTRIBUTIONS = ("laplace", "gauss")

LARGEST_CLIP = 2.0**500  # its square is a float64

_MOST_BITS = 64
_NEWTON_STEPS = 100


def check_distribution(distribution: str) -> None:
    """Refuses a name that is not in DISTRIBUTIONS."""
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"distribution {distribution!r} is not known: known are {', '.join(DISTRIBUTIONS)}")


def checked_bits(bits: Any, lowest: int, highest: int) -> int:
    """`bits` as an integer in a range, or a sentence that names it."""
    number = whole(bits)
    if number is None:
        raise TypeError(f"bits = {bits!r}: give an integer, {lowest} to {highest}")
    if not lowest <= number <= highest:
        raise ValueError(f"bits = {number}: give {lowest} to {highest}")
    return number


def aciq_alpha(bits: int, distribution: str = "laplace", *, half_range: bool = False) -> float:
    """The clip of least `aciq_mse`, over the scale: b of "laplace", sigma of "gauss"; bits 0 to 64.

    Laplace: W0(3 * 4**bits), within 2 ulp (Lambert's W; the equation 2 alpha / (3 * 4**bits) = 2 e**-alpha solved).
    Gauss: the root of alpha / (3 * 4**bits) = 2 (phi(alpha) - alpha Q(alpha)), phi and Q the density and the upper
    tail, by Newton's method, within 1e-13 of itself. half_range: of the range [0, alpha] after a ReLU, which is the
    clip of one bit more. Errors: ValueError for an unknown distribution or bits out of range. Source: Banner, Nahshan
    and Soudry, Post training 4-bit quantization of convolutional networks for rapid-deployment, 2019, arXiv 1810.05723,
    eq. 6. Its repository prints 3.86 for 3 bits of Laplace, where eq. 6 gives 3.897.
    """
    check_distribution(distribution)
    bits = checked_bits(bits, 0, _MOST_BITS) + int(half_range)
    weight = 1 / (3 * 4.0**bits)
    if distribution == "laplace":
        return lambert_w0(3 * 4.0**bits)
    alpha = 0.0
    # The left side less the right one is concave and grows: from the left, Newton's iterates ascend to the root.
    for _ in range(_NEWTON_STEPS):
        excess = alpha * weight - 2 * (_density(alpha) - alpha * _tail(alpha))
        following = alpha - excess / (weight + 2 * _tail(alpha))
        if following <= alpha:
            break
        alpha = following
    return alpha


def aciq_mse(alpha: float, bits: int, distribution: str = "laplace", *, half_range: bool = False) -> float:
    """The model's mean square error at unit scale: of clipping to [-alpha, alpha] and of quantizing, in the scale squared.

    Laplace: 2 e**-alpha + alpha**2 / (3 * 4**bits). Gauss: (alpha**2 + 1) erfc(alpha / sqrt 2) - sqrt(2 / pi) alpha
    e**(-alpha**2 / 2) + the same term. half_range: of [0, alpha] after a ReLU, one tail and half the mass: half the
    error of one bit more. Relative error below 1e-15 for Laplace; for Gauss, whose terms nearly cancel in the far tail,
    below 5e-10, and below 5e-14 up to 5 bits. Errors: ValueError for an alpha outside 0 to 2**500, bits out of 0
    to 64, an unknown distribution. Source: as `aciq_alpha`; the factors of the half range are its code's.
    """
    check_distribution(distribution)
    bits = checked_bits(bits, 0, _MOST_BITS) + int(half_range)
    if not 0 <= alpha <= LARGEST_CLIP:
        raise ValueError(f"alpha = {alpha!r}: give a clip over the scale, at least 0 and at most 2**500")
    if distribution == "laplace":
        clipped = 2 * math.exp(-alpha)
    else:
        clipped = 2 * ((alpha**2 + 1) * _tail(alpha) - alpha * _density(alpha))
    error = clipped + alpha**2 / (3 * 4.0**bits)
    return error / 2 if half_range else error


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _tail(x: float) -> float:
    return math.erfc(x / math.sqrt(2)) / 2
