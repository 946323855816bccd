"""Check of blocks in arrays of every length, shape and layout: many rows, short last blocks, rows that do not lie in order."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats import ScaleRule
from .block_cases import SLOW, block_length, of_blocks, scale_rows, usable, words_for
from .block_checks import called, laid
from .block_law import block_law
from .block_scale_checks import compare_blocks
from .evidence import EXACT, ClaimError, Evidence, hides, shown
from .quantizers import QuantizerUnderTest
from .rounding_checks import same_bits

__tracebackhide__ = hides

PRINTED, LONG = 1 << 12, 1 << 16
ROWS = (*range(1, 20), 31, 32, 33, 63, 64, 65, 127, 128, 129, 257)
LAYOUTS: dict[str, tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "in Fortran order": ("np.asfortranarray({})", np.asfortranarray),
    "from rows with gaps": (
        "np.repeat({}, 2, axis=-1)[..., ::2]",
        lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    ),
    "from every other row": ("np.repeat({}, 2, axis=0)[::2]", lambda x: np.repeat(x, 2, axis=0)[::2]),
    "from a view from end to start": ("{}[::-1].copy()[::-1]", lambda x: x[::-1].copy()[::-1]),
}
REVERSED = "from a view from end to start"


def lengths(q: QuantizerUnderTest) -> list[int]:
    """Lengths of rows: all up to two blocks and some, those beside more blocks, and beside powers of two."""
    n = block_length(q)
    if q.limit < SLOW:
        return sorted({1, 2, 3, n - 1, n, n + 1, 2 * n - 1, 2 * n, 2 * n + 1} - {0})
    every = range(1, min(2 * n + 3, 70))
    beside = (k * n + d for k in (1, 2, 3, 4, 5, 8, 16) for d in (-1, 0, 1))
    powers = ((1 << k) + d for k in range(5, 13) for d in (-1, 0, 1))
    return sorted({length for length in (*every, *beside, *powers) if 0 < length <= max(4097, 5 * n)})


def any_blocks(q: QuantizerUnderTest) -> Evidence:
    """Blocks become the same in rows of every length, among any number of rows, in more dimensions and however they lie.

    Lengths: 1 to two blocks and two more (at most 69), and those beside some more blocks and powers of two: the last block is
    short by every number. Views with a negative stride, which torch has not, may be refused by an error.
    """
    fmt, n, cases = of_blocks(q), block_length(q), 0
    some = (
        2.0 ** np.arange(-3.0, 4.0, dtype=np.float64) if fmt.rule is ScaleRule.RATIO else None
    )  # of which the elements are alike
    pool = scale_rows(q, some).reshape(-1)
    pool = pool[: min(len(pool), 1 << 15)]

    def rows(number: int, length: int) -> NDArray[Any]:
        start = (number * 31 + length * 7) * n % len(pool)
        return usable(q, np.resize(np.roll(pool, -start)[: number * length], (number, length)))

    statement = "in rows of {}, not what the same block gives elsewhere"
    for length in lengths(q):
        cases += compare_blocks(q, "any_blocks", statement.format(length), rows(3, length))
    for number in ROWS if q.limit >= SLOW else (1, 2, 4, 7):
        cases += compare_blocks(
            q, "any_blocks", f"among {number} rows, not what the same block gives", rows(number, 2 * n + 1)
        )
    if n < fmt.block <= LONG and q.limit >= SLOW:
        for length in (fmt.block - 1, fmt.block, fmt.block + 1):
            cases += compare_blocks(q, "any_blocks", statement.format(length), rows(2, length))
    if q.limit >= SLOW:
        many = rows(max(4, (1 << 15) // (2 * n)), 2 * n)
        cases += compare_blocks(q, "any_blocks", f"among {len(many)} rows, not what the same block gives", many)
    return Evidence(EXACT, cases + _laid(q, rows(6, 2 * n + 1)))


def _reshaped(shape: tuple[int, ...]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda x: x.reshape(shape)


def _shapes(
    q: QuantizerUnderTest, rows: NDArray[Any]
) -> Iterator[tuple[str, str, Callable[[NDArray[Any]], NDArray[Any]]]]:
    """How rows [6, L] are told to lie, as Python with {} for the array of two dimensions, and as a function of it."""
    own = laid(q, rows)
    for how, (text, lay) in LAYOUTS.items():
        yield how, text, lay
    shapes: tuple[tuple[int, ...], ...] = ()
    if q.axis == -1:
        shapes = tuple((*rows, own.shape[-1]) for rows in ((6, 1), (2, 3), (1, 2, 3)))
    elif q.axis == 0:
        shapes = ((own.shape[0], 2, 3),)
    for shape in shapes:
        yield f"as {list(shape)}", f"{{}}.reshape{shape}", _reshaped(shape)


def _laid(q: QuantizerUnderTest, rows: NDArray[Any]) -> int:
    """The same of rows that lie otherwise, and of one row without other dimensions; how many cases."""
    words, cases = words_for(q, block_law(q, rows)) if q.takes_words else None, 0
    for how, text, lay in _shapes(q, rows):
        try:
            _same(q, rows, words, how, text, lay)
        except ClaimError:
            raise
        except Exception:
            if how != REVERSED:
                raise
            continue
        cases += rows.size
    if q.axis in (-1, 0):
        one, own = usable(q, rows[:1]), None if words is None else words[:1]
        if own is not None and of_blocks(q).tensor_scale:
            own = words_for(q, block_law(q, one))
        _same(q, one, own, "in an array of one dimension", "{}.reshape(-1)", lambda x: x.reshape(-1))
        cases += one.size
    return cases


def _same(
    q: QuantizerUnderTest,
    rows: NDArray[Any],
    words: Any,
    how: str,
    text: str,
    lay: Callable[[NDArray[Any]], NDArray[Any]],
) -> None:
    law = block_law(q, rows)
    own = laid(q, rows)
    given = lay(own), None if words is None else lay(laid(q, words))
    found = q(*given).reshape(own.shape)
    low, high = laid(q, law.low), laid(q, law.high)
    wanted = low if words is None else laid(q, law.under(words, int(q.random_bits or 32)))
    wanted = np.where(same_bits(found, high), high, low) if q.sampler else wanted
    wrong = ~same_bits(found, wanted)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        line = q.reproduce(own, None if words is None else laid(q, words), text)
        raise ClaimError(
            "any_blocks",
            f"{how}, a block gave another result ({q.fmt}, {q.rounding.name})",
            x=f"{shown(own[at])}, element {list(at)} of shape {list(own.shape)}",
            seen=shown(found[at]),
            allowed=shown(wanted[at]),
            only_among_others=_plainly(q, rows, words, wanted),
            formula="a block depends on its elements and their words",
            reproduce=f"{line if own.size <= PRINTED else f'{q.name}(x) for x of that shape'}.reshape({own.shape})[{at}]",
        )


def _plainly(q: QuantizerUnderTest, rows: NDArray[Any], words: Any, wanted: NDArray[Any]) -> str:
    plain = called(q, rows, words)
    same = same_bits(laid(q, plain), wanted).all()
    return "in C order, as [rows, L], it is right" if same else "in C order, as [rows, L], it is wrong too"
