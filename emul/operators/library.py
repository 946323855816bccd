"""How an operator of this package is defined: all its forms in one call."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from numerics.words import counter

from .checks import check_place
from .eager import transforms

LIBRARY = torch.library.Library("emul", "DEF")  # type: ignore[no-untyped-call]
Form = Callable[..., Any]
_TRANSFORMED: dict[str, type[Function]] = {}
#: The plain form, and that with its gradient where results have one.
_DIRECT: dict[str, tuple[Form, Form | None]] = {}


def define(
    schema: str,
    *,
    plain: Form,
    cpu: Form,
    cuda: Form,
    fake: Form,
    batched: Form,
    backward: Form | None = None,
    keep: Form | None = None,
) -> None:
    """Define the operator of this schema; every device but the CPU and CUDA refuses.

    plain: as `cpu`, of records and unsigned numbers where `cpu` has what crosses the dispatcher, several as one argument
    if need be, since autograd takes its time for each; for `direct`. fake: the
    result's shape and type, for tensors without values. batched: the rule of torch.vmap. backward, keep: as
    `torch.library.register_autograd` takes them, of the arguments of either form; None where results have no gradient.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    for key, form in (("CPU", cpu), ("CUDA", cuda), ("CompositeExplicitAutograd", _refuse_device)):
        LIBRARY.impl(name, form, key)  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"emul::{name}", fake, lib=LIBRARY)
    torch.library.register_vmap(f"emul::{name}", batched, lib=LIBRARY)
    forms = (_no_gradient, _not_differentiable) if backward is None else (backward, keep or _nothing)
    torch.library.register_autograd(f"emul::{name}", forms[0], setup_context=forms[1], lib=LIBRARY)
    operator = getattr(torch.ops.emul, name)
    parts = {"forward": operator.__call__, "backward": forms[0], "setup_context": forms[1], "vmap": batched}
    parts["jvp"] = partial(_refuse_jvp, name)
    _TRANSFORMED[name] = type(name, (Function,), {label: staticmethod(part) for label, part in parts.items()})
    _DIRECT[name] = plain, None if backward is None else _with_gradient(name, plain, backward, keep)


def _with_gradient(name: str, plain: Form, backward: Form, keep: Form | None) -> Form:
    """The plain form as one step that autograd knows."""

    def forward(ctx: Any, *arguments: Any) -> Any:
        output = plain(*arguments)
        if keep is not None:
            keep(ctx, arguments, output)
        return output

    parts = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    # Not the `apply` of Function itself, which first looks for the transforms that `unwatched` has looked for.
    apply: Form = super(Function, type(name, (Function,), parts)).apply  # type: ignore[misc]
    return apply


def direct(name: str, follows: bool) -> Form:
    """The operator past the dispatcher, which takes longer than a small tensor's arithmetic: of tensors `unwatched`.

    follows: whether autograd follows one of them, `followed`.
    """
    form, with_gradient = _DIRECT[name]
    return form if with_gradient is None or not follows else with_gradient


def call(name: str, *arguments: Any) -> Any:
    """The operator on these arguments; inside torch.func's transforms, which a library's gradients know nothing of, too."""
    if torch.compiler.is_compiling():
        return getattr(torch.ops.emul, name)(*arguments)
    if forward_ad._current_level >= 0:
        _refuse_tangents(name, arguments)
    if transforms() is None:
        return getattr(torch.ops.emul, name)(*arguments)
    return _TRANSFORMED[name].apply(*arguments)  # type: ignore[no-untyped-call]


def _refuse_tangents(name: str, arguments: tuple[Any, ...]) -> None:
    """Nothing would say that they are lost."""
    for argument in arguments:
        if isinstance(argument, Tensor) and forward_ad.unpack_dual(argument)[1] is not None:  # type: ignore[no-untyped-call]
            _refuse_jvp(name)


def _refuse_jvp(name: str, *_: Any) -> None:
    """What torch.func.jvp, jacfwd and hessian ask for."""
    raise NotImplementedError(
        f"emul::{name} has no forward-mode gradient: use backward(), torch.func.grad or torch.func.jacrev"
    )


def signed(label: str, value: int) -> int:
    """An integer in [0, 2**64) as the dispatcher has it. Errors: ValueError outside, TypeError for no integer."""
    value = counter(label, value)
    return value - (1 << 64) if value >= 1 << 63 else value


def unsigned(value: int) -> int:
    """The integer that `signed` was given."""
    return value + (1 << 64) if value < 0 else value


def straight(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """What comes in, to the first argument: the straight-through estimator."""
    return gradient, *(None,) * (len(ctx.needs_input_grad) - 1)


def _nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """A gradient that needs nothing."""


def _not_differentiable(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.mark_non_differentiable(*(output if isinstance(output, tuple) else (output,)))


def _no_gradient(ctx: Any, *gradients: Any) -> tuple[None, ...]:
    return (None,) * len(ctx.needs_input_grad)


def _refuse_device(*arguments: Any) -> Tensor:
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    check_place(tensors[0], "the operand")
    places = [str(tensor.device) for tensor in tensors]
    raise ValueError(f"the operands are on {places}: move all of them to the CPU or to one CUDA device")
