"""Records print as the Python that makes them again, without what may be left out."""

import dataclasses

import pytest

import numerics
from numerics import (
    Accumulator,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    MatrixUnit,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    parse_format,
)

SCOPE = {name: getattr(numerics, name) for name in numerics.__all__}

RECORDS = [
    (Quantizer(catalog.E4M3), "Quantizer(parse_format('e4m3fn'))"),
    (
        Quantizer(catalog.E5M2, Rounding.SR, Overflow.IEEE),
        "Quantizer(parse_format('e5m2'), Rounding.SR, Overflow.IEEE)",
    ),
    (
        Quantizer(catalog.E5M2, Rounding.SR, random_bits=8),
        "Quantizer(parse_format('e5m2'), Rounding.SR, random_bits=8)",
    ),
    (
        Quantizer(FloatFormat(5, 6, subnormals=False), overflow=Overflow.IEEE, axis=0),
        "Quantizer(FloatFormat(5, 6, subnormals=Subnormals.FLUSH), overflow=Overflow.IEEE, axis=0)",
    ),
    (FloatFormat(4, 3, 8), "FloatFormat(4, 3, 8)"),
    (FixedFormat(16, 8), "FixedFormat(16, 8)"),
    (BlockFormat(catalog.E2M1, catalog.E8M0, 4), "BlockFormat(parse_format('e2m1'), parse_format('e8m0'), 4)"),
    (
        Accumulator(catalog.BINARY16, chunk=64, outer=Accumulator(catalog.BINARY32)),
        "Accumulator(parse_format('binary16'), chunk=64, outer=Accumulator(parse_format('binary32')))",
    ),
    (
        MatrixUnit(catalog.E4M3, catalog.BINARY32, 16, 24),
        "MatrixUnit(parse_format('e4m3fn'), parse_format('binary32'), 16, 24)",
    ),
]


@pytest.mark.parametrize(("record", "text"), RECORDS, ids=[text for _, text in RECORDS])
def test_what_is_printed(record, text):
    assert repr(record) == text
    assert eval(text, SCOPE) == record


@pytest.mark.parametrize("name", [*catalog.FORMATS, *catalog.BLOCK_FORMATS])
def test_every_format_of_the_catalog_makes_itself_again_and_is_named_within_others(name):
    fmt = parse_format(name)
    again = eval(repr(fmt), SCOPE)
    assert (again, again.name) == (fmt, fmt.name)
    assert repr(Quantizer(fmt)) == f"Quantizer(parse_format({name!r}))"


def test_every_matrix_unit_makes_itself_again():
    for name, unit in catalog.MATRIX_UNITS.items():
        again = eval(repr(unit), SCOPE)
        assert (again, again.name) == (unit, name)


def test_a_name_that_another_format_has_is_not_taken_for_it():
    odd = FloatFormat(4, 3, name="e4m3fn")
    assert repr(Quantizer(odd)) == "Quantizer(FloatFormat(4, 3, name='e4m3fn'))"
    unit = dataclasses.replace(catalog.MATRIX_UNITS["h100.f16.f32"], F=20)
    assert eval(repr(unit), SCOPE) == unit
