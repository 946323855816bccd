"""What an ordinary run leaves to the nightly one: no value of a parameter, and nothing that was asked for by name."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sampling import covering, few

ROOT = Path(__file__).resolve().parents[2]
MINE = """
import pytest

@pytest.mark.sampled
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(("name", "kinds"), [("a", [1]), ("b", [1]), ("a", [2])])
def test_crossed(size, name, kinds):
    pass

@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_listed(size):
    pass

@pytest.mark.nightly
def test_long():
    pass
"""
CONFTEST = """
from pathlib import Path
from tests.sampling import leave_to_the_night

def pytest_addoption(parser):
    parser.addoption("--profile", dest="emul_profile")

def pytest_collection_modifyitems(config, items):
    leave_to_the_night(config, items, Path(__file__).parent)
"""


@pytest.mark.parametrize("sizes", [(1, 1), (5,), (2, 7), (3, 3, 3), (6, 4, 2)])
def test_every_value_is_covered_by_as_few_as_the_longest_list(sizes):
    combinations = [dict(enumerate(places)) for places in itertools.product(*(range(n) for n in sizes))]
    kept = [combinations[i] for i in covering(combinations)]
    assert {item for case in kept for item in case.items()} == {item for case in combinations for item in case.items()}
    assert len(kept) == max(sizes)


@pytest.mark.parametrize(("drawn", "kept"), [(25, 9), (1000, 1000)], ids=["by day", "at night"])
def test_few_draws_less_by_day(drawn, kept):
    from hypothesis import given, settings, strategies

    settings.register_profile("of this test", database=None, derandomize=True, max_examples=drawn)
    before = settings.get_current_profile_name()
    settings.load_profile("of this test")
    seen = []

    def test(n):
        seen.append(n)

    try:
        few(given(strategies.integers())(test))()
    finally:
        settings.load_profile(before)
    assert len(seen) == kept


def test_combinations_that_are_not_a_product():
    cases = [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}]
    assert covering(cases) == [0, 2]


def collected(folder, *arguments):
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\nmarkers =\n    sampled: s\n    nightly: n\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_mine.py").write_text(MINE)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PATH": "", "HOME": str(folder)})
    return sorted(re.findall(r"::(\S+)", done.stdout)), done.stdout


def test_an_ordinary_run_and_a_nightly_one(tmp_path):
    few, said = collected(tmp_path)
    assert len(few) == 3 + 1 and "test_listed[1]" in few
    assert sum("kinds" in name for name in few) == 3  # pairs of one decorator stay together
    assert "4/9 tests collected (5 deselected)" in said
    assert len(collected(tmp_path, "--profile", "emul-nightly")[0]) == 9


def test_what_is_named_runs(tmp_path):
    assert collected(tmp_path, "test_mine.py::test_long")[0] == ["test_long"]
    assert len(collected(tmp_path, "test_mine.py::test_crossed")[0]) == 6
