"""Roots of powers of two, rounded exactly: integer arithmetic only.

2**(j/2**f) is irrational unless 2**f divides j, so it never lies halfway between two numbers of finitely many bits, and
its floor with one bit more decides the rounding to nearest.
"""

from functools import lru_cache
from math import isqrt


def power_floor(j: int, f: int, q: int) -> int:
    """floor(2**(j / 2**f + q)): the 2**f-th root as f nested integer square roots, each exact, so their floor is."""
    exponent = j + (q << f)
    if exponent < 0:
        return 0
    x = 1 << exponent
    for _ in range(f):
        x = isqrt(x)
    return x


@lru_cache(maxsize=64)
def significands(f: int, precision: int) -> tuple[int, ...]:
    """2**(j / 2**f) for j = 0 ... 2**f to nearest in `precision` bits, times 2**(precision - 1)."""
    inner = ((power_floor(j, f, precision) + 1) >> 1 for j in range(1, 1 << f))
    return (1 << (precision - 1), *inner, 1 << precision)


@lru_cache(maxsize=64)
def geometric_means(f: int, precision: int) -> tuple[int, ...]:
    """The least significand above 2**((j + 1/2) / 2**f), j = 0 ... 2**f - 1; no float equals such a mean."""
    return tuple(power_floor(2 * j + 1, f + 1, precision - 1) + 1 for j in range(1 << f))
