"""Integers of any library are parameters as Python's are, and are kept as Python's; booleans and fractions are none."""

from dataclasses import replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    LogFormat,
    NanEncoding,
    PositFormat,
    Quantizer,
    Rounding,
    catalog,
    matmul,
    size_accumulator,
    spec,
)
from numerics.logscale import SumTable

BLOCKS = BlockFormat(catalog.E2M1, catalog.E8M0, 32)
TREE = Accumulator(catalog.E4M3, order="pairwise", block=2)
RECORDS = [
    (FloatFormat(4, 3, 7), {"exponent_bits": 4, "mantissa_bits": 2, "bias": 9}),
    (FixedFormat(8, 2), {"bits": 9, "fraction_bits": -3}),
    (LogFormat(4, 3, bias=8), {"integer_bits": 5, "fraction_bits": 2, "bias": 4}),
    (PositFormat(8), {"bits": 16}),
    (BLOCKS, {"block": 16}),
    (Quantizer(catalog.E4M3, Rounding.SR), {"random_bits": 8}),
    (Quantizer(BLOCKS), {"axis": 0}),
    (Accumulator(catalog.E4M3, Rounding.SR, chunk=2), {"chunk": 4, "random_bits": 8}),
    (TREE, {"block": 3}),
    (catalog.MATRIX_UNITS["h100.f16.f32"], {"L": 8, "F": 24}),
    (SumTable(3), {"fraction_bits": 4, "dropped_bits": 1, "full_below": 5}),
]
FIELDS = [(record, label, value) for record, changes in RECORDS for label, value in changes.items()]
NAMES = [f"{type(record).__name__}.{label}" for record, label, _ in FIELDS]


@pytest.mark.parametrize(("record", "label", "value"), FIELDS, ids=NAMES)
def test_integers_of_numpy_are_kept_as_integers(record, label, value):
    wanted = replace(record, **{label: value})
    for kind in (np.int8, np.int32, np.int64, np.array):
        found = replace(record, **{label: kind(value)})
        assert type(getattr(found, label)) is int
        assert found == wanted
        assert hash(found) == hash(wanted)
        if not isinstance(record, SumTable):
            assert spec.dumps(found) == spec.dumps(wanted)


@pytest.mark.parametrize(("record", "label", "value"), FIELDS, ids=NAMES)
@pytest.mark.parametrize("wrong", [True, np.True_, 2.0, np.float64(2), "2", np.array([2])], ids=repr)
def test_what_is_no_integer_is_refused_by_its_name(record, label, value, wrong):
    with pytest.raises((TypeError, ValueError), match=rf"^{label} = "):
        replace(record, **{label: wrong})


def test_an_accumulator_counted_by_numpy_computes_the_same():
    a, b = np.arange(24.0).reshape(3, 8), np.ones((8, 2))
    plain = Accumulator(catalog.BINARY16, Rounding.SR, chunk=4, random_bits=8)
    counted = Accumulator(catalog.BINARY16, Rounding.SR, chunk=np.int64(4), random_bits=np.uint8(8))
    assert matmul(a, b, counted, seed=np.int64(3)).tobytes() == matmul(a, b, plain, seed=3).tobytes()
    assert counted.roundings(np.int32(8)) == plain.roundings(8) == 10


def test_depths_and_seeds():
    assert size_accumulator(catalog.E4M3, catalog.E4M3, np.int64(128)) == size_accumulator(
        catalog.E4M3, catalog.E4M3, 128
    )
    stochastic = Quantizer(catalog.E4M3, Rounding.SR)
    with pytest.raises(TypeError, match=r"^seed = True: give an integer"):
        stochastic.quantize(np.ones(3), seed=True)
    with pytest.raises(ValueError, match=r"^depth = True: give the number of products"):
        TREE.roundings(True)
    with pytest.raises(ValueError, match=r"^k = True: give the number of products"):
        size_accumulator(catalog.E4M3, catalog.E4M3, True)
    assert FloatFormat(4, 3, nan=NanEncoding.NONE, bias=np.int8(7)).bias == 7
