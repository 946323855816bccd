"""Mutants of N:M masks: probabilities, values kept, draws, ties, axes and short blocks."""

from typing import Any

import numpy as np

from numerics.properties import as_mask

from .record import Mutant, Right
from .right_masks import (
    BITS,
    DRAWN,
    MVUE,
    SEQUENCE,
    TOP,
    TWO,
    Array,
    M,
    N,
    by_words,
    in_blocks,
    largest,
    mvue,
    right_draw,
    sampled,
    scaled,
    sequential,
    systematic,
    two_draws,
    water_filling,
)

_MUTANTS: list[Mutant] = []


def _add(name: str, fn: Any, where: str, caught_by: str, twin: Right = MVUE) -> None:
    fn.__name__ = name
    make = (lambda _: as_mask(fn, N, M, kind="top_n")) if twin is TOP else lambda _: mvue(fn)
    _MUTANTS.append(Mutant(name, where, make, caught_by, twin))


def _epsilon(sizes: Array) -> Array:
    return water_filling(np.where(sizes > 0, sizes + 1.19e-7, 0))


def _falls_short(p: Array, u: Array) -> Array:
    sums = np.cumsum(p.astype(np.float32), axis=1, dtype=np.float32) * np.float32(1 - 2.0**-20)
    before = np.concatenate([np.zeros((len(p), 1)), sums[:, :-1]], axis=1)
    return np.floor(sums - u) > np.floor(before - u)


def _uncertain(sizes: Array) -> Array:
    total = sizes.sum(axis=1, keepdims=True)
    return np.minimum(1, N * sizes / np.where(total > 0, total, 1))


def _both_halves(p: Array, u: Array) -> Array:
    return systematic(p, u) | (p >= 0.5)


_add(
    "epsilon_in_the_value",
    by_words(value=lambda b, p, k: np.where(k, b / (p + 1.19e-7), 0)),
    "2:4 gradient pruning: eps = 1.19e-7 is added to p, tiny gradients are biased",
    "kept_values",
)
_add(
    "epsilon_in_the_magnitude",
    by_words(_epsilon),
    "2:4 gradient pruning: eps = 1.19e-7 is added to |x|, blocks of tiny numbers get p = 1/2",
    "marginals",
)
_add(
    "uniform_two_of_four",
    by_words(lambda sizes: np.full(sizes.shape, 0.5)),
    "of a kind: random pruning: two of four uniformly, twice the value",
    "marginals",
)
_add(
    "squares_for_magnitudes",
    by_words(lambda sizes: water_filling(sizes**2 if sizes.max(initial=0) < 1e60 else sizes)),
    "of a kind: probabilities in proportion to x**2: unbiased, but not of least variance",
    "mask_variance",
)
_add(
    "not_rescaled",
    by_words(value=lambda b, p, k: np.where(k, b, 0)),
    "of a kind: a pruned gradient without 1/p: the mask of a dropout without its scale",
    "kept_values",
)
_add(
    "rescaled_by_m_over_n",
    by_words(value=lambda b, p, k: np.where(k, b * (M / N), 0)),
    "of a kind: dropout's factor m/n for 1/p_i",
    "kept_values",
)
_add(
    "no_certain_elements",
    by_words(_uncertain),
    "of a kind: n |x|/sum |x| clipped at 1: what is clipped is not given to the others",
    "marginals",
)
_add(
    "running_sum_falls_short",
    by_words(keep=_falls_short),
    "of a kind: a running sum of p in float32 that ends below n: for the last word an element is missing",
    "pattern",
)
_add(
    "largest_claimed_unbiased",
    lambda x, words: largest(x),
    "arXiv 2203.10991: the mask of least squared error on gradients: the small ones never come through",
    "mask_unbiased",
)
_add(
    "magnitudes_kept",
    by_words(value=lambda b, p, k: scaled(np.abs(b), p, k)),
    "of a kind: the masked value is made of |x| and p, and the sign is not put back",
    "mask_unbiased",
)
_add(
    "first_element_with_its_sign_turned",
    by_words(value=lambda b, p, k: scaled(b * np.where(np.arange(b.shape[-1]) == 0, -1, 1), p, k)),
    "of a kind: a sign bit put back into the wrong lane",
    "mask_unbiased",
)
_add(
    "more_than_two_kept",
    by_words(keep=_both_halves),
    "of a kind: a threshold on p beside the draw: more than n of m",
    "pattern",
)
_add(
    "zero_over_zero",
    by_words(value=lambda b, p, k: np.where(p > 0, scaled(b, p, k), np.nan)),
    "of a kind: x/p with p = 0 for a zero: NaN in every block with a zero",
    "pattern",
)


def _word_of_first_block(x: Array, words: Array) -> Array:
    return by_words()(x, np.broadcast_to(words.reshape(-1)[:1], words.shape))


_add(
    "word_of_the_first_block",
    _word_of_first_block,
    "of a kind: one random number for a tile: all its blocks keep the same places",
    "blocks_apart",
)


def _short_unmasked(x: Array, words: Array) -> Array:
    result = by_words()(x, words)
    tail = x.shape[-1] // M * M
    result[..., tail:] = x[..., tail:]
    return result


_add(
    "short_block_unmasked",
    _short_unmasked,
    "of a kind: a length that is no multiple of m: the rest is passed through",
    "pattern",
)


def _by_value(x: Array) -> Array:
    blocks, back = in_blocks(x)
    order = np.argsort(-blocks, axis=1, kind="stable")
    kept = np.zeros(blocks.shape, bool)
    np.put_along_axis(kept, order[:, :N], True, axis=1)
    return back(np.where(kept, blocks, 0))


def _other_axis(x: Array) -> Array:
    return largest(np.ascontiguousarray(x.T)).T if x.ndim == 2 and x.shape[0] % M == 0 else largest(x)


def _on_ties(x: Array) -> Array:
    blocks, back = in_blocks(x)
    edge = np.sort(np.abs(blocks), axis=1)[:, M - N, None]
    return back(np.where(np.abs(blocks) >= edge, blocks, 0))


def _short_kept(x: Array) -> Array:
    result = largest(x)
    tail = x.shape[-1] // M * M
    result[..., tail:] = x[..., tail:]
    return result


def _global_threshold(x: Array) -> Array:
    edge = np.median(np.abs(x)) if x.size else 0.0
    return np.where(np.abs(x) > edge, x, 0)


_add(
    "largest_by_value", _by_value, "of a kind: topk without abs(): large negative elements are dropped", "largest", TOP
)
_add(
    "pruned_along_the_other_axis",
    _other_axis,
    "arXiv 2203.10991: blocks must lie along the axis that the product sums over",
    "pattern",
    TOP,
)
_add(
    "ties_all_kept",
    _on_ties,
    "sparseml PR 678: everything at the threshold is kept, more than n on ties",
    "pattern",
    TOP,
)
_add(
    "short_block_kept",
    _short_kept,
    "of a kind: a length that is no multiple of m: the rest is not pruned",
    "pattern",
    TOP,
)
_add(
    "one_threshold_for_all",
    _global_threshold,
    "of a kind: half of all elements by one threshold: not n of each m",
    "pattern",
    TOP,
)


def _bernoulli(rng: Any, sizes: Array) -> tuple[Array, Array]:
    p = water_filling(sizes)
    return p, rng.random(sizes.shape) < p


def _top_and_other(rng: Any, sizes: Array) -> tuple[Array, Array]:
    p = water_filling(sizes)
    first = np.arange(M) == sizes.argmax(axis=1)[:, None]
    rest = np.cumsum(np.where(first, 0, sizes), axis=1)
    pick = (rng.random((len(sizes), 1)) * rest[:, -1:] < rest).argmax(axis=1)
    return p, first | ((np.arange(M) == pick[:, None]) & (sizes > 0))


def _shared_start(rng: Any, sizes: Array) -> tuple[Array, Array]:
    p = water_filling(sizes)
    return p, systematic(p, np.full((len(sizes), 1), 1 - rng.random()))


def _pairs_share(rng: Any, sizes: Array) -> tuple[Array, Array]:
    p = water_filling(sizes)
    u = np.repeat(1 - rng.random((-(-len(sizes) // 2), 1)), 2, axis=0)[: len(sizes)]
    return p, systematic(p, u)


for _name, _draw, _where, _claim, _twin in (
    (
        "sequential_claimed_exact",
        lambda rng, s: (water_filling(s), two_draws(rng, s)),
        "of a kind: two draws without replacement have other marginals than p = min(1, |x|/lambda)",
        "mask_draws",
        DRAWN,
    ),
    (
        "each_on_its_own",
        _bernoulli,
        "of a kind: independent draws of each element: unbiased, but more or fewer than n are kept",
        "pattern",
        DRAWN,
    ),
    (
        "largest_and_one_other",
        _top_and_other,
        "of a kind: the largest for certain, one other at random, where p of the largest is below 1",
        "mask_draws",
        DRAWN,
    ),
    ("one_start_for_all", _shared_start, "of a kind: one random start for all blocks of a call", "mask_draws", DRAWN),
    (
        "blocks_share_in_pairs",
        _pairs_share,
        "of a kind: one random number for two blocks: packed lanes",
        "mask_draws",
        DRAWN,
    ),
    (
        "exact_claimed_approximate",
        right_draw,
        "of a kind: systematic draws where two draws without replacement are claimed",
        "mask_draws",
        TWO,
    ),
):
    _MUTANTS.append(Mutant(_name, _where, sampled(_draw, "approximate" if _twin is TWO else "exact"), _claim, _twin))


def _cancelling(sizes: Array) -> Array:
    total = sizes.sum(axis=1, keepdims=True)
    t = sizes / np.where(total > 0, total, 1)
    ratio = np.where(t < 1, t / np.where(t < 1, 1 - t, 1), 0)
    p = t * (1 + ratio.sum(axis=1, keepdims=True) - ratio)
    few = (sizes > 0).sum(axis=1, keepdims=True) <= 2
    return np.where(few, (sizes > 0) * 1.0, np.where(sizes > 0, np.maximum(p, 1e-30), 0))


_MUTANTS.append(
    Mutant(
        "one_minus_t_cancels",
        "arXiv 2203.10991's p_i in float: 1 - t_i cancels where one element dominates by more than 1e7",
        sampled(lambda rng, s: (_cancelling(s), two_draws(rng, s)), "approximate"),
        "kept_values",
        TWO,
    )
)
for _name, _keep, _where in (
    (
        "systematic_claimed_sequential",
        lambda sizes, p, u: systematic(p, u),
        "of a kind: a systematic draw has the elements of two draws in sequence, and neighbours hardly ever together",
    ),
    (
        "second_draw_by_the_same_word",
        lambda sizes, p, u: _again(sizes, u),
        "of a kind: both draws of a block compare the same random number with their running sums",
    ),
):
    _MUTANTS.append(
        Mutant(
            _name,
            _where,
            lambda _, keep=_keep: as_mask(sequential(keep), N, M, method="sequential", random_bits=BITS),  # type: ignore[misc]
            "mask_pairs",
            SEQUENCE,
        )
    )


def _again(sizes: Array, u: Array) -> Array:
    kept = np.zeros(sizes.shape, bool)
    for _ in range(N):
        left = np.where(kept, 0, sizes)
        sums = np.cumsum(left, axis=1)
        pick = (sums >= u * sums[:, -1:]).argmax(axis=1)
        kept |= (np.arange(M) == pick[:, None]) & (left > 0)
    return kept


MUTANTS = tuple(_MUTANTS)
