"""Right N:M masks in plain numpy, of parts that the mutants change."""

from collections.abc import Callable
from typing import Any

import numpy as np

from numerics.properties import MaskUnderTest, as_mask

from .record import Right

N, M, BITS = 2, 4, 10
Array = Any


def in_blocks(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """(blocks of 4 along the last axis, filled up with zeros; the way back)."""
    length, rows = x.shape[-1], int(np.prod(x.shape[:-1]))
    padded = np.pad(x.reshape(rows, length), ((0, 0), (0, -length % M)))

    def back(result: Array) -> Array:
        return result.reshape(padded.shape)[:, :length].reshape(x.shape).astype(x.dtype)

    return padded.reshape(-1, M), back


def water_filling(sizes: Array, n: int = N) -> Array:
    """min(1, |x|/lambda) with sum n, by taking certain elements out one after the other."""
    p = np.zeros(sizes.shape)
    certain = np.zeros(sizes.shape, bool)
    for _ in range(n):
        rest = np.where(certain, 0, sizes)
        left = n - certain.sum(axis=1, keepdims=True)
        certain |= (rest * left > rest.sum(axis=1, keepdims=True)) & (left > 0)
    rest = np.where(certain, 0, sizes)
    left, total = n - certain.sum(axis=1, keepdims=True), rest.sum(axis=1, keepdims=True)
    p = np.where(certain, 1.0, rest * left / np.where(total > 0, total, 1))
    few = (sizes > 0).sum(axis=1, keepdims=True) <= n
    return np.where(few, (sizes > 0) * 1.0, p)


def systematic(p: Array, u: Array) -> Array:
    """Which elements a draw u in (0, 1] keeps: those where some u + j lies in (C_(i-1), C_i]."""
    sums = np.cumsum(p, axis=1)
    whole = np.rint(sums[:, -1:])
    nothing_after = np.cumsum(p[:, ::-1], axis=1)[:, ::-1] == p
    sums = np.where(nothing_after, whole, np.minimum(sums, whole))  # rounding must not leave it short of n
    before = np.concatenate([np.zeros((len(p), 1)), sums[:, :-1]], axis=1)
    return np.floor(sums - u) > np.floor(before - u)


def scaled(blocks: Array, p: Array, kept: Array) -> Array:
    """x_i/p_i where kept."""
    return np.where(kept & (blocks != 0), blocks / np.where(p > 0, p, 1), 0)


def _uniforms(words: Array) -> Array:
    return (words.reshape(-1, 1).astype(np.float64) + 1) / 2.0**BITS


def by_words(probabilities: Any = water_filling, keep: Any = systematic, value: Any = scaled) -> Any:
    """fn(x, words) of a mask made of these parts."""

    def fn(x: Array, words: Array) -> Array:
        blocks, back = in_blocks(x)
        p = probabilities(np.abs(blocks))
        return back(value(blocks, p, keep(p, _uniforms(words))))

    return fn


def largest(x: Array) -> Array:
    """The two largest magnitudes of each four."""
    blocks, back = in_blocks(x)
    order = np.argsort(-np.abs(blocks), axis=1, kind="stable")
    kept = np.zeros(blocks.shape, bool)
    np.put_along_axis(kept, order[:, :N], True, axis=1)
    return back(np.where(kept, blocks, 0))


def mvue(fn: Any) -> MaskUnderTest:
    return as_mask(fn, N, M, random_bits=BITS)


def sampled(draw: Any, method: str = "exact") -> Callable[[int], MaskUnderTest]:
    """make(seed) of a mask that draws: draw(rng, |blocks|) -> (p, kept)."""

    def make(seed: int) -> MaskUnderTest:
        rng = np.random.default_rng(seed)

        def draws_for_itself(x: Array) -> Array:
            blocks, back = in_blocks(x)
            p, kept = draw(rng, np.abs(blocks))
            return back(scaled(blocks, p, kept))

        return as_mask(draws_for_itself, N, M, method=method)

    return make


def right_draw(rng: Any, sizes: Array) -> tuple[Array, Array]:
    p = water_filling(sizes)
    return p, systematic(p, 1 - rng.random((len(sizes), 1)))


def two_draws(rng: Any, sizes: Array) -> Array:
    """Two draws without replacement, each in proportion to |x|."""
    kept = np.zeros(sizes.shape, bool)
    for _ in range(N):
        left = np.where(kept, 0, sizes)
        sums = np.cumsum(left, axis=1)
        pick = (rng.random((len(sizes), 1)) * sums[:, -1:] < sums).argmax(axis=1)
        kept |= (np.arange(M) == pick[:, None]) & (left > 0)
    return kept


def approximate(sizes: Array) -> Array:
    """t_i + |x_i| sum over j != i of t_j/(T - |x_j|), from positive terms alone."""
    total = sizes.sum(axis=1, keepdims=True)
    t = sizes / np.where(total > 0, total, 1)
    others = np.stack([np.delete(sizes, j, axis=1).sum(axis=1) for j in range(M)], axis=1)
    ratio = t / np.where(others > 0, others, 1)
    rest = np.stack([np.delete(ratio, i, axis=1).sum(axis=1) for i in range(M)], axis=1)
    few = (sizes > 0).sum(axis=1, keepdims=True) <= 2
    return np.where(few, (sizes > 0) * 1.0, t + sizes * rest)


def in_sequence(sizes: Array, u: Array) -> Array:
    """The pair whose running sum u falls to; pairs have the probabilities of two draws without replacement."""
    total = sizes.sum(axis=1, keepdims=True)
    t = sizes / np.where(total > 0, total, 1)
    others = np.stack([np.delete(sizes, j, axis=1).sum(axis=1) for j in range(M)], axis=1)
    others = np.where(others > 0, others, 1)
    left, right = np.triu_indices(M, 1)
    pairs = t[:, left] * (sizes[:, right] / others[:, left]) + t[:, right] * (sizes[:, left] / others[:, right])
    pick = (np.cumsum(pairs, axis=1) >= u * (1 - 2.0**-40)).argmax(axis=1)
    kept = np.zeros(sizes.shape, bool)
    np.put_along_axis(kept, np.stack([left[pick], right[pick]], axis=1), True, axis=1)
    return np.where((sizes > 0).sum(axis=1, keepdims=True) <= N, sizes > 0, kept)


def sequential(keep: Any = None) -> Any:
    """fn(x, words) of two draws in sequence; keep(|blocks|, p, u) decides in their place."""

    def fn(x: Array, words: Array) -> Array:
        blocks, back = in_blocks(x)
        sizes, u = np.abs(blocks), _uniforms(words)
        p = approximate(sizes)
        return back(scaled(blocks, p, keep(sizes, p, u) if keep else in_sequence(sizes, u)))

    return fn


MVUE = Right("2:4 MVUE by words", lambda _: mvue(by_words()))
TOP = Right("2:4 largest", lambda _: as_mask(largest, N, M, kind="top_n"))
DRAWN = Right("2:4 MVUE, draws", sampled(right_draw), random=True)
TWO = Right(
    "2:4 two draws",
    sampled(lambda rng, sizes: (approximate(sizes), two_draws(rng, sizes)), "approximate"),
    random=True,
)
SEQUENCE = Right("2:4 two draws by words", lambda _: as_mask(sequential(), N, M, method="sequential", random_bits=BITS))
