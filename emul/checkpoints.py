"""Gradient checkpoints: which one a call runs in, and what is put around the function that it runs again.

torch does not say either. Of a checkpoint without reentrance the hooks for saved tensors hold its frame, by a closure, and
so do frames of torch's on the stack; of a reentrant one the context of its autograd function is a local of such a frame.
Both are one object in the forward pass and in the backward pass that makes its operands again; one within another that
runs again is a new one then. Where they are not found, a call runs in none.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType
from typing import Any

import torch

_MODULE = "torch.utils.checkpoint"
_NUMBER, _AROUND = "_emul_number", "_emul_around"
_numbers = count(1)
#: The attribute of a region that holds the function that is run again.
_FUNCTIONS = ("recompute_fn", "run_function")
#: Functions of torch's, and what of their locals holds the checkpoint.
_FRAMES = {"forward": "ctx", "backward": "ctx", "checkpoint": "gen", "unpack_hook": "frame"}


def region() -> Any | None:
    """The innermost checkpoint that runs, for the first time or again."""
    enabled = torch.is_grad_enabled()
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    of_hooks = None if hooks is None else _of_hooks(hooks[0])
    # A reentrant one has no graph at first, and in it one without reentrance has no hooks.
    if of_hooks is not None and enabled:
        return of_hooks
    if enabled and torch._C._current_graph_task_id() == -1:
        return None
    on_the_stack, again = _on_the_stack()
    return of_hooks if of_hooks is not None and (again or on_the_stack is None) else on_the_stack


def reentrant() -> bool:
    """Whether a reentrant checkpoint runs for the first time, without the graph that it has when it runs again."""
    found, again = _on_the_stack()
    return found is not None and not again


def numbers() -> tuple[int, tuple[int, ...]]:
    """The number of the innermost checkpoint that runs again, 0 of none, and those of the ones in it that run first."""
    first: list[int] = []
    innermost = region()
    for found, again in _chain():
        if again:
            return number_of(found), tuple(first)
        first.append(number_of(found))
    if innermost is None:
        return 0, ()
    number = number_of(innermost)
    if torch._C._current_graph_task_id() != -1 and number not in first:
        return number, ()  # known by its hooks alone
    return 0, tuple(dict.fromkeys((number, *first)))


def number_of(found: Any | None) -> int:
    """A number that no other checkpoint has; 0 of none."""
    if found is None:
        return 0
    number = getattr(found, _NUMBER, 0)
    if not number:
        number = next(_numbers)
        setattr(found, _NUMBER, number)
    return int(number)


def around(found: Any, key: object) -> Any:
    """What `around_again` was given last for this checkpoint and key, or None."""
    return getattr(found, _AROUND, {}).get(key)


def around_again(found: Any, key: object, make: Callable[[], Any]) -> None:
    """Let the checkpoint's function run within make() when it runs again; for a key the last call counts."""
    wrapped = getattr(found, _AROUND, None)
    if wrapped is None:
        name = next((name for name in _FUNCTIONS if hasattr(found, name)), None)
        if name is None:
            return
        wrapped = {}
        setattr(found, _AROUND, wrapped)
        setattr(found, name, _within(getattr(found, name), wrapped))
    wrapped[key] = make


def _within(function: Callable[..., Any], wrapped: dict[object, Callable[[], Any]]) -> Callable[..., Any]:
    def again(*args: Any, **kwargs: Any) -> Any:
        contexts = [make() for make in wrapped.values()]
        for context in contexts:
            context.__enter__()
        try:
            return function(*args, **kwargs)
        finally:
            for context in reversed(contexts):
                context.__exit__(None, None, None)

    return again


def _of_hooks(pack: Callable[..., Any]) -> Any | None:
    function = inspect.unwrap(pack)
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or not cells or function.__globals__.get("__name__") != _MODULE:
        return None
    held = {name: cell.cell_contents for name, cell in zip(code.co_freevars, cells, strict=True)}
    found = held.get("frame")
    reference = held.get("target_frame_ref")
    return reference() if found is None and reference is not None else found


def _on_the_stack() -> tuple[Any | None, bool]:
    """The innermost reentrant checkpoint, and whether it runs again."""
    return next((each for each in _chain() if hasattr(each[0], "run_function")), (None, False))


def _chain() -> Iterator[tuple[Any, bool]]:
    """The checkpoints that run, from the innermost, as far as frames on the stack hold them, and whether each runs again."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if name in _FRAMES and frame.f_globals.get("__name__") == _MODULE:
            found = frame.f_locals.get(_FRAMES[name])
            if name == "checkpoint":  # of a generator that waits until its function has run
                waiting = getattr(found, "gi_frame", None)
                found = None if waiting is None else waiting.f_locals.get("new_frame")
            if found is not None:
                yield found, name in ("backward", "unpack_hook")
        frame = frame.f_back
