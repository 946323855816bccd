"""Arrays that begin at a cache line: numpy's begin anywhere in one, where every wide load and store touches two."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import threads
from .kernels.scratch import LINE

COPY_COST, _TURN_COST = 0.2, 2.0  # nanoseconds of an element: in the order of memory, and across it


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
    _fill(result, x)
    return result


def contiguous(x: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """`numpy.ascontiguousarray`, by all threads; of a dtype that holds x."""
    if x.dtype == dtype and x.flags.c_contiguous:
        return x
    result = np.empty(x.shape, dtype)
    _fill(result, x)
    return result


def _fill(result: NDArray[Any], x: NDArray[Any]) -> None:
    """result[...] = x, in pieces along its longest axis but the last."""
    if x.ndim < 2 or x.size == 0:
        result[...] = x
        return
    axis = int(np.argmax(x.shape[:-1]))
    into, source = result.swapaxes(0, axis), x.swapaxes(0, axis)

    def part(start: int, stop: int) -> None:
        into[start:stop] = source[start:stop]

    cost = COPY_COST if x.strides[-1] == x.itemsize else _TURN_COST
    threads.run(part, len(source), cost * x.size / len(source))
