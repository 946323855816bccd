"""What a broken claim says: the simplest case there is, once, and what was perhaps meant."""

import re

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, Overflow, Quantizer, Rounding, catalog
from numerics.properties import ClaimError, as_accumulator, as_mask, as_quantizer, checks, verify
from numerics.properties.verify import is_repeated

E5M2 = catalog.E5M2


def ieee(x):
    return Quantizer(E5M2, Rounding.RNE, Overflow.IEEE).quantize(x)


def away(x):
    return Quantizer(E5M2, Rounding.RNA).quantize(x)


def test_another_overflow_rule_is_named():
    subject = as_quantizer(ieee, fmt=E5M2)
    for check in (checks.saturation, checks.faithful, checks.decision):
        with pytest.raises(ClaimError, match=r"perhaps +Overflow.IEEE is meant") as broken:
            check(subject)
        assert "x           61440.0" in str(broken.value)  # the first value beyond, not the carrier's largest
    with pytest.raises(ClaimError) as broken:
        checks.decision(as_quantizer(away, fmt=E5M2))
    assert "perhaps" not in str(broken.value)


def test_the_simplest_case_is_shown():
    with pytest.raises(ClaimError) as broken:
        checks.decision(as_quantizer(away, fmt=E5M2))
    assert float(broken.value.details["x"].split()[0]) == 1.125  # the tie between 1 and 1.25
    for add, seen in ((np.float32(0.01), "1.0099"), (np.float32(np.nan), "nan")):
        with pytest.raises(ClaimError) as broken:
            checks.member(as_quantizer(lambda x, add=add: ieee(x) + add, fmt=catalog.E2M1))
        assert abs(float(broken.value.details["x"].split()[0])) <= 2 and broken.value.details["seen"].startswith(seen)


def test_what_fails_whatever_is_claimed_is_told_once_and_of_few_elements():
    def short(x):
        return x[:1]

    def raising(x):
        raise RuntimeError("not today")

    def double(x):
        return x.astype(np.float64)

    for fn, sentence in (
        (short, "an array of float32 (2,) must give one of the same"),
        (double, "an array of float32 (1,) must give one of the same"),
        (raising, "the function raised RuntimeError: not today"),
    ):
        report = verify(as_quantizer(fn, fmt=E5M2))
        first, *others = (verdict for verdict in report.verdicts if verdict.status == "broken")
        assert not report.ok and sentence in first.note and len(first.note) < 500
        assert not is_repeated(first) and len(others) > 5
        assert all(is_repeated(verdict) and verdict.note.endswith(f"as in {first.claim}") for verdict in others)


def test_a_function_that_writes_to_its_input_is_shown_with_one_element():
    def writes(x):
        x[:] = 1
        return x

    with pytest.raises(ClaimError, match="the input was written to") as broken:
        checks.member(as_quantizer(writes, fmt=E5M2))
    assert broken.value.details["reproduce"].count(",") <= 2


def test_a_report_prints_as_a_table_with_what_breaks_it():
    text = str(verify(as_quantizer(lambda x: np.clip(np.floor(x), -8, 7), fmt=FixedFormat(4), name="mine")))
    lines = text.splitlines()
    assert lines[0] == "mine as s4.0, RNE, Overflow.SATURATE"
    assert "  fixed_points    held     exhaustive, 16 cases" in lines
    assert "  bias            skipped  RNE draws nothing" in lines
    assert "  decision        broken   decision: not the neighbour that the mode says (s4.0, RNE, SATURATE)" in lines
    assert "  reproduce   mine(np.array([1.5], np.float32))" in lines


def test_the_overflow_rule_is_not_blamed_for_what_is_far_from_it():
    ours = Quantizer(E5M2, Rounding.SR, random_bits=4)

    def off_by_one(x, words):
        return ours.quantize(x, words=np.minimum(words + 1, 15).astype(np.uint32))

    def off_by_one_below(x, words):
        near = np.abs(x) > 49152  # one step below the largest value, 57344
        return np.where(near, ours.quantize(x, words=words), off_by_one(x, words))

    subject = as_quantizer(off_by_one_below, fmt=E5M2, rounding=Rounding.SR, random_bits=4)
    held = checks.saturation(subject)
    assert held.cases > 100
    with pytest.raises(ClaimError):
        checks.decision(subject)
    with pytest.raises(ClaimError) as broken:
        checks.saturation(as_quantizer(off_by_one, fmt=E5M2, rounding=Rounding.SR, random_bits=4))
    assert abs(float(broken.value.details["x"].split()[0])) >= 49152
    assert checks.saturation(subject, [32767.998, 1.0]).cases == 0


def signed_codes(x):
    return Quantizer(E5M2).encode(x).view(np.int8)


def large_codes(x):
    codes = Quantizer(E5M2).encode(x).astype(np.uint16)
    return np.where(x == 2, 300, codes).astype(np.uint16)


def float_codes(x):
    return Quantizer(E5M2).encode(x).astype(np.float32)


@pytest.mark.parametrize(
    ("fn", "statement", "seen", "x"),
    [
        (signed_codes, "a code is outside of the format's", r"code -\d+, of int8", "-"),
        (large_codes, "a code is outside of the format's", "code 300, of uint16", "2.0"),
        (float_codes, "codes are integers", "float32", ""),
    ],
)
def test_a_code_that_is_none_is_the_functions_own_and_told_once(fn, statement, seen, x):
    report = verify(as_quantizer(fn, fmt=E5M2, codes=True))
    first, *others = (verdict for verdict in report.verdicts if verdict.status == "broken")
    assert first.note.startswith(f"result: {statement}\n") and "integers 0 to 255" in first.note
    assert others and all(is_repeated(verdict) and verdict.note.endswith("as in member") for verdict in others)
    with pytest.raises(ClaimError) as broken:
        checks.member(as_quantizer(fn, fmt=E5M2, codes=True))
    details = broken.value.details
    assert re.fullmatch(seen, details["seen"]) and details["x"].startswith(x)
    found = eval(details["reproduce"], {"np": np, fn.__name__: fn})
    assert found.dtype.kind == "f" or not 0 <= found[0] <= 255


def test_what_a_function_raises_is_told_with_what_it_was_given():
    def refuses(x):
        if (x == 3).any():
            raise RuntimeError("no threes")
        return Quantizer(E5M2).quantize(x)

    def always(x):
        raise RuntimeError("never")

    for fn in (refuses, always):
        note = verify(as_quantizer(fn, fmt=E5M2))["member"].note
        told = dict(re.findall(r"^  (\w+) +(.*)$", note, re.MULTILINE))
        assert "float32 of shape [" in told["x"] and (fn is always or told["x"].startswith("3.0"))
        with pytest.raises(RuntimeError, match=r"no threes|never"):
            eval(told["reproduce"], {"np": np, fn.__name__: fn})
        assert told["reproduce"].count(",") == 1  # one element, and the dtype

    def no_products(a, b):
        raise RuntimeError("no products")

    note = verify(as_accumulator(no_products, Accumulator(E5M2), deep=False))["steps"].note
    assert "float32 of shapes [2, 0] and [0, 3]" in note and "no_products(np.array(" in note

    def no_blocks(x):
        raise RuntimeError("no blocks")

    note = verify(as_mask(no_blocks, kind="top_n"))["pattern"].note
    assert "float64 of shape [" in note and "no_blocks(np.array([[1.0, 1.0, 1.0, 1.0]], np.float64))" in note
