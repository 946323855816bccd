"""Formats without zero (E8M0), the other small formats of the catalog, and fixed point with an unused code."""

import math

import ml_dtypes
import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    Subnormals,
    catalog,
    parse_format,
    reference,
    spec,
)
from tests.numerics import grids
from tests.numerics.grids import assert_same_bits
from tests.sampling import one_in

NO_ZERO = Subnormals.NO_ZERO
MODES = [mode for mode in Rounding if not mode.stochastic and mode.name != "RNL"]
FORMATS = {
    "e8m0": catalog.E8M0,
    "with_fraction": FloatFormat(4, 3, signed=False, subnormals=NO_ZERO, infinities=False, nan=NanEncoding.TOP_CODE),
    "with_infinity": FloatFormat(3, 2, signed=False, subnormals=NO_ZERO, infinities=True, nan=NanEncoding.NONE),
    "low": FloatFormat(5, 1, 140, signed=False, subnormals=NO_ZERO, infinities=False, nan=NanEncoding.NONE),
}


def test_e8m0_is_ocps_scale():
    codes = np.arange(256, dtype=np.uint8)
    values = catalog.E8M0.decode(codes)
    assert np.array_equal(values[:255], np.exp2(np.arange(-127, 128.0)))
    assert math.isnan(values[255])
    assert np.array_equal(values, codes.view(ml_dtypes.float8_e8m0fnu).astype(np.float64), equal_nan=True)
    assert (catalog.E8M0.max, catalog.E8M0.smallest_normal, catalog.E8M0.bits) == (2.0**127, 2.0**-127, 8)
    assert not catalog.E8M0.has_zero
    assert catalog.E4M3.has_zero
    assert parse_format("e8m0") is catalog.E8M0


@pytest.mark.sampled
@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", one_in(2, MODES), ids=lambda mode: mode.name)
def test_zero_and_what_is_smaller_become_the_smallest_code(fmt, dtype, mode):
    carrier = np.finfo(dtype)
    below = fmt.smallest_normal * np.array([0.0, 2.0**-30, 0.25, 0.5, 0.7, 1.0])
    x = np.concatenate([below, [-0.0, carrier.smallest_subnormal]]).astype(dtype)
    quantizer = Quantizer(fmt, mode)
    assert_same_bits(quantizer.quantize(x), np.full(x.shape, fmt.smallest_normal, dtype))
    assert (quantizer.encode(x) == 0).all()
    assert fmt.decode(0) == fmt.smallest_normal > 0


@pytest.mark.sampled
@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("mode", one_in(2, MODES), ids=lambda mode: mode.name)
def test_every_edge_against_the_oracle(fmt, mode):
    x = grids.edges(fmt)
    quantizer = Quantizer(fmt, mode)
    assert_same_bits(quantizer.quantize(x), reference.quantize(x, quantizer), x)
    assert (quantizer.encode(x) == reference.encode(x, quantizer)).all()
    narrow = grids.edges(fmt, np.float32)
    assert_same_bits(quantizer.quantize(narrow), reference.quantize(narrow, quantizer), narrow)


def test_ties_of_e8m0_look_at_the_parity_of_the_code():
    x = np.array([1.5, 3.0, 6.0, 0.75])  # codes 127, 128, 129, 126 below
    assert Quantizer(catalog.E8M0).quantize(x).tolist() == [2.0, 2.0, 8.0, 0.5]


def test_stochastic_rounding_between_codes_and_specials():
    quantizer = Quantizer(catalog.E8M0, Rounding.SR, random_bits=2)
    assert quantizer.quantize(np.full(4, 1.25), words=np.arange(4)).tolist() == [1.0, 1.0, 1.0, 2.0]
    assert quantizer.quantize(np.full(4, 2.0**-128), words=np.arange(4)).tolist() == [2.0**-127] * 4
    x = np.array([np.nan, np.inf, -1.0, 2.0**127 * 1.99])
    assert Quantizer(catalog.E8M0).encode(x).tolist() == [255, 254, 255, 254]
    assert Quantizer(catalog.E8M0, overflow=Overflow.IEEE).encode(x).tolist() == [255, 255, 255, 255]


def test_a_format_without_zero_is_unsigned_and_no_accumulator():
    with pytest.raises(ValueError, match="a signed format cannot be without zero"):
        FloatFormat(8, 0, subnormals=NO_ZERO, infinities=False, nan=NanEncoding.TOP_CODE)
    with pytest.raises(ValueError, match=r"must be Subnormals\.GRADUAL"):
        FloatFormat(0, 3, 1, signed=False, subnormals=NO_ZERO, infinities=False, nan=NanEncoding.NONE)
    with pytest.raises(ValueError, match="e8m0 is unsigned"):
        Accumulator(catalog.E8M0)
    assert spec.loads(spec.dumps(catalog.E8M0)) == catalog.E8M0


def test_e3m0_is_zero_and_seven_powers_of_two():
    values = catalog.E3M0.decode(np.arange(16))
    assert values[:8].tolist() == [0, 1, 2, 4, 8, 16, 32, 64]
    assert_same_bits(values[8:], -values[:8])
    half = Quantizer(catalog.E3M0, Rounding.SR, random_bits=2).quantize(np.full(4, 0.25), words=np.arange(4))
    assert half.tolist() == [0, 0, 0, 1]  # stochastic underflow: 1 with probability 1/4


def test_dlfloat16_has_one_symbol_for_infinity_and_nan():
    fmt = catalog.DLFLOAT16
    values = fmt.decode(np.arange(1 << 16))
    assert np.flatnonzero(np.isnan(values)).tolist() == [0x7FFF, 0xFFFF]
    assert np.isfinite(values[:0x7FFF]).all()
    assert (np.diff(values[:0x7FFF]) > 0).all()
    assert fmt.max == (2 - 2**-8) * 2.0**32
    assert values[1] == fmt.smallest_normal == 2.0**-31 * (1 + 2**-9)
    assert np.isnan(Quantizer(fmt, overflow=Overflow.IEEE).quantize(np.array([np.inf, 2.0**33]))).all()


def test_e4m3b11fnuz_is_ml_dtypes_own():
    codes = np.arange(256, dtype=np.uint8)
    theirs = codes.view(ml_dtypes.float8_e4m3b11fnuz).astype(np.float64)
    assert np.array_equal(catalog.E4M3B11FNUZ.decode(codes), theirs, equal_nan=True)
    assert catalog.E4M3B11FNUZ.max == 30


def test_a_symmetric_fixed_format_leaves_the_lowest_code_unused():
    fmt = catalog.MXINT8_ELEMENT
    assert (fmt.min, fmt.max, fmt.lowest_integer) == (-127 / 64, 127 / 64, -127)
    assert fmt.decode(0x80) == -2
    x = np.array([-2.0, -1.995, -1e9, 2.0, -1.984375, 1.0])
    quantizer = Quantizer(fmt)
    assert quantizer.quantize(x).tolist() == [-127 / 64] * 3 + [127 / 64, -127 / 64, 1.0]
    assert quantizer.encode(x).tolist() == [0x81, 0x81, 0x81, 0x7F, 0x81, 0x40]
    assert (reference.quantize(x, quantizer) == quantizer.quantize(x)).all()
    with pytest.raises(OverflowError, match=r"-2\.0 at element 0"):
        Quantizer(fmt, overflow=Overflow.ERROR).quantize(x)
    with pytest.raises(ValueError, match=r"symmetric, one code is unused, so Overflow\.WRAP has no meaning"):
        Quantizer(fmt, overflow=Overflow.WRAP)
    with pytest.raises(ValueError, match="symmetric = True with signed = False"):
        FixedFormat(8, signed=False, symmetric=True)
    assert spec.loads(spec.dumps(fmt)) == fmt != FixedFormat(8, 6)


def test_integers_of_the_catalog():
    for fmt, bits in ((catalog.INT4, 4), (catalog.INT8, 8), (catalog.INT16, 16)):
        assert parse_format(f"int{bits}") is fmt
        assert (fmt.min, fmt.max) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
