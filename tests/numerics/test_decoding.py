"""Codes to values: every loop against the format's own formula, all codes of all narrow formats."""

import numpy as np
import pytest

from numerics import BlockCodes, FloatFormat, NanEncoding, Quantizer, Subnormals, catalog, parse_format
from numerics.decoding import decode_into, decoder_of, float_row
from numerics.formats import FixedFormat, code_dtype
from numerics.parameters import carrier_of

WIDE = ("binary32", "tf32", "binary64", "e8m17", "e10m30", "dlfloat16")
ODD = (
    FloatFormat(4, 3, infinities=True, nan=NanEncoding.TOP_CODE),
    FloatFormat(4, 3, infinities=False, nan=NanEncoding.NONE),
    FloatFormat(4, 3, infinities=True, nan=NanEncoding.NEGATIVE_ZERO),
    FloatFormat(3, 0, infinities=False, nan=NanEncoding.NONE),
    FloatFormat(0, 6, bias=3, infinities=False, nan=NanEncoding.NONE),
    FloatFormat(5, 2, bias=-90),
    FloatFormat(8, 7, bias=127),
    FloatFormat(8, 7, bias=128),
    FloatFormat(8, 3, bias=126),
    FloatFormat(4, 3, subnormals=Subnormals.NORMAL_BINADE, nan=NanEncoding.NONE, infinities=False),
    FloatFormat(4, 3, signed=False),
    FixedFormat(8),
    FixedFormat(8, signed=False),
    FixedFormat(11, 4),
    FixedFormat(16, -3),
    FixedFormat(8, symmetric=True),
    FixedFormat(5, 300),
)


def narrow():
    return [f for f in (*catalog.FORMATS.values(), *ODD) if getattr(f, "bits", 99) <= 16 and hasattr(f, "codepoints")]


def all_codes(fmt):
    return np.arange(1 << fmt.bits, dtype=code_dtype(fmt.bits))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fmt", narrow(), ids=str)
def test_every_code_of_every_narrow_format(fmt, dtype):
    if not carrier_of(np.dtype(dtype)).holds(fmt):
        pytest.skip(f"{dtype} does not hold {fmt}")
    codes = all_codes(fmt)
    out = np.empty(codes.shape, dtype)
    decode_into(fmt, codes, out)
    assert out.tobytes() == fmt.decode(codes).astype(dtype).tobytes()


@pytest.mark.parametrize("name", WIDE)
def test_codes_of_wide_formats(name):
    fmt = parse_format(name)
    draw = np.random.default_rng(3)
    edges = [fmt.largest_code, fmt.largest_code + 1, fmt.nan_code or 0, 0, 1, 1 << fmt.mantissa_bits]
    edges += [(1 << fmt.mantissa_bits) - 1, 1 << (fmt.bits - 1), (1 << fmt.bits) - 1]
    codes = np.concatenate([draw.integers(0, (1 << fmt.bits) - 1, 5000, np.uint64, endpoint=True), np.uint64(edges)])
    codes = np.concatenate([codes, codes & np.uint64((1 << fmt.mantissa_bits) - 1)]).astype(code_dtype(fmt.bits))
    out = np.empty(codes.shape)
    decode_into(fmt, codes, out)
    assert out.tobytes() == fmt.decode(codes).tobytes()


def test_which_formats_go_by_their_fields():
    for name in ("e4m3fn", "e5m2", "e2m1", "e4m3fnuz", "binary16", "bfloat16", "binary8p4se", "tf32"):
        assert float_row(parse_format(name), "float32") is not None, name
        assert float_row(parse_format(name), "float64") is not None, name
    below, unsigned = FloatFormat(8, 7, bias=128), catalog.E8M0
    assert float_row(below, "float32") is None and float_row(unsigned, "float32") is None
    assert decoder_of(parse_format("log4.3"), "float32") is not None  # by a table
    assert decoder_of(parse_format("posit32"), "float64") is None  # by its formula


def test_a_code_out_of_range_is_named():
    with pytest.raises(ValueError, match="64"):
        Quantizer(parse_format("e3m2")).decode(np.array([1, 64], np.uint8))


def test_strided_codes_and_results():
    fmt = parse_format("e4m3fn")
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    out = np.zeros((16, 32), np.float32)
    Quantizer(fmt).decode(codes.T, dtype=np.float32, out=out[:, ::2])
    assert out[:, ::2].tobytes() == fmt.decode(codes.T).astype(np.float32).tobytes() and not out[:, 1::2].any()


def test_codes_with_their_bytes_in_foreign_order():
    for fmt in (catalog.BINARY16, FixedFormat(12), FloatFormat(8, 7, signed=False), catalog.BINARY32):
        codes = np.arange(0, 1 << 12, 7, dtype=np.uint32 if fmt.bits > 16 else np.uint16)
        swapped = codes.astype(codes.dtype.newbyteorder())
        np.testing.assert_array_equal(Quantizer(fmt).decode(swapped), Quantizer(fmt).decode(codes))
    blocks = Quantizer(catalog.bfp(12, 16))
    codes = blocks.encode(np.linspace(-3, 5, 32))
    swapped = BlockCodes(codes.elements.astype(codes.elements.dtype.newbyteorder()), codes.scales)
    assert codes.elements.dtype == np.uint16
    np.testing.assert_array_equal(blocks.decode(swapped), blocks.decode(codes))
