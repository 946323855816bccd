"""Where bugs live: members, ties, what lies one float beside them, the edges of binades and of the format."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats import ElementFormat, FloatFormat
from ..quantizer import Quantizer
from ..words import random_words

EVERY_CODE = 10  # bits up to which all magnitudes are taken
_SEED = 0x70726F7065727479


def members(fmt: ElementFormat, dtype: Any = np.float64, limit: int = 1 << EVERY_CODE) -> NDArray[np.float64]:
    """Nonnegative finite values of a format, ascending: all of them if there are at most `limit`, else the telling ones.

    dtype: whose table of values a LogFormat has.
    """
    values = np.unique(decoded(fmt, dtype, codes_of(fmt, limit)))
    return values[np.isfinite(values) & (values >= 0)]


def steps(
    fmt: ElementFormat, dtype: Any = np.float64, limit: int = 1 << EVERY_CODE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Neighbours (low, high) among the nonnegative finite values, ascending: those above the members."""
    codes = codes_of(fmt, limit)
    codes = codes[codes < fmt.largest_code]
    low, high = (decoded(fmt, dtype, found) for found in (codes, codes + 1))
    keep = np.isfinite(low) & np.isfinite(high) & (low >= 0) & (high > low)
    return low[keep], high[keep]


def codes_of(fmt: ElementFormat, limit: int) -> NDArray[np.int64]:
    """Nonnegative codes up to the largest value's, ascending: all if there are at most `limit`, else the telling ones."""
    last = fmt.largest_code
    return np.arange(last + 1) if last < limit else _telling_codes(fmt, last, limit)


def decoded(fmt: ElementFormat, dtype: Any, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The values of codes, in the table of a dtype."""
    return Quantizer(fmt).decode(codes.astype(np.uint64), dtype=dtype).astype(np.float64)


def _telling_codes(fmt: ElementFormat, last: int, limit: int) -> NDArray[np.int64]:
    """Both ends, both sides of the edges of binades, and some drawn from a fixed stream."""
    found = {*range(8), *range(last - 7, last + 1)}
    m = fmt.mantissa_bits if isinstance(fmt, FloatFormat) else 0
    if m:
        fields = np.linspace(0, last >> m, min((last >> m) + 1, limit // 8)).astype(int)
        middle = 1 << max(0, fmt.bits - 2 - m)
        for field in {
            *fields.tolist(),
            1,
            2,
            3,
            *range(middle - 2, middle + 3),
            *range((last >> m) - 2, (last >> m) + 1),
        }:
            found |= {(field << m) + step for step in (-1, 0, 1)}
    else:
        found |= {(1 << bit) + step for bit in range(fmt.bits) for step in (-1, 0, 1)}
    drawn = random_words(2 * 128, 32, seed=_SEED).astype(np.uint64).reshape(2, -1)
    found |= {((int(high) << 32) | int(low)) % (last + 1) for high, low in drawn.T.tolist()}
    return np.array(sorted(code for code in found if 0 <= code <= last), np.int64)


@lru_cache(maxsize=64)
def points(fmt: ElementFormat, dtype: Any = np.float32, limit: int = 2048) -> NDArray[Any]:
    """Finite inputs [n] of dtype to try a quantizer of the format on, ascending, of both signs where the format has them.

    Members; midpoints, quarters and near ends of the steps between them; one float to either side of each; the overflow
    edge and what lies far beyond; the underflow edge and the smallest floats; both zeros; a fixed random sample. At most
    about `limit`, the edges first. Read-only.
    """
    kind = np.dtype(dtype)
    values = members(fmt, kind, max(16, limit // 4))
    top, bottom = values[-1], values[values > 0][0]
    low, high = steps(fmt, kind, max(16, limit // 4))
    step = high - low
    last_step = step[-1] if len(step) else top
    with np.errstate(over="ignore"):
        beyond = top + last_step * np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 64.0])
    between = [low + step * part for part in (0.5, 0.25, 0.75, 2.0**-9, 1 - 2.0**-9, 0.375)]
    edges = np.concatenate(
        [
            [0.0, top, bottom],
            beyond,
            bottom * np.array([0.25, 0.5, 0.75, 1.25, 1.5, 2.0**-20]),
            [float(np.finfo(kind).max), float(np.finfo(kind).smallest_subnormal), float(np.finfo(kind).tiny), 1.0],
        ]
    )
    first = _beside(edges, kind)
    third = _beside(np.concatenate(between[1:]), kind, steps=0)
    drawn = random_words(256, 32, seed=_SEED, stream=1).reshape(2, -1)
    spread = np.log2(top) - np.log2(bottom) + 4
    exponents = np.log2(bottom) - 2 + spread * (drawn[0] / 2.0**32)
    anywhere = np.exp2(np.clip(exponents, -1074, 1022)) * (1 + drawn[1] / 2.0**32)
    room = max(0, limit // (2 if fmt.signed else 1) - len(first))
    # Thinned before their neighbours are added, so that a tie keeps the floats beside it.
    second = _beside(_thinned(np.unique(np.concatenate([values, between[0]])), (2 * room) // 9), kind)
    rest = np.concatenate([second, _thinned(third, room // 6), anywhere[: room // 6]])
    chosen = np.concatenate([first, rest]).astype(kind)
    chosen = np.unique(chosen[np.isfinite(chosen)])
    signed = np.concatenate([-chosen[::-1], chosen]) if fmt.signed else chosen
    signed.flags.writeable = False
    return signed


@lru_cache(maxsize=64)
def thresholds(fmt: ElementFormat, dtype: Any, random_bits: int) -> NDArray[Any]:
    """Points [2**r] of one step, as far up as j/2**r says: of every random word one at which it is the first that goes up.

    Of the step near 1 whose points the dtype holds; in formats whose values are no short numbers (logarithms), a quarter
    of a word further, which comes to the same. None where the dtype is too coarse. Read-only.
    """
    kind, count = np.dtype(dtype), 1 << random_bits
    low, high = steps(fmt, kind)
    near = np.argsort(np.abs(np.log2(np.maximum(low, 1e-300))), kind="stable")
    found: NDArray[Any]
    for exact in (True, False):
        for i in near[low[near] > 0].tolist():
            part = (high[i] - low[i]) / count
            wanted = low[i] + part * (np.arange(count) + (0.0 if exact else 0.25))
            found = wanted.astype(kind)
            if exact:
                right = bool((found == wanted).all() and (np.diff(wanted) == part).all())
            else:
                right = 8 * float(np.spacing(found[-1])) <= part
            if right:
                found.flags.writeable = False
                return found
    return np.empty(0, kind)


def _beside(values: NDArray[np.float64], kind: np.dtype[Any], steps: int = 1) -> NDArray[np.float64]:
    """The values as floats of a kind, and the floats on either side."""
    with np.errstate(over="ignore", under="ignore"):
        own = values.astype(kind)
    own = own[np.isfinite(own)]
    found = [own]
    if steps:
        largest = kind.type(np.finfo(kind).max)
        found += [np.nextafter(own, largest), np.nextafter(own, kind.type(0.0))]
    return np.unique(np.concatenate(found)).astype(np.float64)


def _thinned(values: NDArray[np.float64], room: int) -> NDArray[np.float64]:
    """At most `room` of the values, evenly."""
    if len(values) <= room:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, room).astype(int))] if room else values[:0]
