"""Products of every length and shape: one chain of each number of products, addends of all sizes, blocks of a large product."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulators import AccumulatorUnderTest, Extra
from .counter_examples import first_of
from .evidence import EXACT, Evidence, hides, shown
from .points import members
from .product_cases import broken_product
from .product_problems import DEPTHS, Problem, drawn, extras, many_outputs, nearest_members
from .reproductions import same_bits

__tracebackhide__ = hides

#: Every length up to twice a usual block, and those beside larger ones.
LENGTHS = (*range(1, 66), 96, 127, 128, 129, 200, 255, 256, 257, 512, 1000, 1024, 1025)
SHORT = range(1, 13)
OPERANDS, POWERS, COLUMNS = 128, 64, 16
ROWS = (*range(1, 34), 36)
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "np.asfortranarray({})": np.asfortranarray,
    "np.repeat({}, 2, axis=1)[:, ::2]": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


def lengths(subject: AccumulatorUnderTest) -> Iterator[Problem]:
    """One output of each number of products that the other problems have none of."""
    for k in LENGTHS if subject.deep else SHORT:
        if k not in DEPTHS:
            both = drawn(subject, f"{k} products", k, k, 3)
            c = None if both.c is None else both.c[:1, :1]
            yield Problem(both.name, both.a[:1], both.b[:, :1], c)


def addends(subject: AccumulatorUnderTest) -> Iterator[Problem]:
    """Values of the output of all sizes as addends: with no product, with one of zero, and with one of usual size."""
    if not subject.takes_c:
        return
    own = members(subject.output, np.float64, 512)
    own = own[own <= 0.5 * own[-1]]
    own = own[np.unique(np.linspace(0, len(own) - 1, 64).astype(int))]
    own = np.concatenate([own, -own]) if subject.output.signed else own
    with np.errstate(over="ignore", under="ignore"):
        c = own.astype(subject.dtype)[None, :]
    c = c[:, np.isfinite(c[0])]
    one = drawn(subject, "", 1, 0, 0)
    for name, k, size in (("no product", 0, 0), ("a product of zero", 1, 0), ("one product", 1, 1)):
        a, b = one.a[:1, :k] * size, np.repeat(one.b[:k, :1], c.shape[1], axis=1)
        yield Problem(f"addends of all sizes, {name}", a, b, c)


def sizes(subject: AccumulatorUnderTest) -> Iterator[Problem]:
    """Every operand of up to 8 bits, of wider formats some of each binade; sums of three products in every binade.

    Each operand is multiplied by a small, a middle and a large one. Of the sums each row has its power of two, and each
    column; what lies beyond the limits, or vanishes, is among them.
    """
    for side in (0, 1):
        own = _telling(subject, side, OPERANDS)
        others = _telling(subject, 1 - side, OPERANDS)
        others = others[others > 0]
        few = others[[0, len(others) // 2, -1]]
        a, b = (own, few) if side == 0 else (few, own)
        yield _problem(subject, f"every operand {'ab'[side]}", a[:, None], b[None, :])
    both = [_telling(subject, side, POWERS) for side in (0, 1)]
    pattern = [np.array([1.0, -0.75, 0.625]), np.array([1.0, 0.5, 1.0])]
    scaled = []
    for side, powers in enumerate(both):
        pattern[side] = pattern[side] if subject.operands[side].signed else np.abs(pattern[side])
        power = np.ldexp(0.5, np.frexp(np.abs(powers[powers != 0]))[1])
        signed = np.unique(np.sign(powers[powers != 0]) * power)
        if side == 1:  # whose signs are tried above
            signed = signed[signed > 0]
            signed = signed[np.unique(np.linspace(0, len(signed) - 1, min(len(signed), COLUMNS)).astype(int))]
        scaled.append(nearest_members(subject.operands[side], signed[:, None] * pattern[side], subject.dtype))
    yield _problem(subject, "sums of every size", scaled[0], scaled[1].T)


def _telling(subject: AccumulatorUnderTest, side: int, limit: int) -> NDArray[np.float64]:
    """Members of an operand's format, of both signs where it has them, at most about so many, which the dtype holds."""
    fmt = subject.operands[side]
    own = members(fmt, np.float64, limit)
    own = own[own.astype(subject.dtype).astype(np.float64) == own]
    own = own[np.unique(np.linspace(0, len(own) - 1, min(len(own), limit)).astype(int))]
    return np.concatenate([own, -own]) if fmt.signed else own


def _problem(subject: AccumulatorUnderTest, name: str, a: NDArray[Any], b: NDArray[Any]) -> Problem:
    c = np.zeros((len(a), b.shape[1]), subject.dtype) if subject.takes_c else None
    return Problem(name, a.astype(subject.dtype), b.astype(subject.dtype), c)


def any_block(subject: AccumulatorUnderTest) -> Evidence:
    """Products of 1 to 36 rows and columns are the blocks of a large one, however the operands lie in memory.

    In memory: in Fortran order, the addend too; from views with gaps.
    """
    _, a, b, _ = many_outputs(subject)
    small = drawn(subject, "", 3, 0, 2).c
    c = None if small is None else np.tile(small / 2, (18, 12)).astype(subject.dtype)
    given = Problem("a large product", a, b, c)
    extra = next(extras(subject, given))
    try:
        subject.wanted(a, b, c, extra)
    except (OverflowError, ValueError):
        return Evidence(EXACT, 0, "products of usual size overflow, which is refused")
    large = subject(a, b, c, extra)
    cases = 0
    for m, n in dict.fromkeys(
        pair for size in ROWS for pair in ((size, size), (size, 1), (1, size), (size, 7), (5, size))
    ):
        part = Problem(given.name, a[:m], b[:, :n], None if c is None else c[:m, :n])
        own = _part(subject, extra, m, n)
        found = subject(part.a.copy(), part.b.copy(), None if part.c is None else part.c.copy(), own)
        _compare(subject, f"as {m} x {n}", part, own, found, large[:m, :n], "{}")
        cases += found.size
    block = Problem(given.name, a[:6], b[:, :6], None if c is None else c[:6, :6])
    own = _part(subject, extra, 6, 6)
    for laid, lay in LAYOUTS.items():
        laid_c = None if block.c is None else lay(block.c)
        found = subject(lay(block.a), lay(block.b), laid_c, tuple(map(lay, own)))
        _compare(subject, "laid otherwise in memory", block, own, found, large[:6, :6], laid)
        cases += found.size
    return Evidence(EXACT, cases)


def _part(subject: AccumulatorUnderTest, extra: Extra, m: int, n: int) -> Extra:
    """The words, or the scales, of the first m rows and n columns."""
    if subject.scaled:
        return extra[0][:m].copy(), extra[1][:, :n].copy()
    return tuple(words[:m, :n].copy() for words in extra)


def _compare(
    subject: AccumulatorUnderTest,
    how: str,
    given: Problem,
    extra: Extra,
    found: NDArray[Any],
    wanted: NDArray[Any],
    laid: str,
) -> None:
    wrong = ~same_bits(found, wanted)
    if wrong.any():
        i, j = first_of(wrong)
        raise broken_product(
            "any_block",
            f"{how}, an output differs from that of a larger product",
            subject,
            given,
            extra,
            (i, j),
            shown(found[i, j]),
            shown(wanted[i, j]),
            "an output depends on its row, its column, its c and its words",
            found,
            laid,
        )
