"""What a user's own code computes: a torch.autograd.Function's gradient, operators of other libraries, scripted functions.

torch's function modes see what the forward of such a Function calls, and neither the Function nor its backward, which runs
after the model's forward. So the class from which all of them inherit `apply` is given one that asks first who is running;
graphs of outputs would be dearer to walk, and lack what a module keeps as an attribute or returns in a record of its own.
A scripted or traced function runs outside Python, and is asked for in the same way.
An operator shows its gradient by a kernel of its own for autograd; torch.func's transforms apply a Function by an operator.
What operators compute, and functions that are given to torch.cond and its kin, the modes do not see.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._functorch.autograd_function import custom_function_call
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket
from torch.autograd.function import Function, _SingleLevelFunction

from .elsewhere import THREAD

#: The types of functions that may compute what is not seen.
OPERATORS = (OpOverload, OpOverloadPacket, HigherOrderOperator)
_ASKS = "_emul_asks"

#: What is not seen, and what to write in its place.
BACKWARD = "what its backward computes is not seen: write it with torch's functions"
WHOLE = "what it and its backward compute is not seen: write it with torch's functions"
FORWARD = "what it computes is not seen: write it with torch's functions"
GIVEN = "what the functions given to it compute is not seen: write it with Python's own if, for and while"
SCRIPTED = "what it computes outside Python is not seen: call the function that it was scripted or traced from"

#: The name of any scripted or traced function, which has none that says more.
SCRIPT = "ScriptFunction"

#: Libraries of torch's own that move, mark and record tensors.
_MOVES = (
    *("c10d", "c10d_functional", "_c10d_functional", "_c10d_functional_autograd", "fsdp", "_dtensor"),
    *("streams", "profiler", "export", "debugprims", "rngprims", "inductor_prims", "debug_mode_ops"),
)
_EXACT = ("aten", "prim", "prims", "emul", *_MOVES)


def install(ask: Callable[[str, bool], None], scripted: Callable[[], None]) -> None:
    """Let every Function call ask(name, whether a backward may follow) before it is applied, and every scripted function
    `scripted`; once for the process.
    """
    _install_scripted(scripted)
    before = vars(_SingleLevelFunction).get("apply", vars(torch._C._FunctionBase)["apply"])
    if getattr(getattr(before, "__func__", None), _ASKS, False):
        return

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        name = function_name(cls)
        if name is not None:
            ask(name, follows(args))
        return before.__get__(None, cls)(*args, **kwargs)

    setattr(apply, _ASKS, True)
    _SingleLevelFunction.apply = classmethod(apply)  # type: ignore[attr-defined]


def function_name(cls: type) -> str | None:
    """The name by which a report and a rule know a Function; None for emul's and torch's own.

    Of torch's own, those of code that was compiled ahead of time are a user's.
    """
    module = cls.__module__
    if module.startswith(("emul.", "torch.")) and not module.startswith("torch._functorch._aot_autograd."):
        return None
    return cls.__name__


def _install_scripted(ask: Callable[[], None]) -> None:
    before = torch._C.ScriptFunction.__call__
    if getattr(before, _ASKS, False):
        return

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        ask()
        return before(self, *args, **kwargs)

    setattr(call, _ASKS, True)
    torch._C.ScriptFunction.__call__ = call  # type: ignore[method-assign]


def operator_unseen(func: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, str] | None:
    """(name, what of it is not seen) of an operator that is not torch's, such as "library::name", and of a Function under
    a transform.
    """
    if func is custom_function_call:
        name = function_name(args[0])
        return None if name is None else (name, WHOLE)
    if isinstance(func, HigherOrderOperator):
        return f"higher_order::{func.__name__}", GIVEN
    if isinstance(func, OpOverload):
        found = str(func._schema.name)
    elif isinstance(func, OpOverloadPacket):
        found = str(func._qualified_op_name)
    else:
        return None
    if found.partition("::")[0] in _EXACT:
        return None
    overloads = [func] if isinstance(func, OpOverload) else [getattr(func, name) for name in func.overloads()]  # type: ignore[no-untyped-call]
    own = any(torch._C._dispatch_has_kernel_for_dispatch_key(each._name, "Autograd") for each in overloads)
    return found, WHOLE if own else FORWARD


def follows(values: Any) -> bool:
    """Whether a backward pass may come to what is called with these."""
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in values)


def known(name: str) -> bool:
    """Whether what computes unseen has this name, a Function or an operator that is there among it, for a rule to name."""
    if name in (SCRIPT, THREAD):
        return True
    library, of, operator = name.partition("::")
    if of:
        return hasattr(getattr(torch.ops, library), operator)
    return any(function_name(cls) == name for cls in _functions(Function))


def _functions(cls: type) -> Iterator[type]:
    inner: type
    for inner in cls.__subclasses__():
        yield inner
        yield from _functions(inner)
