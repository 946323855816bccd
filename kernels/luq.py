"""Logarithmic unbiased quantization: sign and power-of-two multiples of alpha, one random word an element.

A magnitude m lies in a bin [low, low + step): [0, alpha), or [L, 2 L) with L = alpha 2**k. It goes up with probability
p = (m - low)/step: iff floor(p 2**r) + word >= 2**r, that is p >= c with c = (2**r - word)/2**r. So no quotient is needed:
the sign of m - low - step c decides. m - low is exact (Sterbenz), and where c is a float one fma shows the sign.

c has up to 33 bits. float64 holds it; for float32 and r > 24, with V the complement of the word aligned to the top of 32
bits, c = a + b, a the top 24 bits of V and 0 < b <= 2**-24, and fma(-step, b, fma(-step, a, m - low)) decides. With u the
ulp of step, the inner difference is a multiple of 2**-24 u where it matters. Up to 2**24 such units it is a float32 and
the outer fma sees it whole; beyond, its sign is right after rounding and its size above that of step b < u. An m below
2**-23 alpha has bits below 2**-24 u: there a is 0, or so large that nothing goes up, or m and a alpha are within a factor
of two, and the difference is exact again. Underflow: the caller sees to it that alpha is at least 2**FLOOR.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ._jit import SCALAR, core, loop
from .elementwise import DRAWN_1, DRAWN_2, DRAWN_4, GIVEN, TILE
from .philox import fill_blocks
from .primitives import fma, from_bits, shift_left, shift_right, to_bits, widest_vectors

FLOOR32, FLOOR64 = -90, -980  # exponents of the smallest alpha for which nothing below underflows


SHORT = 24  # random bits up to which c is a float32
U32, U64, I32, I64, F32, F64 = np.uint32, np.uint64, np.int32, np.int64, np.float32, np.float64


def _make_luq(U, S, F, EXPONENT, MAGNITUDE):
    NONE, ZERO = S(0), F(0)
    SIZE, SIGN = U(MAGNITUDE), U(MAGNITUDE + 1)

    @core
    def bin_of(bits, alpha, top):
        """(|x|, step, low) as floats, from the bits of x and of alpha and the largest value; alpha is normal."""
        magnitude = U(min(U(bits & SIZE), top))
        above = S(U(magnitude - alpha))  # exponents and, below them, significands
        step = from_bits(U(alpha + U(U(max(above, NONE)) & U(EXPONENT))))
        return from_bits(magnitude), step, (step if above >= NONE else ZERO)

    @core
    def ended(bits, step, low, rest):
        return U(to_bits(low + (step if rest >= ZERO else ZERO)) | U(bits & SIGN))

    return bin_of, ended


_bin32, _ended32 = _make_luq(U32, I32, F32, 0x7F800000, 0x7FFFFFFF)
_bin64, _ended64 = _make_luq(U64, I64, F64, 0x7FF << 52, (1 << 63) - 1)


def _by_chance32(bits, c, alpha, top):
    m, step, low = _bin32(bits, alpha, top)
    return _ended32(bits, step, low, fma(-step, c, m - low))


def _by_chance64(bits, c, alpha, top):
    m, step, low = _bin64(bits, alpha, top)
    return _ended64(bits, step, low, fma(-step, c, m - low))


def _by_word32(bits, word, alpha, top):
    m, step, low = _bin32(bits, alpha, top)
    coarse = F32(I32(shift_right(U32(~word), U32(8)))) * F32(2.0**-24)
    fine = F32(I32(U32(U32(U32(~word) & U32(255)) + U32(1)))) * F32(2.0**-32)
    return _ended32(bits, step, low, fma(-step, fine, fma(-step, coarse, m - low)))


def _by_word64(bits, word, alpha, top):
    m, step, low = _bin64(bits, alpha, top)
    return _ended64(bits, step, low, fma(-step, (F64(U32(~word)) + F64(1)) * F64(2.0**-32), m - low))


def by_chance(bits, c, alpha, top):
    """Bits of one quantized value; alpha, top: bits of the smallest and the largest magnitude; c: the least p that goes up."""
    raise NotImplementedError("compiled code only")


@overload(by_chance, jit_options=SCALAR)
def _by_chance(bits, c, alpha, top):
    return _by_chance32 if bits == types.uint32 else _by_chance64


def by_word(bits, word, alpha, top):
    """The same by a random word (uint32), aligned to the top."""
    raise NotImplementedError("compiled code only")


@overload(by_word, jit_options=SCALAR)
def _by_word(bits, word, alpha, top):
    return _by_word32 if bits == types.uint32 else _by_word64


def _code32(bits, alpha, place):
    size = U32(bits & U32(0x7FFFFFFF))
    exponent = U32(shift_right(U32(size - alpha), U32(23)) + U32(1))
    sign = shift_left(shift_right(bits, U32(31)), U32(place))
    return U32((exponent if size != U32(0) else U32(0)) | sign)


def _code64(bits, alpha, place):
    size = U64(bits & U64((1 << 63) - 1))
    exponent = U64(shift_right(U64(size - alpha), U64(52)) + U64(1))
    sign = shift_left(shift_right(bits, U64(63)), U64(place))
    return U64((exponent if size != U64(0) else U64(0)) | sign)


def grid_code(bits, alpha, place):
    """The code of a quantized value by its bits: sign at `place`, below it 0 for zero and k + 1 for alpha 2**k."""
    raise NotImplementedError("compiled code only")


@overload(grid_code, jit_options=SCALAR)
def _grid_code(bits, alpha, place):
    return _code32 if bits == types.uint32 else _code64


def larger(most, bits):
    """The larger of `most` and the bits of a float without its sign."""
    raise NotImplementedError("compiled code only")


@overload(larger, jit_options=SCALAR)
def _larger(most, bits):
    if bits == types.uint32:
        return lambda most, bits: U32(max(most, U32(bits & U32(0x7FFFFFFF))))
    return lambda most, bits: U64(max(most, U64(bits & U64((1 << 63) - 1))))


@core
def chances(units, unused, random_bits, c):
    """c[i] = 1 - word/2**random_bits, the word what is left of units[i] without its lowest `unused` bits; exact.

    A loop of its own: the vectoriser gives up on a loop that widens units and does more.
    """
    kind = c.dtype.type
    one, unit = kind(1), kind(-(2.0**-random_bits))
    for i in range(c.size):
        c[i] = fma(kind(I32(shift_right(U32(units[i]), unused))), unit, one)


@loop
def largest_bits(x: NDArray[Any], start: int, stop: int) -> Any:
    """The bits of the largest |x[i]|, i in [start, stop), 0 of none; above those of all numbers for infinity and NaN."""
    widest_vectors()
    x = x[start:stop]
    most = to_bits(x.dtype.type(0))
    for i in range(x.size):
        most = larger(most, to_bits(x[i]))
    return most


@loop
def quantize(
    x: NDArray[Any],
    out: NDArray[Any],
    alpha: Any,
    top: Any,
    words: NDArray[np.uint32],
    source: int,
    random_bits: int,
    seed: np.uint64,
    stream: np.uint64,
    offset: np.uint64,
    start: int,
    stop: int,
) -> Any:
    """out[i] = x[i] on the grid, i in [start, stop); returns what `largest_bits` does.

    alpha, top: floats of x's dtype. source: GIVEN, and uint32 words [n] below 2**random_bits; or DRAWN_n, and element i
    draws word offset + i of (seed, stream).
    """
    widest_vectors()
    alpha_bits, top_bits = to_bits(alpha), to_bits(top)
    unit_bytes = 4 if source == DRAWN_4 else (2 if source == DRAWN_2 else 1)
    units = 16 // unit_bytes
    blocks = np.empty(TILE * unit_bytes // 4 + 8, np.uint32)
    c = np.empty(TILE, x.dtype)
    unused = np.uint32(0 if source == GIVEN else 8 * unit_bytes - random_bits)
    align = np.uint32(32 - random_bits)
    skip: Any = 0
    most = to_bits(x.dtype.type(0))
    for begin in range(start, stop, TILE):
        end = min(begin + TILE, stop)
        if source != GIVEN:
            element_number = np.uint64(offset + np.uint64(begin))
            first = np.uint64(element_number // np.uint64(units))
            skip = np.int64(element_number % np.uint64(units))
            fill_blocks(blocks[: 4 * ((skip + end - begin + units - 1) // units)], first, units, seed, stream)
        wide = words[begin:end] if source == GIVEN else blocks[skip : skip + end - begin]
        xs, outs = x[begin:end], out[begin:end]
        if random_bits <= SHORT:
            needed = c[: end - begin]
            if source == DRAWN_1:
                chances(blocks.view(np.uint8)[skip : skip + end - begin], unused, random_bits, needed)
            elif source == DRAWN_2:
                chances(blocks.view(np.uint16)[skip : skip + end - begin], unused, random_bits, needed)
            else:
                chances(wide, unused, random_bits, needed)
            for i in range(xs.size):
                bits = to_bits(xs[i])
                outs[i] = from_bits(by_chance(bits, needed[i], alpha_bits, top_bits))
                most = larger(most, bits)
        else:
            for i in range(xs.size):
                bits = to_bits(xs[i])
                word = shift_left(shift_right(wide[i], unused), align)
                outs[i] = from_bits(by_word(bits, word, alpha_bits, top_bits))
                most = larger(most, bits)
    return most
