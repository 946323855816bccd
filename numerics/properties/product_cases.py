"""The counter-example that a check of products shows."""

from dataclasses import replace
from typing import Any

from ..accumulator import Accumulator
from ..rounding import Overflow
from .accumulators import AccumulatorUnderTest, Extra
from .evidence import ClaimError, shown
from .product_problems import Problem, one_output


def broken_product(
    claim: str,
    statement: str,
    subject: AccumulatorUnderTest,
    problem: Problem,
    extra: Extra,
    where: tuple[int, int],
    seen: Any,
    allowed: Any,
    formula: str,
) -> ClaimError:
    """The counter-example, cut down to one output."""
    i, j = where
    row, column = problem.a[i : i + 1], problem.b[:, j : j + 1]
    c = None if problem.c is None else problem.c[i : i + 1, j : j + 1]
    own = one_output(subject, extra, i, j)
    terms = [float(x) * float(y) for x, y in zip(row[0], column[:, 0], strict=True)]
    told = ", ".join(f"{t!r}" for t in terms[:12]) + (f", ... ({len(terms)} in all)" if len(terms) > 12 else "")
    details = {"problem": problem.name, "products": told}
    if c is not None:
        details["addend"] = repr(float(c[0, 0]))
    details |= {"seen": seen, "allowed": allowed, "formula": formula}
    rule = None if claim not in OF_VALUES else _other_overflow(subject, (row, column, c, own), seen)
    if rule is not None:
        details["perhaps"] = f"Overflow.{rule.name} is meant: give the claim overflow=Overflow.{rule.name}"
    details["reproduce"] = subject.reproduce(row, column, c, own)
    return ClaimError(claim, f"{statement} ({subject.claim})", **details)


OF_VALUES = ("steps", "product_member")  # what is seen is an output, and the claim says which it is to be


def _other_overflow(subject: AccumulatorUnderTest, given: Any, seen: Any) -> Overflow | None:
    """The overflow rule under which what was seen would have been right, if there is one."""
    if not isinstance(subject.claim, Accumulator):
        return None
    for rule in (Overflow.IEEE, Overflow.SATURATE, Overflow.WRAP):
        try:
            other = replace(subject, claim=_under(subject.claim, rule))
            right = other.wanted(*given)
        except (ValueError, TypeError, OverflowError):  # a format has no such rule, or it is Overflow.ERROR elsewhere
            continue
        if rule is not subject.claim.overflow and shown(right[0, 0]) == seen:
            return rule
    return None


def _under(claim: Accumulator, rule: Overflow) -> Accumulator:
    """The same accumulator, all of whose sums overflow by another rule."""
    outer = None if claim.outer is None else replace(claim.outer, overflow=rule)
    return replace(claim, overflow=rule, outer=outer)
