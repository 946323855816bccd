"""Products with a declared accumulator."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .kernels import gemm, threads
from .parameters import Carrier, carrier_of, parameter_row
from .plan import Plan, choose, facts
from .quantizer import Quantizer
from .rounding import Overflow
from .words import counter

MACS_PER_PIECE = 1 << 17  # multiply-accumulates below which another thread costs more than it saves
NARROW = 32  # columns below which the lanes run along the rows of the output instead


def matmul(
    a: Any,
    b: Any,
    accumulator: Accumulator,
    *,
    c: Any = None,
    seed: int | None = None,
    stream: int = 0,
    words: Any = None,
) -> NDArray[Any]:
    """c + a @ b, every step rounded as the accumulator says, k ascending; bit-exact for any shape and thread count.

    a [..., M, K], b [..., K, N], c broadcast to [..., M, N]; float32 or float64, taken as given (quantize first). Batch
    dimensions broadcast. Returns [..., M, N] of result_type(a, b). K = 0 gives c (or +0) rounded once; K = 1
    makes every step that the accumulator declares, product, sum and outer sum, once. An exact sum of zero has IEEE
    754's sign. The accumulator's precision is held against the operands only where there is something to compute.
    Errors: TypeError for other dtypes; ValueError for shapes that do not match, non-finite operands, an accumulator or
    products that no carrier holds exactly, a result dtype that lacks members of the output format; OverflowError
    under Overflow.ERROR.
    """
    if not isinstance(accumulator, Accumulator):
        raise TypeError(f"accumulator {str(accumulator)[:60]!r}: give an Accumulator, such as Accumulator(format)")
    for label, value in (("seed", seed or 0), ("stream", stream)):
        counter(label, value)
    if words is not None:
        raise ValueError("words given for a deterministic accumulator: random words belong to SR, SR_B and SR_C")
    left, right = _operand(a, "a"), _operand(b, "b")
    dtype = np.result_type(left, right)
    shape = result_shape(left, right)
    output = accumulator.combining.format
    if not carrier_of(dtype).holds(output):
        raise ValueError(f"{output} has values that {dtype} does not hold: give float64 operands")
    addend = None if c is None else _addend(c, shape)
    known = facts(left, "a"), facts(right, "b"), None if addend is None else facts(addend, "c")
    addend = None if addend is None else np.broadcast_to(addend, shape)
    if left.shape[-1] == 0:
        return _rounded_addend(addend, shape, dtype, accumulator)
    if 0 in shape:
        return np.empty(shape, dtype)
    plan = choose(accumulator, *known)
    result = _product(plan, left, right, addend, shape, accumulator).astype(dtype, copy=False)
    check_result(result, accumulator)
    return result


def dot(a: Any, b: Any, accumulator: Accumulator, *, c: Any = None, **options: Any) -> Any:
    """c + sum of a[k] * b[k] for one-dimensional a, b [K]: `matmul` of a row and a column, as a numpy scalar."""
    left, right = np.asarray(a), np.asarray(b)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(f"dot of shapes {left.shape} and {right.shape}: give two vectors of one length, or use matmul")
    if c is not None and np.ndim(c) != 0:
        raise ValueError(f"c of shape {np.shape(c)}: the sum of a dot product is one number, and so is c")
    addend = None if c is None else np.asarray(c).reshape(1, 1)
    return matmul(left[None, :], right[:, None], accumulator, c=addend, **options)[0, 0]


def _operand(x: Any, label: str) -> NDArray[Any]:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{label} is a masked array: its mask would be lost; give x.filled(value)")
    array = np.asarray(x)
    if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        raise TypeError(f"{label} of dtype {array.dtype}: give a float32 or float64 array")
    if array.ndim < 2:
        raise ValueError(f"{label} of shape {array.shape}: give a matrix (dot takes vectors)")
    return array


def _addend(c: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.asarray(c)
    if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        raise TypeError(f"c of dtype {array.dtype}: give a float32 or float64 array")
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"c of shape {array.shape} does not broadcast to the result's {shape}")
    return array


def result_shape(a: NDArray[Any], b: NDArray[Any]) -> tuple[int, ...]:
    """Shape of a @ b. Errors: ValueError for dimensions that do not match or broadcast."""
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"a {a.shape} and b {b.shape} do not match: a's last dimension {a.shape[-1]} against"
            f" b's last but one {b.shape[-2]}"
        )
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"batch dimensions {a.shape[:-2]} and {b.shape[:-2]} do not broadcast") from None
    return (*batch, a.shape[-2], b.shape[-1])


def _rounded_addend(c: Any, shape: tuple[int, ...], dtype: np.dtype[Any], accumulator: Accumulator) -> NDArray[Any]:
    last = accumulator.combining
    values = np.zeros(shape, dtype) if c is None else np.ascontiguousarray(c, dtype=np.float64)
    rounded: NDArray[Any] = Quantizer(last.format, last.rounding, last.overflow, last.random_bits).quantize(values)
    return rounded.astype(dtype)


def panels(x: NDArray[Any], batch: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """x as contiguous [1 or batch size, rows, columns] of dtype; a copy only where the layout or dtype asks for it."""
    matrix = x.shape[-2:]
    if all(size == 1 for size in x.shape[:-2]):
        return np.ascontiguousarray(x.reshape(1, *matrix), dtype=dtype)
    size = int(np.prod(batch))
    return np.ascontiguousarray(np.broadcast_to(x, (*batch, *matrix)).reshape(size, *matrix), dtype=dtype)


def _product(
    plan: Plan,
    a: NDArray[Any],
    b: NDArray[Any],
    c: NDArray[Any] | None,
    shape: tuple[int, ...],
    accumulator: Accumulator,
) -> NDArray[Any]:
    if shape[-1] < NARROW and shape[-2] > shape[-1]:
        swapped = (*shape[:-2], shape[-1], shape[-2])
        turned = None if c is None else c.swapaxes(-1, -2)
        product = _product(plan, b.swapaxes(-1, -2), a.swapaxes(-1, -2), turned, swapped, accumulator)
        return product.swapaxes(-1, -2).copy()
    batch = shape[:-2]
    dtype = plan.carrier.dtype
    a, b = panels(a, batch, dtype), panels(b, batch, dtype)
    total = np.zeros((int(np.prod(batch)), *shape[-2:]), dtype) if c is None else panels(c, batch, dtype).copy()
    if total.shape[0] == 1 != int(np.prod(batch)):
        total = np.repeat(total, int(np.prod(batch)), axis=0)
    launch(plan, accumulator, a, b, total)
    return total.reshape(shape)


def launch(plan: Plan, accumulator: Accumulator, a: NDArray[Any], b: NDArray[Any], total: NDArray[Any]) -> None:
    """Run the planned kernel on contiguous [1 or B, M, K], [1 or B, K, N] and [B, M, N] of the plan's carrier."""
    kernel = gemm.make_gemm(plan.mode, plan.product_mode, plan.outer_mode, int(plan.normalise))
    product = accumulator.product
    watched = product is not None and product.overflow is Overflow.ERROR
    row = _row(accumulator, plan.carrier, watched)
    product_row = (
        row
        if product is None
        else parameter_row(product.fmt, product.rounding, product.overflow, product.random_bits, plan.carrier)
    )
    outer_row = _row(accumulator.combining, plan.carrier, watched or accumulator.overflow is Overflow.ERROR)
    batches, rows, columns = total.shape
    depth = a.shape[-1]
    chunk = min(accumulator.chunk or depth, depth)
    grain = max(1, MACS_PER_PIECE // max(1, depth * columns))
    threads.run(lambda i, j: kernel(a, b, total, row, product_row, outer_row, chunk, i, j), batches * rows, grain)


def _row(accumulator: Accumulator, carrier: Carrier, watched: bool) -> NDArray[Any]:
    """The accumulator's parameter row; watched: what it adds may carry the mark of an overflow to be reported."""
    bits = accumulator.random_bits
    return parameter_row(accumulator.format, accumulator.rounding, accumulator.overflow, bits, carrier, watched)


def check_result(result: NDArray[Any], accumulator: Accumulator) -> None:
    """Operands were finite, so what is not finite here overflowed on the way; raise where that is an error."""
    parts = (accumulator, accumulator.product, accumulator.combining)
    fmt = accumulator.combining.format
    strict = any(part is not None and part.overflow is Overflow.ERROR for part in parts)
    if strict and not (finite := np.isfinite(result)).all():
        where = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), result.shape))
        raise OverflowError(
            f"the accumulation of output {where} overflows {accumulator.format} (largest {accumulator.format.max});"
            " scale the operands or choose another Overflow rule"
        )
    if not fmt.has_nan and (bad := np.isnan(result)).any():
        where = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), result.shape))
        raise ValueError(
            f"output {where} is NaN (an overflow became one, or infinity - infinity), and {fmt} has none;"
            " use SATURATE or a format with NaN"
        )
