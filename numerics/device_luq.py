"""LUQ, signs and powers of two on a CUDA device, the same bits as on the CPU.

Arrays are contiguous and not empty, of what numba.cuda takes without a copy (numpy's in the simulator), and the caller
makes those for results. Words that are given are host arrays, checked as there. What a kernel finds wrong is computed again
by the CPU's function, which says what it is. Each call waits for the device, which tells whether all elements are finite.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import binary, luq
from . import cuda_extra as cuda_extra
from .formats.codes import code_dtype
from .kernels import elementwise
from .kernels import luq as luq_kernel
from .kernels.cuda import launch, mapped
from .kernels.cuda.elementwise import THREADS
from .kernels.cuda.launch import Queue
from .luq.codes import code_bits
from .luq.drawing import Draw, draw_of
from .luq.scale import alpha_from_peak, check_levels, check_power_of_two, grid_ends
from .parameters import check_dtype
from .words import unit_bytes

__all__ = ["ap2_on", "code_dtype_of", "luq_alpha_on", "luq_decode_on", "luq_on", "sign_on"]

_NO_DRAW = Draw(np.zeros(0, np.uint32), elementwise.DETERMINISTIC, 32, np.uint64(0), np.uint64(0), np.uint64(0))


def _bits_of(x: Any) -> Any:
    return np.uint64 if x.dtype == np.float64 else np.uint32


def _largest(x: Any, queue: Queue) -> Any:
    """The largest magnitude of x [...]; infinite or NaN where an element is."""
    bits = _bits_of(x)
    found = launch.put(np.zeros(1, bits))
    blocks = launch.blocks_for(-(-x.size // THREADS), queue)
    kernel = mapped.make_most(int(bits is np.uint64))
    launch.launch(kernel, (blocks,), (THREADS,), queue, x.reshape(x.size), found)
    return launch.get(found, queue)[0].view(x.dtype)


def _map(rule: int, x: Any, out: Any, limits: tuple[Any, ...], draw: Draw, queue: Queue) -> bool:
    """out of x by a rule of `kernels.cuda.mapped`; whether all of x are finite."""
    bits = _bits_of(x)
    flat, result, found = x.reshape(x.size), out.reshape(x.size), launch.put(np.zeros(1, bits))
    kernel = mapped.make_mapped(rule, draw.source, int(bits is np.uint64))
    ends = tuple(bits(limit) for limit in limits)
    if draw.source in (elementwise.DETERMINISTIC, elementwise.GIVEN):
        words = launch.put(draw.words if draw.source == elementwise.GIVEN else np.zeros(1, np.uint32))
        blocks = launch.blocks_for(-(-x.size // THREADS), queue)
        align = np.uint32(32 - draw.random_bits)
        launch.launch(kernel, (blocks,), (THREADS,), queue, flat, result, ends, words, align, found)
    else:
        units = 16 // unit_bytes(draw.random_bits)
        blocks = launch.blocks_for(x.size // (units * THREADS) + 2, queue)
        mask = np.uint32((0xFFFFFFFF << (32 - draw.random_bits)) & 0xFFFFFFFF)
        keys = draw.seed, draw.stream, draw.offset
        launch.launch(kernel, (blocks,), (THREADS,), queue, flat, result, ends, *keys, mask, found)
    most: Any = launch.get(found, queue)[0].view(x.dtype)
    return bool(np.isfinite(most))


def luq_alpha_on(x: Any, levels: int = 7, *, power_of_two: str | None = None, queue: Queue) -> float:
    """`numerics.luq.alpha` of x [...] on the device, float32 or float64. Errors as there."""
    with launch.on(queue):
        source = launch.array(x)
        check_dtype(source.dtype)
        levels, power_of_two = check_levels(levels), check_power_of_two(power_of_two)
        peak = _largest(source, queue)
        if not np.isfinite(peak):
            luq.alpha(launch.get(x, queue), levels)
        return alpha_from_peak(float(peak), source.dtype, levels, power_of_two)


def code_dtype_of(levels: int) -> np.dtype[Any]:
    """The dtype of `luq_on`'s codes."""
    return np.dtype(code_dtype(code_bits(check_levels(levels))))


def luq_on(
    x: Any,
    out: Any,
    levels: int = 7,
    *,
    alpha: float | None = None,
    power_of_two: str | None = None,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
    queue: Queue,
) -> None:
    """`numerics.luq.quantize` of x [...], or `encode` where out has the codes' dtype; x itself, or disjoint from it.

    An alpha below 2**-90 (float64: 2**-980), or 0, is left to the host: x goes there and the result comes back.
    Errors: as there; after one a disjoint `out` holds no result.
    """
    call: dict[str, Any] = {
        "seed": seed,
        "words": words,
        "random_bits": random_bits,
        "stream": stream,
        "offset": offset,
    }
    with launch.on(queue):
        source, result = launch.array(x), launch.array(out)
        check_dtype(source.dtype)
        levels = check_levels(levels)
        encodes = np.dtype(result.dtype).kind == "u"
        draw = draw_of(tuple(int(n) for n in source.shape), seed, words, random_bits, stream, offset)
        if check_power_of_two(power_of_two) is not None and alpha is not None:
            raise ValueError(f"power_of_two = {power_of_two!r} beside alpha = {alpha}: give one of the two")
        if alpha is None:
            alpha = luq_alpha_on(x, levels, power_of_two=power_of_two, queue=queue)
        step, top = grid_ends(alpha, source.dtype, levels)
        call["alpha"] = alpha
        floor = luq_kernel.FLOOR64 if source.dtype == np.float64 else luq_kernel.FLOOR32
        if step == 0 or math.frexp(step)[1] <= floor or not np.isfinite(_largest(source, queue)):
            host = launch.get(x, queue)
            _put_back((luq.encode if encodes else luq.quantize)(host, levels, **call), result)
            return
        bits = _bits_of(source)
        limits = step.view(bits), source.dtype.type(top).view(bits), bits(code_bits(levels) - 1)
        _map(mapped.LUQ_CODES if encodes else mapped.LUQ, source, result, limits, draw, queue)


def _put_back(array: NDArray[Any], out: Any) -> None:
    """out, on the device, gets what the host computed."""
    if isinstance(out, np.ndarray):
        out[...] = array
    else:
        out.copy_to_device(np.ascontiguousarray(array))


def luq_decode_on(codes: Any, alpha: float, levels: int, out: Any, *, queue: Queue) -> None:
    """`numerics.luq.decode` of unsigned codes [...] to float32 or float64 out. Errors as there."""
    with launch.on(queue):
        source, result = launch.array(codes), launch.array(out)
        levels = check_levels(levels)
        known = np.arange(levels + 1)
        place = code_bits(levels) - 1
        table = np.full(1 << (place + 1), np.nan, result.dtype)
        for sign in (0, 1 << place):
            table[sign + known] = luq.decode(sign + known, alpha, levels, dtype=result.dtype)
        flags = launch.array(queue.zeros((1,), np.dtype(np.int32)))
        blocks = launch.blocks_for(-(-source.size // THREADS), queue)
        flat = source.reshape(source.size), launch.put(table), result.reshape(source.size), flags
        launch.launch(mapped.make_decode(), (blocks,), (THREADS,), queue, *flat)
        if int(launch.get(flags, queue)[0]):
            luq.decode(launch.get(codes, queue), alpha, levels, dtype=result.dtype)


def sign_on(
    x: Any,
    out: Any,
    *,
    stochastic: bool = False,
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
    queue: Queue,
) -> None:
    """`numerics.binary.sign`, or `stochastic_sign`, of x [...] in out, of its dtype. Errors as there."""
    call: dict[str, Any] = {
        "seed": seed,
        "words": words,
        "random_bits": random_bits,
        "stream": stream,
        "offset": offset,
    }
    with launch.on(queue):
        source, result = launch.array(x), launch.array(out)
        check_dtype(source.dtype)
        if stochastic and seed is None and words is None:
            binary.stochastic_sign(np.zeros(tuple(source.shape), source.dtype), **call)
        shape = tuple(int(n) for n in source.shape)
        draw = draw_of(shape, seed, words, random_bits, stream, offset) if stochastic else _NO_DRAW
        rule = mapped.DRAWN_SIGN if stochastic else mapped.SIGN
        if not _map(rule, source, result, (0, 0, 0), draw, queue):  # infinities have a sign, NaN has none
            host = launch.get(x, queue)
            _put_back(binary.stochastic_sign(host, **call) if stochastic else binary.sign(host), result)


def ap2_on(x: Any, out: Any, *, queue: Queue) -> None:
    """`numerics.binary.ap2` of x [...] in out, of its dtype. Errors as there."""
    with launch.on(queue):
        source = launch.array(x)
        check_dtype(source.dtype)
        _map(mapped.POWER, source, launch.array(out), (0, 0, 0), _NO_DRAW, queue)
