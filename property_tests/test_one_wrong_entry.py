"""A right function of which one entry is spoiled, drawn at random, is found by the claim that looks at every entry.

The right function is a table of ends and of what lies between them, in numpy: not the package's, and nothing to compile.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import FixedFormat, FloatFormat, Overflow, Quantizer, Rounding, catalog
from numerics.properties import ClaimError, as_quantizer, checks
from tests.sampling import few

DETERMINISTIC = (Rounding.RNE, Rounding.RNA, Rounding.RTZ, Rounding.RTP, Rounding.RTN, Rounding.RTO)
STOCHASTIC = (Rounding.SR, Rounding.SR_B, Rounding.SR_C)
NARROW = [
    FloatFormat(2, 1),
    FloatFormat(4, 3),
    FloatFormat(5, 2),
    FloatFormat(3, 4, signed=False),
    catalog.E4M3,
    FixedFormat(8, 4, symmetric=True),
    FixedFormat(6, 0, signed=False),
]
WIDE = [catalog.BFLOAT16, FixedFormat(16, 8, symmetric=True)]
FORMATS = [*NARROW, *WIDE]


def ends_of(fmt):
    """Codes of the lower ends, both ends and the ties of all steps between finite magnitudes, ascending."""
    codes = np.arange(fmt.largest_code)
    low, high = (Quantizer(fmt).decode(at.astype(np.uint64)).astype(np.float64) for at in (codes, codes + 1))
    return codes, low, high, (low + high) / 2


class Table:
    """A quantizer by the ends of its steps; spoil(x, step, up, words) may change which way some go."""

    def __init__(self, fmt, mode, bits=None, spoil=lambda x, step, up, words: (up, words)):
        self.fmt, self.mode, self.bits, self.spoil = fmt, mode, bits, spoil
        self.codes, self.low, self.high, self.tie = ends_of(fmt)

    def __call__(self, x, words=None):
        exact = x.astype(np.float64)
        size, below = np.minimum(np.abs(exact), self.fmt.max), np.signbit(exact)
        at = np.clip(np.searchsorted(self.low, size, side="right") - 1, 0, len(self.low) - 1)
        inner = (size > self.low[at]) & (size < self.high[at])
        up = None if words is not None else self._up(size, at, below)
        up, words = self.spoil(exact, at, up, words)
        if words is not None:
            nu = (size - self.low[at]) / (self.high[at] - self.low[at]) * 2.0**self.bits
            k = {Rounding.SR: np.floor(nu), Rounding.SR_B: np.floor(nu + 0.5), Rounding.SR_C: np.rint(nu)}[self.mode]
            up = k + words >= 1 << self.bits
        result = np.where((up & inner) | (size >= self.high[at]), self.high[at], self.low[at])
        return np.where(below & (result != 0) | (below & self.fmt.has_negative_zero), -result, result).astype(x.dtype)

    def _up(self, size, at, below):
        odd, side = self.codes[at] % 2 == 1, np.sign(size - self.tie[at])
        return {
            Rounding.RNE: (side > 0) | ((side == 0) & odd),
            Rounding.RNA: side >= 0,
            Rounding.RTZ: np.zeros(size.shape, bool),
            Rounding.RTP: ~below,
            Rounding.RTN: below,
            Rounding.RTO: ~odd,
        }[self.mode]


def under_test(table):
    return as_quantizer(
        table, fmt=table.fmt, rounding=table.mode, random_bits=table.bits, dtype=np.float64, name="table"
    )


@pytest.mark.sampled
@pytest.mark.parametrize("mode", [*DETERMINISTIC, *STOCHASTIC], ids=lambda mode: mode.name)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_the_unspoiled_table_is_not_accused(fmt, mode):
    found = checks.every_step(under_test(Table(fmt, mode, 6 if mode.stochastic else None)))
    assert found.cases >= 2 * fmt.largest_code


@st.composite
def steps(draw, formats):
    """(format, place of a step, whether it lies below zero)."""
    fmt = draw(st.sampled_from(formats))
    return fmt, draw(st.integers(0, fmt.largest_code - 1)), draw(st.booleans()) if fmt.signed else False


@given(step=steps(FORMATS), mode=st.sampled_from(DETERMINISTIC), part=st.sampled_from(["tie", "below it", "above it"]))
def test_one_part_of_one_step_that_goes_the_wrong_way(step, mode, part):
    fmt, place, negative = step

    def spoil(x, at, up, words):
        size, tie = np.abs(x), table.tie[place]
        where = {"tie": size == tie, "below it": size < tie, "above it": size > tie}[part]
        return up ^ (where & (at == place) & (np.signbit(x) == negative)), words

    table = Table(fmt, mode, spoil=spoil)
    with pytest.raises(ClaimError, match="every_step: 1 of"):
        checks.every_step(under_test(table))


@given(step=steps(FORMATS), mode=st.sampled_from(DETERMINISTIC))
def test_one_value_that_moves(step, mode):
    fmt, place, negative = step
    table = Table(fmt, mode)
    low, high = (-end if negative else end for end in (table.low[place], table.high[place]))

    def fn(x):
        return np.where(x == high, low, table(x)).astype(x.dtype)

    with pytest.raises(ClaimError, match=r"every_step: [12] of"):
        checks.every_step(as_quantizer(fn, fmt=fmt, rounding=mode, dtype=np.float64))


@given(data=st.data(), step=steps(NARROW), mode=st.sampled_from(STOCHASTIC), bits=st.integers(1, 10))
def test_one_word_taken_for_another_in_one_step_of_one_sign(data, step, mode, bits):
    fmt, place, negative = step
    word, other = (data.draw(st.integers(0, (1 << bits) - 1)) for _ in range(2))
    assume(word != other)

    def spoil(x, at, up, words):
        return up, np.where((words == word) & (at == place) & (np.signbit(x) == negative), other, words)

    with pytest.raises(ClaimError, match="every_step: 1 of"):
        checks.every_step(under_test(Table(fmt, mode, bits, spoil)))


@few
@given(data=st.data(), fmt=st.sampled_from(WIDE), mode=st.sampled_from(STOCHASTIC), bits=st.integers(1, 16))
def test_one_word_taken_for_another_in_a_wide_format(data, fmt, mode, bits):
    word, other = (data.draw(st.integers(0, (1 << bits) - 1)) for _ in range(2))
    assume(word != other)
    negative = data.draw(st.booleans())

    def spoil(x, at, up, words):
        return up, np.where((words == word) & (np.signbit(x) == negative), other, words)

    with pytest.raises(ClaimError, match=r"every_step: [0-9]+ of"):
        checks.every_step(under_test(Table(fmt, mode, bits, spoil)))


SOURCE = FloatFormat(3, 2)


@given(data=st.data(), mode=st.sampled_from([Rounding.RNE, *STOCHASTIC]), bits=st.integers(1, 10))
def test_one_entry_of_a_table_from_codes_and_words(data, mode, bits):
    count = 1 << bits if mode.stochastic else 1
    target = FloatFormat(3, 1)
    values = Quantizer(SOURCE).decode(np.arange(1 << SOURCE.bits))
    words = np.repeat(np.arange(count), len(values)) if mode.stochastic else None
    ideal = Quantizer(target, mode, Overflow.SATURATE, bits if mode.stochastic else None)
    table = np.asarray(ideal.quantize(np.tile(values, count), words=words), np.float32).reshape(count, -1)
    word, code = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, len(values) - 1))
    assume(np.isfinite(table[word, code]))

    def fn(codes, given=0):
        return table[given, codes]

    subject = as_quantizer(fn, fmt=target, rounding=mode, random_bits=ideal.random_bits, source=SOURCE)
    assert checks.every_code(subject).cases == table.size
    table[word, code] = data.draw(st.sampled_from([v for v in (0.25, 1.0, -3.0) if v != table[word, code]]))
    with pytest.raises(ClaimError, match="every_code: 1 of"):
        checks.every_code(subject)
