"""Blocks to try: every scale, every step of the elements under it, specials at every place, arrays of every length."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats import BlockFormat, FixedFormat, ScaleRule
from ..reference import block as oracle
from ..rounding import Overflow
from ..words import random_words
from .block_law import BlockLaw, block_law
from .points import members, points, steps
from .quantizers import QuantizerUnderTest

BUDGET, RATIOS = 1 << 18, 1 << 15
SLOW = 512  # points below which a function is taken for a slow one
LONGEST = 1 << 10  # elements of a block that are tried of formats of longer ones
MOST_STEPS, THRESHOLDS = 1 << 12, 1 << 14
_STRIDE = 0x9E3779B1  # odd, and near the golden ratio of 2**32: its multiples visit all words, far apart
Floats = NDArray[np.float64]


def of_blocks(q: QuantizerUnderTest) -> BlockFormat:
    """The format of a quantizer of blocks."""
    assert isinstance(q.fmt, BlockFormat)
    return q.fmt


def block_length(q: QuantizerUnderTest) -> int:
    """Elements of a block that are tried."""
    return min(of_blocks(q).block, LONGEST)


def budget(q: QuantizerUnderTest) -> int:
    """Elements that are tried of one that is fast, of one that is slow; fewer under ratios, where few are alike."""
    most = RATIOS if of_blocks(q).rule is ScaleRule.RATIO else BUDGET
    return most if q.limit >= SLOW else min(most, 16 * q.limit)


def element_points(q: QuantizerUnderTest) -> Floats:
    """Magnitudes [P] of scaled elements below twice the lowest power of the top binade, in no order.

    Ends, ties and quarters of the steps, the floats beside them, what lies beyond the largest, and what is far below a step.
    """
    element, kind = of_blocks(q).element, q.dtype.type
    low, high = steps(element, np.float64, MOST_STEPS)
    if isinstance(element, FixedFormat) and not element.symmetric and element.signed:
        low, high = np.append(low, element.max), np.append(high, -element.min)
    gap = high - low
    exact = [low, high, low + gap / 2]
    with np.errstate(over="ignore", under="ignore"):
        beside = [np.nextafter(p.astype(kind), kind(side)).astype(np.float64) for p in exact for side in (0, np.inf)]
        least = members(element, np.float64, MOST_STEPS)
        least = least[least > 0][:1]
        last = gap[-1:] * np.array([0.25, 0.5, 0.75, 1.0, 1.25])
        beyond = (element.max + last).astype(kind)
        edge = [np.nextafter(beyond, kind(0)), beyond, np.nextafter(beyond, kind(np.inf))]
        far = least * 2.0 ** -np.array([1, 2, 3, 10, 20, 24, 25, 26, 40, 60, 100, 130])
    found = np.concatenate([*exact, *beside, low + gap / 4, low + gap * 0.75, low + gap * 0.375, *edge, far])
    found = np.unique(found[np.isfinite(found) & (found < 2.0 ** (of_blocks(q).top_exponent + 1))])
    return found[np.argsort(random_words(len(found), 32, seed=7), kind="stable")]


def tops(q: QuantizerUnderTest, magnitudes: Floats) -> Floats:
    """Maxima [T] of blocks whose scale is 1: the lowest of the top binade, the largest element, all points of that binade."""
    fmt = of_blocks(q)
    power = 2.0**fmt.top_exponent
    top = np.sort(magnitudes[magnitudes >= power])
    if len(top) > 64:
        top = top[np.unique(np.linspace(0, len(top) - 1, 64).astype(int))]
    return np.stack([np.full(len(top), power), top, np.full(len(top), fmt.largest_element)], axis=1).reshape(-1)


def units(q: QuantizerUnderTest) -> Floats:
    """Scales [U], ascending, all of them and what lies beside: powers of two, or the points of the scale's format."""
    fmt = of_blocks(q)
    top = float(np.finfo(q.dtype).max)
    if fmt.rule is not ScaleRule.RATIO:
        low, high = oracle.scale_powers(fmt.scale)
        exponents = np.arange(max(low - 3, -1070), min(high + 3, 1022) + 1)
        if len(exponents) > 600:  # of such scales those at both ends, around 1 and between
            middle = np.arange(-60, 61)
            own = np.unique(np.linspace(0, len(exponents) - 1, 300).astype(int))
            exponents = np.unique(np.concatenate([exponents[own], exponents[:60], exponents[-60:], middle]))
        found = 2.0 ** exponents.astype(np.float64)
    else:
        found = points(fmt.scale, np.float32, 1 << 10).astype(np.float64)
        found = np.unique(np.abs(found[found != 0]))
    with np.errstate(over="ignore"):
        return found[found * 2.0**fmt.top_exponent < top]


def scale_rows(q: QuantizerUnderTest, scales: Floats | None = None) -> NDArray[Any]:
    """Rows [R, L] of four blocks, the last one short: under each scale, points of the elements and maxima at all codes.

    scales: all of them if None.
    """
    fmt, length = of_blocks(q), block_length(q)
    magnitudes, scales = element_points(q), units(q) if scales is None else scales
    peaks = tops(q, magnitudes)
    if fmt.rule is ScaleRule.RATIO:  # only so does the maximum lead to this scale
        peaks = np.full(1, fmt.element.max)
        magnitudes = magnitudes[magnitudes <= fmt.element.max]
    share = max(1, min(2 * len(magnitudes), budget(q) // len(scales)) // length)
    count = max(4, -(-len(scales) * share // 4) * 4)
    place = np.arange(count * length, dtype=np.int64).reshape(count, length)
    p = magnitudes[place % len(magnitudes)]
    if q.takes_words:
        p[1::2] = _of_words(q, place[1::2])
    unit = np.resize(np.repeat(scales, share), count)
    number = np.arange(count)
    peak = peaks[number % len(peaks)]
    p = np.where(p > peak[:, None], p / 2, p)
    p[number, number * 7 % length] = peak
    with np.errstate(over="ignore", under="ignore"):
        x = (p * unit[:, None]).astype(q.dtype)
        if fmt.rule is ScaleRule.RATIO:  # of float64 alone the oracle asks for each by itself
            x[number % 16 != 0] = x[number % 16 != 0].astype(np.float32)
    x[~np.isfinite(x)] = 0
    if fmt.signed:
        sign = random_words(x.size, 32, seed=11).reshape(x.shape) >> 31
        x = np.where(sign == 1, -x, x)
    rows = x.reshape(count // 4, -1)
    return usable(q, rows[:, : rows.shape[1] - (length > 1)])


def _of_words(q: QuantizerUnderTest, place: NDArray[np.int64]) -> Floats:
    """Points of the steps, as far up as a word or half a word more: 2**14 of them, of all steps and words in turn."""
    low, high = steps(of_blocks(q).element, np.float64, MOST_STEPS)
    count = 1 << int(q.random_bits or 32)
    place = place % THRESHOLDS
    at = place % len(low)
    j = place * _STRIDE % count
    result: Floats = low[at] + (high[at] - low[at]) * ((j + place // len(low) % 2 * 0.5) / count)
    return result


def usable(q: QuantizerUnderTest, rows: NDArray[Any]) -> NDArray[Any]:
    """The rows; under Overflow.ERROR blocks of them are zeros where an element would be refused."""
    if q.overflow is not Overflow.ERROR:
        return rows
    length = min(of_blocks(q).block, rows.shape[1])
    result = rows.copy()
    for _ in range(8):  # of a tensor scale, less of one block may be more of another
        beyond = block_law(replace(q, overflow=Overflow.SATURATE), result).beyond
        if not beyond.any():
            break
        for start in range(0, rows.shape[1], length):
            part = slice(start, start + length)
            result[beyond[:, part].any(axis=1), part] = 0
    return result


def words_for(q: QuantizerUnderTest, law: BlockLaw) -> NDArray[np.uint32]:
    """Words [R, L] at the thresholds: of some elements the first that goes up, of the others the one before."""
    count = 1 << int(q.random_bits or 32)
    turn = np.arange(law.ups.size).reshape(law.ups.shape) // 3 % 2
    words: NDArray[np.uint32] = np.clip(count - law.ups - turn, 0, count - 1).astype(np.uint32)
    return words


def special_rows(q: QuantizerUnderTest) -> NDArray[Any]:
    """Rows [R, L] of three blocks, the last one short: a NaN and infinities at each place of a block, alone and together."""
    fmt, length = of_blocks(q), block_length(q)
    width = 3 * length - (length > 1)
    places = np.unique(np.linspace(0, width - 1, min(width, 192)).astype(int))
    kinds: list[tuple[float, float]] = []
    if fmt.has_nan:
        kinds += [(np.nan, 0), (-np.nan, 1)]
    if q.overflow is not Overflow.ERROR:
        kinds += [(np.inf, 0), *([(-np.inf, 0), (-np.inf, np.inf)] if fmt.signed else [])]
        kinds += [(np.nan, np.inf)] if fmt.has_nan else []
    if not kinds:
        return np.zeros((0, width), q.dtype)
    base = scale_rows(q).reshape(-1)
    room = max(8, budget(q) // (width * len(kinds)))
    places = places[np.unique(np.linspace(0, len(places) - 1, min(room, len(places))).astype(int))]
    number = len(places) * len(kinds)
    rows = np.resize(base, (number, width)).copy()
    for i, (value, other) in enumerate(kinds):
        own = np.arange(len(places)) * len(kinds) + i
        rows[own, places] = value
        if other:
            rows[own, (places + 1) % width] = other
    rows[-1] = kinds[0][0]
    rows[0] = np.where(np.arange(width) % 2 == 0, kinds[0][0], rows[0])
    return usable(q, rows)
