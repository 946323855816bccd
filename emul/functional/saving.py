"""What the calls of a watched module keep from step to step, as entries of its state_dict and back."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..state import PREFIX, load, named_as, saved
from .products import ADAPTERS

if TYPE_CHECKING:
    from ..nn.base import Emulation

_ENTRY = re.compile(rf"{PREFIX}([a-z_0-9]+?)_(\d+)_(.+)")
#: Those of attention have the names of its products; others have one.
_PARTS = {"scaled_dot_product_attention": ("scores", "context")}

#: (function, place) of a call -> what it keeps.
Sites = dict[tuple[str, int], "Emulation"]


@dataclass(eq=False)
class Save:
    """The hook after a module's own state_dict. sites: what the calls of the module keep."""

    sites: Sites

    def __call__(self, module: torch.nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        """Adds `emulation_matmul_0_step` and the like."""
        for (function, place), kept in sorted(self.sites.items(), key=lambda item: item[0]):
            entries = saved(kept, parts_of(function))
            entries = {f"{PREFIX}{function}_{place}_{name.removeprefix(PREFIX)}": entries[name] for name in entries}
            named_as(module, entries)
            state.update({prefix + name: value for name, value in entries.items()})


@dataclass(eq=False)
class Load:
    """The hook before a module loads its own entries. make: the state of a call that has not been made yet, or None."""

    sites: Sites
    make: Callable[[torch.nn.Module, str, int], "Emulation | None"]

    def __call__(
        self,
        module: torch.nn.Module,
        state: dict[str, Any],
        prefix: str,
        metadata: Any,
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        """Takes the entries of calls out; where a state has others of the module but none of a call, that starts anew."""
        if not any(key.startswith(prefix) for key in state):
            return
        entries: dict[tuple[str, int], dict[str, Any]] = {site: {} for site in self.sites}
        for key in list(state):
            found = _ENTRY.fullmatch(key[len(prefix) :]) if key.startswith(prefix) else None
            if found is None or found[1] not in ADAPTERS:
                continue
            site = (found[1], int(found[2]))
            if site not in self.sites and (made := self.make(module, *site)) is not None:
                self.sites[site] = made
            if site in self.sites:
                entries.setdefault(site, {})[f"{prefix}{PREFIX}{found[3]}"] = state.pop(key)
        for site, own in entries.items():
            # The weight that stands for the rest of the module: a layer of which there is nothing stays as it is.
            known, sentences = load(self.sites[site], parts_of(site[0]), {f"{prefix}weight": None, **own}, prefix)
            errors += [f"of {site[0]} {site[1]}: {sentence}" for sentence in sentences]
            begin = f"{prefix}{PREFIX}"  # what the state calls them begins with the call too
            unexpected += [key.replace(begin, f"{begin}{site[0]}_{site[1]}_", 1) for key in own if key not in known]


def parts_of(function: str) -> tuple[str, ...]:
    """The names of a function's products."""
    return _PARTS.get(function, ("",))
