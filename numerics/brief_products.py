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
from .brief import carrier_or_none, keep
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
from .words import drawn

MULTIPLICATIONS = 1 << 18  # beyond which what the general way finds out costs less than it gains, threads included
_WIDTH = 4  # operands are taken as if their exponents reached to the next multiples of this
#: Of operands: significant bits, lowest and highest exponents (the next multiples of a width), any -0.
Kind = tuple[int, int, int, int]
#: a, b, their carrier, and what `scan` finds in each.
Pair = tuple[NDArray[Any], NDArray[Any], Carrier, tuple[Any, ...], tuple[Any, ...]]
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_NO_LAID, _NO_NUMBERS = np.empty((0, 0, 0), np.uint32), (_ZERO, _ZERO, _ZERO, _ZERO, _ONE, _ONE)
_NO_WORDS = gemm.Words(_NO_LAID, 0, *_NO_NUMBERS)


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
    (rows, depth), columns, dtype = a.shape, b.shape[1], a.dtype
    width = _WIDTH if isinstance(accumulator.format, FloatFormat) else 1  # fixed grids look at every place
    kinds = kind_of(first, carrier, width), kind_of(second, carrier, width)
    key = accumulator._text, depth, dtype, kinds  # type: ignore[attr-defined]
    try:
        known = _CHAINS[key]
    except KeyError:
        known = keep(_CHAINS, key, _known(accumulator, depth, carrier, *kinds))
    if known is None:
        return None
    threads.check_subnormals()
    if not isinstance(known, _Chain):
        if not accumulator.stochastic:
            return known.product(a, b, 0, 0)
        return known.product(a, b, seed, stream) if seed is not None and _are_counters(seed, stream) else None
    run, inner, checks, constants, source, bits, span = known
    words = _NO_WORDS
    if source != gemm.DETERMINISTIC:
        if seed is None or not _are_counters(seed, stream):
            return None
        words = words if run is None else _words(source, bits, span, (rows, columns), seed, stream)
    if inner != dtype:
        a, b = a.astype(inner), b.astype(inner)
    result: NDArray[Any]
    if run is None:
        result = np.matmul(a, b)
        result += inner.type(0.0)  # +0, never -0
    else:
        total = np.zeros((1, rows, columns), inner)
        run(a.reshape(1, rows, depth), b.reshape(1, depth, columns), total, *constants, words, 0, rows)
        result = total.reshape(rows, columns)
    if checks:
        check_result(result, accumulator)
    return result if inner == dtype else result.astype(dtype)


def _are_counters(seed: int, stream: Any) -> bool:
    return type(stream) is int and 0 <= seed < 1 << 64 and 0 <= stream < 1 << 64


def pair_of(a: Any, b: Any, multiplications: int) -> Pair | None:
    """Two matrices of one type that fit together, contiguous, and what `scan` finds; None for all else, and for many."""
    if type(a) is not np.ndarray or type(b) is not np.ndarray or a.ndim != 2 or b.ndim != 2:
        return None
    (rows, depth), columns = a.shape, b.shape[1]
    carrier = carrier_or_none(a.dtype)
    if (
        b.dtype != a.dtype
        or b.shape[0] != depth
        or carrier is None
        or not 0 < rows * columns * depth <= multiplications
    ):
        return None
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    unsigned = carrier.unsigned
    return a, b, carrier, scan(a.reshape(-1).view(unsigned)), scan(b.reshape(-1).view(unsigned))


def kind_of(found: tuple[Any, ...], carrier: Carrier, width: int = _WIDTH) -> Kind | None:
    """The kind of what `scan` found; None: not finite."""
    seen, most, last, minus = found
    trailing = carrier.precision - 1
    field = most >> trailing
    if field > carrier.emax - carrier.emin + 1:
        return None
    if not most:
        return 1, 0, 0, minus
    significand = seen | 1 << trailing
    bits = trailing + 2 - (significand & -significand).bit_length()
    lowest = last + carrier.emin - 1 - trailing
    highest = max(field, 1) + carrier.emin - 1
    return bits, lowest // width * width, -(-highest // width) * width, minus


def _known(accumulator: Accumulator, depth: int, carrier: Carrier, first: Kind | None, second: Kind | None) -> _Known:
    """The way of all operands of these kinds; None where there is none, or where a result may have to be refused."""
    if first is None or second is None:
        return None
    facts = facts_of_kind(first, carrier), facts_of_kind(second, carrier), None
    stand_in = np.zeros((1, 1, depth), carrier.dtype)
    words = Words(0, 0, accumulator.roundings(depth)) if accumulator.stochastic else None
    problem = Problem(stand_in, stand_in.reshape(1, depth, 1), None, facts, words)
    try:
        check_output(carrier.dtype, accumulator)
    except ValueError:
        return None
    if accumulator.order == "exact":
        return exact_sums(problem, accumulator)
    if isinstance(accumulator.format, FixedFormat):
        return fixed_sums(problem, accumulator)
    return _chain(problem, accumulator, carrier)


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
    return _Chain(kernel, plan.carrier.dtype, checks, constants, source, bits, span)


def _words(source: int, bits: int, span: int, shape: tuple[int, int], seed: int, stream: int) -> gemm.Words:
    """Where the kernel draws words, or reads them as they are laid out for it, [rows, span, columns]."""
    rows, columns = shape
    if source != gemm.GIVEN:
        numbers = np.uint64(seed), np.uint64(stream), np.uint64(span), _ZERO, np.uint64(columns), _ONE
        return gemm.Words(_NO_LAID, 0, *numbers)
    words = drawn(rows * columns * span, bits, seed, stream, 0).reshape(rows, columns, span)
    laid = np.ascontiguousarray(words.swapaxes(1, 2))
    return gemm.Words(laid, 0, *_NO_NUMBERS)


def facts_of_kind(kind: Kind, carrier: Carrier) -> Facts:
    """Bounds on the facts of all operands of a kind."""
    bits, low, high, minus = kind
    lowest, highest = max(low, carrier.quantum_exponent), min(high, carrier.emax)
    return Facts(bits, lowest, highest, math.ldexp(2 - 2.0 ** (1 - carrier.precision), highest), bool(minus))
