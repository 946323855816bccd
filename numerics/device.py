"""Calls put on a CUDA device: what runs there, what is refused, and arrays rounded to a format.

Arrays are whatever numba.cuda takes without a copy (`__cuda_array_interface__`), in numba-cuda's simulator numpy's.
Importing this loads numba.cuda; nothing else in `numerics` does.
"""

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import BlockFormat, ElementFormat
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

__all__ = ["Queue", "check_device", "facts_on", "own_queue", "quantize_on", "queue_of"]

OLDEST = (7, 0)  # compute capability, Volta
THREADS = 32 if SIMULATED else device_elementwise.THREADS  # of a block that draws no words


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
        f"{what} does not run on CUDA yet; there are quantizers of signed float, fixed-point, posit and log formats, and"
        " products of float accumulators: in sequence, chunked, pairwise or compensated; move the operands with .cpu()"
    )


def facts_on(x: Any, label: str, queue: Queue) -> Facts:
    """`problem.facts` of a contiguous float array on the device: four numbers are read back, and waited for.

    Errors: ValueError naming the first element that is not finite.
    """
    with launch.on(queue):
        bits = launch.array(x)
        carrier = carrier_of(np.dtype(bits.dtype))
        flat = bits.reshape(bits.size).view(carrier.unsigned)
        found = launch.put(np.array(host_scan.scan(np.zeros(0, carrier.unsigned)), carrier.unsigned))
        blocks = launch.blocks_for(-(-bits.size // device_scan.THREADS), queue)
        kernel = device_scan.make_scan(int(carrier is FLOAT64))
        kernel[blocks, device_scan.THREADS, queue.stream](flat, found)
    known = facts_from(launch.get(found, queue), carrier)
    return facts(launch.get(x, queue), label) if known is None else known


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
    x itself or disjoint from it. words: a host array, checked as there. The device is waited for only where the format
    and the overflow rule can make an error, and an error leaves `out` written.
    Errors: those of `Quantizer.quantize` and `encode`; NotImplementedError for block and unsigned formats.
    """
    fmt = quantizer.fmt
    if isinstance(fmt, BlockFormat):
        raise not_on_device(f"the block format {fmt}")
    if not fmt.signed:
        raise not_on_device(f"the unsigned format {fmt}")
    with launch.on(queue):
        source, result = launch.array(x), launch.array(out)
        check_dtype(source.dtype)
        encodes = np.dtype(result.dtype).kind == "u"
        # The shape and dtype are all that these checks look at.
        stand_in: Any = np.broadcast_to(source.dtype.type(0), source.shape)
        quantizer._input(stand_in, codes=encodes)
        drawn = quantizer._draw(stand_in, seed, stream, offset, words)
        met = _rounded(quantizer, fmt, source.reshape(source.size), result.reshape(source.size), drawn, queue)
        if met:
            _refuse(quantizer, launch.get(x, queue), encodes, met, seed, stream, offset, words)


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


def _refuse(
    quantizer: Quantizer,
    x: NDArray[Any],
    encodes: bool,
    met: int,
    seed: int | None,
    stream: int,
    offset: int,
    words: Any,
) -> None:
    """Raise for the first element that is an error: the CPU says which. An overflow that wraps is none."""
    if quantizer.overflow is Overflow.WRAP and met == modes.SAW_OVERFLOW and not np.isinf(x).any():
        return
    call = quantizer.encode if encodes else quantizer.quantize
    call(x, seed=seed, stream=stream, offset=offset, words=words)
    raise RuntimeError(
        f"the device met an error (flags {met}) where the CPU meets none: please report {quantizer} and the device"
    )
