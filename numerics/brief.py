"""Calls on few elements: what is decided by the record and the kind of operand is decided once and kept.

A call's checks and choices take longer than the arithmetic of a few elements. Here they are looked up; where a call is
out of the ordinary, large, or to be refused, the answer is None and the general way takes it from the start. The kernels
are those that the general way takes. Records are known by their text, whose hash Python keeps.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .decoding import Decoder, decoder_of
from .formats import BlockFormat, code_dtype
from .kernels import elementwise, threads
from .loops import elementwise_loop
from .parameters import FLOAT32, FLOAT64, Carrier
from .words import unit_bytes

if TYPE_CHECKING:
    from .quantizer import Quantizer

ELEMENTS = 1 << 16  # of an array, beyond which another thread may help and the general way costs little more
KINDS = 1 << 14  # of calls that are remembered; then all are forgotten
NO_WORDS: NDArray[np.uint32] = np.zeros(0, np.uint32)
DRAWN = {4: elementwise.DRAWN_4, 2: elementwise.DRAWN_2, 1: elementwise.DRAWN_1}
_ZERO = np.uint64(0)


class _Rounding(NamedTuple):
    """The loop that rounds arrays of a type, the type of what it writes, and the flags that are errors."""

    run: Callable[..., Any]
    row: Any
    errors: int
    out: np.dtype[Any]
    source: int


_ROUNDINGS: dict[Any, _Rounding | None] = {}
_DECODERS: dict[Any, Decoder | None] = {}


def rounded(
    quantizer: "Quantizer", x: Any, seed: Any, stream: Any, offset: Any, *, encodes: bool = False
) -> NDArray[Any] | None:
    """`Quantizer.quantize` or `encode` of a small array whose words are drawn, or None."""
    if type(x) is not np.ndarray or x.size > ELEMENTS:
        return None
    key = quantizer._text, x.dtype, encodes  # type: ignore[attr-defined]
    try:
        known = _ROUNDINGS[key]
    except KeyError:
        known = keep(_ROUNDINGS, key, _rounding(quantizer, x.dtype, encodes))
    if known is None:
        return None
    run, row, errors, out, source = known
    if not (type(stream) is int and type(offset) is int and 0 <= stream < 1 << 64 and 0 <= offset < 1 << 64):
        return None
    if seed is None:
        if source != elementwise.DETERMINISTIC:
            return None
    elif not (type(seed) is int and 0 <= seed < 1 << 64):
        return None
    keys = (_ZERO, _ZERO, _ZERO)
    if source != elementwise.DETERMINISTIC:
        keys = np.uint64(seed), np.uint64(stream), np.uint64(offset)
    threads.check_subnormals()
    result = np.empty(x.shape, out)
    flat = np.ascontiguousarray(x).reshape(-1)
    met = run(flat, result.reshape(-1), row, NO_WORDS, *keys, 0, flat.size)
    return None if met & errors else result


def decoded(quantizer: "Quantizer", codes: Any, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """`Quantizer.decode` of a small array of codes, or None."""
    if type(codes) is not np.ndarray or codes.size > ELEMENTS:
        return None
    key = quantizer._text, codes.dtype, dtype  # type: ignore[attr-defined]
    try:
        decode = _DECODERS[key]
    except KeyError:
        decode = keep(_DECODERS, key, _decoder(quantizer, codes.dtype, dtype))
    if decode is None or has_others(codes, quantizer.fmt.bits):  # type: ignore[union-attr]
        return None
    threads.check_subnormals()
    result = np.empty(codes.shape, dtype)
    decode(np.ascontiguousarray(codes).reshape(-1), result.reshape(-1), 0, codes.size)
    return result


def has_others(codes: NDArray[Any], bits: int) -> bool:
    """Whether there are codes of more bits; where the type has no more, nothing need be looked at."""
    return 8 * codes.itemsize > bits and bool(np.count_nonzero(codes >> bits))


def _decoder(quantizer: "Quantizer", codes: np.dtype[Any], dtype: np.dtype[Any]) -> Decoder | None:
    fmt, carrier = quantizer.fmt, carrier_or_none(dtype)
    if carrier is None or isinstance(fmt, BlockFormat) or not carrier.holds(fmt):
        return None
    return decoder_of(fmt, dtype.name) if codes.isnative and codes.kind == "u" else None


def _rounding(quantizer: "Quantizer", dtype: np.dtype[Any], encodes: bool) -> _Rounding | None:
    fmt, carrier = quantizer.fmt, carrier_or_none(dtype)
    if carrier is None or isinstance(fmt, BlockFormat) or not fmt.signed:
        return None
    if not ((encodes and carrier is FLOAT64) or carrier.holds(fmt)):
        return None
    source = DRAWN[unit_bytes(quantizer.random_bits)] if quantizer.random_bits else elementwise.DETERMINISTIC
    options = quantizer.rounding, quantizer.overflow, quantizer.random_bits
    run, row, errors = elementwise_loop(fmt, *options, carrier, source, encodes)
    return _Rounding(run, row, errors, code_dtype(fmt.bits) if encodes else dtype, source)


def carrier_or_none(dtype: np.dtype[Any]) -> Carrier | None:
    """The carrier of an array's type, None where it is neither float32 nor float64."""
    return _CARRIERS.get(dtype)


_CARRIERS = {carrier.dtype: carrier for carrier in (FLOAT32, FLOAT64)}


def entered(loop: Any, *arguments: Any) -> Callable[..., Any]:
    """The machine code of a compiled loop for arguments of the types of these.

    Numba's dispatcher looks at all that is in a tuple, in each call: longer than a few elements take. Here nothing is
    looked at: what is given must be of these types, arrays with the number of dimensions, contiguous (`ready`) too.
    """
    code: Callable[..., Any] = loop.compile(tuple(map(loop.typeof_pyval, arguments)))
    return code


def ready(x: NDArray[Any]) -> NDArray[Any]:
    """x, or a copy where it is not as results are: contiguous, writeable and aligned."""
    return x if x.flags.carray else np.array(x, order="C")


def keep(known: dict[Any, Any], key: Any, found: Any) -> Any:
    """known[key] = found, which is returned; what is known stays bounded."""
    if len(known) >= KINDS:
        known.clear()
    known[key] = found
    return found
