"""The public packages pass `mypy --strict`: a test, so that the other processors are not idle meanwhile."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_packages_are_typed_strictly():
    command = [sys.executable, "-m", "mypy", "--strict", "numerics", "emul"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
