"""What a quantizer refuses, with the value in the sentence; `out` and the input stay as they were."""

import re

import numpy as np
import pytest

from numerics import FloatFormat, NanEncoding, Overflow, Quantizer, Rounding, arithmetic, catalog, parse_format
from tests.numerics import grids

UNSIGNED = grids.KINDS["unsigned_plain"]
UNSIGNED_WITH_NAN = grids.KINDS["unsigned"]
SR = Quantizer(catalog.E4M3, Rounding.SR, random_bits=5)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (("e4m3fn",), TypeError, "format 'e4m3fn': give a format record"),
        ((None,), TypeError, "format None"),
        ((catalog.E4M3, 10), TypeError, "rounding = 10: give one of Rounding.RNE"),
        ((catalog.E4M3, Rounding.RNE, 5), TypeError, "overflow = 5: give one of Overflow.IEEE"),
        (
            (catalog.E4M3, Rounding.RNE, Overflow.WRAP),
            ValueError,
            "Overflow.WRAP is for fixed point: e4m3fn is a float format",
        ),
        (
            (catalog.E2M1, Rounding.RNE, Overflow.IEEE),
            ValueError,
            "e2m1 has neither infinity nor NaN for Overflow.IEEE",
        ),
        ((catalog.E4M3, Rounding.RNE, Overflow.SATURATE, 8), ValueError, "random_bits = 8 with RNE"),
        ((catalog.E4M3, Rounding.SR, Overflow.SATURATE, 0), ValueError, "random_bits = 0"),
        ((catalog.E4M3, Rounding.SR, Overflow.SATURATE, 33), ValueError, "random_bits = 33"),
        ((catalog.E4M3, Rounding.SR_B, Overflow.SATURATE, 8.0), ValueError, "random_bits = 8.0"),
        ((catalog.E4M3, Rounding.SR_C, Overflow.SATURATE, True), ValueError, "random_bits = True"),
    ],
)
def test_impossible_quantizers(arguments, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        Quantizer(*arguments)


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (np.arange(3), "int64"),
        (np.ones(3, np.float16), "float16"),
        (np.ones(3, complex), "complex128"),
        (np.ones(3, ">f8"), ">f8"),
        (np.array([True]), "bool"),
        ([1, 2], "int64"),
        ("text", "<U4"),
        (None, "object"),
    ],
)
def test_arrays_that_are_not_native_floats(x, dtype):
    for apply in (Quantizer(catalog.E4M3).quantize, Quantizer(catalog.E4M3).encode):
        with pytest.raises(TypeError, match=f"array of dtype {dtype}: give float32 or float64"):
            apply(x)


@pytest.mark.skipif(np.finfo(np.longdouble).bits == 64, reason="long double is float64 here")
def test_long_double_is_refused():
    with pytest.raises(TypeError, match="array of dtype float128"):
        Quantizer(catalog.E4M3).quantize(np.ones(3, np.longdouble))


@pytest.mark.parametrize(
    "fmt",
    [
        catalog.BINARY64,
        parse_format("e8m24"),
        parse_format("e9m3"),
        parse_format("e5m3b150"),
        parse_format("e4m3b-114"),
    ],
    ids=str,
)
def test_float32_where_the_format_needs_more(fmt):
    # Decided from the format alone: the values of these arrays would fit.
    quantizer = Quantizer(fmt)
    for apply in (quantizer.quantize, quantizer.encode):
        with pytest.raises(ValueError, match=f"{fmt} has values that float32 does not hold: use float64"):
            apply(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="float32 does not hold"):
        quantizer.decode(np.zeros(3, np.uint64), dtype=np.float32)
    assert (quantizer.quantize(np.zeros(3)) == 0).all()


def test_nan_where_there_is_none():
    for fmt in (catalog.E2M1, parse_format("lba_m7e4_b10"), grids.KINDS["infinity_without_nan"], UNSIGNED):
        quantizer = Quantizer(fmt)
        for apply in (quantizer.quantize, quantizer.encode):
            with pytest.raises(ValueError, match=re.escape(f"NaN at element 3: {fmt} has no NaN")):
                apply(np.array([[1, 2, 3], [np.nan, 4, np.nan]], np.float32))


def test_negative_values_where_there_are_none():
    x = np.array([0.0, -0.0, 1.0, -1e-30, -2.0])
    for apply in (Quantizer(UNSIGNED).quantize, Quantizer(UNSIGNED).encode):
        with pytest.raises(ValueError, match=r"-1e-30 at element 3: e3m3 .* is unsigned and has no NaN"):
            apply(x)
    assert Quantizer(UNSIGNED).quantize(x[:3]).tolist() == [0, 0, 1]
    found = Quantizer(UNSIGNED_WITH_NAN).quantize(np.append(x, -np.inf))
    assert np.isnan(found).tolist() == [False, False, False, True, True, True]
    assert not np.signbit(found).any()


def test_the_input_of_an_unsigned_quantizer_is_not_changed():
    x = np.array([-1.0, 2.0])
    Quantizer(UNSIGNED_WITH_NAN).quantize(x)
    assert x.tolist() == [-1, 2]


@pytest.mark.parametrize(
    ("fmt", "x", "element", "shown"),
    [
        (catalog.E4M3, [1, 448, 464.1, 1e9], 2, "464.1"),
        (catalog.E4M3, [1, np.inf, 2], 1, "inf"),
        (catalog.E5M2, [1, -61440.0, np.inf], 1, "-61440.0"),
        (catalog.E2M1, [7.0], 0, "7.0"),
    ],
)
def test_overflow_is_an_error_where_asked_for(fmt, x, element, shown):
    quantizer = Quantizer(fmt, Rounding.RNE, Overflow.ERROR)
    for apply in (quantizer.quantize, quantizer.encode):
        with pytest.raises(OverflowError, match=f"{shown} at element {element} is beyond {fmt.max}, the largest value"):
            apply(np.array(x))


def test_overflow_as_an_error_lets_specials_of_the_format_through():
    found = Quantizer(catalog.E5M2, Rounding.RNE, Overflow.ERROR).quantize(np.array([np.inf, -np.inf, np.nan, 57344.0]))
    assert np.array_equal(found, [np.inf, -np.inf, np.nan, 57344], equal_nan=True)
    found = Quantizer(catalog.E4M3, Rounding.RNE, Overflow.ERROR).quantize(np.array([np.nan, 464.0]))
    assert np.array_equal(found, [np.nan, 448], equal_nan=True)


def test_the_first_of_several_errors_is_named():
    quantizer = Quantizer(catalog.E2M1, Rounding.RNE, Overflow.ERROR)
    for x, error, sentence in (
        ([1, np.nan, 100], ValueError, "NaN at element 1"),
        ([1, 100, np.nan], OverflowError, "100.0 at element 1"),
        ([-np.inf, np.nan], OverflowError, "-inf at element 0"),
    ):
        with pytest.raises(error, match=sentence):
            quantizer.quantize(np.array(x))


@pytest.mark.parametrize("name", ["full_binade", "full_binade_with_nan", "no_mantissa_full_binade"])
def test_the_value_without_a_code_is_not_encoded(name):
    fmt = grids.KINDS[name]
    smallest = fmt.smallest_normal
    x = np.array([2 * smallest, -smallest * 1.001, smallest])
    quantizer = Quantizer(fmt, Rounding.RTZ)
    with pytest.raises(ValueError, match=re.escape(f"-0.125125 at element 1 rounds to a value that {fmt} has without")):
        quantizer.encode(x)
    assert quantizer.quantize(x).tolist() == [2 * smallest, -smallest, smallest]
    assert quantizer.encode(x[:1]).tolist() == [1 << fmt.mantissa_bits]


def test_random_words_are_asked_for():
    x = np.ones((2, 3))
    for rounding in (Rounding.SR, Rounding.SR_B, Rounding.SR_C):
        with pytest.raises(ValueError, match=re.escape(f"{rounding.name} needs random words: give seed=")):
            Quantizer(catalog.E4M3, rounding).quantize(x)
    with pytest.raises(ValueError, match=re.escape("words= of shape (2, 3)")):
        SR.encode(x)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"seed": -1}, ValueError, "seed = -1: give an integer in [0, 2**64)"),
        ({"seed": 1 << 64}, ValueError, "seed = 18446744073709551616"),
        ({"seed": 1.0}, TypeError, "seed = 1.0"),
        ({"seed": 1, "stream": -2}, ValueError, "stream = -2"),
        ({"seed": 1, "offset": 1 << 65}, ValueError, f"offset = {1 << 65}"),
        ({"seed": 1, "offset": "x"}, TypeError, "offset = 'x'"),
        ({"words": np.zeros(4, int)}, ValueError, "words of shape (4,) for (3,)"),
        ({"words": 3}, ValueError, "words of shape () for (3,)"),
        ({"words": np.array([0, 32, 40])}, ValueError, "word 40 is outside [0, 2**5)"),
        ({"words": np.array([0, -7, 1])}, ValueError, "word -7 is outside [0, 2**5)"),
        ({"words": np.zeros(3)}, TypeError, "words of dtype float64"),
    ],
)
def test_seeds_and_words_that_are_none(given, error, sentence):
    for apply in (SR.quantize, SR.encode):
        with pytest.raises(error, match=re.escape(sentence)):
            apply(np.ones(3), **given)


def test_words_for_a_deterministic_mode():
    with pytest.raises(ValueError, match="words given with RNE"):
        Quantizer(catalog.E4M3).quantize(np.ones(3), words=np.zeros(3, int))


def test_arrays_to_write_into_that_do_not_fit():
    quantizer, x = Quantizer(catalog.E4M3), np.ones((2, 3))
    with pytest.raises(ValueError, match=re.escape("out is float64 (3, 2): give a numpy array of float64 (2, 3)")):
        quantizer.quantize(x, out=np.empty((3, 2)))
    with pytest.raises(ValueError, match=re.escape("out is float32 (2, 3)")):
        quantizer.quantize(x, out=np.empty((2, 3), np.float32))
    with pytest.raises(ValueError, match="out is list: give a numpy array"):
        quantizer.quantize(x, out=[[0.0] * 3] * 2)
    with pytest.raises(ValueError, match=re.escape("out is uint16 (2, 3): give a numpy array of uint8 (2, 3)")):
        quantizer.encode(x, out=np.empty((2, 3), np.uint16))
    fixed = np.empty((2, 3))
    fixed.setflags(write=False)
    with pytest.raises(ValueError, match="out is read-only"):
        quantizer.quantize(x, out=fixed)
    line = np.ones(7)
    for out in (line[1:], line[5::-1]):
        with pytest.raises(ValueError, match="out overlaps the input without being it"):
            quantizer.quantize(line[:6], out=out)
    assert (line == 1).all()


def test_codes_that_are_none():
    quantizer = Quantizer(catalog.E2M1)
    with pytest.raises(ValueError, match="code 16 is outside the 4 bits of e2m1: 0 to 15"):
        quantizer.decode(np.array([3, 16], np.uint8))
    with pytest.raises(ValueError, match="code -1 is outside"):
        quantizer.decode(np.array([3, -1]))
    with pytest.raises(ValueError, match="code 99 is outside"):
        quantizer.decode(99)
    with pytest.raises(TypeError, match="codes of dtype float64"):
        quantizer.decode(np.ones(3))
    with pytest.raises(TypeError, match="dtype float16: values are decoded to float32 or float64"):
        quantizer.decode(np.ones(3, np.uint8), dtype=np.float16)


@pytest.mark.parametrize(
    ("quantizer", "x", "options"),
    [
        (Quantizer(catalog.E2M1), [1.0, np.nan], {}),
        (Quantizer(UNSIGNED), [1.0, -1.0], {}),
        (Quantizer(catalog.E4M3, overflow=Overflow.ERROR), [1.0, 1e6], {}),
        (SR, [1.0, 2.0], {}),
        (SR, [1.0, 2.0], {"seed": -1}),
        (SR, [1.0, 2.0], {"words": np.array([0, 99])}),
        (Quantizer(catalog.BINARY64), np.ones(2, np.float32), {}),
    ],
)
def test_a_refusal_leaves_out_as_it_was(quantizer, x, options):
    array = np.asarray(x)
    out = np.full(array.shape, 7, array.dtype)
    codes = np.full(array.shape, 7, np.uint64 if quantizer.fmt.bits > 8 else np.uint8)
    before = array.copy()
    for apply, target in ((quantizer.quantize, out), (quantizer.encode, codes)):
        with pytest.raises((ValueError, OverflowError)):
            apply(array, out=target, **options)
        assert (target == 7).all()
    with pytest.raises((ValueError, OverflowError)):
        quantizer.quantize(array, out=array, **options)
    assert np.array_equal(array, before, equal_nan=True)


def test_the_uncoded_value_leaves_out_as_it_was():
    for name in ("full_binade", "full_binade_with_nan"):
        fmt = grids.KINDS[name]
        out = np.full(2, 7, np.uint8)
        with pytest.raises(ValueError, match=r"0\.125 at element 1 rounds to a value that e3m\d .* has without a code"):
            Quantizer(fmt).encode(np.array([fmt.max, fmt.smallest_normal]), out=out)
        assert (out == 7).all()


def test_what_is_refused_in_large_arrays_is_found_in_any_piece():
    x = np.ones(300_000, np.float32)
    x[299_999] = np.nan
    with pytest.raises(ValueError, match="NaN at element 299999"):
        Quantizer(catalog.E2M1).quantize(x)
    x[200_000] = -500.0
    with pytest.raises(OverflowError, match=r"-500\.0 at element 200000"):
        Quantizer(FloatFormat(4, 3, infinities=False, nan=NanEncoding.TOP_CODE), overflow=Overflow.ERROR).quantize(x)


def test_a_seed_that_is_none_for_any_mode():
    stochastic, nearest = Quantizer(catalog.E5M2, Rounding.SR), Quantizer(catalog.E5M2)
    x = np.ones(3)
    words = [0, 1 << 31, (1 << 32) - 1]
    beside = stochastic.quantize(x * 1.1, seed=5, words=words)  # which is not used
    assert beside.tolist() == stochastic.quantize(x * 1.1, words=words).tolist() == [1.0, 1.0, 1.25]
    assert arithmetic.add(x, 0.1 * x, stochastic, seed=5, words=words).tolist() == beside.tolist()
    for quantizer in (stochastic, nearest):
        with pytest.raises(ValueError, match=r"seed = -5: give an integer in \[0, 2\*\*64\)"):
            quantizer.quantize(x, seed=-5)
        with pytest.raises(TypeError, match="stream = 'x'"):
            quantizer.encode(x, seed=5, stream="x")
        for seed in (0.0, False, "", []):  # what Python takes for nothing is no 0
            with pytest.raises(TypeError, match=r"^seed = "):
                quantizer.quantize(x, seed=seed)
    assert stochastic.quantize(np.zeros(0), words=[]).size == 0


def test_what_is_no_array_of_single_places_is_refused():
    quantizer, stochastic = Quantizer(catalog.E5M2), Quantizer(catalog.E5M2, Rounding.SR, random_bits=8)
    for call, sentence in (
        (lambda: quantizer.quantize([[1.0], [1.0, 2.0]]), "x is no array, its rows differ in length"),
        (lambda: quantizer.decode([[1], [1, 2]]), "codes is no array, its rows differ in length"),
        (lambda: stochastic.quantize([1.0], words=[[1], [1, 2]]), "words is no array, its rows differ in length"),
        (lambda: quantizer.quantize(np.ones(3), out=np.ndarray(3, buffer=bytearray(8), strides=(0,))), "same place"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
    for call, sentence in (
        (lambda: stochastic.quantize([1.0], words=np.ma.array([1])), "words is a masked array"),
        (lambda: quantizer.quantize(np.ones(3), out=np.ma.array(np.ones(3))), "out is a masked array"),
    ):
        with pytest.raises(TypeError, match=sentence):
            call()


def test_masked_arrays_and_conversions_that_are_exact():
    with pytest.raises(TypeError, match=r"its mask would be lost; give x\.filled\(value\)"):
        Quantizer(catalog.E5M2).quantize(np.ma.masked_array([1.0, 2.0], mask=[1, 0]))
    with pytest.raises(TypeError, match=r"its mask would be lost; give codes\.filled\(value\)"):
        Quantizer(catalog.E5M2).decode(np.ma.masked_array(np.ones(2, np.uint8), mask=[1, 0]))
    with pytest.raises(TypeError, match=r"float16: give float32 or float64 \(astype\(np\.float32\) is exact\)"):
        Quantizer(catalog.E5M2).quantize(np.ones(2, np.float16))
    with pytest.raises(TypeError, match=r"int64: .* exact in float64"):
        Quantizer(catalog.E5M2).quantize(np.ones(2, np.int64))


@pytest.mark.parametrize("shift", [0, 1, 7, 4096])
def test_words_in_the_memory_of_the_result(shift):
    """The compiled loop promises that they are apart: words that are not are copied."""
    rng = np.random.default_rng(shift)
    memory = rng.integers(0, 1 << 32, 30_000, dtype=np.uint32)
    x = rng.uniform(1, 2, 20_000).astype(np.float32)
    words = memory[4100:24_100]
    quantizer = Quantizer(catalog.E5M2, Rounding.SR)
    wanted = quantizer.quantize(x, words=words.copy())
    out = memory[4100 + shift : 24_100 + shift].view(np.float32)
    assert (quantizer.quantize(x, words=words, out=out) == wanted).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_in_foreign_order_are_refused_with_a_conversion_that_keeps_all_bits(dtype):
    x = np.array([1.3, 2.0], np.dtype(dtype).newbyteorder())
    with pytest.raises(TypeError, match=r"foreign order: x\.astype\(x\.dtype\.newbyteorder\('='\)\)"):
        Quantizer(catalog.E5M2).quantize(x)
    np.testing.assert_array_equal(Quantizer(catalog.E5M2).quantize(x.astype(x.dtype.newbyteorder("="))), [1.25, 2.0])
