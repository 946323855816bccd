"""Fine-grained gradients of accumulation: which terms of a chain a gradient reaches, found by running the chain again.

The chain is s_k = Q(P(a_k b_k) + s_{k-1}), P the product quantizer, if any. Each step has two masks, of an event:

- "overflow": local_k = through_k = 1 where the exact P(a_k b_k) + s_{k-1} is smaller in magnitude than Q's largest
  member; local_k also wants the exact a_k b_k smaller than P's. So at that magnitude a step counts as saturated, as in
  the paper, whether or not the rounding mode would still have come back from beyond it (which `Events.overflow` counts).
- "diff": local_k = 1 where s_k differs from s_{k-1}: putting 0 in place of product k would change s_k. through_k = 1 where
  s_k differs from Q(P(a_k b_k) + 0), with the same random word: putting 0 in place of s_{k-1} would change s_k. With a
  tolerance t: |s_k - y| > t |y|, exactly, y being the number it is compared with. A product of zero never passes it.

Rules: "identity": every mask is 1, whatever happened (the straight-through estimator). "immediate": local_k. "recursive":
local_k times the product of through_i over all i > k. In chunks the same holds of the chain of their sums: the mask of a
chunk's sum there multiplies those of its steps. What is not a number passes nothing on.

After Blumenfeld, Hubara and Soudry (LBA, arXiv 2401.14110), section on accumulators below 12 bits. Their threshold of DIFF
and what its recursive form multiplies were not to be had; the definitions above are this library's, and tests
of finite differences hold them (tests/numerics/test_chains.py).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .brief_chains import gradients
from .kernels import gemm, masked_sums, replay, threads
from .operands import Operands, floats, matrices, stack
from .problem import Caller, Problem, facts
from .products import source_of_words
from .questions import Question, check_question, plan_of
from .results import check_output, check_result
from .stepping import laid_words, rows_at_once, rows_of, source_of

_REPLAY_COST, _SUM_COST = 0.4, 0.1  # nanoseconds of a step that is run again, and of a term that is summed
WORDS_AT_ONCE = 1 << 23  # words of masks in memory, of 32 steps each
_NO_WORDS = np.empty((0, 0, 0), np.uint32)


def chain_gradients(
    a: Any,
    b: Any,
    gradient: Any,
    accumulator: Accumulator,
    *,
    rule: str = "immediate",
    event: str = "diff",
    tolerance: float = 0.0,
    seed: int | None = None,
    stream: int = 0,
    words: Any = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gradients of a and b from that of `matmul(a, b, accumulator, ...)`, through the steps that the masks let pass.

    a [..., M, K], b [..., K, N], gradient [..., M, N]: float32 or float64; operands, seed, stream and words those of the
    product. Returns arrays of the shapes and dtypes of a and b: grad_a[i, k] = sum over j of mask[i, j, k] *
    gradient[i, j] * b[k, j], grad_b[k, j] = sum over i of mask[i, j, k] * a[i, k] * gradient[i, j]; the masks are those of
    `chain_masks`. What a mask stops is left out, not multiplied by zero. Sums are in float64, a term after the other in
    ascending order (of a b that all matrices share, over the rows of all; of another broadcast operand a sum for each
    matrix, then those in order), and rounded once at the end: the same bits for any number of threads. "identity" is for
    every Accumulator, in any order.
    Errors: as `matmul` and `chain_masks`; ValueError for a gradient of another shape.
    """
    question = check_question(accumulator, rule, event, tolerance)
    if words is None and (few := gradients(a, b, gradient, accumulator, question, seed, stream)) is not None:
        return few
    given = _checked(a, b, accumulator, question)
    upstream = floats(gradient, "gradient")
    if upstream.shape != given.shape:
        raise ValueError(f"gradient of shape {upstream.shape}: give that of the product, {given.shape}")
    *batch, rows, columns = given.shape
    count, depth = int(np.prod(batch)), given.depth
    left, right = (_plain(stack(x, tuple(batch)), np.float64) for x in (given.a, given.b))
    of_a = np.zeros((count, rows, 32 * -(-depth // 32)))
    of_b = np.zeros((right.shape[0], depth, columns))
    if 0 not in (*given.shape, depth):
        upward = _plain(upstream, np.float64).reshape(count, rows, columns)
        size = of_a.shape[2] // 32
        turned = np.zeros((right.shape[0], 32 * size, columns))
        turned[:, :depth] = right
        turned = np.ascontiguousarray(turned.reshape(-1, size, 32, columns).swapaxes(2, 3))
        for first, masks in _panels(given, accumulator, question, seed, stream, words):
            _add_panel(masks, first, upward, left, turned, of_a, of_b)
    return _summed(of_a[:, :, :depth], tuple(batch), given.a), _summed(of_b, tuple(batch), given.b)


def chain_masks(
    a: Any,
    b: Any,
    accumulator: Accumulator,
    *,
    rule: str = "immediate",
    event: str = "diff",
    tolerance: float = 0.0,
    seed: int | None = None,
    stream: int = 0,
    words: Any = None,
) -> NDArray[np.bool]:
    """Which products of a chain a gradient of its result reaches: bool [..., M, N, K], see above for the definitions.

    a [..., M, K], b [..., K, N], seed, stream, words: those of the product. tolerance: of "diff", relative, 0 or from
    2**-64 to 2**64.
    Errors: as `matmul`; TypeError for a MatrixUnit; ValueError for another rule or event, a tolerance that is neither,
    or with "overflow", or with a format of more than about 2**+-900; and, but for "identity", for an accumulator that is no
    chain of floats in sequence (pairwise, kahan, exact, fixed point).
    """
    question = check_question(accumulator, rule, event, tolerance)
    given = _checked(a, b, accumulator, question)
    rows = int(np.prod(given.shape[:-1]))
    found = np.ones((rows, given.shape[-1], given.depth), np.bool)
    if found.size:
        for first, masks in _panels(given, accumulator, question, seed, stream, words):
            masked_sums.spread(masks, found[first : first + len(masks)], 0, len(masks))
    return found.reshape(*given.shape, given.depth)


def _checked(a: Any, b: Any, accumulator: Accumulator, question: Question) -> Operands:
    given = matrices(a, b, None)
    if question.rule != "identity":
        check_output(np.result_type(given.a, given.b), accumulator)
    return given


def _panels(
    given: Operands, accumulator: Accumulator, question: Question, seed: int | None, stream: int, words: Any
) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    """(first row, masks uint32 [rows, words, N]) of some rows of the outputs after the others."""
    outputs, columns, depth = int(np.prod(given.shape[:-1])), given.shape[-1], given.depth
    size = -(-depth // 32)
    held = max(1, WORDS_AT_ONCE // (size * columns))
    if question.rule == "identity":
        for first in range(0, outputs, held):
            yield first, np.full((min(held, outputs - first), size, columns), 0xFFFFFFFF, np.uint32)
        return
    source = source_of_words(accumulator, given.shape, depth, seed, stream, words)
    known = facts(given.a, "a"), facts(given.b, "b"), None
    a, b = (stack(x, given.shape[:-2]) for x in (given.a, given.b))
    problem = Problem(a, b, None, known, source, Caller(given.a.shape, given.b.shape, None, given.shape))
    plan = plan_of(problem, accumulator, question)
    a, b = (_plain(x, plan.carrier.dtype) for x in (a, b))
    total = np.zeros(problem.shape, plan.carrier.dtype)
    where = source_of(problem, accumulator)
    if where == gemm.GIVEN:
        held = min(held, rows_at_once(accumulator, depth, columns))
    kernel = replay.make_replay(
        plan.mode, plan.product_mode, plan.outer_mode, int(plan.normalise), where, *question.kernel
    )
    rows = rows_of(accumulator, plan.carrier)
    chunk = min(accumulator.chunk or depth, depth)
    keys = (0, 0, 0, 0) if source is None else source[:4]
    numbers = [np.uint64(n) for n in (*keys, columns, 1)]
    for first in range(0, outputs, held):
        count = min(held, outputs - first)
        masks = np.zeros((count, size, columns), np.uint32)
        laid = laid_words(problem, accumulator, first, first + count) if where == gemm.GIVEN else _NO_WORDS
        drawn = gemm.Words(laid, first, *numbers)
        call = partial(kernel, a, b, total, rows, masks, question.tolerance, chunk, drawn)
        threads.run(_from(first, call), count, _REPLAY_COST * depth * columns)
        yield first, masks
    check_result(total.reshape(given.shape), accumulator)


def _plain(x: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The array as kernels are compiled for: contiguous, and writeable though they only read it."""
    return np.require(x, dtype, ["C", "W", "A"])


def _from(first: int, call: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    return lambda start, stop: call(first + start, first + stop)


def _add_panel(
    masks: NDArray[np.uint32],
    first: int,
    gradient: NDArray[np.float64],
    a: NDArray[np.float64],
    turned: NDArray[np.float64],
    of_a: NDArray[np.float64],
    of_b: NDArray[np.float64],
) -> None:
    """Adds what the rows of some masks contribute; each thread has rows of one, or k of the other, to itself."""
    count, depth, columns = len(masks), of_b.shape[1], of_b.shape[2]
    threads.run(
        lambda i, j: masked_sums.sum_left(masks, gradient, turned, of_a, first, first + i, first + j),
        count,
        _SUM_COST * depth * columns,
    )
    threads.run(
        lambda i, j: masked_sums.sum_right(masks, gradient, a, of_b, first, first + count, i, j),
        depth,
        _SUM_COST * count * columns,
    )


def _summed(values: NDArray[np.float64], batch: tuple[int, ...], like: NDArray[Any]) -> NDArray[Any]:
    """Gradients [matrices, rows, columns], summed where the operand was broadcast, in its shape and dtype."""
    if len(values) == int(np.prod(batch)):
        values = values.reshape(*batch, *like.shape[-2:])
        own = (1,) * (len(batch) + 2 - like.ndim) + like.shape[:-2]
        for axis, size in enumerate(own):
            if size != batch[axis]:
                total = np.zeros([1 if i == axis else n for i, n in enumerate(values.shape)])
                for one in range(batch[axis]):
                    total += values.take([one], axis)
                values = total
    with np.errstate(over="ignore"):
        return values.reshape(like.shape).astype(like.dtype)
