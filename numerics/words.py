"""Seeds, streams and random words: checks of what callers hand in, and the stream itself as an array."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats.integers import whole
from .kernels import philox
from .operands import as_array

_ZERO = np.uint64(0)
_WHOLE = (8, 16, 32)  # random bits that take all of their unit
_UNITS = {size: np.dtype(f"<u{size}") for size in (1, 2, 4)}  # of the stream, by `unit_bytes`


def counter(label: str, value: Any) -> int:
    """`value` as an integer in [0, 2**64), or a sentence that names it."""
    if type(value) is int and 0 <= value < 1 << 64:
        return value
    number = whole(value)
    if number is None:
        raise TypeError(f"{label} = {value!r}: give an integer in [0, 2**64)")
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{label} = {number}: give an integer in [0, 2**64)")
    return number


def counters(seed: Any, stream: Any, offset: Any = 0) -> tuple[int, int, int]:
    """The numbers that words are drawn by, checked as by `counter`; 0 for a seed that is not given."""
    return counter("seed", 0 if seed is None else seed), counter("stream", stream), counter("offset", offset)


def needed_seed(seed: Any, verb: str, shape: tuple[int, ...]) -> int:
    """The seed of a verb that draws so many words and was given none, checked; or a sentence where there is no seed."""
    if seed is None:
        raise ValueError(f"{verb} needs random words: give seed=, or words= of shape {shape}")
    return counter("seed", seed)


def refuse_words(words: Any, rounding: str) -> None:
    """A sentence where a deterministic mode is given words."""
    if words is not None:
        raise ValueError(f"words given with {rounding}: random words belong to SR, SR_B and SR_C")


def stream_after(stream: Any, number: int) -> int:
    """The stream so many after this one, checked as by `counter`; after 2**64 - 1 comes 0."""
    return (counter("stream", stream) + number) % (1 << 64)


def unit_bytes(random_bits: int) -> int:
    """Bytes of the stream that an element takes: 1 for up to 8 random bits, 2 for up to 16, else 4."""
    return 1 if random_bits <= 8 else 2 if random_bits <= 16 else 4


def random_words(
    count: int, random_bits: int = 32, *, seed: int, stream: int = 0, offset: int = 0
) -> NDArray[np.uint32]:
    """The words of elements offset ... offset + count - 1 as uint32 [count], each in [0, 2**random_bits).

    The map is frozen: see numerics.kernels.philox. A quantizer given these words gives the bits it gives for the seed.
    """
    bits = bits_of_words(random_bits)
    number = whole(count)
    if number is None or number < 0:
        raise ValueError(f"count = {count!r}: give how many words, an integer of at least 0")
    return drawn(number, bits, counter("seed", seed), counter("stream", stream), counter("offset", offset))


def drawn(count: int, random_bits: int, seed: int, stream: int, offset: int) -> NDArray[np.uint32]:
    """`random_words` of numbers that were checked."""
    words = drawn_units(count, unit_bytes(random_bits), seed, stream, offset)
    return shortened(words if words.dtype == np.uint32 else words.astype(np.uint32), random_bits)


def drawn_units(count: int, size: int, seed: int, stream: int, offset: int) -> NDArray[Any]:
    """So many units of the stream of `size` bytes, a fresh array's."""
    units = 16 // size
    skip = offset % units
    blocks = np.empty(4 * ((skip + count + units - 1) // units), np.uint32)
    first = np.uint64(offset // units) if offset >= units else _ZERO
    philox.random_blocks(blocks, first, units, np.uint64(seed), np.uint64(stream) if stream else _ZERO)
    return (blocks if size == 4 else blocks.view(_UNITS[size]))[skip : skip + count]


def shortened(units: NDArray[np.uint32], random_bits: int) -> NDArray[np.uint32]:
    """Units of the stream as words, in place."""
    if random_bits not in _WHOLE:
        units >>= 8 * unit_bytes(random_bits) - random_bits
    return units


def given_words(
    words: Any, shape: tuple[int, ...], random_bits: int, out: NDArray[Any] | None = None
) -> NDArray[np.uint32]:
    """Caller's words as contiguous uint32 of `shape`, or a sentence about their type, shape or range.

    out: where results go meanwhile; words that lie in the same memory are copied first.
    """
    array = as_array(words, "words", f"integers of shape {shape}")
    if array.size == 0 and array.shape == shape:
        return np.zeros(shape, np.uint32)
    if array.dtype.kind not in "iu":
        raise TypeError(f"words of dtype {array.dtype}: give integers in [0, 2**{random_bits})")
    if array.shape != shape:
        raise ValueError(f"words of shape {array.shape} for {shape}: give one word per rounding")
    if array.size and (int(array.min()) < 0 or int(array.max()) >> random_bits):
        worst = int(array.min()) if int(array.min()) < 0 else int(array.max())
        raise ValueError(f"word {worst} is outside [0, 2**{random_bits}): shift it right or give more random_bits")
    contiguous = np.ascontiguousarray(array, dtype=np.uint32)
    return contiguous.copy() if out is not None and np.may_share_memory(contiguous, out) else contiguous


def check_random_bits(stochastic: bool, random_bits: Any, rounding: str) -> int | None:
    """The number of random bits in force: 32 by default for a stochastic mode, None otherwise."""
    if not stochastic:
        if random_bits is not None:
            raise ValueError(f"random_bits = {random_bits!r} with {rounding}: random bits belong to SR, SR_B and SR_C")
        return None
    return bits_of_words(random_bits)


def bits_of_words(random_bits: Any) -> int:
    """How many bits a random word has: 1 to 32, by default 32, or a sentence."""
    if random_bits is None:
        return 32
    bits = whole(random_bits)
    if bits is None or not 1 <= bits <= 32:
        raise ValueError(f"random_bits = {random_bits!r}: give an integer from 1 to 32")
    return bits
