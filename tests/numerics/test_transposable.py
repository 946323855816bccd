"""Transposable masks against all masks there are, where they can be listed, and against linear programming."""

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest

from numerics import random_words, sparsity
from numerics.kernels import transposable


def all_masks(n, m):
    """bool [count, m, m], by rows."""
    rows = [np.isin(np.arange(m), kept) for kept in combinations(range(m), n)]
    return np.array([mask for mask in product(rows, repeat=m) if (np.sum(mask, axis=0) == n).all()])


def hard_tiles(m, dtype):
    """Ordinary, with ties, constant, zero, far apart, and in float64 with sums that differ by less than an ulp."""
    words = random_words(12 * m * m, 32, seed=m).astype(np.int64).reshape(12, m, m)
    tiles = (words - 2**31) / 2.0**29
    tiles[4:7] = words[4:7] % 3 - 1.0
    tiles[7], tiles[8] = 0.1, 0.0
    tiles[9] *= 2.0 ** (words[9] % 101 - 50.0)
    tiles[10] = 2.0**-10 * (1.0 + words[10] % 1000 * 2.0**-52)
    tiles[10, 0, 0] = 1.0
    tiles[11] = 2.0 ** (-8.0 * (words[11] % 16))
    return tiles.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 3), (2, 3), (1, 2), (1, 1), (2, 2)])
def test_the_best_of_all_masks(n, m, dtype):
    masks = all_masks(n, m)
    assert len(masks) == sparsity.transposable_mask_count(n, m)
    for tile in hard_tiles(m, dtype):
        sizes = [Fraction(float(abs(v))) for v in tile.ravel()]
        sums = [sum(sizes[i] for i in np.flatnonzero(mask)) for mask in masks]
        exact = sparsity.transposable_mask(tile, n, m)
        assert (exact.sum(axis=0) == n).all() and (exact.sum(axis=1) == n).all()
        assert sum(sizes[i] for i in np.flatnonzero(exact)) == max(sums)
        greedy = sparsity.transposable_mask(tile, n, m, method="greedy")
        assert (greedy.sum(axis=0) <= n).all() and (greedy.sum(axis=1) <= n).all()
        assert sum(sizes[i] for i in np.flatnonzero(~greedy)) <= 2 * (sum(sizes) - max(sums))


def test_four_of_eight_by_linear_programming():
    optimize = pytest.importorskip("scipy.optimize")
    edges = np.zeros((16, 8, 8))
    for i in range(8):
        edges[i, i, :] = edges[8 + i, :, i] = 1
    for tile in hard_tiles(8, np.float64)[[0, 1, 4, 9]]:
        solved = optimize.linprog(-abs(tile).ravel(), A_eq=edges.reshape(16, 64), b_eq=np.full(16, 4), bounds=(0, 1))
        kept = sparsity.transposable_mask(tile, 4, 8)
        assert (kept.sum(axis=0) == 4).all() and (kept.sum(axis=1) == 4).all()
        assert abs(tile)[kept].sum() == pytest.approx(-solved.fun, rel=1e-9)


def test_a_mask_that_is_not_the_best_is_not_proven():
    weights = np.arange(16).reshape(1, 4, 4) ** 2
    found, proven = np.zeros((1, 4, 4), bool), np.empty(1, bool)
    transposable.keep_most(weights, found, 2)
    best = max(weights[0][mask].sum() for mask in all_masks(2, 4))
    for mask in all_masks(2, 4):
        transposable.proven(weights, np.zeros(1, np.int64), mask[None], proven)
        assert proven[0] == (weights[0][mask].sum() == best)
    transposable.proven(weights, np.full(1, 400), found, proven)
    assert not proven[0]


def test_what_is_published_of_the_count():
    assert sparsity.transposable_mask_count(2, 4) == 90
    assert sparsity.transposable_mask_count(4, 8) == 116_963_796_250
    assert sparsity.transposable_mask_count(1, 5) == 120
    assert sparsity.transposable_mask_count(2, 4) != 4 * 3 * 2 * 1 * 3 * 2 * 1  # M! (M-1)!: 144 counts some twice


def test_tiles_border_and_order():
    tiles = hard_tiles(4, np.float32)
    matrix = tiles[:6].reshape(2, 3, 4, 4).swapaxes(1, 2).reshape(8, 12)
    for method in ("exact", "greedy"):
        mask = sparsity.transposable_mask(matrix, method=method)
        one_by_one = np.array([sparsity.transposable_mask(tile, method=method) for tile in tiles[:6]])
        np.testing.assert_array_equal(mask, one_by_one.reshape(2, 3, 4, 4).swapaxes(1, 2).reshape(8, 12))
        cut = sparsity.transposable_mask(matrix[:7, :10], method=method)
        padded = np.zeros_like(matrix)
        padded[:7, :10] = matrix[:7, :10]
        np.testing.assert_array_equal(cut, sparsity.transposable_mask(padded, method=method)[:7, :10])
        np.testing.assert_array_equal(mask, sparsity.transposable_mask(np.asfortranarray(matrix), method=method))
        assert sparsity.transposable_mask(np.zeros((0, 5)), method=method).shape == (0, 5)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: sparsity.transposable_mask(np.ones(4)), ValueError, r"w of shape \(4,\): give a matrix"),
        (lambda: sparsity.transposable_mask(np.ones((4, 4), int)), TypeError, "int64"),
        (lambda: sparsity.transposable_mask(np.full((4, 4), np.nan)), ValueError, "nan at element 0"),
        (lambda: sparsity.transposable_mask(np.ones((4, 4)), 5), ValueError, "n = 5, m = 4"),
        (lambda: sparsity.transposable_mask(np.ones((4, 4)), method="lp"), ValueError, "give 'exact' or 'greedy'"),
        (lambda: sparsity.transposable_mask_count(0, 4), ValueError, "n = 0"),
    ],
)
def test_refusals(call, error, told):
    with pytest.raises(error, match=told):
        call()
