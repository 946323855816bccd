"""The accumulator under test: anybody's product of matrices, with the Accumulator or MatrixUnit that it claims to be."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import reference
from ..accumulator import Accumulator
from ..formats import FixedFormat, FloatFormat
from ..formats.naming import named
from ..kernels.threads import get_num_threads, set_num_threads
from ..matrix_unit import MatrixUnit
from ..parameters import FLOAT64, check_dtype
from ..products import matmul
from .arguments import Threads, check_common, check_own, label_of
from .evidence import FEW, ClaimError, call_function, called, hides, literal, raised_for
from .returned import NoArrayError, as_array, came_back

__tracebackhide__ = hides

OperandFormat = FloatFormat | FixedFormat
Extra = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class AccumulatorUnderTest:
    """A function that multiplies matrices, and what it is held to. `as_accumulator` makes one."""

    fn: Callable[..., Any] = field(repr=False)
    claim: Accumulator | MatrixUnit
    operands: tuple[OperandFormat, OperandFormat]
    takes_c: bool = False
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))
    tensor: Callable[[Any], Any] | None = field(default=None, repr=False)
    name: str = "fn"
    deep: bool = True
    threads: Threads | None = field(default=None, repr=False)

    @property
    def scaled(self) -> bool:
        """Whether its operands have scales."""
        return isinstance(self.claim, MatrixUnit) and self.claim.scale is not None

    @property
    def stochastic(self) -> bool:
        """Whether it takes words."""
        return isinstance(self.claim, Accumulator) and self.claim.stochastic

    @property
    def output(self) -> FloatFormat | FixedFormat:
        """The format of its results."""
        return self.claim.combining.format if isinstance(self.claim, Accumulator) else _output(self.claim)

    def roundings(self, depth: int) -> int:
        """How many words an output has, 0 of a deterministic one."""
        return self.claim.roundings(depth) if isinstance(self.claim, Accumulator) and self.stochastic else 0

    def __call__(self, a: Any, b: Any, c: Any = None, extra: Extra = ()) -> NDArray[Any]:
        """a [..., M, K] times b [..., K, N], c [..., M, N] added if it takes one: [..., M, N] of dtype.

        extra: the words of a stochastic one, or the two arrays of scales of a unit that has them.

        Errors: ClaimError where what comes back has another shape or dtype.
        """
        convert = self.tensor or (lambda array: array)
        given = [x for x in (a, b, c if self.takes_c else None, *extra) if x is not None]
        try:
            found = call_function(self.fn, *map(convert, given))
        except Exception as error:
            raised_for(error, self, a, b, c, extra)
            raise
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        try:
            result = as_array(found, self.dtype)
            fits, seen = result.shape == shape and result.dtype == self.dtype, came_back(found, result)
        except NoArrayError as none:
            fits, seen = False, str(none)
        if not fits:
            raise ClaimError(
                "result",
                f"{a.shape} times {b.shape} must give {self.dtype} {shape}",
                seen=seen,
                reproduce=self.reproduce(a, b, c, extra),
            )
        if isinstance(self.output, FixedFormat):
            result = np.add(result, self.dtype.type(0))  # -0.0 stands for code 0 too
        return result

    def wanted(self, a: Any, b: Any, c: Any = None, extra: Extra = ()) -> NDArray[Any]:
        """The oracle's result, step by step in rationals; read-only, and kept, as several claims ask for the same."""
        return _wanted(self.claim, self.dtype, *map(_frozen, (a, b, c, *extra)))

    def raised_by(self, a: Any, b: Any, c: Any, extra: Extra, kind: type) -> dict[str, object]:
        """The details of an exception that a product raised."""
        line = f"{self.name}(a, b) for operands of these shapes"
        return {
            "x": f"{self.dtype} of shapes {list(a.shape)} and {list(b.shape)}",
            "reproduce": self.reproduce(a, b, c, extra) if a.size + b.size <= 10 * FEW else line,
        }

    def reproduce(self, a: Any, b: Any, c: Any = None, extra: Extra = (), laid: str = "{}") -> str:
        """One line of Python that makes the call again; laid: what is done to a and b before, with {} for the array."""
        parts = [laid.format(literal(x, self.dtype)) for x in (a, b)]
        parts += [literal(c, self.dtype)] if self.takes_c and c is not None else []
        parts += [literal(x, self.dtype if self.scaled else np.uint32) for x in extra]
        return called(self.name, self.tensor, parts)


class _Frozen(NamedTuple):
    """An array as a key."""

    shape: tuple[int, ...]
    dtype: str
    data: bytes

    def array(self) -> NDArray[Any]:
        return np.frombuffer(self.data, self.dtype).reshape(self.shape)


def _frozen(x: Any) -> _Frozen | None:
    return None if x is None else _Frozen(x.shape, x.dtype.str, x.tobytes())


@lru_cache(maxsize=2048)
def _wanted(claim: Accumulator | MatrixUnit, dtype: np.dtype[Any], *given: _Frozen | None) -> NDArray[Any]:
    a, b, c, *extra = (None if x is None else x.array() for x in given)
    if isinstance(claim, MatrixUnit):
        scales: dict[str, Any] = {"scale_a": extra[0], "scale_b": extra[1]} if extra else {}
        result = np.asarray(reference.matrix_unit.unit_matmul(a, b, claim, c=c, **scales), dtype)
    else:
        result = np.asarray(reference.matmul(a, b, claim, c=c, words=extra[0] if extra else None), dtype)
    result.flags.writeable = False
    return result


def _output(unit: MatrixUnit) -> FloatFormat | FixedFormat:
    return unit.output if unit.outer is None else unit.outer.format


def as_accumulator(
    fn: Callable[..., Any] | Accumulator | MatrixUnit,
    claim: Accumulator | MatrixUnit | None = None,
    *,
    operands: OperandFormat | tuple[OperandFormat, OperandFormat] | None = None,
    takes_c: bool = False,
    dtype: DTypeLike = np.float32,
    tensor: Callable[[Any], Any] | None = None,
    name: str = "",
    deep: bool = True,
    threads: Threads | None = None,
) -> AccumulatorUnderTest:
    """A product of matrices to be put to the proof, with the accumulator or matrix unit that it claims to be.

    fn(a [..., M, K], b [..., K, N]) -> [..., M, N], arrays of `dtype`; with takes_c, fn(a, b, c [..., M, N]), where c is
    added as the claim says; a stochastic claim has its words [..., M, N, S] as last argument, S = claim.roundings(K), by the
    order that `Accumulator.roundings` states; a unit with scales has scale_a [..., M, blocks] and scale_b
    [..., blocks, N] there. fn may be an Accumulator or MatrixUnit of this package instead.

    operands: the format, or the formats of a and b, whose members fn takes; None: a unit's inputs; integers of half the
    bits for a fixed-point accumulator; E5M2 for the others, or an exponent so wide that sums reach the limits. Where no
    sum does, the verdict on `steps` says so. tensor: makes what fn takes of an array, such as torch.from_numpy.
    deep: chains of up to 1025 products, and operands and sums of every size are tried, else chains of up to 12. threads: how
    its number of threads is read and set, such as (torch.get_num_threads, torch.set_num_threads); the same bits are then
    asked of 1, 2 and 3.
    Errors: TypeError for what is no such function or claim; ValueError for a claim whose results no float64 holds.
    """
    check_common(tensor, threads, name)
    _check_operands(operands)
    if np.dtype(dtype).kind == "f":
        check_dtype(np.dtype(dtype))
    if isinstance(fn, Accumulator | MatrixUnit):
        check_own({"claim": (claim, None, fn), "tensor": (tensor, None, None)}, "a record")
        claim, ours = fn, True
        if dtype is np.float32 and _needs_float64(fn):
            dtype = np.float64
    else:
        ours = False
    if claim is None:
        raise TypeError("claim is missing: say which Accumulator or MatrixUnit the function is to equal")
    if not isinstance(claim, Accumulator | MatrixUnit):
        raise TypeError(f"claim {named(claim)}: give an Accumulator or a MatrixUnit")
    if isinstance(claim, Accumulator) and not FLOAT64.holds(claim.combining.format):
        raise ValueError(
            f"claim {claim}: results in {claim.combining.format} are more than float64 holds; claim a narrower format, in"
            " which the same steps can be tried"
        )
    if not ours and not callable(fn):
        raise TypeError(f"{named(fn)} cannot be called: give a function of two matrices")
    pair = (
        operands
        if isinstance(operands, tuple)
        else (operands, operands)
        if operands
        else _usual(claim, np.dtype(dtype))
    )
    if not ours:
        assert callable(fn)
        label = label_of(fn, name)
        return AccumulatorUnderTest(fn, claim, pair, takes_c, np.dtype(dtype), tensor, label, deep, threads)

    def own(a: Any, b: Any, *rest: Any) -> Any:
        left = list(rest)
        c = left.pop(0) if takes_c else None
        if len(left) == 2:
            return matmul(a, b, claim, c=c, scale_a=left[0], scale_b=left[1])
        return matmul(a, b, claim, c=c, words=left[0] if left else None)

    label = name or f"numerics.matmul with {claim}"
    own_threads = get_num_threads, set_num_threads
    return AccumulatorUnderTest(own, claim, pair, takes_c, np.dtype(dtype), tensor, label, deep, own_threads)


def _check_operands(operands: Any) -> None:
    both = operands if isinstance(operands, tuple) else (operands, operands)
    if operands is not None and (len(both) != 2 or not all(isinstance(fmt, FloatFormat | FixedFormat) for fmt in both)):
        raise TypeError(f"operands = {named(operands)}: give a format record, or a pair of them, of a and of b")


def _needs_float64(claim: Accumulator | MatrixUnit) -> bool:
    formats = (
        (claim.format, claim.combining.format) if isinstance(claim, Accumulator) else (_output(claim), *claim.inputs)
    )
    return any(not _held_by_float32(fmt) for fmt in formats)


def _held_by_float32(fmt: OperandFormat) -> bool:
    if isinstance(fmt, FixedFormat):
        return fmt.precision <= 24 and abs(fmt.fraction_bits) <= 100
    return fmt.precision <= 24 and fmt.emin - fmt.mantissa_bits >= -149 and fmt.emax <= 127


def _usual(claim: Accumulator | MatrixUnit, dtype: np.dtype[Any]) -> tuple[OperandFormat, OperandFormat]:
    """Operands of which three products pass the limits of the sums, and none alone, or small ones of them."""
    if isinstance(claim, MatrixUnit):
        first, second = claim.inputs
        return first, second
    fmt = claim.product_format or claim.format
    held = np.finfo(dtype).nmant + 1 if dtype.kind == "f" else 8 * dtype.itemsize
    if isinstance(fmt, FixedFormat):
        bits = max(4, min((fmt.bits + 1) // 2, held))
        half = fmt.fraction_bits // 2
        rest = fmt.fraction_bits - half
        return FixedFormat(bits, half, signed=fmt.signed), FixedFormat(bits, rest, signed=fmt.signed)
    if fmt.emax <= 2 * _E5M2.emax + 1 or (dtype.kind == "f" and fmt.emax >= np.finfo(dtype).maxexp):
        return _E5M2, _E5M2
    bits = ((fmt.emax - 1) // 2).bit_length() + 1
    wide = FloatFormat(bits, 2, name=f"e{bits}m2")
    return wide, wide


_E5M2 = FloatFormat(5, 2, name="e5m2")
