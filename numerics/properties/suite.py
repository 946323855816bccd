"""Test classes for pytest: every claim about a function a test of its own, on the telling cases and on drawn ones."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from unittest import SkipTest

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ..accumulator import Accumulator
from ..matrix_unit import MatrixUnit
from ..quantizer import Quantizer
from . import strategies
from .accumulators import AccumulatorUnderTest, as_accumulator
from .claims import Claim, Subject, claims_of
from .evidence import ClaimError, Evidence, hides, raised_details, told
from .law import overflows
from .masks import MaskUnderTest
from .product_problems import Problem
from .quantizers import QuantizerUnderTest, as_quantizer
from .rounding_checks import inputs

__tracebackhide__ = hides

#: The key under which a test leaves its evidence in pytest's user properties; the plugin sums it up.
PROPERTY = "emul-claim"

Drawn = Callable[[Any], SearchStrategy[dict[str, Any]] | None]


def quantizer_suite(q: QuantizerUnderTest | Quantizer) -> type:
    """A fresh class of tests for pytest; bind it to a name beginning with Test.

    One test for each claim. It looks at the telling cases, then at drawn ones, as many as the hypothesis profile says;
    claims that do not apply are skipped with the reason.
    """
    return _suite(as_quantizer(q) if isinstance(q, Quantizer) else q, QuantizerUnderTest, "as_quantizer")


def accumulator_suite(a: AccumulatorUnderTest | Accumulator | MatrixUnit) -> type:
    """The same for an accumulator or a matrix unit: bind it to a name beginning with Test."""
    subject = as_accumulator(a) if isinstance(a, Accumulator | MatrixUnit) else a
    return _suite(subject, AccumulatorUnderTest, "as_accumulator")


def mask_suite(k: MaskUnderTest) -> type:
    """The same for an N:M mask: bind it to a name beginning with Test."""
    return _suite(k, MaskUnderTest, "as_mask")


def _suite(subject: Subject, kind: type, maker: str) -> type:
    if type(subject) is not kind:
        raise TypeError(f"{subject!r}: give what {maker}(...) makes")
    tests = {f"test_{claim.name}": _test(claim, subject) for claim in claims_of(subject)}
    return type(
        f"Suite of {subject.name}", (), {"__doc__": f"Claims about {subject.name}.", "subject": subject, **tests}
    )


def _test(claim: Claim, subject: Subject) -> Callable[..., None]:
    """A new function each time: hypothesis refuses one that several classes inherit."""

    def test(self: Any, request: Any) -> None:
        def record(**found: Any) -> None:
            # Not by the fixture record_property: beside --junitxml that warns, and where warnings are errors, it fails.
            request.node.user_properties.append((PROPERTY, {"claim": claim.name, **found}))

        reason = claim.excuse(subject)
        if reason is not None:
            record(status="skipped", note=reason)
            raise SkipTest(f"{claim.name}: {reason}")
        record(status="broken")  # unless it is shown below
        found = _found(claim, subject)
        if not found.cases:
            reason = found.note or "no case could be tried"
            record(status="skipped", note=reason)
            raise SkipTest(f"{claim.name}: {reason}")
        record(status="held", **asdict(found))

    test.__name__ = test.__qualname__ = f"test_{claim.name}"
    test.__doc__ = claim.statement
    return test


def _found(claim: Claim, subject: Subject) -> Evidence:
    """What the check brings back on its own cases and on drawn ones. What the function raises says with what it was called."""
    try:
        found = claim.check(subject)
        drawn = drawn_cases(claim, subject)
        if drawn is not None:
            found = Evidence(found.kind, found.cases + _try(claim, subject, drawn), found.note)
    except ClaimError:
        raise
    except Exception as error:
        details = raised_details(error)
        if details:
            error.add_note(told(f"{claim.name}: raised by {subject.name}, called with", details))
        raise
    return found


def _try(claim: Claim, subject: Subject, drawn: SearchStrategy[dict[str, Any]]) -> int:
    cases = 0

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(drawn)
    def on_drawn_cases(arguments: dict[str, Any]) -> None:
        nonlocal cases
        cases += claim.check(subject, **arguments).cases

    on_drawn_cases()
    return cases


def drawn_cases(claim: Claim, subject: Subject) -> SearchStrategy[dict[str, Any]] | None:
    """Arguments to draw for a check, None where its own cases are all that there is to try."""
    if isinstance(subject, AccumulatorUnderTest):
        return _problems(subject) if claim.name in _OF_PROBLEMS else None
    if isinstance(subject, MaskUnderTest):
        return (
            None
            if claim.name in ("mask_draws", "any_place")
            else strategies.nm_blocks(subject.m, dtype=subject.dtype).map(lambda x: {"x": x})
        )
    if not subject.elementwise or claim.name in (
        "draws",
        "saturation",
        "specials",
        "every_code",
        "every_step",
        "any_shape",
    ):
        return None
    if claim.name in _OF_WORDS and int(subject.random_bits or 0) > 10:
        return _values(subject, 2).map(lambda x: {"x": x})
    if claim.name in _OF_WORDS:
        return _values(subject, 6).map(lambda x: {"x": x})
    if claim.name in ("independent", "reproducible"):
        return _values(subject, 12).map(lambda x: {"x": x})
    return _values_and_words(subject)


_OF_PROBLEMS = ("steps", "product_member", "error_bound", "product_odd", "product_reproducible")
_OF_WORDS = ("bias", "unbiased", "variance", "variance_bound", "word_order")


def _values(q: QuantizerUnderTest, size: int) -> SearchStrategy[Any]:
    fmt, kind = q.element, q.dtype.type

    def usable(x: Any) -> bool:
        kept = inputs(q, x)
        return len(kept) > 0 and not (q.overflow.name == "ERROR" and bool(overflows(q, kept).any()))

    return strategies.arrays_of_values(fmt, kind, max_size=size).filter(usable)


@st.composite
def _values_and_words(draw: st.DrawFn, q: QuantizerUnderTest) -> dict[str, Any]:
    x = inputs(q, draw(_values(q, 12)))
    if not q.takes_words:
        return {"x": x}
    return {"x": x, "words": draw(strategies.word_arrays(int(q.random_bits or 32), x.shape))}


@st.composite
def _problems(draw: st.DrawFn, subject: AccumulatorUnderTest) -> dict[str, Any]:
    k = draw(st.integers(1, 12))
    rows = [draw(_chains(subject, k)) for _ in range(2)]
    a = np.stack([rows[0][0], rows[1][0]]).astype(subject.dtype)
    b = np.stack([rows[0][1], rows[1][1]], axis=1).astype(subject.dtype)
    c = np.zeros((2, 2), subject.dtype) if subject.takes_c else None
    return {"problem": Problem("drawn", a, b, c)}


def _chains(subject: AccumulatorUnderTest, k: int) -> SearchStrategy[Any]:
    """Members of the operands' formats: from dot products of any condition, or codes at random."""
    first, second = subject.operands
    pair = strategies.dot_problems(k).map(
        lambda ab: tuple(np.asarray(Quantizer(fmt).quantize(x)) for fmt, x in zip((first, second), ab, strict=True))
    )
    anything = st.tuples(
        *(st.lists(strategies.members(fmt), min_size=k, max_size=k).map(np.array) for fmt in (first, second))
    )
    return st.one_of(pair, anything)
