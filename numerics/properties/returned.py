"""What a function under test gave back, where that is not the array it should be: what it is, and what to return instead."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evidence import hides

__tracebackhide__ = hides


class NoArrayError(Exception):
    """numpy makes no array of what came back. The text says what that is, and what to return instead."""

    def __init__(self, came: str, remedy: str) -> None:
        self.came, self.remedy = came, remedy
        super().__init__(f"{came}: {remedy}")


def as_array(found: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What came back as an array. Errors: NoArrayError."""
    try:
        return np.asarray(found)
    except Exception as error:
        if _is_tensor(found):
            raise NoArrayError(f"{_tensor(found)}, of which numpy makes no array", _for_tensor(found, dtype)) from error
        came = f"{type(found).__name__}, of which numpy makes no array ({type(error).__name__}: {error})"
        raise NoArrayError(came, f"return an array of {dtype}") from error


def came_back(found: Any, result: NDArray[Any]) -> str:
    """What came back, in words: the dtype and shape of an array, the type of anything else before them."""
    if found is None or result.dtype == object:
        return "None" if found is None else f"{type(found).__name__}, no array of numbers"
    told = f"{result.dtype} {result.shape}"
    usual = isinstance(found, np.ndarray | np.generic) or _is_tensor(found)
    return told if usual else f"{type(found).__name__}, as an array {told}"


def remedy_for(found: Any, result: NDArray[Any], x: NDArray[Any]) -> str:
    """What to return instead, for x."""
    if found is None:
        return "the function has no return"
    if result.dtype == object:
        return f"return an array of {x.dtype}"
    if result.shape != x.shape:
        if result.size == x.size:
            return "return it in the shape of x: .reshape(x.shape)"
        return "return as many as x has, in its shape, whatever that is"
    if _is_tensor(found):
        return f"return .to(torch.{x.dtype}) of it{_if_codes(result)}"
    if not isinstance(found, np.ndarray | np.generic):
        return f"return np.asarray(result, np.{x.dtype})"
    other = f", or claim dtype=np.{result.dtype} (--dtype {result.dtype})" if str(result.dtype) in _CARRIERS else ""
    return f"return .astype(np.{x.dtype}) of it{other}{_if_codes(result)}"


def _if_codes(result: NDArray[Any]) -> str:
    if result.dtype.kind in "iu":
        return "; if these are codes, say codes=True (--codes)"
    return f"; or its codes, .view(np.uint8), {_SAYING}" if "float8" in str(result.dtype) else ""


_SAYING = "and say codes=True (--codes)"


_CARRIERS = ("float32", "float64")


def _is_tensor(found: Any) -> bool:
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(found).__mro__)


def _for_tensor(found: Any, dtype: np.dtype[Any]) -> str:
    steps = (".detach()" if found.requires_grad else "") + (".cpu()" if found.device.type != "cpu" else "")
    if str(found.dtype) not in (f"torch.{dtype}", "torch.uint8"):
        steps += f".to(torch.{dtype})"
    codes = f"; or its codes, .view(torch.uint8), {_SAYING}" if "float8" in str(found.dtype) else ""
    return f"return {steps or f'.to(torch.{dtype})'} of it{codes}"


def _tensor(found: Any) -> str:
    place = "" if found.device.type == "cpu" else f" on {found.device}"
    grad = " that requires grad" if found.requires_grad else ""
    return f"a tensor of {found.dtype}{place}{grad}"
