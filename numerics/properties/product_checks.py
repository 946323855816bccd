"""Checks of accumulators and matrix units: each step by the oracle, errors within their bound, and the wiring."""

from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import theory
from ..accumulator import Accumulator
from ..formats import FixedFormat
from ..quantizer import Quantizer
from ..rounding import Overflow, Rounding
from .accumulators import AccumulatorUnderTest, Extra
from .counter_examples import first_of
from .evidence import EXACT, ClaimError, Evidence, hides, shown
from .product_cases import broken_product
from .product_limits import dtype_error, unreached
from .product_moments import product_moments as product_moments
from .product_problems import Problem, extras, lone_products, nearest_member, one_output, problems
from .product_shapes import addends, lengths, sizes
from .rounding_checks import DIRECTED, same_bits
from .wiring_checks import with_threads

__tracebackhide__ = hides


def _each(subject: AccumulatorUnderTest, given: Problem | None, deep: bool = True) -> Any:
    for problem in problems(subject, deep=deep and subject.deep) if given is None else [given]:
        for extra in extras(subject, problem):
            yield problem, extra


def _run(
    subject: AccumulatorUnderTest, problem: Problem, extra: Extra
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """(what the function gives, what the oracle gives); None for an overflow that is refused."""
    try:
        wanted = subject.wanted(problem.a, problem.b, problem.c, extra)
    except OverflowError:
        _must_raise(subject, problem, extra)
        return None, None
    except ValueError:  # what the oracle does not take is nobody's to answer
        return None, None
    return subject(problem.a, problem.b, problem.c, extra), wanted


def _must_raise(subject: AccumulatorUnderTest, problem: Problem, extra: Extra) -> None:
    try:
        found = subject(problem.a, problem.b, problem.c, extra)
    except ClaimError:
        raise
    except Exception:  # which kind is the function's own affair
        return
    raise broken_product(
        "steps",
        "an overflow was not told",
        subject,
        problem,
        extra,
        (0, 0),
        shown(found[0, 0]),
        "OverflowError",
        "Overflow.ERROR",
        found,
    )


def steps(subject: AccumulatorUnderTest, problem: Problem | None = None) -> Evidence:
    """Every output has the oracle's bits: each step's exact sum rounded once, in the declared order."""
    cases = 0
    more = (*lengths(subject), *addends(subject), *(sizes(subject) if subject.deep else ())) if problem is None else ()
    for given, extra in chain(_each(subject, problem), ((one, next(extras(subject, one))) for one in more)):
        found, wanted = _run(subject, given, extra)
        if found is None or wanted is None:
            continue
        wrong = ~same_bits(found, wanted)
        if wrong.any():
            i, j = first_of(wrong)
            raise broken_product(
                "steps",
                "not the sum that the declared steps give",
                subject,
                given,
                extra,
                (i, j),
                shown(found[i, j]),
                shown(wanted[i, j]),
                "s <- round(s + a b), in the declared order",
                found,
            )
        cases += found.size
    return Evidence(EXACT, cases, unreached(subject, nearest_member) if problem is None else "")


def single(subject: AccumulatorUnderTest) -> Evidence:
    """No products give c, or +0; one product is rounded as declared."""
    cases = 0
    for given in (*problems(subject, deep=False), lone_products(subject)):
        if given.a.shape[-1] <= 1:
            found = steps(subject, given)
            cases += found.cases
    return Evidence(EXACT, cases)


def product_member(subject: AccumulatorUnderTest, problem: Problem | None = None) -> Evidence:
    """Every output is a value of the output format."""
    cases, kind = 0, Quantizer(subject.output, Rounding.RTZ, Overflow.SATURATE)
    for given, extra in _each(subject, problem, deep=False):
        found, wanted = _run(subject, given, extra)
        if found is None or wanted is None:
            continue
        finite = np.isfinite(found)
        nearest = np.asarray(kind.quantize(np.where(finite, found, 0).astype(np.float64)))
        again = nearest.astype(found.dtype)  # a member that the dtype does not hold is given as near as it can
        wrong = finite & (again != found) | (~finite & np.isfinite(wanted))
        if wrong.any():
            i, j = first_of(wrong)
            told = "an output is no value of the output format", f"values of {subject.output}", "fl(sum) in F"
            if not finite[i, j]:
                infinite = "an infinity" if np.isinf(found[i, j]) else "a NaN"
                rule = (
                    f"Overflow.{subject.claim.combining.overflow.name}"
                    if isinstance(subject.claim, Accumulator)
                    else ""
                )
                told = f"{infinite} where the declared sum is finite", shown(wanted[i, j]), rule or told[2]
            raise broken_product(
                "product_member", told[0], subject, given, extra, (i, j), shown(found[i, j]), told[1], told[2], found
            )
        cases += found.size
    return Evidence(EXACT, cases)


def error_bound(subject: AccumulatorUnderTest, problem: Problem | None = None) -> Evidence:
    """|computed - exact| stays under the worst-case bound of the order, rounding and length, where nothing overflows."""
    claim = subject.claim
    assert isinstance(claim, Accumulator)
    cases = 0
    for given, extra in _each(subject, problem):
        found, wanted = _run(subject, given, extra)
        if found is None or wanted is None or not _inside(subject, given):
            continue
        try:
            bound = theory.error_bound(claim, given.a.shape[-1], c=given.c is not None)
        except ValueError:  # too long a chain for any bound
            continue
        allowed = theory.evaluate(bound, given.a, given.b, given.c)
        for i, j in np.ndindex(*found.shape):
            exact = sum(
                (Fraction(float(x)) * Fraction(float(y)) for x, y in zip(given.a[i], given.b[:, j], strict=True)),
                Fraction(0),
            )
            exact += Fraction(0 if given.c is None else float(given.c[i, j]))
            if not np.isfinite(found[i, j]) or abs(Fraction(float(found[i, j])) - exact) > Fraction(
                float(allowed[i, j])
            ) + Fraction(dtype_error(subject, float(found[i, j]))):
                raise broken_product(
                    "error_bound",
                    "the error exceeds its bound",
                    subject,
                    given,
                    extra,
                    (i, j),
                    f"{shown(found[i, j])}, exact {float(exact)!r}",
                    f"an error of {allowed[i, j]:.6g}",
                    f"|error| <= {bound}: {bound.formula}; {bound.source}",
                    found,
                )
            cases += 1
    return Evidence(EXACT, cases)


def _inside(subject: AccumulatorUnderTest, problem: Problem) -> bool:
    """Whether no partial sum can overflow: all magnitudes together stay under half of the smallest top."""
    claim = subject.claim
    assert isinstance(claim, Accumulator)
    formats = [claim.format, claim.combining.format, *([claim.product_format] if claim.product_format else [])]
    with np.errstate(over="ignore"):
        mass = np.abs(problem.a.astype(np.float64)) @ np.abs(problem.b.astype(np.float64))
        mass = 2 * (mass + (0 if problem.c is None else np.abs(problem.c.astype(np.float64))))
    return bool(np.all(mass < min(fmt.max for fmt in formats)))


def product_odd(subject: AccumulatorUnderTest, problem: Problem | None = None) -> Evidence:
    """(-a) b = -(a b), c turned too, under the same words: roundings that look at the magnitude alone."""
    cases = 0
    for given, extra in _each(subject, problem, deep=False):
        found, wanted = _run(subject, given, extra)
        if found is None or wanted is None:
            continue
        turned = Problem(
            given.name,
            -given.a,
            given.b,
            None if given.c is None else -given.c,
        )
        mirrored = subject(turned.a, turned.b, turned.c, extra)
        fmt = subject.output
        wrong = (mirrored != -found) & ~(np.isnan(mirrored) & np.isnan(found))
        if isinstance(fmt, FixedFormat):
            wrong &= np.abs(found) <= fmt.max
        if wrong.any():
            i, j = first_of(wrong)
            raise broken_product(
                "product_odd",
                "-a did not give minus the result",
                subject,
                turned,
                extra,
                (i, j),
                shown(mirrored[i, j]),
                shown(-found[i, j]),
                "(-a) b = -(a b)",
                mirrored,
            )
        cases += found.size
    return Evidence(EXACT, cases)


def product_reproducible(subject: AccumulatorUnderTest, problem: Problem | None = None) -> Evidence:
    """Outputs do not see each other: alone, from other strides, or called again, the bits are the same."""
    cases = 0
    for given, extra in _each(subject, problem, deep=False):
        found, wanted = _run(subject, given, extra)
        if found is None or wanted is None:
            continue
        before = given.a.copy(), given.b.copy()
        again = {"called again": subject(given.a, given.b, given.c, extra)}
        if not (same_bits(given.a, before[0]).all() and same_bits(given.b, before[1]).all()):
            raise ClaimError(
                "product_reproducible",
                "the operands were written to",
                problem=given.name,
                reproduce=subject.reproduce(*before),
            )
        single_outputs = np.empty_like(found)
        for i, j in np.ndindex(*found.shape):
            part = (
                given.a[i : i + 1],
                given.b[:, j : j + 1],
                None if given.c is None else given.c[i : i + 1, j : j + 1],
            )
            single_outputs[i, j] = subject(*part, one_output(subject, extra, i, j))[0, 0]
        again["one output at a time"] = single_outputs
        again["from other strides"] = subject(np.asfortranarray(given.a), np.asfortranarray(given.b), given.c, extra)
        for how, result in again.items():
            wrong = ~same_bits(result, found)
            if wrong.any():
                i, j = first_of(wrong)
                raise broken_product(
                    "product_reproducible",
                    f"{how}, the bits differ",
                    subject,
                    given,
                    extra,
                    (i, j),
                    shown(result[i, j]),
                    shown(found[i, j]),
                    "an output depends on its row, its column, its c and its words",
                    result if how == "called again" else found,
                    "np.asfortranarray({})" if how == "from other strides" else "{}",
                )
        cases += 4 * found.size
    if problem is None:
        cases += _any_threads(subject)
    return Evidence(EXACT, cases)


def _any_threads(subject: AccumulatorUnderTest) -> int:
    """The same bits for 1, 2 and 3 threads, on a product large enough to occupy them; how many cases."""
    if subject.threads is None or subject.scaled:
        return 0
    small = next(p for p in problems(subject, deep=False) if p.a.shape[-1] == 5)
    given = Problem("a large product", np.tile(small.a, (100, 4)), np.tile(small.b, (4, 40)), None)
    if subject.takes_c:
        given = given._replace(c=np.zeros((given.a.shape[0], given.b.shape[1]), subject.dtype))
    extra = next(extras(subject, given))
    found = with_threads(subject.threads, lambda: subject(given.a, given.b, given.c, extra))
    for count, result in list(found.items())[1:]:
        wrong = ~same_bits(result, found[1])
        if wrong.any():
            i, j = first_of(wrong)
            told = shown(result[i, j]), shown(found[1][i, j])
            raise broken_product(
                "product_reproducible",
                f"with {count} threads, the bits differ",
                subject,
                given,
                extra,
                (i, j),
                *told,
                "an output does not depend on who computes it",
            )
    return len(found) * found[1].size


def symmetric(subject: AccumulatorUnderTest) -> str | None:
    """Why the sign does not simply pass through, if so."""
    claim: Any = subject.claim
    if isinstance(claim, Accumulator):
        parts = [p for p in (claim, claim.product, claim.outer) if p is not None]
        if any(p.rounding in DIRECTED for p in parts):
            return "a directed mode looks at the sign"
        if any(isinstance(f, FixedFormat) for f in (claim.format, claim.product_format)):
            return "two's complement reaches one step further down"
        return None
    if "floor" in (
        claim.ar,
        claim.group_ar if claim.groups != "one" else "",
        "floor" if claim.c_place == "late" and claim.tree == "fused" else "",
    ):
        return "the unit cuts down, not toward zero"
    return None
