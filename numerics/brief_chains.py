"""Gradients of chains of few elements: what is decided by the accumulator, the question and the kind of operand is kept.

As in `brief_products`, None leaves a call to the general way, refusals among them. The kernels are those of `chains`, by a
plan that is proved exact for all operands of a kind; every plan that answers a question gives the same masks.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .brief import carrier_or_none, entered, keep, ready
from .brief_products import NO_WORDS, are_counters, drawn, facts_of_kinds, kinds_of, pair_of, stand_in
from .kernels import gemm, masked_sums, replay, threads
from .questions import Question, plan_of
from .results import check_output, check_result
from .rounding import Overflow
from .stepping import rows_of, source_of
from .steps import random_bits_of

MULTIPLICATIONS = 1 << 17  # beyond which another thread may help; what the general way finds out then costs little
#: Gradients of a and b, both C-contiguous; None for the general way.
Pair = tuple[NDArray[Any], NDArray[Any]] | None


class _Replay(NamedTuple):
    """The kernel that runs a chain again, the type that it computes in, what else it takes, whether a NaN is refused."""

    run: Callable[..., Any]
    dtype: np.dtype[Any]
    rows: tuple[Any, ...]
    chunk: int
    checks: bool
    source: int
    bits: int  # of all random words alike, where they are laid out for the kernel
    span: int  # words of an output


_REPLAYS: dict[Any, _Replay | None] = {}
_ALL = np.uint32(0xFFFFFFFF)


def gradients(
    a: Any, b: Any, gradient: Any, accumulator: Accumulator, question: Question, seed: int | None, stream: Any
) -> Pair:
    """`numerics.chain_gradients` of two small matrices [M, K] and [K, N], for a question that is not refused."""
    pair = pair_of(a, b, MULTIPLICATIONS)
    if pair is None or type(gradient) is not np.ndarray or carrier_or_none(gradient.dtype) is None:
        return None
    a, b, carrier, first, second = pair
    (rows, depth), columns, dtype = a.shape, b.shape[1], a.dtype
    if gradient.shape != (rows, columns):
        return None
    size = -(-depth // 32)
    threads.check_subnormals()
    if question.rule == "identity":
        masks = np.full((rows, size, columns), _ALL)
    else:
        kinds = kinds_of(first, second, carrier)
        key = accumulator._text, question, depth, dtype, kinds  # type: ignore[attr-defined]
        try:
            known = _REPLAYS[key]
        except KeyError:
            known = keep(_REPLAYS, key, _replay(accumulator, question, depth, kinds, carrier))
        if known is None or not are_counters(seed or 0, stream):
            return None
        run, inner, constants, chunk, checks, source, bits, span = known
        shape, words = (rows, columns), NO_WORDS
        if source != gemm.DETERMINISTIC:
            if seed is None:
                return None
            words = drawn(source, bits, span, shape, seed, stream)
        masks, total = np.zeros((rows, size, columns), np.uint32), np.zeros((1, rows, columns), inner)
        left, right = a.astype(inner, copy=False), b.astype(inner, copy=False)
        run(left[None], right[None], total, constants, masks, question.tolerance, chunk, words, 0, rows)
        if checks:
            check_result(total[0], accumulator)
    upward = ready(gradient.astype(np.float64, copy=False))[None]
    turned = np.zeros((1, size, columns, 32))
    for word in range(size):
        part = b[32 * word : 32 * word + 32]
        turned[0, word, :, : len(part)] = part.T
    of_a, of_b = np.zeros((1, rows, 32 * size)), np.zeros((1, depth, columns))
    sum_left, sum_right = _sums()
    sum_left(masks, upward, turned, of_a, 0, 0, rows)
    sum_right(masks, upward, a.astype(np.float64, copy=False)[None], of_b, 0, rows, 0, depth)
    with np.errstate(over="ignore"):
        return of_a[0, :, :depth].astype(dtype), of_b[0].astype(dtype)


@cache
def _sums() -> tuple[Callable[..., Any], Callable[..., Any]]:
    masks, values = np.empty((1, 1, 1), np.uint32), np.empty((1, 1, 1))
    left = entered(masked_sums.sum_left, masks, values, np.empty((1, 1, 1, 1)), values, 0, 0, 0)
    return left, entered(masked_sums.sum_right, masks, values, values, values, 0, 0, 0, 0)


def _replay(accumulator: Accumulator, question: Question, depth: int, kinds: Any, carrier: Any) -> _Replay | None:
    """None where a result may have to be refused, or the operands themselves may be allowed though others are not."""
    parts = tuple(part for part in (accumulator, accumulator.product, accumulator.combining) if part is not None)
    if any(part.overflow is Overflow.ERROR for part in parts):
        return None
    problem = stand_in(accumulator, depth, facts_of_kinds(kinds, carrier), carrier)
    source, each = source_of(problem, accumulator), random_bits_of(accumulator, depth)
    if source == gemm.GIVEN and each.min() != each.max():
        return None
    try:
        check_output(carrier.dtype, accumulator)
        plan = plan_of(problem, accumulator, question)
    except ValueError:
        return None
    normalise = int(plan.normalise)
    kernel = replay.make_replay(plan.mode, plan.product_mode, plan.outer_mode, normalise, source, *question.kernel)
    dtype, rows = plan.carrier.dtype, rows_of(accumulator, plan.carrier)
    values, masks = np.empty((1, 1, 1), dtype), np.empty((1, 1, 1), np.uint32)
    run = entered(kernel, values, values, values, rows, masks, 0.0, 1, NO_WORDS, 0, 1)
    chunk, checks = min(accumulator.chunk or depth, depth), not accumulator.combining.format.has_nan
    return _Replay(run, dtype, rows, chunk, checks, source, int(each.max()), accumulator.roundings(depth))
