"""Operands of products: what is refused, how shapes go together, and stacks of matrices."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def operand(x: Any, label: str) -> NDArray[Any]:
    """x as a float32 or float64 array of matrices, or a sentence that starts with `label`."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{label} is a masked array: its mask would be lost; give x.filled(value)")
    array = np.asarray(x)
    if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        raise TypeError(f"{label} of dtype {array.dtype}: give a float32 or float64 array")
    if array.ndim < 2:
        raise ValueError(f"{label} of shape {array.shape}: give a matrix (dot takes vectors)")
    return array


def addend(c: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """c as a float32 or float64 array that broadcasts to `shape`, not yet broadcast."""
    if isinstance(c, np.ma.MaskedArray):
        raise TypeError("c is a masked array: its mask would be lost; give c.filled(value)")
    array = np.asarray(c)
    if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        raise TypeError(f"c of dtype {array.dtype}: give a float32 or float64 array")
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"c of shape {array.shape} does not broadcast to the result's {shape}")
    return array


def result_shape(a: NDArray[Any], b: NDArray[Any]) -> tuple[int, ...]:
    """Shape of a @ b. Errors: ValueError for dimensions that do not match or broadcast."""
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"a {a.shape} and b {b.shape} do not match: a's last dimension {a.shape[-1]} against"
            f" b's last but one {b.shape[-2]}"
        )
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"batch dimensions {a.shape[:-2]} and {b.shape[:-2]} do not broadcast") from None
    return (*batch, a.shape[-2], b.shape[-1])


def stack(x: NDArray[Any], batch: tuple[int, ...]) -> NDArray[Any]:
    """x [..., rows, columns] as [1 or batch size, rows, columns], a view where that is possible."""
    matrix = x.shape[-2:]
    if all(size == 1 for size in x.shape[:-2]):
        return x.reshape(1, *matrix)
    size = int(np.prod(batch))
    return np.broadcast_to(x, (*batch, *matrix)).reshape(size, *matrix)
