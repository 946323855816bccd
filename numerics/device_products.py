"""Matrix products put on a CUDA device, by the plans of the CPU: the same order of k, the same random words.

Imported, like `device`, only when an array on a device is at hand.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .accumulator import Accumulator
from .device import facts_on, not_on_device
from .device_arrays import AS_IT_IS, copied, host_of, scaled, stack_of
from .device_exact import check_exact, exact_on
from .device_fixed import fixed_on
from .device_stepping import multiply_stacks, plan_on, problem_of
from .device_units import check_unit, unit_matmul_on
from .events import Events
from .fixed_chunks import needs_integers
from .formats import FixedFormat
from .kernels.cuda import launch
from .kernels.cuda.launch import Queue
from .matrix_unit import MatrixUnit
from .operands import result_shape
from .problem import Facts, Problem
from .products import matmul, source_of_words
from .results import check_output, check_result
from .rounding import Overflow

_NAMES = [field.name for field in fields(Events)]

__all__ = ["matmul_on", "multiply_stacks", "plan_on", "problem_of"]


def matmul_on(
    a: Any,
    b: Any,
    accumulator: Accumulator | MatrixUnit,
    *,
    c: Any = None,
    seed: int | None = None,
    stream: int = 0,
    words: Any = None,
    events: bool = False,
    queue: Queue,
) -> Any:
    """`numerics.matmul` of arrays on a device, the same bits: a new array of the queue, [..., M, N].

    a [..., M, K], b [..., K, N]: float32 or float64, nothing empty, any strides, their batch dimensions one after the
    other in memory; those of each are the result's, or all one. c, likewise: of the result's shape, or one batch of it.
    words: a host array, checked as there. events: (result, Events), whose counts are int32 arrays of the queue. The device
    is waited for: exactness is decided from the operands' bits.
    Errors: those of `numerics.matmul`; ValueError for other strides; NotImplementedError for accumulators that have no
    CUDA kernel, and with events=True for matrix units and fixed point.
    """
    if isinstance(accumulator, MatrixUnit):
        check_unit(accumulator, seed is not None or words is not None)
    else:
        _check_offered(accumulator)
    if events:
        _check_counted(accumulator)
    with launch.on(queue):
        given = _Given(launch.array(a), launch.array(b), None if c is None else launch.array(c), queue)
        if isinstance(accumulator, MatrixUnit):
            return unit_matmul_on(given, accumulator, given.refuser(accumulator, {}))
        check_output(given.dtype, accumulator)
        drawn = source_of_words(accumulator, given.shape, given.depth, seed, stream, words)
        refuse = given.refuser(accumulator, {"seed": seed, "stream": stream, "words": words})
        stacks = given.stacks()
        known = given.facts()
        problem = problem_of(*stacks[:2], known[:2], drawn, known[2])
        counts = queue.zeros((len(_NAMES), *given.shape), np.dtype(np.int32)) if events else None
        total = _run(*stacks, problem, accumulator, given.dtype, queue, refuse, _by_output(counts, problem.shape))
        result = queue.zeros(given.shape, given.dtype)
        scaled(total, stack_of(launch.array(result), "the result"), 0, AS_IT_IS, queue)
        if any(part.overflow in (Overflow.ERROR, Overflow.IEEE) for part in _parts(accumulator)):
            check_result(launch.get(result, queue), accumulator)  # nothing else can become infinite or NaN
    if counts is None:
        return result
    return result, Events(**{name: counts[i] for i, name in enumerate(_NAMES)})


def _by_output(counts: Any, shape: tuple[int, ...]) -> Any:
    """Counts [8, ...] on the device as the kernels add to them, [B, M, N, 8], the same memory; of None, None."""
    if counts is None:
        return None
    batches, rows, columns = shape
    size = 4 * columns * rows
    return launch.seen(launch.array(counts), (*shape, len(_NAMES)), (size, 4 * columns, 4, size * batches))


class _Given(NamedTuple):
    """What the caller gave, on the device."""

    a: Any
    b: Any
    c: Any
    queue: Queue

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        return tuple(int(n) for n in result_shape(self.a, self.b))

    @property
    def depth(self) -> int:
        """K, the number of products of an output."""
        return int(self.a.shape[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the result."""
        found: np.dtype[Any] = np.result_type(self.a.dtype, self.b.dtype)
        return found

    def stacks(self) -> tuple[Any, Any, Any]:
        """The operands [1 or B, ., .], and c or None."""
        batches = int(np.prod(self.shape[:-2], dtype=np.int64))
        found: list[Any] = []
        for x, label in ((self.a, "a"), (self.b, "b"), (self.c, "c")):
            stack = None if x is None else stack_of(x, label)
            if stack is not None and stack.shape[0] not in (1, batches):
                raise ValueError(
                    f"{label} of shape {x.shape} for a result {self.shape}: on a device its batch dimensions are the"
                    " result's, or all one; expand it"
                )
            found.append(stack)
        if self.c is not None and tuple(found[2].shape[1:]) != self.shape[-2:]:
            raise ValueError(f"c of shape {self.c.shape} for a result {self.shape}: give all rows and columns")
        return found[0], found[1], found[2]

    def facts(self) -> tuple[Facts, Facts, Facts | None]:
        """What decides exactness; a few numbers are waited for."""
        a, b = facts_on(self.a, "a", self.queue), facts_on(self.b, "b", self.queue)
        return a, b, None if self.c is None else facts_on(self.c, "c", self.queue)

    def refuser(self, accumulator: Any, keys: dict[str, Any]) -> Callable[[], NoReturn]:
        """What raises the error that the device met: the CPU says which, and of what element."""

        def refuse() -> NoReturn:
            a, b, c = (
                None if x is None else host_of(stack_of(x, ""), tuple(x.shape), self.queue)
                for x in (self.a, self.b, self.c)
            )
            matmul(a, b, accumulator, c=c, **keys)
            raise RuntimeError(
                f"the device met an error where the CPU meets none: please report {accumulator} and the device"
            )

        return refuse


def _parts(accumulator: Accumulator) -> tuple[Any, ...]:
    parts = accumulator, accumulator.product, accumulator.combining
    return tuple(part for part in parts if part is not None)


def _check_counted(accumulator: Accumulator | MatrixUnit) -> None:
    if isinstance(accumulator, MatrixUnit):
        raise not_on_device(f"counting events of the matrix unit {accumulator}")
    for part in (accumulator.inner, accumulator.combining):
        if isinstance(part.format, FixedFormat):
            raise not_on_device(f"counting events of sums in {part.format}")
        if part.order == "exact":
            raise not_on_device("counting events of exact sums")


def _check_offered(accumulator: Accumulator) -> None:
    for part in (accumulator.inner, accumulator.combining):
        if part.order == "exact":
            check_exact(part)
    if needs_integers(accumulator) and accumulator.chunk is not None:
        raise not_on_device(f"sums of chunks in {accumulator.format}, which float64 does not hold,")


def _in_pieces(accumulator: Accumulator) -> bool:
    """Whether chunks are computed one by one: the chain kernel does those of float chains combined by a float chain."""
    parts = accumulator, accumulator.combining
    others = (part.order != "sequential" or isinstance(part.format, FixedFormat) for part in parts)
    return accumulator.chunk is not None and any(others)


def _run(
    a: Any,
    b: Any,
    c: Any,
    problem: Problem,
    accumulator: Accumulator,
    dtype: np.dtype[Any],
    queue: Queue,
    refuse: Callable[[], NoReturn],
    counts: Any,
) -> Any:
    """c + a @ b as values [B, M, N], contiguous; dtype: a type that holds them. counts: see `multiply_stacks`."""
    if _in_pieces(accumulator):
        return _combine(a, b, c, problem, accumulator, queue, refuse, counts)
    if accumulator.order == "exact":
        return exact_on(a, b, c, problem, accumulator, queue, refuse)
    if isinstance(accumulator.format, FixedFormat):
        return fixed_on(a, b, c, problem, accumulator, queue, refuse)
    if c is None:
        total = launch.array(queue.zeros(problem.shape, dtype))
    else:  # which may be wider than the result
        held = np.float64 if counts is not None else plan_on(problem, accumulator).carrier.dtype
        total = copied(c, queue, dtype=held, batches=problem.shape[0])
    multiply_stacks(a, b, total, problem, accumulator, queue, counts)
    return total


def _chunks(a: Any, b: Any, problem: Problem, accumulator: Accumulator) -> Iterator[tuple[Any, Any, Problem]]:
    assert accumulator.chunk is not None
    first = 0 if problem.words is None else problem.words.first
    for start in range(0, problem.depth, accumulator.chunk):
        stop = min(start + accumulator.chunk, problem.depth)
        words = None if problem.words is None else problem.words._replace(first=first)
        left, right = a[:, :, start:stop], b[:, start:stop]
        yield left, right, problem_of(left, right, problem.facts[:2], words)
        first += accumulator.inner.roundings(stop - start)


def _combine(
    a: Any,
    b: Any,
    c: Any,
    problem: Problem,
    accumulator: Accumulator,
    queue: Queue,
    refuse: Callable[[], NoReturn],
    counts: Any,
) -> Any:
    """Chunks by the inner accumulator, then the sum of their sums times one by the outer: as `execution.run`."""
    inner, outer, wide = accumulator.inner, accumulator.combining, np.dtype(np.float64)
    batches, rows, columns = problem.shape
    assert accumulator.chunk is not None
    count = -(-problem.depth // accumulator.chunk)
    together = launch.array(queue.zeros((batches * rows, count, columns), wide))
    for number, (left, right, part) in enumerate(_chunks(a, b, problem, accumulator)):
        sums = _run(left, right, None, part, inner, wide, queue, refuse, counts)
        step = int(together.strides[0])
        place = launch.seen(together[:, number], (batches, rows, columns), (step * rows, step, together.strides[2]))
        scaled(sums, place, 0, AS_IT_IS, queue)
    try:
        known = facts_on(together, "sums of chunks", queue)
    except ValueError:
        refuse()
    ones = np.ones((1, 1, count))
    words = problem.words
    if words is not None:
        inside = accumulator.roundings(problem.depth) - outer.roundings(count)
        words = words._replace(first=words.first + inside)
    start = None
    if c is not None:
        start = copied(c, queue, batches=batches).reshape(batches * rows, 1, columns)
    whole = problem_of(ones, together, (Facts(1, 0, 0, 1.0), known), words, problem.facts[2])
    # Each row of outputs is a batch of its own there.
    size = batches * rows * columns * 4
    apart = None
    if counts is not None:
        apart = launch.seen(counts, (batches * rows, 1, columns, len(_NAMES)), (4 * columns, 4 * columns, 4, size))
    result = _run(launch.put(ones), together, start, whole, outer, wide, queue, refuse, apart)
    return result.reshape(batches, rows, columns)
