"""Gradients that a user's own code computes: a torch.autograd.Function's, and those of an operator of another library.

torch's function modes see what the forward of such a Function calls, and neither the Function nor its backward, which runs
after the model's forward. So the class from which all of them inherit `apply` is given one that asks first who is running;
graphs of outputs would be dearer to walk, and lack what a module keeps as an attribute or returns in a record of its own.
An operator shows its gradient by a kernel of its own for autograd; torch.func's transforms apply a Function by an operator.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._functorch.autograd_function import custom_function_call
from torch._ops import HigherOrderOperator, OpOverload, OpOverloadPacket
from torch.autograd.function import Function, _SingleLevelFunction

#: The types of functions that may have a gradient of a user's.
OPERATORS = (OpOverload, OpOverloadPacket, HigherOrderOperator)
_ASKS = "_emul_asks"


def install(ask: Callable[[str, bool], None]) -> None:
    """Let every Function call ask(name, whether a backward may follow) before it is applied; once for the process."""
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


def operator_name(func: Callable[..., Any], args: tuple[Any, ...]) -> str | None:
    """That of an operator with a gradient of its own, such as "library::name", and of a Function under a transform."""
    if func is custom_function_call:
        return function_name(args[0])
    if isinstance(func, OpOverload):
        found = str(func._schema.name)
    elif isinstance(func, OpOverloadPacket):
        found = str(func._qualified_op_name)
    else:
        return None
    if found.startswith(("aten::", "prim::", "prims::", "emul::")):
        return None
    overloads = [func] if isinstance(func, OpOverload) else [getattr(func, name) for name in func.overloads()]  # type: ignore[no-untyped-call]
    own = any(torch._C._dispatch_has_kernel_for_dispatch_key(each._name, "Autograd") for each in overloads)
    return found if own else None


def follows(values: Any) -> bool:
    """Whether a backward pass may come to what is called with these."""
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in values)


def known(name: str) -> bool:
    """Whether a Function of this name is there, or an operator, for a rule to name."""
    library, of, operator = name.partition("::")
    if of:
        return hasattr(getattr(torch.ops, library), operator)
    return any(function_name(cls) == name for cls in _functions(Function))


def _functions(cls: type) -> Iterator[type]:
    inner: type
    for inner in cls.__subclasses__():
        yield inner
        yield from _functions(inner)
