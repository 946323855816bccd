"""The rules in a syntax tree: kernels <- numerics <- emul, no import of the tests, one place for numba's options.

Each rule is shown to catch a planted violation, and the tree of the repository to hold none.
"""

import ast
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("kernels", "numerics", "emul")
CHECKS = ("tests", "property_tests", "benchmarks")
STANDARD = sys.stdlib_module_names
COMPILERS = {"jit", "njit", "vectorize", "guvectorize", "generated_jit", "cfunc", "stencil"}
LONGEST = 500

Finding = tuple[int, str]


@dataclass(frozen=True)
class Import:
    """One imported name in full: `from .a import b` in kernels/c.py is numerics.kernels.a.b."""

    line: int
    name: str
    relative: bool

    @property
    def root(self) -> str:
        return self.name.partition(".")[0]

    def reaches(self, package: str) -> bool:
        return f"{self.name}.".startswith(f"{package}.")


class Module:
    """A source file: `path` is relative to the repository's root."""

    def __init__(self, path: str | PurePosixPath, source: str) -> None:
        self.path = PurePosixPath(path)
        self.source = source
        self.layer = self.path.parts[0] if len(self.path.parts) > 1 else ""
        self.nodes = list(ast.walk(ast.parse(source, str(path))))
        self.imports = list(self._imports())

    def __str__(self) -> str:
        return str(self.path)

    def inside(self, *folders: str) -> bool:
        return any(self.path.is_relative_to(folder) for folder in folders)

    def _full(self, name: str, level: int) -> str:
        if level == 0:
            return name
        package = self.path.parent.parts
        if package[:1] == ("kernels",):
            package = ("numerics", *package)
        return ".".join((*package[: len(package) - level + 1], *name.split("."))).strip(".")

    def _imports(self) -> Iterator[Import]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name, False)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}" if node.module else alias.name
                    yield Import(node.lineno, self._full(name, node.level), node.level > 0)
            elif isinstance(node, ast.Call) and last_name(node.func) in ("import_module", "__import__"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    name = first.value.lstrip(".")
                    level = len(first.value) - len(name)
                    yield Import(node.lineno, self._full(name, level), level > 0)
                else:
                    yield Import(node.lineno, "(computed)", False)


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def kernels_import_little(module: Module) -> Iterator[Finding]:
    if module.inside("kernels"):
        for found in module.imports:
            if found.relative:
                if not found.reaches("numerics.kernels"):
                    yield found.line, f"a kernel reaches out of kernels/: {found.name}"
            elif found.root not in STANDARD and found.root not in ("numba", "numpy", "llvmlite"):
                yield found.line, f"a kernel imports {found.name}: allowed are relative imports, numba, numpy, llvmlite"


def kernels_define_no_classes(module: Module) -> Iterator[Finding]:
    # The folder can be loaded twice, as kernels and as numerics.kernels: functions and integers do not mind, types do.
    if module.inside("kernels"):
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                yield node.lineno, f"a kernel defines the class {node.name}"


def numerics_imports_no_framework(module: Module) -> Iterator[Finding]:
    if module.inside("numerics"):
        allowed = {"numpy", "numerics"} | ({"hypothesis", "pytest"} if module.inside("numerics/properties") else set())
        for found in module.imports:
            if found.root not in STANDARD and found.root not in allowed:
                yield found.line, f"numerics imports {found.name}: allowed here are {', '.join(sorted(allowed))}"


def oracle_shares_no_kernel(module: Module) -> Iterator[Finding]:
    if module.inside("numerics/reference.py", "numerics/reference"):
        for found in module.imports:
            if found.reaches("numerics.kernels"):
                yield found.line, f"the oracle imports {found.name}: it shares no code with the kernels"


def lower_layers_do_not_look_up(module: Module) -> Iterator[Finding]:
    if module.layer in PRODUCT:
        above = PRODUCT[PRODUCT.index(module.layer) + 1 :]
        for found in module.imports:
            name = "kernels" if found.reaches("numerics.kernels") else found.root
            if name in above:
                yield found.line, f"{module.layer} imports {found.name}: the direction is {' <- '.join(PRODUCT)}"


def only_emul_imports_torch(module: Module) -> Iterator[Finding]:
    if module.layer not in ("emul", *CHECKS):
        for found in module.imports:
            if found.reaches("torch"):
                yield found.line, f"{found.name} outside emul"


def nobody_imports_the_checks(module: Module) -> Iterator[Finding]:
    for found in module.imports:
        if found.root in CHECKS and found.root != module.layer:
            yield found.line, f"{found.name} is imported from outside {found.root}/"


def nobody_imports_top_level_kernels(module: Module) -> Iterator[Finding]:
    for found in module.imports:
        if not found.relative and found.root == "kernels":
            yield found.line, "kernels is imported by its folder's name: say numerics.kernels"


def one_place_compiles(module: Module) -> Iterator[Finding]:
    if module.layer not in PRODUCT or (module.inside("kernels") and module.path.name == "_jit.py"):
        return
    for found in module.imports:
        if found.reaches("numba") and found.name.rpartition(".")[2] in COMPILERS:
            yield found.line, f"{found.name} outside kernels/_jit.py, which holds every numba option"
    aliases = {
        alias.asname or alias.name.partition(".")[0]
        for node in module.nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.name.partition(".")[0] == "numba" or (getattr(node, "module", None) or "").startswith("numba")
    }
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and node.attr in COMPILERS:
            owner: ast.expr = node
            while isinstance(owner, ast.Attribute):
                owner = owner.value
            if last_name(owner) in aliases:
                yield node.lineno, f"{ast.unparse(node)} outside kernels/_jit.py, which holds every numba option"


def no_star_imports(module: Module) -> Iterator[Finding]:
    for found in module.imports:
        if found.name.endswith("*"):
            yield found.line, f"star import: {found.name}"


def no_exec(module: Module) -> Iterator[Finding]:
    for node in module.nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("exec", "builtins.exec"):
            yield node.lineno, "exec: readers, type checkers and editors cannot see what it defines"


def packages_say_what_they_offer(module: Module) -> Iterator[Finding]:
    if str(module) in ("numerics/__init__.py", "emul/__init__.py") and not any(
        isinstance(node, ast.Name) and node.id == "__all__" and isinstance(node.ctx, ast.Store) for node in module.nodes
    ):
        yield 1, "no __all__"


def no_drawer_for_everything(module: Module) -> Iterator[Finding]:
    if module.path.name == "utils.py":
        yield 1, "utils.py says nothing: name the file after what it holds"


def no_long_file(module: Module) -> Iterator[Finding]:
    lines = module.source.count("\n")
    if lines > LONGEST:
        yield LONGEST + 1, f"{lines} lines, more than {LONGEST}: split the file"


Rule = Callable[[Module], Iterator[Finding]]

# Each rule with violations of it: a path and a source.
PLANTED: dict[Rule, tuple[tuple[str, str], ...]] = {
    kernels_import_little: (
        ("kernels/gemm.py", "import torch"),
        ("kernels/gemm.py", "import scipy.special"),
        ("kernels/gemm.py", "from numerics.kernels import rounding"),
        ("kernels/gemm.py", "from .. import formats"),
        ("kernels/gemm.py", "from ..formats import FloatFormat"),
        ("kernels/cuda/launch.py", "from ...formats import FloatFormat"),
        ("kernels/gemm.py", "import importlib\nimportlib.import_module('torch')"),
        ("kernels/gemm.py", "from importlib import import_module\nimport_module(name)"),
    ),
    kernels_define_no_classes: (("kernels/gemm.py", "def f():\n    class Row: pass"),),
    numerics_imports_no_framework: (
        ("numerics/products.py", "def f():\n    import torch"),
        ("numerics/products.py", "import numba"),
        ("numerics/products.py", "__import__('torch')"),
        ("numerics/theory.py", "from hypothesis import strategies"),
        ("numerics/properties/suite.py", "import torch"),
        ("numerics/propertiesx.py", "import hypothesis"),
    ),
    oracle_shares_no_kernel: (
        ("numerics/reference.py", "from .kernels.modes import RNE"),
        ("numerics/reference.py", "from . import kernels"),
        ("numerics/reference/dots.py", "from ..kernels import modes"),
    ),
    lower_layers_do_not_look_up: (
        ("kernels/gemm.py", "import numerics"),
        ("kernels/gemm.py", "import emul.ops"),
        ("numerics/plan.py", "if TYPE_CHECKING:\n    from emul import nn"),
    ),
    only_emul_imports_torch: (
        ("kernels/gemm.py", "import torch"),
        ("numerics/plan.py", "from torch.nn import Linear"),
        ("tool.py", "import torch as t"),
    ),
    nobody_imports_the_checks: (
        ("emul/compare.py", "from benchmarks.peers import PEERS"),
        ("numerics/plan.py", "import tests"),
        ("property_tests/test_law.py", "from tests.kernels import helpers"),
    ),
    nobody_imports_top_level_kernels: (
        ("emul/ops.py", "import kernels.gemm"),
        ("tests/kernels/test_gemm.py", "from kernels import gemm"),
    ),
    one_place_compiles: (
        ("kernels/gemm.py", "from numba import njit"),
        ("kernels/gemm.py", "import numba as nb\n@nb.njit(cache=True)\ndef f(): pass"),
        ("kernels/gemm.py", "import numba.cuda\n@numba.cuda.jit\ndef f(): pass"),
        ("kernels/launch.py", "from numba import cuda as c\n@c.jit('void()')\ndef f(): pass"),
        ("emul/_jit.py", "import numba\nnumba.vectorize(f)"),
    ),
    no_star_imports: (
        ("tests/test_a.py", "from numerics import *"),
        ("numerics/__init__.py", "from .formats import *"),
    ),
    no_exec: (("emul/ops.py", "exec('x = 1')"), ("tests/test_a.py", "import builtins\nbuiltins.exec('x = 1')")),
    packages_say_what_they_offer: (("numerics/__init__.py", "from .plan import plan"), ("emul/__init__.py", "")),
    no_drawer_for_everything: (("kernels/utils.py", ""), ("tests/emul/utils.py", "")),
    no_long_file: (("emul/nn.py", "x = 1\n" * (LONGEST + 1)),),
}

INNOCENT = (
    (
        "kernels/gemm.py",
        "import math\nimport numpy as np\nfrom numba.extending import overload\nfrom ._jit import core",
    ),
    ("kernels/cuda/launch.py", "from .. import modes\nfrom llvmlite import ir\nfrom numba import types"),
    ("kernels/_jit.py", "import numba\nnumba.njit(f)"),
    ("kernels/gemm.py", "from ._jit import jit\n@jit\ndef f(): pass"),
    (
        "numerics/plan.py",
        "from __future__ import annotations\nimport numpy\nfrom .kernels import gemm\nfrom numerics import kernels",
    ),
    ("numerics/properties/suite.py", "import hypothesis\nfrom ..formats import FloatFormat"),
    (
        "numerics/reference.py",
        "from fractions import Fraction\nfrom .formats import FloatFormat\nfrom .kernels_of_thought import x",
    ),
    (
        "emul/ops.py",
        "import torch\nfrom numerics import kernels\nfrom numerics.kernels import gemm\ntorch.jit.script(f)",
    ),
    (
        "emul/__init__.py",
        "import importlib\n__all__ = ['nn']\ndef __getattr__(name): return importlib.import_module(name)",
    ),
    (
        "tests/emul/test_nn.py",
        "import torch\nimport numba\nfrom numerics import kernels\nf = numba.njit(f)\nmodel.exec()",
    ),
    ("benchmarks/bench_dot.py", "from benchmarks.peers import PEERS\nfrom .peers import PEERS"),
    ("emul/nn.py", "x = 1\n" * LONGEST),
)


def sources() -> Iterator[Path]:
    """Every Python file of the repository, once: no environments, build products or links."""
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if not name.startswith((".", "__pycache__"))
            and not (here == ROOT and name in ("build", "dist", "runs"))
            and not name.endswith(".egg-info")
            and not (here / name / "pyvenv.cfg").exists()
        ]
        yield from (here / name for name in sorted(files) if name.endswith(".py"))


def test_the_walk_sees_all_folders() -> None:
    seen = {path.relative_to(ROOT).parts[0] for path in sources()}
    assert {*PRODUCT, "tests"} <= seen
    assert not any(path.is_relative_to(ROOT / "numerics" / "kernels") for path in sources())


@pytest.mark.parametrize("rule", PLANTED, ids=lambda rule: rule.__name__)
def test_the_repository_keeps(rule: Rule) -> None:
    modules = [Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in sources()]
    findings = [f"{module}:{line}: {sentence}" for module in modules for line, sentence in rule(module)]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [(rule, path, source) for rule, planted in PLANTED.items() for path, source in planted],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else str(value)[:40],
)
def test_a_planted_violation_is_caught(rule: Rule, path: str, source: str) -> None:
    assert list(rule(Module(path, source)))


@pytest.mark.parametrize(("path", "source"), INNOCENT, ids=lambda value: str(value)[:40])
def test_no_rule_accuses_the_innocent(path: str, source: str) -> None:
    assert not [sentence for rule in PLANTED for _, sentence in rule(Module(path, source))]
