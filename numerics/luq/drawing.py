"""Where the random words of a call come from."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..brief import DRAWN, NO_WORDS
from ..kernels import elementwise
from ..words import bits_of_words, counter, given_words, needed_seed, unit_bytes

_ZERO = np.uint64(0)


class Draw(NamedTuple):
    """The last arguments of `kernels.luq.quantize` before the range."""

    words: NDArray[np.uint32]
    source: int
    random_bits: int
    seed: np.uint64
    stream: np.uint64
    offset: np.uint64


def draw_of(
    shape: tuple[int, ...], seed: Any, words: Any, random_bits: Any, stream: Any, offset: Any, out: Any = None
) -> Draw:
    """The draw for an array of this shape, or a sentence. With words given, seed is not used."""
    bits = bits_of_words(random_bits)
    if words is not None:
        flat = given_words(words, shape, bits, out).reshape(-1)
        return Draw(flat, elementwise.GIVEN, bits, _ZERO, _ZERO, _ZERO)
    seed, stream, offset = needed_seed(seed, "LUQ", shape), counter("stream", stream), counter("offset", offset)
    source = DRAWN[unit_bytes(bits)]
    return Draw(NO_WORDS, source, bits, np.uint64(seed), np.uint64(stream), np.uint64(offset) if offset else _ZERO)
