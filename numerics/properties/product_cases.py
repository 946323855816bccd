"""The counter-example that a check of products shows."""

from typing import Any

from .accumulators import AccumulatorUnderTest, Extra
from .evidence import ClaimError
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
    return ClaimError(
        claim,
        f"{statement} ({subject.claim})",
        problem=problem.name,
        products=told,
        seen=seen,
        allowed=allowed,
        formula=formula,
        reproduce=subject.reproduce(row, column, c, own),
    )
