"""Mutants of stochastic rounding that take their random words: all results can be enumerated, nothing is left to chance."""

from collections.abc import Callable
from typing import Any

import numpy as np

from numerics import FixedFormat, FloatFormat, NanEncoding, Rounding, catalog
from numerics.properties import QuantizerUnderTest, as_quantizer

from . import own
from .record import Mutant, Right

SMALL = FloatFormat(3, 2, infinities=False, nan=NanEncoding.NONE, name="e3m2")
FIXED = FixedFormat(16, 8)
BITS, MANY = 6, 24
TOP = 2.0**BITS
Array = Any


def sr(scaled: Array, words: Array) -> Array:
    """The magnitude goes up iff floor(nu 2**r) + R >= 2**r."""
    return np.floor(scaled) + words >= TOP


def _sr_many(scaled: Array, words: Array) -> Array:
    return np.floor(scaled) + words >= 2.0**MANY


def _sr_b(scaled: Array, words: Array) -> Array:
    return np.floor(scaled + 0.5) + words >= TOP


def _make(fn: Any, fmt: Any, bits: int, mode: Rounding = Rounding.SR) -> Callable[[int], QuantizerUnderTest]:
    return lambda _: as_quantizer(fn, fmt=fmt, rounding=mode, random_bits=bits)


SR = Right("SR by 6-bit words", _make(own.by_words(SMALL, BITS, sr), SMALL, BITS))
SR_B = Right("SR_B by 6-bit words", _make(own.by_words(SMALL, BITS, _sr_b), SMALL, BITS, Rounding.SR_B))
SR_FIX = Right(
    "fixed-point SR by 24-bit words",
    _make(own.by_words(FIXED, MANY, _sr_many, own.saturate_fixed, own.split_fixed), FIXED, MANY),
)
SR_HALF = Right(
    "binary16 SR by 24-bit words", _make(own.by_words(catalog.BINARY16, MANY, _sr_many), catalog.BINARY16, MANY)
)
_MUTANTS: list[Mutant] = []


def mutant(where: str, caught_by: str, twin: Right = SR) -> Any:
    """Adds fn(x, words) to the mutants, under the claims of its twin."""

    def add(fn: Any) -> Any:
        right = twin.make(0)
        assert isinstance(right, QuantizerUnderTest)
        make = _make(fn, right.fmt, int(right.random_bits or 0), right.rounding)
        _MUTANTS.append(Mutant(fn.__name__, where, make, caught_by, twin))
        return fn

    return add


def _variant(name: str, up: Any, where: str, caught_by: str) -> None:
    fn = own.by_words(SMALL, BITS, up)
    fn.__name__ = name
    mutant(where, caught_by)(fn)


_variant(
    "greater_for_at_least",
    lambda scaled, words: np.floor(scaled) + words > TOP,
    "nanoGPT's LUQ kernel: > and >= change places against a random word, one word too few goes up",
    "bias",
)
_variant(
    "one_word_for_another",
    lambda scaled, words: sr(scaled, np.where(words == 50, 51, words)),
    "of a kind: a table of words, or a counter, that skips one: of 64 words two are the same",
    "decision",
)
_variant(
    "at_least_for_greater",
    lambda scaled, words: np.floor(scaled) + words + 1 >= TOP,
    "Tenstorrent Wormhole SFPSTOCHRND: a little too large, and exact values can change",
    "fixed_points",
)
_variant(
    "complement_of_the_word",
    lambda scaled, words: words < np.floor(scaled),
    "P3109 v4.0 against MATLAB's chop: R < k has the same mean, but other words go up",
    "word_order",
)
_variant(
    "four_bits_of_six",
    lambda scaled, words: np.floor(scaled / 4) + words // 4 >= TOP / 4,
    "mptorch b8e4dc8, prng=: the remainder is cut to fewer bits than the words have",
    "bias",
)
_variant(
    "lowest_bit_stuck",
    lambda scaled, words: np.floor(scaled) + (words // 2 * 2 + 1) >= TOP,
    "of a kind: a generator with a bit that does not change: some words cannot occur",
    "bias",
)
_variant(
    "word_of_one_lane_short",
    lambda scaled, words: np.floor(scaled) + words // 16 >= TOP,
    "oneDNN PR 2903: the word is not aligned with the bits that are dropped, SR to f8 always goes down",
    "bias",
)
_variant(
    "half_up_in_the_remainder",
    lambda scaled, words: np.floor(scaled + 0.5) + words >= TOP,
    "P3109 v4.0 4.7.4: StochasticB's threshold where StochasticA is claimed",
    "decision",
)
_variant(
    "probability_by_the_exponent",
    lambda scaled, words: np.floor(np.log2(1 + scaled / TOP) * TOP) + words >= TOP,
    "third-party LUQ: SR of log2(x), biased by up to 0.086 of the lower neighbour",
    "unbiased",
)
_variant(
    "words_past_the_middle",
    lambda scaled, words: np.floor(scaled) + (words + TOP / 2) % TOP >= TOP,
    "of a kind: signed words read as unsigned ones: uniform still, but not in the order that is claimed",
    "word_order",
)
_variant(
    "squared_probability",
    lambda scaled, words: np.floor(scaled * scaled / TOP) + words >= TOP,
    "of a kind: the word is compared with the product of remainder and remainder (a remainder scaled twice)",
    "unbiased",
)


@mutant("P3109 v4.0 4.7.4: the remainder is cut where SR_B rounds it, which doubles the bias", "bias", SR_B)
def cut_for_rounded(x: Array, words: Array) -> Array:
    return own.by_words(SMALL, BITS, sr)(x, words)


@mutant(
    "microxcaling 7bc4195, round=dither: floor(|a| + rand) in float32 goes up from exact values",
    "fixed_points",
    SR_HALF,
)
def floor_of_sum_in_float32(x: Array, words: Array) -> Array:
    _, step, _ = own.split(x, catalog.BINARY16)
    size = np.minimum(np.where(np.isfinite(x), np.abs(x), 0), 4 * catalog.BINARY16.max)
    scaled = (size / step).astype(np.float32) + (words / 2.0**MANY).astype(np.float32)
    return own.saturate(np.floor(scaled) * step, x, catalog.BINARY16)


@mutant(
    "qtorch 0.3.0: x + r - 0.5 in float32, then nearbyint: 127.98828125 moves 8188 times in 2**22",
    "fixed_points",
    SR_FIX,
)
def nearest_of_sum_in_float32(x: Array, words: Array) -> Array:
    size = np.clip(np.where(np.isfinite(x), x, 0), -1e4, 1e4)
    scaled = (size * 256).astype(np.float32) + (words / 2.0**MANY).astype(np.float32) - np.float32(0.5)
    result = np.where(np.isinf(x), np.copysign(np.inf, x), np.rint(scaled) / 256)
    return (np.clip(result, FIXED.min, FIXED.max) + 0.0).astype(x.dtype)


@mutant("P3109 and arXiv 2404.14010 round once: SR after a rounding to nearest into a wider format is biased", "bias")
def after_another_rounding(x: Array, words: Array) -> Array:
    wider = FloatFormat(3, 5, infinities=False, nan=NanEncoding.NONE)
    with np.errstate(over="ignore"):
        first = np.where(np.isinf(x), x, own.near(x, wider)).astype(x.dtype)
    return own.by_words(SMALL, BITS, sr)(first, words)


@mutant("of a kind: LUQ without stochastic underflow: magnitudes under the smallest value become zero", "unbiased")
def underflow_to_zero(x: Array, words: Array) -> Array:
    result = own.by_words(SMALL, BITS, sr)(x, words)
    return np.where(np.abs(x) < SMALL.smallest_subnormal, np.copysign(0, x), result).astype(x.dtype)


@mutant("of a kind: kernels that flush subnormals: SR has no grid below the smallest normal", "fixed_points")
def subnormals_flushed_after(x: Array, words: Array) -> Array:
    result = own.by_words(SMALL, BITS, sr)(x, words)
    return np.where(np.abs(result) < SMALL.smallest_normal, np.copysign(0, x), result).astype(x.dtype)


@mutant("of a kind: LUQ: the maximum must stay; clipped to a step less before SR it cannot be reached", "fixed_points")
def clipped_below_the_maximum(x: Array, words: Array) -> Array:
    edge = np.float32(SMALL.max - 2.0 ** (SMALL.emax - SMALL.mantissa_bits))
    return own.by_words(SMALL, BITS, sr)(np.clip(x, -edge, edge), words)


@mutant("of a kind: clipped before SR only: what goes up in the top step leaves the format", "member")
def not_clipped_after(x: Array, words: Array) -> Array:
    low, step, part = own.split(x, SMALL)
    size = np.minimum(low + step * sr(part * TOP, words.astype(np.float64)), 32)
    return np.where(np.isinf(x), np.copysign(SMALL.max, x), np.copysign(size, x)).astype(x.dtype)


@mutant(
    "of a kind: floor(x + rand) of the signed value: the right mean, but negative numbers take the complement", "odd"
)
def floor_of_signed_sum(x: Array, words: Array) -> Array:
    def up(scaled: Array, drawn: Array) -> Array:
        return np.where(x < 0, drawn < np.floor(scaled), sr(scaled, drawn))

    return own.by_words(SMALL, BITS, up)(x, words)


@mutant("ROCm llvm-project PR 3275: the carry out of the mantissa is masked away after the word is added", "faithful")
def carry_masked(x: Array, words: Array) -> Array:
    low, step, part = own.split(x, SMALL)
    whole = low / step + sr(part * TOP, words.astype(np.float64))
    return own.saturate(np.where(whole == 8, 4, whole) * step, x, SMALL)


@mutant("of a kind: PTX cvt.rs and the like: one word for two lanes, both of which take the same bits", "independent")
def word_of_the_pair(x: Array, words: Array) -> Array:
    flat = words.reshape(-1)
    shared = np.repeat(flat[::2], 2)[: flat.size].reshape(words.shape)
    return own.by_words(SMALL, BITS, sr)(x, shared)


@mutant("llm.c PR 597: one seed for all sections, the words repeat every so many elements", "independent")
def words_repeat(x: Array, words: Array) -> Array:
    flat = words.reshape(-1)
    shared = np.resize(flat[:32], flat.size).reshape(words.shape)
    return own.by_words(SMALL, BITS, sr)(x, shared)


MUTANTS = tuple(_MUTANTS)
