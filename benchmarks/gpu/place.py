"""Where the cases compute: a card through torch, or numba-cuda's simulator with numpy arrays."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from numerics.kernels.cuda._jit import SIMULATED


class Place:
    """The first card, or the simulator."""

    def __init__(self) -> None:
        if SIMULATED:
            from numerics.device import own_queue

            self.queue = own_queue()
            return
        import torch

        from emul.device import queue

        self.torch = torch
        self.where = torch.device("cuda", 0)
        self.queue = queue(self.where)

    def upload(self, x: np.ndarray) -> Any:
        return x if SIMULATED else self.torch.from_numpy(np.array(x, order="C")).to(self.where)

    def download(self, x: Any) -> np.ndarray:
        return x if isinstance(x, np.ndarray) else x.cpu().numpy()

    def zeros(self, shape: tuple[int, ...], dtype: type) -> Any:
        if SIMULATED:
            return np.zeros(shape, dtype)
        kind = np.dtype(dtype)  # codes of more than one byte: torch has few operations on them, and none is needed
        return self.torch.zeros(shape, dtype=getattr(self.torch, kind.name), device=self.where)

    def wait(self) -> None:
        if not SIMULATED:
            self.torch.cuda.synchronize()

    def seconds(self, call: Callable[[], object], rounds: int = 12) -> float:
        """Of the fastest of so many calls after two that warm up, by the device's own clock."""
        if SIMULATED:
            begin = time.perf_counter()
            call()
            return time.perf_counter() - begin
        call()
        call()
        found = []
        for _ in range(rounds):
            begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            end.synchronize()
            found.append(begin.elapsed_time(end) / 1e3)
        return min(found)

    def description(self) -> dict[str, str]:
        from importlib.metadata import PackageNotFoundError, version

        found = {"device": "numba-cuda's simulator"}
        if not SIMULATED:
            properties = self.torch.cuda.get_device_properties(self.where)
            found = {
                "device": properties.name,
                "compute capability": f"{properties.major}.{properties.minor}",
                "multiprocessors": str(properties.multi_processor_count),
                "memory": f"{properties.total_memory / 2**30:.1f} GiB",
                "cuda of torch": str(self.torch.version.cuda),
            }
        for name in ("torch", "numba", "numba-cuda", "numpy"):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "not installed"
        return found
