"""Records as text and back."""

import json
from dataclasses import replace

import pytest

from numerics import Accumulator, FloatFormat, Overflow, Quantizer, Rounding, catalog, parse_format, spec
from tests.numerics import grids

LBA = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    Rounding.RTZ,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), Rounding.RTZ),
    chunk=16,
)
RECORDS = [
    *grids.SMALL.values(),
    *grids.AT_THE_ENDS.values(),
    Quantizer(catalog.E4M3),
    Quantizer(catalog.E5M2, Rounding.SR_C, Overflow.IEEE, 9),
    Quantizer(catalog.E5M2, axis=0),
    Accumulator(catalog.BINARY32, Rounding.RTN, Overflow.PROPAGATE),
    LBA,
    replace(LBA, outer=Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.SATURATE)),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_text_and_back(record):
    text = spec.dumps(record)
    back = spec.loads(text)
    assert back == record
    assert type(back) is type(record)
    assert spec.dumps(back) == text
    assert json.loads(text)["kind"] == type(record).__name__


def test_records_that_differ_have_texts_that_differ():
    nameless = [replace(r, name="", source="") if isinstance(r, FloatFormat) else r for r in RECORDS]
    assert len({spec.dumps(record) for record in nameless}) == len(set(nameless))


def test_the_text_is_canonical():
    assert spec.dumps(Quantizer(catalog.E4M3, Rounding.RNE, Overflow.SATURATE)) == spec.dumps(Quantizer(catalog.E4M3))
    assert spec.dumps(Quantizer(catalog.E4M3, Rounding.SR)) == spec.dumps(
        Quantizer(catalog.E4M3, Rounding.SR, random_bits=32)
    )
    text = spec.dumps(LBA)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_names_travel_although_they_do_not_count():
    named = FloatFormat(4, 3, name="mine", source="here")
    assert named == FloatFormat(4, 3)
    assert spec.dumps(named) != spec.dumps(FloatFormat(4, 3))
    for first, second in ((named, FloatFormat(4, 3)), (FloatFormat(4, 3), named)):
        assert spec.loads(spec.dumps(Quantizer(first))).fmt.name == first.name
        assert spec.loads(spec.dumps(Quantizer(second))).fmt.name == second.name


def test_a_changed_copy_has_its_own_text():
    quantizer = Quantizer(catalog.E4M3)
    spec.dumps(quantizer)
    changed = replace(quantizer, rounding=Rounding.RTZ)
    assert spec.loads(spec.dumps(changed)) == changed != quantizer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "[1]",
        "null",
        "{}",
        "not json",
        '{"kind":"Nothing"}',
        '{"enum":"Rounding","member":"RNE"}',
        '{"kind":"Quantizer","unknown":1}',
        '{"kind":"Quantizer"}',
        '{"kind":"FloatFormat","exponent_bits":4,"mantissa_bits":3,"nan":{"enum":"NanEncoding","member":"X"}}',
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="not the text of a format, quantizer or accumulator"):
        spec.loads(text)


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="text 5: give the text of a format"):
        spec.loads(5)


def test_text_of_an_impossible_record_says_what_is_wrong():
    with pytest.raises(ValueError, match="mantissa_bits = -3"):
        spec.loads('{"kind":"FloatFormat","exponent_bits":4,"mantissa_bits":-3}')


@pytest.mark.parametrize("thing", [5, "text", None, Rounding.RNE, {"kind": "FloatFormat"}])
def test_other_things_are_refused(thing):
    with pytest.raises(TypeError, match="is not a format, quantizer or accumulator"):
        spec.dumps(thing)
