"""What is refused of the result of a product: a type that lacks members, overflows that are errors, a NaN without code."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accumulator import Accumulator
from .formats import FixedFormat, FloatFormat
from .parameters import carrier_of
from .problem import Caller
from .quantizer import Quantizer
from .rounding import Overflow


def check_output(dtype: np.dtype[Any], accumulator: Accumulator) -> None:
    """Refuse a dtype of the result that does not hold every member of the output format."""
    output = accumulator.combining.format
    if not carrier_of(dtype).holds(output):
        remedy = "encode=True for its codes" if isinstance(output, FixedFormat) else "float64 operands"
        raise ValueError(f"{output} has values that {dtype} does not hold: give {remedy}")


def check_result(result: NDArray[Any], accumulator: Accumulator, names: Caller | None = None) -> None:
    """Operands were finite, so what is not finite here overflowed on the way; raise where that is an error.

    names: how sentences name the outputs, None where the result has the caller's shape.
    """
    fmt = accumulator.combining.format
    if isinstance(fmt, FixedFormat):
        return
    names = Caller((), (), None, result.shape) if names is None else names
    parts = (accumulator, accumulator.product, accumulator.combining)
    strict = any(part is not None and part.overflow is Overflow.ERROR for part in parts)
    if strict and not (finite := np.isfinite(result)).all():
        where = names.output(int(np.argmin(finite)))
        raise OverflowError(
            f"the accumulation of {where} overflows {overflowed(accumulator)};"
            " scale the operands or choose another Overflow rule"
        )
    if not fmt.has_nan and (bad := np.isnan(result)).any():
        where = names.output(int(np.argmax(bad)))
        raise ValueError(
            f"{where} is NaN (an overflow became one, or infinity - infinity), and {fmt} has none;"
            " use SATURATE or a format with NaN"
        )


def overflowed(accumulator: Accumulator) -> str:
    """The formats whose overflow is an error, with their ends: which one it was, a mark of an overflow does not tell."""
    parts: list[tuple[str, Accumulator | Quantizer | None]] = [("", accumulator)]
    parts += [(" in its products", accumulator.product), (" in the sum of chunks", accumulator.outer)]
    found = []
    for where, part in parts:
        if part is not None and part.overflow is Overflow.ERROR:
            fmt = part.fmt if isinstance(part, Quantizer) else part.format
            assert isinstance(fmt, FloatFormat | FixedFormat)
            ends = f"{fmt.min} to {fmt.max}" if isinstance(fmt, FixedFormat) else f"largest {fmt.max}"
            found.append(f"{fmt} ({ends}){where}")
    return ", or ".join(found)
