"""Scales of tensors and blocks, Smooth-SwiGLU, the underflow of stored moments."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from numerics import BlockFormat, Quantizer, Rounding, catalog
from numerics.scaling import MXFP4_NEVER_CLIP, Storage, restore, scale_of, smooth_swiglu, store, swish

from ..published import Law, Variant

Array = Any
BITS = 4
E4M3 = Quantizer(catalog.E4M3)
LEAST = 2.0**-9
LARGEST = st.sampled_from([448.0, 240.0, 57344.0])


def _reaches(fn: Any, case: tuple[float, float]) -> None:
    """amax times the scale is in (largest/2, largest], in rationals."""
    amax, largest = case
    reached = Fraction(amax) * Fraction(fn(amax, largest))
    assert reached <= Fraction(largest) < 2 * reached, case


def _float32_logarithm(amax: float, largest: float) -> float:
    return float(np.exp2(np.floor(np.log2(np.float32(largest) / np.float32(amax)))))


def _next_power(amax: float, largest: float) -> float:
    return 2.0 ** math.ceil(math.log2(largest / amax))


def _no_bias_at_the_top(fn: Any, x: Array) -> None:
    """Over all words of 4 bits the mean of a block's largest element is x, to what such words resolve: x/32."""
    drawn = np.stack([fn(x, np.full(x.shape, word)) for word in range(1 << BITS)])
    for start in range(0, x.size, 16):
        place = start + int(np.argmax(np.abs(x[start : start + 16])))
        exact = Fraction(float(x[place]))
        mean = sum(map(Fraction, drawn[:, place].tolist()), Fraction(0)) / (1 << BITS)
        assert abs(exact - mean) <= abs(exact) / 32, (float(exact), float(mean))


def _drawn(fmt: BlockFormat) -> Any:
    quantizer = Quantizer(fmt, Rounding.SR, random_bits=BITS)
    return lambda x, words: quantizer.quantize(x, words=words)


def _smooth(fn: Any, case: tuple[list[float], list[float]]) -> None:
    """values * scale is SwiGLU, bit for bit."""
    linear, gate = (np.array(values).reshape(2, 3) for values in case)
    assert (restore(fn(linear, gate)) == linear * swish(gate)).all(), case


def _flushes(fn: Any, case: tuple[int, float]) -> None:
    """j/64 of the smallest number: its mean over all words of 6 bits is it; beyond, words change nothing."""
    j, big = case
    words = np.arange(64)
    mean = sum(map(Fraction, fn(np.full(64, LEAST * j / 64), words).tolist()), Fraction(0)) / 64
    assert mean == Fraction(LEAST) * j / 64, (j, float(mean))
    rounded = fn(np.full(64, big), words)
    assert (rounded == E4M3.quantize(np.array([big]))[0]).all()


def _flushed(x: Array, words: Array) -> Array:
    return store(x, Storage(E4M3, flush=True), scale=1.0, words=words, random_bits=6).values


def _drawn_everywhere(x: Array, words: Array) -> Array:
    return Quantizer(catalog.E4M3, Rounding.SR, random_bits=6).quantize(x, words=words)


def _half_open(x: Array, words: Array) -> Array:
    """Words from 0, compared with >=: one word too many goes up."""
    small = np.abs(x) < LEAST
    up = np.abs(x) / LEAST * 64 >= 63 - words
    return np.where(small, np.copysign(LEAST * up, x), E4M3.quantize(x))


# The second block's scale, 6.36/6 times that of the tensor, is rounded down to 1.
_CLIPPED = np.array([6 * 448.0] + [1.0] * 15 + [6.36] + [0.5] * 15, np.float32)
_BLOCKS = st.lists(st.floats(1, 8, width=16), min_size=16, max_size=16).map(lambda v: np.array(v, np.float32))
SHORT = replace(MXFP4_NEVER_CLIP, block=16, name="")
NUMBERS = st.lists(st.floats(-100, 100, width=16), min_size=6, max_size=6)

SCALE = Law(
    "scale of a tensor",
    _reaches,
    st.tuples(st.floats(2.0**-40, 2.0**40, width=32), LARGEST),
    scale_of,
    ((448 * 2.0**-20 * (1 + 2.0**-23), 448.0), (448.0, 448.0)),
)
TOP = Law("largest element of a block", _no_bias_at_the_top, _BLOCKS, _drawn(SHORT), (_CLIPPED, np.float32([7.5] * 16)))
SMOOTH = Law(
    "Smooth-SwiGLU", _smooth, st.tuples(NUMBERS, NUMBERS), smooth_swiglu, (([3.0, 1, 2, 0.7, 5, 7], [1.0] * 6),)
)
FLUSH = Law(
    "stochastic flush",
    _flushes,
    st.tuples(st.integers(0, 63), st.floats(LEAST, 400, width=32)),
    _flushed,
    ((0, 1.0), (24, 1.03)),
)
LAWS = (SCALE, TOP, SMOOTH, FLUSH)
VARIANTS = (
    Variant(
        "scale_by_a_float32_logarithm",
        "of a kind: 2**floor(log2(largest / amax)), the rule of arXiv 2409.12517, evaluated in float32 next to a power",
        SCALE,
        _float32_logarithm,
    ),
    Variant("scale_rounded_up", "of a kind: ceil for floor: the largest magnitude overflows", SCALE, _next_power),
    Variant(
        "block_scale_of_ocp",
        "OCP MX v1.0, 6.3, under stochastic rounding: what lies in (6, 8) scales is clipped, and so biased",
        TOP,
        _drawn(replace(catalog.MXFP4_E2M1, block=16, name="")),
    ),
    Variant(
        "block_scale_to_nearest",
        "NVFP4 under stochastic rounding: an E4M3 scale rounded down to nearest clips the largest element",
        TOP,
        _drawn(catalog.NVFP4),
    ),
    Variant(
        "smooth_by_the_maximum",
        "Megatron-DeepSpeed, fp8 branch: divided by the largest magnitude itself, no power of two: not SwiGLU to the bit",
        SMOOTH,
        lambda linear, gate: smooth_swiglu(linear, gate, power_of_two=False),
    ),
    Variant(
        "flush_to_nearest",
        "of a kind: moments below the smallest number go to the nearer end",
        FLUSH,
        lambda x, words: E4M3.quantize(x),
    ),
    Variant(
        "flush_draws_everywhere",
        "of a kind: stochastic rounding of all for the flush of the small ones",
        FLUSH,
        _drawn_everywhere,
    ),
    Variant(
        "flush_by_greater_or_equal",
        "of a kind, nanoGPT_MXFP4's kernel rounds so: >= against a word that can be 0, off by one: zeros come up",
        FLUSH,
        _half_open,
    ),
)
