"""The words of a product's roundings: how many, which bits, and those that are refused."""

import numpy as np
import pytest

from numerics import Accumulator, Quantizer, Rounding, catalog, matmul
from numerics.steps import random_bits_of

SR = Rounding.SR
PRODUCT = Quantizer(catalog.E5M2, SR, random_bits=3)
E4M3 = catalog.E4M3


@pytest.mark.parametrize(
    ("acc", "bits"),
    [
        (Accumulator(E4M3, SR, random_bits=5), [5, 5, 5]),
        (Accumulator(E4M3, SR, random_bits=5, product=PRODUCT), [3, 5] * 3),
        (Accumulator(E4M3, product=PRODUCT), [3, 0] * 3),
        (Accumulator(E4M3, SR, random_bits=5, chunk=2), [5, 5, 5, 5, 5]),
        (Accumulator(E4M3, chunk=2, outer=Accumulator(E4M3, SR, random_bits=7)), [0, 0, 0, 7, 7]),
        (Accumulator(E4M3, SR, random_bits=5, order="pairwise", product=PRODUCT), [3, 3, 3, 5, 5, 5]),
        (Accumulator(E4M3, SR, random_bits=5, order="pairwise", block=2, product=PRODUCT), [3, 5, 3, 5, 3, 5, 5, 5]),
        (Accumulator(E4M3, SR, random_bits=5, order="kahan", product=PRODUCT), [3, 5, 5, 5, 5] * 3),
        (Accumulator(E4M3, SR, random_bits=5, order="exact", product=PRODUCT), [3, 3, 3, 5]),
    ],
)
def test_random_bits_in_order_of_execution(acc, bits):
    assert random_bits_of(acc, 3).tolist() == bits
    assert acc.roundings(3) == len(bits)


def test_words_that_are_refused():
    a, b = np.ones((2, 3)), np.ones((3, 4))
    acc = Accumulator(E4M3, SR, random_bits=5, product=PRODUCT)
    words = np.zeros((2, 4, 6), np.uint32)
    with pytest.raises(ValueError, match=r"words of shape \(2, 4, 5\): give one for each rounding .* \(2, 4, 6\)"):
        matmul(a, b, acc, words=words[..., :5])
    with pytest.raises(TypeError, match="words of dtype float64"):
        matmul(a, b, acc, words=words.astype(float))
    words[0, 0, 1] = 31  # of a sum: five bits
    words[0, 0, 0] = 8  # of a product: three
    with pytest.raises(ValueError, match=r"word 8 is outside \[0, 2\*\*3\)"):
        matmul(a, b, acc, words=words)
    with pytest.raises(ValueError, match=r"SR needs random words: give seed=.* each of the 6 roundings"):
        matmul(a, b, acc)
    with pytest.raises(ValueError, match="words given for a deterministic accumulator"):
        matmul(a, b, Accumulator(E4M3), words=words)
    for depth in (-1, 2.5, True):
        with pytest.raises(ValueError, match=f"depth = {depth}: give the number of products"):
            acc.roundings(depth)
