"""Products with a declared accumulator."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .aligned import COPY_COST
from .brief_products import product
from .brief_units import unit_product
from .events import Events
from .execution import Outcome, all_plans, run
from .formats import FixedFormat, FloatFormat, code_dtype
from .formats.naming import made_from, named
from .kernels import threads
from .matrix_unit import MatrixUnit
from .operands import Operands, floats, matrices, stack, vectors
from .planning import Plan
from .problem import Caller, Problem, Words, facts
from .quantizer import Quantizer, limit_of
from .results import check_output, check_result
from .rounding import Overflow
from .steps import checked_words
from .unit_operands import check_members
from .unit_products import compute_first, plan_of, prepare, unit_matmul, unit_plans
from .words import counter, counters


def matmul(
    a: Any,
    b: Any,
    accumulator: Accumulator | MatrixUnit,
    *,
    c: Any = None,
    seed: int | None = None,
    stream: int = 0,
    words: Any = None,
    events: bool = False,
    explain: bool = False,
    encode: bool = False,
    scale_a: Any = None,
    scale_b: Any = None,
) -> Any:
    """c + a @ b, every step rounded as the accumulator says; bit-exact for any shape and thread count.

    a [..., M, K], b [..., K, N], c broadcast to [..., M, N]; float32 or float64, taken as given (quantize first). Batch
    dimensions broadcast. Returns [..., M, N] of result_type(a, b), or with encode=True the codes of the output format
    (needed where its values are no floats: FixedFormat beyond 53 bits). K = 0 gives c (or +0) rounded once; K = 1
    makes every step that the accumulator declares once. An exact sum of zero has IEEE 754's sign. The accumulator's
    precision is held against the operands only where there is something to compute.

    seed, stream: integers in [0, 2**64); a stochastic accumulator needs a seed or words [..., M, N, S], S =
    accumulator.roundings(K): the word of each rounding in order of execution, those of deterministic ones unused; beside
    words a seed is not used. Drawn, step s of output o = (batch*M + i)*N + j has the word of element o*S + s.
    events=True: (result, Events). explain=True: the Plan at the end, (result, Plan) or (result, Events, Plan).
    scale_a, scale_b: for a MatrixUnit with scales, see `unit_matmul`.
    Errors: TypeError for other dtypes; ValueError for shapes that do not match, non-finite operands, an accumulator or
    products that no carrier holds exactly, a result dtype that lacks members of the output format; OverflowError
    under Overflow.ERROR.
    """
    if c is None and words is None and scale_a is None and scale_b is None and not (events or explain or encode):
        quick = briefly(a, b, accumulator, seed, stream)
        if quick is not None:
            return quick
    if isinstance(accumulator, MatrixUnit):
        _check_unit_options(accumulator, seed is not None or words is not None, stream, encode)
        return unit_matmul(a, b, accumulator, c=c, scale_a=scale_a, scale_b=scale_b, events=events, explain=explain)
    _check_kind(accumulator, scale_a, scale_b)
    given = matrices(a, b, c)
    return _product(given, accumulator, seed, stream, words, events=events, explain=explain, encode=encode)


def plain_matmul(
    a: Any, b: Any, accumulator: Accumulator | MatrixUnit, *, seed: int | None, stream: int
) -> NDArray[Any]:
    """`matmul` without options, which take their time in a product of few elements."""
    quick = briefly(a, b, accumulator, seed, stream)
    found: NDArray[Any] = matmul(a, b, accumulator, seed=seed, stream=stream) if quick is None else quick
    return found


def briefly(a: Any, b: Any, accumulator: Any, seed: Any, stream: Any) -> NDArray[Any] | None:
    """`matmul` of few elements, without options; None where the general way computes, or refuses."""
    if type(stream) is not int or not 0 <= stream < 1 << 64:
        return None
    if isinstance(accumulator, Accumulator):
        known = seed is None or (type(seed) is int and 0 <= seed < 1 << 64)
        return product(a, b, accumulator, seed, stream) if known else None
    return unit_product(a, b, accumulator) if isinstance(accumulator, MatrixUnit) and seed is None else None


def _product(
    given: Operands,
    accumulator: Accumulator,
    seed: int | None,
    stream: int,
    words: Any,
    *,
    events: bool,
    explain: bool,
    encode: bool,
) -> Any:
    """`matmul` of matrices, or `dot` of vectors: the one result of those has no dimensions."""
    _, _, addend, shape = given
    dtype = np.result_type(given.a, given.b)
    if not encode:
        check_output(dtype, accumulator)
    source = source_of_words(accumulator, shape, given.depth, seed, stream, words)
    if 0 in shape:
        outcome = Outcome(np.empty(shape), Plan("nothing", "there is no output"), None)
    elif given.depth == 0:
        if addend is not None:
            facts(addend, "c")  # refuses what is not finite
        values = _rounded_addend(given, accumulator, source)
        counts = _counts_of_addend(addend, shape, accumulator, source) if events else None
        outcome = Outcome(values, Plan("nothing", "K = 0: c, or +0, is rounded once"), counts)
    else:
        outcome = run(_problem(given, source), accumulator, events=events)
        check_result(outcome.values.reshape(shape), accumulator)
    result: Any = _result(outcome.values.reshape(shape), accumulator, dtype, encode)
    result = result if shape else result[()]  # a numpy scalar
    if not events and not explain:
        return result
    met = outcome.counts or _zeros(shape)
    counts = {name: count.reshape(shape).astype(np.int32, copy=False) for name, count in met.items()}
    counted = (Events(**counts),) if events else ()
    return (result, *counted, outcome.plan) if explain else (result, *counted)


def plan(
    a: Any, b: Any, accumulator: Accumulator | MatrixUnit, *, c: Any = None, scale_a: Any = None, scale_b: Any = None
) -> Plan:
    """Which kernel `matmul` chooses for these operands, and in a sentence why it is exact; arguments as there.

    A product of few elements without options is looked up instead (`brief_products`) and may take another, which gives
    the same bits. A stochastic accumulator needs no seed here: the choice does not depend on it.
    """
    return plans(a, b, accumulator, c=c, scale_a=scale_a, scale_b=scale_b)[0]


def plans(
    a: Any, b: Any, accumulator: Accumulator | MatrixUnit, *, c: Any = None, scale_a: Any = None, scale_b: Any = None
) -> list[Plan]:
    """All kernels that are proved exact for these operands, the fastest first; all give the same bits."""
    if isinstance(accumulator, MatrixUnit):
        return unit_plans(prepare(a, b, accumulator, c, scale_a, scale_b))
    _check_kind(accumulator, scale_a, scale_b)
    given = matrices(a, b, c)
    if 0 in (*given.shape, given.depth):
        return [Plan("nothing", "there is nothing to add")]
    return all_plans(_problem(given, None), accumulator)


def dot(
    a: Any,
    b: Any,
    accumulator: Accumulator | MatrixUnit,
    *,
    c: Any = None,
    seed: int | None = None,
    stream: int = 0,
    words: Any = None,
    events: bool = False,
    explain: bool = False,
    encode: bool = False,
    scale_a: Any = None,
    scale_b: Any = None,
) -> Any:
    """c + sum of a[k] * b[k] for one-dimensional a, b [K]: `matmul` of a row and a column, as a numpy scalar.

    c is one number. words, if given, has shape [S]; scales have shape [K/block]; counts of events have shape (). With
    events or explain a tuple, as there. Errors: as there; elements are named by their place in the vectors.
    """
    if isinstance(accumulator, MatrixUnit):
        _check_unit_options(accumulator, seed is not None or words is not None, stream, encode)
        return _dot_by_unit(vectors(a, b, c), accumulator, scale_a, scale_b, events, explain)
    _check_kind(accumulator, scale_a, scale_b)
    given = vectors(a, b, c)
    return _product(given, accumulator, seed, stream, words, events=events, explain=explain, encode=encode)


def _dot_by_unit(given: Operands, unit: MatrixUnit, scale_a: Any, scale_b: Any, events: bool, explain: bool) -> Any:
    """The unit's own checks would name elements of the matrices that it takes."""
    a, b, c, _ = given
    for x, fmt, label in ((a, unit.inputs[0], "a"), (b, unit.inputs[1], "b")):
        check_members(x, fmt, label, truncated=unit.tf32_trunc)
    scales: list[Any] = [scale_a, scale_b]
    if unit.scale is not None and unit.scale_block is not None and scale_a is not None and scale_b is not None:
        wanted = (-(-given.depth // unit.scale_block),)
        scales = [floats(scale_a, "scale_a"), floats(scale_b, "scale_b")]
        for scale, label in zip(scales, ("scale_a", "scale_b"), strict=True):
            if scale.shape != wanted:
                raise ValueError(f"{label} of shape {scale.shape}: blocks of {unit.scale_block} k want {wanted}")
            check_members(scale, unit.scale, label)
        scales = [scales[0][None], scales[1][:, None]]
    row, column = a[None], b[:, None]
    call = replace(prepare(row, column, unit, c, *scales), of_vectors=True)
    way, found = compute_first(call, events=events)
    told = (plan_of(call, way),) if explain else ()
    if not events:
        return (found[0, 0], *told) if explain else found[0, 0]
    counts = {field.name: getattr(found[1], field.name).reshape(()) for field in fields(Events)}
    return (found[0][0, 0], Events(**counts), *told)


def _check_unit_options(unit: MatrixUnit, words: bool, stream: Any, encode: bool) -> None:
    counter("stream", stream)
    if words:
        raise ValueError("seed or words given: a MatrixUnit rounds deterministically")
    if encode:
        raise ValueError(
            f"encode=True with a MatrixUnit: {unit} gives values; Quantizer({unit.result}).encode gives their codes"
        )


def _check_kind(accumulator: Any, scale_a: Any = None, scale_b: Any = None) -> None:
    if not isinstance(accumulator, Accumulator):
        raise TypeError(f"accumulator {named(accumulator)}: give {made_from(accumulator, 'Accumulator')}")
    if scale_a is not None or scale_b is not None:
        raise ValueError("scale_a, scale_b: an Accumulator has no scales; multiply the operands, or use a MatrixUnit")


def _problem(given: Operands, words: Words | None) -> Problem:
    a, b, c, shape = given
    known = facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")
    caller = Caller(a.shape, b.shape, None if c is None else c.shape, shape)
    if not shape:
        a, b, shape = a[None], b[:, None], (1, 1)
    start = None if c is None else np.broadcast_to(c, shape).reshape(-1, *shape[-2:])
    return Problem(stack(a, shape[:-2]), stack(b, shape[:-2]), start, known, words, caller)


def source_of_words(
    accumulator: Accumulator, shape: tuple[int, ...], depth: int, seed: int | None, stream: int, words: Any
) -> Words | None:
    """Where the random words of a product come from, None for a deterministic one; `matmul` says what is refused."""
    key, number, _ = counters(seed, stream)
    if not accumulator.stochastic:
        if words is not None:
            raise ValueError("words given for a deterministic accumulator: random words belong to SR, SR_B and SR_C")
        return None
    span = accumulator.roundings(depth)
    if words is not None:
        return Words(0, 0, span, 0, checked_words(words, shape, accumulator, depth))
    if seed is None:
        raise ValueError(
            f"{accumulator.rounding.name if accumulator.rounding.stochastic else 'a stochastic part'} needs random"
            f" words: give seed=, an integer in [0, 2**64), or words=, one for each of the {span} roundings of an output"
        )
    return Words(key, number, span)


def _rounded_addend(given: Operands, accumulator: Accumulator, words: Words | None) -> NDArray[Any]:
    """K = 0: c or +0, rounded once; integers of a FixedFormat."""
    last, shape = accumulator.combining, given.shape
    fmt = last.format
    quantizer = Quantizer(fmt, last.rounding, last.overflow, last.random_bits)
    values = np.zeros(shape) if given.c is None else np.broadcast_to(given.c, shape).astype(np.float64)
    drawn = None
    if quantizer.stochastic and words is not None and last.random_bits is not None:
        drawn = words.of(slice(0, values.size), slice(0, 1), last.random_bits).reshape(-1)
    if given.c is not None:
        _check_addend(values.reshape(-1), drawn, given, quantizer)
    drawn = None if drawn is None else drawn.reshape(shape)
    if not isinstance(fmt, FixedFormat):
        found: NDArray[Any] = quantizer.quantize(values, words=drawn)
        return found
    codes = np.asarray(quantizer.encode(values, words=drawn)).astype(np.uint64)
    unused = np.uint64(64 - fmt.bits)
    return (codes << unused).view(np.int64) >> np.int64(unused) if fmt.signed else codes


def _check_addend(
    values: NDArray[np.float64], words: NDArray[np.uint32] | None, given: Operands, quantizer: Quantizer
) -> None:
    """Refuse the c of the first output, where it is refused: the quantizer would name its element of what c became."""
    fmt = quantizer.fmt
    assert isinstance(fmt, FloatFormat | FixedFormat)
    names = Caller(given.a.shape, given.b.shape, None if given.c is None else given.c.shape, given.shape)
    if not fmt.signed and (values < 0).any():
        number = int(np.argmax(values < 0))
        raise ValueError(
            f"{names.addend(number)} is {values[number]}: {fmt} is unsigned and takes nonnegative operands only; use a"
            " signed format"
        )
    if quantizer.overflow is not Overflow.ERROR:
        return
    call = quantizer.encode if isinstance(fmt, FixedFormat) else quantizer.quantize

    def overflows(start: int, stop: int) -> int:
        try:
            call(values[start:stop], words=None if words is None else words[start:stop])
        except OverflowError:
            return 1
        return 0

    if overflows(0, values.size):
        number = threads.first_with(overflows, values.size, 1)
        raise OverflowError(
            f"{names.addend(number)} is {values[number]}, beyond {limit_of(fmt, values[number])};"
            " scale c or choose another Overflow rule"
        )


def _result(values: NDArray[Any], accumulator: Accumulator, dtype: np.dtype[Any], encode: bool) -> NDArray[Any]:
    fmt = accumulator.combining.format
    if isinstance(fmt, FixedFormat):
        if encode:
            mask = np.uint64((1 << fmt.bits) - 1)
            return (values.astype(np.int64, copy=False).view(np.uint64) & mask).astype(code_dtype(fmt.bits))
        # The type holds every member: its integer and its grid step too.
        result = values if values.dtype == dtype else np.empty(values.shape, dtype)
        step, flat, into = dtype.type(2.0**-fmt.fraction_bits), values.reshape(-1), result.reshape(-1)

        def part(start: int, stop: int) -> None:
            np.multiply(flat[start:stop], step, out=into[start:stop], dtype=dtype, casting="unsafe")
            into[start:stop] += 0  # floats have two zeros, the format one

        threads.run(part, flat.size, COPY_COST)
        return result
    if encode:
        codes: NDArray[Any] = Quantizer(fmt, overflow=Overflow.PROPAGATE).encode(values.astype(np.float64))
        return codes
    return values.astype(dtype, copy=False)


def _zeros(shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    return {field.name: np.zeros(shape, np.int32) for field in fields(Events)}


def _counts_of_addend(
    c: NDArray[Any] | None, shape: tuple[int, ...], accumulator: Accumulator, words: Words | None
) -> dict[str, NDArray[Any]]:
    """The events of K = 0: those of one exact sum of c and a product of zeros."""
    last = accumulator.combining
    once = Accumulator(last.format, last.rounding, last.overflow, order="exact", random_bits=last.random_bits)
    zeros = np.zeros((*shape[:-1], 1)), np.zeros((*shape[:-2], 1, *shape[-1:]))
    counts = run(_problem(Operands(*zeros, c, shape), words), once, events=True).counts
    assert counts is not None
    return counts
