"""What a matrix unit is given: arrays checked against its formats, and taken apart into exponents and scales."""

from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .formats import FloatFormat
from .kernels import threads, unit_decode
from .matrix_unit import MatrixUnit
from .operands import operand
from .quantizer import Quantizer
from .rounding import Overflow, Rounding

GRAIN = 1 << 16  # elements below which another thread costs more than it saves


class Operand(NamedTuple):
    """An operand of a fused unit, [1 or B, M, K] or [1 or B, K, N]; its scales as [.., rows or columns, K/block]."""

    values: NDArray[np.float32]
    exponents: NDArray[np.int32]  # unit_decode.ABSENT where there is no term
    finite: bool
    lowest: int  # exponents of the smallest and largest terms
    highest: int
    weights: NDArray[np.int32]  # integer significands of scales
    shifts: NDArray[np.int32]  # their exponents


def check_members(x: NDArray[Any], fmt: FloatFormat, label: str, *, truncated: bool = False) -> None:
    """Refuse values of x [...] that the format lacks, naming the first; truncated: its low bits will be dropped."""
    wide = x.astype(np.float64)
    finite = np.where(np.isfinite(wide), wide, 0.0)
    kept = quantized(finite, fmt, Rounding.RTZ, Overflow.SATURATE)
    fits = np.abs(finite) < fmt.max + 2.0 ** (fmt.emax - fmt.mantissa_bits) if truncated else kept == finite
    special = (np.isinf(wide) & fmt.infinities) | (np.isnan(wide) & fmt.has_nan)
    same = np.where(np.isfinite(wide), fits, special)
    if not np.all(same):
        where = tuple(int(i) for i in np.unravel_index(int(np.argmin(same)), x.shape))
        at = f"{label}[{', '.join(map(str, where))}]" if where else label
        raise ValueError(f"{at} is {x[where]!s}, no value of {fmt}: round it first, by Quantizer(format).quantize")


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
    """An operand of a fused unit, side 0: a [..., M, K], 1: b [..., K, N]. Errors: ValueError for non-members."""
    fmt, label = unit.inputs[side], "ab"[side]
    with np.errstate(over="ignore", under="ignore"):
        narrow = x.astype(np.float32, copy=unit.tf32_trunc or unit.ftz_in != "keep")
    if x.dtype == np.float64 and not np.array_equal(narrow, x, equal_nan=True):
        check_members(x, fmt, label, truncated=unit.tf32_trunc)
        raise ValueError(f"{label} has values that binary32 lacks: a unit that truncates its operands takes binary32")
    values = stack(narrow, batch)
    if unit.tf32_trunc:
        unit_decode.truncate(values.reshape(-1).view(np.uint32), fmt.mantissa_bits, fmt.emin)
    if unit.ftz_in != "keep" and _has_subnormals(values.reshape(-1), fmt):
        check_members(x, fmt, label, truncated=unit.tf32_trunc)  # what becomes zero is looked at before
    flush(values, unit, fmt)
    exponents = np.empty(values.shape, np.int32)
    flags, lowest, highest = _exponents(values.reshape(-1).view(np.uint32), exponents.reshape(-1), fmt)
    lacking = unit_decode.NAN * (not fmt.has_nan) | unit_decode.INFINITE * (not fmt.infinities)
    if flags & (unit_decode.STRANGE | lacking):
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


def _has_subnormals(x: NDArray[np.float32], fmt: FloatFormat) -> bool:
    """Whether a number of x [n] that is not zero is below the format's smallest normal."""

    def part(start: int, stop: int) -> int:
        own = x[start:stop]
        return int(((np.abs(own) < fmt.smallest_normal) & (own != 0)).any())

    return bool(threads.run_flags(part, x.size, GRAIN))


def _exponents(bits: NDArray[np.uint32], exponents: NDArray[np.int32], fmt: FloatFormat) -> tuple[int, int, int]:
    """`unit_decode.decode` of float32 bit patterns [n]: (flags, lowest, highest)."""
    largest = int(np.float32(fmt.max).view(np.uint32))

    def part(start: int, stop: int) -> tuple[int, ...]:
        own, out = bits[start:stop], exponents[start:stop]
        return unit_decode.decode(own, out, fmt.mantissa_bits, fmt.emin, largest)

    flags, lowest, highest = zip(*threads.run(part, bits.size, GRAIN), strict=True)
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
    if unit.scale is None or unit.scale_block is None:
        return x
    scales, shifts = (_placed(s, side) for s in (scale_values(x, unit).astype(np.float32), x.shifts))
    blocks = _in_blocks(x.values, side, unit.scale_block), _in_blocks(x.exponents, side, unit.scale_block)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values = _cropped(blocks[0] * scales, x.values.shape, side)
    exponents = _cropped(blocks[1] + shifts, x.values.shape, side)
    highest, least = int(exponents.max(initial=2 * unit_decode.ABSENT)), unit_decode.ABSENT // 2 + 1
    if highest < least:
        return x._replace(
            values=values, exponents=exponents, lowest=-2 * unit_decode.ABSENT, highest=unit_decode.ABSENT
        )
    # As unsigned numbers those of what is no term, far below all others, are above them.
    lowest = int((exponents - np.int32(least)).view(np.uint32).min()) + least
    return x._replace(values=values, exponents=exponents, lowest=lowest, highest=highest)


def scale_values(x: Operand, unit: MatrixUnit) -> NDArray[np.float64]:
    """The values of an operand's scales, float64 [.., rows or columns, K/block]; 0 of what is none."""
    assert unit.scale is not None
    return np.ldexp(x.weights.astype(np.float64), np.where(x.weights != 0, x.shifts - unit.scale.mantissa_bits, 0))


def _placed(scales: NDArray[Any], side: int) -> NDArray[Any]:
    """Scales [B, rows or columns, n] beside operands in blocks: [B, M, n, 1] or [B, n, 1, N]."""
    return scales[..., None] if side == 0 else np.ascontiguousarray(scales.swapaxes(-1, -2))[:, :, None, :]


def _in_blocks(x: NDArray[Any], side: int, block: int) -> NDArray[Any]:
    """a [B, M, K] as [B, M, n, block], b [B, K, N] as [B, n, block, N], filled up with zeros."""
    axis = 2 - side
    missing = -x.shape[axis] % block
    widths = [(0, 0)] * axis + [(0, missing)] + [(0, 0)] * side
    whole = np.pad(x, widths) if missing else x
    return whole.reshape(*whole.shape[:axis], -1, block, *whole.shape[axis + 1 :])


def _cropped(x: NDArray[Any], shape: tuple[int, ...], side: int) -> NDArray[Any]:
    """Blocks as one row or column again, without what they were filled up with."""
    depth = shape[2 - side]
    if side == 0:
        return np.ascontiguousarray(x.reshape(*x.shape[:2], -1)[..., :depth])
    return np.ascontiguousarray(x.reshape(x.shape[0], -1, x.shape[-1])[:, :depth])


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
    filler = filler if filler is not None else unit_decode.ABSENT if x.dtype == np.int32 else 0
    return np.concatenate([x, np.full_like(np.take(x, [0] * count, axis), filler)], axis)
