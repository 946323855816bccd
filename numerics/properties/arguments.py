"""What as_quantizer, as_accumulator and as_mask refuse alike, before a check fails over it; and how a function is called."""

from collections.abc import Callable
from typing import Any

from ..formats.naming import named

Threads = tuple[Callable[[], int], Callable[[int], Any]]


def label_of(fn: Any, name: str) -> str:
    """How a reproduction calls a function: by its name, or fn where it has none, as a partial, an instance, a lambda."""
    if name:
        return name
    own = getattr(fn, "__name__", "")
    return own if isinstance(own, str) and own.isidentifier() else "fn"


def check_common(tensor: Any, threads: Any = None, name: Any = "") -> None:
    """Errors: TypeError for what is no function, no pair of functions, no text."""
    if tensor is not None and not callable(tensor):
        raise TypeError(
            f"tensor = {named(tensor)}: give a function that makes a tensor of an array, torch.from_numpy for one"
        )
    if threads is not None and not (isinstance(threads, tuple) and len(threads) == 2 and all(map(callable, threads))):
        raise TypeError(
            f"threads = {named(threads)}: give the two functions that read and set the number of threads, such as"
            " (torch.get_num_threads, torch.set_num_threads)"
        )
    if not isinstance(name, str):
        raise TypeError(f"name = {named(name)}: give a text, how a reproduction calls the function")


def check_own(given: dict[str, tuple[object, object, object]], kind: str) -> None:
    """Refuses what is said beside a record of this package that says another thing: it would be passed over.

    given: by argument what was given, its default, and what the record says.
    Errors: ValueError.
    """
    for argument, (value, default, own) in given.items():
        if value not in (default, own):
            told, said = (getattr(one, "name", "") or str(one) for one in (value, own))
            raise ValueError(f"{argument} = {told} beside {kind} that says {said}: leave {argument} out")
