"""Means and norms of rows, from sums that are exact before they are rounded.

A sum is the exact one, rounded once, so that no order, layout, thread or device changes it, and the mean of equal
numbers is that number. Squares are those of the row divided by the power of two above its largest magnitude, rounded to
float64: nothing overflows, and what underflows is under 2**-1000 of the result.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats.integers import whole
from .operands import floats

Rows = NDArray[np.float64]

_DIGIT = 31  # bits of a digit: int64 holds the sum of 2**32 of them


def finite(x: Any, label: str = "x") -> NDArray[Any]:
    """x as a float32 or float64 array of finite numbers, or a sentence that names the first that is none."""
    array = floats(x, label)
    good = np.isfinite(array)
    if not good.all():
        where = int(np.argmin(good.reshape(-1)))
        raise ValueError(f"{label} has {array.reshape(-1)[where]} at element {where}: give finite numbers")
    return array


def checked_axes(axis: Any, ndim: int, label: str = "axis") -> tuple[int, ...]:
    """One axis, or several, counted from 0 and ascending; or a sentence that names the wrong one."""
    given = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    axes = []
    for one in given:
        number = whole(one)
        if number is None:
            raise TypeError(f"{label} = {one!r}: give an integer or several")
        if not -ndim <= number < ndim:
            raise ValueError(f"{label} = {number}: the array has {ndim} dimensions, 0 to {ndim - 1}")
        axes.append(number % ndim)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{label} = {given}: an axis is named twice")
    return tuple(sorted(axes))


def rows_along(x: NDArray[Any], axes: tuple[int, ...]) -> tuple[Rows, tuple[int, ...]]:
    """(the elements along `axes`, in C order of them, as float64 [rows, n]; the shape of one figure a row, kept axes)."""
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    count = math.prod(x.shape[i] for i in kept)
    size = math.prod(x.shape[i] for i in axes)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return x.transpose(*kept, *axes).reshape(count, size).astype(np.float64), shape


def rows_of_channels(x: NDArray[Any], axis: int | None) -> tuple[Rows, tuple[int, ...]]:
    """As `rows_along`, a row for each channel along `axis`, or one for all of x where it is None."""
    channel = () if axis is None else checked_axes(axis, x.ndim)
    return rows_along(x, tuple(i for i in range(x.ndim) if i not in channel))


def means(rows: Rows) -> Rows:
    """Mean of each row [rows, n] -> [rows], correctly rounded; 0 where n = 0."""
    return _exact_sums(rows, max(1, rows.shape[1]))


def _exact_sums(rows: Rows, parts: int) -> Rows:
    """The exact sum of each row over `parts`, rounded once.

    Digits of 31 bits are cut off all elements of a row at the same places, from the top, and added as integers.
    """
    rest = rows.copy()
    places = np.frexp(np.abs(rows).max(axis=1, initial=0))[1].astype(np.int64) - _DIGIT
    totals = [0] * rows.shape[0]
    while rest.any():
        digits = np.trunc(np.ldexp(rest, -places[:, None]))
        rest -= np.ldexp(digits, places[:, None])
        sums = digits.astype(np.int64).sum(axis=1).tolist()
        totals = [(total << _DIGIT) + more for total, more in zip(totals, sums, strict=True)]
        places -= _DIGIT
    # The place of the last digit; a quotient of integers is correctly rounded.
    ends = (places + _DIGIT).tolist()
    found = [(total << max(end, 0)) / (parts << max(-end, 0)) for total, end in zip(totals, ends, strict=True)]
    return np.array(found, np.float64)


def deviations(rows: Rows) -> Rows:
    """Each row less its mean, rounded to float64. Errors: ValueError where that overflows."""
    with np.errstate(over="ignore"):
        found = rows - means(rows)[:, None]
    if not np.isfinite(found).all():
        raise ValueError("numbers that differ from their mean by more than float64 holds: multiply them by 2**-1 first")
    return found


def mean_magnitudes(rows: Rows) -> Rows:
    """Mean of |x| of each row; accuracy as `means`."""
    return means(np.abs(rows))


def norms(rows: Rows) -> Rows:
    """Euclidean norm of each row [rows, n] -> [rows], within 1.5 ulp; 0 for a row of zeros."""
    return _roots(rows, 1)


def root_mean_squares(rows: Rows) -> Rows:
    """sqrt(mean x**2) of each row [rows, n] -> [rows], within 2 ulp; 0 for a row of zeros, and where n = 0."""
    return _roots(rows, max(1, rows.shape[1]))


def _roots(rows: Rows, parts: int) -> Rows:
    exponents = np.frexp(np.abs(rows).max(axis=1, initial=0))[1]
    squares = np.square(np.ldexp(rows, -exponents[:, None]))
    return np.asarray(np.ldexp(np.sqrt(_exact_sums(squares, parts)), exponents))
