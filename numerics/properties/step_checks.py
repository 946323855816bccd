"""Every step between two neighbouring values: what of a table of roundings is wrong in one entry alone is found here.

The other checks look at some two thousand points, more than a few of the steps of a format of 16 bits have none of. Here a
step is known by its ends, so that no oracle is needed for where a point of it goes.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..formats import ElementFormat, FixedFormat, FloatFormat, PositFormat, Subnormals
from ..reference.posit import tie
from ..rounding import Rounding
from .counter_examples import broken, simplest
from .evidence import EXACT, Evidence, hides, shown
from .points import codes_of, decoded
from .quantizers import QuantizerUnderTest
from .reproductions import Call

__tracebackhide__ = hides

EVERY_STEP = 16  # bits up to which all steps are tried
SOME = 1 << 10  # of those of wider formats
SLOW = 512  # points below which a function is taken for a slow one
BUDGET = 1 << 20  # roundings under given words
#: Odd, and near the golden ratio of 2**32: its multiples visit all words, far apart.
_STRIDE = 0x9E3779B1
Floats = NDArray[np.float64]


class Steps(NamedTuple):
    """Steps [n] by magnitude: the code of the lower end, both ends, the tie; negative: whether they lie below zero."""

    code: NDArray[np.int64]
    low: Floats
    high: Floats
    tie: Floats
    negative: NDArray[np.bool_]

    def of(self, which: Any) -> "Steps":
        """Some of them, or each several times."""
        return Steps(*(part[which] for part in self))


class Points(NamedTuple):
    """x [n] with the steps [n] in which they lie, and their words or None; up: whether each goes away from zero."""

    x: NDArray[Any]
    steps: Steps
    words: NDArray[np.uint32] | None
    up: NDArray[np.bool_]


def every_step(q: QuantizerUnderTest) -> Evidence:
    """In every step of a format of up to 16 bits, of either sign, what lies at its ends, its tie and beside them goes right.

    Under random words: what lies at a word's threshold stays with the word before and goes up with this one, of up to 2**20
    roundings as many as there are; then each word has its thresholds in some steps. One that draws for itself: each
    result is one of the two ends, and at an end it is that. In wider formats some 1000 telling steps are tried.
    """
    steps, all_steps = _steps(q)
    per_step, points = 0, _beside(q, steps)
    if q.takes_words:
        per_step, points = _at_thresholds(q, steps)
    result = q(points.x, points.words)
    ends = [np.where(points.steps.negative, -end, end) for end in (points.steps.low, points.steps.high)]
    wanted, known = np.where(points.up, ends[1], ends[0]), _plain(q, points.steps)
    if q.rounding is Rounding.RNL:  # whose tie is no float, and lies below the middle
        away = np.abs(np.abs(points.x) - points.steps.tie) > 0.2 * (points.steps.high - points.steps.low)
        known &= away
    wanted, known = _by_oracle(q, points, wanted, known)
    value = result.astype(np.float64)
    right = value == wanted
    if q.sampler:
        inner = (np.abs(points.x) > points.steps.low) & (np.abs(points.x) < points.steps.high)
        right = np.where(inner, (value == ends[0]) | (value == ends[1]), value == points.x)
    if isinstance(q.element, FloatFormat) and not q.codes:
        minus = np.signbit(points.x) & q.element.has_negative_zero
        right &= (value != 0) | (np.signbit(value) == minus)
    wrong = ~right & known
    if wrong.any():
        i = simplest(wrong, points.x)
        word = None if points.words is None else points.words[i]
        raise broken(
            "every_step",
            f"{len(np.unique(points.steps.code[wrong]))} of {len(np.unique(steps.code))} steps are not rounded as claimed",
            q,
            points.x[i],
            word,
            shown(result[i]),
            f"{shown(ends[0][i])} or {shown(ends[1][i])}" if q.sampler else shown(wanted[i]),
            "up iff k + R >= 2**r" if q.takes_words else q.rounding.name,
            Call(points.x, points.words, result, (i,)),
        )
    return Evidence(EXACT, int(known.sum()), _note(q, len(np.unique(steps.code)), all_steps, per_step))


def _note(q: QuantizerUnderTest, number: int, all_steps: bool, per_step: int) -> str:
    told = f"all {number} steps" if all_steps else f"{number} of the steps"
    if not q.takes_words:
        return told
    count = 1 << int(q.random_bits or 32)
    return f"{told}, {f'all {count}' if per_step == count else f'{per_step} of {count}'} words at each"


def _steps(q: QuantizerUnderTest) -> tuple[Steps, bool]:
    """The steps that are tried, of both signs, and whether these are all."""
    fmt = q.element
    own = (1 << EVERY_STEP) if fmt.bits <= EVERY_STEP else SOME
    codes = codes_of(fmt, own if q.limit >= SLOW else min(own, q.limit))
    codes = codes[codes < fmt.largest_code]
    low, high = (decoded(fmt, q.dtype, found) for found in (codes, codes + 1))
    keep = np.isfinite(low) & np.isfinite(high) & (low >= 0) & (high > low)
    codes, low, high = codes[keep], low[keep], high[keep]
    complete = q.limit >= SLOW and fmt.bits <= EVERY_STEP
    if isinstance(fmt, FixedFormat) and fmt.signed and not fmt.symmetric:  # reaches one step further down
        codes, low = np.append(codes, fmt.largest_code), np.append(low, fmt.max)
        high = np.append(high, -fmt.min)
    if isinstance(fmt, PositFormat):
        middle = np.array([float(tie(int(code), fmt.bits)) if code else 0.0 for code in codes])
    else:
        middle = low + (high - low) / 2
    plus = Steps(codes, low, high, middle, np.zeros(len(codes), bool))
    held = plus.of(high <= fmt.max)
    if not fmt.signed:
        return held, complete
    minus = plus._replace(negative=np.ones(len(codes), bool))
    return Steps(*(np.concatenate(pair) for pair in zip(held, minus, strict=True))), complete


def _plain(q: QuantizerUnderTest, steps: Steps) -> NDArray[np.bool_]:
    """Which steps are rounded by where their ends and tie are: those from zero only where the grid goes on down to it."""
    fmt = q.element
    whole = isinstance(fmt, FixedFormat) or (isinstance(fmt, FloatFormat) and fmt.subnormals is Subnormals.GRADUAL)
    plain: NDArray[np.bool_] = (steps.low > 0) | whole
    return plain


def _by_oracle(
    q: QuantizerUnderTest, points: Points, wanted: Floats, plain: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """What the oracle says of up to 256 points of the other steps, of which the rest is left out."""
    others = np.flatnonzero(~plain)
    if not len(others):
        return wanted, plain
    others = others[:: -(-len(others) // 256)]
    known = plain.copy()
    if q.sampler:
        return wanted, known
    known[others] = True
    words = None if points.words is None else points.words[others]
    wanted = wanted.copy()
    wanted[others] = reference.quantize(points.x[others], q.ideal, words=words).astype(np.float64)
    return wanted, known


def _beside(q: QuantizerUnderTest, steps: Steps) -> Points:
    """The ends, the tie, the quarters, and the floats beside these; where each goes by the mode, were it not random."""
    kind = q.dtype.type
    low, high, middle = (part.astype(kind) for part in (steps.low, steps.high, steps.tie))
    quarters = [(steps.low + (steps.high - steps.low) * part).astype(kind) for part in (0.25, 0.75)]
    zero, most = kind(0), kind(np.finfo(kind).max)
    found = [low, np.nextafter(low, most), np.nextafter(middle, zero), middle, np.nextafter(middle, most), *quarters]
    magnitude = np.stack([*found, np.nextafter(high, zero), high])
    inside = (magnitude >= low) & (magnitude <= high)
    own = steps.of(np.broadcast_to(np.arange(len(low)), magnitude.shape)[inside])
    x = magnitude[inside]
    up = _goes_up(q.element, q.rounding, x.astype(np.float64), own)
    return Points(np.where(own.negative, -x, x).astype(kind), own, None, up)


def _goes_up(fmt: ElementFormat, mode: Rounding, x: Floats, steps: Steps) -> NDArray[np.bool_]:
    side = np.sign(x - steps.tie)
    # A tie of values that are no short numbers may be no float; as they are near to each other, both differences are exact.
    if not isinstance(fmt, PositFormat):
        side = np.where(side == 0, np.sign((x - steps.low) - (steps.high - x)), side)
    inner = (x > steps.low) & (x < steps.high)
    odd = steps.code % 2 == 1
    match mode:
        case Rounding.RNE:
            up = (side > 0) | ((side == 0) & odd)
        case Rounding.RNA | Rounding.RNL:
            up = side >= 0
        case Rounding.RTP:
            up = ~steps.negative
        case Rounding.RTN:
            up = steps.negative
        case Rounding.RTO:
            up = ~odd
        case _:
            up = np.zeros(x.shape, bool)
    result: NDArray[np.bool_] = (up & inner) | (x == steps.high)
    return result


def _at_thresholds(q: QuantizerUnderTest, steps: Steps) -> tuple[int, Points]:
    """Of each step points at which a word is the first to go up, with that word and the one before; how many words each."""
    r, n = int(q.random_bits or 32), len(steps.low)
    count = 1 << r
    budget = BUDGET if q.limit >= SLOW else 16 * q.limit
    slots = max(1, min(2 * count, budget // (2 * max(1, n))))
    place = np.tile(np.arange(slots, dtype=np.int64), n)
    own = steps.of(np.repeat(np.arange(n), slots))
    if slots == 2 * count:
        j, half = place // 2, place % 2
    else:  # of each sign the multiples of an odd number, which visit every word
        at = np.arange(n * slots, dtype=np.int64)
        j, half = at * _STRIDE % count, at // count % 2
    gap = own.high - own.low
    short = np.frexp(gap)[0] == 0.5
    part = (j + np.where(short, half * 0.5, 0.25 + half * 0.5)) / count
    x = (own.low + gap * part).astype(q.dtype)
    exact = x.astype(np.float64)
    scaled = (exact - own.low) / gap * count
    k = np.floor(scaled)
    if q.rounding is Rounding.SR_B:
        k = np.floor(scaled + 0.5)
    elif q.rounding is Rounding.SR_C:
        k = np.rint(scaled)
    # Exact where a step is a power of two; else the quotient is too near to where k changes to be trusted.
    edge = np.abs(scaled * 2 - np.rint(scaled * 2))
    with np.errstate(over="ignore"):  # infinity is larger too
        sure = (short & ((own.low == 0) | (exact <= 2 * own.low))) | (edge > max(2.0**-20, 2.0 ** (r - 46)))
    sure &= (exact >= own.low) & (exact < own.high)
    first = (count - k).astype(np.int64)
    tried = [(first, sure & (first < count)), (first - 1, sure & (first > 0))]
    places = np.concatenate([np.flatnonzero(keep) for _, keep in tried])
    words = np.concatenate([word[keep] for word, keep in tried])
    up = np.repeat([True, False], [int(keep.sum()) for _, keep in tried])
    chosen = own.of(places)
    signed = np.where(chosen.negative, -x[places], x[places]).astype(q.dtype)
    return min(count, slots), Points(signed, chosen, words.astype(np.uint32), up)
