"""Accumulators under test reach their limits and get batches; where they do not, the verdict says so."""

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Overflow, Quantizer, catalog
from numerics.properties import ClaimError, as_accumulator, checks, claims_of, verify
from numerics.properties.product_problems import problems
from numerics.properties.verify import judge

B32 = catalog.BINARY32


def chain(bits, rule):
    """Sums of signed integers that wrap, saturate at each step, or are clipped once at the end."""
    low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1

    def fn(a, b):
        total = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
        for k in range(a.shape[-1]):
            total = total + a[..., :, k, None].astype(np.float64) * b[..., None, k, :]
            total = np.clip(total, low, high) if rule == "saturates" else total
        total = np.clip(total, low, high) if rule == "clips" else total
        return ((total - low) % 2.0**bits + low if rule == "wraps" else total).astype(a.dtype)

    return fn


@pytest.mark.sampled
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize(("rule", "right"), [("saturates", "SATURATE"), ("wraps", "WRAP"), ("clips", None)])
def test_one_overflow_rule_of_a_fixed_point_sum_holds(bits, rule, right):
    for overflow in (Overflow.SATURATE, Overflow.WRAP):
        claim = Accumulator(FixedFormat(bits), overflow=overflow)
        report = verify(as_accumulator(chain(bits, rule), claim, deep=False))
        broken = [v.claim for v in report.verdicts if v.status == "broken"]
        assert report.ok == (overflow.name == right), broken
        assert report.ok or "steps" in broken
        assert "no sum reaches" not in report["steps"].note


def binary32(a, b, saturates):
    total = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), np.float32)
    top = B32.max if saturates else np.inf
    for k in range(a.shape[-1]):
        exact = total.astype(np.float64) + a[..., :, k, None].astype(np.float64) * b[..., None, k, :]
        total = np.clip(exact, -top, top).astype(np.float32)
    return total


@pytest.mark.parametrize("operands", [None, FloatFormat(8, 3)], ids=["default", "e8m3"])
@pytest.mark.parametrize("saturates", [True, False])
def test_one_overflow_rule_of_a_float_sum_holds(saturates, operands):
    def fn(a, b):
        return binary32(a, b, saturates)

    for rule, right in ((Overflow.SATURATE, saturates), (Overflow.IEEE, not saturates)):
        subject = as_accumulator(fn, Accumulator(B32, overflow=rule), operands=operands, deep=False)
        if right:
            assert verify(subject).ok
            continue
        other = "IEEE" if rule is Overflow.SATURATE else "SATURATE"
        with pytest.raises(ClaimError, match=f"(?s)past the limit.*perhaps +Overflow.{other} is meant"):
            checks.steps(subject)


def test_an_overflow_to_infinity_is_told_as_one():
    subject = as_accumulator(lambda a, b: binary32(a, b, False), Accumulator(B32), deep=False)
    with pytest.raises(ClaimError) as caught:
        checks.product_member(subject)
    text = str(caught.value)
    assert text.startswith("product_member: an infinity where the declared sum is finite")
    assert "Overflow.SATURATE" in text and "perhaps" in text and "overflow=Overflow.IEEE" in text
    assert "no value" not in text


@pytest.mark.parametrize(
    ("claim", "operands", "deep", "told"),
    [
        (Accumulator(FixedFormat(32)), FixedFormat(8), True, True),
        (Accumulator(FixedFormat(16)), FixedFormat(5), False, True),  # 256 times 9 products at most
        (Accumulator(FixedFormat(16)), FixedFormat(5), True, False),
        (Accumulator(B32), catalog.E5M2, True, True),
        (Accumulator(catalog.BINARY16), catalog.E5M2, False, False),
        (Accumulator(catalog.BINARY16, chunk=4, outer=Accumulator(B32)), None, False, False),
    ],
)
def test_where_no_sum_reaches_the_limits_the_verdict_says_so(claim, operands, deep, told):
    subject = as_accumulator(claim, operands=operands, deep=deep)
    verdict = judge(next(c for c in claims_of(subject) if c.name == "steps"), subject)
    assert verdict.status == "held"
    assert ("give operands= of larger values" in verdict.note) == told
    assert (", or deep=True" in verdict.note) == (operands == FixedFormat(5) and not deep)
    assert any(p.name == "sums past the limit" for p in problems(subject)) == (not told)


@pytest.mark.parametrize("deep", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_rounded_products_that_cannot_reach_the_limits_are_no_fault_of_the_operands(deep):
    claim = Accumulator(FixedFormat(14), product=Quantizer(FixedFormat(6)))  # 31 * 300 > 8191
    note = checks.steps(as_accumulator(claim, deep=deep)).note
    told = "by chains of up to 9 products, rounded to s6.0, what happens there was not tried: give deep=True"
    assert (told in note) != deep
    assert "operands" not in note
    vanish = Accumulator(B32, product=Quantizer(catalog.BINARY16))  # beside the largest value they are rounded away
    assert checks.steps(as_accumulator(vanish, deep=deep, takes_c=True)).note.endswith("was not tried")


@pytest.mark.parametrize(("signed", "deep"), [(True, True), (False, False)])
def test_zeros_of_either_sign_stand_for_code_0(signed, deep):
    fmt = FixedFormat(16, signed=signed)

    def fn(a, b):
        return np.clip(-(-a.astype(np.float64) @ b), fmt.min, fmt.max).astype(np.float32)

    assert not signed or np.signbit(fn(np.zeros((1, 0)), np.zeros((0, 1)))).all()
    report = verify(as_accumulator(fn, Accumulator(fmt, order="exact"), deep=deep))
    assert report.ok, [v.note for v in report.verdicts if v.status == "broken"]


def test_unsigned_sums_are_tried_with_unsigned_operands():
    subject = as_accumulator(Accumulator(FixedFormat(8, signed=False)), deep=False)
    assert not any(fmt.signed for fmt in subject.operands)
    assert verify(subject).ok
    assert any(p.name == "sums past the limit" for p in problems(subject, deep=False))


def test_an_addend_reaches_the_limit_where_products_do_not():
    claim, small = Accumulator(FixedFormat(32), overflow=Overflow.WRAP), FixedFormat(4)

    def saturates(a, b, c):
        for k in range(a.shape[-1]):
            c = np.clip(c + a[..., :, k, None] * b[..., None, k, :], -(2.0**31), 2.0**31 - 1)
        return c + np.zeros((a.shape[-2], b.shape[-1]))

    subject = as_accumulator(saturates, claim, operands=small, takes_c=True, dtype=np.float64)
    with pytest.raises(
        ClaimError, match=r"(?s)an addend at the limit.*addend +2147483647.0.*perhaps +Overflow.SATURATE is meant"
    ):
        checks.steps(subject)


def exact_sum(a, b):
    return np.clip(a.astype(np.float64) @ b, -(2.0**31), 2.0**31 - 1).astype(a.dtype)


def two_axes(a, b):
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"{a.ndim} axes: matrices only")
    return exact_sum(a, b)


def one_b(a, b):
    if a.ndim != b.ndim:
        raise ValueError("as many axes in both")
    return exact_sum(a, b)


SMALL = {"operands": FixedFormat(4), "deep": False}


def test_batches_are_tried_and_a_refusal_is_told():
    claim = Accumulator(FixedFormat(32))
    assert checks.batched(as_accumulator(exact_sum, claim, **SMALL)).note == ""
    report = verify(as_accumulator(two_axes, claim, **SMALL))
    assert report.ok
    assert report["batched"].status == "skipped"
    assert "is refused: ValueError: 3 axes: matrices only" in report["batched"].note
    found = checks.batched(as_accumulator(one_b, claim, **SMALL))
    assert found.cases
    assert "one b for a batch of a" in found.note and "one a for a batch of b" in found.note


@pytest.mark.parametrize(
    ("fn", "told"),
    [
        (lambda a, b: exact_sum(a, b[:1] if b.ndim > 2 else b), "a batch of two: a matrix of it"),
        (lambda a, b: exact_sum(a, b)[::-1] if a.ndim > b.ndim else exact_sum(a, b), "one b for a batch of a: a mat"),
        (lambda a, b: np.dot(a, b), "is to refuse others by an error"),
    ],
    ids=["first b", "turned", "np.dot"],
)
def test_a_batch_that_is_no_batch_of_products_is_broken(fn, told):
    with pytest.raises(ClaimError, match=told) as caught:
        checks.batched(as_accumulator(fn, Accumulator(FixedFormat(32)), **SMALL))
    assert caught.value.claim == "batched"
    assert "reproduce" in caught.value.details


def test_a_suite_skips_a_batch_that_is_refused():
    from types import SimpleNamespace
    from unittest import SkipTest

    from numerics.properties import accumulator_suite

    suite = accumulator_suite(as_accumulator(two_axes, Accumulator(FixedFormat(32)), **SMALL))
    kept = []
    with pytest.raises(SkipTest, match="is refused"):
        suite().test_batched(SimpleNamespace(node=SimpleNamespace(user_properties=kept)))
    assert [found["status"] for _, found in kept][-1] == "skipped"
