"""Codepoints to values: a table look-up where the table is small, the format's own formula elsewhere."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import ElementFormat
from .kernels import elementwise, threads

WIDEST_TABLE = 16  # bits of the widest codes that are looked up
GRAIN = 1 << 16


def decode_into(fmt: ElementFormat, codes: NDArray[Any], out: NDArray[Any]) -> None:
    """out[...] = values of codes[...]; out float32 or float64 of the same shape, of a dtype that holds the format.

    Errors: TypeError for codes that are not integers, ValueError for a code out of range.
    """
    if fmt.bits > WIDEST_TABLE or codes.dtype.kind != "u":
        out[...] = fmt.decode(codes)
        return
    if codes.dtype.itemsize * 8 > fmt.bits and codes.size and int(codes.max()) >> fmt.bits:
        fmt.decode(codes)  # raises the sentence about the first code out of range
    table = value_table(fmt, out.dtype.name)
    flat_in = np.ascontiguousarray(codes).reshape(-1)
    flat_out = out.reshape(-1) if out.flags.c_contiguous else np.empty(codes.size, out.dtype)
    threads.run(lambda i, j: elementwise.look_up(flat_in, table, flat_out, i, j), codes.size, GRAIN)
    if not out.flags.c_contiguous:
        out[...] = flat_out.reshape(out.shape)


@lru_cache(maxsize=256)
def value_table(fmt: ElementFormat, dtype: str) -> NDArray[Any]:
    """The values of all codes of a format of few bits."""
    table: NDArray[Any] = np.asarray(fmt.decode(np.arange(1 << fmt.bits, dtype=np.uint64)), dtype=dtype)
    table.setflags(write=False)
    return table
