"""Powers of two with a fraction in the exponent, decided in integers.

A number here is a sum of c_e * 2**(e / d) over integers e, with d a power of two. The powers 2**(r / d), r = 0 ... d - 1,
are linearly independent over the rationals (x**d - 2 is irreducible, Eisenstein), so such a sum is zero iff its
coefficients are, once exponents are reduced modulo d. Where it is not zero its sign is that of an enclosing interval
that has been narrowed until it leaves zero out.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache


@lru_cache(maxsize=1 << 16)
def root_floor(exponent: int, degree: int) -> int:
    """floor(2**(exponent / degree)) by bisection: t with t**degree <= 2**exponent < (t + 1)**degree."""
    if exponent < 0:
        return 0
    target = 1 << exponent
    octave, part = divmod(exponent, degree)
    low, high = 1 << octave, 2 << octave  # low <= root < high
    if octave > 48:  # a float names a narrower bracket; integers say whether it is one
        leading = int(2.0 ** (48 + part / degree))
        closer = (leading - 1) << (octave - 48), (leading + 2) << (octave - 48)
        if closer[0] ** degree <= target < closer[1] ** degree:
            low, high = closer
    while high - low > 1:
        middle = (low + high) >> 1
        low, high = (middle, high) if middle**degree <= target else (low, middle)
    return low


def nearest_power(exponent: int, degree: int, precision: int) -> Fraction:
    """2**(exponent / degree) to nearest in `precision` bits; a tie would be a rational root, which only powers are."""
    octave, part = divmod(exponent, degree)
    doubled = root_floor(part + precision * degree, degree)  # one bit more than asked for
    significand = doubled // 2 if part == 0 else (doubled + 1) // 2
    return significand * Fraction(2) ** (octave - precision + 1)


def exceeds_power(x: Fraction, exponent: int, degree: int) -> bool:
    """Whether a positive rational is above 2**(exponent / degree)."""
    return x**degree > Fraction(2) ** exponent


def sign(terms: Mapping[int, int], degree: int) -> int:
    """-1, 0 or 1: the sign of the sum of coefficient * 2**(exponent / degree); degree a power of two."""
    lowest = min(terms)
    return _sign(tuple(sorted((e - lowest, c) for e, c in terms.items())), degree)


@lru_cache(maxsize=1 << 18)
def _sign(terms: tuple[tuple[int, int], ...], degree: int) -> int:
    classes: dict[int, int] = {}
    for exponent, coefficient in terms:
        octave, part = divmod(exponent, degree)
        classes[part] = classes.get(part, 0) + (coefficient << octave)
    if not any(classes.values()):
        return 0
    bits = 16
    while True:
        low = high = 0
        for part, coefficient in classes.items():
            floor = root_floor(part + bits * degree, degree)
            ceiling = floor + (part != 0)
            low += coefficient * (floor if coefficient > 0 else ceiling)
            high += coefficient * (ceiling if coefficient > 0 else floor)
        if low > 0 or high < 0:
            return 1 if low > 0 else -1
        bits *= 2
