"""Mutants that draw for themselves, black boxes: what they do is a matter of chance, that they are caught is not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from numerics import FixedFormat, FloatFormat, NanEncoding, Rounding
from numerics.properties import QuantizerUnderTest, as_quantizer

from . import own
from .record import Mutant, Right

SMALL = FloatFormat(3, 2, infinities=False, nan=NanEncoding.NONE, name="e3m2")
POWERS = FloatFormat(3, 0, infinities=False, nan=NanEncoding.NONE, name="e3m0")
FIXED = FixedFormat(16, 8)
BITS = 8
Array = Any
Rng = np.random.Generator
Uniform = Callable[[Rng, tuple[int, ...]], Array]


def uniform(rng: Rng, shape: tuple[int, ...]) -> Array:
    return rng.random(shape)


def sampler(uniforms: Any, fmt: Any = SMALL, bits: int | None = None, chance: Any = None, **parts: Any) -> Any:
    """make(seed) of a sampler that goes up with probability chance(part), by the uniforms of its generator."""

    def make(seed: int) -> QuantizerUnderTest:
        rng = np.random.default_rng(seed)

        def draws_for_itself(x: Array) -> Array:
            def up(part: Array, whole: Array, _: Array) -> Array:
                wanted = part if chance is None else chance(part)
                return 1.0 - uniforms(rng, x.shape) <= wanted * (part > 0)

            return own.rounder(fmt, up, **parts)(x)

        return as_quantizer(draws_for_itself, fmt=fmt, rounding=Rounding.SR, random_bits=bits, sampler=True)

    return make


def _few(bits: int) -> Uniform:
    """Uniforms of so many bits: with 1 - u <= p, p 2**bits (cut) of them go up."""
    return lambda rng, shape: rng.integers(0, 1 << bits, shape) / 2.0**bits


IDEAL = Right("draws, ideal randomness", sampler(uniform), random=True)
EIGHT = Right("draws 8-bit words", sampler(_few(BITS), bits=BITS), random=True)
LUQ = Right("draws between powers of two", sampler(uniform, POWERS), random=True)
FIX = Right("draws in fixed point", sampler(uniform, FIXED, end=own.saturate_fixed, grid=own.split_fixed), random=True)
_MUTANTS: list[Mutant] = []


def _add(name: str, make: Any, where: str, caught_by: str = "draws", twin: Right = IDEAL) -> None:
    _MUTANTS.append(Mutant(name, where, make, caught_by, twin))


def _shared(lanes: int) -> Uniform:
    def draw(rng: Rng, shape: tuple[int, ...]) -> Array:
        size = int(np.prod(shape))
        return np.repeat(rng.random(-(-size // lanes)), lanes)[:size].reshape(shape)

    return draw


def _warps(rng: Rng, shape: tuple[int, ...]) -> Array:
    return np.resize(rng.random(32), shape)


def _antithetic(rng: Rng, shape: tuple[int, ...]) -> Array:
    size = int(np.prod(shape))
    half = rng.random(-(-size // 2))
    return np.stack([half, 1 - half], axis=1).reshape(-1)[:size].reshape(shape)


def _sticky(rng: Rng, shape: tuple[int, ...]) -> Array:
    size = int(np.prod(shape))
    drawn, kept = rng.random(size), rng.random(size) < 0.25
    kept[:1] = False
    return drawn[np.maximum.accumulate(np.where(kept, 0, np.arange(size)))].reshape(shape)


def _squared(rng: Rng, shape: tuple[int, ...]) -> Array:
    return rng.random(shape) ** 1.2


def _short(rng: Rng, shape: tuple[int, ...]) -> Array:
    return rng.integers(0, 15, shape) / 16.0


def _even(rng: Rng, shape: tuple[int, ...]) -> Array:
    return (rng.integers(0, 256, shape) & ~1) / 256.0


def _odd(rng: Rng, shape: tuple[int, ...]) -> Array:
    return (rng.integers(0, 256, shape) | 1) / 256.0


def _no_last(rng: Rng, shape: tuple[int, ...]) -> Array:
    return rng.integers(0, 255, shape) / 256.0


def _clipped(rng: Rng, shape: tuple[int, ...]) -> Array:
    return np.minimum(rng.random(shape) + 0.1, np.nextafter(1.0, 0.0))


def _signed(rng: Rng, shape: tuple[int, ...]) -> Array:
    return np.abs(rng.integers(-(1 << 15), 1 << 15, shape)) / 2.0**16


_add("lanes_in_pairs", sampler(_shared(2)), "of a kind: PTX cvt.rs f16x2: one word for two values, taken whole by both")
_add(
    "lanes_in_quads", sampler(_shared(4)), "of a kind: PTX cvt.rs e4m3x4: one word for four values, taken whole by each"
)
_add(
    "lanes_of_a_warp",
    sampler(_warps),
    "llm.c PR 597: each block of threads has the same seed, words repeat every 32 lanes",
)
_add(
    "antithetic_lanes",
    sampler(_antithetic),
    "of a kind: variance reduction by pairs u, 1 - u where independent draws are claimed",
)
_add(
    "lanes_stick",
    sampler(_sticky),
    "of a kind: SIMD lanes that keep their state when masked off: a quarter repeats its neighbour's word",
)
_add("four_bits", sampler(_few(4)), "mptorch b8e4dc8, prng=4: a remainder below 1/16 never goes up")
_add(
    "eight_bits",
    sampler(_few(8)),
    "of a kind: PTX cvt.rs e4m3x4: at most 8 bits a value, where ideal randomness is claimed",
)
_add("one_bit", sampler(_few(1)), "mptorch b8e4dc8, prng=1: a remainder of 1/4 never goes up, 0 times in 2**20")
_add("uniform_squared", sampler(_squared), "of a kind: a density that is not flat (products of uniforms as noise)")
_add(
    "exclusive_end",
    sampler(_short),
    "of a kind: numpy randint(0, 2**r - 1) and the like: the end is exclusive, one word never comes",
)
_add(
    "half_of_the_words",
    sampler(_signed),
    "of a kind: abs() of a signed word: half of the range, magnitudes go up too rarely",
)
_add(
    "last_bit_always_zero", sampler(_even, bits=BITS), "of a kind: random & ~1: one bit of the word is lost", twin=EIGHT
)
_add("last_bit_always_one", sampler(_odd, bits=BITS), "of a kind: random | 1, as seeds are made odd", twin=EIGHT)
_add(
    "last_word_never",
    sampler(_no_last, bits=BITS),
    "of a kind: numpy randint(0, 2**8 - 1) where 8 bits are claimed: the largest word never comes",
    twin=EIGHT,
)
_add("lanes_share_a_bias", sampler(_clipped), "of a kind: a constant that is added to all words, the sum is clipped")
_add(
    "never_up", sampler(lambda rng, shape: np.zeros(shape)), "CPFloat 3583976 with OpenMP without PCG: 0 of 2**22 go up"
)
_add(
    "logarithmic",
    sampler(uniform, POWERS, chance=lambda part: np.log2(1 + part)),
    "third-party LUQ: SR in the log domain, E = 1 + f where 2**f is meant",
    "draws",
    LUQ,
)
_add(
    "biased_by_half_a_probability",
    sampler(uniform, chance=lambda part: part / 2),
    "of a kind: the remainder is shifted once too often: half of the probability",
)


def _reseeded(seed: int) -> QuantizerUnderTest:
    def same_words_in_every_call(x: Array) -> Array:
        rng = np.random.default_rng(seed)
        return own.rounder(SMALL, lambda part, whole, _: rng.random(x.shape) < part)(x)

    return as_quantizer(same_words_in_every_call, fmt=SMALL, rounding=Rounding.SR)


def _positions(seed: int) -> QuantizerUnderTest:
    table = np.random.default_rng(seed).random(32)

    def words_by_position(x: Array) -> Array:
        return own.rounder(SMALL, lambda part, whole, _: np.resize(table, x.shape) < part)(x)

    return as_quantizer(words_by_position, fmt=SMALL, rounding=Rounding.SR)


def _every_other_call(seed: int) -> QuantizerUnderTest:
    rng, left = np.random.default_rng(seed), [0, 0]

    def words_used_twice(x: Array) -> Array:
        left[0] += 1
        if left[0] % 2:
            left[1] = int(rng.integers(1 << 62))
        drawn = np.random.default_rng(left[1]).random(x.shape)
        return own.rounder(SMALL, lambda part, whole, _: drawn < part)(x)

    return as_quantizer(words_used_twice, fmt=SMALL, rounding=Rounding.SR)


def _by_value(seed: int) -> QuantizerUnderTest:
    key = int(np.random.default_rng(seed).integers(1 << 31)) | 1

    def words_by_value(x: Array) -> Array:
        bits = x.view(np.uint32).astype(np.uint64) * np.uint64(2654435761) + np.uint64(key)
        drawn = (bits % np.uint64(2**32)) / 2.0**32
        return own.rounder(SMALL, lambda part, whole, _: drawn < part)(x)

    return as_quantizer(words_by_value, fmt=SMALL, rounding=Rounding.SR)


def _lcg(seed: int) -> QuantizerUnderTest:
    state = [int(np.random.default_rng(seed).integers(1 << 32))]

    def low_bits_of_an_lcg(x: Array) -> Array:
        words = np.empty(x.size, np.int64)
        for i in range(x.size):
            state[0] = (1664525 * state[0] + 1013904223) & 0xFFFFFFFF
            words[i] = state[0] & 255
        drawn = words.reshape(x.shape) / 256.0
        return own.rounder(SMALL, lambda part, whole, _: 1 - drawn <= np.floor(part * 256) / 256 * (part > 0))(x)

    return as_quantizer(low_bits_of_an_lcg, fmt=SMALL, rounding=Rounding.SR, random_bits=8, sampler=True)


def _noise_then_round(seed: int) -> QuantizerUnderTest:
    rng = np.random.default_rng(seed)

    def noise_then_nearest(x: Array) -> Array:
        low, step, part = own.split(x, POWERS)
        size = low + part * step
        noisy = size + step * (rng.random(x.shape) - 0.5) * (part > 0)
        below, own_step, rest = own.split(noisy, POWERS)
        return own.saturate(below + own_step * (rest >= 0.5), x, POWERS)

    return as_quantizer(noise_then_nearest, fmt=POWERS, rounding=Rounding.SR)


def _nearest_of_sum(seed: int) -> QuantizerUnderTest:
    rng = np.random.default_rng(seed)

    def nearest_of_sum(x: Array) -> Array:
        size = np.clip(np.where(np.isfinite(x), x, 0), -1e4, 1e4)
        scaled = (size * 256).astype(np.float32) + rng.random(x.shape, np.float32) - np.float32(0.5)
        result = np.where(np.isinf(x), np.copysign(np.inf, x), np.rint(scaled) / 256)
        return (np.clip(result, FIXED.min, FIXED.max) + 0.0).astype(x.dtype)

    return as_quantizer(nearest_of_sum, fmt=FIXED, rounding=Rounding.SR)


def _after_nearest(seed: int) -> QuantizerUnderTest:
    rng = np.random.default_rng(seed)
    wider = FloatFormat(3, 6, infinities=False, nan=NanEncoding.NONE)

    def after_another_rounding(x: Array) -> Array:
        first = np.where(np.isinf(x), x, own.near(x, wider)).astype(x.dtype)
        return own.rounder(SMALL, lambda part, whole, _: rng.random(x.shape) < part)(first)

    return as_quantizer(after_another_rounding, fmt=SMALL, rounding=Rounding.SR)


def _underflow(seed: int) -> QuantizerUnderTest:
    rng = np.random.default_rng(seed)

    def no_stochastic_underflow(x: Array) -> Array:
        result = own.rounder(SMALL, lambda part, whole, _: rng.random(x.shape) < part)(x)
        return np.where(np.abs(x) < SMALL.smallest_subnormal, np.copysign(0, x), result).astype(x.dtype)

    return as_quantizer(no_stochastic_underflow, fmt=SMALL, rounding=Rounding.SR)


_add("same_words_in_every_call", _reseeded, "composable_kernel PR 2355: a seed that is a constant of the source")
_add("words_by_position", _positions, "of a kind: a table of 32 words, one for each lane, in every call")
_add(
    "words_used_twice",
    _every_other_call,
    "of a kind: forward and backward draw from one seed: every second call repeats",
)
_add(
    "words_by_value",
    _by_value,
    "composable_kernel prand_generator: seeded by the value itself, the same x always goes the same way",
)
_add(
    "low_bits_of_an_lcg",
    _lcg,
    "of a kind: the low 8 bits of a linear congruential generator repeat after 256",
    "draws",
    EIGHT,
)
_add(
    "noise_then_nearest",
    _noise_then_round,
    "LUQ's noise and then the nearest power: x in [s, 1.25 s] can become s/2",
    "draws",
    LUQ,
)
_add(
    "nearest_of_sum",
    _nearest_of_sum,
    "qtorch 0.3.0: x + r - 0.5 in float32 moves exact values, 0.2 % of the time",
    "fixed_points",
    FIX,
)
_add(
    "after_another_rounding_drawn",
    _after_nearest,
    "of a kind: SR of float32 that was rounded to nearest before (bfloat16 weights, then SR to fp8)",
)
_add(
    "no_stochastic_underflow",
    _underflow,
    "of a kind: gradient quantizers without stochastic underflow: below the smallest value all is zero",
)

MUTANTS = tuple(_MUTANTS)
