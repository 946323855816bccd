"""What one rounding may do: unit roundoff, underflow, and how often it may be repeated."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..formats import FixedFormat, FloatFormat, Subnormals
from ..formats.integers import whole
from ..formats.naming import named
from ..rounding import Overflow, Rounding, check_members

_KEPT_BITS = 128  # significant bits of powers, which are rounded up at every multiplication
_MOST_DIGITS = 28  # of the number of digits of a power, as an exponent of two
NEAREST = (Rounding.RNE, Rounding.RNA)


def power_of_two(exponent: int) -> Fraction:
    """2**exponent, exactly."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def exactly(label: str, value: Any) -> Fraction:
    """A number of any library as the Fraction it is. Errors: TypeError for no number, ValueError for none that is finite."""
    integer = whole(value)
    if integer is not None or isinstance(value, Fraction):
        return Fraction(value if integer is None else integer)
    number = real(label, value)
    if not math.isfinite(number):
        raise ValueError(f"{label} = {value!r}: give a finite number")
    # Decimals and long doubles have digits that float64 lacks.
    ratio = getattr(value, "as_integer_ratio", number.as_integer_ratio)
    return Fraction(*ratio())


def real(label: str, value: Any) -> float:
    """A number of any library in float64, which may be infinite or NaN. Errors: TypeError for what is no number."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError("no number")
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{label} = {value!r}: give a finite number") from None
    except OverflowError:  # an integer or a fraction beyond float64
        return math.inf if value > 0 else -math.inf


def check_grid(fmt: Any, rounding: Any) -> None:
    """Refuse what is not rounded to in closed form, and what is no mode of it. Errors: TypeError, ValueError."""
    if not isinstance(fmt, FloatFormat | FixedFormat):
        remedy = "give a FloatFormat or a FixedFormat; parse_format(name) makes one from a name"
        raise TypeError(f"format {named(fmt)}: {remedy}")
    check_members(rounding, Overflow.SATURATE)
    if rounding is Rounding.RNL:
        raise ValueError("RNL rounds logarithms to nearest: it has no unit roundoff; give another mode")


def count_of(label: str, value: Any, least: int = 0) -> int:
    """An integer of at least `least`, or a sentence. Errors: ValueError."""
    number = whole(value)
    if number is None or number < least:
        raise ValueError(f"{label} = {value!r}: give an integer of at least {least}")
    return number


def lowest_bit(fmt: FloatFormat | FixedFormat) -> Fraction:
    """The number of which all values of the format are multiples: the step of the lowest binade, or of the grid."""
    return power_of_two(fmt.emin - fmt.mantissa_bits if isinstance(fmt, FloatFormat) else -fmt.fraction_bits)


def unit_roundoff(fmt: FloatFormat | FixedFormat, rounding: Rounding) -> Fraction:
    """u with |round(x) - x| <= u |x| without under- and overflow: 2**-p to nearest, 2**(1 - p) in all other modes.

    p: precision with the leading bit. To nearest the error is even at most u/(1 + u) |x|, attained at x = 1 + u, and so
    it is toward zero; both are used here. A fixed grid has no relative part: 0, see `underflow_unit`.
    Errors: TypeError for other formats and for no mode, ValueError for RNL, which rounds logarithms. Source: Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, 2.2; Jeannerod and Rump, Math. Comp. 87, 2018 (u/(1 + u));
    Connolly, Higham and Mary, SIAM J. Sci. Comput. 43(1), 2021, A566 (2u for stochastic rounding). Tests:
    test_theory_worst_case.py, over all values between all neighbours.
    """
    check_grid(fmt, rounding)
    if isinstance(fmt, FixedFormat):
        return Fraction(0)
    return power_of_two(-fmt.precision if rounding in NEAREST else 1 - fmt.precision)


def underflow_unit(fmt: FloatFormat | FixedFormat, rounding: Rounding) -> Fraction:
    """The largest error of one rounding where `unit_roundoff` says nothing: |round(x) - x| <= max(u |x|, this).

    Gradual underflow and fixed point: half a step to nearest, else a step. Where small results are flushed: the
    smallest normal, in every mode. In units of the values. Errors: as `unit_roundoff`.
    """
    check_grid(fmt, rounding)
    if isinstance(fmt, FloatFormat) and fmt.subnormals is not Subnormals.GRADUAL:
        return Fraction(fmt.smallest_normal)
    return lowest_bit(fmt) / (2 if rounding in NEAREST else 1)


@dataclass(frozen=True)
class Step:
    """One rounding: |error| <= relative |x|, or <= absolute where x is small.

    quantum: the number of which all values are multiples. bias: of a stochastic mode, the largest |mean error| in ulp;
    None in a deterministic mode. smooth: small results are rounded like all others, not flushed.
    """

    relative: Fraction
    absolute: Fraction
    quantum: Fraction
    nearest: bool
    truncates: bool
    smooth: bool
    bias: Fraction | None

    def __str__(self) -> str:
        return f"u = {float(self.relative):.3g}"


def step_of(fmt: FloatFormat | FixedFormat, rounding: Rounding, random_bits: int | None = None) -> Step:
    """The facts of rounding to a format. random_bits: of a stochastic mode, None for 32.

    The mean error of r-bit stochastic rounding is toward zero and under 2**-r ulp (SR), or at most 2**-(r + 1) ulp
    either way (SR_B, SR_C): `Rounding`.
    """
    bias = None
    if rounding.stochastic:
        bits = 32 if random_bits is None else random_bits
        bias = power_of_two(-bits if rounding is Rounding.SR else -bits - 1)
    return Step(
        unit_roundoff(fmt, rounding),
        underflow_unit(fmt, rounding),
        lowest_bit(fmt),
        rounding in NEAREST,
        rounding is Rounding.RTZ,
        not isinstance(fmt, FloatFormat) or fmt.subnormals is Subnormals.GRADUAL,
        bias,
    )


def gamma(n: int, u: Fraction) -> Fraction:
    """gamma_n = n u / (1 - n u), the classical bound on |product of n factors (1 + delta), |delta| <= u, minus 1|.

    Errors: ValueError where n u >= 1. Source: Higham 2002, lemma 3.1. The bounds of this module use the smaller
    `growth(n, u)` - 1, which needs no restriction.
    """
    n, u = count_of("n", n), exactly("u", u)
    if u < 0:
        raise ValueError(f"gamma({n}, {u}): give n and u of at least 0")
    if n * u >= 1:
        raise ValueError(
            f"gamma({n}, {real('u', u):g}): n u = {real('n u', n * u):g} is not below 1; growth(n, u) - 1 always holds"
        )
    return n * u / (1 - n * u)


def growth(n: int, u: Fraction) -> Fraction:
    """(1 + u)**n from above, too large by at most n parts in 2**126.

    Errors: TypeError for what is no number; ValueError for n or u below 0, and for a result of more than 2**28 digits.
    """
    n, u = count_of("n", n), exactly("u", u)
    if u < 0:
        raise ValueError(f"growth({n}, {u}): give u of at least 0")
    # Significands and exponents apart: as fractions, powers of coarse roundings are mostly digits that are zero.
    result, factor, left = (1, 0), _up(1 + u), n
    while left:
        if left & 1:
            result = _product(result, factor)
        factor, left = _product(factor, factor), left >> 1
        if max(result[1], factor[1] if left else 0) >> _MOST_DIGITS > 0:
            raise ValueError(
                f"growth({str(n)[:40]}, {real('u', u):g}): more than 2**{_MOST_DIGITS} binary digits, and bounds that say"
                " nothing; take fewer roundings, chunk=, or a wider format"
            )
    return result[0] * power_of_two(result[1])


def _up(x: Fraction) -> tuple[int, int]:
    """The positive x rounded up to _KEPT_BITS significant bits: (significand, exponent)."""
    shift = _KEPT_BITS - x.numerator.bit_length() + x.denominator.bit_length()
    scaled = x * power_of_two(shift)
    return -(-scaled.numerator // scaled.denominator), -shift


def _product(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    """x y rounded up like `_up`."""
    significand, exponent = x[0] * y[0], x[1] + y[1]
    more = max(0, significand.bit_length() - _KEPT_BITS)
    return -(-significand >> more), exponent + more
