"""Starts the tests that need numba-cuda's simulator, which a process has from its start or not at all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FILES = sorted(path.name for path in HERE.glob("simulated_*.py"))


def test_in_the_simulator(request):
    """All files in one process: what they call is compiled once."""
    pytest.importorskip("numba.cuda")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_CUDA", "PYTEST"))}
    environment["NUMBA_ENABLE_CUDASIM"] = "1"
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    command += [str(HERE / name) for name in FILES]
    if profile := request.config.getoption("emul_profile", None):
        command += ["--emul-profile", profile]
    done = subprocess.run(command, cwd=HERE.parents[1], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert re.search(r"^=+ \d+ passed(, \d+ deselected)? in ", done.stdout, re.MULTILINE), done.stdout[
        -2000:
    ]  # and nothing else: none skipped
    assert set(re.findall(r"(simulated_\w+\.py)::.* PASSED", done.stdout)) == set(FILES)


def test_there_are_files_to_run():
    assert {"simulated_elementwise.py", "simulated_chain.py"} <= set(FILES)
