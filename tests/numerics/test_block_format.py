"""BlockFormat as a record: parts that do not fit, names, texts; what quantizers refuse; codes in and out."""

import pickle
import re
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    BlockCodes,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    NanEncoding,
    Overflow,
    Quantizer,
    Rounding,
    ScaleRule,
    Subnormals,
    catalog,
    parse_format,
    spec,
)

E2M1, E8M0 = catalog.E2M1, catalog.E8M0
X = np.linspace(-3, 3, 12, dtype=np.float32).reshape(2, 6)
NO_NAN = FloatFormat(5, 2, infinities=False, nan=NanEncoding.NONE)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"element": catalog.posit(8)}, TypeError, "give a FloatFormat or a FixedFormat"),
        ({"element": "e2m1"}, TypeError, "element 'e2m1': give a FloatFormat"),
        ({"scale": FixedFormat(8)}, TypeError, "give a FloatFormat such as catalog.E8M0"),
        ({"block": 0}, ValueError, "block = 0: give a number of elements of at least 1"),
        ({"block": 2.0}, ValueError, "block = 2.0"),
        ({"block": True}, ValueError, "block = True"),
        ({"rule": "floor"}, ValueError, "rule = 'floor': give a ScaleRule: FLOOR, CEIL, EVEN, NEVER_CLIP, RATIO"),
        ({"tensor_scale": 1}, ValueError, "tensor_scale = 1: give True or False"),
        ({"tensor_scale": True}, ValueError, "tensor_scale with ScaleRule.FLOOR: it belongs to ScaleRule.RATIO"),
        ({"element": E8M0}, ValueError, "element e8m0 has no zero"),
        ({"element": catalog.lba(7, 4, 10, paper=True)}, ValueError, "has a value without a code"),
        ({"scale": FloatFormat(4, 3, subnormals=Subnormals.FULL_BINADE)}, ValueError, "has a value without a code"),
        ({"element": FixedFormat(64)}, ValueError, "has 63 magnitude bits: give at most 52"),
        ({"scale": catalog.BINARY64}, ValueError, "do not all fit float64"),
        ({"element": catalog.BINARY64, "rule": ScaleRule.RATIO}, ValueError, "that float32 does not hold"),
        ({"scale": catalog.BINARY64, "rule": ScaleRule.RATIO}, ValueError, "that float32 does not hold"),
        ({"scale": catalog.BINARY32, "rule": ScaleRule.RATIO, "tensor_scale": True}, ValueError, "at most 28 bits"),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items())[:40] if isinstance(value, dict) else "",
)
def test_parts_that_do_not_fit_are_refused(arguments, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        BlockFormat(**{"element": E2M1, "scale": E8M0, "block": 32, **arguments})


def test_a_format_is_a_value_and_its_name_a_label():
    fmt = catalog.MXFP4_E2M1
    assert fmt == BlockFormat(E2M1, E8M0, 32)
    assert hash(fmt) == hash(BlockFormat(E2M1, E8M0, 32))
    assert replace(fmt, block=16) != fmt
    assert replace(fmt, block=16).block == 16
    assert replace(fmt, rule=ScaleRule.CEIL) != fmt
    assert (str(fmt), str(replace(fmt, block=16))) == ("mxfp4_e2m1 in blocks of 32", "mxfp4_e2m1 in blocks of 16")
    assert str(BlockFormat(E2M1, E8M0, 4)) == "e2m1 under e8m0 (floor) in blocks of 4"
    assert "and a tensor scale" in str(replace(catalog.NVFP4, name=""))
    assert pickle.loads(pickle.dumps(fmt)) == fmt
    with pytest.raises(FrozenInstanceError):
        fmt.block = 8  # type: ignore[misc]


def test_facts_of_a_format():
    assert catalog.MXFP4_E2M1.bits_per_element == 4.25
    assert catalog.NVFP4.bits_per_element == 4.5
    assert catalog.MXFP8_E5M2.scale_exponents == (-127, 127)
    assert BlockFormat(E2M1, catalog.E4M3, 16).scale_exponents == (-9, 8)
    binade = FloatFormat(4, 3, subnormals=Subnormals.NORMAL_BINADE, infinities=False, nan=NanEncoding.NONE)
    assert BlockFormat(E2M1, binade, 16).scale_exponents == (-6, 8)
    tops = {"mxfp8_e5m2": 15, "mxfp8_e4m3": 8, "mxfp6_e3m2": 4, "mxfp6_e2m3": 2, "mxfp4_e2m1": 2, "mxint8": 0}
    assert {name: parse_format(name).element_emax for name in tops} == tops
    assert catalog.MXFP4_E2M1.has_nan
    assert not BlockFormat(E2M1, FloatFormat(5, 2, infinities=False, nan=NanEncoding.NONE), 8).has_nan


@pytest.mark.parametrize("name", catalog.BLOCK_FORMATS)
def test_names_and_texts(name):
    fmt = catalog.BLOCK_FORMATS[name]
    assert parse_format(name.upper()) == fmt
    assert parse_format(name).name == name == fmt.name
    assert len(fmt.source) > 10
    quantizer = Quantizer(fmt, Rounding.SR, random_bits=8, axis=0)
    assert spec.loads(spec.dumps(fmt)) == fmt
    assert spec.loads(spec.dumps(quantizer)) == quantizer
    assert hash(quantizer) == hash(spec.loads(spec.dumps(quantizer)))
    assert Quantizer(fmt, axis=0) != Quantizer(fmt)


def test_plain_block_floating_point():
    assert parse_format("bfp8_32") == catalog.MXINT8
    fmt = parse_format("bfp3_4")
    assert (fmt.block, fmt.element.max, fmt.element.bits) == (4, 1.5, 3)
    x = np.array([6.0, 1.0, -3.0, 0.7], np.float32)  # exponent 2: a grid of multiples of 2 within +-6
    assert Quantizer(fmt).quantize(x).tolist() == [6.0, 0.0, -4.0, 0.0]
    assert Quantizer(fmt).encode(x).elements.tolist() == [3, 0, 6, 0]
    with pytest.raises(ValueError, match="bfp<mantissa bits>_<block>"):
        parse_format("bfp8")


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: Quantizer(catalog.NVFP4, overflow=Overflow.WRAP),
            ValueError,
            "Overflow.WRAP is for fixed point alone",
        ),
        (
            lambda: Quantizer(catalog.MXFP4_E2M1, overflow=Overflow.IEEE),
            ValueError,
            "e2m1 has neither infinity nor NaN",
        ),
        (lambda: Quantizer(catalog.MXINT8, overflow=Overflow.IEEE), ValueError, "has neither infinity nor NaN"),
        (lambda: Quantizer(catalog.NVFP4, axis=1.5), TypeError, "axis = 1.5: give an integer"),
        (lambda: Quantizer(catalog.NVFP4, axis=2).quantize(X), ValueError, "axis = 2 of an array of shape (2, 6)"),
        (lambda: Quantizer(catalog.NVFP4).quantize(np.float32(1)), ValueError, "axis = -1 of an array of shape ()"),
        (lambda: Quantizer(catalog.NVFP4).quantize(X.astype(np.float16)), TypeError, "array of dtype float16"),
        (lambda: Quantizer(catalog.NVFP4).quantize(X, words=X), ValueError, "random words belong to SR"),
        (lambda: Quantizer(catalog.NVFP4, Rounding.SR).quantize(X), ValueError, "SR needs random words"),
        (
            lambda: Quantizer(BlockFormat(FixedFormat(30, 28), E8M0, 4)).quantize(X),
            ValueError,
            "has values that float32 does not hold: use float64 arrays",
        ),
        (
            lambda: Quantizer(BlockFormat(catalog.BFLOAT16, E8M0, 4)).quantize(X),
            ValueError,
            "has values that float32 does not hold: use float64 arrays",
        ),
        (
            lambda: Quantizer(BlockFormat(FixedFormat(8, signed=False), NO_NAN, 4)).quantize(X),
            ValueError,
            "is unsigned and has no NaN",
        ),
        (lambda: Quantizer(catalog.NVFP4).decode(np.zeros(3, np.uint8)), TypeError, "is decoded from BlockCodes"),
        (lambda: Quantizer(catalog.NVFP4).encode(X, out=np.zeros(3)), TypeError, "is encoded to BlockCodes"),
        (lambda: Accumulator(catalog.MXFP4_E2M1), TypeError, "accumulated in a FloatFormat"),
        (
            lambda: Accumulator(catalog.BINARY32, product=Quantizer(catalog.MXFP4_E2M1)),
            TypeError,
            "products of an accumulator in a FloatFormat are rounded to a FloatFormat",
        ),
    ],
)
def test_refusals(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call()


def test_codes_that_do_not_fit_together_are_refused():
    quantizer = Quantizer(replace(catalog.MXFP4_E2M1, block=4))
    codes = quantizer.encode(X)
    assert (codes.elements.shape, codes.scales.shape) == ((2, 6), (2, 2))
    with pytest.raises(ValueError, match=re.escape("have scales of shape (2, 2)")):
        quantizer.decode(BlockCodes(codes.elements, codes.scales[:, :1]))
    with pytest.raises(ValueError, match="code 31 is outside the 4 bits of e2m1"):
        quantizer.decode(BlockCodes(codes.elements + np.uint8(16), codes.scales))
    with pytest.raises(TypeError, match="codes of dtype float64"):
        quantizer.decode(BlockCodes(codes.elements, codes.scales.astype(float)))
    for ragged, label in ((BlockCodes([[1], [1, 2]], codes.scales), "elements"), (BlockCodes(X, [[1], []]), "scales")):
        with pytest.raises(ValueError, match=re.escape(f"codes.{label} is no array, its rows differ in length")):
            quantizer.decode(ragged)
    with pytest.raises(TypeError, match="dtype float16: values are decoded to float32 or float64"):
        quantizer.decode(codes, dtype=np.float16)


def test_a_tensor_scale_that_codes_cannot_have_is_refused():
    two, plain = Quantizer(catalog.NVFP4), Quantizer(catalog.MXFP4_E2M1)
    codes, others = two.encode(X), plain.encode(X)
    for quantizer, given, scale, error, sentence in (
        (two, codes, None, ValueError, "tensor_scale = None: give a number of float32"),
        (two, codes, np.nan, ValueError, "tensor_scale = nan: give a number of float32"),
        (two, codes, -1.0, ValueError, "tensor_scale = -1.0: give a number of float32"),
        (two, codes, 1e300, ValueError, "tensor_scale = 1e+300: give a number of float32"),
        (two, codes, "one", TypeError, "tensor_scale = 'one': give a number"),
        (plain, others, 2.0, ValueError, "tensor_scale = 2.0: mxfp4_e2m1 in blocks of 32 has none"),
    ):
        with pytest.raises(error, match=re.escape(sentence)):
            quantizer.decode(replace(given, tensor_scale=scale))
    np.testing.assert_array_equal(plain.decode(replace(others, tensor_scale=np.float32(1))), plain.quantize(X))
    same = replace(codes, tensor_scale=np.float32(codes.tensor_scale))
    np.testing.assert_array_equal(two.decode(same, dtype=X.dtype), two.quantize(X))


def test_codes_are_written_into_the_arrays_of_out():
    quantizer = Quantizer(replace(catalog.NVFP4, block=4))
    codes = quantizer.encode(X)
    out = BlockCodes(np.zeros_like(codes.elements), np.zeros_like(codes.scales))
    found = quantizer.encode(X, out=out)
    assert found.elements is out.elements
    assert found.scales is out.scales
    assert (out.elements == codes.elements).all()
    assert (out.scales == codes.scales).all()
    assert found.tensor_scale == codes.tensor_scale
    values = np.empty_like(X)
    assert quantizer.decode(codes, dtype=np.float32, out=values) is values
    assert (values == quantizer.quantize(X)).all()
    with pytest.raises(ValueError, match="out is"):
        quantizer.encode(X, out=BlockCodes(out.elements[:1], out.scales))


def test_codes_are_not_written_over_each_other_nor_over_the_input():
    """Scales in the memory of the elements came out as codes that decode to other values."""
    quantizer, x = Quantizer(replace(catalog.MXFP4_E2M1, block=4)), X.copy()
    elements, scales, bytes_of = np.zeros(X.shape, np.uint8), np.zeros((2, 2), np.uint8), x.view(np.uint8)
    for out, sentence in (
        (BlockCodes(elements, elements[:, :2]), "out.scales overlaps out.elements: give disjoint arrays"),
        (BlockCodes(elements, bytes_of[:, :2]), "out.scales overlaps the input: give disjoint arrays"),
        (BlockCodes(bytes_of[:, :6], scales), "out overlaps the input without being it"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            quantizer.encode(x, out=out)
    assert not elements.any() and (x == X).all()


def test_any_codes_decode():
    """Also those that encode never gives: NaN scales, infinities, a scale's sign bit, values beyond float32."""
    elements = np.array(
        [[0x7C, 0x3C, 0x00, 0xFC], [0x3C, 0x40, 0x7E, 0xBC]], np.uint8
    )  # e5m2: inf 1 0 -inf, 1 2 nan -1
    fmt = BlockFormat(catalog.E5M2, catalog.E4M3, 4, rule=ScaleRule.RATIO, tensor_scale=True)
    quantizer = Quantizer(fmt)
    values = quantizer.decode(BlockCodes(elements, np.array([[0], [0xB8]], np.uint8), 0.5))
    assert values[0].tolist() == [np.inf, 0.0, 0.0, -np.inf]  # under a scale of zero
    assert values[1, [0, 1, 3]].tolist() == [0.5, 1.0, -0.5]  # 0xb8 is -1, its sign ignored
    assert np.isnan(values[1, 2])
    assert np.isnan(quantizer.decode(BlockCodes(elements, np.array([[0x7F], [0xFF]], np.uint8), 0.5))).all()
    top = BlockCodes(np.array([[0x7]], np.uint8), np.array([[254]], np.uint8))  # 6 * 2**127
    mx = Quantizer(replace(catalog.MXFP4_E2M1, block=1))
    assert mx.decode(top).tolist() == [[6 * 2.0**127]]
    with pytest.raises(ValueError, match="the value of element 0 is beyond float32: decode to float64"):
        mx.decode(top, dtype=np.float32)
    lowest = BlockCodes(np.array([[0x1]], np.uint8), np.array([[0]], np.uint8))
    assert mx.decode(lowest, dtype=np.float32).tolist() == [[2.0**-128]]


def test_a_refused_array_leaves_out_as_it_was():
    fmt = BlockFormat(E2M1, FloatFormat(5, 2, infinities=False, nan=NanEncoding.NONE), 4)
    x = X.copy()
    x[1, 3] = np.nan
    out = np.full_like(x, 7)
    with pytest.raises(ValueError, match="NaN at element 9"):
        Quantizer(fmt).quantize(x, out=out)
    assert (out == 7).all()
    x[1, 3] = 3.999
    fine = Quantizer(replace(fmt, rule=ScaleRule.RATIO), overflow=Overflow.ERROR).quantize(x, out=out)
    assert fine is out
    x[1, 3] = 7
    out[...] = 7
    with pytest.raises(OverflowError, match=re.escape("7.0 at element 9 is beyond the largest element")):
        Quantizer(fmt, Rounding.RTP, overflow=Overflow.ERROR).quantize(x, out=out)
    assert (out == 7).all()
