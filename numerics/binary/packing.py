"""Matrices of +-1 or 0/1 as rows of bits, 64 a word."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import threads, xnor
from ..operands import as_array

_COST = 0.3  # nanoseconds of an element
_LONGEST = 1 << 28  # 4 * count and the result stay in int32


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """Rows of bits: words uint64 [rows, ceil(length/64)], element k of a row in bit k % 64 of word k // 64.

    Behind the last element are zeros. signed: whether a bit stands for +1 and -1, or for 1 and 0.
    Errors: TypeError for other words, ValueError for a length that they do not hold or bits behind the last element.
    """

    words: NDArray[np.uint64]
    length: int
    signed: bool = True

    def __post_init__(self) -> None:
        words = self.words
        if not isinstance(words, np.ndarray) or words.dtype != np.uint64 or words.ndim != 2:
            raise TypeError("words of a PackedMatrix: give a uint64 array [rows, words of a row]; `pack` makes one")
        if not 0 <= self.length < _LONGEST or words.shape[1] != -(-self.length // 64):
            raise ValueError(
                f"length = {self.length} with {words.shape[1]} words a row: give ceil(length/64) words, length < 2**28"
            )
        if self.length % 64 and (words[:, -1] >> np.uint64(self.length % 64)).any():
            raise ValueError(f"a bit behind element {self.length - 1} is set: give zeros there")

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.words.shape[0])


def pack(x: Any) -> PackedMatrix:
    """The rows of a matrix of +-1: any real dtype [R, K] -> bits, 1 for +1. The columns of a matrix are `pack(x.T)`.

    Errors: TypeError for another dtype, ValueError for other values (the first is named), other shapes, K >= 2**28.
    Source: arXiv 1602.02830, run-time kernels: 1 for +1; the layout is derived.
    """
    return _packed(x, -1)


def pack_bits(x: Any) -> PackedMatrix:
    """The rows of a matrix of 0 and 1: any real or bool dtype [R, K] -> bits. Errors as `pack`.

    Source: derived, as `pack`.
    """
    return _packed(x, 0)


def unpack(packed: PackedMatrix, dtype: Any = np.float32) -> NDArray[Any]:
    """The matrix that was packed: [R, length] of +-1, or of 0 and 1, in any dtype that has them.

    Source: derived, as `pack`.
    """
    octets = packed.words.astype("<u8").view(np.uint8) if packed.length else np.zeros((packed.rows, 0), np.uint8)
    bits = np.unpackbits(octets, axis=1, count=packed.length, bitorder="little").astype(dtype)
    return 2 * bits - np.ones((), dtype) if packed.signed else bits


def _packed(x: Any, low: int) -> PackedMatrix:
    array = as_array(x, "x", "a matrix of numbers")
    given = array
    real = array.dtype.kind in "iu" or (array.dtype.kind == "f" and array.dtype.itemsize <= 8)
    if not real and not (array.dtype == bool and low == 0):
        raise TypeError(f"array of dtype {array.dtype}: give floats or integers that are {low} or 1")
    if array.ndim != 2:
        raise ValueError(f"array of shape {array.shape}: give a matrix, a vector as x[None]")
    if array.shape[1] >= _LONGEST:
        raise ValueError(f"K = {array.shape[1]}: rows are shorter than 2**28; split them and add the products")
    if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        # No other value of 32 bits or more becomes 1, 0 or -1 in float64, nor one of 16 bits in float32.
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    rows, length = array.shape
    words = np.empty((rows, -(-length // 64)), np.uint64)
    columns = array.strides[0] < array.strides[1] and rows > 1  # the transpose of what lies in memory
    loop = xnor.pack_columns if columns else xnor.pack_rows
    source = np.ascontiguousarray(array.T if columns else array)
    bad = threads.run(lambda start, stop: loop(source, low, words, start, stop), rows, _COST * length)
    if any(bad):
        i, k = np.argwhere((array != 1) & (array != low))[0]
        what = "sign(x) gives +-1" if low else "x > 0 gives 0 and 1"
        raise ValueError(f"x[{i}, {k}] = {given[i, k]} is neither {low} nor 1: {what}")
    return PackedMatrix(words, length, low == -1)
