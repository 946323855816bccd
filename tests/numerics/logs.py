"""Logarithmic formats and the values at which a rounding to them can go wrong; exact, from the oracle's side."""

from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from numerics import LogFormat, Rounding, reference
from numerics.reference import log as oracle

NARROW = {
    "luq": LogFormat(3, 0, bias=1),  # 1, 2, ..., 64: FP4 [1,3,0] of arXiv 2112.10769
    "two_bits": LogFormat(1, 0),
    "halves": LogFormat(2, 1, bias=1),
    "one_octave": LogFormat(0, 3),
    "one_octave_above": LogFormat(0, 5, bias=-3),
    "unsigned": LogFormat(3, 1, bias=2, signed=False),
    "quarters": LogFormat(3, 2, bias=4),
    "wide_octaves": LogFormat(5, 0, bias=16),
    "eighths": LogFormat(4, 3, bias=8),
    "powers": LogFormat(7, 0, bias=64),
    "fine": LogFormat(2, 5, bias=2),
}
# At the ends of the normal range of float32 and of float64.
AT_THE_ENDS = {
    "bottom": LogFormat(5, 0, bias=127),
    "above_the_bottom": LogFormat(4, 1, bias=126),
    "top": LogFormat(4, 3, bias=-112),
}
AT_THE_ENDS_64 = {
    "bottom": LogFormat(5, 0, bias=1023),
    "above_the_bottom": LogFormat(4, 1, bias=1022),
    "top": LogFormat(4, 3, bias=-1008),
}
PRECISION = {np.float32: 24, np.float64: 53}


def drawn_formats(count, seed=0):
    """A format for each f from 0 to 8, of any range inside float32, `count` times."""
    rng = np.random.default_rng(seed)
    formats = []
    for f in [*range(9)] * count:
        integer_bits = int(rng.integers(f == 0, 8))
        bias = int(rng.integers(2**integer_bits - 126, 127))
        formats.append(LogFormat(integer_bits, f, bias=bias, signed=bool(rng.integers(4))))
    return formats


def magnitude_codes(fmt, limit):
    """Codes without sign, one beyond the largest included: all, or the ends and a draw."""
    last = fmt.largest_code
    if last < limit:
        return range(last + 2)
    drawn = np.random.default_rng(last).integers(3, last - 2, limit).tolist()
    return sorted({0, 1, 2, 3, last - 2, last - 1, last, last + 1, *drawn})


def around(x):
    """x and its neighbours."""
    return np.unique(np.concatenate([x, np.nextafter(x, x.dtype.type(np.inf)), np.nextafter(x, x.dtype.type(0))]))


@cache
def points(fmt, dtype, limit=1 << 9):
    """Members, both means of neighbours, points between and beyond, each with neighbours in dtype; both signs."""
    precision, rng = PRECISION[dtype], np.random.default_rng(fmt.bits)
    smallest = oracle.magnitude_of(1, fmt, precision)
    exact = [smallest * Fraction(n, 64) for n in (1, 16, 31, 32, 33, 48, 63)]
    exact += [oracle.magnitude_of(fmt.largest_code, fmt, precision) * Fraction(n, 8) for n in (9, 12, 16, 17, 40)]
    means = []
    for code in magnitude_codes(fmt, limit):
        low = oracle.magnitude_of(code, fmt, precision)
        high = oracle.magnitude_of(code + 1, fmt, precision)
        exact += [low, (low + high) / 2, low + (high - low) * Fraction(int(rng.integers(1, 4096)), 4096)]
        means.append((code - (fmt.bias << fmt.fraction_bits) + 0.5) / (1 << fmt.fraction_bits))
    ends = [Fraction(float(v)) for v in (np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny, np.finfo(dtype).max)]
    top = ends[-1]
    with np.errstate(over="ignore"):
        near = np.array([float(min(v, top)) for v in [Fraction(0), *exact, *ends]]).astype(dtype)
        middle = around(np.exp2(means).astype(dtype))  # exp2 may be off by one
        near = around(np.concatenate([near, middle]))
    near = np.unique(near[np.isfinite(near)])
    return np.concatenate([-near[::-1], near]) if fmt.signed else near


@cache
def places(fmt, dtype, limit=1 << 9):
    """For `points`: (code, nu) of the lower neighbour of the magnitude and of the distance to it."""
    found = []
    for x in points(fmt, dtype, limit):
        code, low, high = oracle.neighbours(abs(Fraction(float(x))), fmt, PRECISION[dtype])
        found.append((code, (abs(Fraction(float(x))) - low) / (high - low)))
    return found


def rounded(fmt, dtype, mode, limit=1 << 9):
    """For `points`: the codes without sign, going on beyond the largest, of a deterministic mode."""
    x = points(fmt, dtype, limit)
    if mode is Rounding.RNL:
        return np.array([oracle.round_code(Fraction(float(v)), fmt, mode, precision=PRECISION[dtype]) for v in x])
    options = {"word": None, "random_bits": None}
    return np.array(
        [
            code + reference.rounds_up(nu, mode, negative=bool(v < 0), odd=code % 2 == 1, **options)
            for v, (code, nu) in zip(x, places(fmt, dtype, limit), strict=True)
        ]
    )


def values_of(codes, negative, fmt, dtype):
    """The values of codes without sign, clamped to the largest, as an array of dtype."""
    table = table_of(fmt, dtype)
    magnitudes = table[np.minimum(codes, fmt.largest_code)]
    return np.where(np.asarray(negative) & (magnitudes != 0), -magnitudes, magnitudes)


@cache
def table_of(fmt, dtype):
    """The magnitudes of all codes, by the oracle."""
    return np.array([float(oracle.magnitude_of(c, fmt, PRECISION[dtype])) for c in range(fmt.largest_code + 1)], dtype)


DETERMINISTIC = [mode for mode in Rounding if not mode.stochastic]
STOCHASTIC = [mode for mode in Rounding if mode.stochastic]
TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
FORMATS = pytest.mark.parametrize("fmt", NARROW.values(), ids=NARROW)
