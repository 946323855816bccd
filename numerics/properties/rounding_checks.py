"""Checks of single roundings: membership, fixed points, order, symmetry, neighbours, the decision, the edges.

Each takes the quantizer under test, values x [n] and words [n]; left out, x are the points where bugs live and words
the ends and middles of their range, every word that there is for up to 4 random bits. They return Evidence or raise
ClaimError.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..formats import FixedFormat, FloatFormat, PositFormat
from ..rounding import Overflow, Rounding
from ..words import random_words
from .counter_examples import broken, simplest
from .evidence import EXACT, EXHAUSTIVE, Evidence, hides, shown
from .law import law_of, overflows
from .points import members, points, thresholds
from .quantizers import QuantizerUnderTest
from .reproductions import Call
from .reproductions import same_bits as same_bits

__tracebackhide__ = hides

DIRECTED = (Rounding.RTP, Rounding.RTN)
THRESHOLDS = 12  # random bits up to which a word is tried at its own threshold
MEMBER_DRAWS = 1 << 17  # a float32 sum of a value and a random number moves the value in some 2**-10 to 2**-14 of draws


def words_to_try(random_bits: int) -> list[int]:
    """The ends, the middle, one beside each, and a few others; all of them for up to 4 bits."""
    if random_bits <= 4:
        return list(range(1 << random_bits))
    last, half = (1 << random_bits) - 1, 1 << (random_bits - 1)
    return sorted({0, 1, half - 1, half, half + 1, last - 1, last, last // 3, last - last // 3})


def inputs(q: QuantizerUnderTest, x: Any) -> NDArray[Any]:
    """x as a flat array of the quantizer's dtype; None: the points; of a source format its members alone."""
    if x is None:
        x = points(q.element, q.dtype, q.limit)
        x = x[~overflows(q, x)] if q.overflow is Overflow.ERROR else x
    array = np.atleast_1d(np.asarray(x, q.dtype)).reshape(-1)
    if q.source is not None:
        held = [reference.round_value(float(v), q.source, Rounding.RTZ) == float(v) for v in array.tolist()]
        array = array[held] if any(held) else _of_source(q)
    return array


def with_thresholds(q: QuantizerUnderTest, bits: int) -> NDArray[Any]:
    """The points, and for up to `bits` random bits one at which each word is the first to go up."""
    own = inputs(q, None)
    if not q.takes_words or int(q.random_bits or 32) > bits:
        return own
    more = thresholds(q.element, q.dtype, int(q.random_bits or 32))
    more = more[np.isin(more, _of_source(q))] if q.source is not None else more
    return np.concatenate([own, more])


def _of_source(q: QuantizerUnderTest) -> NDArray[Any]:
    assert q.source is not None
    own = members(q.source).astype(q.dtype)
    return np.unique(np.concatenate([-own, own]) if q.source.signed else own)


def rounds(q: QuantizerUnderTest, x: NDArray[Any], words: Any = None) -> Iterator[tuple[Any, NDArray[Any]]]:
    """(words or None, results) of x under the words given, or under each of the words to try."""
    if not q.takes_words:
        yield None, q(x)
    elif words is not None:
        drawn = np.broadcast_to(np.asarray(words, np.uint32), x.shape)
        yield drawn, q(x, drawn)
    else:
        assert q.random_bits is not None
        for word in words_to_try(int(q.random_bits)):
            drawn = np.full(x.shape, word, np.uint32)
            yield drawn, q(x, drawn)


def _kept(x: NDArray[Any], words: Any, keep: NDArray[np.bool_]) -> tuple[NDArray[Any], Any]:
    """Some of the elements, with their words."""
    if words is None or np.ndim(words) == 0:
        return x[keep], words
    return x[keep], np.asarray(words)[keep]


def _at(words: Any, i: int) -> Any:
    return None if words is None else words[i]


def member(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """Every result is a value of the format."""
    x, cases = inputs(q, x), 0
    known: set[float] = set()
    for drawn, result in rounds(q, x, words):
        strange = [v for v in np.unique(result).tolist() if v not in known and not _is_member(v, q)]
        if strange:
            i = simplest(np.isin(result, strange) | (np.isnan(result) & np.isnan(strange).any()), x)
            raise broken(
                "member",
                "a result is no value of the format",
                q,
                x[i],
                _at(drawn, i),
                shown(result[i]),
                "values of the format",
                "Q(x) in F",
                Call(x, drawn, result, (i,)),
            )
        known.update(np.unique(result).tolist())
        cases += len(x)
    return Evidence(EXACT, cases)


def _is_member(value: float, q: QuantizerUnderTest) -> bool:
    fmt = q.element
    if math.isnan(value):
        return fmt.has_nan
    if math.isinf(value):
        return fmt.infinities if not isinstance(fmt, PositFormat) else False
    precision = 24 if q.dtype == np.float32 else 53
    try:
        return reference.round_value(value, fmt, Rounding.RTZ, precision=precision) == value
    except ValueError:  # a negative in an unsigned format
        return False


def fixed_points(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """A value of the format stays where it is, whatever the word: one that draws for itself is asked many times."""
    fmt = q.element
    all_codes = fmt.largest_code < max(64, q.limit // 2)
    if x is None:
        own = members(fmt, q.dtype, max(64, q.limit // 2)).astype(q.dtype)
        x = np.concatenate([-own[::-1], own]) if fmt.signed else own
        if isinstance(fmt, FixedFormat):  # two's complement reaches one step further down
            x = np.unique(np.append(x, q.dtype.type(fmt.min)))
        x = inputs(q, x)
    else:
        x = inputs(q, x)
        x, words = _kept(x, words, np.array([_is_member(v, q) for v in x.tolist()], bool))
    if isinstance(fmt, FixedFormat):
        x, words = _kept(x, words, (x >= fmt.min) & (x <= fmt.max))
    if q.sampler and len(x):
        x = np.tile(x, -(-MEMBER_DRAWS // len(x)))
    cases = 0
    for drawn, result in rounds(q, x, words):
        wrong = result != x
        if wrong.any():
            i = simplest(wrong, x)
            raise broken(
                "fixed_points",
                "a value of the format moved",
                q,
                x[i],
                _at(drawn, i),
                shown(result[i]),
                shown(x[i]),
                "Q(v) = v for v in F",
                Call(x, drawn, result, (i,)),
            )
        cases += len(x)
    few = not q.takes_words or int(q.random_bits or 0) <= 4
    return Evidence(EXHAUSTIVE if all_codes and few and words is None else EXACT, cases)


def projection(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """Rounding twice is rounding once: Q(Q(x)) = Q(x), for any words."""
    x, cases = inputs(q, x), 0
    for drawn, once in rounds(q, x, words):
        keep = np.isfinite(once) if q.source is None else np.isfinite(once) & np.isin(once, _of_source(q))
        twice = q(once[keep], None if drawn is None else drawn[keep][::-1].copy())
        wrong = ~same_bits(twice, once[keep])
        if wrong.any():
            i = simplest(wrong, once[keep])
            raise broken(
                "projection",
                "rounding a result moved it",
                q,
                once[keep][i],
                _at(None if drawn is None else drawn[keep][::-1], i),
                shown(twice[i]),
                shown(once[keep][i]),
                "Q(Q(x)) = Q(x)",
                Call(once[keep], None if drawn is None else drawn[keep][::-1], twice, (i,)),
            )
        cases += len(x)
    return Evidence(EXACT, cases)


def monotone(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """x <= y gives Q(x) <= Q(y), under the same word."""
    x, cases = np.unique(inputs(q, x)), 0
    given = None if words is None or not q.takes_words else np.full(x.shape, int(np.atleast_1d(words)[0]), np.uint32)
    for drawn, result in rounds(q, x, given):
        wrong = result[1:] < result[:-1]
        if wrong.any():
            i = simplest(wrong, x)
            pair = slice(i, i + 2)
            raise broken(
                "monotone",
                "a larger x became smaller",
                q,
                x[pair],
                None if drawn is None else drawn[pair],
                f"{shown(result[i])}, then {shown(result[i + 1])}",
                "the second not below the first",
                "x <= y gives Q(x) <= Q(y)",
                Call(x, drawn, result, (i, i + 1)),
            )
        cases += len(x)
    return Evidence(EXACT, cases)


def odd(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """Q(-x) = -Q(x) under the same word: modes that look at the magnitude alone."""
    x, cases = inputs(q, x), 0
    fmt = q.element
    keep = x != 0
    if isinstance(fmt, FixedFormat) and not fmt.symmetric:  # two's complement reaches one step further down
        keep &= np.abs(x) <= fmt.max
    x, words = _kept(x, words, keep)
    for drawn, result in rounds(q, x, words):
        mirrored = q(-x, drawn)
        wrong = (mirrored != -result) & ~(np.isnan(mirrored) & np.isnan(result))
        if wrong.any():
            i = simplest(wrong, x)
            raise broken(
                "odd",
                "-x did not become -Q(x)",
                q,
                -x[i],
                _at(drawn, i),
                shown(mirrored[i]),
                f"{shown(-result[i])}, as Q({float(x[i])!r}) is {shown(result[i])}",
                "Q(-x) = -Q(x)",
                Call(-x, drawn, mirrored, (i,)),
                Call(x, drawn, result, (i,)),
            )
        cases += len(x)
    return Evidence(EXACT, cases)


def faithful(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """A result is one of the two neighbours, after flushing and the overflow rule; a value of the format itself."""
    x, cases = inputs(q, x), 0
    law = law_of(q, x)
    for drawn, result in rounds(q, x, words):
        value = result.astype(np.float64)
        wrong = ~(_equal(value, law.low) | _equal(value, law.high))
        if q.overflow is Overflow.IEEE and not q.stochastic:  # a directed mode may stop at the largest value
            wrong &= ~((np.abs(value) == q.element.max) & overflows(q, x) & (np.sign(value) == np.sign(x)))
        if wrong.any():
            i = simplest(wrong, x)
            raise broken(
                "faithful",
                "a result is neither neighbour",
                q,
                x[i],
                _at(drawn, i),
                shown(result[i]),
                "one of the neighbours",
                "Q(x) in {lo, hi}, lo <= |x| < hi",
                Call(x, drawn, result, (i,)),
            )
        cases += len(x)
    return Evidence(EXACT, cases)


def _equal(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (a == b) | (np.isnan(a) & np.isnan(b))
    return same


def decision(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """Each result is the oracle's: the exact value decides which neighbour, for a stochastic mode k + R >= 2**r does.

    Words left out are, for each x, the two at its threshold, the ends, and one drawn from a fixed stream.
    """
    x, cases = inputs(q, x) if x is not None else with_thresholds(q, THRESHOLDS), 0
    for drawn in _deciding_words(q, x) if words is None else [np.asarray(words)]:
        result = q(x, drawn if q.takes_words else None)
        wanted = reference.quantize(x, q.ideal, words=drawn if q.takes_words else None)
        wrong = ~_equal(result.astype(np.float64), wanted.astype(np.float64))
        if wrong.any():
            i = simplest(wrong, x)
            rule = "up iff floor(nu 2**r) + R >= 2**r" if q.rounding is Rounding.SR else q.rounding.name
            raise broken(
                "decision",
                "not the neighbour that the mode says",
                q,
                x[i],
                _at(drawn if q.takes_words else None, i),
                shown(result[i]),
                shown(wanted[i]),
                rule,
                Call(x, drawn if q.takes_words else None, result, (i,)),
            )
        cases += len(x)
    return Evidence(EXACT, cases)


def _deciding_words(q: QuantizerUnderTest, x: NDArray[Any]) -> list[Any]:
    if not q.takes_words:
        return [None]
    r = int(q.random_bits or 32)
    last = (1 << r) - 1
    edge = (1 << r) - law_of(q, x).counts(q.rounding, r)
    drawn = random_words(len(x), r, seed=len(x))
    chosen: list[NDArray[Any]] = [
        np.clip(edge, 0, last),
        np.clip(edge - 1, 0, last),
        np.zeros_like(edge),
        np.full_like(edge, last),
        drawn,
    ]
    return [words.astype(np.uint32) for words in chosen]


def saturation(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """Beyond the largest value, and at infinity, the overflow rule decides; under Overflow.ERROR it raises.

    x more than a step below the largest value are left out.
    """
    fmt = q.element
    if x is None:
        x = points(fmt, q.dtype, q.limit)
        x = x[np.abs(x.astype(np.float64)) >= fmt.max / 2]
        x = np.concatenate([x, np.array([-np.inf, np.inf] if fmt.signed else [np.inf], q.dtype)])
    else:
        x = np.atleast_1d(np.asarray(x, q.dtype)).reshape(-1)
    if q.source is not None:
        x = inputs(q, x[np.isfinite(x)])
    x, words = _kept(x, words, _about_the_end(q, x))
    if q.overflow is Overflow.ERROR:
        return _raises(q, x)
    if q.overflow is Overflow.WRAP:
        x, words = _kept(x, words, np.isfinite(x))
    if q.sampler:
        return _ends(q, x)
    r = int(q.random_bits or 1) if q.takes_words else 1
    cases = 0
    for word in words_to_try(r) if q.takes_words and words is None else [words]:
        drawn = np.broadcast_to(np.asarray(word, np.uint32), x.shape) if q.takes_words else None
        result = q(x, drawn)
        wanted = reference.quantize(x, q.ideal, words=drawn)
        wrong = ~_equal(result.astype(np.float64), wanted.astype(np.float64))
        if wrong.any():
            i = simplest(wrong, x)
            raise broken(
                "saturation",
                "the overflow rule was not kept",
                q,
                x[i],
                _at(drawn, i),
                shown(result[i]),
                shown(wanted[i]),
                f"Overflow.{q.overflow.name}, largest value {fmt.max!r}",
                Call(x, drawn, result, (i,)),
            )
        cases += len(x)
    return Evidence(EXACT, cases)


def _about_the_end(q: QuantizerUnderTest, x: NDArray[Any]) -> NDArray[np.bool_]:
    """Which x are beyond the largest value, or at most one step below it: the rule has no say in the others."""
    precision, top = (24 if q.dtype == np.float32 else 53), q.dtype.type(q.element.max)
    under = float(np.nextafter(top, q.dtype.type(0)))
    edge = reference.round_value(under, q.element, Rounding.RTZ, precision=precision)
    near: NDArray[np.bool_] = np.abs(x.astype(np.float64)) >= edge
    return near


def _ends(q: QuantizerUnderTest, x: NDArray[Any]) -> Evidence:
    """Where no draw matters: infinities, and what lies beyond the largest value."""
    x = x[np.isinf(x) | (np.abs(x.astype(np.float64)) > 2 * q.element.max)]
    precision = 24 if q.dtype == np.float32 else 53
    wanted = np.array(
        [
            reference.round_value(
                v,
                q.element,
                Rounding.RTZ if math.isfinite(v) and q.overflow is not Overflow.IEEE else Rounding.RNE,
                q.overflow,
                precision=precision,
            )
            for v in x.tolist()
        ]
    )
    result = q(x)
    wrong = ~_equal(result.astype(np.float64), wanted)
    if wrong.any():
        i = simplest(wrong, x)
        raise broken(
            "saturation",
            "the overflow rule was not kept",
            q,
            x[i],
            None,
            shown(result[i]),
            shown(wanted[i]),
            f"Overflow.{q.overflow.name}, largest value {q.element.max!r}",
            Call(x, None, result, (i,)),
        )
    return Evidence(EXACT, len(x))


def _raises(q: QuantizerUnderTest, x: NDArray[Any]) -> Evidence:
    cases = 0
    words = np.zeros(1, np.uint32) if q.takes_words else None
    precision = 24 if q.dtype == np.float32 else 53
    for value in x[np.isinf(x) | (np.abs(x.astype(np.float64)) > q.element.max)]:
        bits = None if words is None else int(q.random_bits or 32)
        try:
            reference.round_value(
                float(value),
                q.element,
                q.rounding,
                q.overflow,
                word=0 if bits else None,
                random_bits=bits,
                precision=precision,
            )
            continue  # inside of the format, or an infinity that it has
        except OverflowError:
            pass
        try:
            result = q(np.array([value]), words)
        except Exception:  # which kind is the function's own affair
            cases += 1
            continue
        raise broken(
            "saturation",
            "an overflow was not told",
            q,
            value,
            words,
            shown(result[0]),
            "OverflowError",
            "Overflow.ERROR",
        )
    return Evidence(EXACT, cases)


def nans(dtype: Any) -> NDArray[Any]:
    """The quiet NaN, NaNs with a payload of all ones, and signalling ones with the lowest bit, of both signs."""
    kind = np.dtype(dtype)
    width, trailing = (32, 23) if kind == np.float32 else (64, 52)
    field, quiet = ((1 << (width - 1)) - (1 << trailing)), 1 << (trailing - 1)
    magnitudes = [field | quiet, field | ((1 << trailing) - 1), field | 1]
    return np.array([*magnitudes, *((1 << (width - 1)) | m for m in magnitudes)], f"uint{width}").view(kind)


def specials(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """NaN stays NaN where the format has one; zeros, and what underflows to zero, keep the sign that the format can hold.

    NaNs of every kind: a rounding of the bits alone carries out of those whose payload is all ones, and cuts a payload
    that is all in the dropped bits down to infinity.
    """
    fmt = q.element
    if x is None:
        small = members(fmt, q.dtype)[:2].max() / 8  # rounds to zero in every mode that does not go up
        x = np.asarray([0.0, -0.0, small, -small] if fmt.signed else [0.0, small], q.dtype)
        x = np.concatenate([x, nans(q.dtype)]) if fmt.has_nan else x
    tried = np.atleast_1d(np.asarray(x, q.dtype)).reshape(-1)
    if q.source is not None:
        tried = tried[np.isin(tried, _of_source(q))]
    minus, has_zero = fmt.has_negative_zero, getattr(fmt, "has_zero", True)
    cases = 0
    with np.errstate(invalid="ignore"):  # of a function that converts a signalling NaN
        for drawn, result in rounds(q, tried, None if words is None else np.resize(words, tried.shape)):
            negative = np.signbit(tried) & minus
            lost = np.isnan(tried) & ~np.isnan(result)
            made = (tried == 0) & (result != 0) & has_zero
            # Codes of fixed point, logarithms and posits have one zero, and either float stands for it.
            sign = (result == 0) & (np.signbit(result) != negative) & isinstance(fmt, FloatFormat)
            wrong = lost | made | sign
            if wrong.any():
                i = simplest(wrong, tried)
                allowed = "nan" if lost[i] else "-0.0" if negative[i] else "0.0"
                formula = "Q(NaN) = NaN; a zero has the sign of x where the format has -0"
                raise broken(
                    "specials",
                    "a NaN or a zero was changed",
                    q,
                    tried[i],
                    _at(drawn, i),
                    shown(result[i]),
                    allowed,
                    formula,
                    Call(tried, drawn, result, (i,)),
                )
            cases += len(tried)
    return Evidence(EXACT, cases)
