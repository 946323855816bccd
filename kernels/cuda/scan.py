"""What decides the exactness of a product, found where the operand is: one number of each kind for a whole array."""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from ..scan import read
from ._jit import SIMULATED, device, kernel

THREADS = 8 if SIMULATED else 256  # of a block; a power of two


@cache
def make_scan(double: int) -> Any:
    """The kernel for bit patterns of float32, or of float64."""
    bits = np.uint64 if double else np.uint32
    of_one = device(lambda x: read(x))
    either, larger, smaller = (
        device(lambda x, y: bits(x | y)),
        device(lambda x, y: max(x, y)),
        device(lambda x, y: min(x, y)),
    )

    def scan(x, found):
        """found[0] |= significands, [1] = max of magnitudes, [2] = min of places, [3] |= any -0, as `..scan.scan` of x.

        x: bit patterns [n]; found: the same type [4], at first what `..scan.scan` says of an empty array. THREADS a block.
        """
        held = cuda.shared.array((4, THREADS), bits)
        thread = cuda.threadIdx.x
        seen, largest, lowest, minus = of_one(bits(0))
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            fraction, magnitude, place, negative = of_one(x[i])
            seen, largest = either(seen, fraction), larger(largest, magnitude)
            lowest, minus = smaller(lowest, place), either(minus, negative)
        held[0, thread], held[1, thread], held[2, thread], held[3, thread] = seen, largest, lowest, minus
        cuda.syncthreads()
        half = THREADS // 2
        while half > 0:
            if thread < half:
                other = thread + half
                held[0, thread] = either(held[0, thread], held[0, other])
                held[1, thread] = larger(held[1, thread], held[1, other])
                held[2, thread] = smaller(held[2, thread], held[2, other])
                held[3, thread] = either(held[3, thread], held[3, other])
            half //= 2
            cuda.syncthreads()
        if thread == 0:
            cuda.atomic.or_(found, 0, held[0, 0])
            cuda.atomic.max(found, 1, held[1, 0])
            cuda.atomic.min(found, 2, held[2, 0])
            cuda.atomic.or_(found, 3, held[3, 0])

    return kernel(scan)
