"""Narrow types of numpy and ml_dtypes go in and out as codes in the same memory, and mean the same values."""

import numpy as np
import pytest

from numerics import Overflow, Quantizer
from numerics.interop import FORMAT_OF_DTYPE, format_of, pack_nibbles, unpack_nibbles, view_as, view_codes

ml_dtypes = pytest.importorskip("ml_dtypes")
NARROW = [name for name in FORMAT_OF_DTYPE if name not in ("float32", "float64")]


def _type(name):
    return np.dtype(getattr(ml_dtypes, name, None) or name)


@pytest.mark.parametrize("name", NARROW)
def test_every_code_means_the_value_of_the_foreign_type(name):
    fmt = format_of(_type(name))
    codes = np.arange(1 << fmt.bits).astype(np.uint8 if fmt.bits <= 8 else np.uint16)
    foreign = view_as(codes, _type(name))
    assert foreign.dtype == _type(name)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(foreign.astype(np.float64), fmt.decode(codes))


@pytest.mark.parametrize("name", [*NARROW, "float32", "float64"])
def test_views_share_memory_both_ways(name):
    array = np.zeros((3, 4), _type(name))
    codes, fmt = view_codes(array)
    assert np.shares_memory(codes, array)
    assert codes.shape == (3, 4)
    assert np.shares_memory(view_as(codes, array.dtype), array)
    codes[1, 2] = 1
    assert float(array[1, 2]) == fmt.decode(1)


def test_encode_writes_into_a_foreign_array():
    array = np.zeros(4, ml_dtypes.float8_e4m3fn)
    codes, fmt = view_codes(array)
    Quantizer(fmt, overflow=Overflow.SATURATE).encode(np.array([0.3, -17.0, 1e9, 0.0]), out=codes)
    assert array.astype(np.float32).tolist() == [0.3125, -16.0, 448.0, 0.0]


def test_unknown_types_and_widths_are_refused():
    with pytest.raises(TypeError, match="int8 is no format"):
        format_of(np.int8)
    with pytest.raises(TypeError, match=r"codes of dtype uint16.*float8_e4m3fn has codes of uint8"):
        view_as(np.zeros(2, np.uint16), ml_dtypes.float8_e4m3fn)


def test_nibbles_pack_low_half_first_and_come_back():
    codes = np.arange(16, dtype=np.uint8).reshape(2, 8)
    packed = pack_nibbles(codes)
    assert packed.tolist() == [[0x10, 0x32, 0x54, 0x76], [0x98, 0xBA, 0xDC, 0xFE]]
    np.testing.assert_array_equal(unpack_nibbles(packed), codes)


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (np.zeros(3, np.uint8), r"\(3,\).*even"),
        (np.full(2, 16, np.uint8), "16 does not fit 4 bits"),
        (np.array([3, -1], np.int8), "-1 does not fit 4 bits"),
    ],
)
def test_what_cannot_be_packed_is_refused(codes, sentence):
    with pytest.raises(ValueError, match=sentence):
        pack_nibbles(codes)
    with pytest.raises(TypeError, match="uint16"):
        unpack_nibbles(np.zeros(2, np.uint16))


def test_bytes_in_foreign_order_have_no_codes_to_look_at():
    foreign = np.dtype(np.float16).newbyteorder()
    with pytest.raises(TypeError, match=r"foreign order.*newbyteorder"):
        view_codes(np.ones(2, foreign))
    with pytest.raises(TypeError, match=r"foreign order"):
        view_as(np.ones(2, np.uint16), foreign)
    with pytest.raises(TypeError, match=r"has codes of uint16"):
        view_as(np.ones(2, np.dtype(np.uint16).newbyteorder()), np.float16)


def test_what_is_no_array_of_codes_is_refused():
    for take in (view_codes, pack_nibbles, unpack_nibbles, lambda x: view_as(x, np.float16)):
        with pytest.raises(TypeError, match=r"is list: give a numpy array"):
            take([1, 2])
    with pytest.raises(TypeError, match=r"codes of dtype float64: give unsigned integers"):
        pack_nibbles(np.array([1.5, 2.0]))
    with pytest.raises(TypeError, match=r"array is a masked array, whose mask codes do not have"):
        view_codes(np.ma.masked_array([1.0]))
    with pytest.raises(TypeError, match=r"dtype 'nope': give a type of numpy or ml_dtypes"):
        format_of("nope")
    with pytest.raises(TypeError, match=r"is no format known here"):
        format_of(None)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_no_bytes_are_no_codes(shape):
    codes = unpack_nibbles(np.zeros(shape, np.uint8))
    assert codes.shape == (*shape[:-1], 2 * shape[-1])
    assert pack_nibbles(codes).shape == shape


@pytest.mark.parametrize(
    ("name", "least", "most"), [("int4", -8, 7), ("int2", -2, 1), ("uint4", 0, 15), ("uint2", 0, 3)]
)
def test_narrow_integers_are_fixed_point_a_code_to_a_byte(name, least, most):
    array = np.array([0, 1, -1, least, most]).astype(_type(name))
    array = array + np.zeros(5, _type(name))  # what the type computed itself has clean bytes too
    codes, fmt = view_codes(array)
    assert (str(fmt), fmt.min, fmt.max) == (name, least, most)
    np.testing.assert_array_equal(fmt.decode(codes), array.astype(np.float64))
    Quantizer(fmt).encode(np.array([float(least), 0.6, 99.0]), out=codes[:3])
    assert array[:3].astype(int).tolist() == [least, 1, most]
