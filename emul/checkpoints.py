"""Gradient checkpoints: which one a call runs in, and what is put around the function that it runs again.

torch does not say either. Of a checkpoint without reentrance the hooks for saved tensors hold its frame, by a closure; of a
reentrant one the context of its autograd function is a local of a frame on the stack. Both are one object in the forward
pass and in the backward pass that makes its operands again. Where they are not found, a call runs in none; of checkpoints
within one another the innermost is known, and only to its own backward pass.
"""

import inspect
import sys
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import torch

_MODULE = "torch.utils.checkpoint"
_NUMBER, _AROUND = "_emul_number", "_emul_around"
_numbers = count(1)
#: The attribute of a region that holds the function that is run again.
_FUNCTIONS = ("recompute_fn", "run_function")


def region() -> Any | None:
    """The innermost checkpoint that runs, for the first time or again."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    if hooks is not None:
        return _of_hooks(hooks[0])
    if torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1:
        return None  # a reentrant one has no graph at first
    return _on_the_stack()


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


def _on_the_stack() -> Any | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in ("forward", "backward") and frame.f_globals.get("__name__") == _MODULE:
            return frame.f_locals.get("ctx")
        frame = frame.f_back
    return None
