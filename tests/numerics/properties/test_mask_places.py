"""Masks that are wrong for one number of blocks, at one place, in one layout, for one size of numbers alone."""

import numpy as np
import pytest

from numerics.properties import ClaimError, as_mask, checks
from numerics.sparsity import mvue, top_n


def first_two_where(where):
    """Right, but keeping the first two of the blocks [n, 4] that where(x, blocks) says."""

    def fn(x):
        kept = np.array(top_n(x, 2, 4))
        if x.shape[-1] % 4:
            return kept
        blocks = np.ascontiguousarray(x).reshape(-1, 4)
        result = kept.reshape(-1, 4)
        result[where(x, blocks)] = np.where(np.arange(4) < 2, blocks, 0)[where(x, blocks)]
        return result.reshape(x.shape)

    return as_mask(fn, kind="top_n")


def those(n, places):
    return np.isin(np.arange(n), places)


@pytest.mark.parametrize("place", [0, 5, 46, 100, 1000])
def test_one_place(place):
    with pytest.raises(ClaimError, match="any_place"):
        checks.any_place(first_two_where(lambda x, blocks: those(len(blocks), place)))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 33, 64, 128])
def test_one_number_of_blocks(count):
    with pytest.raises(ClaimError, match="any_place"):
        checks.any_place(first_two_where(lambda x, blocks: np.full(len(blocks), len(blocks) == count)))


@pytest.mark.parametrize(
    "layout",
    [lambda x: x.ndim == 3, lambda x: x.flags.f_contiguous and len(x) > 1, lambda x: x.strides[-1] > x.itemsize],
)
def test_one_layout(layout):
    with pytest.raises(ClaimError, match="any_place"):
        checks.any_place(first_two_where(lambda x, blocks: np.full(len(blocks), layout(x))))


@pytest.mark.parametrize("size", [lambda top: top > 1e20, lambda top: (top < 1e-20) & (top > 0)])
def test_one_size_of_numbers(size):
    with pytest.raises(ClaimError, match="largest"):
        checks.largest(first_two_where(lambda x, blocks: size(np.abs(blocks).max(axis=1))))


@pytest.mark.parametrize("place", [0, 3, 40])
@pytest.mark.parametrize("bit", [1, 512])
def test_the_word_of_one_place(place, bit):

    def fn(x, words):
        turned = np.array(words)
        turned.reshape(-1)[place : place + 1] ^= np.uint32(bit)
        return mvue(x, 2, 4, words=turned, random_bits=10)

    with pytest.raises(ClaimError, match="any_place"):
        checks.any_place(as_mask(fn, random_bits=10))
