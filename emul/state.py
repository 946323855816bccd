"""What an emulated layer keeps, as entries of a state_dict and back; and which of its forwards run twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .memory import slot
from .operands import stages_of
from .operators.reading import array_of
from .recipe import ROLES, Rule

if TYPE_CHECKING:
    from .nn.base import Emulation

#: What the names of all entries begin with.
PREFIX = "emulation_"
_STEP = PREFIX + "step"


def native_state_dict(model: torch.nn.Module | Mapping[str, Any]) -> dict[str, Any]:
    """The state_dict of a swapped model, or one taken from it, without the entries that a native model does not know.

    `native.load_state_dict(emul.native_state_dict(swapped))` is strict; torch offers no place to ignore entries at the
    native model's side. Dropped are the entries whose last name begins with `emulation_`; tensors are those given.
    Errors: TypeError for anything but a module and a state_dict.
    """
    if isinstance(model, torch.nn.Module):
        model = model.state_dict()
    if not isinstance(model, Mapping):
        raise TypeError(f"model is a {type(model).__name__}: give a torch.nn.Module, or its state_dict()")
    return {name: value for name, value in model.items() if not name.rpartition(".")[2].startswith(PREFIX)}


#: What an attribute of an entry's name holds.
_ENTRY = "an entry of state_dict()"


def named_as(module: torch.nn.Module, names: Iterable[str]) -> None:
    """Let the module have attributes of its entries' names, by which torch.distributed.checkpoint finds whose they are."""
    vars(module).update(dict.fromkeys(names, _ENTRY))


def unnamed(module: torch.nn.Module) -> None:
    """Take them away."""
    for name in [name for name, value in vars(module).items() if name.startswith(PREFIX) and value == _ENTRY]:
        del vars(module)[name]


def slots(rule: Rule, parts: tuple[str, ...]) -> dict[str, int]:
    """What the stages of a rule remember: slot -> how many numbers at most."""
    found = {}
    for product, roles in ROLES.items():
        for role in roles:
            for place, stage in enumerate(stages_of(getattr(getattr(rule, product), role))):
                if stage.remembers:
                    for part in parts:
                        name = slot(product, role, place)
                        found[f"{part}_{name}" if part else name] = stage.remembers
    return found


def saved(state: Emulation, parts: tuple[str, ...]) -> dict[str, Tensor]:
    """The entries of a layer, none where all its steps are alike."""
    entries = {
        PREFIX + name: torch.tensor(state.kept.get(name, ()), dtype=torch.float64) for name in slots(state.rule, parts)
    }
    return {_STEP: torch.tensor(state.step), **entries} if entries or state.rule.stochastic else {}


def load(
    state: Emulation, parts: tuple[str, ...], entries: Mapping[str, Any], prefix: str
) -> tuple[set[str], list[str]]:
    """Take over the entries of a layer: (their names, sentences about those that are none of its own).

    A layer of which there is nothing else in the state_dict stays as it is; one of which there is starts anew where its
    entries are missing.
    """
    here = {key for key in entries if key.startswith(prefix) and "." not in key[len(prefix) :]}
    if not here:
        return set(), []
    known = {prefix + _STEP: 0, **{prefix + PREFIX + name: most for name, most in slots(state.rule, parts).items()}}
    errors, step, kept = [], 0, {}
    for key in sorted(here & set(known)):
        value = entries[key]
        if not isinstance(value, Tensor):
            errors.append(f"{key} is a {type(value).__name__}: give the tensor that state_dict() saved")
        elif key == prefix + _STEP:
            if value.dtype.is_floating_point or value.dim() or value < 0:
                errors.append(f"{key} is {value}: give a count of steps, an integer tensor of shape []")
            else:
                step = int(value)
        elif value.dtype != torch.float64 or value.dim() != 1 or len(value) > known[key]:
            errors.append(
                f"{key} is {value.dtype} of shape {list(value.shape)}: give torch.float64 of up to {known[key]} numbers"
            )
        elif len(value):
            kept[key[len(prefix + PREFIX) :]] = tuple(value.tolist())
    if not errors:
        state.step = step
        state.kept.clear()
        state.kept.update(kept)
        state.journal.clear()
    return set(known), errors


def runs_again() -> bool:
    """Whether a backward pass runs in this thread: gradient checkpointing makes operands again in it."""
    return bool(torch._C._current_graph_task_id() != -1)


def may_run_again() -> bool:
    """Whether a forward could be one that a checkpoint runs again: without a graph, or with its tensors in hooks."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return not torch.is_grad_enabled() or hooks is not None


def what_ran(part: str, activation: Tensor, weight: Tensor) -> bytes:
    """A key of a forward: its operands' bits; of a weight that is a parameter only that it is one."""
    key = blake2b(part.encode(), digest_size=16)
    for operand in (activation,) if isinstance(weight, torch.nn.Parameter) else (activation, weight):
        array = array_of(operand)
        key.update(f"{array.dtype}{array.shape}".encode())
        key.update(array.tobytes())
    return key.digest()
