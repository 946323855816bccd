"""Layers that are called in no forward of a module: functions beside them are not seen, so the method that does it is told."""

import sys
import warnings
from collections.abc import Callable
from types import FrameType

import torch

#: Method of the model, "" of none, -> layer -> how often it was called in no forward.
Outside = dict[str, dict[str, int]]


def _remedy(method: str) -> str:
    if method.endswith(".forward"):  # which torch's hooks do not see
        return "call the module itself, model(...), in place of its forward"
    return "call it in a block of `with emul.inside(model):`, or by forward"


def called(outside: Outside, layer: str, owned: Callable[[torch.nn.Module], bool], refused: bool) -> None:
    """A layer is called in no forward. Once for each method of the model that does so there is a warning that names it.

    owned: whether a module is the model or in it. Errors: ValueError for such a method where native products are refused.
    """
    method, frame = _method(owned) or ("", None)
    sites = outside.setdefault(method, {})
    new = not sites
    sites[layer] = sites.get(layer, 0) + 1
    if frame is None:
        return
    sentence = (
        f"{method} calls layer {layer!r} in no forward of a module, where functions such as @ are not seen, and native"
    )
    if refused:
        raise ValueError(f"{sentence}, and functional='refuse': {_remedy(method)}")
    if new:
        warnings.warn_explicit(f"{sentence}: {_remedy(method)}", UserWarning, frame.f_code.co_filename, frame.f_lineno)


def told(outside: Outside) -> tuple[str, ...]:
    """What a report says of them."""
    found = []
    for method, layers in outside.items():
        count = sum(layers.values())
        what = f"{count} call{'s' * (count != 1)} of {', '.join(layers)} in no forward of a module"
        remedy = _remedy(method) if method else "call these layers by the model's forward"
        found.append(
            f"{method or 'outside of the model'}, {what}: functions called there are not seen, and native; {remedy}"
        )
    return tuple(found)


def _method(owned: Callable[[torch.nn.Module], bool]) -> tuple[str, FrameType] | None:
    """The outermost method of a module of the model that is running, as Model.encode, and its frame."""
    frame: FrameType | None = sys._getframe(2)
    found = None
    while frame is not None:
        code = frame.f_code
        owner = frame.f_locals.get("self") if code.co_varnames[:1] == ("self",) else None
        if isinstance(owner, torch.nn.Module) and owned(owner):
            found = f"{type(owner).__name__}.{code.co_name}", frame
        frame = frame.f_back
    return found
