"""Integers of two words against Python's own."""

import itertools

import numpy as np
import pytest

from numerics.kernels import wide

WORD = (1 << 64) - 1
TOP = 1 << 63
# Words at which a carry, a digit of 32 bits or a correction of the quotient can go wrong.
EDGES = (0, 1, 2, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, TOP - 1, TOP, TOP + 1, WORD - (1 << 32), WORD - 1, WORD)
DRAWN = tuple(int(w) for w in np.random.default_rng(0).integers(1 << 64, size=12, dtype=np.uint64))
WORDS = EDGES + DRAWN


def u64(*words):
    return tuple(np.uint64(word) for word in words)


def joined(words):
    return int(words[0]) << 64 | int(words[1])


def test_multiply():
    for x, y in itertools.product(WORDS, repeat=2):
        assert joined(wide.multiply(*u64(x, y))) == x * y


def test_divide():
    count = 0
    for high, low, divisor in itertools.product(WORDS, repeat=3):
        if divisor >= TOP and high < divisor:
            quotient, rest = wide.divide(*u64(high, low, divisor))
            assert (int(quotient), int(rest)) == divmod(high << 64 | low, divisor)
            count += 1
    assert count > 1000


def test_divide_corrects_its_digits_twice():
    # The divisor's low half is all ones: the first guess of a digit is too large by two.
    divisor, high, low = TOP | 0xFFFFFFFF, TOP, 3
    quotient, rest = wide.divide(*u64(high, low, divisor))
    assert (int(quotient), int(rest)) == divmod(high << 64 | low, divisor)
    assert high // (divisor >> 32) - (int(quotient) >> 32) == 2


@pytest.mark.parametrize("carry", [0, 1])
def test_add(carry):
    pairs = [*itertools.product(EDGES, repeat=2), *zip(DRAWN, DRAWN[::-1], strict=True)]
    for x, y in itertools.product(pairs, pairs[::7]):
        wanted = (joined(x) + joined(y) + carry) % (1 << 128)
        assert joined(wide.add(*u64(*x, *y, carry))) == wanted


@pytest.mark.parametrize("count", [0, 1, 31, 32, 63, 64, 65, 100, 127, 128, 129, 192, 10**6])
def test_shifts(count):
    for high, low in itertools.product(WORDS, repeat=2):
        whole = high << 64 | low
        if count < 128:
            assert joined(wide.shift_left(*u64(high, low), np.int64(count))) == (whole << count) % (1 << 128)
        kept = whole >> count
        odd = kept | (kept << count != whole)
        assert joined(wide.shift_right_odd(*u64(high, low), np.int64(count))) == odd


def test_zeros_above():
    for bit in range(128):
        for whole in (1 << bit, (1 << bit) | 1, (2 << bit) - 1):
            assert wide.zeros_above(*u64(whole >> 64, whole & WORD)) == 127 - bit
