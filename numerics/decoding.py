"""Codepoints to values: by the fields of a code, else by a table where that is small, else by the format's own formula."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import ElementFormat, FixedFormat, FloatFormat, Subnormals
from .kernels import decode, elementwise, threads

WIDEST_TABLE = 16  # bits of the widest codes that are looked up
_COST = 0.2  # nanoseconds of an element

#: (codes, out, start, stop) -> None
Decoder = Callable[[NDArray[Any], NDArray[Any], int, int], None]


def decode_into(fmt: ElementFormat, codes: NDArray[Any], out: NDArray[Any]) -> None:
    """out[...] = values of codes[...]; out float32 or float64 of the same shape, of a dtype that holds the format.

    Errors: TypeError for codes that are not integers, ValueError for a code out of range.
    """
    native = codes.dtype.kind == "u" and codes.dtype.isnative  # as the loops want them
    decoder = decoder_of(fmt, out.dtype.name) if native else None
    if decoder is None:
        out[...] = fmt.decode(codes)
        return
    if codes.dtype.itemsize * 8 > fmt.bits and codes.size and int(codes.max()) >> fmt.bits:
        fmt.decode(codes)  # raises the sentence about the first code out of range
    flat_in = np.ascontiguousarray(codes).reshape(-1)
    flat_out = out.reshape(-1) if out.flags.c_contiguous else np.empty(codes.size, out.dtype)
    threads.run(lambda i, j: decoder(flat_in, flat_out, i, j), codes.size, _COST)
    if not out.flags.c_contiguous:
        out[...] = flat_out.reshape(out.shape)


@lru_cache(maxsize=256)
def decoder_of(fmt: ElementFormat, dtype: str) -> Decoder | None:
    """The loop for arrays of unsigned codes, None where there is none but the format's formula."""
    if isinstance(fmt, FloatFormat):
        row = float_row(fmt, dtype)
        if row is not None:
            return lambda codes, out, start, stop: decode.decode_floats(codes, out, row, start, stop)
    if isinstance(fmt, FixedFormat) and fmt.bits <= WIDEST_TABLE and -100 <= fmt.fraction_bits <= 100:
        sign = 1 << (fmt.bits - 1) if fmt.signed else 0
        return lambda codes, out, start, stop: decode.decode_integers(codes, out, sign, fmt.quantum, start, stop)
    if fmt.bits <= WIDEST_TABLE:
        table = value_table(fmt, dtype)
        return lambda codes, out, start, stop: elementwise.look_up(codes, table, out, start, stop)
    return None


def float_row(fmt: FloatFormat, dtype: str) -> NDArray[Any] | None:
    """The row of `kernels.decode`; None for formats without a sign or gradual underflow and below the carrier's normals.

    Everything else is an exponent field that is moved and biased, which is exact where the carrier holds the format.
    """
    width, trailing, bias = (32, 23, 127) if dtype == "float32" else (64, 52, 1023)
    gradual = fmt.signed and fmt.subnormals is Subnormals.GRADUAL
    base = fmt.emin - 1 + bias  # the carrier's exponent field of a code whose own field is 0
    if not gradual or fmt.mantissa_bits > trailing or not base >= 0 or fmt.emax > bias:
        return None
    sign = 1 << (fmt.bits - 1)
    negative_zero = sign if fmt.has_nan and fmt.nan_code == sign else (1 << width) - 1
    row = np.empty(decode.ROW_LENGTH, f"uint{width}")
    for slot, value in (
        (decode.SIGN, sign),
        (decode.NORMAL, 1 << fmt.mantissa_bits),
        (decode.LAST, fmt.largest_code),
        (decode.INFINITY, sign if fmt.infinity_code is None else fmt.infinity_code),
        (decode.NAN, negative_zero),
        (decode.SHIFT, trailing - fmt.mantissa_bits),
        (decode.BASE, base << trailing),
        (decode.ONE, 1 << trailing),
        (decode.ORIGIN, (base + 1) << trailing),
        (decode.TO_SIGN, width - fmt.bits),
    ):
        row[slot] = value
    return row


@lru_cache(maxsize=256)
def value_table(fmt: ElementFormat, dtype: str) -> NDArray[Any]:
    """The values of all codes of a format of few bits."""
    table: NDArray[Any] = np.asarray(fmt.decode(np.arange(1 << fmt.bits, dtype=np.uint64)), dtype=dtype)
    table.setflags(write=False)
    return table
