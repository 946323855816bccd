"""Checks of quantizers whose elements share a scale: equal to the oracle, and blocks that do not see each other."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..formats import BlockFormat, FixedFormat
from ..quantizer import Quantizer
from ..words import random_words
from .block_cases import usable
from .evidence import EXACT, ClaimError, Evidence, hides, literal, shown
from .points import points
from .quantizers import QuantizerUnderTest
from .rounding_checks import same_bits

__tracebackhide__ = hides

BLOCKS = 40
LONGEST = 128  # of formats of longer blocks short ones
SAMPLES = 16


def block_inputs(q: QuantizerUnderTest) -> NDArray[Any]:
    """Rows [R, L] of blocks, the last one short: maxima beside powers of two, zeros, ties, all sizes, subnormal scales."""
    fmt = q.fmt
    assert isinstance(fmt, BlockFormat)
    length = min(fmt.block, LONGEST)
    element = fmt.element
    base = points(element, np.float64, 512)
    base = base[np.abs(base) <= 2 * element.max]
    unit = element.quantum if isinstance(element, FixedFormat) else 1.0
    count = BLOCKS * length
    order = random_words(count, 32, seed=0x626C6F63).astype(np.int64)
    x = base[order % len(base)].reshape(BLOCKS, length).copy()
    exponents = random_words(BLOCKS, 32, seed=0x626C6F64).astype(np.int64) % 21 - 10
    x *= 2.0 ** exponents[:, None].astype(np.float64)
    power = 2.0 ** (exponents.astype(np.float64) + 3)
    tops = np.stack(
        [power, np.nextafter(power.astype(q.dtype), q.dtype.type(0)).astype(np.float64), power * 1.25, power * 1.75]
    )
    x[np.arange(BLOCKS), order[:BLOCKS] % length] = tops[np.arange(BLOCKS) % 4, np.arange(BLOCKS)] * unit
    x[0] = 0.0
    x[1, 1:] = 0.0
    x[2] *= 2.0**-40
    x[3] *= 2.0**40
    rows = x.reshape(4, -1)
    rows = rows if fmt.signed else np.abs(rows)
    result: NDArray[Any] = rows[:, : rows.shape[1] - (length > 1)].astype(q.dtype)
    return result


def called(q: QuantizerUnderTest, rows: NDArray[Any], words: Any = None) -> NDArray[Any]:
    """What rows [R, L] of blocks become, of an array in which the blocks lie along the quantizer's axis."""
    found = q(laid(q, rows), None if words is None else laid(q, words))
    return np.ascontiguousarray(np.moveaxis(found, q.axis, -1)).reshape(rows.shape)


def laid(q: QuantizerUnderTest, rows: NDArray[Any]) -> NDArray[Any]:
    """Rows [R, L] as an array with L along the axis, of as few dimensions as have that axis."""
    if q.axis == -1:
        return np.ascontiguousarray(rows)  # what lies otherwise is for any_blocks to tell
    dimensions = max(2, q.axis + 1, -q.axis)
    shaped = rows.reshape(len(rows), *[1] * (dimensions - 2), rows.shape[1])
    return np.ascontiguousarray(np.moveaxis(shaped, -1, q.axis))


def _words(q: QuantizerUnderTest, shape: tuple[int, ...]) -> Any:
    if not q.takes_words:
        return None
    return random_words(int(np.prod(shape)), int(q.random_bits or 32), seed=4).reshape(shape)


def broken_block(
    claim: str,
    statement: str,
    q: QuantizerUnderTest,
    x: NDArray[Any],
    words: Any,
    found: NDArray[Any],
    wanted: NDArray[Any],
    formula: str,
) -> None:
    """Refuses what is found [R, L] where it is not what is wanted: says of the first element its block, and a line."""
    wrong = ~same_bits(found, wanted)
    if wrong.any():
        row, column = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        assert isinstance(q.fmt, BlockFormat)
        start = int(column) // q.fmt.block * q.fmt.block
        part = slice(start, start + q.fmt.block)
        raise ClaimError(
            claim,
            f"{statement} ({q.fmt}, {q.rounding.name})",
            x=f"{shown(x[row, column])}, element {int(column) - start} of {literal(x[row, part], q.dtype)}",
            seen=shown(found[row, column]),
            allowed=shown(wanted[row, column]),
            formula=formula,
            **_shown_by(q, x, words, found, (int(row), int(column)), part),
        )


def _shown_by(
    q: QuantizerUnderTest, x: NDArray[Any], words: Any, found: NDArray[Any], at: tuple[int, int], part: slice
) -> dict[str, object]:
    """The line of the block, of its row or of all rows, whichever is the first that gives what was found."""
    row, column = at
    seen, tensor = found[row, column], isinstance(q.fmt, BlockFormat) and q.fmt.tensor_scale
    tried = ((row, part, (column - part.start,)), (row, slice(None), (column,)), (slice(None), slice(None), at))
    told = ""
    for rows, columns, place in tried if not q.sampler else ():
        given, own = x[rows, columns], None if words is None else words[rows, columns]
        try:
            row_given = np.atleast_2d(given)
            result = called(q, row_given, None if own is None else np.atleast_2d(own)).reshape(given.shape)[place]
        except Exception:  # of so few it can do nothing
            continue
        if same_bits(result, seen):
            line = _line(q, given, own, place if told else ())
            return {"only_among_others": told, "reproduce": line} if told else {"reproduce": line}
        told = told or f"alone, the block gives {shown(result)} there" + (
            ", of another tensor's scale" if tensor else ""
        )
    line = _line(q, x[row, part], None if words is None else words[row, part], ())
    if told:  # nor is it in the same call again
        told = f"{told}, and in the same array again other results: it depends on what came before"
    return {"only_among_others": told, "reproduce": line} if told else {"reproduce": line}


def _line(q: QuantizerUnderTest, given: NDArray[Any], words: Any, place: tuple[int, ...]) -> str:
    """The call with rows, or with one, and which of its elements it is."""
    if q.axis != -1:
        rows = np.atleast_2d(given)
        number = np.ravel_multi_index(place, given.shape) if place else -1
        place = tuple(np.argwhere(laid(q, np.arange(rows.size).reshape(rows.shape)) == number).reshape(-1).tolist())
        given, words = laid(q, rows), None if words is None else laid(q, np.atleast_2d(words))
    return q.reproduce(given, words) + (f"[{', '.join(map(str, place))}]" if place else "")


def _given(q: QuantizerUnderTest, x: Any) -> NDArray[Any]:
    """Rows of blocks: those of an array x, in which they lie along the quantizer's axis, or those of the checks."""
    if x is None:
        return usable(q, block_inputs(q))
    array = np.atleast_2d(np.asarray(x, q.dtype))
    moved = np.moveaxis(array, q.axis, -1)
    return np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])


def block_decision(q: QuantizerUnderTest, x: Any = None, words: Any = None) -> Evidence:
    """Every element is the oracle's: the scale by the format's rule, then one rounding of the scaled value."""
    given = _given(q, x)
    if q.sampler:
        return _either(q, given)
    if words is None:
        drawn = _words(q, given.shape)
    else:
        drawn = np.moveaxis(np.atleast_2d(np.asarray(words, np.uint32)), q.axis, -1).reshape(given.shape)
    found, wanted = called(q, given, drawn), reference.quantize(given, replace(q.ideal, axis=-1), words=drawn)
    broken_block(
        "block_decision",
        "not what the scale rule and one rounding give",
        q,
        given,
        drawn,
        found,
        wanted,
        f"{q.fmt}: scale by {q.fmt.rule.name if isinstance(q.fmt, BlockFormat) else ''}, elements once rounded",
    )
    return Evidence(EXACT, given.size)


def _either(q: QuantizerUnderTest, given: NDArray[Any]) -> Evidence:
    """Of one that draws for itself: what the smallest or what the largest word gives."""
    ideal = Quantizer(q.fmt, q.rounding, q.overflow, 32)
    low, high = (
        reference.quantize(given, ideal, words=np.full(given.shape, word, np.uint32)) for word in (0, (1 << 32) - 1)
    )
    for _ in range(SAMPLES):
        found = called(q, given)
        wanted = np.where(same_bits(found, high), high, low)
        broken_block(
            "block_decision", "a result is neither neighbour", q, given, None, found, wanted, "Q(x) in {lo, hi}"
        )
    return Evidence(EXACT, SAMPLES * given.size, "support alone: for what it draws see block_draws")


def block_apart(q: QuantizerUnderTest, x: Any = None) -> Evidence:
    """A block gives the same alone as among others, the input stays as it was, and a second call gives the same bits."""
    given = _given(q, x)
    fmt = q.fmt
    assert isinstance(fmt, BlockFormat)
    words = _words(q, given.shape)
    before = given.copy()
    plain = called(q, given, words)
    if not same_bits(given, before).all():
        raise ClaimError("block_apart", "the input was written to", reproduce=_line(q, before[:1], None, ()))
    broken_block(
        "block_apart",
        "called again, the bits differ",
        q,
        given,
        words,
        called(q, given, words),
        plain,
        "the same call, the same bits",
    )
    if not fmt.tensor_scale:
        alone = np.concatenate(
            [
                called(q, given[:, i : i + fmt.block], None if words is None else words[:, i : i + fmt.block])
                for i in range(0, given.shape[1], fmt.block)
            ],
            axis=1,
        )
        broken_block(
            "block_apart",
            "among others, a block gave another result than alone",
            q,
            given,
            words,
            plain,
            alone,
            "a block depends on its elements and their words",
        )
    alike = q.axis == -1 and not fmt.tensor_scale and fmt.block > 0
    return Evidence(EXACT, 3 * given.size + (_any_shape(q, given, words, plain) if alike else 0))


def _any_shape(q: QuantizerUnderTest, given: NDArray[Any], words: Any, plain: NDArray[Any]) -> int:
    """Rows of one to some blocks, a row by itself and rows of three dimensions give the same; how many cases."""
    assert isinstance(q.fmt, BlockFormat)
    length, cases = q.fmt.block, 0
    told = "block_apart", "in an array of another shape, a block gave another result"
    for number in (1, 2, 3):
        if number * length > given.shape[1]:
            continue
        part = slice(0, number * length)
        x, own = given[:, part], None if words is None else words[:, part]
        for shape in (x.shape, (x.shape[0], 1, x.shape[1])):
            found = q(x.reshape(shape), None if own is None else own.reshape(shape)).reshape(x.shape)
            broken_block(*told, q, x, own, found, plain[:, part], "a block depends on its elements and their words")
            cases += x.size
        one = q(x[0].copy(), None if own is None else own[0].copy())[None]
        broken_block(
            *told, q, x[:1], None if own is None else own[:1], one, plain[:1, part], "a row is what it is among others"
        )
        cases += one.size
    return cases
