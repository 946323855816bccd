"""Starts the tests that need numba-cuda's simulator, which a process has from its start or not at all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FILES = sorted(path.name for path in HERE.glob("simulated_*.py"))


@pytest.mark.parametrize("name", FILES)
def test_in_the_simulator(name):
    pytest.importorskip("numba.cuda")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_CUDA", "PYTEST"))}
    environment["NUMBA_ENABLE_CUDASIM"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", str(HERE / name)]
    done = subprocess.run(command, cwd=HERE.parents[1], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"^(\d+) passed in ", done.stdout, re.MULTILINE)  # and nothing else: none skipped
    assert passed is not None and int(passed[1]) > 0, done.stdout[-2000:]


def test_there_are_files_to_run():
    assert {"simulated_elementwise.py", "simulated_chain.py"} <= set(FILES)
