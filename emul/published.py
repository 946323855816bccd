"""A published function of numpy arrays becomes one of tensors, for `emul.luq` and the other modules of that kind.

In. CPU tensors of any strides are read where they are, without a copy. CUDA tensors of the functions that have kernels
(LUQ's alpha, quantize, encode and decode; the masks top_n and mvue; signs, AP2, packing and products of bits) stay on their
device, see `published_device`. Those of all others, clipping, norms, scaling and diagnostics among them, are copied to the
host, computed there, and the results copied back: a round trip, slow, with the CPU's bits because it is the CPU that
computes. So are operands that the kernels do not take, and all where numba-cuda is not installed. All tensors of a call are
on one device. Floats are float32 or float64; words, codes and masks any integers or bools. Where a function wants one
number, such as alpha, a tensor of no dimensions is one, from any device; where it wants a numpy dtype, a torch one; a
function among the arguments is called with tensors. Records may hold tensors. What is no tensor is passed on as it is.

Out. Arrays become tensors of the same dtype on the device of the arguments, the CPU where there were none, inside tuples
and records too; functions become functions of tensors, Python's numbers stay. `PackedMatrix` keeps its bits in numpy, on
the host, whatever made it. `out` is written and returned, its version counted.

Gradients. Results are detached, but for the functions whose docstring names a gradient, which goes to x alone: the
straight-through estimator of Bengio, Leonard and Courville, arXiv 1308.3432, that is, what comes in, in full or where a
mask lets it pass. torch.compile breaks its graph here and does not look inside, where it would put torch's operations,
of other bits, in numpy's place.

Four are torch operators besides, `luq.quantize` and of `sparsity` `top_n`, `mvue` and `transposable_mask`: a compiled graph
holds them, fake tensors have results, and torch.vmap gives what a loop gives (the same words for every slice). With `out`,
and with words in an array that is no tensor, they are functions like the others.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial, wraps
from inspect import BoundArguments, getdoc, signature
from types import FunctionType
from typing import Any, NamedTuple, ParamSpec, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.binary import PackedMatrix

from .operators.checks import WHOLE, check_operand, check_place, check_together
from .operators.reading import array_of

P = ParamSpec("P")


class Gradient(NamedTuple):
    """Where the incoming gradient passes on to x: `mask` of (the arguments by name, the result), None for everywhere."""

    text: str
    mask: Callable[[dict[str, Any], NDArray[Any]], NDArray[np.bool]] | None = None
    mask_there: Callable[[dict[str, Any], Tensor], Tensor] | None = None  # the same on the device


#: The gradient of the mean where nothing is clipped and nothing biased; an estimate elsewhere.
STRAIGHT = Gradient("to x, the identity")


def published(
    function: Callable[P, object], gradient: Gradient | None = None, on_device: str | None = None
) -> Callable[P, Any]:
    """`function` on tensors, as this module's docstring says, under the same name in `emul`.

    on_device: its name in `published_device`, if it has a kernel.

    Errors of the result: those of `function`; TypeError for other dtypes; ValueError for meta and sparse tensors, other
    devices, two devices, a tensor with dimensions for a number, `out` where a gradient is asked for; NotImplementedError
    for tensors without memory: under vmap and torch.func, and fake ones.
    """
    known = signature(function)
    numbers = {
        label
        for label, parameter in known.parameters.items()
        if any(kind in (parameter.annotation, *get_args(parameter.annotation)) for kind in (int, float))
    }

    @wraps(function)
    def on_tensors(*args: P.args, **kwargs: P.kwargs) -> Any:
        given = known.bind(*args, **kwargs)
        call = _Call(function, gradient, numbers, given, on_device)
        if "torch._dynamo" in sys.modules:  # seconds to import, so only where somebody has done so
            apart: Callable[[], Any] = torch.compiler.disable(call.result)  # type: ignore[no-untyped-call]
            return apart()
        return call.result()

    return _described(on_tensors, function, gradient)


def operated(
    function: Callable[P, object], gradient: Gradient | None = None
) -> Callable[[Callable[..., Any]], Callable[P, Any]]:
    """Makes of the front of an operator the published function on tensors that it computes."""

    def named(front: Callable[..., Any]) -> Callable[P, Any]:
        return _described(wraps(function)(front), function, gradient)

    return named


def whole_numbers(*values: Any) -> bool:
    """Whether all are Python's integers, or None: what operators take as they are."""
    for value in values:
        if type(value) is not int and value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            return False
    return True


def _described(made: Callable[P, Any], function: Callable[P, object], gradient: Gradient | None) -> Callable[P, Any]:
    """`made` with the place and the help of a published function."""
    made.__module__ = "emul." + function.__module__.split(".")[1]
    stated = f"{gradient.text}." if gradient else "none, results are detached."
    made.__doc__ = f"{getdoc(function)}\n\nOn tensors: see `emul.published`. Gradient: {stated}"
    return made


@dataclass
class _Call:
    """One call: its arguments, and the first tensor met among them, whose device all share."""

    function: Callable[..., Any]
    gradient: Gradient | None
    numbers: set[str]
    given: BoundArguments
    on_device: str | None = None
    first: tuple[str, Tensor] | None = None
    tracked: bool = False  # whether autograd follows any of the tensors

    def result(self) -> Any:
        """What the function gives, as tensors."""
        tensors = self.given.arguments
        if self.on_device and any(isinstance(value, Tensor) and _elsewhere(value) for value in tensors.values()):
            found = self.there()
            if found is not NotImplemented:
                return found
        arrays = {label: _mapped(value, partial(self._array, label)) for label, value in tensors.items()}
        out, x = tensors.get("out"), tensors.get("x")
        if isinstance(out, Tensor):
            if self.tracked and torch.is_grad_enabled():
                raise ValueError("out does not go with requires_grad: call under torch.no_grad(), or leave out away")
            self.computed(arrays)
            return _written(out, arrays["out"])
        if self.gradient and isinstance(x, Tensor) and x.requires_grad and torch.is_grad_enabled():
            return _Passing.apply(x, self, arrays, None)  # type: ignore[no-untyped-call]
        return _mapped(self.computed(arrays), self.tensor)

    def there(self) -> Any:
        """What the device's kernel gives, NotImplemented where there is none for this call."""
        try:
            from . import published_device
        except ImportError:  # no numba-cuda
            return NotImplemented
        arguments = self.given.arguments
        for label, value in arguments.items():
            _mapped(value, partial(self._looked_at, label))
        run = partial(getattr(published_device, self.on_device or ""), *self.given.args, **self.given.kwargs)
        x, out = arguments.get("x"), arguments.get("out")
        if self.tracked and torch.is_grad_enabled() and out is not None:
            return NotImplemented  # refused there
        with torch.no_grad():
            result = run()
        if result is NotImplemented or not (self.gradient and isinstance(x, Tensor) and x.requires_grad):
            return result
        return _Passing.apply(x, self, None, result) if torch.is_grad_enabled() else result  # type: ignore[no-untyped-call]

    def _looked_at(self, label: str, value: Any) -> None:
        """Refuses what `_array` refuses, and remembers what it does."""
        if isinstance(value, Tensor):
            (check_place if value.dtype in WHOLE else check_operand)(value, label)
            self.tracked |= value.requires_grad
            if label not in self.numbers:
                self.first = self.first or (label, value)
                check_together(self.first[1], value, self.first[0], label)

    def computed(self, arrays: dict[str, Any]) -> Any:
        """What the function gives for these arguments, as arrays."""
        given = BoundArguments(self.given.signature, arrays)
        return self.function(*given.args, **given.kwargs)

    def _array(self, label: str, value: Any) -> Any:
        """An argument, or a part of one, as the numpy function takes it."""
        if isinstance(value, torch.dtype):
            return _numpy_dtype(label, value)
        if is_dataclass(value) and not isinstance(value, type):
            held = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
            if not any(isinstance(part, Tensor) for part in held.values()):
                return value
            return replace(value, **{name: self._array(label, part) for name, part in held.items()})
        if callable(value) and not isinstance(value, type):
            return lambda array: _mapped(value(self.tensor(array)), partial(self._array, f"the result of {label}"))
        if not isinstance(value, Tensor):
            return value
        (check_place if value.dtype in WHOLE else check_operand)(value, label)
        self.tracked |= value.requires_grad
        if label in self.numbers:
            if value.dim():
                raise ValueError(f"{label} is a tensor of shape {list(value.shape)}: give one number, of shape []")
            return value.item()
        self.first = self.first or (label, value)
        check_together(self.first[1], value, self.first[0], label)
        try:
            # What is read by DLPack may not be written, and of fake tensors it would read what is not there.
            plain = label != "out" and type(value) in (Tensor, torch.nn.Parameter)
            return array_of(value) if plain else value.numpy(force=True)
        except RuntimeError as error:
            raise NotImplementedError(
                f"{label} is a {type(value).__name__} without memory that numpy could read ({error}): give plain tensors,"
                " a batch as a dimension; vmap, torch.func and fake tensors stop here"
            ) from error

    def tensor(self, value: Any) -> Any:
        """A result, or a part of one, for the caller."""
        if is_dataclass(value) and not isinstance(value, PackedMatrix | type):
            return replace(value, **{field.name: self.tensor(getattr(value, field.name)) for field in fields(value)})
        if isinstance(value, FunctionType):
            return published(value)
        if not isinstance(value, np.ndarray | np.generic):
            return value
        array = np.asarray(value, order="C")
        made = torch.from_numpy(array if array.flags.writeable else array.copy())
        return made if self.first is None else made.to(self.first[1].device)


class _Passing(torch.autograd.Function):
    """The result of a call whose x gets the incoming gradient where the mask says so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: _Call, arrays: dict[str, Any] | None, there: Tensor | None) -> Tensor:
        assert call.gradient is not None
        if arrays is None:
            assert there is not None
            if call.gradient.mask_there is not None:
                ctx.save_for_backward(call.gradient.mask_there(call.given.arguments, there))
            return there
        result = call.computed(arrays)
        if call.gradient.mask is not None:
            ctx.save_for_backward(call.tensor(call.gradient.mask(arrays, result)))
        made: Tensor = call.tensor(result)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        for mask in ctx.saved_tensors:
            gradient = gradient.where(mask, 0)
        return gradient, None, None, None


def _elsewhere(tensor: Tensor) -> bool:
    return tensor.is_cuda


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` changed, or a tuple, list or dict of its changed parts."""
    if isinstance(value, dict):
        return {key: _mapped(part, change) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_mapped(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return change(value)


def _written(out: Tensor, array: NDArray[Any]) -> Tensor:
    """`out`, in whose memory `array` lies or else a copy of it; autograd hears of the change."""
    if out.is_cuda or out.is_neg():
        out.copy_(torch.from_numpy(array))
    else:
        torch.autograd.graph.increment_version(out)
    return out


def _numpy_dtype(label: str, dtype: torch.dtype) -> np.dtype[Any]:
    if dtype not in (*WHOLE, torch.float32, torch.float64):
        raise TypeError(f"{label} = {dtype}: give torch.float32 or torch.float64")
    return np.dtype(str(dtype).removeprefix("torch."))
