"""Codepoints as arrays of unsigned integers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def code_dtype(bits: int) -> np.dtype[Any]:
    """The smallest unsigned integer type that holds `bits` bits."""
    return np.dtype(next(t for t in (np.uint8, np.uint16, np.uint32, np.uint64) if np.iinfo(t).bits >= bits))


def checked_codes(codes: Any, bits: int, name: str) -> NDArray[np.uint64]:
    """Codes as uint64, or a sentence about their type or the first one outside `bits` bits."""
    if isinstance(codes, np.ma.MaskedArray):
        raise TypeError("codes are a masked array, whose mask values do not have: give codes.data")
    try:
        array = np.asarray(codes)
    except ValueError:
        raise ValueError("codes are no array, their rows differ in length: give unsigned integers") from None
    if array.dtype == object and all(type(code) is int for code in array.flat):
        # Python's integers, one of them too large for any type of numpy's
        worst = max(array.flat, key=abs, default=0)
        if not -(1 << 63) <= worst < 1 << 64:
            raise ValueError(f"code {worst:#x} is outside the {bits} bits of {name}: 0 to {(1 << bits) - 1}")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"codes of dtype {array.dtype}: give unsigned integers (use .view() on raw bytes)")
    if array.size and (int(array.min()) < 0 or int(array.max()) >> bits):
        worst = int(array.min()) if int(array.min()) < 0 else int(array.max())
        raise ValueError(f"code {worst} is outside the {bits} bits of {name}: 0 to {(1 << bits) - 1}")
    return array.astype(np.uint64)
