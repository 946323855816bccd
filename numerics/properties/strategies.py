"""Hypothesis strategies for formats, codepoints, values where bugs live, words, dot products and N:M blocks.

All shrink to what reads easily: few bits, small codes, members before ties before anything between, word 0.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from numpy.typing import NDArray

from .. import catalog, reference
from ..formats import (
    BlockFormat,
    ElementFormat,
    FixedFormat,
    FloatFormat,
    Format,
    LogFormat,
    NanEncoding,
    PositFormat,
    ScaleRule,
    Subnormals,
)
from ..quantizer import Quantizer
from ..rounding import Rounding

#: RNL is for logarithmic formats alone.
MODES = tuple(mode for mode in Rounding if mode.name != "RNL")
DETERMINISTIC = tuple(mode for mode in MODES if not mode.stochastic)
STOCHASTIC = tuple(mode for mode in MODES if mode.stochastic)


@st.composite
def float_formats(
    draw: DrawFn,
    *,
    min_mantissa_bits: int = 0,
    max_mantissa_bits: int = 9,
    subnormals: Sequence[Subnormals] = tuple(Subnormals),
    nans: Sequence[NanEncoding] = tuple(NanEncoding),
    signed: bool | None = None,
) -> FloatFormat:
    """A FloatFormat of any kind whose values are normal numbers of float32, and so are those a little below."""
    exponent_bits = draw(st.integers(0 if Subnormals.GRADUAL in subnormals else 1, 5))
    mantissa_bits = draw(st.integers(max(min_mantissa_bits, 0 if exponent_bits > 1 else 2), max_mantissa_bits))
    nan = draw(st.sampled_from(nans))
    infinities = draw(st.booleans())
    kind = draw(st.sampled_from(subnormals))
    is_signed = draw(st.booleans()) if signed is None else signed
    if exponent_bits == 0:
        kind, nan = Subnormals.GRADUAL, NanEncoding.TOP_CODE if nan is NanEncoding.IEEE else nan
    if mantissa_bits == 0 and nan is NanEncoding.IEEE:
        infinities = False
    if not is_signed and nan is NanEncoding.NEGATIVE_ZERO:
        nan = NanEncoding.NONE
    middle = (1 << exponent_bits) // 2
    bias = draw(st.integers(-40 + middle, 40 + middle))
    try:
        return FloatFormat(
            exponent_bits, mantissa_bits, bias, signed=is_signed, subnormals=kind, infinities=infinities, nan=nan
        )
    except ValueError:  # one exponent bit, taken by infinity and NaN
        assume(False)
        raise


@st.composite
def fixed_formats(draw: DrawFn, *, max_bits: int = 16, signed: bool | None = None) -> FixedFormat:
    """A FixedFormat with its point inside, before or behind its bits."""
    is_signed = draw(st.booleans()) if signed is None else signed
    bits = draw(st.integers(2, max_bits))
    fraction_bits = draw(st.integers(-4, max_bits + 4))
    return FixedFormat(bits, fraction_bits, signed=is_signed, symmetric=is_signed and draw(st.booleans()))


@st.composite
def log_formats(draw: DrawFn, *, signed: bool | None = None) -> LogFormat:
    """A LogFormat of up to 11 bits."""
    integer_bits = draw(st.integers(1, 4))
    bias = draw(st.integers(-2, 1 << integer_bits))
    return LogFormat(
        integer_bits, draw(st.integers(0, 5)), bias=bias, signed=draw(st.booleans()) if signed is None else signed
    )


def posit_formats(*, max_bits: int = 16) -> SearchStrategy[PositFormat]:
    """A posit of 3 to max_bits bits."""
    return st.integers(3, max_bits).map(PositFormat)


@st.composite
def block_formats(
    draw: DrawFn,
    *,
    max_block: int = 9,
    rules: Sequence[ScaleRule] = tuple(ScaleRule),
    scales: Sequence[FloatFormat] = (
        catalog.E8M0,
        catalog.E8M0,
        catalog.E4M3,
        catalog.E5M2,
        catalog.BFLOAT16,
        catalog.E4M3FNUZ,
    ),
) -> BlockFormat:
    """A BlockFormat: float or fixed-point elements, any kind of scale that fits the rule."""
    kinds = (Subnormals.GRADUAL, Subnormals.FLUSH, Subnormals.NORMAL_BINADE)
    element = draw(st.one_of(float_formats(subnormals=kinds), fixed_formats()))
    scale = draw(st.sampled_from(scales))
    rule = draw(st.sampled_from(tuple(rules)))
    tensor_scale = rule is ScaleRule.RATIO and draw(st.booleans())
    try:
        return BlockFormat(element, scale, draw(st.integers(1, max_block)), rule=rule, tensor_scale=tensor_scale)
    except ValueError:
        assume(False)
        raise


def formats(*, blocks: bool = False) -> SearchStrategy[Format]:
    """A format of any family: float, fixed point, logarithm, posit; with blocks=True also blocks of them."""
    found: list[SearchStrategy[Any]] = [float_formats(), fixed_formats(), log_formats(), posit_formats()]
    return st.one_of(*found, *([block_formats()] if blocks else []))


def codepoints(fmt: ElementFormat) -> SearchStrategy[int]:
    """A codepoint of the format; the ends more often."""
    last = (1 << fmt.bits) - 1
    return st.one_of(st.sampled_from(sorted({0, 1, fmt.largest_code, last})), st.integers(0, last))


def members(fmt: ElementFormat) -> SearchStrategy[float]:
    """A nonnegative finite member of the format."""
    codes = st.one_of(st.integers(0, fmt.largest_code), st.sampled_from([0, 1, fmt.largest_code]))
    return codes.map(lambda code: reference.decode_code(code, fmt))


#: One float to a side or none; drawn first, so that a case shrinks to a tie rather than to the float beside a member.
_BESIDE = st.sampled_from([0, 0, 0, -1, 1])


@st.composite
def magnitudes(draw: DrawFn, fmt: ElementFormat) -> float:
    """A nonnegative float64: a member, a midpoint, a point between, the ends of the format, or anything near."""
    if not isinstance(fmt, FloatFormat):
        return draw(_magnitudes_between_codes(fmt))
    ulps = draw(_BESIDE)
    value = draw(members(fmt))
    if fmt.subnormals is Subnormals.FULL_BINADE and draw(st.integers(0, 9)) == 0:
        value = math.ldexp(1.0, fmt.emin)
    exponent = math.frexp(value)[1] - 1 if value else fmt.emin
    step = math.ldexp(1.0, exponent - fmt.mantissa_bits)
    if fmt.subnormals is Subnormals.GRADUAL:
        step = max(step, fmt.smallest_subnormal)
    kind = draw(st.sampled_from(["member", "tie", "between", "below", "beyond", "any"]))
    if kind == "tie":
        value += step / 2
    elif kind == "between":
        bits = draw(st.integers(1, 12))
        value += step * draw(st.integers(0, 1 << bits)) / (1 << bits)
    elif kind == "below":
        value = fmt.smallest_normal * draw(st.integers(0, 1 << 12)) / (1 << 11)
    elif kind == "beyond":
        value = fmt.max * (1 + draw(st.integers(0, 1 << 12)) / (1 << 11))
    elif kind == "any":
        value = draw(st.floats(0, 1, allow_subnormal=True)) * math.ldexp(1.0, draw(st.integers(-140, 120)))
    return float(np.nextafter(value, math.inf if ulps > 0 else 0)) if ulps else value


@st.composite
def _magnitudes_between_codes(draw: DrawFn, fmt: ElementFormat) -> float:
    """The same by the codes, of families whose steps follow no simple rule."""
    ulps = draw(_BESIDE)
    code = draw(st.one_of(st.integers(0, fmt.largest_code), st.sampled_from([0, 1, fmt.largest_code])))
    value = reference.decode_code(code, fmt)
    above = reference.decode_code(code + 1, fmt) if code < fmt.largest_code else 2 * value or 1.0
    kind = draw(st.sampled_from(["member", "tie", "between", "beyond", "any"]))
    if kind == "tie":
        value += (above - value) / 2
    elif kind == "between":
        bits = draw(st.integers(1, 12))
        value += (above - value) * (draw(st.integers(0, 1 << bits)) / (1 << bits))
    elif kind == "beyond":
        value = fmt.max * (1 + draw(st.integers(0, 1 << 12)) / (1 << 11))
    elif kind == "any":
        value = draw(st.floats(0, 1, allow_subnormal=True)) * math.ldexp(1.0, draw(st.integers(-140, 120)))
    return float(np.nextafter(value, math.inf if ulps > 0 else 0)) if ulps else value


@st.composite
def values(draw: DrawFn, fmt: ElementFormat, dtype: Any = np.float64) -> Any:
    """A finite value of dtype, of either sign where the format has one; both zeros."""
    magnitude = dtype(min(draw(magnitudes(fmt)), float(np.finfo(dtype).max)))
    if dtype is np.float32 and draw(st.booleans()):  # the neighbours of a tie that float32 has
        magnitude = np.nextafter(magnitude, dtype(draw(st.sampled_from([0.0, float(np.finfo(dtype).max)]))))
    negative = fmt.signed and draw(st.booleans())
    return dtype(-magnitude if negative else magnitude)


def arrays_of_values(
    fmt: ElementFormat, dtype: Any = np.float64, *, min_size: int = 1, max_size: int = 24
) -> SearchStrategy[NDArray[Any]]:
    """A one-dimensional array of such values."""
    return st.lists(values(fmt, dtype), min_size=min_size, max_size=max_size).map(lambda items: np.array(items, dtype))


def words(random_bits: int) -> SearchStrategy[int]:
    """A random word: the ends, or anything."""
    last = (1 << random_bits) - 1
    return st.one_of(st.sampled_from(sorted({0, 1, last, last // 2 + 1})), st.integers(0, last))


@st.composite
def randomness(draw: DrawFn, mode: Rounding, size: int) -> tuple[int | None, dict[str, Any]]:
    """(random_bits for the quantizer, keyword arguments with the words), both empty for a deterministic mode."""
    if not mode.stochastic:
        return None, {}
    random_bits = draw(st.sampled_from([1, 2, 3, 8, 16, 31, 32]) | st.integers(1, 32))
    return random_bits, {"words": np.array([draw(words(random_bits)) for _ in range(size)])}


@st.composite
def word_arrays(draw: DrawFn, random_bits: int, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """Random words of a shape."""
    size = math.prod(shape)
    return np.array(draw(st.lists(words(random_bits), min_size=size, max_size=size)), np.uint32).reshape(shape)


@st.composite
def dot_problems(
    draw: DrawFn,
    length: int | None = None,
    *,
    condition: float | None = None,
    fmt: FloatFormat | FixedFormat | None = None,
    max_length: int = 24,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(a [K], b [K]) whose condition number sum|a b| / |sum a b| is at least `condition`, K = length.

    None: any length up to max_length; any condition, often a bad one. fmt: both are its members, to which they are
    rounded toward zero, which keeps the pairs that cancel. Errors: ValueError for a condition below 1, and for one
    above 1 of fewer than three products.
    """
    k = draw(st.integers(1, max_length)) if length is None else length
    if condition is not None and condition < 1:
        raise ValueError(
            f"condition = {condition}: a sum of magnitudes is at least the magnitude of the sum; give 1 or more"
        )
    if condition is not None and condition > 1 and k < 3:
        raise ValueError(
            f"condition = {condition} of {k} products: give at least three, two that cancel and one that stays"
        )
    spread = draw(st.sampled_from([0, 3, 8]))
    pairs = st.tuples(st.integers(-15, 15), st.integers(-spread, spread)).map(lambda pair: pair[0] * 2.0 ** pair[1])
    a, b = (np.array(draw(st.lists(pairs, min_size=k, max_size=k)), np.float64) for _ in range(2))
    if fmt is not None:
        kind = Quantizer(fmt, Rounding.RTZ)
        a, b = np.asarray(kind.quantize(a)), np.asarray(kind.quantize(b))
    bad = condition is not None and condition > 1
    if k > 2 and (bad or draw(st.booleans())):
        half = k // 2
        b[half : 2 * half] = b[:half]
        a[half : 2 * half] = -a[:half]
        order = np.array(draw(st.permutations(range(k))))
        if k % 2 == 0:  # one product stays: the last pair does not cancel
            a[2 * half - 1] = 0.0
            b[2 * half - 1] = 0.0
        a, b = a[order], b[order]
    if condition is not None:
        products = [float(x) * float(y) for x, y in zip(a, b, strict=True)]  # exact: few bits each
        mass, left = math.fsum(map(abs, products)), abs(math.fsum(products))
        assume(mass > 0 and left > 0 and mass >= condition * left)
    return a, b


@st.composite
def nm_blocks(draw: DrawFn, m: int = 4, *, max_blocks: int = 6, dtype: Any = np.float64) -> NDArray[Any]:
    """Blocks [B, m] to prune: zeros, ties, one that dominates, all sizes, both signs."""
    rows = draw(st.integers(1, max_blocks))
    shape = st.sampled_from(["any", "equal", "dominated", "sparse", "sizes"])
    found = []
    for _ in range(rows):
        kind = draw(shape)
        row = np.array(draw(st.lists(st.integers(-9, 9), min_size=m, max_size=m)), np.float64)
        if kind == "equal":
            row = np.full(m, float(draw(st.integers(1, 9)))) * np.where(row < 0, -1, 1)
        elif kind == "dominated":
            row[draw(st.integers(0, m - 1))] = 2.0 ** draw(st.integers(4, 30))
        elif kind == "sparse":
            row[np.array(draw(st.lists(st.booleans(), min_size=m, max_size=m)))] = 0.0
        elif kind == "sizes":
            row *= 2.0 ** np.array(draw(st.lists(st.integers(-12, 12), min_size=m, max_size=m)))
        found.append(row)
    return np.array(found).astype(dtype)
