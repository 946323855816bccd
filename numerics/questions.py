"""What is asked of a chain's masks: which questions there are, which are refused, and by which kernels they are answered.

`chains` has the definitions.
"""

from typing import Any, NamedTuple

from .accumulator import Accumulator
from .bounds import product_bits
from .brief import keep
from .formats import FixedFormat
from .formats.naming import made_from, named
from .kernels import replay
from .planning import Plan, plans
from .problem import Problem

RULES = ("identity", "immediate", "recursive")
EVENTS = ("overflow", "diff")
FAR = 900  # exponents beyond which thresholds are not exact in float64


class Question(NamedTuple):
    """What is asked of the chain."""

    rule: str
    event: str
    tolerance: float

    @property
    def kernel(self) -> tuple[int, int]:
        """(event, whether recursive) as `replay` takes them."""
        moved = replay.MOVED_FAR if self.tolerance else replay.MOVED
        return replay.OVERFLOW if self.event == "overflow" else moved, int(self.rule == "recursive")


_QUESTIONS: dict[Any, Question] = {}


def check_question(accumulator: Any, rule: str, event: str, tolerance: float) -> Question:
    """What is asked for, or the sentence that says why it is not to be had; see `chain_masks`."""
    key = getattr(accumulator, "_text", None), rule, event, tolerance
    try:
        return _QUESTIONS[key]
    except KeyError:
        known: Question = keep(_QUESTIONS, key, _question(accumulator, rule, event, tolerance))
        return known
    except TypeError:  # a number that is no key, such as an array of one
        return _question(accumulator, rule, event, tolerance)


def _question(accumulator: Any, rule: str, event: str, tolerance: float) -> Question:
    if not isinstance(accumulator, Accumulator):
        raise TypeError(
            f"accumulator {named(accumulator)}: masks are of the steps of a chain; give"
            f" {made_from(accumulator, 'Accumulator')} (a MatrixUnit adds whole blocks)"
        )
    for label, value, known in (("rule", rule, RULES), ("event", event, EVENTS)):
        if value not in known:
            raise ValueError(f"{label} {value!r} is not known: known are {', '.join(known)}")
    limit = float(tolerance)
    if limit and not 2.0**-64 <= limit <= 2.0**64:
        raise ValueError(f"tolerance = {tolerance!r}: give 0, or a relative difference from 2**-64 to 2**64")
    if limit and event != "diff":
        raise ValueError(
            f'tolerance = {tolerance!r} with event {event!r}: a tolerance is for event="diff"; leave it out'
        )
    if rule != "identity":
        _check_chain(accumulator, limit)
    return Question(rule, event, limit)


def _check_chain(accumulator: Accumulator, tolerance: float) -> None:
    for part in (accumulator, accumulator.combining):
        fmt = part.format
        if isinstance(fmt, FixedFormat):
            raise ValueError(f'an accumulator in {fmt} has no masks yet: give one in a FloatFormat, or rule="identity"')
        if part.order != "sequential":
            raise ValueError(
                f"order {part.order!r} is no chain of steps that a mask could be of: give"
                ' order="sequential", with or without chunk=, or rule="identity"'
            )
        if tolerance and (fmt.emax > FAR or fmt.emin - fmt.mantissa_bits < -FAR):
            raise ValueError(
                f"tolerance = {tolerance} in {fmt}: differences are compared exactly for exponents within +-{FAR};"
                " give tolerance=0 or an accumulator of fewer exponent bits"
            )


def plan_of(problem: Problem, accumulator: Accumulator, question: Question) -> Plan:
    """The first plan that takes every step, and for "overflow" knows every sum and the carrier's error in it."""
    a, b, _ = problem.facts
    for plan in plans(problem, accumulator):
        carrier = plan.carrier
        exact = product_bits(a, b) <= carrier.precision
        exact = exact and a.lowest + b.lowest >= carrier.emin and a.highest + b.highest + 2 <= carrier.emax
        if plan.kernel not in ("sgemm", "dgemm") and (exact or question.event != "overflow"):
            return plan
    raise ValueError(
        f"masks of {question.event} of sums in {accumulator.format} are not exact for these operands: float64 must hold"
        " their products; quantize the operands to fewer bits"
    )
