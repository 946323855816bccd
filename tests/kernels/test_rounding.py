"""THE rounder, through a compiled loop, against the decision in exact rationals."""

import itertools
from fractions import Fraction

import numba
import numpy as np
import pytest

from numerics import Rounding, reference
from numerics.kernels.rounding import MODES, round_up32, round_up64
from tests.numerics import grids
from tests.numerics.grids import DETERMINISTIC, STOCHASTIC

HALF, ONES = 1 << 31, (1 << 32) - 1
# What a discarded part can end in: nothing, the sticky bit alone, and all that lies around the next word's first bit.
RESTS = (0, 1, 2, HALF - 1, HALF, HALF + 1, ONES)


@numba.njit
def loop32(mode, negative, odd, fraction, rest, word, mask, up):
    for i in range(up.size):
        up[i] = round_up32(mode[i], negative[i], odd[i], fraction[i], rest[i], word[i], mask[i])


@numba.njit
def loop64(mode, negative, odd, fraction, rest, word, mask, up):
    for i in range(up.size):
        up[i] = round_up64(mode[i], negative[i], odd[i], fraction[i], rest[i], word[i], mask[i])


def decisions(lane, cases):
    """The rounder's answer to (mode, negative, odd, fraction, rest, word, random bits) in lanes of 32 or 64 bits."""
    unsigned, loop = {32: (np.uint32, loop32), 64: (np.uint64, loop64)}[lane]
    mode, negative, odd, fraction, rest, word, bits = np.array(cases, dtype=np.int64).T
    align = 32 - bits
    columns = (negative, odd, fraction, rest, word << align, (1 << 32) - (1 << align))
    up = np.empty(len(cases), unsigned)
    loop(mode, *(column.astype(unsigned) for column in columns), up)
    assert set(up.tolist()) <= {0, 1}
    return up == 1


def expected(case, below=Fraction(0)):
    """The oracle's answer; `below`: what lies under the last bit of `rest`."""
    mode, negative, odd, fraction, rest, word, bits = case
    part = Fraction(fraction << 32 | rest, 1 << 64) + below
    return reference.rounds_up(
        part, Rounding(mode), negative=bool(negative), odd=bool(odd), word=word, random_bits=bits
    )


def assert_decided(lane, cases):
    found = decisions(lane, cases)
    for case, up in zip(cases, found.tolist(), strict=True):
        assert up == expected(case), (Rounding(case[0]).name, case)


def test_every_mode_is_listed_once():
    assert sorted(MODES) == sorted(int(mode) for mode in grids.MODES)


@pytest.mark.parametrize("lane", [32, 64])
@pytest.mark.parametrize("mode", DETERMINISTIC, ids=lambda mode: mode.name)
def test_deterministic_modes_on_all_short_fractions(mode, lane):
    fractions = {top << 26 for top in range(64)} | {1, 2, HALF - 1, HALF + 1, ONES - 1, ONES}
    cases = [
        (int(mode), negative, odd, fraction, rest, 0, 32)
        for fraction, rest, negative, odd in itertools.product(sorted(fractions), RESTS, (0, 1), (0, 1))
    ]
    assert_decided(lane, cases)


@pytest.mark.parametrize("lane", [32, 64])
@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
def test_stochastic_modes_on_all_short_fractions_and_all_words(mode, bits, lane):
    # bits + 3 leading bits: everything that the decision can see, and one more; then neighbours of each.
    step = 1 << (32 - bits - 3)
    fractions = sorted({(k * step + near) & ONES for k in range(1 << (bits + 3)) for near in (-1, 0, 1)})
    cases = [
        (int(mode), 0, 0, fraction, rest, word, bits)
        for fraction, rest, word in itertools.product(fractions, RESTS, range(1 << bits))
    ]
    assert_decided(lane, cases)


@pytest.mark.parametrize("lane", [32, 64])
@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
def test_stochastic_modes_on_drawn_fractions_at_the_deciding_words(mode, lane):
    rng = np.random.default_rng(int(mode))
    cases = []
    for bits in (*range(1, 33), *[32] * 20):
        for _ in range(12):
            unit = 1 << (32 - bits)
            near = int(rng.choice([-1, 0, 1, unit >> 1, (unit >> 1) - 1, (unit >> 1) + 1, int(rng.integers(unit))]))
            fraction = (int(rng.integers(1 << bits)) * unit + near) & ONES
            rest = int(rng.choice((*RESTS, int(rng.integers(1 << 32)))))
            part = Fraction(fraction << 32 | rest, 1 << 64)
            threshold = reference.stochastic_threshold(part, mode, bits)
            last = (1 << bits) - 1
            # The words on either side of the decision, the ends, and one anywhere.
            words = {0, last, int(rng.integers(last + 1)), last + 1 - threshold, last - threshold}
            negative, odd = (int(v) for v in rng.integers(2, size=2))
            cases += [
                (int(mode), negative, odd, fraction, rest, word, bits) for word in sorted(words) if 0 <= word <= last
            ]
    assert_decided(lane, cases)
    assert sum(case[-1] == 32 for case in cases) > 500


@pytest.mark.parametrize("mode", grids.MODES, ids=lambda mode: mode.name)
def test_the_sticky_bit_stands_for_anything_below_it(mode):
    rng = np.random.default_rng(int(mode) + 100)
    cases = []
    for _ in range(300):
        bits = int(rng.integers(1, 33))
        fraction = int(rng.choice([0, 1, HALF, HALF - 1, ONES, int(rng.integers(1 << 32))]))
        rest = int(rng.choice([0, HALF, HALF - 2, ONES - 1, int(rng.integers(1 << 32))])) | 1
        negative, odd = (int(v) for v in rng.integers(2, size=2))
        cases.append((int(mode), negative, odd, fraction, rest, int(rng.integers(1 << bits)), bits))
    found = decisions(32, cases)
    for below in (Fraction(-1, 1 << 65), Fraction(1, 1 << 65)):
        assert found.tolist() == [expected(case, below) for case in cases]


@pytest.mark.parametrize("mode", STOCHASTIC, ids=lambda mode: mode.name)
def test_exactly_k_of_all_words_round_up(mode):
    bits = 8
    rng = np.random.default_rng(int(mode) + 200)
    for fraction, rest in zip(rng.integers(1 << 32, size=40).tolist(), rng.choice(RESTS, 40).tolist(), strict=True):
        cases = [(int(mode), 0, 0, fraction, rest, word, bits) for word in range(1 << bits)]
        k = reference.stochastic_threshold(Fraction(fraction << 32 | rest, 1 << 64), mode, bits)
        assert decisions(32, cases).sum() == k
