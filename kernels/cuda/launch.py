"""What a host does with a device: arrays there and back, streams, launches. In the simulator its arrays are numpy's."""

from collections import namedtuple
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda

from ._jit import SIMULATED

# A device by its number, the stream that work is put on, and zeros(shape, dtype) -> a new array of zeros on the device.
Queue = namedtuple("Queue", "device stream zeros")
FEWEST = 1 if SIMULATED else 128  # blocks below which numba warns of an idle device; more of them cost it nothing
PER_UNIT = 8  # blocks that a loop over elements has for each multiprocessor


def own_queue(device: int = 0) -> Queue:
    """The default stream of a device; new arrays are numba's, or numpy's in the simulator."""
    if SIMULATED:
        return Queue(device, 0, np.zeros)

    def zeros(shape: Any, dtype: Any) -> Any:
        with cuda.gpus[device]:
            return cuda.to_device(np.zeros(shape, dtype))

    return Queue(device, 0, zeros)


def stream_of(device: int, pointer: int) -> Any:
    """The stream of another library by its address, 0 for the default stream."""
    with cuda.gpus[device]:
        return cuda.external_stream(pointer) if pointer else 0


def on(queue: Queue) -> AbstractContextManager[Any]:
    """Inside, the queue's device is the current one."""
    device: AbstractContextManager[Any] = cuda.gpus[queue.device]
    return device


def driver_answers() -> bool:
    """Whether there is a driver and a device; the simulator needs none."""
    return SIMULATED or bool(cuda.is_available())


def capability(device: int) -> tuple[int, int]:
    """The compute capability of a device, for the simulator the oldest one that there is."""
    major, minor = (7, 0) if SIMULATED else cuda.gpus[device].compute_capability
    return int(major), int(minor)


def array(x: Any) -> Any:
    """x as numba takes it, the same memory: of the current device, with `__cuda_array_interface__`; or a numpy array."""
    return x if isinstance(x, np.ndarray) else cuda.as_cuda_array(x, sync=False)


def put(x: Any) -> Any:
    """A copy on the current device of a host array, or of a record of them."""
    if isinstance(x, tuple):
        return type(x)(*(put(part) for part in x)) if hasattr(x, "_fields") else tuple(put(part) for part in x)
    return x if SIMULATED else cuda.to_device(x)


def get(x: Any, queue: Queue) -> np.ndarray[Any, Any]:
    """A host copy of a contiguous array, after everything that the queue holds."""
    if isinstance(x, np.ndarray):
        return x
    if queue.stream:
        queue.stream.synchronize()
    copied: np.ndarray[Any, Any] = array(x).copy_to_host()
    return copied


def blocks_for(pieces: int, queue: Queue) -> int:
    """How many blocks a loop over so many pieces gets."""
    if SIMULATED:
        return min(pieces, 2)
    units = int(cuda.gpus[queue.device].MULTIPROCESSOR_COUNT)
    return max(FEWEST, min(pieces, PER_UNIT * units))


def launch(kernel: Any, grid: tuple[int, ...], block: tuple[int, ...], queue: Queue, *arguments: Any) -> None:
    """Put a kernel on the queue; blocks beyond its work are added to a small grid."""
    if SIMULATED:  # which takes an array of any strides only as one that is on its device
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        arguments = tuple(FakeCUDAArray(x) if isinstance(x, np.ndarray) else x for x in arguments)
    across, *others = grid
    rest = int(np.prod(others, dtype=np.int64))
    kernel[(max(across, -(-FEWEST // rest)), *others), block, queue.stream](*arguments)


def seen(x: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The memory of x in another shape, strides in bytes: the caller keeps inside of it."""
    if isinstance(x, np.ndarray):
        return np.lib.stride_tricks.as_strided(x, shape, strides)
    interface = {**x.__cuda_array_interface__, "shape": shape, "strides": strides}
    return cuda.as_cuda_array(SimpleNamespace(held=x, __cuda_array_interface__=interface), sync=False)
