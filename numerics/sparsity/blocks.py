"""Arrays as blocks of m along an axis, and back; what the masks refuse."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats.integers import whole
from ..operands import as_array
from ..parameters import check_dtype
from ..quantizer import array_out

LARGEST_BLOCK = 1 << 16


def check_pattern(n: Any, m: Any) -> tuple[int, int]:
    """(n, m) as integers, or a sentence about what is wrong with them."""
    keep, size = whole(n), whole(m)
    if keep is None or size is None:
        raise TypeError(f"n = {n!r}, m = {m!r}: give integers, n of each m elements are kept")
    if not 1 <= keep <= size <= LARGEST_BLOCK:
        raise ValueError(f"n = {keep}, m = {size}: give 1 <= n <= m <= {LARGEST_BLOCK}, n of each m elements are kept")
    return keep, size


def check_method(method: Any, n: int, methods: tuple[str, ...]) -> str:
    """The method, one of those offered; 'approximate' and 'sequential' are for n = 2."""
    if method not in methods:
        raise ValueError(f"method = {method!r}: give {' or '.join(map(repr, methods))}")
    if method in ("approximate", "sequential") and n != 2:
        raise ValueError(f"method {method!r} with n = {n}: it is two draws; give n = 2, or method='exact'")
    return str(method)


class Blocks(NamedTuple):
    """An array cut into blocks of m along an axis, the last one filled up with zeros."""

    shape: tuple[int, ...]
    axis: int
    m: int

    @property
    def along(self) -> int:
        """How many blocks there are along the axis."""
        return -(-self.shape[self.axis] // self.m)

    @property
    def _lies_ready(self) -> bool:
        """Whether whole blocks follow one another in the array's own order."""
        return self.axis == len(self.shape) - 1 and self.shape[-1] % self.m == 0

    @property
    def words_shape(self) -> tuple[int, ...]:
        """The array's shape with the blocks in place of the axis."""
        return (*self.shape[: self.axis], self.along, *self.shape[self.axis + 1 :])

    def cut(self, x: NDArray[Any]) -> NDArray[Any]:
        """x [shape] -> contiguous [blocks, m], a view of x where it can be; the other axes first, in their order."""
        if self._lies_ready:
            return np.ascontiguousarray(x).reshape(-1, self.m)
        last = np.moveaxis(x, self.axis, -1)
        short = -last.shape[-1] % self.m
        if short:
            last = np.concatenate([last, np.zeros((*last.shape[:-1], short), x.dtype)], axis=-1)
        return np.ascontiguousarray(last).reshape(-1, self.m)

    def target(self, x: NDArray[Any], blocks: NDArray[Any], out: NDArray[Any] | None) -> NDArray[Any]:
        """Where the results of blocks go: the memory of `out` if it has their order and the input is not in it."""
        if out is not None:
            array_out(out, x, x.dtype)
            ordered = self.axis == x.ndim - 1 and out.flags.c_contiguous and x.shape[-1] % self.m == 0
            if ordered and not np.may_share_memory(out, blocks):
                return out.reshape(-1, self.m)
        return np.empty_like(blocks)

    def join(self, blocks: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """[blocks, m] -> [shape], contiguous, or `out`."""
        if out is None and self._lies_ready:
            return blocks.reshape(self.shape)
        others = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        last = blocks.reshape(*others, self.along * self.m)[..., : self.shape[self.axis]]
        if out is None:
            return np.ascontiguousarray(np.moveaxis(last, -1, self.axis))
        if not np.may_share_memory(last, out):
            out[...] = np.moveaxis(last, -1, self.axis)
        return out

    def per_block(self, values: NDArray[Any]) -> NDArray[Any]:
        """One value a block, in the order of `cut` -> [words_shape]."""
        others = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        return np.ascontiguousarray(np.moveaxis(values.reshape(*others, self.along), -1, self.axis))

    def in_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """[words_shape] -> [blocks] in the order of `cut`."""
        return np.ascontiguousarray(np.moveaxis(values, self.axis, -1)).reshape(-1)


def blocks_of(x: Any, m: int, axis: Any) -> tuple[NDArray[Any], Blocks]:
    """(x as an array, how it is cut), or a sentence about its dtype or the axis."""
    array = as_array(x, "x", "a float32 or float64 array")
    check_dtype(array.dtype)
    number = whole(axis)
    if number is None:
        raise TypeError(f"axis = {axis!r}: give an integer")
    if not -array.ndim <= number < array.ndim:
        raise ValueError(f"axis = {number} for x of shape {array.shape}: give one of its {array.ndim} axes")
    return array, Blocks(array.shape, number % array.ndim, m)


def refuse_not_finite(x: NDArray[Any]) -> None:
    """A sentence about the first NaN or infinity, if there is one."""
    finite = np.isfinite(x)
    if np.count_nonzero(finite) != x.size:
        first = int(np.argmin(finite))
        raise ValueError(f"{x.flat[first]} at element {first} has no share of a block: replace it before masking")
