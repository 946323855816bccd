"""The line that makes a fault again, tried before it is shown: of one element where that does, else of the fewest that do."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .evidence import shown
from .evidence import smallest as smallest
from .quantizers import QuantizerUnderTest

PRINTED = 1 << 12  # elements above which all are shown, as they may repeat and be short to say
LINE = 1 << 18  # characters that are printed at most
SPREAD = "np.repeat({}, 2)[::2]"
CUBE = "{}.reshape(2, 3, -1)"
FOUR = "{}.reshape(2, 1, 3, -1)"
FORTRAN = "np.asfortranarray({}.reshape(6, -1))"
TURNED = "np.moveaxis(np.moveaxis({}.reshape(2, 3, -1), 0, 2).copy(), 2, 0)"
INNER = "np.repeat({}.reshape(6, -1), 2, axis=1)[:, ::2]"
REVERSED = "{}[::-1].copy()[::-1]"
LAID: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "{}": lambda x: x,
    SPREAD: lambda x: np.repeat(x, 2)[::2],
    CUBE: lambda x: x.reshape(2, 3, -1),
    FOUR: lambda x: x.reshape(2, 1, 3, -1),
    FORTRAN: lambda x: np.asfortranarray(x.reshape(6, -1)),
    TURNED: lambda x: np.moveaxis(np.moveaxis(x.reshape(2, 3, -1), 0, 2).copy(), 2, 0),
    INNER: lambda x: np.repeat(x.reshape(6, -1), 2, axis=1)[:, ::2],
    REVERSED: lambda x: x[::-1].copy()[::-1],
}


class Call(NamedTuple):
    """A call in which a fault was seen: x [n], words [n] or None, results [n], and at which elements.

    laid: how x is passed, as Python with {} for the flat array.
    """

    x: NDArray[Any]
    words: Any
    result: NDArray[Any]
    at: tuple[int, ...]
    laid: str = "{}"


def same_bits(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Where two arrays agree to the bit, any NaN being a NaN."""
    equal: NDArray[np.bool_] = (a == b) & (np.signbit(a) == np.signbit(b)) | (np.isnan(a) & np.isnan(b))
    return equal


def details_of(q: QuantizerUnderTest, *calls: Call) -> dict[str, object]:
    """The details `only_among_others` and `reproduce` of a fault seen in one of these calls.

    The elements alone where they give in every call what they gave alone; else the fewest of a call in which they do not.
    """
    for call in calls:
        alone = _again(q, call, np.array(call.at))
        if alone is not None and same_bits(alone, call.result[list(call.at)]).all():
            continue
        told = "alone it fails" if alone is None else f"alone it gives {', '.join(map(shown, alone))}"
        found = _among(q, call)
        if found is not None and len(found) > LINE:
            told = f"{told}; they are {len(call.x)}, too many to print"
            return {"only_among_others": told, "reproduce": f"{q.name}(x) for x of so many, as in the check"}
        if found is not None:
            return {"only_among_others": told, "reproduce": found}
        return {
            "only_among_others": f"{told}, and in the same array of {len(call.x)} again other results: "
            "it depends on what came before, on threads or on chance",
            "reproduce": _line(q, call, np.array(call.at)),
        }
    first = calls[0]
    return {"reproduce": q.reproduce(first.x[list(first.at)], _some(first.words, np.array(first.at)))}


def _among(q: QuantizerUnderTest, call: Call) -> str | None:
    """The line of the fewest elements with which the fault is seen again; None where it is not."""
    everything, seen = np.arange(len(call.x)), call.result[list(call.at)]

    def shows(kept: NDArray[np.int64], call: Call = call) -> bool:
        found = _again(q, call, kept)
        return found is not None and bool(same_bits(found, seen).all())

    if not shows(everything):
        return None
    first = call.at[0]
    words = None if call.words is None else np.full_like(call.words, call.words[first])
    same = call._replace(x=np.full_like(call.x, call.x[first]), words=words)
    if len(call.at) == 1 and shows(everything, same):  # how many there are, or where, is what matters
        call = same
    kept = smallest(len(call.x), call.at, lambda kept: shows(kept, call))
    return _line(q, call, kept if len(kept) <= PRINTED or call is same else everything)


def _again(q: QuantizerUnderTest, call: Call, kept: NDArray[np.int64]) -> NDArray[Any] | None:
    """What the elements of the fault give among those kept; None where the function fails."""
    laid = LAID[call.laid]
    words = _some(call.words, kept)
    if call.laid != "{}" and len(kept) == len(call.at):  # alone: however it lies
        laid = LAID["{}"]
    try:
        result = q(laid(call.x[kept]), None if words is None else laid(words))
    except Exception:  # of so few, or of such a shape, it can do nothing
        return None
    found: NDArray[Any] = result.reshape(-1)[np.searchsorted(kept, call.at)]
    return found


def _some(words: Any, kept: NDArray[np.int64]) -> Any:
    return None if words is None else np.asarray(words, np.uint32)[kept]


def _line(q: QuantizerUnderTest, call: Call, kept: NDArray[np.int64]) -> str:
    places = np.searchsorted(kept, call.at).tolist()
    alone = len(kept) == len(places)
    line = q.reproduce(call.x[kept], _some(call.words, kept), laid="{}" if alone else call.laid)
    if alone:
        return line
    flat = ".reshape(-1)" if "reshape" in call.laid else ""
    return f"{line}{flat}[{places[0] if len(places) == 1 else places}]"
