"""One product on its way: by order and family to the module that computes it, chunk by chunk where that is asked."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .exact_products import exact_codes, exact_product, exact_route, exact_routes
from .fixed_chunks import add_integers, check_integers, needs_integers, start_of
from .fixed_products import check_start, fixed_product, fixed_route, fixed_routes
from .formats import FixedFormat
from .infinite_sums import in_turn, takes_infinities
from .planning import Plan, first_plan, plans
from .problem import Facts, Problem, Words, facts
from .results import check_result, overflowed
from .rounding import Overflow
from .stepping import step
from .steps import random_bits_of
from .tallies import counted_step

Counts = dict[str, NDArray[Any]]
_Sums = tuple[list[NDArray[Any]], Counts | None, Plan]  # of chunks, [B, M, N] each; of which the first has the plan
_WORDS_AT_ONCE = 1 << 22  # random words that are held while their chunks are computed
_AS_INTEGERS = "their sums: as integers, which float64 does not hold"


class Outcome(NamedTuple):
    """Results [B, M, N]: floats, or integers in grid steps of a FixedFormat; the plan; counts by name if asked."""

    values: NDArray[Any]
    plan: Plan
    counts: Counts | None


def run(problem: Problem, accumulator: Accumulator, *, events: bool = False, plan: Plan | None = None) -> Outcome:
    """The product by the given plan, one of `all_plans`, or by the first of them."""
    if _in_pieces(accumulator):
        try:
            return _combine(problem, accumulator, events)
        except OverflowError as error:
            met = error
        _raise_first(problem, accumulator, met)
    if accumulator.order == "exact":
        return _exact(problem, accumulator, events, plan)
    if isinstance(accumulator.format, FixedFormat):
        return _fixed(problem, accumulator, events, plan)
    own = first_plan(problem, accumulator) if plan is None else plan
    if events:
        values, counts, used = counted_step(problem, accumulator, own)
        return Outcome(values, used, counts)
    return Outcome(step(problem, accumulator, own), own, None)


def all_plans(problem: Problem, accumulator: Accumulator) -> list[Plan]:
    """Every plan that is exact for this product, the fastest first; in pieces, the first of the first chunk."""
    if _in_pieces(accumulator):
        if needs_integers(accumulator):
            check_integers(accumulator)
            assert isinstance(accumulator.combining.format, FixedFormat)
            start_of(problem, accumulator.combining.format)
        check_start(problem, accumulator.combining)
        first = next(_chunks(problem, accumulator))
        plan = all_plans(first, accumulator.inner)[0]
        return [Plan(f"chunks, {plan.kernel}", f"chunk by chunk: {plan.reason}; {_their_sums(problem, accumulator)}")]
    if accumulator.order == "exact":
        return [Plan(route.name, route.reason) for route in exact_routes(problem, accumulator)]
    if isinstance(accumulator.format, FixedFormat):
        return [Plan(name, reason) for name, reason in fixed_routes(problem, accumulator)]
    return plans(problem, accumulator)


def _exact(problem: Problem, accumulator: Accumulator, events: bool, plan: Plan | None) -> Outcome:
    route = exact_route(problem, accumulator)
    if plan is not None:
        route = next(r for r in exact_routes(problem, accumulator) if r.name == plan.kernel)
    call: Callable[..., Any] = exact_codes if isinstance(accumulator.format, FixedFormat) else exact_product
    values, counts = call(problem, accumulator, events=events, route=route)
    return Outcome(values, Plan(route.name, route.reason), counts)


def _fixed(problem: Problem, accumulator: Accumulator, events: bool, plan: Plan | None) -> Outcome:
    name, reason = fixed_route(problem, accumulator, events=events)
    if plan is not None:
        name, reason = plan.kernel, plan.reason
    values, counts = fixed_product(problem, accumulator, events=events, route=name)
    return Outcome(values, Plan(name, reason), counts)


# Chunks of another order than one chain of floats after the other


def _in_pieces(accumulator: Accumulator) -> bool:
    """Whether chunks are computed one by one: the chain kernel does those of float chains combined by a float chain."""
    if accumulator.chunk is None:
        return False
    parts = accumulator, accumulator.combining
    return any(part.order != "sequential" or isinstance(part.format, FixedFormat) for part in parts)


def _their_sums(problem: Problem, accumulator: Accumulator) -> str:
    """Why sums of chunks are combined exactly, before any is known: as for all members of their format at once."""
    inner, outer = accumulator.inner, accumulator.combining
    if needs_integers(accumulator):
        return _AS_INTEGERS
    fmt = inner.format
    if isinstance(fmt, FixedFormat):
        lowest, highest, largest = -fmt.fraction_bits, fmt.precision - fmt.fraction_bits, -fmt.min
    else:
        lowest, highest, largest = fmt.emin - fmt.mantissa_bits, fmt.emax, fmt.max
    assert accumulator.chunk is not None
    chunks = max(2, -(-problem.depth // accumulator.chunk))  # a member of each kind, for plans that look at them
    ones = np.ones((1, 1, chunks))
    members = np.resize([np.ldexp(1.0, lowest), largest], chunks).reshape(1, chunks, 1)
    start = None if problem.c is None else problem.c.reshape(-1, 1, 1)[:1]
    known = (facts(ones, "ones"), Facts(fmt.precision, lowest, highest, largest, fmt.has_negative_zero))
    try:
        plan = all_plans(Problem(ones, members, start, (*known, problem.facts[2]), None), outer)[0]
    except ValueError as obstacle:
        return f"their sums by {outer.order}, if what they are allows it: in general {obstacle}"
    return f"their sums, whatever they are: {plan.reason}"


def _chunks(problem: Problem, accumulator: Accumulator) -> Any:
    assert accumulator.chunk is not None
    a, b, _ = problem.facts
    first = 0 if problem.words is None else problem.words.first
    for start in range(0, problem.depth, accumulator.chunk):
        stop = min(start + accumulator.chunk, problem.depth)
        words = None if problem.words is None else problem.words._replace(first=first)
        caller = problem.names._replace(first_step=problem.names.first_step + start)
        yield Problem(problem.a[:, :, start:stop], problem.b[:, start:stop], None, (a, b, None), words, caller)
        first += accumulator.inner.roundings(stop - start)


def _raise_first(problem: Problem, accumulator: Accumulator, error: OverflowError) -> NoReturn:
    """Raise the error of the first output in row-major order: a chunk after the other, another one's came first."""
    try:
        for axis in range(3):
            while (size := problem.shape[axis]) > 1:
                lower = problem.outputs(axis, 0, size // 2)
                problem = lower if _overflows(lower, accumulator) else problem.outputs(axis, size // 2, size)
        check_result(_combine(problem, accumulator, False).values, accumulator, problem.names)
    except ValueError:
        pass  # operands that are refused besides, which a part would name by places of its own
    raise error


def _overflows(problem: Problem, accumulator: Accumulator) -> bool:
    try:
        check_result(_combine(problem, accumulator, False).values, accumulator)
    except OverflowError:
        return True
    return False


def _combine(problem: Problem, accumulator: Accumulator, events: bool) -> Outcome:
    """Chunks by the inner accumulator, then the sum of their sums times one by the outer."""
    inner, outer = accumulator.inner, accumulator.combining
    integers = needs_integers(accumulator)
    if integers:
        check_integers(accumulator)
    parts, counts, plan = _sums_of_chunks(problem, accumulator, events)
    if not integers:
        parts = [_as_floats(part, inner) for part in parts]
    if integers:
        values, more = add_integers(parts, problem, accumulator)
        reason = f"chunk by chunk: {plan.reason}; {_AS_INTEGERS}"
        return Outcome(values, Plan(f"chunks, {plan.kernel}", reason), _added(counts, more if events else None))
    sums = np.stack(parts, axis=2)  # [B, M, chunks, N]
    finite = np.isfinite(sums)
    whole = bool(finite.all())
    product = accumulator.product
    strict = Overflow.ERROR in (accumulator.overflow, None if product is None else product.overflow)
    if not whole and (strict or events or not takes_infinities(outer)):
        batch, row, number, column = (int(i) for i in np.unravel_index(int(np.argmin(finite)), sums.shape))
        where = problem.names.output((batch * sums.shape[1] + row) * sums.shape[3] + column)
        if strict:
            raise OverflowError(
                f"the sum of chunk {number} of {where} overflows {overflowed(inner)}; scale the operands or choose"
                " another Overflow rule"
            )
        raise ValueError(
            f"the sum of chunk {number} of {where} overflowed {inner.format} to an infinity or NaN, which"
            f" {'counted' if events and takes_infinities(outer) else repr(outer.order)} sums do not take: use"
            " Overflow.SATURATE or ERROR"
        )
    batches, rows, columns = problem.shape
    start = None if problem.c is None else problem.c.reshape(batches * rows, 1, columns)
    words = problem.words
    if words is not None:
        inside = accumulator.roundings(problem.depth) - outer.roundings(len(parts))
        words = words._replace(first=words.first + inside)
    ones = np.ones((1, 1, len(parts)))
    together = (sums if whole else np.where(finite, sums, 0.0)).reshape(batches * rows, len(parts), columns)
    known: tuple[Facts, Facts, Facts | None] = (facts(ones, "ones"), facts(together, "sums"), problem.facts[2])
    caller = problem.names._replace(combines=True)
    result = run(Problem(ones, together, start, known, words, caller), outer, events=events)
    reason = f"chunk by chunk: {plan.reason}; their sums: {result.plan.reason}"
    values = result.values.reshape(batches, rows, columns)
    if not whole:
        reason += "; of infinities or NaN output by output"
        which = np.flatnonzero(~finite.all(axis=2))
        of_each = sums.swapaxes(2, 3).reshape(-1, len(parts))[which]
        begin = np.zeros(len(which)) if problem.c is None else problem.c.reshape(-1)[which].astype(np.float64)
        values = values.copy()
        values.reshape(-1)[which] = in_turn(of_each, begin, outer, words, which, problem.names)
    return Outcome(
        values,
        Plan(f"chunks, {plan.kernel}", reason),
        _added(counts, result.counts, (batches, rows, columns)),
    )


def _sums_of_chunks(problem: Problem, accumulator: Accumulator, events: bool) -> _Sums:
    """The chunks by the inner accumulator: several in one call where there are more of them than matrices."""
    assert accumulator.chunk is not None
    if problem.words is not None or problem.depth // accumulator.chunk > problem.shape[0]:
        try:
            return _folded(problem, accumulator, events)
        except (OverflowError, ValueError):
            pass  # one by one they say it of the caller's own elements
    parts: list[NDArray[Any]] = []
    counts, plan = None, None
    for chunk in _chunks(problem, accumulator):
        outcome = run(chunk, accumulator.inner, events=events)
        plan = plan or outcome.plan
        parts.append(outcome.values)
        counts = _added(counts, outcome.counts)
    assert plan is not None
    return parts, counts, plan


def _folded(problem: Problem, accumulator: Accumulator, events: bool) -> _Sums:
    """`_sums_of_chunks` with the chunks of a product as a stack of matrices.

    Random words are drawn once for the outputs whose words are in memory, and then cut into those of each chunk.
    """
    rows, columns = problem.shape[1:]
    size = accumulator.chunk or problem.depth
    full, short = divmod(problem.depth, size)
    kinds = [
        (first, number, length) for first, number, length in ((0, full, size), (full, 1, short)) if number * length
    ]
    sums: list[NDArray[Any] | None] = [None] * len(kinds)
    counts: Counts | None = None
    plan: Plan | None = None
    every = accumulator.inner.roundings(size)
    known = (*problem.facts[:2], None)
    for batch, i, j in _tiles(problem, accumulator):
        a, b = (x[batch if x.shape[0] > 1 else 0] for x in (problem.a, problem.b))
        a, b = a[i], b[:, j]
        shape = a.shape[0], b.shape[1]
        words = _words_inside(problem, accumulator, (batch * rows + i.start) * columns + j.start, shape[0] * shape[1])
        for kind, (first, number, length) in enumerate(kinds):
            k = slice(first * size, first * size + number * length)
            stacked = a[:, k].reshape(shape[0], number, length).swapaxes(0, 1), b[k].reshape(number, length, shape[1])
            own = None
            if words is not None:
                taken = accumulator.inner.roundings(length)
                cut = words[:, first * every : first * every + number * taken].reshape(-1, number, taken)
                own = Words(0, 0, taken, 0, np.ascontiguousarray(cut.swapaxes(0, 1)).reshape(-1, taken))
            outcome = run(Problem(*stacked, None, known, own), accumulator.inner, events=events)
            plan = plan or outcome.plan
            held = sums[kind]
            if held is None:
                held = sums[kind] = np.empty((number, *problem.shape), outcome.values.dtype)
            held[:, batch, i, j] = outcome.values
            if outcome.counts is not None:
                counts = counts or {name: np.zeros(problem.shape, x.dtype) for name, x in outcome.counts.items()}
                for name, x in outcome.counts.items():
                    counts[name][batch, i, j] += x.sum(0, dtype=x.dtype)
    assert plan is not None
    return [part for held in sums if held is not None for part in held], counts, plan


def _tiles(problem: Problem, accumulator: Accumulator) -> Iterator[tuple[int, slice, slice]]:
    """(batch, rows, columns) of outputs that follow one another in C order: all of a matrix, or as many as have room."""
    batches, rows, columns = problem.shape
    room = rows * columns
    if problem.words is not None and accumulator.stochastic:
        room = max(1, _WORDS_AT_ONCE // accumulator.roundings(problem.depth))
    height, width = (min(room // columns, rows), columns) if room >= columns else (1, room)
    for batch in range(batches):
        for i in range(0, rows, height):
            for j in range(0, columns, width):
                yield batch, slice(i, min(i + height, rows)), slice(j, min(j + width, columns))


def _words_inside(problem: Problem, accumulator: Accumulator, output: int, number: int) -> NDArray[np.uint32] | None:
    """The words of all roundings inside of chunks, [number, S]: of the outputs from this one on."""
    if problem.words is None or not accumulator.stochastic:
        return None
    bits = random_bits_of(accumulator, problem.depth)
    inside = bits.size - accumulator.combining.roundings(-(-problem.depth // (accumulator.chunk or problem.depth)))
    words = np.zeros((number, inside), np.uint32)
    for r in sorted({int(r) for r in bits[:inside] if r}):
        drawn = problem.words.of(slice(output, output + number), slice(0, inside), r)
        np.copyto(words, drawn, where=bits[:inside] == r)
    return words


def _as_floats(values: NDArray[Any], part: Accumulator) -> NDArray[np.float64]:
    fmt = part.format
    return (
        np.ldexp(values.astype(np.float64), -fmt.fraction_bits)
        if isinstance(fmt, FixedFormat)
        else values.astype(np.float64)
    )


def _added(counts: Counts | None, more: Counts | None, shape: tuple[int, ...] | None = None) -> Counts | None:
    if more is None:
        return counts
    shaped = {name: count if shape is None else count.reshape(shape) for name, count in more.items()}
    return shaped if counts is None else {**counts, **{name: counts[name] + count for name, count in shaped.items()}}
