"""Models and data by name, or by module:factory; and whether the two fit, before any training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from . import digits, gpt, text
from .datasets import Dataset
from .named import found

Builder = Callable[[], torch.nn.Module]

MODELS = (*digits.MODELS, "gpt")
DATA: dict[str, Callable[[], Dataset]] = {"digits": lambda: digits.load(), "text": lambda: text.load()}


def data_of(given: str | Dataset) -> Dataset:
    """The data called so: digits, text, or module:factory of a function without arguments that returns a Dataset.

    Errors: ValueError for an unknown name, TypeError for a factory that cannot be called or returns anything else,
    ImportError for a module that is not there.
    """
    if isinstance(given, Dataset):
        return given
    if given in DATA:
        return DATA[given]()
    if not isinstance(given, str) or ":" not in given:
        raise ValueError(
            f"there is no data called {given!r}; the known ones are {', '.join(DATA)}; your own is module:factory"
        )
    factory = _factory(given, found(given))
    try:
        made = factory()
    except TypeError as error:
        raise TypeError(f"{given}() raised TypeError: {error}; a data factory is called without arguments") from error
    if not isinstance(made, Dataset):
        raise TypeError(f"{given} returned a {type(made).__name__}; return an emul.datasets.Dataset")
    return made


def known_model(given: object) -> None:
    """Refuse what is no name of a model and no factory before its data are looked for: ValueError, TypeError."""
    if isinstance(given, torch.nn.Module):
        raise TypeError(
            f"the model is a {type(given).__name__}, one net: give a function that builds a fresh one for each run, such as"
            " lambda: copy.deepcopy(model), or module:factory"
        )
    if not callable(given) and given not in MODELS and not (isinstance(given, str) and ":" in given):
        raise ValueError(
            f"there is no model called {given!r}; the known ones are {', '.join(MODELS)}; your own is module:factory"
        )


def builder_of(given: str | Callable[..., torch.nn.Module], data: Dataset) -> tuple[str, Builder]:
    """The name of a model and the function without arguments that builds it for this data.

    given: cnn, mlp, gpt; or a factory, or module:factory of one: a function that returns a torch.nn.Module, of no
    argument or of one, which gets the Dataset. It is called with torch's generator seeded.

    Errors: ValueError for an unknown name; TypeError for a factory that cannot be called so; ImportError for a module
    that is not there.
    """
    known_model(given)
    if callable(given):
        name = getattr(given, "__name__", type(given).__name__)
        return name, _with_data(name, given, data)
    if given in digits.MODELS:
        return given, digits.MODELS[given]
    if given == "gpt":
        return given, partial(_gpt, data)
    made = found(given)
    if isinstance(made, torch.nn.Module):
        known_model(made)
    return given, _with_data(given, _factory(given, made), data)


def checked(name: str, build: Builder, data: Dataset) -> torch.nn.Module:
    """A model built; refused is what is none or does not fit the data: two training samples are put through it.

    Errors: TypeError for anything but a torch.nn.Module, ValueError where it has parameters without a shape, fails on the
    samples or its scores are not [samples, classes], for next tokens [samples, length, classes].
    """
    try:
        model = build()
    except TypeError as error:
        raise TypeError(
            f"the factory of the model {name!r} raised TypeError: {error}; it is called without arguments, or with the Dataset"
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"the model {name!r} is a {type(model).__name__}; return a torch.nn.Module from its factory")
    if lazy := [part for part, parameter in model.named_parameters() if is_lazy(parameter)]:
        raise ValueError(
            f"{lazy[0]} of the model {name!r} has no shape yet: put a batch through the model in its factory, which may take"
            " the Dataset"
        )
    inputs, labels = data.train_inputs[:2], data.train_labels[:2]
    what = f"{data.task} data {data.name!r} with inputs {list(inputs.shape[1:])} of {str(inputs.dtype)[6:]}"
    model.eval()
    try:
        with torch.no_grad():
            scores = scores_of(model(inputs))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"the model {name!r} does not take the {what}: {' '.join(str(error).split())}") from error
    shape = list(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    wanted = [*labels.shape, data.classes]
    if not isinstance(shape, list) or shape[:-1] != wanted[:-1] or shape[-1] < data.classes:
        raise ValueError(
            f"the model {name!r} makes {shape} of two samples of the {what}; the scores of its {data.classes} classes"
            f" are {wanted}"
        )
    return model


def scores_of(output: Any) -> Any:
    """The scores that a model returned: a tensor, or the `logits` of what it returned, as transformers' models have."""
    return getattr(output, "logits", output)


def _factory(name: str, made: object) -> Callable[..., Any]:
    if not callable(made):
        raise TypeError(f"{name} is a {type(made).__name__}; name a function that builds it")
    return made


def _with_data(name: str, factory: Callable[..., torch.nn.Module], data: Dataset) -> Builder:
    """The factory without arguments; where it takes one, that is the data."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # a function of C without a signature
        return factory
    needed = [parameter for parameter in parameters if parameter.default is parameter.empty]
    needed = [
        parameter for parameter in needed if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if not needed:
        return factory
    if len(needed) > 1 or needed[0].kind is inspect.Parameter.KEYWORD_ONLY:
        names = ", ".join(parameter.name for parameter in needed)
        raise TypeError(f"{name} takes the arguments {names}; a model's factory takes none, or one: the Dataset")
    return partial(factory, data)


def _gpt(data: Dataset) -> torch.nn.Module:
    if data.task != "next-token":
        raise ValueError(
            f"the model 'gpt' predicts next tokens, and {data.name!r} is {data.task}; give text, or data of your own"
        )
    small = gpt.SMALL
    return gpt.Gpt(gpt.Size(small.layers, small.width, small.heads, data.train_inputs.shape[1]), data.classes)
