"""Importing costs little: `import numerics` and `import emul` load no framework, and the first takes under a second."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "hypothesis", "numba.cuda", "sklearn", "matplotlib", "typer", "pytest")
ATTEMPTS = 3
LIMIT = 1.0  # seconds

# Numba itself imports the bare scipy package to look at its version: only what comes on top of that is ours.
PROGRAM = """
import json, sys, time
{before}
before = set(sys.modules)
start = time.perf_counter()
import {package}
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted(set(sys.modules) - before), {package}.__file__]))
"""


def import_in_a_new_process(
    package: str, folder: Path, *, before: str = "", root: Path = ROOT
) -> tuple[float, set[str]]:
    """Seconds that `import package` from `root` takes after the statement `before`, and the modules it loads."""
    program = PROGRAM.format(package=package, before=before)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(root)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seconds, modules, file = json.loads(done.stdout)
    assert Path(file).is_relative_to(root)
    return float(seconds), set(modules)


@pytest.mark.parametrize("package", ["numerics", "emul"])
def test_import_loads_nothing_heavy(package: str, tmp_path: Path) -> None:
    _, modules = import_in_a_new_process(package, tmp_path)
    assert not modules.intersection(HEAVY)


@pytest.mark.parametrize("package", ["numerics", "emul"])
def test_import_loads_no_more_of_scipy_than_numba_does(package: str, tmp_path: Path) -> None:
    _, modules = import_in_a_new_process(package, tmp_path, before="import numba")
    assert not {name for name in modules if name.partition(".")[0] == "scipy"}


def test_numerics_imports_in_under_a_second(tmp_path: Path) -> None:
    import_in_a_new_process("numerics", tmp_path)  # the first one compiles to bytecode and fills the disk cache
    best = min(import_in_a_new_process("numerics", tmp_path)[0] for _ in range(ATTEMPTS))
    assert best < LIMIT, f"import numerics took {best:.2f} s, the best of {ATTEMPTS}"


def test_a_heavy_import_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text("import hypothesis\nimport scipy.special\n")
    _, modules = import_in_a_new_process("leaky", tmp_path, before="import numba", root=tmp_path)
    assert modules.intersection(HEAVY) == {"hypothesis"}
    assert "scipy.special" in modules
