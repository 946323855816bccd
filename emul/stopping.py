"""Signals that stop a long command: it ends with a sentence, and with nothing half-written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Which signal asked to stop: `number`, 0 before one has come."""

    number = 0

    def check(self) -> None:
        """Raise KeyboardInterrupt if asked to: a library may have swallowed the first one, as compilers' callbacks do."""
        if self.number:
            raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[Stop]:
    """SIGINT and SIGTERM raise KeyboardInterrupt inside, and are remembered; what they did before is put back."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to that one alone
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        stop.number = number
        raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
