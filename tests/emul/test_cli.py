"""The `emul` command: what it prints, refuses and leaves behind, also when it is killed."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("sklearn")

from typer.testing import CliRunner, Result  # noqa: E402

import emul  # noqa: E402
from emul import cli, commands, digits, extras, training  # noqa: E402
from emul.report import PARTIAL, WARNING  # noqa: E402
from emul.stopping import stoppable  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SMALL = training.Settings(epochs=1, fine_tune_epochs=1, batch=16)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def invoke(*arguments: str, terminal: bool = False) -> Result:
    unset = dict.fromkeys(("TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"))
    return CliRunner().invoke(
        commands.app, list(arguments), env={**unset, "FORCE_COLOR": "1" if terminal else None, "COLUMNS": "120"}
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """--quick at a size for tests: 32 training and 20 test images."""
    data = digits.load().head(32, 20)
    monkeypatch.setattr(training, "QUICK", SMALL)
    monkeypatch.setattr(digits, "load", lambda: data)


def test_compare_prints_the_table_and_writes_the_folder(small: None, tmp_path: Path) -> None:
    done = invoke("compare", "--quick", "--runs-dir", str(tmp_path), "--name", "first")
    assert done.exit_code == 0, done.output
    assert done.stdout == (tmp_path / "first" / "table.txt").read_text()
    assert "| native float32 " in done.stdout
    assert "seeds 0, 1, 2" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    progress = done.stderr.splitlines()
    assert len(progress) == 3 * 6 + 1
    assert "seed 2: 8-bit accumulators" in progress[-2]
    assert progress[-1].startswith(f"{tmp_path / 'first'} written after ")


def test_same_arguments_give_the_same_results_file(small: None, tmp_path: Path) -> None:
    arguments = ("compare", "--quick", "--model", "mlp", "--rows", "fp8,lba8", "--seeds", "7,3")
    for name in ("one", "two"):
        assert invoke(*arguments, "--runs-dir", str(tmp_path), "--name", name).exit_code == 0
    first, second = ((tmp_path / name / "results.json").read_bytes() for name in ("one", "two"))
    assert first == second
    assert b'"seeds": [\n  7,\n  3\n ]' in first


def test_json_prints_the_results_file(small: None, tmp_path: Path) -> None:
    name = "FP8 (E4M3 forward, E5M2 SR gradients)"  # a printed name holds commas and is still one row
    done = invoke(
        "compare", "--quick", "--json", "--rows", name, "--seeds", "2", "--runs-dir", str(tmp_path), "--name", "x"
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == (tmp_path / "x" / "results.json").read_text()
    assert done.stdout.count('"phase"') == 2


def test_terminal_gets_a_progress_bar(small: None, tmp_path: Path) -> None:
    done = invoke("compare", "--quick", "--rows", "native", "--runs-dir", str(tmp_path), "--name", "x", terminal=True)
    assert done.exit_code == 0, done.output
    assert "seed 2: native float32" in done.stderr
    assert "12/12" in done.stderr
    assert done.stdout == (tmp_path / "x" / "table.txt").read_text()


def test_recipes_are_listed_with_their_papers() -> None:
    done = invoke("recipes", "--form", "csv")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "name,what,start,phases,paper"
    listed = {line.split(",")[0]: line for line in lines[1:]}
    assert list(listed) == [name for name in emul.recipes.names() if name not in emul.recipes.presets()]
    assert listed["lba"].endswith(",trained net,2,arXiv 2401.14110")
    assert "h100_fp8" in invoke("recipes").stdout.splitlines()[-1]
    assert "\nh100_fp8," in invoke("recipes", "--form", "csv", "--all").stdout


def test_default_name_is_model_and_utc_time(small: None, tmp_path: Path) -> None:
    done = invoke("compare", "--quick", "--rows", "native", "--model", "mlp", "--runs-dir", str(tmp_path))
    assert done.exit_code == 0, done.output
    (folder,) = tmp_path.iterdir()
    stamp = time.strptime(folder.name, "mlp-%Y%m%dT%H%M%SZ")
    assert abs(time.mktime(stamp) - time.mktime(time.gmtime())) < 300


def test_runs_of_one_second_have_a_folder_each(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(commands.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(commands, "datetime", Stopped)
    (tmp_path / "mlp-20260102T030405Z-2.partial-0123abcd").mkdir()  # another process is at it
    for name in ("mlp-20260102T030405Z", "mlp-20260102T030405Z-3"):
        done = invoke("compare", "--quick", "--rows", "native", "--model", "mlp", "--runs-dir", str(tmp_path))
        assert done.exit_code == 0, done.output
        assert f"{tmp_path / name} written after" in done.stderr
        assert (tmp_path / name / "results.json").exists()


def test_steps_and_data_and_a_model_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import torch\nfrom emul import text\ndef words(): return text.load(6, 4)\n"
    code += "def table(data):\n print('building')\n"
    code += " return torch.nn.Sequential(torch.nn.Embedding(data.classes, data.classes))\n"
    (tmp_path / "users_task.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    arguments = ("compare", "--model", "users_task:table", "--data", "users_task:words", "--rows", "native")
    done = invoke(*arguments, "--seeds", "2", "--steps", "3", "--runs-dir", "runs")
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("users_task.table-")
    assert done.stdout.startswith("users_task:table on text: ")
    assert "building" in done.stderr  # stdout is the result's alone
    assert "3 step(s)" in done.stdout
    assert "bits per character" in done.stdout


def test_stopped_before_its_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import signal\ndef model():\n signal.raise_signal(signal.{})\n"
    for number in (signal.SIGINT, signal.SIGTERM):
        (tmp_path / f"stops_{number}.py").write_text(code.format(number.name))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        done = invoke("compare", "--model", f"stops_{number}:model", "--rows", "native", "--runs-dir", "runs")
        assert (done.exit_code, done.stderr) == (128 + number, "emul: stopped; nothing was written\n")
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--model", "vgg"],
            "there is no model called 'vgg'; the known ones are cnn, mlp, gpt; your own is module:factory",
        ),
        (
            ["--model", "gpt", "--data", "digits"],
            "the model 'gpt' predicts next tokens, and 'digits' is classification",
        ),
        (["--model", "no_such:net"], "no_such cannot be imported from "),
        (["--data", "mnist"], "there is no data called 'mnist'; the known ones are digits, text"),
        (["--steps", "0"], "steps is 0; give at least 1"),
        (["--rows", "fp8,fp9"], "there is no row or recipe called 'fp9'; the nearest are "),
        (["--seeds", "1"], "1 seed(s) were given; a paired interval needs at least 2"),
        (["--seeds", "5,"], "1 seed(s) were given"),
        (["--seeds", "-4"], "-4 seed(s) were given; a paired interval needs at least 2 (a list is 0,7,12)"),
        (["--seeds", "few"], "'few' is neither a number of seeds nor a list of them such as 0,7,12"),
        (["--seeds", "1,x"], "'1,x' is neither"),
        (["--seeds", ""], "'' is neither"),
        (["--seeds", "3,3"], "the seeds 3, 3 repeat"),
        (["--device", "gpu"], "device is 'gpu'; give cpu, cuda or cuda:N"),
        (["--device", "cuda:99"], "device is 'cuda:99', and torch finds"),
        (["--name", "../up"], "'../up' is no folder name for a run"),
        (["--name", ""], "'' is no folder name"),
        (["--name", "x.partial-1"], "'x.partial-1' is no folder name"),
        (["--name", "there"], "there' exists already; give another name or delete it"),
        (["--runs-dir", "{tmp}/file", "--name", "x"], "cannot be written: File exists; give another --runs-dir"),
        (
            ["--runs-dir", "{tmp}/file/deep", "--name", "x"],
            "cannot be written: Not a directory; give another --runs-dir",
        ),
    ],
)
def test_refusals_are_one_sentence_on_stderr(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    given = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    done = invoke("compare", "--quick", "--runs-dir", str(tmp_path), *given)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("emul: ")
    assert sentence in line
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]


def test_unknown_options_and_commands_exit_with_2() -> None:
    for arguments in (["compare", "--fast"], ["train"], ["--nope"]):
        done = invoke(*arguments)
        assert done.exit_code == 2
        assert arguments[-1] in done.stderr
        assert "Traceback" not in done.output


def test_version_and_help_come_without_torch() -> None:
    script = "import sys\nfrom emul import cli\ntry:\n cli.main()\nfinally:\n print('torch' in sys.modules)"
    for option, expected in (("--version", f"emul {emul.__version__}\n"), ("--help", "compare")):
        done = python("-c", script, option)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
        assert done.stdout.endswith("False\n")
    assert "--runs-dir" in python("-m", "emul.cli", "compare", "--help").stdout
    assert "--runs-dir" in python("-m", "emul", "compare", "--help").stdout


@pytest.mark.parametrize("name", cli.NEEDED)
def test_missing_library_is_named_with_the_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda module: None if module == name else find(module))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == f'emul: not installed: {name}; run: pip install "emul[torch,report]"\n'


@pytest.mark.parametrize(
    ("blocked", "command", "named"),
    [
        (("typer", "rich", "torch"), "formats", "typer, rich"),
        (("torch", "sklearn"), "compare", "torch, sklearn"),
    ],
)
def test_missing_libraries_in_a_real_process(blocked, command, named) -> None:
    script = f"import sys\nfor name in {blocked!r}:\n sys.modules[name] = None\nfrom emul import cli\ncli.main()"
    done = python("-c", script, command)
    assert done.returncode == 2
    assert done.stderr == f'emul: not installed: {named}; run: pip install "emul[torch,report]"\n'


def test_tables_need_no_torch() -> None:
    script = "import sys\nsys.modules['torch'] = None\nfrom emul import cli\ncli.main()"
    assert "0x7e" in python("-c", script, "table", "e4m3fn").stdout


@contextmanager
def started(runs: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "emul.cli", "compare", "--model", "mlp", "--seeds", "2", "--name", "x"]
    command += ["--runs-dir", str(runs)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def send(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Sends the signal in the midst of the first emulated row's training; exit status and what stderr said since."""
    assert process.stderr is not None
    for line in process.stderr:
        if "FP8" in line:
            break
    assert process.poll() is None
    process.send_signal(number)
    rest = process.stderr.read()
    return process.wait(timeout=60), rest


@pytest.mark.nightly
def test_killed_runs_leave_nothing_that_looks_whole(tmp_path: Path) -> None:
    with started(tmp_path / "killed") as process:
        status, _ = send(process, signal.SIGKILL)
        assert status == -signal.SIGKILL
        (left,) = (tmp_path / "killed").iterdir()
        assert left.name.startswith(f"x{PARTIAL}")
        assert [path.name for path in left.iterdir()] == [WARNING]
        assert "has not finished" in (left / WARNING).read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)])
def test_stopped_runs_leave_nothing(number: signal.Signals, tmp_path: Path) -> None:
    with started(tmp_path / "stopped") as process:
        status, rest = send(process, number)
        assert status == 128 + number, rest
        assert rest.splitlines()[-1] == "emul: stopped; nothing was written"
        assert "Traceback" not in rest
        assert not list((tmp_path / "stopped").iterdir())


def test_a_swallowed_interrupt_comes_again() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stoppable() as stop:
        stop.check()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        assert stop.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
