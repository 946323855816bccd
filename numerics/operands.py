"""Operands of products: what is refused, how shapes go together, and stacks of matrices."""

import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .parameters import NATIVE, remedy


class Operands(NamedTuple):
    """Operands as the caller gave them, checked: a [..., M, K], b [..., K, N], or vectors [K]; c; the result's shape."""

    a: NDArray[Any]
    b: NDArray[Any]
    c: NDArray[Any] | None
    shape: tuple[int, ...]

    @property
    def depth(self) -> int:
        """K, the number of products of an output."""
        return int(self.a.shape[-1])


def matrices(a: Any, b: Any, c: Any) -> Operands:
    """Operands of a product of matrices. Errors: TypeError, ValueError, as `numerics.matmul`."""
    left, right = operand(a, "a"), operand(b, "b")
    shape = result_shape(left, right)
    return Operands(left, right, None if c is None else addend(c, shape), shape)


def vectors(a: Any, b: Any, c: Any) -> Operands:
    """Operands of a dot product, whose result has no dimensions. Errors: TypeError, ValueError, as `numerics.dot`."""
    left, right = floats(a, "a"), floats(b, "b")
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(f"dot of shapes {left.shape} and {right.shape}: give two vectors of one length, or use matmul")
    start = None if c is None else floats(c, "c")
    if start is not None and start.ndim:
        raise ValueError(f"c of shape {start.shape}: the sum of a dot product is one number, and so is c")
    return Operands(left, right, start, ())


def as_array(x: Any, label: str, wanted: str) -> NDArray[Any]:
    """x as an array, or a sentence that starts with `label` and says what is wanted."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{label} is a masked array: its mask would be lost; give {label}.filled(value)")
    try:
        return unlocked(np.asarray(x))
    except ValueError as error:
        raise ValueError(f"{label} is no array, its rows differ in length or depth: give {wanted}") from error
    except (TypeError, RuntimeError) as error:  # another library's: of a type that numpy lacks, or with a gradient
        raise TypeError(f"{label} of type {type(x).__name__} is no array of numpy ({error}): give {wanted}") from error


def unlocked(x: NDArray[Any]) -> NDArray[Any]:
    """x, or where it is read-only the same memory as an array that is not; never handed out.

    Loops, which write to no operand, would be compiled once more for read-only ones.
    """
    if x.flags.writeable or x.dtype.isbuiltin != 1 or x.dtype.kind not in "biuf":
        return x
    interface = x.__array_interface__
    memory = SimpleNamespace(__array_interface__={**interface, "data": (interface["data"][0], False)}, owner=x)
    return np.asarray(memory)


def floats(x: Any, label: str) -> NDArray[Any]:
    """x as a float32 or float64 array of any shape, or a sentence that starts with `label`."""
    array = as_array(x, label, "a float32 or float64 array")
    if array.dtype not in NATIVE:
        raise TypeError(f"{label} of dtype {array.dtype}: give a float32 or float64 array ({remedy(array.dtype)})")
    return array


def operand(x: Any, label: str) -> NDArray[Any]:
    """x as a float32 or float64 array of matrices, or a sentence that starts with `label`."""
    array = floats(x, label)
    if array.ndim < 2:
        raise ValueError(f"{label} of shape {array.shape}: give a matrix (dot takes vectors)")
    return array


def addend(c: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """c as a float32 or float64 array that broadcasts to `shape`, not yet broadcast."""
    array = floats(c, "c")
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
    whole = x if x.shape[:-2] == batch else np.broadcast_to(x, (*batch, *matrix))  # the latter is read-only
    return whole.reshape(math.prod(batch), *matrix)
