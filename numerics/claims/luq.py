"""Logarithmic unbiased quantization: no bias, its variance, its grid, the nearest power, and where the paper slips."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from .. import luq
from ..formats import FloatFormat, NanEncoding
from .claim import Claim, Paper

_ALPHA, _LEVELS, _BITS = Fraction(11, 16), 7, 6
_WORDS = np.arange(1 << _BITS, dtype=np.uint32)


def _points() -> list[Fraction]:
    """Multiples of alpha/64 up to the largest magnitude, which 6-bit words give their exact probability in all bins."""
    return [
        _ALPHA * j * (1 << max(0, k - 1)) / 64 for k in range(_LEVELS) for j in range(64 if k else 0, 129 if k else 65)
    ]


@cache
def _enumerated(samples: int = 1) -> tuple[bool, bool, Fraction]:
    """(mean is x, variance is the closed form / samples, largest variance over L**2), by all words through the kernel."""
    unbiased = formula = True
    most = Fraction(0)
    for x in _points()[:: 1 if samples == 1 else 5]:
        low = _ALPHA * (1 << (math.floor(x / _ALPHA).bit_length() - 1)) if x >= _ALPHA else Fraction(0)
        step = low or _ALPHA
        if samples == 1:
            drawn = luq.quantize(np.full(_WORDS.size, float(x)), alpha=float(_ALPHA), words=_WORDS, random_bits=_BITS)
        else:
            pairs = np.stack([array.ravel() for array in np.meshgrid(_WORDS, _WORDS)])
            drawn = luq.smp(np.full(pairs[0].size, float(x)), alpha=float(_ALPHA), words=pairs, random_bits=_BITS)
        values, counts = np.unique(drawn, return_counts=True)
        weighted = [(Fraction(v), int(n)) for v, n in zip(values.tolist(), counts.tolist(), strict=True)]
        mean = sum(v * n for v, n in weighted) / drawn.size
        variance = sum((v - mean) ** 2 * n for v, n in weighted) / Fraction(drawn.size)
        unbiased &= mean == x
        formula &= variance * samples == (x - low) * (low + step - x)
        most = max(most, variance / step**2)
    return unbiased, formula, most


def _biggest_is_kept(levels: int) -> float:
    """The largest magnitude over alpha."""
    return 5.7 / luq.alpha(np.array([0.1, -5.7]), levels)


def _mean(quantizer: Callable[..., Any], x: float, bits: int) -> float:
    words = np.arange(1 << bits, dtype=np.uint32)
    return float(np.mean(quantizer(np.full(words.size, x), alpha=1.0, words=words, random_bits=bits)))


def _rounding_is_worse() -> bool:
    """(x - lo)(hi - x) >= min(x - lo, hi - x)**2 on a fine grid of a bin."""
    return all(j * (997 - j) >= min(j, 997 - j) ** 2 for j in range(998))


def _products() -> bool:
    """All of INT4 times all of [1,3,0], by fields, against plain products and as members of [1,4,2]."""
    integers, magnitudes = np.arange(-7, 8)[:, None], np.ldexp(1.0, np.arange(7))
    powers = np.concatenate([-magnitudes, [0.0], magnitudes])
    found = luq.multiply_int4_fp4(integers, powers)
    narrow = FloatFormat(4, 2, 1, infinities=False, nan=NanEncoding.NONE)
    members = narrow.decode(narrow.codepoints())
    return bool((found == integers * powers).all()) and bool(np.isin(found, members).all())


def _midpoint() -> float:
    """The least x that is nearest to 2**n for n = 3, over 2**n, by bisection."""
    below, above = 4.0, 8.0
    while above - below > 1e-12:
        middle = (below + above) / 2
        if luq.rdnp(np.array([middle]))[0] == 8:
            above = middle
        else:
            below = middle
    return above / 8


PAPER = Paper(
    "Chmiel, Banner, Hoffer, Ben Yaacov, Soudry: Accurate neural training with 4-bit matrix multiplications at standard"
    " formats (LUQ), arXiv 2112.10769",
    (
        Claim("the mean over all words is x, where the words can say its probability", True, lambda: _enumerated()[0]),
        Claim("the variance is (x - lo)(hi - x)", True, lambda: _enumerated()[1], "table of SR"),
        Claim("the variance is at most a quarter of the step squared", Fraction(1, 4), lambda: _enumerated()[2]),
        Claim("two samples halve the variance and keep the mean", True, lambda: all(_enumerated(2)[:2]), "SMP"),
        Claim("rounding to nearest has the smaller mean squared error", True, _rounding_is_worse, "table of SR"),
        Claim(
            "the largest magnitude is 2^6 alpha",
            64.0,
            lambda: _biggest_is_kept(7),
            "eq. 11",
            note="eq. 11 prints 2^(2^(b-1)) with b = 3, 2^4 or 5 levels; a true [1,3,0] has 7, the default",
        ),
        Claim("the largest magnitude of 5 levels is 2^(2^(3-1)) alpha", 16.0, lambda: _biggest_is_kept(5), "eq. 11"),
        Claim(
            "log2(4/3) - 1/2 makes rounded logarithms nearest powers", -0.085, lambda: luq.RDNP_SHIFT, tolerance=5e-4
        ),
        Claim("the same, to more digits", -0.0849625, lambda: luq.RDNP_SHIFT, tolerance=5e-8),
        Claim(
            "the midpoint below 2^n is 3/4 2^n",
            0.75,
            _midpoint,
            tolerance=1e-9,
            note="the paper prints 3/4 2^(n-1), which is below both neighbours",
        ),
        Claim(
            "noise, then the nearest power, takes an eighth from a value on the grid",
            -0.125,
            lambda: _mean(luq.biased_noise_then_round, 4.0, 10) / 4 - 1,
            tolerance=2.0**-10,
            note="offered as unbiased; below 1.25 s the noise reaches the next bin, with a bias of -(1.25 s - x)/2",
        ),
        Claim(
            "stochastic rounding of log2|x| gives up to 0.0861 lo too much",
            0.0861,
            lambda: _mean(luq.biased_log_rounding, 2.0**0.5287663729, 14) - 2.0**0.5287663729,
            tolerance=1.2e-4,
            note="derived; third-party implementations do this",
        ),
        Claim("INT4 by FP4 needs sign, shift and exponent only and fits [1,4,2]", True, _products, "MF-BPROP"),
    ),
)
