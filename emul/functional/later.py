"""A forward that is a generator or a coroutine: what it computes comes behind the hooks of its end, step by step."""

from collections.abc import Generator
from types import CoroutineType, GeneratorType, coroutine
from typing import Any

from .mode import Owner, Running, enter, leave

#: What a forward may return that is yet to run.
LATER = (GeneratorType, CoroutineType)


def resumed(owner: Owner, running: Running, steps: Any) -> Any:
    """The same generator or coroutine, each of whose steps runs as in the module's forward."""
    found = _resumed if isinstance(steps, GeneratorType) else _awaited
    return found(owner, running, steps)


async def _awaited(owner: Owner, running: Running, steps: Any) -> Any:
    @coroutine
    def again() -> Generator[Any, Any, Any]:
        return (yield from _resumed(owner, running, steps))

    return await again()


def _resumed(owner: Owner, running: Running, steps: Any) -> Generator[Any, Any, Any]:
    call, given = steps.send, None
    try:
        while True:
            enter(owner, Running(running.name, running.module, running.restored, running.calls))
            try:
                found = call(given)
            except StopIteration as end:
                return end.value
            finally:
                leave(owner, running.module)
            try:
                call, given = steps.send, (yield found)
            except GeneratorExit:
                raise
            except BaseException as error:  # thrown into the generator, which may go on
                call, given = steps.throw, error
    finally:
        steps.close()
