"""Calls put on a CUDA device: what runs there, what is refused, and arrays rounded to a format.

Arrays are whatever numba.cuda takes without a copy (`__cuda_array_interface__`), in numba-cuda's simulator numpy's.
Importing this loads numba.cuda; nothing else in `numerics` does.
"""

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import cuda_extra as cuda_extra
from .blocks import errors_of
from .device_arrays import flat_of, has_negative, host_of, stack_of, without_negatives
from .device_blocks import quantize_blocks_on
from .formats import BlockFormat, ElementFormat, ScaleRule
from .kernels import elementwise, modes
from .kernels import scan as host_scan
from .kernels.cuda import elementwise as device_elementwise
from .kernels.cuda import launch
from .kernels.cuda import scan as device_scan
from .kernels.cuda._jit import SIMULATED
from .kernels.cuda.launch import Queue, own_queue
from .loops import elementwise_choice
from .parameters import FLOAT64, carrier_of, check_dtype
from .problem import Facts, facts, facts_from
from .quantizer import Quantizer
from .rounding import Overflow

__all__ = [
    "Queue",
    "check_device",
    "encode_blocks_on",
    "facts_on",
    "own_queue",
    "quantize_on",
    "queue_of",
    "waits",
]

OLDEST = (7, 0)  # compute capability, Volta
THREADS = 32 if SIMULATED else device_elementwise.THREADS  # of a block that draws no words
_NOT_DRAWN = elementwise.DETERMINISTIC, np.zeros(0, np.uint32)


def queue_of(device: int, stream: int, zeros: Any) -> Queue:
    """The queue of another library: its device by number, its stream by address, its zeros(shape, dtype).

    Errors: RuntimeError where there is no driver, or where the device is too old.
    """
    check_device(device)
    return Queue(device, launch.stream_of(device, stream), zeros)


@cache
def check_device(device: int) -> None:
    """RuntimeError where no driver answers or the device is older than the kernels' instructions."""
    if not launch.driver_answers():
        raise RuntimeError(
            "no CUDA driver answers numba-cuda, so no device can compute: install the driver and a numba-cuda that fits"
            ' it (pip install "emul[cuda12]" or "emul[cuda13]"), or move the operands with .cpu()'
        )
    found = launch.capability(device)
    if found < OLDEST:
        raise RuntimeError(
            f"cuda:{device} has compute capability {found[0]}.{found[1]}: the kernels need {OLDEST[0]}.{OLDEST[1]} or"
            " newer; move the operands with .cpu()"
        )


def not_on_device(what: str) -> NotImplementedError:
    """The refusal of what has no CUDA kernel yet: what it is, what there is, and the remedy."""
    return NotImplementedError(
        f"{what} does not run on CUDA yet; there are quantizers of every format, and"
        " products of float and fixed-point accumulators: in sequence, chunked, pairwise or compensated, and of matrix units"
        " that cut aligned products or round at every step; move the operands with .cpu()"
    )


def facts_on(x: Any, label: str, queue: Queue) -> Facts:
    """`problem.facts` of a float array on the device, of any strides: four numbers are read back, and waited for.

    Errors: ValueError naming the first element that is not finite.
    """
    with launch.on(queue):
        given = launch.array(x)
        stack = stack_of(given, label)
        known = finite_facts(stack, queue)
        return facts(host_of(stack, tuple(given.shape), queue), label) if known is None else known


def finite_facts(stack: Any, queue: Queue) -> Facts | None:
    """The facts of x [B, M, N], None where an element is not finite."""
    flat = flat_of(stack, queue)
    carrier = carrier_of(np.dtype(stack.dtype))
    found = launch.put(np.array(host_scan.scan(np.zeros(0, carrier.unsigned)), carrier.unsigned))
    blocks = launch.blocks_for(-(-stack.size // device_scan.THREADS), queue)
    kernel = device_scan.make_scan(int(carrier is FLOAT64))
    kernel[blocks, device_scan.THREADS, queue.stream](flat.view(carrier.unsigned), found)
    return facts_from(launch.get(found, queue), carrier)


def quantize_on(
    quantizer: Quantizer,
    x: Any,
    out: Any,
    *,
    seed: int | None = None,
    stream: int = 0,
    offset: int = 0,
    words: Any = None,
    queue: Queue,
) -> None:
    """`Quantizer.quantize` (float out) or `encode` (unsigned out) on the device, the same bits.

    x: contiguous float32 or float64 [...], not empty; out: contiguous, same shape, of x's dtype or the format's codes;
    x itself or disjoint from it. words: a host array, checked as there. Codes of a block format: `encode_blocks_on`. The
    device is waited for only where the format and the overflow rule can make an error, where a format is unsigned, and
    for the largest element where the whole array has a scale; an error leaves `out` written. Where one can be made and
    out is x, x is copied to the host before, for the sentence.
    Errors: those of `Quantizer.quantize` and `encode`.
    """
    call = {"seed": seed, "stream": stream, "offset": offset, "words": words}
    with launch.on(queue):
        source, result = launch.array(x), launch.array(out)
        encodes = np.dtype(result.dtype).kind == "u"
        drawn = _checked(quantizer, source, encodes, call)
        given = _with_signs(quantizer, source, encodes, call, queue)
        written = _address(source) == _address(result) and waits(quantizer, source.dtype, encodes=encodes)
        before = launch.get(x, queue).copy() if written else None
        if isinstance(quantizer.fmt, BlockFormat):
            if encodes:
                raise TypeError(f"codes of {quantizer.fmt} in one array: encode_blocks_on writes elements and scales")
            _, met = quantize_blocks_on(quantizer, given, result, None, drawn, queue)
        else:
            flat = given.reshape(source.size), result.reshape(source.size)
            met = _rounded(quantizer, quantizer.fmt, *flat, drawn, queue)
        if met:
            _refuse(quantizer, launch.get(x, queue) if before is None else before, encodes, met, call)


def encode_blocks_on(
    quantizer: Quantizer,
    x: Any,
    elements: Any,
    scales: Any,
    *,
    seed: int | None = None,
    stream: int = 0,
    offset: int = 0,
    words: Any = None,
    queue: Queue,
) -> float:
    """`Quantizer.encode` of a block format on the device: codes of elements and scales; returns the tensor scale.

    elements, scales: contiguous unsigned arrays as the BlockCodes of `encode` has them. Otherwise as `quantize_on`.
    """
    fmt = quantizer.fmt
    if not isinstance(fmt, BlockFormat):
        raise TypeError(f"{fmt} is no block format: quantize_on writes its codes")
    call = {"seed": seed, "stream": stream, "offset": offset, "words": words}
    with launch.on(queue):
        source, result, kept = launch.array(x), launch.array(elements), launch.array(scales)
        drawn = _checked(quantizer, source, True, call)
        given = _with_signs(quantizer, source, True, call, queue)
        kind = np.dtype(np.float32) if fmt.rule is ScaleRule.RATIO else source.dtype
        values = launch.array(queue.zeros(tuple(int(n) for n in kept.shape), kind))
        tensor, met = quantize_blocks_on(quantizer, given, result, values, drawn, queue)
        if met:
            _refuse(quantizer, launch.get(x, queue), True, met, call)
        flat = values.reshape(values.size), kept.reshape(values.size)
        _rounded(Quantizer(fmt.scale), fmt.scale, *flat, _NOT_DRAWN, queue)
        return tensor


def waits(quantizer: Quantizer, dtype: np.dtype[Any], *, encodes: bool = False) -> bool:
    """Whether `quantize_on` of arrays of this type waits for the device, and so cannot be part of a CUDA graph."""
    fmt = quantizer.fmt
    if not fmt.signed:
        return True
    if isinstance(fmt, BlockFormat):
        return fmt.tensor_scale or bool(errors_of(fmt, quantizer.overflow))
    options = quantizer.rounding, quantizer.overflow, quantizer.random_bits, carrier_of(dtype), encodes
    return bool(elementwise_choice(fmt, *options).errors)


def _address(array: Any) -> int:
    """Where the memory of an array begins, on the host or on a device."""
    interface = "__array_interface__" if isinstance(array, np.ndarray) else "__cuda_array_interface__"
    return int(getattr(array, interface)["data"][0])


def _checked(quantizer: Quantizer, source: Any, encodes: bool, call: dict[str, Any]) -> tuple[Any, ...]:
    """Where random words come from, after what shape and dtype have to be refused for."""
    check_dtype(source.dtype)
    # The shape and dtype are all that these checks look at.
    stand_in: Any = np.broadcast_to(source.dtype.type(0), source.shape)
    quantizer._input(stand_in, codes=encodes)
    return quantizer._draw(stand_in, call["seed"], call["stream"], call["offset"], call["words"])


def _with_signs(quantizer: Quantizer, x: Any, encodes: bool, call: dict[str, Any], queue: Queue) -> Any:
    """x, for an unsigned format a copy with NaN for negatives; where it has none either, the CPU's sentence."""
    if quantizer.fmt.signed or not has_negative(x.reshape(x.size), queue):
        return x
    if not quantizer.fmt.has_nan:
        _refuse(quantizer, launch.get(x, queue), encodes, modes.SAW_NEGATIVE, call)
    return without_negatives(x.reshape(x.size), queue).reshape(x.shape)


def _rounded(quantizer: Quantizer, fmt: ElementFormat, x: Any, out: Any, drawn: tuple[Any, ...], queue: Queue) -> int:
    """Launch over flat arrays; the SAW_ flags that were met and are errors."""
    encodes = np.dtype(out.dtype).kind == "u"
    options = quantizer.rounding, quantizer.overflow, quantizer.random_bits, carrier_of(x.dtype), encodes
    mode, normalise, _, errors = elementwise_choice(fmt, *options)
    rows = (_row_on(queue.device, fmt, *options),)
    source, words, *keys = drawn
    flags = queue.zeros((1,), np.dtype(np.int32)) if errors else None
    seen = _unused(queue.device) if flags is None else launch.array(flags).view(np.uint32)
    kind = np.dtype(out.dtype).type(0)
    if source in (elementwise.DETERMINISTIC, elementwise.GIVEN):
        kernel = device_elementwise.make_quantize(mode, normalise, source, errors)
        blocks = launch.blocks_for(-(-x.size // (THREADS * device_elementwise.EACH)), queue)
        words = launch.put(words) if source == elementwise.GIVEN else _unused(queue.device)
        launch.launch(kernel, (blocks,), (THREADS,), queue, x, out, kind, rows, words, seen)
    else:
        kernel = device_elementwise.make_stochastic(mode, normalise, source, errors)
        tiles = x.size // (4 * device_elementwise.THREADS) + 2
        blocks = launch.blocks_for(tiles, queue)
        threads = (device_elementwise.THREADS,)
        launch.launch(kernel, (blocks,), threads, queue, x, out, kind, rows, *keys, seen)
    return 0 if flags is None else int(launch.get(flags, queue)[0]) & errors


@cache
def _unused(device: int) -> Any:
    """What a kernel is given where it neither reads words nor writes flags."""
    return launch.put(np.zeros(1, np.uint32))


@lru_cache(maxsize=4096)
def _row_on(device: int, *choice: Any) -> Any:
    """The parameter row of `elementwise_choice`, on the device, which is the current one."""
    return launch.put(elementwise_choice(*choice).row)


def _refuse(quantizer: Quantizer, x: NDArray[Any], encodes: bool, met: int, call: dict[str, Any]) -> None:
    """Raise for the first element that is an error: the CPU says which. An overflow that wraps is none."""
    if quantizer.overflow is Overflow.WRAP and met == modes.SAW_OVERFLOW and not np.isinf(x).any():
        return
    (quantizer.encode if encodes else quantizer.quantize)(x, **call)
    raise RuntimeError(
        f"the device met an error (flags {met}) where the CPU meets none: please report {quantizer} and the device"
    )
