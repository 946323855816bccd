"""Operands cut into slices of integers whose matrix products are exact, and the sums of these products."""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .aligned import contiguous
from .kernels import slices, threads
from .problem import Problem

ROOM = 52  # bits of the sum of pairs of slices: the bit left lets a carry be added
SHORT_BITS = 51  # of products that are gathered in words, many at a time
_COST = 0.8  # nanoseconds of an element of all slices
_PANEL = 1 << 17  # sums of products that are held at a time


class Cut(NamedTuple):
    """Slices of a and b: how many, their bits, and how many products are added at a time."""

    a: int
    b: int
    width: int
    block: int
    overflows: bool  # the uppermost sums over all blocks need a plane more
    units_a: NDArray[np.int64]  # exponents of the units of the lowest slices, of all a [1] or of its rows [B*M]
    units_b: NDArray[np.int64]  # likewise of b's columns

    @property
    def passes(self) -> int:
        """Matrix products."""
        return self.a * self.b

    @property
    def offsets(self) -> list[int]:
        """Exponents of the units of the sums of pairs, in those of the lowest pair."""
        units = [w * self.width for w in range(self.a + self.b - 1)]
        return [*units, units[-1] + ROOM // 2] if self.overflows else units


def flat_rows(x: NDArray[Any]) -> NDArray[np.float64]:
    """[B, M, K] float32 or float64 as contiguous float64 [B*M, K]."""
    return contiguous(x, np.float64).reshape(-1, x.shape[2])


def flat_columns(x: NDArray[Any]) -> NDArray[np.float64]:
    """[B, K, N] as contiguous float64 [B*N, K]: its columns."""
    return contiguous(x.swapaxes(1, 2), np.float64).reshape(-1, x.shape[1])


def over_rows(part: Callable[[int, int], Any], rows: int, columns: int) -> None:
    """part(start, stop) over the rows of an output of so many columns."""
    threads.run(part, rows, _COST * columns)


class Sliced:
    """The slices of a product's operands; units_a, units_b: those of the cut, for every row and column."""

    def __init__(self, problem: Problem, cut: Cut) -> None:
        self.cut = cut
        self.shape = problem.shape
        self.batches = problem.a.shape[0], problem.b.shape[0]
        self.offsets = np.array(cut.offsets)
        self.units_a, self._a, self._used_a, self.units_b, self._b, self._used_b = _slices(problem, cut)

    @property
    def lowest(self) -> int:
        """Exponent of the lowest unit of a product."""
        return int(self.units_a.min() + self.units_b.min())

    @property
    def highest(self) -> int:
        """A bound on the exponents of sums."""
        return int(self.units_a.max() + self.units_b.max() + self.offsets[-1]) + ROOM + 2

    def units(self, batch: int, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The units of rows [first, last) of a batch's output, and of its columns."""
        a = (self.batches[0] > 1) * batch * self.shape[1]
        b = (self.batches[1] > 1) * batch * self.shape[2]
        return self.units_a[a + first : a + last], self.units_b[b : b + self.shape[2]]

    def each_panel(self, use: Callable[[int, int, int, NDArray[np.float64]], None]) -> None:
        """use(batch, first, last, planes) for rows [first, last) of each output.

        planes [W, last - first, N]: integers of less than 53 bits in units of 2**offsets[w] and the row's and column's.
        """
        batches, rows, columns = self.shape
        step = min(rows, max(1, _PANEL // (columns * len(self.offsets))))
        room = np.empty((len(self.offsets) + 1, step, columns))
        for batch in range(batches):
            for first in range(0, rows, step):
                last = min(first + step, rows)
                planes = room[:-1, : last - first]
                self._fill(planes, room[-1, : last - first], batch, first)
                use(batch, first, last, planes)

    def _fill(self, planes: NDArray[np.float64], other: NDArray[np.float64], batch: int, first: int) -> None:
        """planes [W, R, N] for R rows from `first`; other [R, N]: room for a product."""
        _, rows, columns = planes.shape
        depth = self._a.shape[2]
        a = (self.batches[0] > 1) * batch * self.shape[1] + first
        b = batch if self.batches[1] > 1 else 0
        filled = [False] * len(planes)
        for k in range(0, depth, self.cut.block):
            some = slice(k, k + self.cut.block)
            for s, t in product(self._used_a, self._used_b):
                out = other if filled[s + t] else planes[s + t]
                np.matmul(self._a[s, a : a + rows, some], self._b[t, b, some], out=out)
                if filled[s + t]:
                    planes[s + t] += other
                filled[s + t] = True
            for plane, done in zip(planes, filled, strict=True):
                if not done:
                    plane[...] = 0.0
            filled = [True] * len(planes)
            if self.cut.block < depth:
                over_rows(lambda i, j: slices.settle_planes(planes, self.offsets, 0, i, j), rows, columns)


class _Side(NamedTuple):
    """One operand on its way: its rows, their units, and room for their slices."""

    rows: NDArray[Any]
    units: NDArray[np.int64]
    scale: NDArray[np.float64]  # by two factors, each of them in range
    rescale: NDArray[np.float64]
    slices: NDArray[np.float64]  # [count, R, n]

    def split(self, width: int, start: int, stop: int) -> int:
        """Fill in the slices of some rows; which slices are not zero there."""
        return int(slices.split(self.rows, self.scale, self.rescale, width, self.slices, start, stop))


def _side(rows: NDArray[Any], units: NDArray[np.int64], count: int) -> _Side:
    units = np.ascontiguousarray(np.broadcast_to(units, len(rows)))
    half = -units // 2
    found = np.empty((count, *rows.shape))
    return _Side(rows, units, np.ldexp(1.0, half), np.ldexp(1.0, -units - half), found)


def _rows(x: NDArray[Any]) -> NDArray[Any]:
    """[B, M, K] as contiguous [B*M, K]."""
    return contiguous(x, x.dtype).reshape(-1, x.shape[2])


def _slices(problem: Problem, cut: Cut) -> tuple[Any, ...]:
    """Of a: (the units of its rows [B*M], slices [count, B*M, K], which of them are not zero); of b likewise.

    b: the units of its columns [B*N], slices [count, B, K, N]. Both are cut in one go: the loop is a short one.
    """
    batches, depth, columns = problem.b.shape
    own = len(cut.units_b) > 1  # units of columns; else all have one, and b is cut as it lies
    a = _side(_rows(problem.a), cut.units_a, cut.a)
    b = _side(flat_columns(problem.b) if own else _rows(problem.b), cut.units_b, cut.b)
    first = len(a.rows)

    def part(start: int, stop: int) -> int:
        left = a.split(cut.width, start, min(stop, first)) if start < first else 0
        right = b.split(cut.width, max(start, first) - first, stop - first) if stop > first else 0
        return left | right << cut.a

    rows = first + len(b.rows)
    used = threads.run_flags(part, rows, _COST * (a.rows.size + b.rows.size) / rows)
    of_a, of_b = ([s for s in range(n) if flags >> s & 1] for n, flags in ((cut.a, used), (cut.b, used >> cut.a)))
    found = b.slices.reshape(cut.b, batches, columns, depth).swapaxes(2, 3) if own else b.slices
    units_b = b.units if own else np.repeat(cut.units_b, batches * columns)
    return a.units, a.slices, of_a, units_b, found.reshape(cut.b, batches, depth, columns), of_b
