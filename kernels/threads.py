"""One serial loop, several threads: compiled loops release the GIL, so Python's own threads run them side by side.

No OpenMP or TBB layer: nothing spins beside torch's pool, calls from several threads at once are safe, and a forked
child starts with a fresh pool. The same machine code serves both paths, so no result depends on the thread count.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from operator import index
from typing import Any

_pool: ThreadPoolExecutor | None = None
_count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)

PARTS_PER_THREAD = 4  # so that a thread that was held up does not hold up the whole
WORTH = 1e5  # nanoseconds of work that another thread is woken for: to wake it takes up to as long
LONG = 8  # times that, of a piece that is one of several of a thread: after a short one it waits for the GIL as long


def get_num_threads() -> int:
    """How many threads a large enough call uses."""
    return _count


def set_num_threads(count: int) -> None:
    """Use `count` threads from now on, an integer of any library; results do not depend on it."""
    global _count, _pool
    try:
        number = None if isinstance(count, bool) else index(count)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{count!r} threads: give an integer of at least 1")
    if number < 1:
        raise ValueError(f"{number} threads: give at least 1")
    if number != _count:
        _count, _pool = number, None


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


_TINY = 5e-324


def check_subnormals() -> None:
    """Refuse to compute where the processor was told to flush subnormals: the bits would be others."""
    if _TINY * float(_count) == 0.0:  # by a number that no compiler knows; other threads have settings of their own
        raise RuntimeError(
            "subnormal numbers are flushed to zero in this thread, which changes results:"
            " undo it, for example by torch.set_flush_denormal(False)"
        )


def run(part: Callable[[int, int], Any], total: int, cost: float) -> list[Any]:
    """[part(start, stop), ...] over [0, total) cut into pieces, in order; cost: nanoseconds of an item, roughly."""
    global _pool
    check_subnormals()
    worth = total * cost / WORTH
    if _count == 1 or total < 2 or worth < 2:
        return [part(0, total)]
    # As many for each thread: with three pieces for two, one would wait for the last.
    of_each = max(1, min(PARTS_PER_THREAD, int(worth / (LONG * _count))))
    pieces = min(total, int(worth), _count * of_each)
    edges = [total * p // pieces for p in range(pieces + 1)]
    pool = _pool  # another thread may replace it meanwhile; this call keeps its own
    if pool is None:
        pool = _pool = ThreadPoolExecutor(_count, thread_name_prefix="numerics")
    results: list[Any] = [None] * pieces
    left = iter(range(pieces))  # shared: the GIL gives each piece to one thread

    def work() -> None:
        for piece in left:
            results[piece] = part(edges[piece], edges[piece + 1])

    # The caller works too: waking a sleeping thread can take longer than a piece.
    others = [pool.submit(work) for _ in range(min(_count, pieces) - 1)]
    try:
        work()
    finally:
        begun = [other for other in others if not other.cancel()]
        wait(begun)  # they write to the caller's arrays
    for other in begun:
        other.result()
    return results


def run_flags(part: Callable[[int, int], int], total: int, cost: float) -> int:
    """`run` of a part that returns flags: all that any of them met."""
    met = 0
    for flags in run(part, total, cost):
        met |= flags
    return met


def first_with(part: Callable[[int, int], int], total: int, flags: int) -> int:
    """The first element of [0, total) for which `part` returns one of `flags`, found by halving; there is one."""
    first, bound = 0, total
    while bound - first > 1:
        middle = (first + bound) // 2
        first, bound = (first, middle) if part(first, middle) & flags else (middle, bound)
    return first
