"""Small arrays in blocks along their last axis: as `brief`, what is decided by the record and the row's length is kept."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import brief
from .block_rows import compiled_row, tensor_scale
from .blocks import KNOWN, errors_of
from .decoding import WIDEST_TABLE, Decoder, decoder_of, value_table
from .formats import BlockCodes, BlockFormat, ScaleRule, code_dtype
from .kernels import block, elementwise, threads
from .loops import elementwise_loop
from .parameters import FLOAT32, FLOAT64
from .rounding import Overflow, Rounding
from .words import unit_bytes

if TYPE_CHECKING:
    from .quantizer import Quantizer

_LARGEST = float(np.finfo(np.float32).max)
_ZERO, _ONE = np.uint64(0), np.float32(1)
_KEYS = (_ZERO, _ZERO, _ZERO)
_NO_SCALES: NDArray[np.float32] = np.empty(0, np.float32)


class _Way(NamedTuple):
    """The loop over the blocks of rows of one length, with its constants.

    quotients: whether scales are quotients of maxima, else powers of two. scale: the type of what the loop tells of them.
    scales: the loop that makes codes of that.
    """

    run: Callable[..., Any]
    row: Any
    errors: int
    length: int
    per_row: int
    source: int
    quotients: bool
    scale: np.dtype[Any]
    scales: tuple[Callable[..., Any], Any]
    codes: tuple[np.dtype[Any], np.dtype[Any]]


_WAYS: dict[Any, _Way | None] = {}
_DECODERS: dict[Any, "_Decoding | None"] = {}


def rounded(quantizer: "Quantizer", x: Any, seed: Any, stream: Any, offset: Any, *, encodes: bool = False) -> Any:
    """`Quantizer.quantize` or `encode` of a small array in blocks whose words are drawn, or None."""
    if type(x) is not np.ndarray or not x.ndim or not 0 < x.size <= brief.ELEMENTS:
        return None
    if quantizer.axis not in (-1, x.ndim - 1):
        return None
    columns, dtype = x.shape[-1], x.dtype
    key = quantizer._text, dtype, columns, encodes  # type: ignore[attr-defined]
    try:
        way = _WAYS[key]
    except KeyError:
        way = brief.keep(_WAYS, key, _way(quantizer, dtype, columns, encodes))
    if way is None:
        return None
    if not (type(stream) is int and type(offset) is int and 0 <= stream < 1 << 64 and 0 <= offset < 1 << 64):
        return None
    if seed is None:
        if way.source != elementwise.DETERMINISTIC:
            return None
    elif not (type(seed) is int and 0 <= seed < 1 << 64):
        return None
    keys = _KEYS
    if way.source != elementwise.DETERMINISTIC:
        keys = np.uint64(seed), np.uint64(stream), np.uint64(offset)
    return _run(quantizer.fmt, way, brief.ready(x), keys, encodes)


def _run(fmt: Any, way: _Way, x: NDArray[Any], keys: Any, encodes: bool) -> Any:
    threads.check_subnormals()
    columns, length, dtype = x.shape[-1], way.length, x.dtype
    total = x.size // columns * way.per_row
    flat, tensor = x.reshape(-1), _ONE
    out = np.empty(x.shape, way.codes[0] if encodes else dtype)
    rows: tuple[Any, ...] = (way.row,)
    if way.quotients:
        maxima = np.empty(total, dtype)
        block.block_maxima(flat, maxima, columns, length, 0, total)
        if fmt.tensor_scale:
            top = float(maxima.max())
            if not math.isfinite(top):
                return None
            tensor = tensor_scale(fmt, top)
        rows = way.row, tensor, maxima
    scales = np.empty(total, way.scale) if encodes else _NO_SCALES
    met = way.run(flat, out.reshape(-1), scales, *rows, brief.NO_WORDS, *keys, columns, length, 0, total)
    if met & way.errors:
        return None
    if not encodes:
        return out
    codes = np.empty((*x.shape[:-1], way.per_row), way.codes[1])
    run, row = way.scales
    run(scales.astype(np.float64), codes.reshape(-1), row, brief.NO_WORDS, *_KEYS, 0, total)
    return BlockCodes(out, codes, float(tensor))


def decoded(quantizer: "Quantizer", codes: Any, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """`Quantizer.decode` of the codes of a small array, or None."""
    fmt: Any = quantizer.fmt
    if type(codes) is not BlockCodes:
        return None
    elements, scales = codes.elements, codes.scales
    if type(elements) is not np.ndarray or type(scales) is not np.ndarray or not 0 < elements.size <= brief.ELEMENTS:
        return None
    if not elements.flags.c_contiguous or not scales.flags.c_contiguous:
        return None
    if not elements.ndim or quantizer.axis not in (-1, elements.ndim - 1):
        return None
    columns = elements.shape[-1]
    key = quantizer._text, dtype, columns, elements.dtype, scales.dtype  # type: ignore[attr-defined]
    try:
        known = _DECODERS[key]
    except KeyError:
        known = brief.keep(_DECODERS, key, _decoding(fmt, dtype, columns, elements.dtype, scales.dtype))
    if known is None or scales.shape != (*elements.shape[:-1], known.per_row):
        return None
    if brief.has_others(elements, fmt.element.bits) or brief.has_others(scales, fmt.scale.bits):
        return None
    tensor = codes.tensor_scale
    if type(tensor) is not float or not (0 <= tensor <= _LARGEST if fmt.tensor_scale else tensor == 1):
        return None
    threads.check_subnormals()
    exact, decode, sizes, _ = known
    values, result = np.empty(elements.size, exact), np.empty(elements.shape, dtype)
    decode(elements.reshape(-1), values, 0, values.size)
    factors = sizes.take(scales.reshape(-1))
    if fmt.tensor_scale:
        with np.errstate(over="ignore", under="ignore"):
            factors = (factors.astype(np.float32) * np.float32(tensor)).astype(np.float64)
    length = min(fmt.block, columns)
    block.scale_blocks(values, factors, result.reshape(-1), fmt.infinities, columns, length, 0, factors.size)
    return None if dtype == np.float32 and np.count_nonzero(np.isinf(result)) else result


class _Decoding(NamedTuple):
    """The type that holds the elements, their loop, the magnitude of each code of a scale, how many scales a row has."""

    exact: np.dtype[Any]
    elements: Decoder
    scales: NDArray[np.float64]
    per_row: int


def _decoding(fmt: BlockFormat, dtype: np.dtype[Any], columns: int, *codes: np.dtype[Any]) -> _Decoding | None:
    if not all(kind.kind == "u" and kind.isnative for kind in codes):
        return None
    if fmt.scale.bits > WIDEST_TABLE or not brief.carrier_or_none(dtype).holds(fmt):  # type: ignore[union-attr]
        return None
    exact = np.dtype(np.float32 if dtype == np.float32 and FLOAT32.holds(fmt.element) else np.float64)
    decode = decoder_of(fmt.element, exact.name)
    sizes = np.abs(value_table(fmt.scale, "float64"))
    return None if decode is None else _Decoding(exact, decode, sizes, fmt.blocks(columns))


def _way(quantizer: "Quantizer", dtype: np.dtype[Any], columns: int, encodes: bool) -> _Way | None:
    fmt, carrier = quantizer.fmt, brief.carrier_or_none(dtype)
    if carrier is None or not isinstance(fmt, BlockFormat) or not fmt.signed or not carrier.holds(fmt):
        return None
    bits = quantizer.random_bits
    source = brief.DRAWN[unit_bytes(bits)] if bits else elementwise.DETERMINISTIC
    length = min(fmt.block, columns)
    if bits and length > block.GROUP:
        return None
    rounding, overflow = quantizer.rounding, quantizer.overflow
    compiled = compiled_row(fmt, rounding, overflow, bits, carrier)
    choices = compiled.form, source, compiled.integers, compiled.saturates, int(overflow is Overflow.ERROR)
    quotients = fmt.rule is ScaleRule.RATIO
    scale, kinds = dtype, (code_dtype(fmt.element.bits), code_dtype(fmt.scale.bits))
    rows: tuple[Any, ...] = (compiled.row,)
    if quotients:
        whole = length if length == KNOWN and columns % length == 0 else 0
        loop: Any = block.make_ratio_blocks(int(rounding), compiled.scale_form, whole, *choices)
        scale, rows = np.dtype(np.float32), (compiled.row, _ONE, np.empty(1, dtype))
    else:
        loop = block.make_power_blocks(int(rounding), *choices)
    arrays = (
        np.empty(1, dtype),
        np.empty(1, kinds[0] if encodes else dtype),
        np.empty(1, scale) if encodes else _NO_SCALES,
    )
    run = brief.entered(loop, *arrays, *rows, brief.NO_WORDS, *_KEYS, columns, length, 0, 1)
    codes = elementwise_loop(fmt.scale, Rounding.RNE, Overflow.SATURATE, None, FLOAT64, elementwise.DETERMINISTIC, True)
    errors, per_row = errors_of(fmt, overflow), fmt.blocks(columns)
    return _Way(run, compiled.row, errors, length, per_row, source, quotients, scale, (codes.run, codes.row), kinds)
