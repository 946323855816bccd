"""What a broken claim says: the simplest case there is, once, and what was perhaps meant."""

import numpy as np
import pytest

from numerics import Overflow, Quantizer, Rounding, catalog
from numerics.properties import ClaimError, as_quantizer, checks, verify
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
