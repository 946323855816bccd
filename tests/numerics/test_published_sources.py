"""Every published function says where it comes from: a paper, a book, another function that says it, or that it is derived."""

import re
from importlib import import_module
from inspect import getdoc, isclass

import pytest

MODULES = ("binary", "clipping", "diagnostics", "luq", "normalization", "scaling", "sparsity", "tempered")
FUNCTIONS = {
    f"{module}.{name}": value
    for module in MODULES
    for name in import_module(f"numerics.{module}").__all__
    if callable(value := getattr(import_module(f"numerics.{module}"), name)) and not isclass(value)
}
CITED = re.compile(r"arXiv \d{4}\.\d{4,5}|\b(19|20)\d\d\b|\bderived\b|\bcounted\b")


def told(name: str) -> str:
    """What stands behind "Source" in a docstring; a reference to other functions followed by theirs."""
    module, _, _ = name.partition(".")
    doc = " ".join((getdoc(FUNCTIONS[name]) or "").split())
    _, _, source = doc.partition("Source")
    others = [f"{module}.{other}" for other in re.findall(r"`(\w+)`", source)]
    return source + "".join(told(other) for other in others if other in FUNCTIONS and other != name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_names_its_source(name):
    source = told(name)
    assert source, f"{name} has no Source"
    assert CITED.search(source), f"{name}: {source!r} cites nothing"


def test_all_are_looked_at():
    assert len(FUNCTIONS) > 120
    assert {name.partition(".")[0] for name in FUNCTIONS} == set(MODULES)
