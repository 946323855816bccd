"""N:M masks and products of bits on a CUDA device, the same bits as on the CPU.

Arrays, words and errors: as `device_luq`. Masks take whole blocks along the last axis; products of packed rows wait for
nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import binary, sparsity
from . import cuda_extra as cuda_extra
from .kernels import elementwise, mask_rows
from .kernels.cuda import launch, masks, xnor
from .kernels.cuda.elementwise import THREADS
from .kernels.cuda.launch import Queue
from .luq.drawing import Draw, draw_of
from .parameters import check_dtype
from .sparsity.blocks import check_method, check_pattern
from .sparsity.exact import settle
from .words import random_words, unit_bytes

__all__ = ["mvue_on", "pack_on", "product_on", "top_n_on"]

_KINDS = {"exact": mask_rows.EXACT, "approximate": mask_rows.APPROXIMATE, "sequential": mask_rows.SEQUENTIAL}


def top_n_on(x: Any, out: Any, n: int = 2, m: int = 4, *, queue: Queue) -> None:
    """`numerics.sparsity.top_n` of x [B, m], whole blocks, in out, disjoint from it. Errors as there."""
    n, m = check_pattern(n, m)
    with launch.on(queue):
        source, result = launch.array(x), launch.array(out)
        check_dtype(source.dtype)
        flags = launch.array(queue.zeros((1,), np.dtype(np.int32)))
        flat, double = (source.reshape(source.size), result.reshape(source.size)), int(source.dtype == np.float64)
        blocks = launch.blocks_for(-(-source.size // THREADS), queue)
        if (n, m) == (2, 4):
            launch.launch(masks.make_largest_of_four(double), (blocks,), (THREADS,), queue, *flat, flags)
        else:
            launch.launch(masks.make_largest(double), (blocks,), (THREADS,), queue, *flat, n, m, flags)
        if int(launch.get(flags, queue)[0]):
            sparsity.top_n(launch.get(x, queue), n, m)


def mvue_on(
    x: Any,
    out: Any,
    n: int = 2,
    m: int = 4,
    *,
    method: str = "exact",
    seed: int | None = None,
    words: Any = None,
    random_bits: int = 32,
    stream: int = 0,
    offset: int = 0,
    queue: Queue,
) -> None:
    """`numerics.sparsity.mvue` of x [B, m], whole blocks, in out, disjoint from it; words [B].

    Blocks that floating point leaves in doubt are drawn on the host. m is at most 32. Errors: as there; NotImplementedError
    for longer blocks.
    """
    n, m = check_pattern(n, m)
    check_method(method, n, tuple(_KINDS))
    if m > masks.WIDEST:
        raise NotImplementedError(f"blocks of m = {m} are drawn on CUDA up to {masks.WIDEST}: move x with .cpu()")
    with launch.on(queue):
        source, result = launch.array(x), launch.array(out)
        check_dtype(source.dtype)
        count, double = source.size // m, int(source.dtype == np.float64)
        draw = draw_of((count,), seed, words, random_bits, stream, offset)
        given = draw.source == elementwise.GIVEN
        chosen = launch.put(draw.words if given else np.zeros(1, np.uint32))
        keys = draw.seed, draw.stream, draw.offset
        cut = {1: 4, 2: 3, 4: 2}[unit_bytes(draw.random_bits)], 32 - draw.random_bits
        left = launch.put(np.zeros(count, np.uint8))
        flags = launch.array(queue.zeros((1,), np.dtype(np.int32)))
        flat = source.reshape(source.size), result.reshape(source.size)
        start = *flat, chosen, keys, cut, 2.0**draw.random_bits
        if method == "exact" and not double and (n, m) in ((2, 4), (1, 2)):
            blocks = launch.blocks_for(-(-count // THREADS), queue)
            launch.launch(masks.make_swift(m, draw.source), (blocks,), (THREADS,), queue, *start, left, flags)
        else:
            blocks = launch.blocks_for(-(-count // masks.THREADS), queue)
            kernel = masks.make_rows(m, draw.source, double)
            launch.launch(kernel, (blocks,), (masks.THREADS,), queue, *start, n, _KINDS[method], left, flags)
        if int(launch.get(flags, queue)[0]):
            _settle(flat, launch.get(left, queue), (n, m, method), draw, queue)


def _settle(
    flat: tuple[Any, Any], left: NDArray[np.uint8], how: tuple[int, int, str], draw: Draw, queue: Queue
) -> None:
    """Draws the blocks that are left, in integers on the host."""
    n, m, method = how
    places = np.flatnonzero(left).astype(np.int64)
    there, blocks = launch.put(places), launch.put(np.zeros(m * places.size, flat[0].dtype))
    grid = launch.blocks_for(-(-blocks.size // THREADS), queue)
    launch.launch(masks.make_moved(0), (grid,), (THREADS,), queue, flat[0], there, m, blocks)
    x = launch.get(blocks, queue).reshape(-1, m)
    if not np.isfinite(x).all():
        sparsity.variance(launch.get(flat[0], queue), n, m, method=method)  # says which
    words = draw.words[places] if draw.source == elementwise.GIVEN else _words_at(places, draw)
    settled = settle(x, words, n, draw.random_bits, method=method)
    launch.launch(masks.make_moved(1), (grid,), (THREADS,), queue, flat[1], there, m, launch.put(settled.reshape(-1)))


def _words_at(places: NDArray[np.int64], draw: Draw) -> NDArray[np.uint32]:
    """The words of some blocks, each drawn alone."""
    keys = {"seed": int(draw.seed), "stream": int(draw.stream)}
    each = [random_words(1, draw.random_bits, **keys, offset=(int(draw.offset) + int(b)) % (1 << 64)) for b in places]
    return np.concatenate(each)


def pack_on(x: Any, words: Any, *, signed: bool = True, queue: Queue) -> None:
    """`numerics.binary.pack` of x [R, K], float32 or float64, or `pack_bits`. Errors as there.

    words: integers of 64 bits [R, ceil(K/64)].
    """
    with launch.on(queue):
        source, result = launch.array(x), launch.array(words).view(np.uint64)
        check_dtype(source.dtype)
        flags = launch.array(queue.zeros((1,), np.dtype(np.int32)))
        blocks = launch.blocks_for(-(-result.size // xnor.THREADS), queue)
        kernel = xnor.make_pack(int(source.dtype == np.float64))
        launch.launch(kernel, (blocks,), (xnor.THREADS,), queue, source, -1 if signed else 0, result, flags)
        if int(launch.get(flags, queue)[0]):
            (binary.pack if signed else binary.pack_bits)(launch.get(x, queue))


def product_on(a: Any, b: Any, length: int, out: Any, *, signed: bool = True, queue: Queue) -> None:
    """out int32 [M, N]: products of packed rows [M, W] and [N, W], integers of 64 bits, of `length` elements. Exact."""
    with launch.on(queue):
        left, right, result = launch.array(a).view(np.uint64), launch.array(b).view(np.uint64), launch.array(out)
        grid = -(-result.shape[1] // xnor.SIDE), -(-result.shape[0] // xnor.SIDE)
        block = xnor.SIDE, xnor.SIDE
        launch.launch(xnor.make_product(int(signed)), grid, block, queue, left, right, length, result)
