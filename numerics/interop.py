"""Arrays of other libraries' narrow types, seen as codepoints and back: the same memory, no copy.

Nothing is imported for it: a type is known by its name. Packed types, with several values in a byte, have another
layout and are unpacked, which copies.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import ElementFormat, code_dtype
from .parsing import parse_format

#: numpy and ml_dtypes types by name -> the names that `parse_format` knows.
FORMAT_OF_DTYPE = {
    "float16": "binary16",
    "float32": "binary32",
    "float64": "binary64",
    "bfloat16": "bfloat16",
    "float8_e3m4": "e3m4",
    "float8_e4m3": "e4m3",
    "float8_e4m3b11fnuz": "e4m3b11fnuz",
    "float8_e4m3fn": "e4m3fn",
    "float8_e4m3fnuz": "e4m3fnuz",
    "float8_e5m2": "e5m2",
    "float8_e5m2fnuz": "e5m2fnuz",
    "float8_e8m0fnu": "e8m0",
    "float6_e2m3fn": "e2m3",
    "float6_e3m2fn": "e3m2",
    "float4_e2m1fn": "e2m1",
    "int4": "int4",
    "int2": "int2",
    "uint4": "uint4",
    "uint2": "uint2",
}


def format_of(dtype: Any) -> ElementFormat:
    """The format of a numpy or ml_dtypes type. Errors: TypeError for a type that is not the same layout as a format."""
    try:
        wanted = np.dtype(np.object_ if dtype is None else dtype)  # numpy takes None for float64
    except TypeError:
        raise TypeError(f"dtype {dtype!r}: give a type of numpy or ml_dtypes, or the name of one of numpy's") from None
    name = wanted.name
    if not wanted.isnative:
        raise TypeError(
            f"dtype {wanted} has its bytes in foreign order: x.astype(x.dtype.newbyteorder('=')) puts them right"
        )
    if name not in FORMAT_OF_DTYPE:
        raise TypeError(f"dtype {name} is no format known here: known are {', '.join(FORMAT_OF_DTYPE)}")
    fmt = parse_format(FORMAT_OF_DTYPE[name])
    assert isinstance(fmt, ElementFormat)
    return fmt


def view_codes(array: NDArray[Any]) -> tuple[NDArray[Any], ElementFormat]:
    """(codes, format) of an array [...] of a narrow type: unsigned integers [...] in the same memory.

    Errors: TypeError for a type that is not the same layout as a format, and for what is no array.
    """
    fmt = format_of(_array(array, "array").dtype)
    return array.view(code_dtype(fmt.bits)), fmt


def view_as(codes: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Codes [...] as an array [...] of the numpy or ml_dtypes type, in the same memory.

    Errors: TypeError for codes whose width is not the type's, and for what is no array.
    """
    fmt = format_of(dtype)
    wanted = code_dtype(fmt.bits)
    if _array(codes, "codes").dtype != wanted:
        raise TypeError(f"codes of dtype {codes.dtype}: {np.dtype(dtype).name} has codes of {wanted}")
    return codes.view(dtype)


def pack_nibbles(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """4-bit codes [..., n] -> bytes [..., n/2], element 0 in the low half (torch.float4_e2m1fn_x2). Copies.

    Errors: TypeError for what is no array of integers; ValueError for an odd last dimension or a code outside 0 to 15.
    """
    if _array(codes, "codes").dtype.kind not in "iu":
        raise TypeError(f"codes of dtype {codes.dtype}: give unsigned integers (use .view() on raw bytes)")
    if codes.ndim == 0 or codes.shape[-1] % 2:
        raise ValueError(f"codes of shape {codes.shape}: two to a byte need an even last dimension; pad it")
    if codes.size and (int(codes.max()) > 15 or int(codes.min()) < 0):
        worst = int(codes.max()) if int(codes.max()) > 15 else int(codes.min())
        raise ValueError(f"code {worst} does not fit 4 bits: give 0 to 15")
    low, high = codes[..., ::2].astype(np.uint8), codes[..., 1::2].astype(np.uint8)
    packed: NDArray[np.uint8] = low | (high << np.uint8(4))
    return packed


def unpack_nibbles(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes [..., n] -> 4-bit codes [..., 2n], the low half first. Copies. Errors: TypeError for what is no uint8 array."""
    if _array(packed, "packed").dtype != np.uint8:
        raise TypeError(f"bytes of dtype {packed.dtype}: give uint8")
    halves = np.stack([packed & np.uint8(15), packed >> np.uint8(4)], axis=-1)
    return halves.reshape(*packed.shape[:-1], 2 * (packed.shape[-1] if packed.ndim else 1))


def _array(value: Any, label: str) -> NDArray[Any]:
    """value itself, or a sentence where it is no array: views of a converted list would share no memory with it."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{label} is {type(value).__name__}: give a numpy array")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{label} is a masked array, whose mask codes do not have: give {label}.data")
    return value
