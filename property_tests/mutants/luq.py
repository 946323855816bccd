"""Mutants of LUQ: powers of two and zero, by words. Its format is E3M0, whose smallest value is alpha."""

from typing import Any

import numpy as np

from numerics import FloatFormat, NanEncoding, Rounding
from numerics.properties import QuantizerUnderTest, as_quantizer

from . import own
from .record import Mutant, Right
from .words import BITS, TOP, sr

POWERS = FloatFormat(3, 0, infinities=False, nan=NanEncoding.NONE, name="e3m0")
SMALL_POWERS = FloatFormat(3, 0, 31, infinities=False, nan=NanEncoding.NONE, name="e3m0 with bias 31")
Array = Any
_MUTANTS: list[Mutant] = []


def _subject(fn: Any, fmt: FloatFormat) -> QuantizerUnderTest:
    return as_quantizer(fn, fmt=fmt, rounding=Rounding.SR, random_bits=BITS)


LUQ = Right("LUQ by 6-bit words", lambda _: _subject(own.by_words(POWERS, BITS, sr), POWERS))
LUQ_SMALL = Right("LUQ of small alpha", lambda _: _subject(own.by_words(SMALL_POWERS, BITS, sr), SMALL_POWERS))


def mutant(where: str, caught_by: str, twin: Right = LUQ) -> Any:
    """Adds fn(x, words) to the mutants, under the claims of its twin."""

    def add(fn: Any) -> Any:
        right = twin.make(0)
        assert isinstance(right, QuantizerUnderTest)
        fmt = right.fmt
        assert isinstance(fmt, FloatFormat)
        _MUTANTS.append(Mutant(fn.__name__, where, lambda _: _subject(fn, fmt), caught_by, twin))
        return fn

    return add


@mutant(
    "LUQ, arXiv 2112.10769: noise of a bin is added, then the nearest power of all, which may be the one below",
    "unbiased",
)
def noise_then_nearest_power(x: Array, words: Array) -> Array:
    low, step, part = own.split(x, POWERS)
    noisy = low + step * (part + (words + 0.5) / TOP - 0.5)
    power = np.exp2(np.floor(np.log2(np.maximum(noisy, POWERS.smallest_normal / 2) * 4 / 3)))
    drawn = np.where(low > 0, power, step * sr(part * TOP, words))
    return own.saturate(drawn, x, POWERS)


@mutant("third-party LUQ, xijiu9/Train_Transformers_with_INT4: log2(x / alpha) is rounded stochastically", "unbiased")
def stochastic_in_the_logarithm(x: Array, words: Array) -> Array:
    low, step, part = own.split(x, POWERS)
    chance = np.where(low > 0, np.log2(1 + part), part)
    return own.saturate(low + step * sr(chance * TOP, words), x, POWERS)


@mutant(
    "of a kind: scale = maximum / levels + 1e-11, against a division by zero: gradients are as small as that",
    "unbiased",
    LUQ_SMALL,
)
def epsilon_in_the_scale(x: Array, words: Array) -> Array:
    alpha = SMALL_POWERS.smallest_normal
    return own.by_words(SMALL_POWERS, BITS, sr)(x * (alpha / (alpha + 1e-11)), words)


@mutant("of a kind: stochastic underflow by p >= u with u from 0 on: zeros become alpha now and then", "fixed_points")
def zero_goes_up(x: Array, words: Array) -> Array:
    low, step, part = own.split(x, POWERS)
    up = np.where(low > 0, sr(part * TOP, words), part * TOP >= TOP - 1 - words)
    return own.saturate(low + step * up, x, POWERS)


@mutant("LUQ, arXiv 2112.10769: hindsight maximum: one that has grown since the last step is clipped", "fixed_points")
def clipped_at_the_last_maximum(x: Array, words: Array) -> Array:
    seen = np.float32(POWERS.max / 2)
    return own.by_words(POWERS, BITS, sr)(np.clip(x, -seen, seen), words)


@mutant(
    "of a kind: FP4 without stochastic underflow: what is below alpha goes to the nearer of 0 and alpha", "unbiased"
)
def underflow_to_the_nearest(x: Array, words: Array) -> Array:
    low, step, part = own.split(x, POWERS)
    up = np.where(low > 0, sr(part * TOP, words), part >= 0.5)
    return own.saturate(low + step * up, x, POWERS)


@mutant("of a kind: two roundings, underflow and powers, by one word: alpha that came up goes up again", "faithful")
def one_word_for_two_roundings(x: Array, words: Array) -> Array:
    low, step, part = own.split(x, POWERS)
    first = own.by_words(POWERS, BITS, sr)(x, words)
    again = (low == 0) & (np.abs(first) > 0) & (words == TOP - 1) & (part < 0.5)
    return own.saturate(np.where(again, 2 * step, np.abs(first)), x, POWERS)


MUTANTS = tuple(_MUTANTS)
