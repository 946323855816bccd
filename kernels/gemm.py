"""Matrix products whose accumulator is rounded at every step, exactly as declared.

Row-panel form: one row of the output is the vector of accumulators, and the lanes run along it, so that the order in
k is the declared one in every lane and no result depends on tiling or threads. A step never rounds twice: the exact
sum is either rounded by the carrier's own instruction where that is the format, or rounded to odd in the carrier
and then to the format (`carrier.odd_sum`). The caller has proved that products are exact in the carrier.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .carrier import odd_sum, quantize_bits, saturate_bits, unpack
from .modes import NATIVE, NATIVE_IEEE, NO_ROUNDING, UNIFORM
from .primitives import fma, from_bits, to_bits, widest_vectors

TILE = 512  # accumulators of one row that stay in the L1 cache beside their panel of b


@core
def rounded(bits, mode, normalise, facts):
    """The value of `bits` rounded to the format of `facts`, in the form that `mode` asks for."""
    if mode >= UNIFORM:
        return from_bits(saturate_bits(bits, mode, facts))
    return from_bits(quantize_bits(bits, np.uint32(0), mode, normalise, facts))


@core
def add(total, addend, mode, normalise, facts):
    """total + addend, rounded once."""
    if mode == NATIVE_IEEE:
        return total + addend
    bits = to_bits(total + addend) if mode == NATIVE else odd_sum(total, addend, mode)
    return rounded(bits, mode, normalise, facts)


@cache
def make_gemm(mode: int, product_mode: int, outer_mode: int, normalise: int):
    """The stepping product for the rounding modes of sums, products and the combination of chunks.

    mode: a rounding mode (plus a form), NATIVE or NATIVE_IEEE. product_mode: a rounding mode, or NO_ROUNDING for
    exact products. outer_mode: as mode, or NO_ROUNDING for one unbroken chain.
    """

    def gemm(a, b, total, row, product_row, outer_row, chunk, start, stop):
        """total[n, i, :] = chain of a[n, i, :] against b[n, :, :] from total's own values.

        a [Ba, M, K], b [Bb, K, N], total [B, M, N], contiguous; Ba, Bb either B or 1. Rows start <= n*M + i < stop.
        """
        widest_vectors()
        facts, product_facts, outer_facts = unpack(row), unpack(product_row), unpack(outer_row)
        rows, depth, columns = a.shape[1], a.shape[2], b.shape[2]
        part = np.empty(min(TILE, columns), total.dtype)
        for index in range(start, stop):
            batch, i = index // rows, index % rows
            left = a[batch if a.shape[0] > 1 else 0, i]
            right = b[batch if b.shape[0] > 1 else 0]
            for j0 in range(0, columns, TILE):
                j1 = min(j0 + TILE, columns)
                sums = total[batch, i, j0:j1]
                inner = sums if outer_mode == NO_ROUNDING else part[: j1 - j0]
                for k0 in range(0, depth, chunk):
                    if outer_mode != NO_ROUNDING:
                        inner[:] = 0.0
                    for k in range(k0, min(k0 + chunk, depth)):
                        factor, panel = left[k], right[k, j0:j1]
                        for j in range(inner.size):
                            if mode == NATIVE_IEEE and product_mode == NO_ROUNDING:
                                inner[j] = fma(factor, panel[j], inner[j])
                            elif mode == NATIVE and product_mode == NO_ROUNDING:
                                inner[j] = rounded(to_bits(fma(factor, panel[j], inner[j])), NATIVE, 0, facts)
                            else:
                                product = factor * panel[j]
                                if product_mode != NO_ROUNDING:
                                    product = rounded(to_bits(product), product_mode, normalise, product_facts)
                                inner[j] = add(inner[j], product, mode, normalise, facts)
                    if outer_mode != NO_ROUNDING:
                        for j in range(sums.size):
                            sums[j] = add(sums[j], inner[j], outer_mode, normalise, outer_facts)

    return loop(gemm)


@loop
def scan(x: NDArray[Any]) -> tuple[Any, Any, Any]:
    """What decides the exactness of products: OR of all significands, largest and smallest nonzero exponent field.

    x: contiguous [n] bit patterns, uint32 or uint64. The largest field is 255 (2047) where something is not finite;
    the smallest is 0 where a carrier subnormal occurs, and above every field if all elements are zero.
    """
    widest_vectors()
    one = x.dtype.type(1)
    if x.itemsize == 4:
        trailing, fields = x.dtype.type(23), x.dtype.type(0xFF)
    else:
        trailing, fields = x.dtype.type(52), x.dtype.type(0x7FF)
    low = x.dtype.type(x.dtype.type(one << trailing) - one)
    zero = x.dtype.type(0)
    seen, largest, smallest = zero, zero, x.dtype.type(fields + one)
    for i in range(x.size):
        field = x.dtype.type(x.dtype.type(x[i] >> trailing) & fields)
        fraction = x.dtype.type(x[i] & low)
        seen |= fraction
        largest = max(largest, field)
        present = (fraction | field) != zero
        smallest = min(smallest, field) if present else smallest
    return seen, largest, smallest
