"""Arrays on a device as kernels take them: stacks of matrices of any strides, copies, host copies."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels.cuda import convert, launch
from .kernels.cuda._jit import SIMULATED
from .kernels.cuda.launch import Queue

THREADS = 32 if SIMULATED else 256
AS_IT_IS = -0.0  # added to an element it leaves every one as it is, -0 too
NO_MINUS = 0.0  # and this makes +0 of -0


def stack_of(x: Any, label: str) -> Any:
    """x [..., M, N] on the device as [B, M, N], the same memory.

    Errors: ValueError where its batch dimensions are not one after the other in memory.
    """
    *batch, rows, columns = (int(size) for size in x.shape)
    *steps, down, along = (int(step) for step in x.strides)
    count, stride, whole = 1, x.dtype.itemsize * rows * columns, None
    for size, step in zip(reversed(batch), reversed(steps), strict=True):
        if size == 1:
            continue
        if whole is not None and step != whole:
            raise ValueError(
                f"{label} of shape {x.shape} and strides {x.strides}: its batch dimensions are not one after the other in"
                " memory; make it contiguous"
            )
        stride = step if whole is None else stride
        count, whole = count * size, step * size
    return launch.seen(x, (count, rows, columns), (stride, down, along))


def flat_of(x: Any, queue: Queue) -> Any:
    """The elements of x [B, M, N] in the order of memory; a copy of them where they do not fill a stretch of it."""
    flat = _stretch(x)
    return copied(x, queue).reshape(x.size) if flat is None else flat


def _stretch(x: Any) -> Any | None:
    length = 1
    for stride, size in sorted((int(s), int(n)) for s, n in zip(x.strides, x.shape, strict=True) if n > 1):
        if stride != length * x.dtype.itemsize:
            return None
        length *= size
    return launch.seen(x, (length,), (x.dtype.itemsize,))


def scaled(x: Any, out: Any, shift: int, zero: float, queue: Queue) -> None:
    """out [B, M, N] = x [1 or B, M, N] * 2**shift, which out's type holds exactly; zero: AS_IT_IS or NO_MINUS."""
    half = shift // 2  # each of the two powers is a number, whatever the shift
    kernel = convert.make_scaled(int(out.dtype == np.float64))
    blocks = launch.blocks_for(-(-out.size // THREADS), queue)
    powers = np.float64(2.0**half), np.float64(2.0 ** (shift - half))
    launch.launch(kernel, (blocks,), (THREADS,), queue, x, out, *powers, np.float64(zero))


def copied(x: Any, queue: Queue, *, dtype: Any = None, shift: int = 0, zero: float = AS_IT_IS, batches: int = 0) -> Any:
    """x [B, M, N] times 2**shift, in memory of its own, contiguous; batches: how many, where x has one for all."""
    shape = (batches or int(x.shape[0]), *(int(n) for n in x.shape[1:]))
    out = launch.array(queue.zeros(shape, np.dtype(dtype or x.dtype)))
    scaled(x, out, shift, zero, queue)
    return out


def in_type(x: Any, dtype: Any, queue: Queue) -> Any:
    """x itself, or a copy in another float type, which holds its elements."""
    return x if x.dtype == dtype else copied(x, queue, dtype=dtype)


def host_of(x: Any, shape: tuple[int, ...], queue: Queue) -> NDArray[Any]:
    """x [B, M, N] on the host, contiguous, in another shape."""
    if not bool(x.flags["C_CONTIGUOUS"]):
        x = copied(x, queue)
    return launch.get(x, queue).reshape(shape)


def without_negatives(flat: Any, queue: Queue) -> Any:
    """x [n] with NaN for what is below zero, a new array."""
    out = launch.array(queue.zeros((int(flat.size),), np.dtype(flat.dtype)))
    blocks = launch.blocks_for(-(-flat.size // THREADS), queue)
    nan = np.dtype(flat.dtype).type(np.nan)
    launch.launch(convert.make_without_negatives(), (blocks,), (THREADS,), queue, flat, out, nan)
    return out


def has_negative(flat: Any, queue: Queue) -> bool:
    """Whether an element of x [n] is below zero; waited for."""
    found = queue.zeros((1,), np.dtype(np.int32))
    blocks = launch.blocks_for(-(-flat.size // THREADS), queue)
    launch.launch(convert.make_negative(), (blocks,), (THREADS,), queue, flat, launch.array(found))
    return bool(launch.get(found, queue)[0])
