"""Products of few elements: what is decided by the accumulator and the kind of operand is decided once and kept.

As in `brief`, None leaves a call to the general way. The kernel is one that is proved exact for all operands of a kind:
with at most so many significant bits and exponents in a range that is a little wider than theirs. The general way may
take another for the operands themselves; all plans of a product give the same bits.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .brief import carrier_or_none, entered, keep, ready
from .brief_sums import ExactSums, FixedSums, exact_sums, fixed_sums
from .formats import FixedFormat, FloatFormat
from .kernels import gemm, orders, threads
from .kernels.scan import scan
from .parameters import Carrier
from .planning import first_plan
from .problem import Facts, Problem, Words
from .results import check_output, check_result
from .rounding import Overflow
from .stepping import NO_COUNTS, rows_of, source_of, tiny_of
from .steps import random_bits_of
from .words import drawn_units, shortened, unit_bytes

MULTIPLICATIONS = 1 << 18  # beyond which what the general way finds out costs less than it gains, threads included
PLACES = 2  # operands are taken as if their exponents reached to the ends of steps of 2**PLACES
#: Of two operands: the lowest bit of all fractions, the steps of the largest field and of the lowest bit of all, any -0.
Kinds = tuple[int, int, int, int, int, int, int, int]
#: a, b, their carrier, and what `scan` finds in each; finite.
Pair = tuple[NDArray[Any], NDArray[Any], Carrier, tuple[Any, ...], tuple[Any, ...]]
#: The carrier of a type, the type of its bit patterns, infinity's, `scan` of them.
_Reader = tuple[Carrier, np.dtype[Any], int, Callable[..., Any]]
_READERS: dict[np.dtype[Any], _Reader] = {}
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_NO_LAID, _NO_NUMBERS = np.empty((0, 0, 0), np.uint32), (_ZERO, _ZERO, _ZERO, _ZERO, _ONE, _ONE)
NO_WORDS = gemm.Words(_NO_LAID, 0, *_NO_NUMBERS)


class _Chain(NamedTuple):
    """The kernel of a product, with all its constants, the type that it computes in, and what may be NaN."""

    run: Callable[..., Any] | None  # None: BLAS, because nothing is rounded
    dtype: np.dtype[Any]
    checks: bool  # whether a NaN would have to be refused
    constants: tuple[Any, ...]  # rows, tiny, counts, the options of the order
    source: int
    bits: int  # of all random words alike, where they are laid out for the kernel
    span: int  # words of an output


_Known = _Chain | ExactSums | FixedSums | None
_CHAINS: dict[Any, _Known] = {}


def product(a: Any, b: Any, accumulator: Accumulator, seed: int | None = None, stream: Any = 0) -> NDArray[Any] | None:
    """`numerics.matmul` of two small matrices, or None; seed and stream are checked where used."""
    pair = pair_of(a, b, MULTIPLICATIONS)
    if pair is None:
        return None
    a, b, carrier, first, second = pair
    dtype, depth = a.dtype, a.shape[1]
    places = PLACES if isinstance(accumulator.format, FloatFormat) else 0  # fixed grids look at every place
    kinds = kinds_of(first, second, carrier, places)
    key = accumulator._text, depth, dtype, kinds  # type: ignore[attr-defined]
    try:
        known = _CHAINS[key]
    except KeyError:
        known = keep(_CHAINS, key, _known(accumulator, depth, facts_of_kinds(kinds, carrier, places), carrier))
    if known is None:
        return None
    threads.check_subnormals()
    if not isinstance(known, _Chain):
        if not accumulator.stochastic:
            return known.product(a, b, 0, 0)
        return known.product(a, b, seed, stream) if seed is not None and are_counters(seed, stream) else None
    run, inner, checks, constants, source, bits, span = known
    shape, words = (a.shape[0], b.shape[1]), NO_WORDS
    if source != gemm.DETERMINISTIC:
        if seed is None or not are_counters(seed, stream):
            return None
        words = words if run is None else drawn(source, bits, span, shape, seed, stream)
    if inner is not dtype:
        a, b = a.astype(inner, copy=False), b.astype(inner, copy=False)
    result: NDArray[Any]
    if run is None:
        result = np.dot(a, b)
        result += inner.type(0.0)  # +0, never -0
    else:
        result = np.zeros(shape, inner)
        run(a[None], b[None], result[None], *constants, words, 0, shape[0])
    if checks:
        check_result(result, accumulator)
    return result if inner is dtype else result.astype(dtype, copy=False)


def are_counters(seed: Any, stream: Any) -> bool:
    """Whether both are integers in [0, 2**64)."""
    return type(stream) is int and 0 <= seed < 1 << 64 and 0 <= stream < 1 << 64


def pair_of(a: Any, b: Any, multiplications: int) -> Pair | None:
    """Two finite matrices of one type that fit, contiguous, and what `scan` finds; None for all else, and for many."""
    if type(a) is not np.ndarray or type(b) is not np.ndarray or a.ndim != 2 or b.ndim != 2:
        return None
    (rows, depth), (steps, columns), dtype = a.shape, b.shape, a.dtype
    if steps != depth or b.dtype != dtype or not 0 < rows * columns * depth <= multiplications:
        return None
    reader = _READERS.get(dtype) or _reader(dtype)
    if reader is None:
        return None
    carrier, unsigned, infinity, found = reader
    if not (a.flags.carray and b.flags.carray):
        a, b = ready(a), ready(b)
    first, second = found(np.frombuffer(a, unsigned)), found(np.frombuffer(b, unsigned))
    return (a, b, carrier, first, second) if first[1] < infinity > second[1] else None


def _reader(dtype: np.dtype[Any]) -> _Reader | None:
    carrier = carrier_or_none(dtype)
    if carrier is None:
        return None
    bits = carrier.unsigned
    made = _READERS[dtype] = carrier, bits, carrier.bits(math.inf), entered(scan, np.empty(1, bits))
    return made


def kinds_of(first: tuple[Any, ...], second: tuple[Any, ...], carrier: Carrier, places: int = PLACES) -> Kinds:
    """The kinds of two finite operands, one behind the other, of what `scan` found in them."""
    seen, most, last, minus = first
    other_seen, other_most, other_last, other_minus = second
    field = carrier.precision - 1 + places
    low, other_low = seen & -seen, other_seen & -other_seen
    return low, most >> field, last >> places, minus, other_low, other_most >> field, other_last >> places, other_minus


def _known(accumulator: Accumulator, depth: int, both: tuple[Facts, Facts], carrier: Carrier) -> _Known:
    """The way of all operands of these facts; None where there is none, or where a result may have to be refused."""
    problem = stand_in(accumulator, depth, both, carrier)
    try:
        check_output(carrier.dtype, accumulator)
    except ValueError:
        return None
    if accumulator.order == "exact":
        return exact_sums(problem, accumulator)
    if isinstance(accumulator.format, FixedFormat):
        return fixed_sums(problem, accumulator)
    return _chain(problem, accumulator, carrier)


def stand_in(accumulator: Accumulator, depth: int, both: tuple[Facts, Facts], carrier: Carrier) -> Problem:
    """A product of one output, of operands with these facts, for what is decided by these alone."""
    row = np.zeros((1, 1, depth), carrier.dtype)
    words = Words(0, 0, accumulator.roundings(depth)) if accumulator.stochastic else None
    return Problem(row, row.reshape(1, depth, 1), None, (*both, None), words)


def _chain(problem: Problem, accumulator: Accumulator, carrier: Carrier) -> _Chain | None:
    parts = tuple(part for part in (accumulator, accumulator.product, accumulator.combining) if part is not None)
    formats = accumulator.format, accumulator.combining.format
    usual = accumulator.order == "sequential" == accumulator.combining.order
    usual = usual or (accumulator.order in ("pairwise", "kahan") and accumulator.chunk is None)
    if not usual or not all(isinstance(fmt, FloatFormat) for fmt in formats):
        return None
    if any(part.overflow is Overflow.ERROR for part in parts):
        return None
    depth, span = problem.depth, accumulator.roundings(problem.depth)
    source, each = source_of(problem, accumulator), random_bits_of(accumulator, depth)
    if source == gemm.GIVEN and each.min() != each.max():
        return None
    try:
        plan = first_plan(problem, accumulator)
    except ValueError:
        return None  # the operands themselves may be allowed, or the sentence names them
    checks, bits = not accumulator.combining.format.has_nan, int(each.max())
    if plan.kernel in ("sgemm", "dgemm"):  # nothing is rounded, and a seed is wanted all the same
        return _Chain(None, plan.carrier.dtype, checks, (), source, bits, span)  # float32 may not hold the formats
    options: tuple[Any, ...] = ()
    modes, normalise = (plan.mode, plan.product_mode), int(plan.normalise)
    if accumulator.order == "pairwise":
        kernel, options = orders.make_tree(*modes, normalise, source, 0), (accumulator.block or 0, False)
    elif accumulator.order == "kahan":
        kernel = orders.make_kahan(*modes, normalise, source, 0)
    else:
        kernel = gemm.make_chain(*modes, plan.outer_mode, normalise, source, 0)
        options = (min(accumulator.chunk or depth, depth),)
    constants = rows_of(accumulator, plan.carrier), tiny_of(accumulator, plan.carrier), NO_COUNTS, *options
    matrices = (np.empty((1, 1, 1), plan.carrier.dtype),) * 3
    run = entered(kernel, *matrices, *constants, NO_WORDS, 0, 1)
    return _Chain(run, plan.carrier.dtype, checks, constants, source, bits, span)


def drawn(source: int, bits: int, span: int, shape: tuple[int, int], seed: int, stream: int) -> gemm.Words:
    """Where the kernel draws words, or reads them as they are laid out for it, [rows, span, columns]."""
    rows, columns = shape
    if source != gemm.GIVEN:
        numbers = np.uint64(seed), np.uint64(stream), np.uint64(span), _ZERO, np.uint64(columns), _ONE
        return gemm.Words(_NO_LAID, 0, *numbers)
    units = drawn_units(rows * columns * span, unit_bytes(bits), seed, stream, 0).reshape(rows, columns, span)
    laid = shortened(units.swapaxes(1, 2).astype(np.uint32, order="C"), bits)
    return gemm.Words(laid, 0, *_NO_NUMBERS)


def facts_of_kinds(kinds: Kinds, carrier: Carrier, places: int = PLACES) -> tuple[Facts, Facts]:
    """Bounds on the facts of all operands of these kinds."""
    return _facts(kinds[:4], carrier, places), _facts(kinds[4:], carrier, places)


def _facts(kind: tuple[int, ...], carrier: Carrier, places: int) -> Facts:
    low, field, last, minus = kind
    _, _, precision, emin, emax = carrier
    if not field and last == (emax - emin + 2 + precision) >> places:
        return Facts(1, 0, 0, 1.0, bool(minus))  # zeros: their lowest bit is above every place
    bits = precision + 1 - (low or 1 << (precision - 1)).bit_length()
    lowest = max((last << places) + emin - precision, carrier.quantum_exponent)
    highest = min(max((field + 1 << places) - 1, 1) + emin - 1, emax)
    return Facts(bits, lowest, highest, math.ldexp(2 - 2.0 ** (1 - precision), highest), bool(minus))
