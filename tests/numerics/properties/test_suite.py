"""The suites: a test a claim, reasons for what is skipped, evidence in the summary, counter-examples that are small."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MINE = """
import numpy as np
from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog
from numerics.properties import accumulator_suite, as_accumulator, as_mask, as_quantizer, mask_suite, quantizer_suite

def truncate(x):
    cut = (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), cut)

def wrong(x):
    return ((x.view(np.uint32) + np.uint32(0x7FFF)) & np.uint32(0xFFFF0000)).view(np.float32)

class Base:
    extra = 1

TestTwice = quantizer_suite(Quantizer(catalog.E2M1))
TestAgain = quantizer_suite(Quantizer(catalog.E2M1, Rounding.SR, random_bits=3))
TestRight = quantizer_suite(
    as_quantizer(truncate, fmt=catalog.BFLOAT16, rounding=Rounding.RTZ, overflow=Overflow.PROPAGATE, limit=128)
)
TestWrong = quantizer_suite(as_quantizer(wrong, fmt=catalog.BFLOAT16, limit=128))
TestSums = accumulator_suite(as_accumulator(Accumulator(catalog.BINARY16), deep=False))
"""


def run(folder, *arguments, source=MINE):
    (folder / "test_mine.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-rs", *PLUGIN, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
    )


def installed():
    """Whether this environment knows the plugin by its entry point; a clone that is not installed does not."""
    from importlib.metadata import entry_points

    return any(point.value == "emul.pytest_plugin" for point in entry_points(group="pytest11"))


PLUGIN = [] if installed() else ["-p", "emul.pytest_plugin"]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    # A file for a CI server beside it, and a warning would fail what holds.
    done = run(folder, "-W", "error", "--emul-profile", "emul-ci", "--junitxml", "claims.xml")
    done.junit = folder / "claims.xml"
    return done


def test_a_wrong_function_fails_by_name(outcome):
    assert outcome.returncode == 1
    assert "_ TestWrong.test_decision _" in outcome.stdout
    for passed in ("TestTwice", "TestAgain", "TestRight", "TestSums"):
        assert f"_ {passed}." not in outcome.stdout
    assert "decision: not the neighbour that the mode says (bfloat16, RNE, SATURATE)" in outcome.stdout
    assert "wrong(np.array([" in outcome.stdout


def test_what_does_not_apply_is_skipped_by_name(outcome):
    assert "SKIPPED" in outcome.stdout
    assert "bias: RNE draws nothing" in outcome.stdout
    assert "draws: all its words can be enumerated" in outcome.stdout


def test_the_summary_counts_claims(outcome):
    summary = outcome.stdout[outcome.stdout.index("= claims =") :]
    for told in ("proved, exact:", "proved, exhaustive:", "broken", "do not apply", "cases in"):
        assert told in summary


def test_a_junit_file_has_the_claims(outcome):
    assert "proved, exhaustive:" in outcome.stdout
    assert 'property name="emul-claim"' in outcome.junit.read_text()


def test_the_profiles():
    from hypothesis import settings

    from numerics.properties import profiles

    profiles.register()
    ci, nightly = settings.get_profile("emul-ci"), settings.get_profile("emul-nightly")
    assert (ci.derandomize, ci.database, ci.deadline) == (True, None, None)
    assert not nightly.derandomize
    assert nightly.max_examples > settings.get_profile("emul-dev").max_examples > ci.max_examples
    with pytest.raises(ValueError, match="profile 'fast' is not known: known are emul-dev, emul-ci, emul-nightly"):
        profiles.load("fast")


def test_each_suite_is_a_class_of_its_own():
    from numerics import Quantizer, catalog
    from numerics.properties import accumulator_suite, quantizer_suite

    first, second = quantizer_suite(Quantizer(catalog.E2M1)), quantizer_suite(Quantizer(catalog.E2M1))
    assert first is not second
    assert first.test_member is not second.test_member
    with pytest.raises(TypeError, match="give what as_accumulator"):
        accumulator_suite(3)


def test_the_plugin_imports_nothing_before_it_is_asked(tmp_path):
    heavy = ("numba", "numpy", "numerics", "hypothesis", "torch")
    code = f"import emul.pytest_plugin, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_checks_need_no_hypothesis(tmp_path):
    code = (
        "import sys; from numerics import Quantizer, catalog; from numerics.properties import verify;"
        "assert verify(Quantizer(catalog.E2M1)).ok; print('hypothesis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


FRAMES = """
from numerics import Quantizer, catalog
from numerics.properties import as_quantizer, checks, quantizer_suite

def refuses_one(x):
    if (x == 1).any():
        raise KeyError("no ones")
    return Quantizer(catalog.E2M1).quantize(x)

same = as_quantizer(lambda x: x, fmt=catalog.E2M1, name="same")
TestSame = quantizer_suite(same)
TestRefuses = quantizer_suite(as_quantizer(refuses_one, fmt=catalog.E2M1))
TestRight = quantizer_suite(Quantizer(catalog.E2M1))

def test_plainly():
    checks.member(same)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return run(tmp_path_factory.mktemp("frames"), "-k", "test_member or test_plainly", source=FRAMES).stdout


def test_without_the_option_nothing_is_added(told):
    assert "3 failed, 1 passed" in told
    assert "= claims =" not in told


def test_a_failure_shows_the_case_and_no_source_of_the_checks(told):
    assert told.count("member: a result is no value of the format") == 2
    assert "found = claim.check(subject)" not in told
    assert "raise broken(" not in told
    assert "return fn(*arguments)" not in told
    assert "checks.member(same)" in told  # what calls a check is shown
    assert 'raise KeyError("no ones")' in told


def test_what_the_function_raises_is_told_with_a_line_that_raises_it(told):
    assert "member: raised by refuses_one, called with" in told
    assert "refuses_one(np.array([1.0], np.float32))" in told
