"""Who sees the functions that a running module calls: a torch function mode for as long as one is running."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import overrides
from torch._dynamo.decorators import skip
from torch.overrides import TorchFunctionMode

from ..operators.eager import EAGER
from .names import product_name

_depth = torch._C._len_torch_function_stack
_modes: Callable[[], list[TorchFunctionMode]] = overrides._get_current_function_mode_stack
_push: Callable[[TorchFunctionMode], None] = overrides._push_mode
_pop: Callable[[], TorchFunctionMode] = overrides._pop_mode
Hook = TypeVar("Hook", bound=Callable[..., None])
#: (the module that calls, the function's name, the function, its arguments) -> its result.
Handler = Callable[["Running", str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


@dataclass(eq=False)
class Running:
    """A module in its forward: its qualified name, itself, whether it is torch's own again, calls of each function."""

    name: str
    module: torch.nn.Module
    restored: bool = False
    calls: dict[str, int] = field(default_factory=dict)
    frame: FrameType | None = None
    depth: int = 0  # how many modules of the model run around it

    def count(self, function: str) -> int:
        """How many calls of the function this forward has made before."""
        index = self.calls.get(function, 0)
        self.calls[function] = index + 1
        return index


class ProductMode(TorchFunctionMode):
    """Hands the products that modules call to a handler, of one owner; the innermost of `running` is the caller.

    An interrupt can end a module's forward without its hooks: then the mode, which is still there, knows by the
    outermost forward's frame that it is over, and steps aside.
    """

    def __init__(self, owner: object, handler: Handler) -> None:
        super().__init__()
        self.owner, self.handler, self.quiet = owner, handler, 0
        self.running: list[Running] = []
        self.eager = torch.compiler.set_stance("force_eager")  # what is compiled by itself and called in the model

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = {} if kwargs is None else kwargs
        if self.quiet or (name := product_name(func)) is None or self.over():
            return func(*args, **kwargs)
        with off():  # a part that was swapped by itself answers for its own calls
            return self.handler(self.running[-1], name, func, args, kwargs)

    def over(self) -> bool:
        """Whether the outermost forward has ended without its hook."""
        outermost = self.running[0].frame if self.running else None
        if outermost is None:
            return not self.running
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame is not outermost:
            frame = frame.f_back
        return frame is None


def uncompiled(hook: Hook) -> Hook:
    """A hook after which nothing of this thread is compiled any more, until torch.compile's own wrapper returns.

    A mode cannot be trusted in compiled code: behind one Dynamo 2.13 takes x.mT for x. So a swapped model that is compiled
    runs eagerly, from the hook on. `torch.compiler.disable` would have the hook alone run so.
    """

    def before(self: Any, *args: Any) -> Any:
        torch._C._dynamo.eval_frame.set_eval_frame(None)
        return hook(self, *args)

    made = skip(before)
    made._torchdynamo_disable_msg = EAGER  # type: ignore[attr-defined]  # what fullgraph=True is told
    return made  # type: ignore[return-value]


def current(owner: object) -> ProductMode | None:
    """The mode of this owner in this thread."""
    if not _depth():
        return None
    modes = reversed(_modes())
    return next((mode for mode in modes if isinstance(mode, ProductMode) and mode.owner is owner), None)


def enter(owner: object, handler: Handler, running: Running) -> bool:
    """A module's forward begins; whether it is the outermost one."""
    running.frame = _forward_frame()
    mode = current(owner)
    if mode is not None and mode.over():
        mode.running.clear()  # an interrupt left it
    if mode is None:
        mode = ProductMode(owner, handler)
        _push(mode)
    running.depth = len(mode.running)
    mode.running.append(running)
    return len(mode.running) == 1


def leave(owner: object, module: torch.nn.Module) -> None:
    """It ends, whether by a result or by an exception."""
    mode = current(owner)
    if mode is None or not mode.running or mode.running[-1].module is not module:
        return  # another's hook has raised before it began
    mode.running.pop().frame = None
    if not mode.running and _modes()[-1] is mode:
        _pop()
        mode.eager.__exit__(None, None, None)


@contextmanager
def off() -> Iterator[None]:
    """Products that an emulated one is made of are nobody's business; on top of the stack there is no mode at all."""
    if not _depth():
        yield
        return
    popped, hushed = [], []
    try:
        while _depth() and isinstance(_modes()[-1], ProductMode):
            popped.append(_pop())
        for mode in _modes():  # below a mode of the user's own
            if isinstance(mode, ProductMode):
                mode.quiet += 1
                hushed.append(mode)
        yield
    finally:
        for mode in hushed:
            mode.quiet -= 1
        for mode in reversed(popped):
            _push(mode)


def _forward_frame() -> FrameType | None:
    """The frame in which torch calls hooks and forward; None where it is not found, as in compiled code."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(6):
        if frame is None:
            return None
        if frame.f_code.co_name == "inner" and frame.f_globals.get("__name__") == "torch.nn.modules.module":
            return frame
        frame = frame.f_back
    return None
