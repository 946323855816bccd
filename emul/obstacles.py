"""Which rule decides about a module, and why a module cannot be emulated."""

from collections.abc import Iterator

import torch
from torch.nn.modules.batchnorm import _LazyNormBase
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from .nn import EMULATED, NORMS, Emulated
from .recipe import Recipe

#: The native types and what they become, and back.
LAYERS = {**EMULATED, **NORMS}
NATIVE = {emulated: native for native, emulated in LAYERS.items()}

_UNROLL = (
    "emul.nn has no {}: write its step with torch.nn.Linear layers, which can be emulated, or a rule with keep=True"
)
_TRANSPOSED = "emul.nn has no {0}: use torch.nn.Upsample and a {1}, which can be emulated, or a rule with keep=True"
_NORM = "emul.nn has no {}: use a torch.nn.LayerNorm or a BatchNorm, which can be emulated, or a rule with keep=True"

#: Norms that emul does not have, and what to do about them.
_OTHER_NORMS = {
    torch.nn.GroupNorm: _NORM,
    _InstanceNorm: _NORM,
    torch.nn.LocalResponseNorm: _NORM,
    torch.nn.CrossMapLRN2d: _NORM,
    _LazyNormBase: _NORM,  # no BatchNorm before its shape is known
    torch.nn.SyncBatchNorm: "emul.nn has no {}: use a BatchNorm, whose statistics are those of each process",
}

#: Layers of torch.nn with products or sums of their own that emul does not have, and what to do about them.
_UNSUPPORTED = {
    torch.nn.Bilinear: (
        "emul.nn has no {}: use a torch.nn.Linear of the two inputs' outer product, which can be emulated, or a rule"
        " with keep=True"
    ),
    torch.nn.ConvTranspose1d: _TRANSPOSED,
    torch.nn.ConvTranspose2d: _TRANSPOSED,
    torch.nn.ConvTranspose3d: _TRANSPOSED,
    torch.nn.EmbeddingBag: (
        "emul.nn has no {}: use a torch.nn.Embedding, and emul.matmul with ones for its sums, or a rule with keep=True"
    ),
    torch.nn.RNNBase: _UNROLL,
    torch.nn.RNNCellBase: _UNROLL,
    **_OTHER_NORMS,
}


#: Layers whose forward calls a function that can be emulated.
_CALLING = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
_SEEN = "; until then its product is seen when it calls for it by a function"


def match(recipe: Recipe, module: torch.nn.Module, name: str) -> int | None:
    """The rule for a module; for a norm of torch.nn, which has no products, the first that names its type or keeps it."""
    types = kinds(module)
    for index, rule in enumerate(recipe.rules):
        if any(rule.matches(name, kind) for kind in types) and (rule.types or rule.keep or not is_norm(module)):
            return index
    return None


def kinds(module: torch.nn.Module) -> tuple[str, ...]:
    """The class names by which rules name a module: its native type's, and of a parametrized one the type it was before."""
    kind = native_type(module)
    before = parametrize.type_before_parametrizations(module)
    return tuple(dict.fromkeys((kind.__name__, NATIVE.get(before, before).__name__)))


def calls_functions(module: torch.nn.Module) -> bool:
    """Whether its forward multiplies parameters of its own by functions, as far as its class tells."""
    if isinstance(module, (torch.jit.ScriptModule, LazyModuleMixin)) or type(module) in LAYERS:
        return False
    if isinstance(module, _CALLING):
        return True
    return not _of_torch(parametrize.type_before_parametrizations(module)) and next(held_by(module), None) is not None


def held_by(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """Its own parameters, with those in its lists and dicts of them and those that its parametrizations have in their place."""
    yield from module.parameters(recurse=False)
    for name, inner in module.named_children():
        if isinstance(inner, (torch.nn.ParameterList, torch.nn.ParameterDict)) or name == "parametrizations":
            yield from inner.parameters()


def is_norm(module: torch.nn.Module) -> bool:
    """Whether it is a norm of torch.nn, or made of one: reported only where a rule names its type."""
    before = parametrize.type_before_parametrizations(module)
    return _of_torch(NATIVE.get(before, before)) and isinstance(module, (*NORMS, *_OTHER_NORMS))


def obstacle(module: torch.nn.Module, reader: str) -> str | None:
    """Why a module cannot be emulated; "" if it can, None if it has no products that we know or suspect."""
    kind = type(module)
    unsupported = next((remedy for native, remedy in _UNSUPPORTED.items() if isinstance(module, native)), "")
    known = isinstance(module, tuple(LAYERS)) or bool(unsupported)
    if isinstance(module, torch.jit.ScriptModule):
        return (
            "it runs outside Python, where emul sees no products: give the module that it was scripted or traced from"
        )
    if reader and isinstance(module, tuple(LAYERS)):
        return f"the {reader} around it may use its weight without calling it"
    if known and isinstance(module, LazyModuleMixin):
        return "its shape is not known yet: run one batch through the model first"
    if known and parametrize.is_parametrized(module):
        return "it is parametrized: call torch.nn.utils.parametrize.remove_parametrizations first" + _seen(module)
    if kind in LAYERS:
        return "its forward is replaced on the instance: remove that first" if "forward" in vars(module) else ""
    if isinstance(module, tuple(LAYERS)):
        parent = _parent(module)
        return f"it is a subclass of {parent}, which may compute something else: use {parent} itself{_seen(module)}"
    if unsupported:
        return unsupported.format(kind.__name__, kind.__name__.removeprefix("Lazy").replace("Transpose", ""))
    if isinstance(module, torch.nn.Embedding):
        return "it looks up a table and has no product"
    before = parametrize.type_before_parametrizations(module)
    held = next(module.parameters(recurse=False), None) is not None or parametrize.is_parametrized(module)
    return own_forward(kind.__name__) if held and not _of_torch(before) else None


def own_forward(kind: str) -> str:
    """Why a module that calls functions with its parameters is no emulated layer."""
    return f"{kind} uses parameters in a forward of its own, whose products are seen when it calls for them"


def native_type(module: torch.nn.Module) -> type[torch.nn.Module]:
    """The class of torch.nn that an emulated layer is made of, that of any other module."""
    return NATIVE.get(type(module), type(module)) if isinstance(module, Emulated) else type(module)


def _of_torch(kind: type[torch.nn.Module]) -> bool:
    """Whether a class is torch.nn's. A parametrized module's own is made there, whatever it was before."""
    return kind.__module__.startswith("torch.nn.")


def _seen(module: torch.nn.Module) -> str:
    return _SEEN if isinstance(module, _CALLING) else ""


def _parent(module: torch.nn.Module) -> str:
    return next(native.__name__ for native in LAYERS if isinstance(module, native))
