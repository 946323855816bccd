"""Calls on the device: in numba-cuda's simulator the bits and the sentences are the CPU's; refusals need no device."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FixedFormat,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    catalog,
    device,
    device_decoding,
    device_products,
    device_stepping,
    parse_format,
)
from numerics.kernels.cuda import launch
from tests.sampling import but_at_night

ROOT = Path(__file__).resolve().parents[2]
EQUAL = (
    "values",
    "codes",
    "wrapped",
    "drawn, and an offset",
    "words given",
    "an error that was not met",
    "NVFP4, NaN and infinity",
    "codes of blocks of four, rows",
    "unsigned",
    "decoded",
    "decoded, wide",
    "decoded, wide integers",
    "decoded blocks",
    "decoded NVFP4",
    "nothing is read back",
    "one chain",
    "one chain, float64",
    "chunks",
    "SR in chunks",
    "SR in pieces by batch",
    "SR in pieces by row",
    "tree",
    "Kahan",
    "tree by words",
    "exact sums",
    "exact sums of chunks",
    "an exact sum that overflows",
    "c of another type, strided operands",
    "words of chunks of trees",
    "fixed point, c",
    "fixed-point chunks",
    "fixed point without rounding",
    "an overflow in fixed point",
    "an overflow of a product",
    "an overflow in a tree",
    "a negative operand",
    "matrix unit, c",
    "matrix unit, groups",
    "matrix unit, operands cut",
    "unit of fused steps, c",
    "unit of trees",
    "unit of two chains",
    "unit of float64",
    "what a unit lacks",
)
REFUSED = {
    "NaN": "ValueError: NaN at element 25: s8.4 has no NaN",
    "overflow": "OverflowError: {} at element {} is beyond 448.0",
    "overflow in place": "OverflowError: {} at element {} is beyond 448.0",
    "unsigned without NaN": "ValueError: {} at element {}: u8.4 is unsigned and has no NaN",
    "a code that is none": "ValueError: {} at element {}16",
    "a wide code that is none": "ValueError: {} at element {}1",
    "a value beyond float32": "ValueError: the value of element 0 is beyond float32: decode to float64",
    "scales of another shape": "ValueError: scales of shape (2, 1) for elements (2, 40): blocks of 32 along axis -1 have",
    "an infinity that would wrap": "OverflowError: inf at element 47 cannot wrap",
    "non-finite": "ValueError: a[1, 4] is nan: products are exact for finite operands only",
    "infinity in a unit": "NotImplementedError: a100.f16.f16{} at element {} with these operands, which have no vector form",
    "exact sums beyond float64": "NotImplementedError: order 'exact' with these operands, whose sums float64 does not hold,",
    "sums of a unit that are infinite": "NotImplementedError: {} at element {} with these operands, whose sums are not",
    "batches that do not fit": "ValueError: a of shape (2, 1, 3, 9) for a result (2, 3, 3, 2): on a device",
    "sums that overflow": "OverflowError: the accumulation of output (0, 0) overflows binary16",
}
HALF = Accumulator(FloatFormat(5, 10))
X = np.ones((2, 2), np.float32)


LATE = (  # other constants of kernels that are there already
    "one chain, float64",
    "SR in pieces by row",
    "tree by words",
    "exact sums of chunks",
    "an exact sum that overflows",
    "words of chunks of trees",
    "fixed-point chunks",
    "an overflow of a product",
    "an overflow in a tree",
    "matrix unit, groups",
    "matrix unit, operands cut",
    "unit of fused steps, c",
    "unit of float64",
    "codes of blocks of four, rows",
)


@pytest.fixture(scope="module")
def found(request):
    """What the cases that are looked at in this run give."""
    items = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    names = [item.callspec.params["case"] for item in items if "case" in item.callspec.params]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-W", "error", str(ROOT / "tests" / "numerics" / "device_cases.py"), *names]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", but_at_night(EQUAL, LATE))
def test_the_simulator_gives_the_bits_of_the_cpu(found, case):
    assert found[case] is True


@pytest.mark.parametrize("case", REFUSED)
def test_the_simulator_gives_the_sentences_of_the_cpu(found, case):
    start, _, end = REFUSED[case].partition("{} at element {}")
    assert found[case].startswith(start)
    assert end in found[case]


def test_every_case_is_looked_at():
    source = (ROOT / "tests" / "numerics" / "device_cases.py").read_text()
    assert set(re.findall(r'^        "([^"]+)": lambda', source, re.MULTILINE)) == {*EQUAL, *REFUSED}


@pytest.mark.parametrize("name", ["posit32", "log10.7"])
def test_wide_codes_without_a_formula_are_refused(name):
    with pytest.raises(NotImplementedError, match=rf"decoding {name} does not run on CUDA yet; there are .*\.cpu\(\)"):
        device_decoding.decode_on(Quantizer(parse_format(name)), X, X, queue=launch.Queue(0, 0, np.zeros))


def test_each_decoder_says_what_the_other_takes():
    queue, blocks = launch.Queue(0, 0, np.zeros), Quantizer(parse_format("nvfp4"))
    with pytest.raises(TypeError, match=r"codes of nvfp4 .* are elements and scales: decode_blocks_on takes them"):
        device_decoding.decode_on(blocks, X, X, queue=queue)
    with pytest.raises(TypeError, match=r"e4m3fn is no block format: decode_on takes its codes"):
        device_decoding.decode_blocks_on(Quantizer(catalog.E4M3), X, X, 1.0, X, queue=queue)


@pytest.mark.parametrize(
    ("accumulator", "what"),
    [
        (Accumulator(FloatFormat(5, 10), Rounding.RTN, order="exact"), "order 'exact' rounded down"),
        (Accumulator(FixedFormat(20), order="exact"), "order 'exact' in s20.0"),
        (Accumulator(FixedFormat(60), chunk=4), "sums of chunks in s60.0, which float64 does not hold,"),
        (
            replace(catalog.MATRIX_UNITS["mi100.f16.f32"], L=256, name=""),
            "the matrix unit .*, which has trees of more than 128 products,",
        ),
        (catalog.MATRIX_UNITS["mi100.exact.f16.f32"], "the matrix unit .*, which adds exactly,"),
        (catalog.MATRIX_UNITS["b200.tcgen05.nvf4.f32"], "the matrix unit .*, which multiplies blocks by scales,"),
    ],
)
def test_accumulators_that_have_no_kernel_are_refused(accumulator, what):
    with pytest.raises(NotImplementedError, match=rf"{what} does not run on CUDA yet; .*\.cpu\(\)"):
        device_products.matmul_on(X, X, accumulator, queue=launch.Queue(0, 0, np.zeros))


@pytest.mark.parametrize(
    ("accumulator", "what"),
    [
        (Accumulator(FixedFormat(16, 8)), "counting events of sums in s16.8"),
        (Accumulator(FixedFormat(16, 8), chunk=2, outer=HALF), "counting events of sums in s16.8"),
        (catalog.MATRIX_UNITS["a100.f16.f16"], "counting events of the matrix unit .*"),
    ],
)
def test_events_that_have_no_kernel_are_refused(accumulator, what):
    with pytest.raises(NotImplementedError, match=rf"{what} does not run on CUDA yet; .*\.cpu\(\)"):
        device_products.matmul_on(X, X, accumulator, events=True, queue=launch.Queue(0, 0, np.zeros))


@pytest.mark.parametrize(("block", "depth"), [(None, 1 << 20), (3, (3 << 20) - 2)])
def test_trees_that_are_too_large_are_refused(block, depth):
    tree = Accumulator(FloatFormat(5, 10), order="pairwise", block=block)
    device_stepping.check_leaves(tree, depth - 2)
    with pytest.raises(
        NotImplementedError, match=r"a pairwise tree of 1048576 leaves: on CUDA there are fewer than 2\*\*20"
    ):
        device_stepping.check_leaves(tree, depth)


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


@pytest.mark.parametrize(
    ("quantizer", "wanted"),
    [
        (Quantizer(catalog.E4M3), False),
        (Quantizer(catalog.E5M2, Rounding.SR, random_bits=8), False),
        (Quantizer(parse_format("mxfp8_e4m3")), False),
        (Quantizer(parse_format("nvfp4")), True),
        (Quantizer(catalog.E4M3, overflow=Overflow.ERROR), True),
        (Quantizer(FixedFormat(8)), True),  # which has no NaN
        (Quantizer(FloatFormat(4, 3, signed=False)), True),
    ],
    ids=str,
)
def test_what_waits_for_the_device(quantizer, wanted):
    assert device.waits(quantizer, np.dtype(np.float32)) is wanted


def test_blas_is_never_the_plan_on_a_device():
    from numerics.problem import Problem, facts

    ones = np.ones((1, 2, 2), np.float32)
    problem = Problem(ones, ones, None, (facts(ones, "a"), facts(ones, "b"), None), None)
    assert device_stepping.plans(problem, HALF)[0].kernel == "sgemm"
    assert device_products.plan_on(problem, HALF).kernel not in ("sgemm", "dgemm")
