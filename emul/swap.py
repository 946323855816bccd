"""Putting a recipe's arithmetic into a model, and taking it out again, in place."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch.nn.utils import parametrize

from numerics.formats.naming import named

from .functional.outside import Outside, told
from .functional.products import ADAPTERS
from .functional.watch import CHOICES, Watch, attach, detach, entry, watch_of, watches
from .nn import EMULATED, NORMS, OPENED, Emulated, Emulation
from .obstacles import LAYERS, NATIVE, calls_functions, is_norm, kinds, match, native_type, obstacle, own_forward
from .recipe import ROLES, Recipe, Rule
from .unmatched import Unused, unused

_TOLD = 8  # modules that an error names
_REMEDY = "as calls tell; restore_ and swap_ the model to make it a layer"
_LATER = f"it came into the model after swap_, and its function is called by the module around it, {_REMEDY}"
_OTHERWISE = f"it was lazy, parametrized or of another type when swap_ met it, and calls its function, {_REMEDY}"
_CLOSED = {opened: native for native, opened in OPENED.items()}

#: Modules whose forward may read the weights of the layers inside without calling these layers.
_READS_WEIGHTS = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)


@dataclass(frozen=True)
class LayerReport:
    """One module: its qualified name, its native type, the rule that emulates it, or why it is native.

    rule: index into the recipe's rules, None for a native module. native: the reason, "" for an emulated one.
    aliases: further names under which the model holds the same module.
    """

    name: str
    type: str
    rule: int | None
    native: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallReport:
    """Products that a module's forward called for by a function: the module's qualified name, the function, how often.

    function: as torch calls it, `a @ b` is "matmul". rule: index of the rule that emulates them, None for native ones, whose
    gradients are native too. native: why, "" for emulated ones. keeper: index of the rule that keeps them native.
    backward: whether it is a torch.autograd.Function, by its class's name, of which the gradient is native and what its
    forward calls is told apart.
    """

    module: str
    function: str
    rule: int | None
    native: str
    count: int
    keeper: int | None = field(default=None, compare=False, repr=False)
    backward: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True)
class SwapReport:
    """What a recipe does to a model: every module with products, with sums of its own (norms), or with other parameters.

    unused: indices of the recipe's rules that decided about no module and no call; idle: why, of each. calls: products
    that modules called for by functions so far. forwards: how many forward passes those are, None for a model that is not
    swapped yet: such calls are seen when they are made, not before. outside: how often layers were called in no forward of
    a module of the model, where functions are not seen; left: by which methods, a sentence each. Of all but layers and
    unused two equal reports may differ.
    """

    layers: tuple[LayerReport, ...]
    unused: tuple[int, ...]
    recipe: Recipe | None = field(default=None, compare=False, repr=False)
    calls: tuple[CallReport, ...] = field(default=(), compare=False)
    forwards: int | None = field(default=None, compare=False)
    outside: int = field(default=0, compare=False, repr=False)
    idle: tuple[Unused, ...] = field(default=(), compare=False, repr=False)
    left: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __repr__(self) -> str:
        counts = f"{len(self.emulated)} emulated, {len(self.native)} native, {len(self.calls)} kinds of calls"
        rules = "1 rule that decides" if len(self.unused) == 1 else f"{len(self.unused)} rules that decide"
        return f"<SwapReport: {counts}{f', {rules} about nothing' if self.unused else ''}; print() lists them>"

    @property
    def emulated(self) -> tuple[LayerReport, ...]:
        """The layers whose products are emulated."""
        return tuple(layer for layer in self.layers if layer.rule is not None)

    @property
    def native(self) -> tuple[LayerReport, ...]:
        """The modules that are left to torch."""
        return tuple(layer for layer in self.layers if layer.rule is None)

    def __str__(self) -> str:
        lines = [_line(layer) + self._told(layer) for layer in self.layers]
        lines += [_line_of_call(call) + self._told(call) for call in self.calls]
        lines += [str(rule) for rule in self.idle]
        if self.forwards == 0:
            lines.append("products of functions: none seen, as the model has not run since it was swapped")
        return "\n".join([*lines, *self.left])

    def products(self, layer: LayerReport | CallReport) -> dict[str, str]:
        """For each of a layer's three products, "emulated" or what of it is torch's; `Rule.arithmetic` has the words."""
        if layer.rule is None or self.recipe is None:
            return dict.fromkeys(ROLES, "torch's own")
        return self.recipe.rules[layer.rule].arithmetic

    def _told(self, layer: LayerReport | CallReport) -> str:
        if layer.rule is None:
            return ""
        sorts: dict[str, list[str]] = {}
        for product, sort in self.products(layer).items():
            sorts.setdefault(sort, []).append(product)
        norm = None if self.recipe is None else self.recipe.rules[layer.rule].norm
        form = f", in the form {norm.form}" if norm else ""
        return form + ", " + "; ".join(f"{_listed(products)} {sort}" for sort, products in sorts.items())


def swap_(
    model: torch.nn.Module, recipe: Recipe, *, functional: str = "emulate", replica: int | None = None
) -> torch.nn.Module:
    """Emulate, in place, every layer of `model` that a rule of `recipe` matches; returns the model.

    A torch.nn.Linear, Conv1d, Conv2d, Conv3d or MultiheadAttention becomes its namesake of `emul.nn` by its class alone:
    parameters, buffers, hooks, state_dict and every reference to it stay what they are. So do torch's transformer
    encoders around one, which then call it also where they would have read its weights. Types are exact: a subclass
    may compute something else. A layer that the model holds under several names is one layer; rules see the first
    name, in the order of `model.named_modules()`.

    functional: what becomes of products that other modules' forwards call for by functions, F.linear, @, bmm, einsum,
    F.conv2d, scaled_dot_product_attention and the like. Hooks know which module is running; the first rule that matches its
    name, and whose `types`, if any, name the function ("linear", "matmul", "bmm", ...) or the module's class, decides.
    "emulate": such a call is emulated with its gradients, by random words of its own, or kept native with keep=True. Calls
    that no rule matches or that cannot be emulated are native and in the report, once they were made. "report": all are.
    "refuse": a native call raises unless a rule keeps it. Of a torch.autograd.Function of your own the forward is seen call by
    call and the backward is not: where one may follow, the Function is native by the name of its class, which `types` may
    name to keep it; so are, with all that they compute, operators of other libraries, as "library::name", torch.cond and
    its kin, as "higher_order::cond", scripted or traced functions, all as "ScriptFunction", and what a forward leaves to
    another thread that it starts or to a ThreadPoolExecutor, all as "Thread". Not seen are products outside of torch's
    functions (numpy; scripted modules, which are in the report), those of processes and of threads that get their work
    otherwise, those of functions called in no module's forward (a loss outside of the model; a method other than forward
    that is called from outside, which warns once where it calls a layer: call it in a block of `emul.inside(model)`), and
    those of hooks of a backward pass or of saved tensors. Hooks that came since are native in the call that meets them,
    which warns, and seen from the next on, where they run before the outermost forward, as those of all modules do and
    those that were put before all others, or beside a layer that is the model itself.
    replica: which of several processes that train the model this is, None for the rank in torch's default process group;
    see `emul.distributed`. Give 0 where that group's ranks are no replicas.
    A layer that is parametrized (a spectral norm, say) or of a subclass calls its function and is emulated so; the type
    of a parametrized one is also what it was before.

    Errors: ValueError, and the model as it was, for a model with emulated layers already, a recipe that matches no
    layer and no module with parameters for functions, and names no function, a rule whose pattern matches no qualified name,
    or only that of a container, or picks names of which none has one of its `types`, or whose `types` name what is neither in
    the model nor in torch, a rule whose `types` name a type that cannot be emulated, with "refuse" a scripted module that no
    rule keeps, and another `functional` or `replica`; TypeError for anything but a module and a Recipe. In a forward
    ValueError for a call that is refused, with "refuse" also of a layer by a method that is called from outside, and one
    whose rule names its function where it cannot be emulated.
    """
    _check_arguments(model, recipe)
    check_options(functional, replica)
    if already := [name for name, module in model.named_modules() if isinstance(module, Emulated)]:
        raise ValueError(f"layer {already[0]!r} is emulated already: call emul.restore_(model) before another swap_")
    if any(watch_of(module) is not None for module in model.modules() if not isinstance(module, Emulated)):
        raise ValueError(f"{type(model).__name__} is swapped already: call emul.restore_(model) before another swap_")
    report = _decide(model, recipe)
    for rule in report.idle:
        if rule.mistake:
            raise ValueError(f"rule {rule.rule} of {_title(recipe)} decides about nothing: {rule.why}; or leave it out")
    calls = functional != "report" and any(set(rule.types) & set(ADAPTERS) for rule in recipe.rules if not rule.keep)
    if functional != "report":
        calls = calls or any(
            _calls(recipe, module, names[0]) for names, module, reader in _modules(model) if not reader
        )
    modules = dict(model.named_modules())
    for layer in report.native:
        module = modules[layer.name]
        index = match(recipe, module, layer.name)
        named_by = [kind for kind in kinds(module) if index is not None and kind in recipe.rules[index].types]
        if index is not None and not recipe.rules[index].keep and named_by:
            by_calls = functional == "emulate" and layer.native == own_forward(layer.type)
            if by_calls or (layer.type not in named_by and calls_functions(module)):
                continue  # what it calls is emulated
            raise ValueError(
                f"rule {index} names the type {named_by[0]}, and module {layer.name!r} is one that cannot be emulated:"
                f" {layer.native}; or leave it native by an earlier rule with keep=True"
            )
    for layer in report.native:
        outside = isinstance(modules[layer.name], torch.jit.ScriptModule)
        if functional == "refuse" and outside and not layer.native.startswith("kept"):
            raise ValueError(
                f"module {layer.name!r} ({layer.type}) is native and functional='refuse': {layer.native}, or a rule with"
                " keep=True"
            )
    if not report.emulated and not calls:
        native = [kind.__name__ for kind in EMULATED if kind.__module__.startswith("torch.")]
        raise ValueError(
            f"no layer of {type(model).__name__} is emulated by {_title(recipe)}: emul.nn has"
            f" {', '.join(native)}; {_seen(model, report)}; functions that its modules call"
            " need a rule whose types name them, such as 'matmul', and so do norms"
        )
    for layer in report.emulated:
        kind = NORMS.get(type(modules[layer.name]))
        if kind is not None and layer.rule is not None:
            kind.check_rule(recipe.rules[layer.rule], layer.name)
    for layer in report.emulated:
        assert layer.rule is not None
        module = modules[layer.name]
        module.__class__ = LAYERS[type(module)]
        assert isinstance(module, Emulated)
        module.emulation = Emulation(recipe, layer.rule, layer.name, replica=replica)
    for container in model.modules():
        if type(container) in OPENED and any(isinstance(inner, Emulated) for inner in container.modules()):
            container.__class__ = OPENED[type(container)]
    attach(model, Watch(recipe, functional, replica))
    return model


def _calls(recipe: Recipe, module: torch.nn.Module, name: str) -> bool:
    """Whether a rule is to emulate what a module that is no layer calls."""
    index = match(recipe, module, name) if calls_functions(module) else None
    return index is not None and not recipe.rules[index].keep and recipe.rules[index].norm is None


def check_options(functional: str, replica: int | None) -> None:
    """Errors: ValueError for options that `swap_` does not take."""
    if functional not in CHOICES:
        raise ValueError(f"functional = {functional!r}: give {', '.join(map(repr, CHOICES))}")
    if replica is not None and (isinstance(replica, bool) or not isinstance(replica, int) or replica < 0):
        raise ValueError(
            f"replica = {replica!r}: give the number of this process among those that train the model, from 0"
        )


def restore_(model: torch.nn.Module) -> torch.nn.Module:
    """Give every emulated layer of `model` its native class back, in place; returns the model.

    The weights keep the bits they have; the count of training steps is forgotten. What `swap_` has put around torch's
    Function.apply and ScriptFunction.__call__ and Python's Thread.start and ThreadPoolExecutor.submit, to see what a
    forward gives to them, stays for the process and asks whether a swapped model is running. Errors: ValueError, and
    the model as it was, for a model without emulated layers, for subclasses of them and for layers that were
    parametrized since.
    """
    layers = [module for module in model.modules() if isinstance(module, Emulated)]
    if not layers and not watches(model):
        raise ValueError(f"{type(model).__name__} has no emulated layer to restore: swap_ makes them")
    for layer in layers:
        if parametrize.is_parametrized(layer):
            raise ValueError(
                f"layer {layer.emulation.name!r} ({type(layer).__name__}) was parametrized after swap_: call"
                " torch.nn.utils.parametrize.remove_parametrizations first, and parametrize it again behind restore_"
            )
        if type(layer) not in NATIVE:
            raise ValueError(
                f"{type(layer).__name__} is a subclass of an emulated layer: it has no native class to restore"
            )
    detach(model)
    for layer in layers:
        del layer.emulation
        layer.__class__ = NATIVE[type(layer)]  # type: ignore[assignment]
    for container in model.modules():
        if type(container) in _CLOSED:
            container.__class__ = _CLOSED[type(container)]
    return model


def swap_report(model: torch.nn.Module, recipe: Recipe | None = None) -> SwapReport:
    """Which modules of a model are emulated, by which rule, and which are native, and why.

    recipe None reports on a model as swap_ left it; a recipe on a native model tells what swap_ would do.
    Errors: ValueError for a swapped model with a recipe, a native one without, and layers of more than one recipe.
    """
    recipes = {layer.emulation.recipe for layer in model.modules() if isinstance(layer, Emulated)}
    recipes |= {watch.recipe for watch in watches(model)}
    if recipe is None:
        if len(recipes) != 1:
            found = "no emulated layer" if not recipes else f"layers of {len(recipes)} recipes"
            raise ValueError(f"{type(model).__name__} has {found}: report on a module that one swap_ was applied to")
        return _with_calls(_decide(model, recipes.pop(), swapped=True), model)
    if recipes:
        raise ValueError("the model is swapped already: report on it without recipe=, or restore_ it first")
    _check_arguments(model, recipe)
    return _decide(model, recipe)


def _check_arguments(model: torch.nn.Module, recipe: Recipe) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    if isinstance(recipe, Recipe):
        return
    rules = recipe if isinstance(recipe, list | tuple) else (recipe,)
    if rules and all(isinstance(rule, Rule) for rule in rules):
        raise TypeError(f"recipe is {_rules_in(recipe)}: give emul.Recipe((rule, ...)), in the order of precedence")
    made = f"emul.recipes.get({recipe!r})" if isinstance(recipe, str) else "emul.recipes.get(name)"
    raise TypeError(f"recipe = {named(recipe)}: give an emul.Recipe; {made} makes one from a name")


def _rules_in(recipe: object) -> str:
    return "a Rule" if isinstance(recipe, Rule) else f"a {type(recipe).__name__} of {len(recipe)} Rule"  # type: ignore[arg-type]


def _decide(model: torch.nn.Module, recipe: Recipe, *, swapped: bool = False) -> SwapReport:
    """What the recipe says of each module; swapped: and what is not so, because it was restored or came later."""
    layers = []
    used = set()
    inside: set[torch.nn.Module] = set()  # parts of an emulated layer, which it does not call
    for names, module, reader in _modules(model):
        if module in inside:
            continue
        kind = native_type(module).__name__
        if isinstance(module, Emulated):  # the name it was swapped under decides, whatever root is reported on
            index: int | None = module.emulation.index
            reason: str | None = ""
        else:
            index = match(recipe, module, names[0])
            reason = obstacle(module, reader)
            if index is None and is_norm(module):
                reason = reason or "no rule names its type, which norms want"
        if reason is None:
            continue
        since = _since(model, names[0], module) if swapped and not reason else ""
        if since == _LATER:
            reason = since  # whatever rule its own name has
        elif index is None:
            reason = reason or "no rule matches"
        elif recipe.rules[index].keep:
            reason = f"kept by rule {index}"
            used.add(index)
        elif not reason:
            used.add(index)
            if swapped and not isinstance(module, Emulated):
                reason = since or f"rule {index} matches, and it was restored or came into the model after swap_"
        if not reason:
            inside.update(inner for inner in module.modules() if inner is not module)
        layers.append(LayerReport(names[0], kind, None if reason else index, reason, names[1:]))
    idle = unused(recipe, _named(model), used, True)
    return SwapReport(tuple(layers), tuple(rule.rule for rule in idle), recipe, idle=idle)


def _since(model: torch.nn.Module, name: str, module: torch.nn.Module) -> str:
    """Why what would be a layer now is none in a swapped model, and seen by its function; "" for any other module."""
    if isinstance(module, Emulated) or is_norm(module):
        return ""
    own = entry(module)
    if own is not None:
        return "" if own.restored else _OTHERWISE
    while name:
        name = name.rpartition(".")[0]
        around = entry(model.get_submodule(name))
        if around is not None:
            return "" if around.restored else _LATER
    return ""


def _with_calls(report: SwapReport, model: torch.nn.Module) -> SwapReport:
    """The report of a swapped model, or of a part of one, with what its modules called for."""
    names = {before.name for before in map(entry, model.modules()) if before is not None}
    calls, forwards = [], 0
    outside: Outside = {}
    for watch in watches(model):
        forwards += watch.forwards
        for method, layers in watch.outside.items():
            total = outside.setdefault(method, {})
            total |= {layer: total.get(layer, 0) + count for layer, count in layers.items()}
        for sort, count in watch.seen.items():
            if sort.module in names:
                calls.append(
                    CallReport(sort.module, sort.function, sort.rule, sort.native, count, sort.keeper, sort.backward)
                )
    assert report.recipe is not None
    used = set(range(len(report.recipe.rules))) - set(report.unused)
    used |= {index for call in calls for index in (call.rule, call.keeper) if index is not None}
    idle = unused(report.recipe, _named(model), used, not forwards)
    left = tuple(rule.rule for rule in idle)
    return replace(
        report,
        unused=left,
        calls=tuple(calls),
        forwards=forwards if names else None,
        outside=sum(sum(layers.values()) for layers in outside.values()) if names else 0,
        idle=idle,
        left=told(outside) if names else (),
    )


def _named(model: torch.nn.Module) -> list[tuple[str, str]]:
    """Qualified name, as the rules of a swapped model have seen it, and native type of every module; of some two."""
    found = []
    for name, module in model.named_modules():
        before = entry(module)
        if isinstance(module, Emulated):
            name = module.emulation.name
        elif before is not None:
            name = before.name
        found += [(name, kind) for kind in kinds(module)]
    return found


def _modules(model: torch.nn.Module) -> Iterator[tuple[tuple[str, ...], torch.nn.Module, str]]:
    """Every module once: its names, first one first; itself; and the type of an owner that reads its weights, or ""."""
    names: dict[torch.nn.Module, list[str]] = {}
    readers: dict[torch.nn.Module, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
        if isinstance(module, _READS_WEIGHTS) and type(module) not in (*OPENED, *_CLOSED):
            readers.update({inner: type(module).__name__ for inner in module.modules() if inner is not module})
    for module, found in names.items():
        yield tuple(found), module, readers.get(module, "")


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _title(recipe: Recipe) -> str:
    return f"the recipe {recipe.name!r}" if recipe.name else "the recipe"


def _seen(model: torch.nn.Module, report: SwapReport) -> str:
    if report.native:
        lines = [_line(layer) for layer in report.native]
        more = [f"and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
        return "the model has " + "; ".join([*lines[:_TOLD], *more])
    kinds = dict.fromkeys(type(module).__name__ for module in model.modules())
    return f"the model has {', '.join(kinds)}"


def _line_of_call(call: CallReport) -> str:
    times = f"{call.count} call{'s' * (call.count != 1)} of {call.function}"
    native = "gradients native" if call.backward else "native with their gradients"
    what = f"{native}, {call.native}" if call.rule is None else f"rule {call.rule}"
    return f"{call.module or '(root)'}, {times}: {what}"


def _line(layer: LayerReport) -> str:
    also = f", also {', '.join(layer.aliases)}" if layer.aliases else ""
    what = f"native, {layer.native}" if layer.rule is None else f"rule {layer.rule}"
    return f"{layer.name or '(root)'} ({layer.type}{also}): {what}"
