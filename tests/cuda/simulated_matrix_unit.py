"""Matrix units by the CUDA kernel, run in the simulator: the oracle's bits, for presets of every kind of block."""

import numpy as np
import pytest

from numerics import FloatFormat, Quantizer, catalog, device
from numerics.device_products import matmul_on
from numerics.formats import Subnormals
from numerics.kernels.cuda import matrix_unit
from numerics.kernels.cuda._jit import SIMULATED
from numerics.matrix_unit import MatrixUnit
from numerics.reference.matrix_unit import unit_matmul
from numerics.rounding import Rounding
from numerics.unit_forms import Fast, plan_fast
from numerics.unit_operands import longer, ordered, take_apart
from numerics.unit_plan import arrangement

assert SIMULATED


def by_the_kernel(a, b, c, unit):
    """What `unit_products` does with the CPU's vector form, and the constants of that form."""
    batch, depth = (max(a.shape[0], b.shape[0]),), a.shape[-1]
    left, right = take_apart(a, unit, 0, batch, None), take_apart(b, unit, 1, batch, None)
    ranges, order = arrangement(depth, unit)
    left, right = ordered(left, 0, order), ordered(right, 1, order)
    plan = plan_fast(unit, left, right, c.astype(np.float64), ranges)
    assert isinstance(plan, Fast)
    missing = -left.values.shape[2] % plan.unroll
    sides = [longer(x, 2, missing) for x in (left.values, left.exponents)]
    sides += [longer(x, 1, missing) for x in (right.values, right.exponents)]
    nearest, apart = unit.rounding is Rounding.RNE, unit.c_place == "separate_add"
    kernel = matrix_unit.make_fast(plan.unroll, plan.groups, int(nearest), int(apart), int(plan.bounded))
    total, output = c.astype(np.float32), unit.output
    facts = unit.F, plan.lowest, unit.addend.emin, output.precision, output.emin, unit.L
    tile, side = matrix_unit.TILE, matrix_unit.SIDE
    grid = -(-total.shape[2] // tile), -(-total.shape[1] // tile), total.shape[0]
    for first, last in ranges:
        kernel[grid, (side, side)](*sides, total, facts, float(output.max), first, last)
    return total, plan


def operands(unit, shape, batches, scale=1.0):
    rows, depth, columns = shape
    rng = np.random.default_rng(depth)
    a = rng.normal(size=(batches[0], rows, depth)) * 2.0 ** rng.integers(-4, 5, (batches[0], rows, depth)) * scale
    b = rng.normal(size=(batches[1], depth, columns)) * (rng.random((batches[1], depth, columns)) > 0.2) * scale
    c = rng.normal(size=(max(batches), rows, columns)) * scale
    formats = *unit.inputs, unit.addend
    return [Quantizer(fmt).quantize(x.astype(np.float32)) for fmt, x in zip(formats, (a, b, c), strict=True)]


UNITS = ["h100.f16.f32", "a100.f16.f32", "v100.f16.f32", "a100.f16.f16", "h100.e4m3.f32", "a100.tf32.f32"]


@pytest.mark.sampled
@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize(("shape", "batches"), [((3, 21, 5), (2, 1)), ((1, 1, 1), (1, 1)), ((2, 16, 3), (1, 2))])
def test_presets(name, shape, batches):
    unit = catalog.MATRIX_UNITS[name]
    a, b, c = operands(unit, shape, batches)
    found, plan = by_the_kernel(a, b, c, unit)
    assert found.tobytes() == unit_matmul(a, b, unit, c=c).tobytes()
    assert plan.bounded


def test_sums_that_become_infinite():
    unit = catalog.MATRIX_UNITS["a100.f16.f16"]
    a, b, c = operands(unit, (3, 20, 4), (1, 1), 100.0)
    found, plan = by_the_kernel(a, b, c, unit)
    assert not plan.bounded and np.isinf(found).any()
    assert found.tobytes() == unit_matmul(a, b, unit, c=c).tobytes()


def test_c_behind_the_block_and_groups():
    tried = set()
    for unit in catalog.MATRIX_UNITS.values():
        kind = unit.c_place, unit.groups, unit.rounding
        if unit.tree != "fused" or kind in tried or unit.scale is not None:
            continue
        a, b, c = operands(unit, (2, 19, 3), (1, 1))
        try:
            found, _ = by_the_kernel(a, b, c, unit)
        except AssertionError:
            continue  # no vector form
        tried.add(kind)
        assert found.tobytes() == unit_matmul(a, b, unit, c=c).tobytes()
    assert {place for place, _, _ in tried} >= {"in_align", "separate_add"}


def test_blocks_of_its_own():
    unit = MatrixUnit(catalog.BINARY16, catalog.BINARY32, 32, 20)
    a, b, c = operands(unit, (2, 40, 3), (1, 1))
    assert by_the_kernel(a, b, c, unit)[0].tobytes() == unit_matmul(a, b, unit, c=c).tobytes()


@pytest.mark.parametrize("rule", ["keep", "signed"])
def test_a_format_without_subnormals_has_none_as_operands(rule):
    unit = MatrixUnit(FloatFormat(5, 10, subnormals=Subnormals.FLUSH), catalog.BINARY32, 8, 24, ftz_in=rule)
    x = np.full((2, 8), 2.0**-14, np.float32)
    queue = device.own_queue()
    assert (matmul_on(x, x.T, unit, queue=queue) == 2.0**-25).all()
    x[1, 3] = 2.0**-15
    with pytest.raises(ValueError, match=r"a\[1, 3\] is 3.0517578e-05, no value of e5m10 \(subnormals flush\)"):
        matmul_on(x, x.T, unit, queue=queue)
