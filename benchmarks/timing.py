"""Ratios of wall times in one run: the machine's speed cancels."""

import time
from collections.abc import Callable


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
