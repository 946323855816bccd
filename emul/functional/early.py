"""Hooks that torch calls before the forwards of all modules, and before a module's own: what they compute is seen too.

A hook of ours among them would have torch look for hooks at every module of the process. So it is there only where others
are, which have it do so already, and goes before them.
"""

from collections.abc import Callable
from itertools import takewhile
from typing import Any

import torch
from torch.nn.modules import module as of_torch

HOOKS: Any = of_torch._global_forward_pre_hooks


class Early:
    """The hook before all others; begin: what a forward of a module begins with, if it is one that is watched."""

    def __init__(self, begin: Callable[[torch.nn.Module], None]) -> None:
        self.begin = begin

    def __call__(self, module: torch.nn.Module, args: Any) -> None:
        """The forward of any module is about to begin."""
        if len(HOOKS) > 1:
            self.begin(module)
        elif not torch.compiler.is_compiling():
            _go()  # the others are gone


def go_before_all(begin: Callable[[torch.nn.Module], None]) -> bool:
    """Whether hooks that are not torch's own would run before ours, which goes before all from now on."""
    before = list(takewhile(lambda hook: not isinstance(hook, Early), HOOKS.values()))
    if not any(map(may_compute, before)):
        return False
    _go()
    ours = of_torch.register_module_forward_pre_hook(Early(begin))
    HOOKS.move_to_end(ours.id, last=False)
    return True


def _go() -> None:
    for key in [key for key, hook in HOOKS.items() if isinstance(hook, Early)]:
        del HOOKS[key]


def may_compute(hook: Any) -> bool:
    """Whether a hook may call for products: those of torch's own gather weights, or count, but for its norms of weights."""
    source = str(getattr(hook, "__module__", ""))
    return source.startswith("torch.nn.utils.") or not source.startswith(("torch.", "emul."))


def may_compute_beside(module: torch.nn.Module) -> bool:
    """Whether a module's forward has hooks before or behind it that may call for products."""
    every = HOOKS, of_torch._global_forward_hooks, module._forward_pre_hooks, module._forward_hooks
    return any(map(may_compute, (hook for hooks in every for hook in hooks.values())))
