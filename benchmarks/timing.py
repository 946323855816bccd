"""Ratios of wall times in one run: the machine's speed cancels."""

import time
from collections.abc import Callable

from threadpoolctl import threadpool_limits

from numerics import set_num_threads

SPELL = 0.25  # seconds of each number of threads at a time


def best(call: Callable[[], object], rounds: int = 5) -> float:
    """Seconds of the fastest of `rounds` calls, after one that warms up."""
    call()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def ratio(call: Callable[[], object], yardstick: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """(best time of call over best time of yardstick, seconds of call), the two taken in turns."""
    call()
    yardstick()
    mine, others = [], []
    for _ in range(rounds):
        mine.append(best_of_one(call))
        others.append(best_of_one(yardstick))
    return min(mine) / min(others), min(mine)


def best_of_one(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def gain_of_two(call: Callable[[], object], rounds: int = 3) -> float:
    """Best time of one thread over that of two, taken in turns; numpy's products have as many. Leaves one thread."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, taken in seconds.items():
            set_num_threads(count)
            with threadpool_limits(count):
                begin = time.perf_counter()
                call()  # the first wakes the threads
                taken.append(best_of_one(call))
                while time.perf_counter() < begin + SPELL:  # a virtual machine may take a while to give two processors
                    taken.append(best_of_one(call))
    set_num_threads(1)
    return min(seconds[1]) / min(seconds[2])
