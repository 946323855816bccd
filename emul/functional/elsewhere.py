"""Work that a forward leaves to another thread, where torch's function modes, which belong to one thread, see nothing.

The random words of what is emulated there would be those of whichever thread came first, and so would results. So the
module is told to have called for a thread, by what starts one and what gives work to a pool of them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from threading import Thread
from typing import Any

#: The name by which a report and a rule know such work.
THREAD = "Thread"
UNSEEN = "what it computes is not seen: call its functions in the thread of the forward"

_ASKS = "_emul_asks"
_OWN = ("numerics", "emul", "torch", "numba", "concurrent")


def install(ask: Callable[[], None]) -> None:
    """Let every start of a thread, and all work given to a pool of threads, call `ask` first; once for the process.

    What numerics, torch and numba do in threads is their own business.
    """
    if hasattr(Thread.start, _ASKS):
        return
    start, pool = Thread.start, ThreadPoolExecutor
    submit: Callable[..., Any] = pool.submit

    @wraps(start)
    def asking_start(self: Thread) -> None:
        target = getattr(self, "_target", None)
        if not _is_own(target if type(self).run is Thread.run else type(self)):
            ask()
        start(self)

    @wraps(submit)
    def asking_submit(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not _is_own(fn):
            ask()
        return submit(self, fn, *args, **kwargs)

    setattr(asking_start, _ASKS, True)
    Thread.start = asking_start  # type: ignore[method-assign]
    pool.submit = asking_submit  # type: ignore[assignment, method-assign]


def _is_own(work: Any) -> bool:
    while isinstance(work, partial):
        work = work.func
    return str(getattr(work, "__module__", "")).partition(".")[0] in _OWN
