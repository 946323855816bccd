"""Who sees the functions that a running module calls: a torch function mode for as long as one is running."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, Protocol, TypeVar

import torch
from torch import overrides
from torch._dynamo.decorators import skip
from torch.overrides import TorchFunctionMode

from ..checkpoints import reentrant
from ..operators.eager import EAGER
from . import elsewhere
from .custom import BACKWARD, OPERATORS, SCRIPT, SCRIPTED, install, operator_unseen
from .names import by_singular_values, product_name
from .stance import Eager

_depth = torch._C._len_torch_function_stack
_modes: Callable[[], list[TorchFunctionMode]] = overrides._get_current_function_mode_stack
_push: Callable[[TorchFunctionMode], None] = overrides._push_mode
_pop: Callable[[], TorchFunctionMode] = overrides._pop_mode
_PLAIN = torch.Tensor.__torch_function__
Hook = TypeVar("Hook", bound=Callable[..., None])


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


class Owner(Protocol):
    """Who is told what the modules of one model call."""

    def call(
        self, caller: Running, function: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The result of a function with products."""

    def applied(self, caller: Running, function: str, unseen: str) -> None:
        """Something is about to run; unseen: what of it is not seen, and a remedy, one of `custom`'s."""


class ProductMode(TorchFunctionMode):
    """Hands the products that modules call to their owner; the innermost of `running` is the caller.

    An interrupt can end a module's forward without its hooks: then the mode, which is still there, knows by the
    outermost forward's frame that it is over, and steps aside; the next forward, or restore_, takes it away.
    """

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self.owner, self.quiet = owner, 0
        self.running: list[Running] = []
        self.eager = Eager()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = {} if kwargs is None else kwargs
        name = None if self.quiet else product_name(func)
        if name == "matrix_norm" and not by_singular_values(func, args, kwargs):
            name = None
        if name is None and not self.quiet and isinstance(func, OPERATORS):
            self.operator(func, args, kwargs)
        if name is None or self.over():
            return func(*args, **kwargs)
        own = [kind for kind in types if _has_functions(kind)]
        if own and torch._C._is_torch_function_enabled():
            return self.of_subclass(own, func, types, args, kwargs)
        with off():  # a part that was swapped by itself answers for its own calls
            return self.owner.call(self.running[-1], name, func, args, kwargs)

    def of_subclass(
        self, kinds: list[Any], func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a tensor that has functions of its own makes of one; the products that it calls for come here again."""
        with self:
            for kind in kinds:
                result = kind.__torch_function__(func, types, args, kwargs)
                if result is not NotImplemented:
                    return result
        return func(*args, **kwargs)  # torch's sentence about it

    def operator(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tell the owner of an operator that is not torch's."""
        found = operator_unseen(func, args)
        if found is not None and not self.over():
            self.owner.applied(self.running[-1], *found)

    def over(self) -> bool:
        """Whether the outermost forward has ended without its hook."""
        outermost = self.running[0].frame if self.running else None
        if outermost is None:
            return not self.running
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame is not outermost:
            frame = frame.f_back
        return frame is None


def _has_functions(kind: Any) -> bool:
    """Whether a type of tensors has functions of its own, and values in their place, as a layer wants them."""
    functions = getattr(kind, "__torch_function__", _PLAIN)
    return functions != _PLAIN and getattr(kind, "__torch_dispatch__", None) is torch.Tensor.__torch_dispatch__


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


def tell(name: str, unseen: str) -> None:
    """Something is about to run in this thread, called by the module that is running, if one is; see `Owner.applied`."""
    mode = _running()
    if mode is not None:
        mode.owner.applied(mode.running[-1], name, unseen)


def tell_function(name: str, followed: bool) -> None:
    """`tell` of a torch.autograd.Function; followed: whether a backward may follow."""
    if _depth() and (followed or (not torch.is_grad_enabled() and reentrant())):
        tell(name, BACKWARD)


def _running() -> ProductMode | None:
    """The innermost mode of this thread that watches a module."""
    if not _depth():
        return None
    watching = (
        mode for mode in reversed(_modes()) if isinstance(mode, ProductMode) and not mode.quiet and not mode.over()
    )
    return next(watching, None)


def enter(owner: Owner, running: Running) -> bool:
    """A module's forward begins; whether it is the outermost one."""
    install(tell_function, partial(tell, SCRIPT, SCRIPTED))
    elsewhere.install(partial(tell, elsewhere.THREAD, elsewhere.UNSEEN))
    running.frame = _forward_frame()
    tidy()
    mode = current(owner)
    if mode is not None and mode is not _modes()[-1] and mode.over():
        mode.running.clear()  # an interrupt left it, below a mode of the user's own
    if mode is None:
        mode = ProductMode(owner)
        _push(mode)
    running.depth = len(mode.running)
    mode.running.append(running)
    return len(mode.running) == 1


def begun(owner: object, module: torch.nn.Module) -> bool:
    """Whether the module was entered in the very forward in which torch calls the hook that asks."""
    mode = current(owner)
    if mode is None or not mode.running or mode.running[-1].module is not module:
        return False
    frame = mode.running[-1].frame
    return frame is not None and frame is _forward_frame()


def leave(owner: object, module: torch.nn.Module) -> Running | None:
    """It ends, whether by a result or by an exception; what was running."""
    mode = current(owner)
    if mode is None or not mode.running or mode.running[-1].module is not module:
        return None  # another's hook has raised before it began
    ended = mode.running.pop()
    ended.frame = None
    if not mode.running and _modes()[-1] is mode:
        _pop()
        mode.eager.release()
    return ended


def tidy() -> None:
    """Take away what interrupts have left in this thread. Until then nothing is compiled: a compiler would enter the mode."""
    while _depth():
        mode = _modes()[-1]
        if not isinstance(mode, ProductMode) or not mode.over():
            return
        _pop()
        mode.eager.release()


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


def in_forward() -> bool:
    """Whether torch calls the hook that asks, in a frame that is found."""
    return _forward_frame() is not None


def _forward_frame() -> FrameType | None:
    """The frame in which torch calls hooks and forward; None where it is not found, as in compiled code."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(9):
        if frame is None:
            return None
        if frame.f_code.co_name == "inner" and frame.f_globals.get("__name__") == "torch.nn.modules.module":
            return frame
        frame = frame.f_back
    return None
