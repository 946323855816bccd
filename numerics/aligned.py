"""Arrays that begin at a cache line: numpy's begin anywhere in one, where every wide load and store touches two."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels.scratch import LINE


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`numpy.empty`."""
    size = math.prod(shape) * dtype.itemsize
    held = np.empty(size + LINE, np.uint8)
    start = -held.ctypes.data % LINE
    return held[start : start + size].view(dtype).reshape(shape)


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`numpy.zeros`."""
    result = aligned_empty(shape, dtype)
    result[...] = 0
    return result


def aligned_array(x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """x in another dtype, contiguous; the array itself where nothing is to do."""
    if x.dtype == dtype and x.flags.c_contiguous and x.ctypes.data % LINE == 0:
        return x
    return aligned_copy(x, dtype)


def aligned_copy(x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """x in another dtype, contiguous, in memory of its own."""
    result = aligned_empty(x.shape, dtype)
    result[...] = x
    return result
