"""The largest n of m, and the unbiased estimator of least variance, with its closed forms."""

from __future__ import annotations  # types of inner functions would be made in every call

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import mask_rows, masks, threads
from ..quantizer import FloatArray
from ..words import bits_of_words, counter, drawn, given_words, needed_seed, random_words
from .blocks import Blocks, blocks_of, check_method, check_pattern, refuse_not_finite
from .exact import settle

_KINDS = {"exact": mask_rows.EXACT, "approximate": mask_rows.APPROXIMATE, "sequential": mask_rows.SEQUENTIAL}
METHODS = tuple(_KINDS)
_SWIFT_COST, _COST = 3.0, 20.0  # nanoseconds of a block by a loop of its own, and of an element of any other
_TILE = 1 << 14  # blocks whose words are drawn ahead
_SWIFT = {(2, 4): masks.draw_two_of_four, (1, 2): masks.draw_one_of_two}  # float32, method exact


def top_n(x: Any, n: int = 2, m: int = 4, *, axis: int = -1, out: FloatArray | None = None) -> Any:
    """x with all but the n largest magnitudes of each block zero: float32 or float64 [...] -> same dtype and shape.

    The mask of least squared error. Of equal magnitudes the earlier one is kept. What is kept keeps its bits, the rest is
    +0; infinities are the largest. Biased: the mean over inputs shrinks, so gradients need `mvue`.
    out: written and returned; x itself or disjoint from it.
    Errors: TypeError for other dtypes; ValueError for a NaN, an n that is not in 1 ... m, an axis that x does not have.
    Source: arXiv 2203.10991.
    """
    n, m = check_pattern(n, m)
    array, layout = blocks_of(x, m, axis)
    cut = layout.cut(array)
    flat, result = cut.reshape(-1), layout.target(array, cut, out)
    flat_result = result.reshape(-1)

    def part(start: int, stop: int) -> bool:
        here = slice(start * m, stop * m)
        if (n, m) == (2, 4):
            return bool(masks.keep_two_of_four(flat[here], flat_result[here]))
        wide = np.empty(flat[here].size)
        met = bool(mask_rows.keep_largest(flat[here].astype(np.float64), wide, n, m))
        flat_result[here] = wide
        return met

    if any(threads.run(part, len(cut), _SWIFT_COST if (n, m) == (2, 4) else _COST * m)):
        first = int(np.argmax(np.isnan(array)))
        raise ValueError(f"NaN at element {first} has no magnitude to compare: replace it before masking")
    return layout.join(result, out)


def inclusion_probabilities(
    x: Any, n: int = 2, m: int = 4, *, method: str = "exact", axis: int = -1
) -> NDArray[np.float64]:
    """The probability with which `mvue` keeps each element: float32 or float64 [...] -> float64 of the same shape.

    "exact": p_i = min(1, |x_i|/lambda) with sum n (water-filling), the least variance of all unbiased masks that keep n.
    "approximate", n = 2: two draws without replacement, each in proportion to |x|,
    p_i = t_i + |x_i| sum over j != i of t_j/(T - |x_j|), t = |x|/T, T the block's sum; at most twice the least variance.
    "sequential": the same.
    Where at most n are not zero: 1 for each of them, 0 for zeros. Relative error below (4m + 16) 2**-53.
    Errors: as `mvue`. Source: arXiv 2203.10991; the optimum by Cauchy-Schwarz.
    """
    return _laws(x, n, m, method, axis)[0]


def variance(x: Any, n: int = 2, m: int = 4, *, method: str = "exact", axis: int = -1) -> NDArray[np.float64]:
    """The total variance of each block under `mvue`, ideal words: sum of x_i**2 (1/p_i - 1), float64, [..., blocks].

    2:4, exact, |x_1| the largest: T**2/2 - sum x**2 where |x_1| <= R = T - |x_1|, else R**2 less the squares of the others;
    1:m: T**2 - sum x**2. Squared units of x. Error below (4m + 16) 2**-53 times n lambda**2 for "exact" (lambda the value
    kept where p < 1), relative for "approximate"; infinite where it is beyond float64.
    Errors: as `mvue`. Source: arXiv 2203.10991.
    """
    return _laws(x, n, m, method, axis)[1]


def mvue(
    x: Any,
    n: int = 2,
    m: int = 4,
    *,
    method: str = "exact",
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
    axis: int = -1,
    out: FloatArray | None = None,
) -> Any:
    """x_i/p_i where element i is kept, +0 elsewhere: float32 or float64 [...] -> same dtype and shape; the mean is x.

    n of each m are kept, or all that are not zero. p: see `inclusion_probabilities`. "exact" and "approximate" draw
    systematically: with C the exact running sums of p, and u = (word + 1)/2**random_bits, element i is kept where some u + j,
    j = 0, 1, ..., lies in (C_(i-1), C_i]. So over all words it is kept floor(C_i 2**r) - floor(C_(i-1) 2**r) times, within
    one of p_i 2**r. Which elements are kept together depends on their order; the variance of each element does not, that
    of a dot product does. "approximate" has the probabilities of two draws in sequence, not their pairs; "sequential"
    has both: i and j are kept together with probability t_i |x_j|/(T - |x_i|) + t_j |x_i|/(T - |x_j|), that pair, in the
    order (0, 1), (0, 2), ..., for which u lies in (D_(ij-1), D_ij], D the running sums over pairs. Over all words a pair
    is kept within one of that times 2**r, so element i within i + 1.
    Values: |x_i|/p_i is |x_i| or lambda, one rational number, rounded once; in the other methods rounded once to float32,
    within 3m ulp in float64. p, C and D are those of the given floats: no decision depends on a rounding.
    words: integers in [0, 2**random_bits), one a block, of x's shape with the blocks in place of the axis, and the
    seed is not used; or, from a seed, block b in the C order of that shape draws word (seed, stream, offset + b).
    out: written and returned; x itself or disjoint from it.
    Errors: TypeError for other dtypes; ValueError for NaN and infinities, neither seed nor words, an impossible
    n, m, method or axis; OverflowError where x_i/p_i is beyond the dtype. Source: arXiv 2203.10991.
    """
    n, m = check_pattern(n, m)
    check_method(method, n, METHODS)
    bits = bits_of_words(random_bits)
    array, layout = blocks_of(x, m, axis)
    given, first = _random(layout, bits, seed, words, stream, offset)
    cut = layout.cut(array)
    target = layout.target(array, cut, out)
    swift = _SWIFT.get((n, m)) if method == "exact" and cut.dtype == np.float32 else None

    def general(x: NDArray[Any], drawn: NDArray[np.uint32]) -> NDArray[Any]:
        """Any pattern, blocks [B, m]: floating point, then integers for what it leaves."""
        wide, left = np.empty(x.size), np.empty(len(x), np.uint8)
        single = x.dtype == np.float32
        flat = x.reshape(-1).astype(np.float64)
        any_left = mask_rows.draw_rows(flat, wide, drawn, left, n, m, _KINDS[method], bits, single)
        with np.errstate(over="ignore", invalid="ignore"):  # of blocks that are left
            result = wide.astype(x.dtype).reshape(-1, m)
        if any_left:
            rest = np.flatnonzero(left)
            if not np.isfinite(x[rest]).all():
                refuse_not_finite(array)
            result[rest] = settle(x[rest], drawn[rest], n, bits, method=method)
        return result

    def part(start: int, stop: int) -> None:
        left = np.empty(min(_TILE, stop - start), np.uint8)
        for begin in range(start, stop, _TILE):
            here = slice(begin, min(begin + _TILE, stop))
            if given is None:
                place = (first + begin) % (1 << 64)
                own = drawn(here.stop - begin, bits, seed or 0, stream, place)
            else:
                own = given[here]
            rows, into = (cut, target) if len(own) == len(cut) else (cut[here], target[here])
            if swift is None:
                into[...] = general(rows, own)
            elif swift(rows.reshape(-1), into.reshape(-1), own, left, bits):
                rest = np.flatnonzero(left[: len(own)])
                into[rest] = general(rows[rest], own[rest])

    threads.run(part, len(cut), _COST * m if swift is None else _SWIFT_COST)
    return layout.join(target, out)


def _random(
    layout: Blocks, bits: int, seed: Any, words: Any, stream: Any, offset: Any
) -> tuple[NDArray[np.uint32] | None, int]:
    """(one word a block in the order of the cut, or None; the number of the first word to draw)."""
    if words is not None:
        return layout.in_order(given_words(words, layout.words_shape, bits)), 0
    seed = needed_seed(seed, "mvue", layout.words_shape)
    stream, first = counter("stream", stream), counter("offset", offset)
    if layout.axis == len(layout.shape) - 1:
        return None, first
    shape = layout.words_shape
    count = int(np.prod(shape, dtype=np.int64))
    return layout.in_order(random_words(count, bits, seed=seed, stream=stream, offset=first).reshape(shape)), 0


def _laws(x: Any, n: Any, m: Any, method: str, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(inclusion probabilities of x's shape, the variance of each block)."""
    n, m = check_pattern(n, m)
    kind = mask_rows.EXACT if check_method(method, n, METHODS) == "exact" else mask_rows.APPROXIMATE
    array, layout = blocks_of(x, m, axis)
    refuse_not_finite(array)
    cut = layout.cut(array).reshape(-1).astype(np.float64)
    p, variances = np.empty(cut.size), np.empty(cut.size // m)

    def part(start: int, stop: int) -> None:
        here = slice(start * m, stop * m)
        mask_rows.laws(cut[here], p[here], variances[start:stop], n, m, kind)

    threads.run(part, len(variances), _COST * m)
    return layout.join(p), layout.per_block(variances)
