"""FloatFormat: the facts that follow from a record, its codes, and the records that cannot be."""

import math
import pickle
import re
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from numerics import (
    FixedFormat,
    FloatFormat,
    LogFormat,
    NanEncoding,
    PositFormat,
    Quantizer,
    Rounding,
    Subnormals,
    catalog,
    parse_format,
    reference,
)
from numerics.parameters import FLOAT32
from tests.numerics import grids

ALL = {**grids.CATALOG, **grids.KINDS, **grids.AT_THE_ENDS, **{f"64_{k}": v for k, v in grids.AT_THE_ENDS_64.items()}}


@pytest.mark.parametrize("fmt", grids.SMALL.values(), ids=grids.SMALL)
def test_decode_equals_the_definition_on_every_code(fmt):
    codes = np.arange(1 << fmt.bits)
    wanted = np.array([reference.decode_code(int(code), fmt) for code in codes])
    grids.assert_same_bits(fmt.decode(codes), wanted)
    assert [fmt.decode(int(code)) for code in codes[:5]] == wanted[:5].tolist()
    assert list(fmt.codepoints()) == codes.tolist()


@pytest.mark.parametrize("fmt", ALL.values(), ids=ALL)
def test_derived_facts_agree_with_the_codes(fmt):
    codes = grids.codes_of(fmt)
    values = fmt.decode(codes)
    assert fmt.bits == fmt.signed + fmt.exponent_bits + fmt.mantissa_bits
    assert fmt.precision == fmt.mantissa_bits + 1
    assert fmt.max == values[-1] == fmt.decode(fmt.largest_code) == values.max()
    assert math.frexp(fmt.max)[1] - 1 == fmt.emax
    assert np.isfinite(values).all()
    smallest = values[values > 0].min()
    if fmt.subnormals is not Subnormals.FULL_BINADE:
        assert fmt.smallest_subnormal == smallest
    else:
        assert fmt.smallest_subnormal == fmt.smallest_normal == math.ldexp(1.0, fmt.emin) < smallest
    if fmt.subnormals is Subnormals.NORMAL_BINADE:
        assert fmt.smallest_normal == smallest > math.ldexp(1.0, fmt.emin)
    elif fmt.exponent_bits:
        assert fmt.smallest_normal == math.ldexp(1.0, fmt.emin)
    if fmt.subnormals is not Subnormals.FLUSH:
        assert (np.diff(values) > 0).all()  # codes of magnitudes are ordered as their values


@pytest.mark.parametrize("fmt", ALL.values(), ids=ALL)
def test_specials_have_the_codes_that_the_record_says(fmt):
    sign = 1 << (fmt.bits - 1) if fmt.signed else 0
    if fmt.infinities:
        assert fmt.decode(fmt.infinity_code) == math.inf
        assert not fmt.signed or fmt.decode(fmt.infinity_code | sign) == -math.inf
    else:
        assert fmt.infinity_code is None
    assert fmt.has_nan == (fmt.nan is not NanEncoding.NONE)
    if fmt.has_nan:
        assert math.isnan(fmt.decode(fmt.nan_code))
    else:
        assert fmt.nan_code is None
    if fmt.signed:
        minus = fmt.decode(sign)
        assert math.isnan(minus) if fmt.nan is NanEncoding.NEGATIVE_ZERO else (minus == 0 and str(minus) == "-0.0")
        assert fmt.has_negative_zero == (not math.isnan(minus))
    else:
        assert not fmt.has_negative_zero


@pytest.mark.parametrize("fmt", grids.SMALL.values(), ids=grids.SMALL)
def test_there_are_as_many_specials_as_the_encoding_says(fmt):
    values = fmt.decode(np.arange(1 << fmt.bits))
    signs = 1 + fmt.signed
    assert np.isinf(values).sum() == (signs if fmt.infinities else 0)
    nans = {
        NanEncoding.NONE: 0,
        NanEncoding.NEGATIVE_ZERO: 1,
        NanEncoding.TOP_CODE: signs,
        NanEncoding.IEEE: signs * ((1 << fmt.mantissa_bits) - fmt.infinities),
    }
    assert np.isnan(values).sum() == nans[fmt.nan]


# OCP OFP8 v1.0 tables 1 and 2, MX v1.0 tables 2 to 4: bias, largest, smallest normal, smallest subnormal.
@pytest.mark.parametrize(
    ("name", "bias", "largest", "normal", "subnormal"),
    [
        ("e5m2", 15, 57344, 2.0**-14, 2.0**-16),
        ("e4m3fn", 7, 448, 2.0**-6, 2.0**-9),
        ("e3m2", 3, 28, 0.25, 0.0625),
        ("e2m3", 1, 7.5, 1, 0.125),
        ("e2m1", 1, 6, 1, 0.5),
        ("e4m3fnuz", 8, 240, 2.0**-7, 2.0**-10),
        ("e5m2fnuz", 16, 57344, 2.0**-15, 2.0**-17),
        ("binary16", 15, 65504, 2.0**-14, 2.0**-24),
        ("bfloat16", 127, (2 - 2**-7) * 2.0**127, 2.0**-126, 2.0**-133),
        ("tf32", 127, (2 - 2**-10) * 2.0**127, 2.0**-126, 2.0**-136),
        ("binary32", 127, (2 - 2**-23) * 2.0**127, 2.0**-126, 2.0**-149),
        ("binary64", 1023, (2 - 2**-52) * 2.0**1023, 2.0**-1022, 5e-324),
        # arXiv 2401.14110: R_OF and, with paper, R_UF = 2**-b.
        ("lba_m7e4_b10", 10, 63.75, 2.0**-10 * (1 + 2**-7), 2.0**-10 * (1 + 2**-7)),
        ("lba_m7e4_b10_paper", 10, 63.75, 2.0**-10, 2.0**-10),
        ("lba_m7e4_b12_paper", 12, 15.9375, 2.0**-12, 2.0**-12),
        ("lba_m4e3_b3_paper", 3, 31, 2.0**-3, 2.0**-3),
        ("lba_m4e3_b5_paper", 5, 7.75, 2.0**-5, 2.0**-5),
        ("lba_m4e3_b6_paper", 6, 3.875, 2.0**-6, 2.0**-6),
    ],
)
def test_published_limits(name, bias, largest, normal, subnormal):
    fmt = parse_format(name)
    assert (fmt.bias, fmt.max, fmt.smallest_normal, fmt.smallest_subnormal) == (bias, largest, normal, subnormal)


def test_the_paper_set_has_one_value_more_than_the_codes():
    encodable, paper = parse_format("lba_m7e4_b10"), parse_format("lba_m7e4_b10_paper")
    grids.assert_same_bits(paper.decode(np.arange(1 << 12)), encodable.decode(np.arange(1 << 12)))
    assert paper.smallest_normal not in encodable.decode(np.arange(1 << 12))


def test_defaults_are_the_ieee_layout():
    fmt = FloatFormat(5, 10)
    assert (fmt.bias, fmt.signed, fmt.subnormals, fmt.infinities, fmt.nan) == (
        15,
        True,
        Subnormals.GRADUAL,
        True,
        NanEncoding.IEEE,
    )
    codes = np.arange(1 << 16, dtype=np.uint16)
    numpys = codes.view(np.float16).astype(np.float64)
    assert np.array_equal(fmt.decode(codes), numpys, equal_nan=True)


def test_booleans_stand_for_gradual_and_flush():
    assert FloatFormat(4, 3, subnormals=True) == FloatFormat(4, 3)
    assert FloatFormat(4, 3, subnormals=False).subnormals is Subnormals.FLUSH


def test_formats_are_values_and_names_are_labels():
    named = FloatFormat(4, 3, infinities=False, nan=NanEncoding.TOP_CODE, name="mine", source="here")
    assert named == catalog.E4M3
    assert hash(named) == hash(catalog.E4M3)
    assert named != replace(named, bias=8)
    assert replace(named, bias=8).max == named.max / 2
    assert str(named) == "mine"
    assert pickle.loads(pickle.dumps(named)) == named
    with pytest.raises(FrozenInstanceError):
        named.bias = 3  # type: ignore[misc]
    records = (
        FixedFormat(8),
        LogFormat(4, 3),
        PositFormat(8),
        catalog.MXFP8_E4M3,
        named,
        catalog.MATRIX_UNITS["a100.f16.f32"],
    )
    for record in records:
        for label in ("name", "source"):
            with pytest.raises(TypeError, match=f"{label} = 3: give a str"):
                replace(record, **{label: 3})


def test_decode_takes_any_integers():
    for dtype in (np.uint8, np.int16, np.uint64, np.int64):
        assert catalog.E4M3.decode(np.array([[0, 1], [8, 0x7E]], dtype)).tolist() == [[0, 2.0**-9], [2.0**-6, 448]]
    assert catalog.E4M3.decode([1, 2]).tolist() == [2.0**-9, 2.0**-8]
    assert isinstance(catalog.E4M3.decode(1), float)
    assert catalog.E4M3.decode(np.array([], np.uint8)).shape == (0,)
    assert catalog.BINARY64.decode(np.array([(1 << 64) - 1 - (1 << 52)], np.uint64))[0] == -catalog.BINARY64.max


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"exponent_bits": 0, "mantissa_bits": 0, "bias": 1}, "exponent_bits = 0 and mantissa_bits = 0 has no values"),
        ({"exponent_bits": 0, "mantissa_bits": 3}, "exponent_bits = 0 and mantissa_bits = 3 needs a bias"),
        ({"exponent_bits": 0, "mantissa_bits": 3, "bias": 1}, "no top exponent code for NanEncoding.IEEE"),
        (
            {"exponent_bits": 0, "mantissa_bits": 3, "bias": 1, "subnormals": False, "nan": NanEncoding.NONE},
            "subnormals must be Subnormals.GRADUAL",
        ),
        ({"exponent_bits": -1, "mantissa_bits": 3}, "exponent_bits = -1"),
        ({"exponent_bits": 4, "mantissa_bits": -2}, "mantissa_bits = -2"),
        ({"exponent_bits": 4.0, "mantissa_bits": 3}, "exponent_bits = 4.0"),
        ({"exponent_bits": True, "mantissa_bits": 3}, "exponent_bits = True"),
        ({"exponent_bits": 4, "mantissa_bits": 3, "bias": 1.5}, "bias = 1.5"),
        ({"exponent_bits": 4, "mantissa_bits": 3, "subnormals": "no"}, "subnormals = 'no'"),
        ({"exponent_bits": 4, "mantissa_bits": 3, "nan": "ieee"}, "nan = 'ieee'"),
        ({"exponent_bits": 4, "mantissa_bits": 0}, "cannot hold infinity and NaN"),
        ({"exponent_bits": 4, "mantissa_bits": 3, "signed": False, "nan": NanEncoding.NEGATIVE_ZERO}, "no code of -0"),
        ({"exponent_bits": 1, "mantissa_bits": 0, "nan": NanEncoding.TOP_CODE}, "leave no code for a nonzero value"),
        ({"exponent_bits": 1, "mantissa_bits": 2, "bias": 0, "subnormals": False}, "no value but zero is left"),
        ({"exponent_bits": 8, "mantissa_bits": 53}, "52 mantissa bits"),
        ({"exponent_bits": 10**12, "mantissa_bits": 3}, "e1000000000000m3: more than float64 holds"),
        ({"exponent_bits": 8, "mantissa_bits": 10**12}, "e8m1000000000000: more than float64 holds"),
        ({"exponent_bits": 12, "mantissa_bits": 3}, "do not all fit float64"),
        ({"exponent_bits": 11, "mantissa_bits": 3, "bias": 1022}, "from 2**-1024 to 2**1024 do not all fit float64"),
        ({"exponent_bits": 4, "mantissa_bits": 3, "bias": 1074}, "from 2**-1076"),
        ({"exponent_bits": 4, "mantissa_bits": 3, "bias": -1012}, "to 2**1026"),
    ],
    ids=lambda value: ",".join(f"{v}" for v in value.values())[:40] if isinstance(value, dict) else "",
)
def test_impossible_formats_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        FloatFormat(**arguments)


def test_the_widest_ranges_that_fit_float64_do():
    assert FloatFormat(11, 52).max == np.finfo(np.float64).max
    assert FloatFormat(5, 3, 1072, infinities=False).smallest_subnormal == 5e-324
    assert FloatFormat(4, 3, -1009).emax == 1023
    assert FloatFormat(0, 52, 1023, infinities=False, nan=NanEncoding.NONE).smallest_subnormal == 5e-324


@pytest.mark.parametrize(
    ("codes", "error", "sentence"),
    [
        (256, ValueError, "code 256 is outside the 8 bits of e4m3fn: 0 to 255"),
        (-1, ValueError, "code -1 is outside"),
        (np.array([3, 4000, 17]), ValueError, "code 4000 is outside"),
        (1.0, TypeError, "codes of dtype float64"),
        (np.zeros(3, np.float32), TypeError, "codes of dtype float32"),
        (np.zeros(3, bool), TypeError, "codes of dtype bool"),
        ([[1], [1, 2]], ValueError, "codes are no array, their rows differ in length"),
        (np.ma.masked_array([1, 2], [0, 1]), TypeError, r"masked array.*give codes\.data"),
    ],
)
def test_codes_that_are_none_are_refused(codes, error, sentence):
    with pytest.raises(error, match=sentence):
        catalog.E4M3.decode(codes)


@pytest.mark.parametrize("name", ["lba_m7e4_b10", "lba_m4e3_b5", "e4m3fn", "binary16", "bfloat16", "e4m3fnuz"])
def test_without_underflow_the_top_and_the_mantissa_stay(name):
    fmt = parse_format(name)
    wide, narrow = fmt.without_underflow(), fmt.without_underflow(fmt.exponent_bits + 1)
    for other in (wide, narrow):
        assert (other.max, other.mantissa_bits, other.nan) == (fmt.max, fmt.mantissa_bits, fmt.nan)
        assert other.emin == fmt.emin - (1 << other.exponent_bits) + (1 << fmt.exponent_bits)
    assert wide.exponent_bits == 10  # an eleventh bit would reach below float64, but for formats with float64's own top
    assert catalog.BINARY64.without_underflow().exponent_bits == 11
    values = np.array([0.7, 1.5, 3.3]) * 2.0**fmt.emin
    kept = values[1:] * 2.0**-20  # below the smallest normal value all mantissa bits are still there
    q = Quantizer(wide, Rounding.RTZ)
    assert (q.quantize(kept) == np.ldexp(Quantizer(fmt, Rounding.RTZ).quantize(values[1:]), -20)).all()


def test_without_underflow_refusals():
    fmt = parse_format("lba_m7e4_b10")
    assert FLOAT32.holds(fmt.without_underflow(7))
    assert not FLOAT32.holds(fmt.without_underflow(8))
    assert fmt.without_underflow(np.int64(7)) == fmt.without_underflow(7)
    for bits, sentence in (
        (3, "give 4 to 11"),
        (12, "give 4 to 11"),
        ("7", "'7': give 4 to 11"),
        (11, "do not all fit float64"),
    ):
        with pytest.raises(ValueError, match=sentence):
            fmt.without_underflow(bits)
    with pytest.raises(ValueError, match="subnormals only"):
        FloatFormat(0, 4, 1, infinities=False, nan=NanEncoding.NONE).without_underflow()


def test_flushed_codes_of_a_format_without_negative_zero_are_zeros_without_a_sign():
    fmt = FloatFormat(3, 2, infinities=False, nan=NanEncoding.NEGATIVE_ZERO, subnormals=False)
    codes = np.array([0x20, 0x21, 0x22, 0x23, 0x24])
    assert [str(value) for value in fmt.decode(codes)] == ["nan", "0.0", "0.0", "0.0", "-0.25"]
    assert [str(reference.decode_code(int(code), fmt)) for code in codes] == ["nan", "0.0", "0.0", "0.0", "-0.25"]
    for quantizer in (Quantizer(fmt), Quantizer(fmt, Rounding.RTN)):
        values = quantizer.decode(codes.astype(np.uint8))[1:]
        np.testing.assert_array_equal(np.signbit(quantizer.quantize(values)), np.signbit(values))
    signed = FloatFormat(3, 2, subnormals=False)
    assert str(signed.decode(0x21)) == str(reference.decode_code(0x21, signed)) == "-0.0"
