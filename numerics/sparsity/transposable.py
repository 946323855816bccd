"""Masks that are N:M along both axes, so that a matrix and its transpose are both sparse.

Source: Hubara, Chmiel, Island, Banner, Naor, Soudry, arXiv 2102.08124. Its mask diversity M! (M-1)! ... (M-N+1)!, read in
secondary sources, counts too many: 144 for 2:4, where there are 90. The greedy rule is known from such sources as well;
that it prunes at most twice the optimum is tested here against all masks.
"""

from collections.abc import Iterator
from functools import cache
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import threads, transposable
from ..kernels.scan import scan
from ..operands import as_array
from ..parameters import carrier_of, check_dtype
from .blocks import check_method, check_pattern, refuse_not_finite

_COST = 2000.0  # nanoseconds of a tile


def transposable_mask(w: Any, n: int = 2, m: int = 4, *, method: str = "exact") -> NDArray[np.bool_]:
    """Which elements of w to keep: float32 or float64 [R, C] -> bool [R, C]; n in each row and column of each m x m tile.

    "exact": the largest sum of kept magnitudes, as exact numbers; which of several such masks is fixed, but no rule.
    "greedy": the smallest magnitudes go first, each whose row or column is not yet pruned to n; the sum pruned is at most
    twice the least possible, and a row or column may keep fewer than n. Tiles at the border count as filled up with zeros,
    and their rows and columns keep at most n. m^3 n steps a tile.
    Errors: TypeError for other dtypes; ValueError for NaN and infinities, w that is no matrix, an impossible n, m, method.
    Source: arXiv 2102.08124.
    """
    n, m = check_pattern(n, m)
    check_method(method, n, ("exact", "greedy"))
    array = as_array(w, "w", "a float32 or float64 array")
    check_dtype(array.dtype)
    if array.ndim != 2:
        raise ValueError(f"w of shape {array.shape}: give a matrix")
    top, last = _ends(array)
    rows, columns = -(-array.shape[0] // m), -(-array.shape[1] // m)
    sizes = np.abs(array).astype(np.float64, copy=False)
    if array.shape != (rows * m, columns * m):
        whole = np.zeros((rows * m, columns * m))
        whole[: array.shape[0], : array.shape[1]] = sizes
        sizes = whole
    one = rows == columns == 1
    tiles = sizes[None] if one else sizes.reshape(rows, m, columns, m).swapaxes(1, 2).reshape(-1, m, m)
    tiles = np.ascontiguousarray(tiles)
    kept = np.zeros(tiles.shape, np.bool_)

    def part(start: int, stop: int) -> None:
        if method == "greedy":
            order = np.argsort(tiles[start:stop].reshape(-1, m * m), axis=1, kind="stable")
            transposable.keep_greedily(order, kept[start:stop], n)
        else:
            _keep_most(tiles[start:stop], kept[start:stop], n, top, last)

    threads.run(part, len(tiles), _COST)
    if array.shape == (m, m):
        only: NDArray[np.bool_] = kept[0]
        return only
    joined = kept[0] if one else kept.reshape(rows, columns, m, m).swapaxes(1, 2).reshape(sizes.shape)
    return np.ascontiguousarray(joined[: array.shape[0], : array.shape[1]])


def _ends(array: NDArray[Any]) -> tuple[int, int]:
    """(the exponent of the largest magnitude plus one, that of the lowest bit that is set in any); refuses infinities."""
    carrier = carrier_of(array.dtype)
    _, most, last, _ = scan(np.ascontiguousarray(array).reshape(-1).view(carrier.unsigned))
    field = most >> (carrier.precision - 1)
    if field > carrier.emax - carrier.emin + 1:
        refuse_not_finite(array)
    top = field + carrier.emin if field else most.bit_length() + carrier.quantum_exponent
    return top, last + carrier.quantum_exponent - 1


def _keep_most(tiles: NDArray[np.float64], kept: NDArray[np.bool_], n: int, top: int, last: int) -> None:
    """In 64-bit integers where they hold the tile or prove the mask; else in Python's. top, last: `_ends` of all tiles."""
    m = tiles.shape[1]
    bits = 60 - (4 * m).bit_length()
    if len(tiles) == 1:
        scaled = np.ldexp(tiles, bits - top)
    else:
        tops = np.frexp(np.maximum.reduce(tiles.reshape(len(tiles), m * m), axis=1))[1]
        scaled = np.ldexp(tiles, (bits - tops)[:, None, None])
    weights = scaled.astype(np.int64)  # rounds toward zero
    transposable.keep_most(weights, kept, n)
    if last + bits >= top:  # then there was nothing to round
        return
    cut = weights != scaled
    if not np.count_nonzero(cut):
        return
    slack = cut.any(axis=(1, 2)).astype(np.int64)
    sure = np.empty(len(tiles), np.bool_)
    transposable.proven(weights, slack, kept, sure)
    for t in np.flatnonzero(~sure):
        exact = [value.as_integer_ratio() for value in tiles[t].ravel().tolist()]
        unit = max(below for _, below in exact)
        whole = np.array([above * (unit // below) for above, below in exact], object).reshape(1, m, m)
        kept[t] = False
        transposable.keep_most.py_func(whole, kept[t : t + 1], n)  # type: ignore[attr-defined]


def transposable_mask_count(n: int, m: int) -> int:
    """How many m x m masks keep n in each row and each column: 90 for 2 of 4, 116,963,796,250 for 4 of 8. Exact.

    Errors: ValueError for an n that is not in 1 ... m.
    Source: counted; the product M! (M-1)! ... (M-N+1)! of arXiv 2102.08124 gives 144 for 2 of 4.
    """
    n, m = check_pattern(n, m)
    return _fillings(m, n, (0,) * n + (m,))


@cache
def _fillings(rows: int, n: int, columns: tuple[int, ...]) -> int:
    """Ways to fill so many rows, n in each, columns[r] being the number of columns that still take r."""
    if rows == 0:
        return int(not any(columns[1:]))
    total = 0
    for taken in _choices(columns[1:], n):
        ways, after = 1, list(columns)
        for r, count in enumerate(taken, start=1):
            ways *= comb(columns[r], count)
            after[r] -= count
            after[r - 1] += count
        total += ways * _fillings(rows - 1, n, tuple(after))
    return total


def _choices(limits: tuple[int, ...], total: int) -> Iterator[tuple[int, ...]]:
    """Tuples of numbers up to the limits that add up to total."""
    if not limits:
        if total == 0:
            yield ()
        return
    for first in range(min(limits[0], total) + 1):
        for rest in _choices(limits[1:], total - first):
            yield (first, *rest)
