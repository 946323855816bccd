"""Output that nobody reads: commands end quietly and by SIGPIPE, as Unix tools do; a full disk is one sentence."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("typer")

from tests.sampling import one_in

ROOT = Path(__file__).resolve().parents[2]
EMUL = [sys.executable, "-m", "emul.cli"]
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="this system has no SIGPIPE")


def closed(which, *arguments):
    """Exit status, and what the other stream got, of a command whose stdout or stderr nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, which: writer}
    try:
        done = subprocess.run([*EMUL, *arguments], cwd=ROOT, text=True, timeout=120, **streams)
    finally:
        os.close(writer)
    return done.returncode, done.stderr if which == "stdout" else done.stdout


COMMANDS = [
    ("--help",),
    ("formats",),
    ("recipes", "luq", "--form", "csv"),
    ("claims", "sawb"),
    ("verify", "e2m1", "--limit", "64", "--json"),
]


@pytest.mark.parametrize("arguments", one_in(2, COMMANDS), ids=" ".join)
def test_a_closed_pipe_ends_a_command_as_it_ends_a_unix_tool(arguments):
    assert closed("stdout", *arguments) == (-signal.SIGPIPE, "")


def test_what_the_reader_took_is_whole_and_the_shell_sees_141():
    line = f"{sys.executable} -m emul.cli table binary16 | head -n 3; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert (lines[0].split()[0], lines[2].split()[0], lines[3:]) == ("code", "0x0000", ["141"])
    assert done.stderr == ""


def test_a_closed_stderr_does_too():
    assert closed("stderr", "table", "nothing") == (-signal.SIGPIPE, "")


def test_a_run_whose_progress_nobody_reads_leaves_nothing_half_written(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from typer.testing import CliRunner

    from emul import commands
    from emul.pipes import STATUS, ClosedPipe

    before = []

    @contextmanager
    def unread(total):
        def step(event):
            before.extend(path.name for path in (tmp_path / "runs").iterdir())
            raise ClosedPipe

        yield step

    monkeypatch.setattr(commands, "_progress", unread)
    arguments = ["compare", "--model", "mlp", "--rows", "native", "--seeds", "2", "--steps", "2", "--runs-dir"]
    done = CliRunner().invoke(commands.app, [*arguments, str(tmp_path / "runs")])
    assert done.exit_code == STATUS == 128 + signal.SIGPIPE
    assert done.output == ""
    assert len(before) == 1 and not list((tmp_path / "runs").iterdir())


def test_a_pipe_of_the_users_own_function_is_its_own_error(tmp_path):
    code = "import os\nr, w = os.pipe()\nos.close(r)\ndef simulated(x):\n    os.write(w, b'x')\n"
    (tmp_path / "simulator.py").write_text(code)
    done = subprocess.run(
        [*EMUL, "verify", "simulator:simulated", "--format", "e2m1", "--limit", "64"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "the function raised BrokenPipeError" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [("table", "e4m3fn")], ids=" ".join)
def test_a_full_disk_is_one_sentence(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*EMUL, *arguments], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert done.returncode == 2
    assert done.stderr == "emul: the output cannot be written: No space left on device\n"


def test_a_closed_stdout_is_one_sentence():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m emul.cli table e4m3fn >&-"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "emul: stdout is closed: redirect it to a file, or to /dev/null\n"
