"""Check of an accumulator given a batch: each product is what its two matrices give alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulators import AccumulatorUnderTest, Extra
from .counter_examples import first_of
from .evidence import EXACT, ClaimError, Evidence, hides, shown
from .product_problems import Problem, extras, problems
from .rounding_checks import same_bits

__tracebackhide__ = hides

DEPTHS = (3, 5)
FORMS = {
    "a batch of two": (True, True),
    "one b for a batch of a": (True, False),
    "one a for a batch of b": (False, True),
}
SHAPES = {"a batch of three": (0, 1, 0), "a batch of [2, 2]": (1, 0, 0, 1)}


def batched(subject: AccumulatorUnderTest) -> Evidence:
    """Matrices of a batch do not see each other: a [2, M, K] times b [2, K, N], or one of them for both, as each alone.

    A function that refuses batches by an error has made no claim: no case is counted, and the note says so.
    """
    cases, notes = 0, []
    for depth in DEPTHS:
        pair = _pair(subject, depth)
        if pair is None:
            continue
        for form, (many_a, many_b) in FORMS.items():
            given = [_of(pair, i if many_a else 0, i if many_b else 0) for i in (0, 1)]
            alone = [subject(*problem[1:], extra) for problem, extra in given]
            a, b = _stacked([p.a for p, _ in given], many_a), _stacked([p.b for p, _ in given], many_b)
            c = np.stack([p.c for p, _ in given if p.c is not None]) if subject.takes_c else None
            extra = _stacked_extra(subject, [e for _, e in given], (many_a, many_b))
            try:
                found = subject(a, b, c, extra)
            except ClaimError as wrong:
                raise ClaimError(
                    "batched",
                    f"{form}: another shape or type; one that takes matrices only is to refuse others by an error",
                    **wrong.details,
                ) from None
            except Exception as error:  # which kind is the function's own affair
                told = str(error).partition("\n")[0]
                notes.append(f"{form}, {a.shape} times {b.shape}, is refused: {type(error).__name__}: {told}")
                continue
            _compare(subject, form, (a, b, c, extra), found, np.stack(alone))
            cases += found.size
            if many_a and many_b:
                cases += _of_other_shapes(subject, (a, b, c, extra), found)
        if notes and not cases:
            return Evidence(EXACT, 0, notes[0])
    return Evidence(EXACT, cases, "; ".join(dict.fromkeys(notes)))


def _of_other_shapes(
    subject: AccumulatorUnderTest,
    given: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, Extra],
    two: NDArray[Any],
) -> int:
    """Batches of three matrices and of two by two, where they are taken: as in the batch of two; how many cases."""
    cases = 0
    a, b, c, extra = given
    for form, order in SHAPES.items():

        def laid(x: NDArray[Any], order: tuple[int, ...] = order) -> NDArray[Any]:
            own = x[list(order)]
            return own.reshape(2, 2, *x.shape[1:]) if len(order) == 4 else own

        arrays = laid(a), laid(b), None if c is None else laid(c), tuple(laid(x) for x in extra)
        try:
            found = subject(*arrays)
        except ClaimError:
            raise
        except Exception:  # one dimension of batches may be all that is taken
            continue
        _compare(subject, form, arrays, found, laid(two))
        cases += found.size
    return cases


Given = tuple[Problem, Extra]


def _pair(subject: AccumulatorUnderTest, depth: int) -> list[Given] | None:
    """Two problems of one shape, each with its own words or scales; None where an overflow would be refused."""
    found = [p for p in problems(subject, deep=False) if p.a.shape[-1] == depth and p.name.startswith(f"{depth} ")]
    given = []
    for i, problem in enumerate(found[:2]):
        drawn = list(extras(subject, problem, seed=5 + i))
        given.append((problem, drawn[i] if subject.scaled else drawn[0]))
    try:
        for problem, extra in (_of(given, i, j) for i in (0, 1) for j in (0, 1)):
            subject.wanted(*problem[1:], extra)
    except (OverflowError, ValueError):
        return None
    return given


def _of(pair: list[Given], i: int, j: int) -> Given:
    """a of one problem with b of another; scales go with their matrices, c and words with the output, thus with both."""
    (first, own), (second, other) = pair[i], pair[j]
    last = pair[max(i, j)]
    extra = (own[0], other[1]) if len(own) == 2 else last[1]
    return Problem(first.name, first.a, second.b, last[0].c), extra


def _stacked(matrices: list[NDArray[Any]], many: bool) -> NDArray[Any]:
    return np.stack(matrices) if many else matrices[0]


def _stacked_extra(subject: AccumulatorUnderTest, given: list[Extra], many: tuple[bool, bool]) -> Extra:
    if subject.scaled:
        return tuple(_stacked([extra[side] for extra in given], many[side]) for side in (0, 1))
    return tuple(np.stack(words) for words in zip(*given, strict=True))


def _compare(
    subject: AccumulatorUnderTest,
    form: str,
    given: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, Extra],
    found: NDArray[Any],
    alone: NDArray[Any],
) -> None:
    wrong = ~same_bits(found, alone)
    if wrong.any():
        where = first_of(wrong)
        raise ClaimError(
            "batched",
            f"{form}: a matrix of it gives another result than alone ({subject.claim})",
            output=f"[{', '.join(map(str, where))}] of {found.shape}",
            seen=shown(found[where]),
            allowed=shown(alone[where]),
            formula="(a b)[i] = a[i] b[i]",
            reproduce=subject.reproduce(*given),
        )
