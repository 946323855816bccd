"""Rules that decide about nothing: the sentence that says why, and which of them are mistakes."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from . import nn
from .functional import custom, names
from .functional.products import ADAPTERS
from .recipe import Recipe


@dataclass(frozen=True)
class Unused:
    """A rule that decides about no module and no call so far: its index, and why.

    mistake: it can decide about none, by a pattern that matches no qualified name, a type that is none, or a pattern that
    picks names and types that none of them has; another rule, for all names, may be meant for other models too. waits:
    it may decide about calls of functions that are still to come.
    """

    rule: int
    why: str
    mistake: bool = False
    waits: bool = False

    def __str__(self) -> str:
        return (
            f"rule {self.rule} {'has decided about nothing yet' if self.waits else 'decides about nothing'}: {self.why}"
        )


def unused(recipe: Recipe, modules: Sequence[tuple[str, str]], used: Iterable[int], waits: bool) -> tuple[Unused, ...]:
    """Those of a recipe's rules that are not among `used`.

    modules: qualified name and class name of every module of the model. waits: whether calls of functions may still come.
    """
    known = set(used)
    return tuple(
        _judged(index, recipe, modules, waits) for index, rule in enumerate(recipe.rules) if index not in known
    )


def _judged(index: int, recipe: Recipe, modules: Sequence[tuple[str, str]], waits: bool) -> Unused:
    rule = recipe.rules[index]
    kinds = list(dict.fromkeys(kind for _, kind in modules))
    for name in rule.types:
        if name not in kinds and not _exists(name):
            return Unused(index, f"no module has the type {name!r} of its types: {_nearest(name, _types(kinds))}", True)
    matched = [(name, kind) for name, kind in modules if re.fullmatch(rule.pattern, name)]
    if not matched:
        return Unused(index, _no_name(rule.pattern, [name for name, _ in modules]), True)
    earlier = _earlier(index, recipe, matched)
    if earlier is not None:
        return Unused(index, f"rule {earlier} before it decides about all that it matches")
    within = _within(matched, modules)
    if within and all(kind in _CONTAINERS for _, kind in matched):
        return Unused(index, within, True)
    called = set(rule.types) & {kind for _, kind in matched} or any(map(_is_called, rule.types))
    waits = waits and rule.norm is None and bool(called or not rule.types)
    if waits:
        why = "it matches no layer, and functions are seen when they are called"
    elif rule.types and not set(rule.types) & {kind for _, kind in matched}:
        why = f"nothing that its pattern matches is a {' or a '.join(rule.types)}"
        if len(matched) < len(modules):
            name, kind = next(((name, kind) for name, kind in matched if kind not in _CONTAINERS), matched[0])
            return Unused(index, f"{why}; {name!r} is a {kind}", True)
    else:
        why = "nothing that its pattern matches has products that it could decide about"
    return Unused(index, f"{why}; {within}" if within and not rule.types else why, waits=waits)


def _within(matched: list[tuple[str, str]], modules: Sequence[tuple[str, str]]) -> str:
    """Of a pattern that matches one module and none of those in it, a clause that says so."""
    name = matched[0][0]
    inside = [other for other, _ in modules if name != other and (not name or other.startswith(f"{name}."))]
    if len(matched) > 1 or not inside:
        return ""
    wanted = rf"{re.escape(name)}\..*" if name else ".*"
    return f"its pattern matches {name!r} itself and none of the modules in it: {wanted!r} matches these"


def _earlier(index: int, recipe: Recipe, matched: list[tuple[str, str]]) -> int | None:
    """The rule that decides first wherever this one could, if it is one rule."""
    rule = recipe.rules[index]
    found = {recipe.match(name, kind) for name, kind in matched if rule.matches(name, kind)}
    first = found.pop() if len(found) == 1 else None
    if first is None or first == index:
        return None
    before = recipe.rules[first]
    return first if not before.types or (rule.types and set(rule.types) <= set(before.types)) else None


def _no_name(pattern: str, every: list[str]) -> str:
    inside = next((name for name in every if pattern and re.search(pattern, name)), None)
    if inside is not None:
        return (
            f"its pattern {pattern!r} matches no whole name, only part of {inside!r}: write"
            f" {_around(pattern, inside)!r}"
        )
    return f"its pattern {pattern!r} matches no name of a module: {_nearest(pattern, every)}"


def _around(pattern: str, name: str) -> str:
    """The pattern with what it lacks of the name to match it."""
    for wider in (rf".*\.{pattern}", rf"{pattern}\..*"):
        if re.fullmatch(wider, name):
            return wider
    return f".*{pattern}.*"


def _nearest(name: str, every: Iterable[str]) -> str:
    known = [one for one in every if one]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near = near or difflib.get_close_matches(name.lower(), [one.lower() for one in known], n=3, cutoff=0.5)
    if near:
        return f"the nearest {'is' if len(near) == 1 else 'are'} {', '.join(map(repr, near))}"
    if not known:
        return "the model is one module, whose name is ''"
    more = " and others" if len(known) > 6 else ""
    return f"there {'is' if len(known) == 1 else 'are'} {', '.join(map(repr, known[:6]))}{more}"


#: Modules whose own forward calls others, or that have none.
_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
_FUNCTIONS = set(ADAPTERS) | set(names.NATIVE)


def _types(kinds: list[str]) -> list[str]:
    layers = [one.__name__ for one in (*nn.EMULATED, *nn.NORMS)]
    return list(dict.fromkeys((*kinds, *layers, *names.EMULATED)))


def _exists(name: str) -> bool:
    """Whether it is the name of a function with products, of a module that torch or emul has, or of a user's Function."""
    return name in _FUNCTIONS or _is_layer(name) or custom.known(name)


def _is_layer(name: str) -> bool:
    made = getattr(torch.nn, name, None) or getattr(nn, name, None)
    return isinstance(made, type) and issubclass(made, torch.nn.Module)


def _is_called(name: str) -> bool:
    """Whether it is the name of what a module may call; of a layer and a user's Function with one name the layer is meant."""
    return name in _FUNCTIONS or (not _is_layer(name) and custom.known(name))
