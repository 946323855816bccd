"""What `swap_` leaves on the modules that are no emulated layers, so that the products they call for are seen."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from ..checkpoints import around, around_again, region
from ..culprits import given
from ..nn.base import Emulated, Emulation
from ..obstacles import kinds
from ..operators.checks import PAD, widened
from ..operators.eager import EXPORT
from ..recipe import Recipe
from ..state import runs_again, unnamed
from . import early
from .custom import BACKWARD
from .einsum import Unfit
from .later import LATER, resumed
from .mode import Running, begun, enter, in_forward, leave, tidy, uncompiled
from .names import NATIVE
from .outside import Outside, called
from .product import Product
from .products import ADAPTERS
from .saving import Load, Save, Sites, parts_of

#: What becomes of the products of functions.
CHOICES = ("emulate", "report", "refuse")
_FUNCTIONS = {*ADAPTERS, *NATIVE}
#: How a remedy ends.
REST = "which can be emulated, or a rule with keep=True"
_SIGNATURES = {name: signature(adapter) for name, adapter in ADAPTERS.items()}


@dataclass(frozen=True)
class Seen:
    """A sort of call: the calling module's qualified name, the function, the rule that emulates it or why it is native.

    keeper: the rule by which it is native, if one says so. backward: whether it is the gradient alone that is native.
    """

    module: str
    function: str
    rule: int | None
    native: str
    keeper: int | None = None
    backward: bool = False


@dataclass
class Watch:
    """What is known of the functions that a swapped model calls.

    functional: one of `CHOICES`. sites: what each call keeps from step to step, as an emulated layer does, by the name of
    its module; a call is known by its function and by which of them it is in one forward of the module. seen: how often
    each sort of call was made. forwards: of whatever of the model was called from outside. outside: layers
    called in no forward. layers: names of the model's emulated layers, which key words as well.
    """

    recipe: Recipe
    functional: str
    replica: int | None = None
    layers: frozenset[str] = frozenset()
    sites: dict[str, Sites] = field(default_factory=dict)
    seen: dict[Seen, int] = field(default_factory=dict)
    forwards: int = 0
    outside: Outside = field(default_factory=dict)

    def call(
        self, caller: Running, function: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The function's result: the emulated one where a rule says so, else torch's, which is noted, or refused."""
        known = "matmul" if function == "__rmatmul__" else function
        self._follow(caller)
        index, reason = self.decide(caller, known)
        if not reason:
            try:
                result = self._emulated(caller, function, known, index, args, kwargs)
            except Unfit as unfit:
                reason = f"{unfit}: change that, or a rule with keep=True"
            except TypeError as error:
                raise ValueError(str(error)) from error  # Python takes a TypeError of @ for a missing operator
            else:
                self._note(caller, known, index, "")
                return result
        self._native(caller, known, index, reason)
        return func(*args, **kwargs)

    def applied(self, caller: Running, function: str, unseen: str) -> None:
        """Note or refuse what computes by code that is not seen."""
        index, reason = self.decide(caller, function)
        self._native(caller, function, index, reason or f"{unseen}, {REST}", unseen == BACKWARD)

    def left(self, layer: str) -> None:
        """A layer is called in no forward of a module, as torch calls it: note it, or refuse it."""

        def owned(module: torch.nn.Module) -> bool:
            before = entry(module)
            return before is not None and before.watch is self

        called(self.outside, layer, owned, self.functional == "refuse")

    def alone(self, layer: torch.nn.Module) -> None:
        """A layer that is the model itself is called, by no module whose forward would see what is computed beside it.

        Its own hooks for that are there where others were when it was swapped, or from now on.
        """
        if entry(layer) is None and (early.may_compute_beside(layer) or parametrize.is_parametrized(layer)):
            _hook(layer, Enter(self, ""))
            what = "forward hooks or parametrizations that came after swap_"
            self.late(_titled("", layer), what, "register them before swap_")

    def late(self, title: str, hooks: str, remedy: str) -> None:
        """Hooks ran before the one that sees what a forward calls: say so, or refuse it."""
        said = f"{title} has {hooks}: what they compute in this call is native, and from the next call on it is seen; {remedy}"
        if self.functional == "refuse":
            raise ValueError(said)
        warnings.warn(said, RuntimeWarning, stacklevel=2)

    def _native(self, caller: Running, function: str, index: int | None, reason: str, backward: bool = False) -> None:
        """Note or refuse a call that stays native."""
        keeper = index if index is not None and self.recipe.rules[index].keep else None
        kept = caller.restored or keeper is not None
        named = index is not None and function in self.recipe.rules[index].types and not kept
        if function not in _FUNCTIONS and hasattr(torch.nn, function):
            named = False  # a Function with the name of a layer, which is what the rule means
        if not kept and (self.functional == "refuse" or (named and self.functional == "emulate")):
            by = f"rule {index} names it" if named else "functional='refuse'"
            what = "of which the gradient is" if backward else "which is"
            raise ValueError(f"{_title(caller)} calls {function}, {what} native and {by}: {reason}")
        self._note(caller, function, None, reason, keeper, backward)

    def _follow(self, caller: Running) -> None:
        """Let a checkpoint know that its function was called by this module, whose own forward does not run again.

        The outermost of the modules that call functions in it is the one; what it had called before counts too. A checkpoint
        that is not known where a backward pass runs is within one that runs again, and new.
        """
        if (checkpoint := region()) is None:
            return
        before = around(checkpoint, id(self))
        if before is None or (caller.depth < before.args[0].depth and not runs_again()):
            around_again(checkpoint, id(self), partial(self._running, caller, dict(caller.calls)))

    @contextmanager
    def _running(self, caller: Running, calls: dict[str, int]) -> Iterator[None]:
        """As in the module's forward, from the same calls on."""
        enter(self, Running(caller.name, caller.module, caller.restored, dict(calls)))
        try:
            yield
        finally:
            leave(self, caller.module)

    def site(self, name: str, function: str, place: int, index: int) -> Emulation:
        """What a call keeps, before its first step; its name keys its random words, and is that of no layer."""
        own = ".".join(filter(None, (name, function, str(place))))
        while any((f"{own}.{part}" if part else own) in self.layers for part in parts_of(function)):
            own += "'"  # a layer of a Sequential that is called "linear", say
        return Emulation(self.recipe, index, own, replica=self.replica)

    def decide(self, caller: Running, function: str) -> tuple[int | None, str]:
        """(the rule, why the call is native or "")."""
        if caller.restored:
            return None, "restored"
        names = (function, *kinds(caller.module))
        index = next(
            (
                index
                for index, rule in enumerate(self.recipe.rules)
                if rule.norm is None and any(rule.matches(caller.name, name) for name in names)
            ),
            None,
        )
        if index is None:
            return None, "no rule matches; give one that does, or one with keep=True"
        if self.recipe.rules[index].keep:
            return index, f"kept by rule {index}"
        if self.functional == "report":
            return index, "functional='report' emulates layers alone"
        return index, f"{NATIVE[function]}, or a rule with keep=True" if function in NATIVE else ""

    def _emulated(
        self,
        caller: Running,
        function: str,
        known: str,
        index: int | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        assert index is not None
        place = caller.count(known)
        sites = self.sites.setdefault(caller.name, {})
        state = sites.get((known, place))
        if state is None:
            state = sites[known, place] = self.site(caller.name, known, place, index)
        label = f"{{}} of {known} in {_title(caller)}"

        product = Product(label, state, caller.module)
        try:
            bound = _SIGNATURES[function].bind(product, *map(_widened, args), **_widened(kwargs))
        except TypeError as error:
            raise ValueError(
                f"{_title(caller)} calls {known} with arguments that emul does not take, {error}: leave them out, or give"
                " a rule with keep=True"
            ) from error
        tensors = {name: value for name, value in bound.arguments.items() if name != "product"}
        for at, value in enumerate(tensors.pop("operands", ())):
            tensors[f"operand {at}"] = value
        for role, tensor in tensors.items():
            if isinstance(tensor, Tensor) and tensor.is_nested:  # which has no shape to look at
                raise ValueError(f"the {role} of {known} in {_title(caller)} is a nested tensor: {PAD}")
        with given(f"{known} in {_title(caller)}", tensors):
            return ADAPTERS[function](*bound.args, **bound.kwargs)

    def _note(
        self,
        caller: Running,
        function: str,
        rule: int | None,
        native: str,
        keeper: int | None = None,
        backward: bool = False,
    ) -> None:
        if runs_again():
            return  # a checkpoint makes again what is counted
        sort = Seen(caller.name, function, rule, native, keeper, backward)
        self.seen[sort] = self.seen.get(sort, 0) + 1


#: Which hooks ran before ours, and a remedy.
_FIRST = "forward pre-hooks that were put first after swap_", "register them before swap_, or without prepend=True"
_EVERYWHERE = (
    "forward pre-hooks of all modules before it that came after swap_",
    "call torch.nn.modules.module.register_module_forward_pre_hook before swap_",
)


@dataclass(eq=False)
class Enter:
    """The hook before a module's forward. restored: whether the module is torch's own again inside a swapped model."""

    watch: Watch
    name: str
    restored: bool = False

    @uncompiled
    def __call__(self, module: torch.nn.Module, args: Any) -> None:
        """The module is the one that calls functions."""
        # An export looks compiled to torch, which then forgets the hooks behind a forward that raises.
        if torch.compiler.is_compiling():
            raise NotImplementedError(f"{_titled(self.name, module)} is swapped, and {EXPORT}")
        _leave_last(module)
        late = _enter_first(module)
        if early.HOOKS:
            if begun(self.watch, module):
                return  # by the hook before all others
            everywhere = early.go_before_all(_begin)
        else:
            everywhere = False
        if self.begin(module) and (late or everywhere) and not self.restored:
            self.watch.late(_titled(self.name, module), *(_EVERYWHERE if everywhere else _FIRST))

    def begin(self, module: torch.nn.Module) -> bool:
        """Its forward begins; whether it is the outermost one."""
        outermost = enter(self.watch, Running(self.name, module, self.restored))
        if outermost and not runs_again():
            self.watch.forwards += 1
        return outermost

    @uncompiled
    def early(self, module: torch.nn.Module) -> None:
        """The same before hooks of all modules; what is compiled or traced has no frame by which it is known later."""
        if not torch.compiler.is_compiling() and in_forward():
            self.begin(module)


def _begin(module: torch.nn.Module) -> None:
    before = entry(module)
    if before is not None:
        before.early(module)


@dataclass(eq=False)
class Leave:
    """The hook after it, also after an exception."""

    watch: Watch

    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> Any:
        """It no longer is; what it has yet to compute is seen when it does."""
        ended = leave(self.watch, module)
        return resumed(self.watch, ended, output) if ended is not None and type(output) in LATER else None


@dataclass(eq=False)
class Make:
    """The state of a call of one module that has not been made yet."""

    watch: Watch
    name: str

    def __call__(self, module: torch.nn.Module, function: str, place: int) -> Emulation | None:
        """None where such a call would be native."""
        index, reason = self.watch.decide(Running(self.name, module), function)
        return None if index is None or reason else self.watch.site(self.name, function, place, index)


_KINDS = (Enter, Leave, Save, Load)
#: Attribute of a module -> key -> hook.
Hooks = dict[str, dict[int, Any]]
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")


def attach(model: torch.nn.Module, watch: Watch) -> None:
    """Hook every module that can call functions: those that are no emulated layer nor inside of one."""
    early.go_before_all(_begin)
    keeps = any(rule.stochastic or rule.remembers for rule in watch.recipe.rules)
    watch.layers = frozenset(module.emulation.name for module in model.modules() if isinstance(module, Emulated))
    inside: set[torch.nn.Module] = set()
    for name, module in model.named_modules():
        _unhook(module)  # those of a part that was restored
        if module in inside:
            continue
        if isinstance(module, Emulated):
            module.emulation.watch = watch
            if not name and early.may_compute_beside(module):
                _hook(module, Enter(watch, name))
            inside.update(inner for inner in module.modules() if inner is not module)
        elif not isinstance(module, torch.jit.ScriptModule):
            _hook(module, Enter(watch, name))
            if keeps:
                sites = watch.sites.setdefault(name, {})
                module.register_state_dict_post_hook(Save(sites))
                module.register_load_state_dict_pre_hook(Load(sites, Make(watch, name)))


def _hook(module: torch.nn.Module, before: Enter) -> None:
    module.register_forward_pre_hook(before, prepend=True)
    module.register_forward_hook(Leave(before.watch), always_call=True)


def _leave_last(module: torch.nn.Module) -> None:
    """Hooks that a module was given since are part of its forward too: what they call is seen."""
    hooks: Any = module._forward_hooks
    last = next(reversed(hooks), None)
    if last is not None and not isinstance(hooks[last], Leave):
        for key in [key for key, hook in hooks.items() if isinstance(hook, Leave)]:
            hooks.move_to_end(key)


def _enter_first(module: torch.nn.Module) -> bool:
    """Whether a hook that is not torch's own has just run before ours, which goes before all from now on."""
    hooks: Any = module._forward_pre_hooks
    before = list(takewhile(lambda hook: not isinstance(hook, Enter), hooks.values()))
    for key in [key for key, hook in hooks.items() if before and isinstance(hook, Enter)]:
        hooks.move_to_end(key, last=False)
    return any(map(early.may_compute, before))


def detach(model: torch.nn.Module) -> None:
    """Take a whole model's hooks away; a part of a watched one gets them instead, as one that is torch's own again."""
    own = place_of(model)
    tidy()
    for name, module in model.named_modules():
        _unhook(module)
        if own is not None and own.name:
            _hook(module, Enter(own.watch, f"{own.name}.{name}" if name else own.name, True))


def watch_of(model: torch.nn.Module) -> Watch | None:
    """What watches a model, or its one emulated layer."""
    place = place_of(model)
    return None if place is None or place.restored else place.watch


def place_of(module: torch.nn.Module) -> Enter | None:
    """Where in a swapped model a module is."""
    if isinstance(module, Emulated):
        return None if module.emulation.watch is None else Enter(module.emulation.watch, module.emulation.name)
    return entry(module)


def follow(model: torch.nn.Module, old: Watch, go_on: Callable[[Emulation, Emulation, tuple[str, ...]], None]) -> None:
    """Let the calls of a model that was swapped anew go on from what they kept under another recipe."""
    new = watch_of(model)
    for name, module in model.named_modules():
        before = entry(module)
        if new is None or before is None:
            continue
        make = Make(new, name)
        for (function, place), kept in old.sites.get(name, {}).items():
            state = make(module, function, place)
            if state is not None:
                new.sites.setdefault(name, {})[function, place] = state
                go_on(state, kept, parts_of(function))


def hooks_of(module: torch.nn.Module) -> Hooks:
    """The hooks that `attach` has given a module, by the attribute of the module that holds them."""
    return {
        name: {key: hook for key, hook in getattr(module, name).items() if isinstance(_plain(hook), _KINDS)}
        for name in _HOOKS
    }


def put_hooks(module: torch.nn.Module, hooks: Hooks) -> None:
    """Take the hooks of now away, and put those in their place."""
    _unhook(module)
    for name, found in hooks.items():
        held = getattr(module, name)
        held.update(found)
        for key, hook in found.items():
            if isinstance(hook, Enter):
                held.move_to_end(key, last=False)
            elif isinstance(hook, Leave):
                module._forward_hooks_always_called[key] = True


def _plain(hook: Any) -> Any:
    return getattr(hook, "hook", hook)  # torch wraps those of loading


def _unhook(module: torch.nn.Module) -> None:
    unnamed(module)
    for name, found in hooks_of(module).items():
        for key in found:
            del getattr(module, name)[key]
            module._forward_hooks_always_called.pop(key, None)


def entry(module: torch.nn.Module) -> Enter | None:
    """The hook before a module's forward, if there is one."""
    return next((hook for hook in module._forward_pre_hooks.values() if isinstance(hook, Enter)), None)


def watches(model: torch.nn.Module) -> list[Watch]:
    """What watches the modules of a model, each once."""
    found = (entry(module) for module in model.modules())
    return list({id(before.watch): before.watch for before in found if before is not None}.values())


def _widened(value: Any) -> Any:
    """An argument, or a list or dict of them, as float32 where autocast made it 16 bits."""
    if isinstance(value, dict):
        return {name: _widened(one) for name, one in value.items()}
    return list(map(_widened, value)) if type(value) in (list, tuple) else widened(value)


def _title(caller: Running) -> str:
    return _titled(caller.name, caller.module)


def _titled(name: str, module: torch.nn.Module) -> str:
    return f"module {name!r} ({type(module).__name__})"
