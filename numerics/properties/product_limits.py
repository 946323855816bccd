"""Products whose sums pass the limits of an accumulator: up, down, and back again, as far as the operands reach."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..accumulator import Accumulator
from ..formats import FixedFormat, FloatFormat
from .accumulators import AccumulatorUnderTest

LONGEST, SHORT = 300, 9  # products of a chain, with and without long ones
Member = Callable[[FloatFormat | FixedFormat, float], float]


class Steps(NamedTuple):
    """A product a b, and how many of them pass the limit."""

    a: float
    b: float
    number: int


def limit_of(subject: AccumulatorUnderTest) -> float:
    """The largest value of the narrowest format that sums are kept in."""
    claim = subject.claim
    formats = [claim.format, claim.combining.format] if isinstance(claim, Accumulator) else [subject.output]
    return min(_finite(fmt.max) for fmt in formats)


def steps_to_limit(subject: AccumulatorUnderTest, member: Member) -> Steps | None:
    """Three equal products past the limit, none of them past it alone; more where the operands are small.

    None where no chain that is tried gets there. member(fmt, x): the member of a format nearest to x.
    """
    claim, limit = subject.claim, limit_of(subject)
    wanted = 0.375 * limit
    if isinstance(claim, Accumulator) and claim.product_format is not None:
        wanted = min(wanted, _finite(claim.product_format.max))
    tops = [min(_finite(fmt.max), _largest(subject.dtype)) for fmt in subject.operands]
    a = member(subject.operands[0], 2.0 ** math.floor(math.log2(min(tops[0], math.sqrt(limit)))))
    b = member(subject.operands[1], min(tops[1], wanted / a)) if a else 0.0
    a = member(subject.operands[0], min(tops[0], wanted / b)) if b else 0.0
    if not a * b:
        return None
    beyond = 1.1 if isinstance(subject.output, FloatFormat) else 1.0  # what is just above may be rounded to the limit
    count = math.floor(beyond * (limit / (a * b))) + 1
    if count > (LONGEST if subject.deep else SHORT) or _stagnates(subject, count):
        return None
    return Steps(a, b, count)


def _stagnates(subject: AccumulatorUnderTest, count: int) -> bool:
    """Whether a sum grows so large beside its products that they are rounded away."""
    fmt = subject.claim.format if isinstance(subject.claim, Accumulator) else subject.output
    return isinstance(fmt, FloatFormat) and count > 3 and count > 2.0 ** (fmt.precision - 1)


def unreached(subject: AccumulatorUnderTest, member: Member) -> str:
    """What is to be said where no sum passes the limits; "" where some do."""
    claim = subject.claim
    if not isinstance(claim, Accumulator) or steps_to_limit(subject, member):
        return ""
    if subject.takes_c:  # at the limit, where half a step is enough
        largest = math.prod(_finite(fmt.max) for fmt in subject.operands)
        if isinstance(claim.format, FixedFormat) or largest >= math.ldexp(limit_of(subject), -claim.format.precision):
            return ""
    chains = f"chains of up to {LONGEST if subject.deep else SHORT} products"
    longer = not subject.deep and steps_to_limit(replace(subject, deep=True), member) is not None
    if claim.product_format is not None and SHORT * _finite(claim.product_format.max) < limit_of(subject):
        told = f"by {chains}, rounded to {claim.product_format}"
        # In floats, products so small vanish beside the largest value.
        helps = isinstance(claim.format, FixedFormat) and not subject.takes_c
        remedy = "deep=True" if longer else "takes_c=True" if helps else ""
    else:
        first, second = subject.operands
        own = f"{first}" if first == second else f"{first} and {second}"
        told = f"with these operands ({own}, {chains})"
        remedy = "operands= of larger values" + (", or deep=True" if longer else "")
    ending = f": give {remedy}" if remedy else ""
    return f"no sum reaches the limits of {claim.format} {told}, what happens there was not tried{ending}"


def dtype_error(subject: AccumulatorUnderTest, x: float) -> float:
    """By how much a result x may be off as its dtype does not hold all values of the output format: half a step or 0."""
    if subject.dtype.kind != "f" or subject.output.precision <= np.finfo(subject.dtype).nmant + 1:
        return 0.0
    return float(np.spacing(np.abs(subject.dtype.type(x)))) / 2


def _finite(x: Any) -> float:
    return float(x) if x < 2**1023 else min(float(x), 2.0**1023 * 1.9)


def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max)
