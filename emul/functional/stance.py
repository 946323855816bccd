"""While a swapped model runs, nothing is compiled: what a module compiles by itself and calls is seen only if it is run.

The stance of torch.compile is one for the process, so all forwards that run, whatever their threads, share it: the
first sets it, and the last to end gives back what was there before.
"""

from threading import RLock  # a finalizer may run within
from typing import Any

import torch


class Shared:
    """Who runs, and how the stance that was there before is had back."""

    def __init__(self) -> None:
        self.lock, self.running = RLock(), 0
        self.before: Any = None


_SHARED = Shared()


class Eager:
    """One that runs, until it is released, at the latest with itself."""

    def __init__(self) -> None:
        self.held = False
        with _SHARED.lock:
            if not _SHARED.running:
                _SHARED.before = torch.compiler.set_stance("force_eager")
            self.held = True
            _SHARED.running += 1

    def release(self) -> None:
        """End."""
        with _SHARED.lock:
            if not self.held:
                return
            self.held = False
            _SHARED.running -= 1
            if not _SHARED.running and _SHARED.before is not None:
                _SHARED.before.__exit__(None, None, None)
                _SHARED.before = None

    def __del__(self) -> None:
        self.release()
