"""Events of matrix units: the kernels count what the oracle counts, and what an accumulator of the same steps counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics import Accumulator, Events, MatrixUnit, Overflow, Rounding, catalog, matmul, reference
from property_tests.matrix_units import (
    F64,
    INPUTS,
    OUTPUTS,
    exact_units,
    problems,
    scaled_units,
    scales,
    stepping_units,
    units,
)

NAMES = reference.events.Tally.NAMES


def assert_events(events, counts, names=NAMES):
    assert isinstance(events, Events)
    for name in names:
        found, wanted = getattr(events, name), counts[name]
        assert found.dtype == np.int32
        assert np.array_equal(found, wanted), (name, found.tolist(), wanted.tolist())


def assert_counted(unit, a, b, c, **options):
    """The counts are those of the oracle, and counting changes no bit."""
    found, events = matmul(a, b, unit, c=c, events=True, **options)
    plain = matmul(a, b, unit, c=c, **options)
    with np.errstate(over="ignore", invalid="ignore"):
        _, counts = reference.matrix_unit.unit_matmul(a, b, unit, c=c, events=True, **options)
    bits = np.dtype(f"u{plain.itemsize}")
    assert ((found.view(bits) == plain.view(bits)) | (np.isnan(found) & np.isnan(plain))).all()
    assert_events(events, counts)


@pytest.mark.parametrize("family", [units, scaled_units, exact_units, stepping_units])
@given(data=st.data())
def test_counts_equal_the_oracle(family, data):
    unit = data.draw(family())
    a, b, c = data.draw(problems(unit))
    assert_counted(unit, a, b, c, **data.draw(scales(unit, a.shape[1])))


@given(data=st.data())
def test_a_chunk_is_added_by_the_accumulator_of_its_steps(data):
    unit = data.draw(units().filter(lambda unit: unit.outer is not None))
    a, b, c = data.draw(problems(unit))
    part, total, wanted = unit.without_chunk, c, dict.fromkeys(NAMES, 0)
    for k in range(0, a.shape[1], unit.chunk):
        sums, events = matmul(a[:, k : k + unit.chunk], b[k : k + unit.chunk], part, events=True)
        if not (np.isfinite(sums).all() and np.isfinite(total).all()):
            return
        added = [
            [matmul(np.ones((1, 1)), sums[i, j].reshape(1, 1), unit.outer, c=total[i, j], events=True) for j in (0, 1)]
            for i in (0, 1)
        ]
        total = np.array([[one[0][0, 0] for one in row] for row in added])
        for name in NAMES:
            outer = np.array([[getattr(one[1], name)[0, 0] for one in row] for row in added])
            wanted[name] = wanted[name] + getattr(events, name) + outer
    found, events = matmul(a, b, unit, c=c, events=True)
    assert np.array_equal(found, total)
    assert_events(events, wanted)


@pytest.mark.nightly
@given(data=st.data())
def test_blocks_of_one_exact_product_are_an_accumulator(data):
    # Which has no alignment: what it calls absorbed, the rounding alone has seen.
    output = data.draw(st.sampled_from([fmt for fmt in OUTPUTS if fmt.has_nan]))
    unit = MatrixUnit(data.draw(st.sampled_from(INPUTS)), output, 1, ar="exact", rounding=Rounding.RNE)
    a, b, c = data.draw(problems(unit))
    chain = Accumulator(output, Rounding.RNE, Overflow.IEEE)
    found, events = matmul(a, b, unit, c=c, events=True)
    wanted, counts = matmul(a, b, chain, c=c, events=True)
    if np.isfinite(found).all():
        assert np.array_equal(found, wanted)
        assert_events(events, vars(counts), [name for name in NAMES if name != "absorbed"])
        assert not events.absorbed.any()


@pytest.mark.nightly
@given(data=st.data())
def test_a_chain_of_multiply_adds_is_an_accumulator(data):
    source = data.draw(st.sampled_from([catalog.BFLOAT16, catalog.BINARY16]))
    output = data.draw(st.sampled_from([catalog.BINARY32, F64]))
    unit = MatrixUnit(source, output, 8, tree="sequential", rounding=Rounding.RNE)
    a, b, c = data.draw(problems(unit))
    found, events = matmul(a, b, unit, c=c, events=True)
    try:
        wanted, counts = matmul(a, b, Accumulator(output, Rounding.RNE, Overflow.IEEE), c=c, events=True)
    except ValueError:  # of numbers at the ends of binary64 the accumulator counts nothing
        return
    if np.isfinite(found).all():
        assert np.array_equal(found, wanted)
        assert_events(events, vars(counts))
