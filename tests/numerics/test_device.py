"""Calls on the device: in numba-cuda's simulator the bits and the sentences are the CPU's; refusals need no device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    Quantizer,
    device,
    device_products,
    parse_format,
)
from numerics.kernels.cuda import launch

ROOT = Path(__file__).resolve().parents[2]
EQUAL = (
    "values",
    "codes",
    "wrapped",
    "drawn, and an offset",
    "words given",
    "an error that was not met",
    "one chain",
    "one chain, float64",
    "chunks",
    "SR in chunks",
    "SR in pieces by batch",
    "SR in pieces by row",
    "tree",
    "Kahan",
    "tree by words",
)
REFUSED = {
    "NaN": "ValueError: NaN at element 25: s8.4 has no NaN",
    "overflow": "OverflowError: {} at element {} is beyond 448.0",
    "an infinity that would wrap": "OverflowError: inf at element 47 cannot wrap",
    "non-finite": "ValueError: a[1, 4] is nan: products are exact for finite operands only",
    "sums that overflow": "OverflowError: the accumulation of output (0, 0) overflows binary16",
}
HALF = Accumulator(FloatFormat(5, 10))
X = np.ones((2, 2), np.float32)


@pytest.fixture(scope="module")
def found():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-W", "error", str(ROOT / "tests" / "numerics" / "device_cases.py")]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", EQUAL)
def test_the_simulator_gives_the_bits_of_the_cpu(found, case):
    assert found[case] is True


@pytest.mark.parametrize("case", REFUSED)
def test_the_simulator_gives_the_sentences_of_the_cpu(found, case):
    start, _, end = REFUSED[case].partition("{} at element {}")
    assert found[case].startswith(start)
    assert end in found[case]


def test_every_case_is_looked_at(found):
    assert found.keys() == {*EQUAL, *REFUSED}


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "nvfp4", "e8m0"])
def test_formats_that_have_no_kernel_are_refused(name):
    with pytest.raises(NotImplementedError, match=r"format .* does not run on CUDA yet; there are .*\.cpu\(\)"):
        device.quantize_on(Quantizer(parse_format(name)), X, X, queue=launch.Queue(0, 0, np.zeros))


@pytest.mark.parametrize(
    ("accumulator", "what"),
    [
        (Accumulator(FloatFormat(5, 10), order="pairwise", chunk=4), "order 'pairwise' with chunks"),
        (Accumulator(FloatFormat(5, 10), order="exact"), "order 'exact'"),
        (
            Accumulator(FloatFormat(5, 10), chunk=4, outer=Accumulator(FloatFormat(5, 10), order="kahan")),
            "order 'kahan' with chunks",
        ),
        (Accumulator(FixedFormat(16)), "an accumulator in s16.0"),
    ],
)
def test_accumulators_that_have_no_kernel_are_refused(accumulator, what):
    with pytest.raises(NotImplementedError, match=rf"{what} does not run on CUDA yet; .*\.cpu\(\)"):
        device_products.matmul_on(X, X, accumulator, queue=launch.Queue(0, 0, np.zeros))


@pytest.fixture
def unchecked():
    device.check_device.cache_clear()
    yield
    device.check_device.cache_clear()


@pytest.mark.usefixtures("unchecked")
def test_no_driver(monkeypatch):
    monkeypatch.setattr(launch, "driver_answers", lambda: False)
    with pytest.raises(RuntimeError, match=r"no CUDA driver answers numba-cuda.*emul\[cuda12\].*\.cpu\(\)"):
        device.queue_of(0, 0, np.zeros)


@pytest.mark.usefixtures("unchecked")
def test_a_device_that_is_too_old(monkeypatch):
    monkeypatch.setattr(launch, "driver_answers", lambda: True)
    monkeypatch.setattr(launch, "capability", lambda number: (6, 1))
    with pytest.raises(RuntimeError, match=r"cuda:3 has compute capability 6\.1: the kernels need 7\.0"):
        device.check_device(3)
    monkeypatch.setattr(launch, "capability", lambda number: (7, 0))
    device.check_device(3)


def test_blas_is_never_the_plan_on_a_device():
    from numerics.problem import Problem, facts

    ones = np.ones((1, 2, 2), np.float32)
    problem = Problem(ones, ones, None, (facts(ones, "a"), facts(ones, "b"), None), None)
    assert device_products.plans(problem, HALF)[0].kernel == "sgemm"
    assert device_products.plan_on(problem, HALF).kernel not in ("sgemm", "dgemm")
