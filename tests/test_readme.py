"""The README's examples run as they stand, and what it says of commands and files is so."""

import multiprocessing
import os
import re
import runpy
import subprocess
import sys
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
SECTION = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [(title, code) for title, body in SECTION.findall(TEXT) for code in CODE.findall(body)]


def test_each_of_the_three_users_has_an_example():
    titles = [title for title, _ in EXAMPLES]
    assert list(dict.fromkeys(titles)) == ["For a hardware designer", "For a CI job", "For a training script"]


def run_example(path, messages):
    """In the process of the example: what is written to stderr goes into the file `messages`."""
    os.dup2(os.open(messages, os.O_WRONLY | os.O_CREAT), 2)
    os.chdir(ROOT)
    warnings.simplefilter("error")
    runpy.run_path(path, run_name="__main__")


@pytest.fixture(scope="module")
def processes():
    """What starts processes that have imported torch: to import it in each takes longer than most examples."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "emul.swap"])
    return context


@pytest.mark.parametrize(
    ("title", "code"), EXAMPLES, ids=[f"{title} {number}" for number, (title, _) in enumerate(EXAMPLES)]
)
def test_example_runs_in_a_process_of_its_own(title, code, processes, tmp_path):
    path, messages = tmp_path / "example.py", tmp_path / "stderr"
    path.write_text(code)
    process = processes.Process(target=run_example, args=(str(path), messages))
    process.start()
    process.join(300)
    if process.is_alive():
        process.kill()
        pytest.fail("not done after 300 s")
    assert messages.read_text() == "" and process.exitcode == 0, messages.read_text()


def test_the_file_for_ci_passes_as_it_stands(tmp_path):
    (code,) = [code for title, code in EXAMPLES if title == "For a CI job"]
    (tmp_path / "test_arithmetic.py").write_text(code)
    # An installed emul brings the plugin by its entry point.
    known = any(point.value == "emul.pytest_plugin" for point in entry_points(group="pytest11"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *([] if known else ["-p", "emul.pytest_plugin"]),
    ]
    command += ["test_arithmetic.py", "--emul-profile", "emul-ci"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b2\d passed, \d+ skipped", done.stdout), done.stdout
    # And it would not pass if the function were wrong.
    (tmp_path / "test_arithmetic.py").write_text(
        code.replace("0xFFFF0000)).view", "0xFFFF0000)).view(np.uint32).__or__(1 << 16).view")
    )
    done = subprocess.run(
        [*command, "-k", "Bfloat16 and decision"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "reproduce" in done.stdout


@pytest.mark.parametrize("target", ["test", "compare", "bench", "help"])
def test_make_targets_that_the_readme_names_exist(target):
    assert f"make {target}" in TEXT
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_places_that_change_exist():
    table = TEXT[TEXT.index("| what changes") :]
    for path in re.findall(r"`((?:kernels|numerics|emul|benchmarks)/[\w/.]*)`", table):
        assert (ROOT / path).exists(), path
