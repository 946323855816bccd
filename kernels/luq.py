"""Logarithmic unbiased quantization: sign and power-of-two multiples of alpha, one random word an element.

A magnitude m lies in a bin [low, low + step): [0, alpha), or [L, 2 L) with L = alpha 2**k. It goes up with probability
p = (m - low)/step: iff floor(p 2**r) + word >= 2**r, that is p >= c with c = (2**r - word)/2**r. So no quotient is needed:
the sign of m - step g decides, g = c in the lowest bin and 1 + c above, and where g is a float one fma shows it.

c has up to 33 bits. float64 holds g; float32 does for r <= 23. Beyond, with V the complement of the word aligned to the top
of 32 bits, c = a + b, a the top 23 bits of V and 0 < b <= 2**-23, and fma(-step, b, fma(-step, g - b, m)) decides. With u
the ulp of step, the inner difference is a multiple of 2**-23 u where it matters. Up to 2**24 such units it is a float32
and the outer fma sees it whole; beyond, its sign is right after rounding and its size above that of step b < 2 u. An m
below 2**-23 alpha has bits below 2**-23 u: there a is 0 and the inner fma gives m, or step a is above m and nothing goes
up. Underflow: the caller sees to it that alpha is at least 2**FLOOR.

Words become floats by an exponent put before their bits, which takes an instruction less than a conversion.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ._jit import SCALAR, core, loop
from .elementwise import DRAWN_2, DRAWN_4, DRAWN_TILE, GIVEN
from .philox import fill_blocks
from .primitives import fma, from_bits, shift_left, shift_right, to_bits, uncounted, widest_vectors
from .streams import ask_ahead, read_ahead, strip_of

FLOOR32, FLOOR64 = -90, -980  # exponents of the smallest alpha for which nothing below underflows
SHORT = 23  # random bits up to which g is a float32
U32, U64, F32, F64 = np.uint32, np.uint64, np.float32, np.float64
TWO, THREE = F32(2), F32(3)


def _make_luq(U, F, EXPONENT, MAGNITUDE):
    ZERO = F(0)
    SIZE, SIGN = U(MAGNITUDE), U(MAGNITUDE + 1)

    @core
    def bin_of(bits, alpha, top):
        """(|x|, step, whether low is step and not 0) from the bits of x and of alpha and the largest value; alpha is normal."""
        magnitude = U(min(U(bits & SIZE), top))
        above = U(U(max(magnitude, alpha)) - alpha)  # exponents and, below them, significands
        step = from_bits(U(alpha + U(above & U(EXPONENT))))
        return from_bits(magnitude), step, magnitude >= alpha

    @core
    def ended(bits, step, above, rest):
        return U(to_bits((step if above else ZERO) + (step if rest >= ZERO else ZERO)) | U(bits & SIGN))

    return bin_of, ended


_bin32, _ended32 = _make_luq(U32, F32, 0x7F800000, 0x7FFFFFFF)
_bin64, _ended64 = _make_luq(U64, F64, 0x7FF << 52, (1 << 63) - 1)


def _by_short_word32(bits, word, alpha, top):
    m, step, above = _bin32(bits, alpha, top)
    drawn = from_bits(U32(word | U32(0x3F800000)))  # 1 + word/2**23
    return _ended32(bits, step, above, fma(-step, (THREE if above else TWO) - drawn, m))


def _by_word32(bits, word, alpha, top):
    m, step, above = _bin32(bits, alpha, top)
    coarse = from_bits(U32(shift_right(word, U32(9)) ^ U32(0x3FFFFFFF)))  # 1 + a
    fine = from_bits(U32(U32(word & U32(511)) ^ U32(0x3B0001FF))) - F32(2.0**-9 - 2.0**-32)
    rest = fma(-step, coarse if above else coarse - F32(1), m)
    return _ended32(bits, step, above, fma(-step, fine, rest))


def _make_by_word64(PLACE):
    def by_word64(bits, word, alpha, top):
        m, step, above = _bin64(bits, alpha, top)
        drawn = from_bits(U64(shift_left(U64(word), U64(PLACE)) | U64(0x3FF << 52)))  # 1 + word/2**(52 - PLACE)
        return _ended64(bits, step, above, fma(-step, (F64(3) if above else F64(2)) - drawn, m))

    return by_word64


_by_word64, _by_short_word64 = _make_by_word64(20), _make_by_word64(29)


def by_word(bits, word, alpha, top):
    """Bits of one quantized value; alpha, top: of the smallest and the largest magnitude; word: uint32, aligned to the top."""
    raise NotImplementedError("compiled code only")


@overload(by_word, jit_options=SCALAR)
def _by_word(bits, word, alpha, top):
    return _by_word32 if bits == types.uint32 else _by_word64


def by_short_word(bits, word, alpha, top):
    """The same by a word of up to SHORT bits, aligned to the top of as many."""
    raise NotImplementedError("compiled code only")


@overload(by_short_word, jit_options=SCALAR)
def _by_short_word(bits, word, alpha, top):
    return _by_short_word32 if bits == types.uint32 else _by_short_word64


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


@loop
def largest_bits(x: NDArray[Any], start: int, stop: int) -> Any:
    """The bits of the largest |x[i]|, i in [start, stop), 0 of none; above those of all numbers for infinity and NaN."""
    widest_vectors()
    most, strip = to_bits(x.dtype.type(0)), strip_of(x, x)
    for begin in range(start, stop, strip):
        read_ahead(x, begin, stop)
        some = uncounted(x)[begin : min(begin + strip, stop)]
        for i in range(some.size):
            most = larger(most, to_bits(some[i]))
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
    most, strip = to_bits(x.dtype.type(0)), strip_of(x, out)
    if source == GIVEN:
        align = np.uint32((SHORT if random_bits <= SHORT else 32) - random_bits)
        for begin in range(start, stop, strip):
            ask_ahead(x, out, begin, stop)
            end = min(begin + strip, stop)
            xs, outs, given = x[begin:end], out[begin:end], words[begin:end]
            if random_bits <= SHORT:
                for i in range(xs.size):
                    bits = to_bits(xs[i])
                    outs[i] = from_bits(by_short_word(bits, shift_left(given[i], align), alpha_bits, top_bits))
                    most = larger(most, bits)
            else:
                for i in range(xs.size):
                    bits = to_bits(xs[i])
                    outs[i] = from_bits(by_word(bits, shift_left(given[i], align), alpha_bits, top_bits))
                    most = larger(most, bits)
        return most
    unit_bytes = 4 if source == DRAWN_4 else (2 if source == DRAWN_2 else 1)
    units = 16 // unit_bytes
    mask = np.uint32((1 << 32) - (1 << (32 - random_bits)))
    unused, align = np.uint32(8 * unit_bytes - random_bits), np.uint32(SHORT - random_bits)  # of short words
    blocks = np.empty(DRAWN_TILE * unit_bytes // 4 + 8, np.uint32)
    for begin in range(start, stop, DRAWN_TILE):
        end = min(begin + DRAWN_TILE, stop)
        element_number = np.uint64(offset + np.uint64(begin))
        first = np.uint64(element_number // np.uint64(units))
        skip = np.int64(element_number % np.uint64(units))
        fill_blocks(blocks[: 4 * ((skip + end - begin + units - 1) // units)], first, units, seed, stream)
        for low in range(begin, end, strip):
            ask_ahead(x, out, low, stop)
            xs, outs = x[low : min(low + strip, end)], out[low : min(low + strip, end)]
            at = skip + low - begin
            if source == DRAWN_4:
                wide = blocks[at : at + xs.size]
                for i in range(xs.size):
                    bits = to_bits(xs[i])
                    outs[i] = from_bits(by_word(bits, np.uint32(wide[i] & mask), alpha_bits, top_bits))
                    most = larger(most, bits)
            elif source == DRAWN_2:
                pairs = blocks.view(np.uint16)[at : at + xs.size]
                for i in range(xs.size):
                    bits = to_bits(xs[i])
                    word = shift_left(shift_right(np.uint32(pairs[i]), unused), align)
                    outs[i] = from_bits(by_short_word(bits, word, alpha_bits, top_bits))
                    most = larger(most, bits)
            else:
                singles = blocks.view(np.uint8)[at : at + xs.size]
                for i in range(xs.size):
                    bits = to_bits(xs[i])
                    word = shift_left(shift_right(np.uint32(singles[i]), unused), align)
                    outs[i] = from_bits(by_short_word(bits, word, alpha_bits, top_bits))
                    most = larger(most, bits)
    return most
