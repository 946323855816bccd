"""What numba-cuda's simulator needs to be trusted: its shared arrays are one to a block, however its threads run.

As it comes, two threads that ask for an array at once may each make one, and not see what the other writes (numba-cuda
0.30.4).
"""

import sys
import threading
from typing import Any

import numpy as np
from numba.core.types import Type
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


def one_array_to_a_block() -> None:
    """Makes it so, for this process."""
    FakeCUDAShared.array = _array
