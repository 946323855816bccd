"""Random words as a pure function of (seed, stream, element): Philox4x32-10 (Salmon et al., SC11).

The word map, frozen. Key = seed (64 bits), counter = (block, stream) (64 bits each, low halves first). The blocks
0, 1, 2, ... of a stream, four 32-bit words each, are read as one little-endian string of bytes. An element takes
4 bytes of it where more than 16 random bits are asked for, 2 bytes for 9 to 16, 1 byte for up to 8; element i the i-th
such unit, and its random word is the unit's top r bits. Element numbers are 64-bit: after the last comes element 0.
"""

import numpy as np
from numpy.typing import NDArray

from ._jit import core, loop
from .philox_lanes import LANES, fill_lanes
from .primitives import multiply_high

_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
U32 = np.uint32
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)


@core
def philox(c0, c1, c2, c3, k0, k1):
    """The four words of a block, in the low halves of uint64 lanes, where one multiply gives both halves of a product.

    What is above 32 bits is left there: the multiplication looks at the low half only, which is an instruction's job.
    """
    for _ in range(10):
        p0 = (c0 & _LOW) * _MULTIPLIER_0
        p1 = (c2 & _LOW) * _MULTIPLIER_1
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1, (p0 >> _HALF) ^ c3 ^ k1, p0
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


@core
def philox32(block, stream, seed):
    """The four words of a block as uint32, in lanes of 32 bits: for processors that multiply these to both halves.

    block, stream, seed: uint64.
    """
    c0, c1, c2, c3 = U32(block), U32(block >> _HALF), U32(stream), U32(stream >> _HALF)
    k0, k1 = U32(seed), U32(seed >> _HALF)
    for _ in range(10):
        high0, low0 = multiply_high(c0, U32(_MULTIPLIER_0)), U32(c0 * U32(_MULTIPLIER_0))
        high1, low1 = multiply_high(c2, U32(_MULTIPLIER_1)), U32(c2 * U32(_MULTIPLIER_1))
        c0, c1, c2, c3 = U32(U32(high1 ^ c1) ^ k0), low1, U32(U32(high0 ^ c3) ^ k1), low0
        k0, k1 = U32(k0 + U32(_WEYL_0)), U32(k1 + U32(_WEYL_1))
    return c0, c1, c2, c3


@core
def fill_blocks(words, first, units, seed, stream):
    """words[4*b + w] = word w of block first + b; uint32 array whose length is a multiple of four.

    units: elements in a block, a power of two; the block of element 2**64 - 1 is followed by block 0.
    """
    s0, s1 = stream & _LOW, stream >> _HALF
    last = np.uint64(_LAST // np.uint64(units))
    k0, k1 = seed & _LOW, seed >> _HALF
    n = words.size // 4
    whole = n // LANES * LANES
    if (first & _LOW) + np.uint64(n) > _LOW or last - first < np.uint64(n):
        whole = 0  # the upper half of the number changes, or element 0 follows
    for b in range(0, whole, LANES):
        fill_lanes(words, 4 * b, first + np.uint64(b), stream, seed)
    for b in range(whole, n):
        block = np.uint64(np.uint64(first + np.uint64(b)) & last)
        w0, w1, w2, w3 = philox(block & _LOW, block >> _HALF, s0, s1, k0, k1)
        words[4 * b] = np.uint32(w0)
        words[4 * b + 1] = np.uint32(w1)
        words[4 * b + 2] = np.uint32(w2)
        words[4 * b + 3] = np.uint32(w3)


@loop
def random_blocks(words: NDArray[np.uint32], first: np.uint64, units: int, seed: np.uint64, stream: np.uint64) -> None:
    """`fill_blocks` as an entry point."""
    fill_blocks(words, first, units, seed, stream)
