"""What a matrix unit is given: arrays checked against its formats, and taken apart into exponents and scales."""

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .formats import FloatFormat, Subnormals
from .kernels import threads, unit_decode
from .matrix_unit import MatrixUnit
from .operands import operand
from .parameters import FLOAT32
from .quantizer import Quantizer
from .rounding import Overflow, Rounding

_NOT_SEEN = 0, 0, 0
_PLAIN = Subnormals.GRADUAL, Subnormals.FLUSH, Subnormals.NO_ZERO  # without holes but at the lower end
_COST = 0.5  # nanoseconds of an element


class Operand(NamedTuple):
    """An operand of a unit, [1 or B, M, K] or [1 or B, K, N]; its scales as [.., rows or columns, K/block]."""

    values: NDArray[np.float32]  # may be the caller's own
    exponents: NDArray[np.int16]  # unit_decode.ABSENT where there is no term; of a unit that is not fused empty
    finite: bool
    lowest: int  # exponents of the smallest and largest terms
    highest: int
    weights: NDArray[np.int32]  # integer significands of scales
    shifts: NDArray[np.int32]  # their exponents


def check_members(x: NDArray[Any], fmt: FloatFormat, label: str, *, truncated: bool = False) -> None:
    """Refuse values of x [...] that the format lacks, naming the first; truncated: its low bits will be dropped."""
    if _are_members(x, fmt):
        return
    wide = x.astype(np.float64)
    finite = np.where(np.isfinite(wide) & (fmt.signed | (wide >= 0)), wide, 0.0)
    kept = quantized(finite, fmt, Rounding.RTZ, Overflow.SATURATE)
    fits = np.abs(finite) < fmt.max + 2.0 ** (fmt.emax - fmt.mantissa_bits) if truncated else kept == finite
    special = (np.isinf(wide) & fmt.infinities & (fmt.signed | (wide > 0))) | (np.isnan(wide) & fmt.has_nan)
    same = np.where(np.isfinite(wide), fits & (fmt.signed | (wide >= 0)), special)
    if not np.all(same):
        where = tuple(int(i) for i in np.unravel_index(int(np.argmin(same)), x.shape))
        at = f"{label}[{', '.join(map(str, where))}]" if where else label
        raise ValueError(f"{at} is {x[where]!s}, no value of {fmt}: round it first, by Quantizer(format).quantize")


def _are_members(x: NDArray[Any], fmt: FloatFormat) -> bool:
    """Whether one quick pass shows that the format has all values of x [...]; it may miss that."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = np.ascontiguousarray(x, np.float32)
    if not FLOAT32.holds(fmt) or fmt.subnormals not in _PLAIN or (narrow is not x and not (narrow == x).all()):
        return False
    flags = _survey(narrow.reshape(-1).view(np.uint32), fmt)[0]
    return not flags & _lacking(fmt) and (fmt.signed or not (narrow < 0).any())


def _lacking(fmt: FloatFormat) -> int:
    """What a survey must not meet among members of a format, whose subnormals are _PLAIN."""
    infinite, missing = unit_decode.INFINITE * (not fmt.infinities), unit_decode.NAN * (not fmt.has_nan)
    subnormal = unit_decode.SUBNORMAL * (fmt.subnormals is not Subnormals.GRADUAL)
    zero = unit_decode.ZERO * (fmt.subnormals is Subnormals.NO_ZERO)
    return unit_decode.STRANGE | infinite | missing | subnormal | zero


def quantized(x: NDArray[np.float64], fmt: FloatFormat, rounding: Rounding, overflow: Overflow) -> NDArray[np.float64]:
    """float64 x [...] rounded once."""
    result: NDArray[np.float64] = np.asarray(Quantizer(fmt, rounding, overflow).quantize(x))
    return result


def flush(x: NDArray[Any], unit: MatrixUnit, fmt: FloatFormat) -> None:
    """Subnormals of the format become zeros, in place, as the unit says."""
    if unit.ftz_in != "keep":
        tiny = np.abs(x) < fmt.smallest_normal
        x[tiny] = 0.0 if unit.ftz_in == "positive" else np.copysign(0.0, x[tiny])


def stack(x: NDArray[Any], batch: tuple[int, ...]) -> NDArray[Any]:
    """x [..., rows, columns] as contiguous [1 or batch size, rows, columns]; x itself where it is that already."""
    matrix = x.shape[-2:]
    if all(size == 1 for size in x.shape[:-2]):
        return np.ascontiguousarray(x.reshape(1, *matrix))
    if x.shape[:-2] != batch:
        x = np.array(np.broadcast_to(x, (*batch, *matrix)))
    return np.ascontiguousarray(x.reshape(int(np.prod(batch)), *matrix))


def check_scales(
    unit: MatrixUnit, scale_a: Any, scale_b: Any, a: NDArray[Any], b: NDArray[Any]
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """The scales of a unit that has them, [..., M, K/block] and [..., K/block, N]. Errors: TypeError, ValueError."""
    if unit.scale is None or unit.scale_block is None:
        if scale_a is not None or scale_b is not None:
            raise ValueError(f"scale_a or scale_b given: {unit} takes no scales; multiply the operands")
        return None, None
    if scale_a is None or scale_b is None:
        raise ValueError(f"{unit} multiplies blocks of {unit.scale_block} by scales: give scale_a= and scale_b=")
    count = -(-a.shape[-1] // unit.scale_block)
    left, right = operand(scale_a, "scale_a"), operand(scale_b, "scale_b")
    for label, scale, want in (
        ("scale_a", left, (*a.shape[:-1], count)),
        ("scale_b", right, (*b.shape[:-2], count, b.shape[-1])),
    ):
        if scale.shape != want:
            raise ValueError(f"{label} of shape {scale.shape}: blocks of {unit.scale_block} k want {want}")
        check_members(scale, unit.scale, label)
    return left, right


def take_apart(
    x: NDArray[Any], unit: MatrixUnit, side: int, batch: tuple[int, ...], scale: NDArray[Any] | None
) -> Operand:
    """An operand of a unit, side 0: a [..., M, K], 1: b [..., K, N]. Errors: ValueError for non-members."""
    fmt, label = unit.inputs[side], "ab"[side]
    with np.errstate(over="ignore", under="ignore"):
        narrow = x.astype(np.float32, copy=unit.tf32_trunc)
    if x.dtype == np.float64 and not np.array_equal(narrow, x, equal_nan=True):
        check_members(x, fmt, label, truncated=unit.tf32_trunc)
        raise ValueError(f"{label} has values that binary32 lacks: a unit that truncates its operands takes binary32")
    values = stack(narrow, batch)
    if unit.tf32_trunc:
        unit_decode.truncate(values.reshape(-1).view(np.uint32), fmt.mantissa_bits, fmt.emin)
    seen, fused = values.reshape(-1).view(np.uint32), unit.tree == "fused"
    exponents = np.empty(values.shape if fused else 0, np.int16)
    gradual = fmt.subnormals is Subnormals.GRADUAL
    met = _NOT_SEEN if fused and gradual and unit.ftz_in == "keep" else _survey(seen, fmt)
    if unit.ftz_in != "keep":
        if met[0] & unit_decode.SUBNORMAL:
            check_members(x, fmt, label, truncated=unit.tf32_trunc)  # what becomes zero is looked at before
        if met[0] & (unit_decode.SUBNORMAL | unit_decode.NEGATIVE_ZERO * (unit.ftz_in == "positive")):
            values = values.copy()
            flush(values, unit, fmt)
            seen = values.reshape(-1).view(np.uint32)
            met = _survey(seen, fmt)
    flags, lowest, highest = _exponents(seen, exponents.reshape(-1), fmt) if fused else met
    if (flags | met[0]) & _lacking(fmt):
        check_members(x, fmt, label, truncated=unit.tf32_trunc)
    finite = not flags & (unit_decode.INFINITE | unit_decode.NAN)
    weights = shifts = np.zeros((1, x.shape[-2 if side == 0 else -1], 0), np.int32)
    if scale is not None:
        each = stack(scale.astype(np.float64), batch)
        weights, shifts = _weights(each if side == 0 else each.swapaxes(-1, -2), unit)
        zero_counts = unit.inputs[1 - side].infinities or (unit.scale is not None and unit.scale.infinities)
        if not finite or not np.isfinite(each).all() or (each < 0).any() or (zero_counts and not each.all()):
            values, weights = _specials(values, each, unit, side), np.abs(weights)
            finite = bool(np.isfinite(values).all())
    return Operand(values, exponents, finite, int(lowest), int(highest), weights, shifts)


def _exponents(bits: NDArray[np.uint32], exponents: NDArray[np.int16], fmt: FloatFormat) -> tuple[int, int, int]:
    """`unit_decode.decode` of float32 bit patterns [n]: (flags, lowest, highest)."""
    ends = fmt.mantissa_bits, fmt.emin, int(np.float32(fmt.max).view(np.uint32))
    return _in_pieces(lambda i, j: unit_decode.decode(bits[i:j], exponents[i:j], *ends), bits.size)


def _survey(bits: NDArray[np.uint32], fmt: FloatFormat) -> tuple[int, int, int]:
    """`unit_decode.survey` of float32 bit patterns [n]: (flags, lowest, highest)."""
    largest, smallest = (int(np.float32(end).view(np.uint32)) for end in (fmt.max, fmt.smallest_normal))
    ends = fmt.mantissa_bits, fmt.emin, largest, smallest
    return _in_pieces(lambda i, j: unit_decode.survey(bits[i:j], *ends), bits.size)


def _in_pieces(part: Callable[[int, int], tuple[Any, ...]], size: int) -> tuple[int, int, int]:
    """(flags met, lowest, highest) of all pieces."""
    flags, lowest, highest = zip(*threads.run(part, size, _COST), strict=True)
    return reduce(or_, map(int, flags)), int(min(lowest)), int(max(highest))


def _weights(scales: NDArray[np.float64], unit: MatrixUnit) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(integer significands, exponents) of scales; a scale that is zero or NaN has none."""
    assert unit.scale is not None
    finite = np.where(np.isfinite(scales), scales, 0.0)
    exponents = np.maximum(np.frexp(finite)[1] - 1, unit.scale.emin)
    weights = np.ldexp(finite, unit.scale.mantissa_bits - exponents).astype(np.int32)
    shifts = np.where(weights != 0, exponents, unit_decode.ABSENT).astype(np.int32)
    return np.ascontiguousarray(weights), np.ascontiguousarray(shifts)


def _specials(
    values: NDArray[np.float32], scales: NDArray[np.float64], unit: MatrixUnit, side: int
) -> NDArray[np.float32]:
    """Operands times those scales that are zero, infinite or NaN, and the signs of the others.

    Zeros make NaN of infinities, or no numbers. An infinity has the signs of both scales, the other operand's too.
    """
    axis, assert_block = (-1 if side == 0 else -2), unit.scale_block
    assert assert_block is not None
    repeated = np.repeat(scales, assert_block, axis=axis)
    each = repeated[..., : values.shape[-1]] if side == 0 else repeated[..., : values.shape[-2], :]
    factors = np.where(np.isfinite(each) & (each != 0.0), np.copysign(1.0, each), each).astype(np.float32)
    with np.errstate(invalid="ignore"):
        product: NDArray[np.float32] = values * factors
    return np.ascontiguousarray(product)


def weighted(x: Operand, unit: MatrixUnit, side: int) -> Operand:
    """The operand with its scales multiplied in, exactly where its exponents say so, and no scales.

    Of a term that a scale makes zero the exponent stays far below any other.
    """
    block = unit.scale_block
    if unit.scale is None or block is None:
        return x
    scales: list[NDArray[Any]] = [scale_values(x, unit).astype(np.float32), x.shifts]
    if side == 1:  # by rows of b
        scales = [np.ascontiguousarray(s.swapaxes(-1, -2)) for s in scales]
    values, exponents = np.empty_like(x.values), np.empty_like(x.exponents)
    batches, rows, columns = values.shape

    def part(start: int, stop: int) -> tuple[Any, ...]:
        placed = scales[0], scales[1]
        return unit_decode.weigh(x.values, x.exponents, *placed, block, side == 0, values, exponents, start, stop)

    lowest, highest = zip(*threads.run(part, batches * rows, _COST * columns), strict=True)
    return x._replace(values=values, exponents=exponents, lowest=int(min(lowest)), highest=int(max(highest)))


def scale_values(x: Operand, unit: MatrixUnit) -> NDArray[np.float64]:
    """The values of an operand's scales, float64 [.., rows or columns, K/block]; 0 of what is none."""
    assert unit.scale is not None
    return np.ldexp(x.weights.astype(np.float64), np.where(x.weights != 0, x.shifts - unit.scale.mantissa_bits, 0))


def ordered(x: Operand, side: int, order: NDArray[np.int64] | None) -> Operand:
    """The operand with its k in another order; k beyond the last stands for what is no term."""
    if order is None:
        return x
    axis = 2 - side
    return x._replace(
        values=np.take(longer(x.values, axis, 1), order, axis),
        exponents=np.take(longer(x.exponents, axis, 1), order, axis),
    )


def longer(x: NDArray[Any], axis: int, count: int, filler: int | None = None) -> NDArray[Any]:
    """The array with `count` more places along the axis; filler None: values or exponents of what are no terms."""
    if count == 0:
        return x
    filler = filler if filler is not None else unit_decode.ABSENT if x.dtype == np.int16 else 0
    return np.concatenate([x, np.full_like(np.take(x, [0] * count, axis), filler)], axis)
