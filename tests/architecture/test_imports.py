"""The rules in a syntax tree: kernels <- numerics <- emul, no import of the tests, one place for numba's options.

Each rule is shown to catch a planted violation, and the tree of the repository to hold none.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture.modules import ROOT, Module, last_name, sources

PRODUCT = ("kernels", "numerics", "emul")
CHECKS = ("tests", "property_tests", "benchmarks")
STANDARD = sys.stdlib_module_names
COMPILERS = {"jit", "njit", "vectorize", "guvectorize", "generated_jit", "cfunc", "stencil"}
LONGEST = 500

# What the oracle may import when it runs, and the verbs of a record that would have the kernels do its work.
VOCABULARY = ("numerics.formats", "numerics.rounding", "numerics.reference")
VERBS = {"quantize", "encode", "decode"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "expandvars"}
# What draws from torch's global generator, unless it is given another.
DRAWS = {"rand", "randn", "randint", "randperm", "bernoulli", "normal", "multinomial", "poisson", "binomial"}
DRAWS |= {"rand_like", "randn_like", "randint_like", "dropout", "alpha_dropout", "feature_dropout", "rrelu"}
DRAWS_IN_PLACE = {
    "normal_",
    "uniform_",
    "bernoulli_",
    "random_",
    "exponential_",
    "geometric_",
    "cauchy_",
    "log_normal_",
}
SEEDS = {"manual_seed", "manual_seed_all", "seed", "seed_all", "initial_seed", "set_rng_state", "default_generator"}
# Who may set it: models are built and trained from a seed, inside a fork that puts the generator back.
SEEDED = {
    ("emul/training.py", "reproducible"): {"torch.random.fork_rng"},
    ("emul/training.py", "train"): {"torch.manual_seed"},
    ("emul/course.py", "_gradient"): {"torch.random.fork_rng"},  # a look at the gradient leaves the generator as it was
    ("emul/paired.py", "_seeded"): {"torch.random.fork_rng", "torch.manual_seed"},
    ("emul/digits.py", "build"): {"torch.random.fork_rng", "torch.manual_seed"},
}

Finding = tuple[int, str]


def kernels_import_little(module: Module) -> Iterator[Finding]:
    if module.inside("kernels"):
        for found in module.imports:
            if found.relative:
                if not found.reaches("numerics.kernels"):
                    yield found.line, f"a kernel reaches out of kernels/: {found.name}"
            elif found.root not in STANDARD and found.root not in ("numba", "numpy", "llvmlite"):
                yield found.line, f"a kernel imports {found.name}: allowed are relative imports, numba, numpy, llvmlite"


def kernels_define_no_classes(module: Module) -> Iterator[Finding]:
    """The folder can be loaded twice, as kernels and as numerics.kernels: functions and integers do not mind, types do.

    Rows made by collections.namedtuple are allowed: numba needs one to type what a loop takes, and the loops of both
    names see only their own. Numba's compiler is extended by subclasses, which nothing but the compiler sees.
    """
    if module.inside("kernels") and str(module) != "kernels/_inlined.py":
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                yield node.lineno, f"a kernel defines the class {node.name}"
            elif isinstance(node, ast.Call):
                makes = last_name(node.func) in ("make_dataclass", "NamedTuple", "new_class", "Enum", "IntEnum")
                if makes or (ast.unparse(node.func) == "type" and len(node.args) == 3):
                    yield node.lineno, f"a kernel defines a class: {ast.unparse(node)[:60]}"


def numerics_imports_no_framework(module: Module) -> Iterator[Finding]:
    if module.inside("numerics"):
        allowed = {"numpy", "numerics"} | ({"hypothesis", "pytest"} if module.inside("numerics/properties") else set())
        for found in module.imports:
            if found.root not in STANDARD and found.root not in allowed:
                yield found.line, f"numerics imports {found.name}: allowed here are {', '.join(sorted(allowed))}"


def _is_oracle(module: Module) -> bool:
    return module.inside("numerics/reference.py", "numerics/reference")


def oracle_imports_vocabulary_alone(module: Module) -> Iterator[Finding]:
    """When it runs; records such as Quantizer are names for the type checker."""
    if _is_oracle(module):
        for found in module.imports:
            allowed = found.root in STANDARD or found.root == "numpy" or any(map(found.reaches, VOCABULARY))
            if not (allowed or found.typing):
                yield found.line, f"the oracle imports {found.name}: it may depend on nothing that reaches the kernels"


def oracle_leaves_no_work_to_records(module: Module) -> Iterator[Finding]:
    """A record that it is given has verbs, and they run the kernels; the oracle's own modules have them too."""
    if _is_oracle(module):
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and node.attr in VERBS:
                if not module.meaning(node.value).startswith("numerics.reference."):
                    yield node.lineno, f"the oracle uses {ast.unparse(node)}, which may run a kernel"
            elif isinstance(node, ast.Call) and last_name(node.func) in ("getattr", "attrgetter", "methodcaller"):
                yield node.lineno, f"the oracle looks a name up: {ast.unparse(node)[:60]}"


def vocabulary_reaches_no_kernel(module: Module) -> Iterator[Finding]:
    """What the oracle rests on: formats import formats, rounding modes the integers that number them."""
    formats, modes = module.inside("numerics/formats"), str(module) == "kernels/modes.py"
    if formats or modes or str(module) == "numerics/rounding.py":
        allowed = "numerics.formats" if formats else "numerics.kernels.modes"
        for found in module.imports:
            if not found.reaches(allowed) and (modes or found.root not in (*STANDARD, "numpy")):
                yield found.line, f"{module} imports {found.name}, and the oracle imports {module}"


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
        # Both folders of tests are run at once, and share what an ordinary run has time for.
        shared = module.layer == "property_tests" and found.name.startswith("tests.sampling.")
        if found.root in CHECKS and found.root != module.layer and not shared:
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
    for node in module.nodes:
        chain = module.meaning(node) if isinstance(node, ast.Attribute) else ""
        if chain.startswith("numba.") and last_name(node) in COMPILERS:
            yield node.lineno, f"{ast.unparse(node)} outside kernels/_jit.py, which holds every numba option"
        looks_up = isinstance(node, ast.Call) and last_name(node.func) == "getattr"
        if looks_up and node.args and module.meaning(node.args[0]).partition(".")[0] == "numba":
            yield node.lineno, f"{ast.unparse(node)}: say which name of numba, in plain sight"


def product_reads_no_environment(module: Module) -> Iterator[Finding]:
    """No number, and no choice of a device or a path, depends on it; numba, rich and torch read their own settings."""
    if module.layer in PRODUCT:
        for found in module.imports:
            if found.reaches("os") and found.name.rpartition(".")[2] in ENVIRONMENT:
                yield found.line, f"{found.name}: whatever changes a result is an argument"
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT:
                yield node.lineno, f"{ast.unparse(node)}: whatever changes a result is an argument"


def product_draws_no_hidden_numbers(module: Module) -> Iterator[Finding]:
    """Random words are a function of seed, stream and element: neither numpy's nor Python's generators, nor torch's own.

    torch's global generator is set where a model is built or trained from a seed (SEEDED), since its initial weights
    and its dropout draw from there; all else that draws names its generator.
    """
    if module.layer not in PRODUCT:
        return
    for found in module.imports:
        if any(map(found.reaches, ("random", "numpy.random", "torch.random"))):
            yield found.line, f"{found.name}: draw words with numerics.random_words, from a seed"
    for node in module.nodes:
        name = module.meaning(node) if isinstance(node, ast.Attribute | ast.Name) else ""
        if f"{name}.".startswith("numpy.random."):
            yield node.lineno, f"{name}: draw words with numerics.random_words, from a seed"
        sets = name.rpartition(".")[2] in SEEDS or name.startswith(("torch.random.", "torch.nn.init."))
        allowed = SEEDED.get((str(module), module.functions.get(node, "")), set())
        if name.startswith("torch.") and sets and name not in allowed:
            yield node.lineno, f"{name} outside of {', '.join(f'{path}: {owner}' for path, owner in SEEDED)}"
        if isinstance(node, ast.Call) and not any(keyword.arg == "generator" for keyword in node.keywords):
            root, _, verb = module.meaning(node.func).partition(".")
            draws = root == "torch" and verb.rpartition(".")[2] in DRAWS
            if draws or last_name(node.func) in DRAWS_IN_PLACE:
                yield node.lineno, f"{ast.unparse(node)[:60]}: give it a generator"


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
    kernels_define_no_classes: (
        ("kernels/gemm.py", "def f():\n    class Row: pass"),
        ("kernels/gemm.py", "from typing import NamedTuple\nclass Row(NamedTuple): pass"),
        ("kernels/gemm.py", "Row = type('Row', (), {})"),
        ("kernels/gemm.py", "import dataclasses\nRow = dataclasses.make_dataclass('Row', 'x y')"),
    ),
    numerics_imports_no_framework: (
        ("numerics/products.py", "def f():\n    import torch"),
        ("numerics/products.py", "import numba"),
        ("numerics/products.py", "__import__('torch')"),
        ("numerics/theory.py", "from hypothesis import strategies"),
        ("numerics/properties/suite.py", "import torch"),
        ("numerics/propertiesx.py", "import hypothesis"),
    ),
    oracle_imports_vocabulary_alone: (
        ("numerics/reference.py", "from .kernels.modes import RNE"),
        ("numerics/reference.py", "from . import kernels"),
        ("numerics/reference/dots.py", "from ..kernels import modes"),
        ("numerics/reference/products.py", "from ..products import matmul as _fast"),
        ("numerics/reference/products.py", "from .. import matmul"),
        ("numerics/reference/products.py", "import numerics"),
        ("numerics/reference/products.py", "def f():\n    from numerics.quantizer import Quantizer"),
        ("numerics/reference/products.py", "from ..quantizer import Quantizer; _q = Quantizer.quantize"),
        ("numerics/reference/products.py", "from importlib import import_module\nimport_module(name)"),
        ("numerics/reference/log.py", "if not TYPE_CHECKING:\n    from ..logscale import add"),
        ("numerics/reference/log.py", "if TYPE_CHECKING:\n    pass\nelse:\n    from ..logscale import add"),
        ("numerics/reference/log.py", "from ..log_rows import turns"),
    ),
    oracle_leaves_no_work_to_records: (
        ("numerics/reference/products.py", "from ..quantizer import Quantizer; _q = Quantizer.quantize"),
        ("numerics/reference/values.py", "def f(x, quantizer): return quantizer.quantize(x)"),
        ("numerics/reference/values.py", "def f(x, accumulator): return accumulator.product.encode(x)"),
        ("numerics/reference/values.py", "def f(x, quantizer): return getattr(quantizer, 'quan' + 'tize')(x)"),
    ),
    vocabulary_reaches_no_kernel: (
        ("numerics/formats/floats.py", "from ..kernels import elementwise"),
        ("numerics/formats/floats.py", "def decode():\n    from ..decoding import decode_into"),
        ("numerics/rounding.py", "from .kernels import modes, rounding"),
        ("numerics/rounding.py", "from .parameters import check_policy"),
        ("kernels/modes.py", "from .rounding import round_bits"),
        ("kernels/modes.py", "import numba"),
    ),
    lower_layers_do_not_look_up: (
        ("kernels/gemm.py", "import numerics"),
        ("kernels/gemm.py", "import emul.ops"),
        ("numerics/planning.py", "if TYPE_CHECKING:\n    from emul import nn"),
    ),
    only_emul_imports_torch: (
        ("kernels/gemm.py", "import torch"),
        ("numerics/planning.py", "from torch.nn import Linear"),
        ("tool.py", "import torch as t"),
    ),
    nobody_imports_the_checks: (
        ("emul/compare.py", "from benchmarks.peers import PEERS"),
        ("numerics/planning.py", "import tests"),
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
        ("kernels/gemm.py", "import numba as nb\ngetattr(nb, 'njit')(f)"),
        ("kernels/gemm.py", "from numba import cuda\ngetattr(cuda, name)(f)"),
    ),
    product_reads_no_environment: (
        ("kernels/threads.py", "import os\nos.environ.get('EMUL_THREADS')"),
        ("numerics/planning.py", "from os import environ"),
        ("numerics/planning.py", "import os as o\no.getenv('EMUL_PLAN')"),
        ("emul/ops.py", "def f():\n    from os import getenv"),
        ("emul/cli.py", "import os\nos.path.expandvars('$HOME')"),
    ),
    product_draws_no_hidden_numbers: (
        ("kernels/philox.py", "import numpy as np\nnp.random.seed(0)"),
        ("numerics/words.py", "from numpy.random import default_rng"),
        ("numerics/words.py", "from numpy import random"),
        ("numerics/words.py", "import numpy.random as r"),
        ("emul/rows.py", "import random"),
        ("emul/rows.py", "from random import shuffle"),
        ("emul/ops.py", "import torch\ntorch.rand(3)"),
        ("emul/ops.py", "from torch import randn as draw\ndraw(3)"),
        ("emul/ops.py", "import torch\ntorch.nn.functional.dropout(x)"),
        ("emul/ops.py", "def f(x): return x.uniform_()"),
        ("emul/ops.py", "import torch as t\nt.cuda.manual_seed_all(1)"),
        ("emul/ops.py", "import torch\ndef train(): torch.manual_seed(1)"),
        ("emul/training.py", "import torch\ndef evaluate(): torch.manual_seed(1)"),
        ("emul/training.py", "import torch\ndef train(): torch.random.set_rng_state(s)"),
        ("emul/training.py", "from torch.random import fork_rng"),
    ),
    no_star_imports: (
        ("tests/test_a.py", "from numerics import *"),
        ("numerics/__init__.py", "from .formats import *"),
    ),
    no_exec: (("emul/ops.py", "exec('x = 1')"), ("tests/test_a.py", "import builtins\nbuiltins.exec('x = 1')")),
    packages_say_what_they_offer: (("numerics/__init__.py", "from .plan import plan"), ("emul/__init__.py", "")),
    no_drawer_for_everything: (("kernels/utils.py", ""), ("tests/emul/utils.py", "")),
    no_long_file: (("emul/ops.py", "x = 1\n" * (LONGEST + 1)),),
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
        "numerics/planning.py",
        "from __future__ import annotations\nimport numpy\nfrom .kernels import gemm\nfrom numerics import kernels",
    ),
    ("numerics/properties/suite.py", "import hypothesis\nfrom ..formats import FloatFormat"),
    (
        "numerics/reference.py",
        "from fractions import Fraction\nfrom .formats import FloatFormat\nfrom .rounding import Rounding",
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
    ("emul/ops.py", "x = 1\n" * LONGEST),
    ("kernels/fixed.py", "from collections import namedtuple\nRow = namedtuple('Row', 'a b')\nkind = type(Row)"),
    (
        "numerics/reference/values.py",
        "import numpy as np\nfrom typing import TYPE_CHECKING\nfrom ..formats import FloatFormat\nfrom ..rounding import SR\n"
        "from . import block\nif TYPE_CHECKING:\n    from ..quantizer import Quantizer\nblock.quantize(x)",
    ),
    ("numerics/formats/log.py", "import numpy as np\nfrom .codes import code_dtype"),
    (
        "emul/training.py",
        "import torch\ndef train(seed):\n    g = torch.Generator().manual_seed(seed)\n    torch.manual_seed(seed)",
    ),
    ("emul/training.py", "import torch\ntorch.randperm(3, generator=g)\nmodel.dropout(x)\nself.random_bits"),
    ("tests/test_a.py", "import os, random\nimport numpy as np\nos.environ['A']\nnp.random.default_rng(1)"),
)


def test_the_walk_sees_all_folders() -> None:
    seen = {path.relative_to(ROOT).parts[0] for path in sources()}
    assert {*PRODUCT, "tests"} <= seen
    assert not any(path.is_relative_to(ROOT / "numerics" / "kernels") for path in sources())


def in_repository(path: Path) -> Module:
    return Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


def test_the_repository_keeps_every_rule() -> None:
    # One test, so that one process reads the sources, and once.
    findings = [
        f"{path}:{line}: {sentence} ({rule.__name__})"
        for path in sources()
        for module in [in_repository(path)]
        for rule in PLANTED
        for line, sentence in rule(module)
    ]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [(rule, path, source) for rule, planted in PLANTED.items() for path, source in planted],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else str(value)[:40],
)
def test_a_planted_violation_is_caught(rule: Rule, path: str, source: str) -> None:
    assert list(rule(Module(path, source)))


def test_whoever_may_set_the_generator_exists() -> None:
    modules = [in_repository(ROOT / path) for path in sorted({path for path, _ in SEEDED})]
    owners = {(str(module), name) for module in modules for name in module.functions.values()}
    assert SEEDED.keys() <= owners


@pytest.mark.parametrize(("path", "source"), INNOCENT, ids=lambda value: str(value)[:40])
def test_no_rule_accuses_the_innocent(path: str, source: str) -> None:
    assert not [sentence for rule in PLANTED for _, sentence in rule(Module(path, source))]
