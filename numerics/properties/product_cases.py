"""The counter-example that a check of products shows."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..accumulator import Accumulator
from ..rounding import Overflow
from .accumulators import AccumulatorUnderTest, Extra
from .evidence import ClaimError, shown
from .product_problems import Problem, one_output
from .reproductions import same_bits, smallest


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
    found: NDArray[Any] | None = None,
    laid: str = "{}",
) -> ClaimError:
    """The counter-example, cut down to one output; found: all outputs, to try whether that one alone comes out the same.

    laid: how a and b lay in memory, where that alone makes the difference.
    """
    i, j = where
    shown_by = _shown_by(subject, problem, extra, where, found)
    if not shown_by and laid != "{}":
        line = subject.reproduce(problem.a, problem.b, problem.c, extra, laid)
        shown_by = {"only_among_others": "and laid so", "reproduce": f"{line}[{i}, {j}]"}
    row, column = problem.a[i : i + 1], problem.b[:, j : j + 1]
    c = None if problem.c is None else problem.c[i : i + 1, j : j + 1]
    own = one_output(subject, extra, i, j)
    terms = [float(x) * float(y) for x, y in zip(row[0], column[:, 0], strict=True)]
    told = ", ".join(f"{t!r}" for t in terms[:12]) + (f", ... ({len(terms)} in all)" if len(terms) > 12 else "")
    details: dict[str, object] = {
        "problem": problem.name,
        "output": f"[{i}, {j}] of {[problem.a.shape[0], problem.b.shape[1]]}",
        "products": told,
    }
    if c is not None:
        details["addend"] = repr(float(c[0, 0]))
    details |= {"seen": seen, "allowed": allowed, "formula": formula}
    rule = None if claim not in OF_VALUES else _other_overflow(subject, (row, column, c, own), seen)
    if rule is not None:
        details["perhaps"] = f"Overflow.{rule.name} is meant: give the claim overflow=Overflow.{rule.name}"
    details |= shown_by or {"reproduce": subject.reproduce(row, column, c, own)}
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


def _shown_by(
    subject: AccumulatorUnderTest, problem: Problem, extra: Extra, where: tuple[int, int], found: NDArray[Any] | None
) -> dict[str, object]:
    """The line of the fewest rows and columns among which the output is what was found; nothing where it is so alone."""
    if found is None:
        return {}
    i, j = where

    def again(rows: Any, columns: Any) -> Any:
        part, own = _part(subject, problem, extra, rows, columns)
        try:
            result = subject(part.a, part.b, part.c, own)
        except Exception:  # of so few it can do nothing
            return None
        return result[np.searchsorted(rows, i), np.searchsorted(columns, j)]

    def shows(rows: Any, columns: Any) -> bool:
        value = again(rows, columns)
        return value is not None and bool(same_bits(value, found[where]))

    rows, columns = np.arange(found.shape[0]), np.arange(found.shape[1])
    alone = again(rows[[i]], columns[[j]])
    if alone is not None and same_bits(alone, found[where]):
        return {}
    told = "alone it fails" if alone is None else f"alone it gives {shown(alone)}"
    if not shows(rows, columns):
        return {
            "only_among_others": f"{told}, and called again other results: it depends on what came before",
            "reproduce": f"{subject.reproduce(problem.a, problem.b, problem.c, extra)}{list(where)}",
        }
    kept_rows = smallest(len(rows), [i], lambda kept: shows(kept, columns))
    kept_columns = smallest(len(columns), [j], lambda kept: shows(kept_rows, kept))
    part, own = _part(subject, problem, extra, kept_rows, kept_columns)
    index = [int(np.searchsorted(kept_rows, i)), int(np.searchsorted(kept_columns, j))]
    line = subject.reproduce(part.a, part.b, part.c, own)
    return {"only_among_others": told, "reproduce": f"{line}{index}"}


def _part(
    subject: AccumulatorUnderTest, problem: Problem, extra: Extra, rows: Any, columns: Any
) -> tuple[Problem, Extra]:
    """Some rows and columns of a problem, with their words or scales."""
    c = None if problem.c is None else problem.c[np.ix_(rows, columns)]
    own = (extra[0][rows], extra[1][:, columns]) if subject.scaled else tuple(w[np.ix_(rows, columns)] for w in extra)
    return Problem(problem.name, problem.a[rows], problem.b[:, columns], c), own
