"""Codes to values where no table holds them: wide codes by their fields, and elements under the scales of blocks."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..block import under_scale
from ..decode import ROW_LENGTH, value_bits
from ..primitives import from_bits
from ._jit import device, kernel

F32, F64, I64, U32, U64 = np.float32, np.float64, np.int64, np.uint32, np.uint64


@cache
def make_floats(double: int) -> Any:
    """The kernel for float formats that have a row of `..decode`, to float64 or float32."""
    bits = U64 if double else U32
    value_of = device(lambda code, facts: from_bits(value_bits(bits(code), facts)))
    within = device(lambda code, largest: code <= largest)
    facts_of = device(
        lambda row: (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9]),
    )
    assert ROW_LENGTH == 10

    def floats(codes, out, rows, largest, flags):
        """out[i] = the value of codes[i], contiguous [n]; rows: (the row,); flags[0] = 1 if a code is above
        `largest`, which is of their type.
        """
        facts = facts_of(rows[0])
        for i in range(cuda.grid(1), codes.size, cuda.gridsize(1)):
            if within(codes[i], largest):
                out[i] = value_of(codes[i], facts)
            else:
                flags[0] = 1

    return kernel(floats)


@cache
def make_integers() -> Any:
    """The kernel for fixed point of up to 53 bits of a magnitude."""
    value_of = device(lambda code, sign, quantum: F64(I64(U64(code) ^ sign) - I64(sign)) * quantum)
    within = device(lambda code, largest: code <= largest)

    def integers(codes, out, sign, quantum, largest, flags):
        """out[i] = codes[i] in two's complement times quantum, a power of two, which out's type holds.

        sign: the sign bit or 0, uint64. The rest as for floats.
        """
        for i in range(cuda.grid(1), codes.size, cuda.gridsize(1)):
            if within(codes[i], largest):
                out[i] = value_of(codes[i], sign, quantum)
            else:
                flags[0] = 1

    return kernel(integers)


@cache
def make_under_scales(double: int) -> Any:
    """The kernel that multiplies elements by the scales of their blocks, into float64 or float32."""
    kind = F64 if double else F32
    factor_of = device(lambda scale: abs(F64(scale)))
    of_tensor = device(lambda scale, tensor: F64(F32(scale) * tensor))
    product = device(lambda value, factor, infinite: kind(under_scale(F64(value), factor, infinite)))
    lost = device(lambda value, result: (abs(result) == kind(np.inf)) & (abs(F64(value)) < F64(np.inf)))

    def under_scales(values, scales, out, tensor, scaled, infinite, length, flags):
        """out[p, q, c] = values[p, q, c] * the scale of its block of `length` along the last axis, rounded once.

        values, out [P, Q, C], scales float64 [P, Q, blocks], any strides; out may be values. tensor: float32, by which
        scales are multiplied in float32 if scaled. infinite: whether an infinite element is so under a scale of zero too.
        flags[0] = 1 if a finite element has no finite value in out's type.
        """
        rows, columns = values.shape[1], values.shape[2]
        for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
            p, q, c = i // (rows * columns), i // columns % rows, i % columns
            factor = factor_of(scales[p, q, c // length])
            if scaled:
                factor = of_tensor(factor, tensor)
            value = values[p, q, c]
            result = product(value, factor, infinite)
            if lost(value, result):
                flags[0] = 1
            out[p, q, c] = result

    return kernel(under_scales)
