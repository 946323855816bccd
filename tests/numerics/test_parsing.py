"""Formats from their names."""

import pytest

from numerics import FloatFormat, NanEncoding, Subnormals, catalog, interop, parse_format
from tests.numerics import grids


@pytest.mark.parametrize(("name", "fmt"), grids.CATALOG.items(), ids=grids.CATALOG)
def test_every_name_of_the_catalog_is_its_format(name, fmt):
    for text in (name, name.upper(), f"  {name} "):
        assert parse_format(text) == fmt
        assert parse_format(text).name == name


@pytest.mark.parametrize(
    ("name", "fmt"),
    [
        ("float16", catalog.BINARY16),
        ("half", catalog.BINARY16),
        ("fp32", catalog.BINARY32),
        ("float64", catalog.BINARY64),
        ("bf16", catalog.BFLOAT16),
        ("e5m10", catalog.BINARY16),
        ("e8m7", catalog.BFLOAT16),
        ("e8m23", catalog.BINARY32),
        ("e11m52", catalog.BINARY64),
        # IEEE's layout, which OCP's E4M3 is not; the OCP names without specials are theirs.
        ("e4m3", FloatFormat(4, 3)),
        ("e4m3b8", FloatFormat(4, 3, 8)),
        ("e4m3b-2", FloatFormat(4, 3, -2)),
        ("e2m1", FloatFormat(2, 1, infinities=False, nan=NanEncoding.NONE)),
        ("e3m2b3", FloatFormat(3, 2)),
        ("lba_m7e4_b10", catalog.lba(7, 4, 10)),
        ("lba_m7e4_b10_paper", catalog.lba(7, 4, 10, paper=True)),
        ("lba_m4e3_b-1", catalog.lba(4, 3, -1)),
        ("lba_m10e5_b16_paper", catalog.lba(10, 5, 16, paper=True)),
        ("binary8p4se", catalog.p3109(8, 4, signed=True, extended=True)),
        ("binary8p3uf", catalog.p3109(8, 3, signed=False, extended=False)),
    ],
)
def test_names(name, fmt):
    assert parse_format(name) == fmt


def test_ieee_names_of_formats_that_have_other_owners_differ_from_them():
    assert parse_format("e4m3") != catalog.E4M3
    assert parse_format("e4m3").max == 240
    assert parse_format("e5m2") == FloatFormat(5, 2)


def test_lba_fields_are_mantissa_exponent_bias():
    fmt = parse_format("lba_m7e4_b12")
    assert (fmt.mantissa_bits, fmt.exponent_bits, fmt.bias) == (7, 4, 12)
    assert (fmt.subnormals, fmt.infinities, fmt.nan) == (Subnormals.NORMAL_BINADE, False, NanEncoding.NONE)
    assert parse_format("lba_m7e4_b12_paper").subnormals is Subnormals.FULL_BINADE


@pytest.mark.parametrize("name", interop.FORMAT_OF_DTYPE)
def test_the_types_of_ml_dtypes_are_names(name):
    assert parse_format(name) == parse_format(interop.FORMAT_OF_DTYPE[name])


def test_the_packed_type_of_torch_is_a_name():
    assert parse_format("float4_e2m1fn_x2") is catalog.E2M1


@pytest.mark.parametrize(
    "pattern",
    ["e{}m3", "e4m{}", "e4m3b-{}", "lba_m7e{}_b1", "int{}", "s16.{}", "bfp4_{}", "posit{}", "log4.{}", "binary8p{}se"],
)
@pytest.mark.parametrize("digits", [21, 5000])
def test_numbers_of_many_digits_are_refused_in_a_short_sentence(pattern, digits):
    with pytest.raises(ValueError, match=f"a number of {digits} digits: widths and biases have at most 20") as refusal:
        parse_format(pattern.format("9" * digits))
    assert len(str(refusal.value)) < 200


def test_long_names_are_cut_in_the_sentence():
    with pytest.raises(ValueError, match=r"no format is named 'x+\.\.\.: ") as refusal:
        parse_format("x" * 5000)
    assert len(str(refusal.value)) < 1200


def test_the_nearest_names_come_first():
    with pytest.raises(
        ValueError, match=r"no format is named 'e4m3fnn': the nearest are e4m3fn, .*; known are binary16"
    ):
        parse_format("e4m3fnn")


@pytest.mark.parametrize(
    "name", ["e4m3fm", "", "m3e4", "e4", "e-4m3", "lba_m7e4", "lba_m7e4_b10_papers", "e4m3b", "nan"]
)
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(ValueError, match="no format is named") as refusal:
        parse_format(name)
    assert repr(name) in str(refusal.value)
    assert all(known in str(refusal.value) for known in catalog.FORMATS)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("e0m3", "exponent_bits = 0 and mantissa_bits = 3 needs a bias"),
        ("e0m3b1", "no top exponent code"),
        ("e4m0", "cannot hold infinity and NaN"),
        ("e20m3", "do not all fit float64"),
        ("e8m60", "52 mantissa bits"),
        ("e99999999999m3", "more than float64 holds"),
        ("lba_m7e0_b3", "subnormals must be"),
    ],
)
def test_names_of_impossible_formats_are_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_format(name)


@pytest.mark.parametrize("name", [5, None, b"e4m3fn", catalog.E4M3])
def test_what_is_no_text_is_refused(name):
    with pytest.raises(TypeError, match="format name"):
        parse_format(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("e٤m٣", "no format is named"),  # digits of another script
        ("binary99999999999p1uf", "binary99999999999p1uf has values that float64 does not hold"),
        ("binary99999999999p9999999999se", "has values that float64 does not hold"),
        ("binary99999999999p99999999999se", "precision 99999999999 does not fit 99999999999 bits"),
        ("binary8p99999999999se", "precision 99999999999 does not fit 8 bits; P3109 wants 1 to 7"),
        ("posit99999999999", "2 to 32 bits"),
        ("log99999999999.3", "0 to 11"),
        ("int99999999999", "64"),
        ("lba_m7e99999999999_b3", "more than float64 holds"),
    ],
)
def test_absurd_names_are_refused_at_once(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_format(name)


def test_names_of_torch_and_ml_dtypes():
    assert parse_format("float8_e4m3fn") is catalog.E4M3
    assert parse_format("float4_e2m1fn") is catalog.E2M1
