"""The vector forms of matrix units against the scalar loops and the oracle, on drawn units and operands."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import FloatFormat, MatrixUnit, Rounding, catalog, reference
from numerics.unit_products import compute, plan_of, prepare, ways
from property_tests.matrix_units import INPUTS, OUTPUTS, problems, scales, stepping_units
from property_tests.test_matrix_unit import same
from tests.sampling import but_at_night, few

F32 = catalog.BINARY32
NARROW = (catalog.E4M3, catalog.E5M2, catalog.E2M1, FloatFormat(4, 2), catalog.BINARY16)
FP4_SCALES = (catalog.E8M0, catalog.MATRIX_UNITS["b200.tcgen05.nvf4.f32"].scale)


@st.composite
def late_units(draw):
    """A unit that adds c behind the products, of fields that have a vector form."""
    groups = draw(st.sampled_from(["one", "even_odd", "bit1"]))
    length, bits = draw(st.sampled_from([4, 8, 16, 32])), draw(st.integers(2, 25))
    fraction = draw(st.integers(0, 40))
    return MatrixUnit(
        draw(st.sampled_from(INPUTS)),
        draw(st.sampled_from(OUTPUTS)),
        length if groups == "one" else 2 * length,
        bits,
        rounding=Rounding.RNE,
        c_place="late",
        groups=groups,
        group_ar=draw(st.sampled_from(["rz", "floor"])),
        Fc=fraction,
        F2=draw(st.integers(max(bits, fraction), 43)),
        c_reach=draw(st.none() | st.integers(0, 40)),
        Emin_floor=draw(st.none() | st.integers(-140, 0)),
        c_format=draw(st.none() | st.just(F32)),
        product_limit=draw(st.none() | st.integers(-10, 40)),
    )


@st.composite
def scaled_units(draw):
    """A unit whose operands have scales, in exact groups or not, of fields that have a vector form."""
    grouped = draw(st.booleans())
    group = draw(st.sampled_from([4, 8, 16])) if grouped else 1
    block = max(8, group)
    return MatrixUnit(
        draw(st.sampled_from([catalog.E2M1, FloatFormat(2, 1)] if grouped else NARROW)),
        draw(st.sampled_from([F32, F32, FloatFormat(8, 13)])),
        block * draw(st.sampled_from([1, 2, 4])) if grouped else draw(st.sampled_from([4, 8, 16])),
        draw(st.integers(2, 35 if grouped else 25)),
        rounding=draw(st.sampled_from([Rounding.RTZ, Rounding.RNE])),
        scale=draw(st.sampled_from(FP4_SCALES)),
        scale_block=block,
        exact_group=group,
        Emin_floor=draw(st.none() | st.integers(-140, 0)),
    )


@st.composite
def exact_units(draw):
    """A unit that cuts nothing, of fields that have a vector form."""
    return MatrixUnit(
        draw(st.sampled_from(INPUTS)),
        draw(st.sampled_from(OUTPUTS)),
        draw(st.sampled_from([2, 4, 8, 16])),
        ar="exact",
        rounding=draw(st.sampled_from([Rounding.RTZ, Rounding.RNE])),
        c_format=draw(st.none() | st.just(F32)),
    )


KINDS = {"late": late_units, "scaled": scaled_units, "exact": exact_units, "steps": stepping_units}


# By day those whose loops are compiled soonest; tests/numerics/test_unit_forms.py has presets of all kinds.
@pytest.mark.parametrize("kind", but_at_night(KINDS, ["late", "scaled"]))
@few
@given(data=st.data())
def test_vector_forms_equal_the_scalar_loops_and_the_oracle(kind, data):
    unit = data.draw(KINDS[kind]())
    a, b, c = data.draw(problems(unit, 40))
    options = data.draw(scales(unit, a.shape[1]))
    if data.draw(st.booleans()):
        options["c"] = c
    count = len(ways(prepare(a, b, unit, **options)))
    assume(count > 1)
    wanted = reference.matrix_unit.unit_matmul(a, b, unit, **options)
    for place in range(count):
        call = prepare(a, b, unit, **options)
        way = ways(call)[place]
        found = compute(call, way)
        assert same(found, wanted), (plan_of(call, way), found.tolist(), wanted.tolist())


def test_each_kind_has_a_vector_form():
    for unit in (catalog.MATRIX_UNITS[name] for name in ("mi300.f16.f32", "mi100.exact.bf16.f32", "amx.bf16.f32")):
        assert len(ways(prepare(np.ones((1, 3)), np.ones((3, 1)), unit))) == 2
