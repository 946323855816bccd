"""What numba-cuda's simulator needs to be trusted, and to be quick (numba-cuda 0.30.4).

As it comes, two threads that ask for a shared array at once may each make one, and not see what the other writes. And
whoever runs a block asks its threads in turn, without a pause, whether they wait: it holds up those that do not, as only
one thread of Python runs at a time. Here the last thread to wait wakes the others.
"""

import sys
import threading
from typing import Any

import numpy as np
from numba.core.types import Type
from numba.cuda.simulator.kernel import BlockManager, BlockThread
from numba.cuda.simulator.kernelapi import FakeCUDAShared
from numba.np.numpy_support import as_dtype

_making = threading.Lock()


def _array(self: Any, shape: Any, dtype: Any) -> Any:
    """The array of the block for the line that asks: as in the simulator, two on a line would be one."""
    frame = sys._getframe(1)
    place = frame.f_code.co_filename, frame.f_lineno
    with _making:
        if place not in self._allocations:
            self._allocations[place] = np.empty(shape, as_dtype(dtype) if isinstance(dtype, Type) else dtype)
    return self._allocations[place]


def _run_block(self: Any, grid_point: Any, *args: Any) -> None:
    """One block of threads, to their end. Errors: that of a thread; the others end where they next wait."""

    def target() -> None:
        self._f(*args)

    points = np.ndindex(*self._block_dim)
    threads = [BlockThread(target, self, grid_point, point, self._debug) for point in points]
    self.gate, self.passed = threading.Condition(), 0
    self.living, self.waiting = len(threads), 0
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for thread in threads:
        if thread.exception and not thread.abort:
            raise thread.exception[0].with_traceback(thread.exception[1])


def _open(manager: Any) -> None:
    """Lets those pass that wait, if all do that have not ended; its gate is held."""
    if manager.waiting == manager.living:
        manager.waiting, manager.passed = 0, manager.passed + 1
        manager.gate.notify_all()


def _run_thread(self: Any) -> None:
    _own_run(self)
    manager = self._manager
    with manager.gate:
        manager.living -= 1
        if self.exception and not self.abort:
            manager.failed = True
            manager.gate.notify_all()
        _open(manager)


def _wait_for_block(self: Any) -> None:
    manager = self._manager
    with manager.gate:
        manager.waiting += 1
        turn = manager.passed
        _open(manager)
        manager.gate.wait_for(lambda: manager.passed != turn or manager.failed)
        if manager.failed:
            self.abort = True
            raise RuntimeError("another thread of the block failed")


_own_run = BlockThread.run


def repair() -> None:
    """Makes the simulator of this process so."""
    FakeCUDAShared.array = _array
    BlockManager.failed = False
    BlockManager.run = _run_block
    BlockThread.run, BlockThread.syncthreads = _run_thread, _wait_for_block
