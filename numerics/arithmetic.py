"""Correctly rounded operators on arrays: the exact result of each element, rounded once as a quantizer says.

Operands are taken as given: float32 or float64 arrays of any values, not only members of the format; they broadcast.
The result has their common dtype, and is exact for formats as wide as float64, binary64 itself included, in every
rounding mode. Infinities, NaN and the signs of zeros are those of IEEE 754: inf - inf, 0 * inf, 0/0, inf/inf and the
root of a negative are NaN, x/0 is an infinity, which then meets the quantizer's overflow rule, sqrt(-0) is -0, and an
exact zero sum of unlike terms is +0, in RTN -0. tests/numerics/test_arithmetic.py holds every operator against exact
rationals. Model: Berkeley HardFloat, where each operator delivers an exact or sticky raw result to one rounder.
"""

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from .brief import NO_WORDS
from .formats import FloatFormat
from .formats.naming import made_from, named
from .kernels import modes, threads
from .kernels.arithmetic import ADD, DIV, FMA, MUL, SQRT, SUB, make_arithmetic, narrow, widen
from .operands import as_array
from .parameters import FLOAT64, carrier_of, check_dtype, parameter_row
from .quantizer import FloatArray, Quantizer, array_out
from .rounding import Overflow
from .words import counters, given_words, needed_seed, random_words, refuse_words

_COST = 3.0  # nanoseconds of an element
_BLOCK = 1 << 14  # elements that a call of the loop takes

_SENTENCE = {
    ADD: "{} + {}",
    SUB: "{} - {}",
    MUL: "{} * {}",
    DIV: "{} / {}",
    SQRT: "sqrt({})",
    FMA: "{} * {} + {}",
}


class Options(TypedDict, total=False):
    """What every operator takes: random words as `Quantizer.quantize` (element i in C order of the result), and out.

    out: an array of the result's shape and dtype, written and returned; one of the operands or disjoint from them.
    """

    seed: int | None
    stream: int
    offset: int
    words: Any
    out: FloatArray | None


def add(x: Any, y: Any, quantizer: Quantizer, **options: Unpack[Options]) -> Any:
    """x + y, rounded once: float32 or float64 [...] and [...] that broadcast -> their common shape and dtype.

    Errors: TypeError for other dtypes and for a quantizer of another family of formats; ValueError for shapes that do
    not broadcast, a float32 result where the format needs more, NaN where the format has none, a negative result where
    it is unsigned without NaN, neither seed nor words in a stochastic mode; OverflowError under Overflow.ERROR.
    """
    return _apply(ADD, (x, y), quantizer, **options)


def sub(x: Any, y: Any, quantizer: Quantizer, **options: Unpack[Options]) -> Any:
    """x - y, rounded once. Shapes and errors as in `add`."""
    return _apply(SUB, (x, y), quantizer, **options)


def mul(x: Any, y: Any, quantizer: Quantizer, **options: Unpack[Options]) -> Any:
    """x * y, rounded once. Shapes and errors as in `add`."""
    return _apply(MUL, (x, y), quantizer, **options)


def div(x: Any, y: Any, quantizer: Quantizer, **options: Unpack[Options]) -> Any:
    """x / y, rounded once. Shapes and errors as in `add`."""
    return _apply(DIV, (x, y), quantizer, **options)


def sqrt(x: Any, quantizer: Quantizer, **options: Unpack[Options]) -> Any:
    """The square root of x, rounded once. Shapes and errors as in `add`."""
    return _apply(SQRT, (x,), quantizer, **options)


def fma(x: Any, y: Any, z: Any, quantizer: Quantizer, **options: Unpack[Options]) -> Any:
    """x * y + z, rounded once: the product is exact. Shapes and errors as in `add`."""
    return _apply(FMA, (x, y, z), quantizer, **options)


def add_named(x: Any, y: Any, quantizer: Quantizer, place: Callable[[int], str], words: Any = None) -> Any:
    """`add` of arrays that are no caller's own: place(i) is what errors call element i, in C order."""
    return _apply(ADD, (x, y), quantizer, words=words, place=place)


def _apply(
    operation: int,
    operands: tuple[Any, ...],
    quantizer: Quantizer,
    *,
    seed: int | None = None,
    stream: int = 0,
    offset: int = 0,
    words: Any = None,
    out: FloatArray | None = None,
    place: Callable[[int], str] = "element {}".format,
) -> NDArray[Any]:
    fmt = _float_format(quantizer)
    arrays, shape, dtype = _common(operands)
    if not carrier_of(dtype).holds(fmt):
        raise ValueError(f"{fmt} has values that {dtype} does not hold: use float64 arrays")
    result = np.empty(shape, dtype)
    for array in arrays if out is not None else ():
        result = array_out(out, array, dtype)
    given, first = _random(quantizer, shape, seed, stream, offset, words, out)
    errors = _errors(fmt, quantizer.overflow)
    # A result that must be refused leaves the caller's array as it was.
    direct = result.flags.c_contiguous and not (errors and out is not None)
    flat = result.reshape(-1) if direct else np.empty(result.size, dtype)
    flat_operands = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    loop = make_arithmetic(operation)
    row = parameter_row(fmt, quantizer.rounding, quantizer.overflow, quantizer.random_bits, FLOAT64)
    mode = int(quantizer.rounding)

    def part(start: int, stop: int) -> tuple[int, int]:
        """(element, its flags) of the first error in [start, stop), flags 0 if there is none."""
        for begin in range(start, stop, _BLOCK):
            here = slice(begin, min(begin + _BLOCK, stop))
            # An operator with fewer than three operands does not look at the others.
            x, y, z = ([_widened(operand[here]) for operand in flat_operands] * 3)[:3]
            drawn = given[here]
            if first is not None:
                bits, number = quantizer.random_bits or 32, (first + begin) % (1 << 64)
                drawn = random_words(x.size, bits, seed=seed or 0, stream=stream, offset=number)
            rounded = flat[here] if dtype == np.float64 else np.empty(x.size)
            done, flags = loop(x, y, z, rounded, drawn, row, mode, errors)
            if flags:
                return begin + done, flags
            if dtype == np.float32:
                narrow(rounded, flat[here])
        return stop, 0

    for where, flags in threads.run(part, flat.size, _COST):
        if flags:
            values = [array.flat[where] for array in arrays]
            _refuse(_SENTENCE[operation].format(*values), place(where), flags, fmt)
    if not direct:
        result[...] = flat.reshape(shape)
    return result


def _float_format(quantizer: Quantizer) -> FloatFormat:
    if not isinstance(quantizer, Quantizer):
        raise TypeError(f"{named(quantizer)} in place of a quantizer: give {made_from(quantizer, 'Quantizer')}")
    if not isinstance(quantizer.fmt, FloatFormat):
        raise TypeError(
            f"{quantizer.fmt} is not a float format: these operators round to a FloatFormat (numerics.logscale has some on"
            " the codes of log formats; posits, fixed point and blocks have none yet)"
        )
    return quantizer.fmt


def _common(operands: tuple[Any, ...]) -> tuple[list[NDArray[Any]], tuple[int, ...], np.dtype[Any]]:
    """The operands as arrays of the result's shape, and that shape and dtype."""
    arrays = [as_array(x, f"operand {i}", "a float32 or float64 array") for i, x in enumerate(operands, 1)]
    for array in arrays:
        check_dtype(array.dtype)
    shapes = [array.shape for array in arrays]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"operands of shapes {' and '.join(map(str, shapes))} do not broadcast") from None
    return [a if a.shape == shape else np.broadcast_to(a, shape) for a in arrays], shape, np.result_type(*arrays)


def _widened(x: NDArray[Any]) -> NDArray[np.float64]:
    """x itself, or its values in float64."""
    if x.dtype == np.float64:
        return x
    wide = np.empty(x.size)
    widen(x, wide)
    return wide


def _random(
    quantizer: Quantizer, shape: tuple[int, ...], seed: Any, stream: Any, offset: Any, words: Any, out: Any
) -> tuple[NDArray[np.uint32], int | None]:
    """(the caller's words or none, the number of the first word to draw or None)."""
    name = quantizer.rounding.name
    _, _, first = counters(seed, stream, offset)
    if not quantizer.stochastic:
        refuse_words(words, name)
        return NO_WORDS, None
    if words is not None:
        return given_words(words, shape, quantizer.random_bits or 32, out).reshape(-1), None
    needed_seed(seed, name, shape)
    return NO_WORDS, first


def _errors(fmt: FloatFormat, overflow: Overflow) -> int:
    """What the loop has to stop at: a sum of SAW_ constants."""
    return (0 if fmt.has_nan else modes.SAW_NAN | (0 if fmt.signed else modes.SAW_NEGATIVE)) | (
        modes.SAW_OVERFLOW if overflow is Overflow.ERROR else 0
    )


def _refuse(what: str, where: str, flags: int, fmt: FloatFormat) -> None:
    if flags & modes.SAW_NEGATIVE:
        raise ValueError(f"{what} at {where} is negative: {fmt} is unsigned and has no NaN")
    if flags & modes.SAW_NAN:
        raise ValueError(f"{what} at {where} is NaN: {fmt} has no NaN; change the operands or the format")
    raise OverflowError(
        f"{what} at {where} is beyond {fmt.max}, the largest value of {fmt};"
        " scale the operands or choose another Overflow rule"
    )
