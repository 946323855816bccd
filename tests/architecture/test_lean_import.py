"""Importing costs little: `import numerics` and `import emul` load no framework, the first at most doubles numba's time.

What needs no torch does not load it, and the oracle runs where there are no kernels.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "hypothesis", "numba.cuda", "sklearn", "matplotlib", "typer", "pytest")
WITHOUT_TORCH = ("cli", "curves", "extras", "intervals", "recipe", "recipes", "report", "rows", "stopping", "tables")
ATTEMPTS = 3
LIMIT = 2.0  # times what `import numba` takes, in the same run: a processor that others use too makes both slow

# Numba itself imports the bare scipy package to look at its version: only what comes on top of that is ours.
PROGRAM = """
import json, sys, time
{before}
before = set(sys.modules)
start = time.process_time()
import {package}
seconds = time.process_time() - start
print(json.dumps([seconds, sorted(set(sys.modules) - before), {package}.__file__]))
"""


def answer(program: str, folder: Path, root: Path = ROOT) -> Any:
    """What a program prints in JSON, in a process of its own that imports from `root`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(root)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def import_in_a_new_process(
    package: str, folder: Path, *, before: str = "", root: Path = ROOT
) -> tuple[float, set[str]]:
    """Seconds of processor time that `import package` takes after `before`, and the modules it loads from `root`."""
    seconds, modules, file = answer(PROGRAM.format(package=package, before=before), folder, root)
    assert package == "numba" or Path(file).is_relative_to(root)
    return float(seconds), set(modules)


@pytest.mark.parametrize("package", ["numerics", "emul"])
def test_import_loads_nothing_heavy_and_no_more_of_scipy_than_numba_does(package: str, tmp_path: Path) -> None:
    _, modules = import_in_a_new_process(package, tmp_path, before="import numba")
    assert not modules.intersection(HEAVY)
    assert not {name for name in modules if name.partition(".")[0] == "scipy"}


# After each import in turn: what of HEAVY is there.
IN_TURN = """
import importlib, json, sys
print(json.dumps({{
    name: [importlib.import_module(name).__name__, [heavy for heavy in {heavy} if heavy in sys.modules]][1]
    for name in {names}
}}))
"""


def test_what_needs_no_torch_does_not_load_it(tmp_path: Path) -> None:
    names = [f"emul.{name}" for name in WITHOUT_TORCH]
    found = answer(IN_TURN.format(heavy=HEAVY, names=names), tmp_path)
    assert found == {name: [] for name in names}


def test_loading_torch_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "clean.py").write_text("import json\n")
    (tmp_path / "leaky.py").write_text("import hypothesis\n")
    found = answer(IN_TURN.format(heavy=HEAVY, names=["clean", "leaky"]), tmp_path, tmp_path)
    assert found == {"clean": [], "leaky": ["hypothesis"]}


# `numerics` here is its folder alone, without its __init__, which imports everything.
ORACLE = """
import json, sys, types
package = types.ModuleType("numerics")
package.__path__ = [{folder!r}]
sys.modules["numerics"] = package
from numerics import reference
from numerics.formats import FloatFormat
value = reference.round_value(1.3, FloatFormat(4, 3))
ours = [name for name in sys.modules if name.partition(".")[0] in ("numerics", "numba", "llvmlite")]
print(json.dumps([value, sorted(ours)]))
"""


def test_the_oracle_runs_without_the_kernels(tmp_path: Path) -> None:
    value, modules = answer(ORACLE.format(folder=str(ROOT / "numerics")), tmp_path)
    assert value == 1.25
    vocabulary = ("numerics.reference", "numerics.formats", "numerics.rounding")
    others = {name for name in modules if not any(f"{name}.".startswith(f"{part}.") for part in vocabulary)}
    assert others == {"numerics", "numerics.kernels", "numerics.kernels.modes"}


def test_numerics_takes_no_more_time_to_import_than_numba_twice(tmp_path: Path) -> None:
    taken: dict[str, list[float]] = {"numba": [], "numerics": []}
    for attempt in range(1 + ATTEMPTS):  # the first one compiles to bytecode and fills the disk cache
        for package, seconds in taken.items():
            seconds.append(import_in_a_new_process(package, tmp_path)[0])
        theirs, ours = (min(seconds[1:] or seconds) for seconds in taken.values())
        if attempt and ours < LIMIT * theirs:
            break
    assert ours < LIMIT * theirs, (
        f"import numerics took {ours:.2f} s, the best of {ATTEMPTS}, import numba {theirs:.2f} s"
    )


def test_a_heavy_import_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text("import hypothesis\nimport scipy.special\n")
    _, modules = import_in_a_new_process("leaky", tmp_path, before="import numba", root=tmp_path)
    assert modules.intersection(HEAVY) == {"hypothesis"}
    assert "scipy.special" in modules
