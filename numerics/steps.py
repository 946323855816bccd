"""The roundings of one output, in order of execution: which part each belongs to and the words it takes."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .operands import as_array
from .words import given_words


@lru_cache(maxsize=256)
def random_bits_of(accumulator: Accumulator, depth: int) -> NDArray[np.uint8]:
    """The random bits of each rounding of one output, 0 where it takes none; [accumulator.roundings(depth)]."""
    bits = np.zeros(accumulator.roundings(depth), np.uint8)
    own = accumulator.random_bits or 0
    if depth == 0:
        bits[:] = accumulator.combining.random_bits or 0
    elif accumulator.chunk is not None:
        place = 0
        pieces = [(accumulator.inner, min(accumulator.chunk, depth - k)) for k in range(0, depth, accumulator.chunk)]
        for part, length in [*pieces, (accumulator.combining, len(pieces))]:
            taken = random_bits_of(part, length)
            bits[place : place + taken.size] = taken
            place += taken.size
    else:
        bits[:] = own
        if accumulator.product is not None:
            products = accumulator.product.random_bits or 0
            if accumulator.order == "exact" or (accumulator.order == "pairwise" and accumulator.block is None):
                bits[:depth] = products
            else:
                each = 5 if accumulator.order == "kahan" else 2
                bits[: each * depth : each] = products
    bits.setflags(write=False)
    return bits


def checked_words(words: Any, shape: tuple[int, ...], accumulator: Accumulator, depth: int) -> NDArray[np.uint32]:
    """Caller's words [..., M, N, S] as uint32 [outputs, S], or a sentence about their type, shape or range."""
    bits = random_bits_of(accumulator, depth)
    array = as_array(words, "words", "an array of integers")
    if array.dtype.kind in "iu" and array.shape != (*shape, bits.size):
        raise ValueError(
            f"words of shape {array.shape}: give one for each rounding of each output, {(*shape, bits.size)};"
            f" there are S = {bits.size} (Accumulator.roundings) of them"
        )
    checked = given_words(array, (*shape, bits.size), 32).reshape(-1, bits.size)
    for r in {int(r) for r in bits if r}:
        given_words(checked[:, bits == r], checked[:, bits == r].shape, r)
    return checked
