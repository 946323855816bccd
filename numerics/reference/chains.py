"""Which steps of a chain let a gradient pass, by the definition: `numerics.chain_masks` in rationals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .numbers import Exact, Number, number
from .products import Steps, add_numbers, multiply

if TYPE_CHECKING:
    from ..accumulator import Accumulator


class Chain(NamedTuple):
    """Sums s_1 ... s_n of a chain, and of each step whether it passes its term on, and the sum before it."""

    sums: list[Number]
    local: list[bool]
    through: list[bool]


class Masks(NamedTuple):
    """The chains of the chunks (one, of all products, without chunk), and the chain of their sums, if there is one."""

    inner: list[Chain]
    outer: Chain | None

    def path(self, rule: str) -> list[bool]:
        """Of each product, whether the gradient of the result reaches it; rule: "immediate" or "recursive"."""
        recursive = rule == "recursive"
        if self.outer is None:
            return _along(self.inner[0], recursive)
        alive = _along(self.outer, recursive)
        return [m and a for chain, a in zip(self.inner, alive, strict=True) for m in _along(chain, recursive)]


def _along(chain: Chain, recursive: bool) -> list[bool]:
    return [a and (not recursive or all(chain.through[k + 1 :])) for k, a in enumerate(chain.local)]


def moved(new: Number, old: Number, tolerance: Fraction) -> bool:
    """|new - old| > tolerance * |old|; what is not a number moved from nothing to nothing."""
    if isinstance(new, Exact) and isinstance(old, Exact):
        return abs(new.value - old.value) > tolerance * abs(old.value)
    x, y = (float(v.value) if isinstance(v, Exact) else v for v in (new, old))
    if math.isnan(x) or math.isnan(y) or x == y:
        return False
    return not (tolerance and math.isinf(y))  # an infinite difference does not exceed an infinite threshold


def inside(x: Number, fmt: Any) -> bool:
    """Whether a number, before it is rounded, is smaller than the largest of the format."""
    return isinstance(x, Exact) and abs(x.value) < Fraction(fmt.max)


def chain(
    terms: list[tuple[float, float]] | list[Number],
    accumulator: Accumulator,
    words: Iterator[int | None],
    event: str,
    tolerance: Fraction,
) -> Chain:
    """The chain of pairs of factors, or of the sums of chunks, from +0."""
    zero = number(0.0)
    found = Chain([], [], [])
    total = zero
    for term in terms:
        kept = True
        if isinstance(term, Exact) or not isinstance(term, tuple):
            y: Number = term
        else:
            exact = multiply(*term, replace(accumulator, product=None), Steps())
            y = exact
            if accumulator.product is not None:
                y = multiply(*term, accumulator, _one(next(words)))
                kept = inside(exact, accumulator.product.fmt)
        word = next(words)
        after = add_numbers(total, y, accumulator, _one(word))
        if event == "overflow":
            whole = (
                Exact(total.value + y.value, False) if isinstance(total, Exact) and isinstance(y, Exact) else math.nan
            )
            passes = inside(whole, accumulator.format)
            found.local.append(kept and passes)
        else:
            alone = add_numbers(zero, y, accumulator, _one(word))
            passes = moved(after, alone, tolerance)
            found.local.append(moved(after, total, tolerance))
        found.through.append(passes)
        found.sums.append(after)
        total = after
    return found


def _one(word: int | None) -> Steps:
    return Steps(None if word is None else [word])


def masks(
    a: Any, b: Any, accumulator: Accumulator, *, event: str = "diff", tolerance: float = 0.0, words: Any = None
) -> Masks:
    """The masks of one output: a, b [K], words [S] as in `numerics.matmul`."""
    drawn: Iterator[int | None] = repeat(None) if words is None else iter([int(w) for w in words])
    limit = Fraction(tolerance)
    pairs = [(float(x), float(y)) for x, y in zip(a, b, strict=True)]
    if accumulator.chunk is None:
        return Masks([chain(pairs, accumulator, drawn, event, limit)], None)
    n = accumulator.chunk
    pieces = [pairs[s : s + n] for s in range(0, len(pairs), n)]
    inner = [chain(piece, accumulator.inner, drawn, event, limit) for piece in pieces]
    return Masks(inner, chain([part.sums[-1] for part in inner], accumulator.combining, drawn, event, limit))


def chain_masks(
    a: Any,
    b: Any,
    accumulator: Accumulator,
    *,
    rule: str = "immediate",
    event: str = "diff",
    tolerance: float = 0.0,
    words: Any = None,
) -> NDArray[np.bool]:
    """`numerics.chain_masks` of matrices a [M, K], b [K, N], words [M, N, S]: bool [M, N, K]."""
    left, right = np.asarray(a), np.asarray(b)
    rows, columns = left.shape[0], right.shape[1]
    found = np.ones((rows, columns, left.shape[1]), np.bool)
    for i, j in np.ndindex(rows, columns):
        if rule != "identity":
            drawn = None if words is None else words[i, j]
            own = masks(left[i], right[:, j], accumulator, event=event, tolerance=tolerance, words=drawn)
            found[i, j] = own.path(rule)
    return found


def chain_gradients(a: Any, b: Any, gradient: Any, kept: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """`numerics.chain_gradients` by the masks [M, N, K]: sums in float64, one term after the other."""
    left, right, given = (np.asarray(x, np.float64) for x in (a, b, gradient))
    of_a, of_b = np.zeros_like(left), np.zeros_like(right)
    for i, j, k in np.ndindex(*np.shape(kept)):
        if kept[i, j, k]:
            of_a[i, k] += given[i, j] * right[k, j]
            of_b[k, j] += left[i, k] * given[i, j]
    return of_a.astype(np.asarray(a).dtype), of_b.astype(np.asarray(b).dtype)
