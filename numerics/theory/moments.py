"""One rounding and repeated roundings in closed form: mean and variance, and where sums stop growing."""

import math
from fractions import Fraction
from typing import Any, NamedTuple

from ..formats import FixedFormat, FloatFormat, Subnormals
from ..formats.integers import whole
from ..rounding import Rounding
from ..words import check_random_bits
from .roundoff import NEAREST, check_grid, exactly, lowest_bit, power_of_two, real

_HALF = Fraction(1, 2)


class Moments(NamedTuple):
    """Mean and variance of a rounded number, in the units of the values and their square."""

    mean: Fraction
    variance: Fraction


def rounding_moments(
    x: float | Fraction,
    fmt: FloatFormat | FixedFormat,
    rounding: Rounding = Rounding.SR,
    random_bits: int | float | None = None,
) -> Moments:
    """Exact mean and variance of stochastic rounding over all words, in rationals.

    With lo and ulp the neighbour below |x| and the step there, nu = (|x| - lo)/ulp and r random bits (None: 32), it
    goes up for k of the 2**r words, k = floor(nu 2**r) for SR and nu 2**r to nearest for SR_B (ties up) and SR_C (ties
    to even): mean lo + ulp k/2**r, variance ulp^2 (k/2**r)(1 - k/2**r). random_bits = math.inf: ideal randomness, with
    mean x and variance (x - lo)(hi - x). Flushing comes after the rounding and moves both.
    Errors: TypeError for what is no number, format or mode; ValueError for a deterministic mode, for random bits that are
    no count, and for x that is not finite or beyond the largest value, where the overflow rule decides.
    Source: IEEE P3109 v4.0 draft, 4.7.4. Test: test_theory_moments.py, by enumeration of all words through Quantizer.
    """
    check_grid(fmt, rounding)
    if not rounding.stochastic:
        raise ValueError(f"moments of {rounding.name}: it is deterministic; give SR, SR_B or SR_C")
    exact, bits = exactly("x", x), _bits(random_bits)
    largest = Fraction(fmt.min if exact < 0 and isinstance(fmt, FixedFormat) else fmt.max)
    if abs(exact) > abs(largest) or (exact < 0 and not fmt.signed):
        raise ValueError(
            f"{real('x', exact)} is beyond the values of {fmt}, of which the largest there is {float(largest)}"
        )
    lo, ulp = _neighbour(abs(exact), fmt)
    nu = (abs(exact) - lo) / ulp
    p = _chance(nu, rounding, bits)
    below, above = _flushed(lo, fmt), _flushed(lo + ulp, fmt) if p else Fraction(0)
    mean = below + p * (above - below)
    return Moments(-mean if exact < 0 else mean, (above - below) ** 2 * p * (1 - p))


def _neighbour(magnitude: Fraction, fmt: FloatFormat | FixedFormat) -> tuple[Fraction, Fraction]:
    """The value at or below a magnitude, and the step to the next."""
    step = lowest_bit(fmt)
    if isinstance(fmt, FloatFormat) and magnitude:
        unbounded = power_of_two(exponent_of(magnitude) - fmt.mantissa_bits)
        step = max(step, unbounded) if fmt.subnormals is Subnormals.GRADUAL else unbounded
    return math.floor(magnitude / step) * step, step


def exponent_of(x: Fraction) -> int:
    """floor(log2 x) of a positive rational."""
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if x >= power_of_two(e) else e - 1


def _flushed(value: Fraction, fmt: FloatFormat | FixedFormat) -> Fraction:
    if isinstance(fmt, FixedFormat) or fmt.subnormals is Subnormals.GRADUAL:
        return value
    smallest = Fraction(fmt.smallest_normal)
    if value >= smallest:
        return value
    return smallest if fmt.subnormals is Subnormals.NO_ZERO else Fraction(0)


def _bits(random_bits: Any) -> int | None:
    """How many random bits a word has, None for ideal randomness. Errors: ValueError."""
    if isinstance(random_bits, float) and random_bits == math.inf:
        return None
    bits = 32 if random_bits is None else whole(random_bits)
    if bits is None or not 1 <= bits <= 32:
        raise ValueError(
            f"random_bits = {random_bits!r}: give an integer from 1 to 32, or math.inf for ideal randomness"
        )
    return bits


def _chance(nu: Fraction, rounding: Rounding, bits: int | None) -> Fraction:
    """Probability of going up."""
    if bits is None:
        return nu
    words = 1 << bits
    k, rest = divmod(nu * words, 1)
    if rounding is Rounding.SR_B and rest >= _HALF:
        k += 1
    if rounding is Rounding.SR_C and (rest > _HALF or (rest == _HALF and k % 2 == 1)):
        k += 1
    return Fraction(k, words)


def stagnation_point(
    fmt: FloatFormat | FixedFormat,
    rounding: Rounding = Rounding.RNE,
    addend: float | Fraction = 1,
    random_bits: int | None = None,
) -> float | None:
    """The sum at which adding a positive constant, from zero, one rounding a step, changes nothing any more.

    None where no sum below the largest value is such a point. With t = floor(log2(addend)) and M mantissa bits it is
    2**(t + M + 1) for RTZ and RTN, and for RNE if the addend is a power of two; 2**(t + M + 2) for RNE else, and for
    RNA; a step more than 2**(t + M + 1) for RTO, which stays at the first odd value; none for RTP. r-bit SR moves on
    with no word at all from 2**(t + M + r + 1): r bits delay the stagnation of truncation by r binades and do not
    prevent it; SR_C as SR and SR_B from twice that, like RNE and RNA. The addend may have more bits than the format.
    Sums of a fixed grid do not stagnate, except at 0.
    Errors: TypeError for what is no number, format or mode; ValueError for RNL, for an addend that is not positive, or
    too small for a format that flushes, and for random bits that are no count or beside a deterministic mode.
    Source: derived here; the case of RTZ with addend 1 is the 2**(M + 1) of LBA's accumulators, arXiv 2401.14110.
    Test: test_theory_moments.py runs products of ones.
    """
    check_grid(fmt, rounding)
    step = exactly("addend", addend)
    bits = check_random_bits(rounding.stochastic, random_bits, rounding.name) or 0
    if step <= 0:
        raise ValueError(f"addend = {addend!r}: give a positive number")
    if _flushed(step, fmt) != step:
        raise ValueError(
            f"addend = {addend!r} is below the smallest normal of {fmt}, which flushes it: give a larger one"
        )
    if rounding is Rounding.RTP:
        return None
    # The step of the grid from which on the addend is lost: the first power of two that is large enough.
    words = power_of_two(bits)
    scaled = step * words
    power = power_of_two(exponent_of(scaled))
    doubled = rounding in NEAREST or rounding in (Rounding.SR_B, Rounding.SR_C)
    ties_stay = rounding in (Rounding.RNE, Rounding.SR_C) and scaled == power
    lost = power * (4 if doubled and not ties_stay else 2)
    if lost <= lowest_bit(fmt):
        return float(lowest_bit(fmt)) if rounding is Rounding.RTO else 0.0
    if isinstance(fmt, FixedFormat):
        return None
    point = lost * power_of_two(fmt.mantissa_bits)
    odd_code = fmt.mantissa_bits == 0 and (exponent_of(point) - fmt.emin) % 2 == _first_parity(fmt)
    if rounding is Rounding.RTO and not odd_code:
        point += lost
    if rounding is Rounding.RNE and ties_stay and odd_code:
        point += lost
    return float(point) if point < Fraction(fmt.max) else None


def _first_parity(fmt: FloatFormat) -> int:
    """What (exponent - emin) % 2 is where a code without mantissa bits is odd: the code of emin is 1, or 0."""
    return 0 if fmt.subnormals in (Subnormals.GRADUAL, Subnormals.FLUSH) else 1
