"""Laws of the aligned block dot product, and the kernels against the oracle on drawn parameters and operands."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numerics import FloatFormat, MatrixUnit, Overflow, Rounding, catalog, matmul, reference
from property_tests.matrix_units import members, problems, units
from tests.sampling import one_in

oracle = reference.matrix_unit
F16, F32 = catalog.BINARY16, catalog.BINARY32


def same(found, wanted):
    return ((found.view(np.uint64) == wanted.view(np.uint64)) | (np.isnan(found) & np.isnan(wanted))).all()


@given(data=st.data())
def test_kernels_equal_the_oracle(data):
    unit = data.draw(units())
    a, b, c = data.draw(problems(unit))
    found, wanted = matmul(a, b, unit, c=c), oracle.unit_matmul(a, b, unit, c=c)
    assert same(found, wanted), (found.tolist(), wanted.tolist())


@given(data=st.data())
def test_the_vector_form_equals_the_oracle(data):
    length = data.draw(st.sampled_from([4, 8, 16, 32]))
    output = data.draw(st.sampled_from([F32, F16, FloatFormat(8, 13), FloatFormat(6, 9)]))
    wide = output.emin == -126
    unit = MatrixUnit(
        data.draw(st.sampled_from([F16, catalog.E4M3, catalog.E5M2, FloatFormat(6, 9)])),
        output,
        length,
        data.draw(st.integers(2, 25)),
        rounding=data.draw(st.sampled_from([Rounding.RTZ, Rounding.RNE] if wide else [Rounding.RNE])),
        Emin_floor=data.draw(st.none() | st.integers(-140, 0)),
    )
    a, b, c = data.draw(problems(unit, 70))
    found, wanted = matmul(a, b, unit, c=c), oracle.unit_matmul(a, b, unit, c=c)
    assert same(found, wanted), (found.tolist(), wanted.tolist())


@pytest.mark.parametrize("name", one_in(2, ["a100.f16.f32", "h100.bf16.f32", "h100.wgmma.e4m3.f32", "v100.f16.f16"]))
@given(data=st.data())
def test_a_block_does_not_see_the_order_of_its_terms(name, data):
    unit = catalog.MATRIX_UNITS[name]
    a, b, c = data.draw(problems(unit, unit.L))
    order = data.draw(st.permutations(range(a.shape[1])))
    assert same(matmul(a[:, order], b[order], unit, c=c), matmul(a, b, unit, c=c))


def exact_sums(a, b, c):
    """Exact sums [2, 2] as rationals."""
    pairs = [[zip(a[i], b[:, j], strict=True) for j in range(2)] for i in range(2)]
    return [
        [Fraction(c[i, j]) + sum(Fraction(x) * Fraction(y) for x, y in pairs[i][j]) for j in range(2)] for i in (0, 1)
    ]


def aligned_at(row, column, c, unit):
    """(largest exponent of the terms or None, how many there are) of one block."""
    exponents = [
        oracle.exponent_of(x, unit.input) + oracle.exponent_of(y, unit.input)
        for x, y in zip(row, column, strict=True)
        if x and y
    ]
    exponents += [oracle.exponent_of(c, unit.addend)] if c else []
    floor = [] if unit.Emin_floor is None else [unit.Emin_floor]
    return max(exponents + floor) if exponents else None, len(exponents)


@pytest.mark.parametrize("name", one_in(2, ["a100.f16.f32", "h100.tf32.f32", "b200.tcgen05.e2m3.f32", "h100.f16.f16"]))
@given(data=st.data())
def test_where_nothing_is_cut_the_sum_is_rounded_once(name, data):
    unit = catalog.MATRIX_UNITS[name]
    fmt, k = unit.input, data.draw(st.integers(1, unit.L))
    near = [data.draw(st.integers(max(fmt.emin, -20), min(fmt.emax, 20))) for _ in range(2)]
    a, b = (np.array(data.draw(st.lists(members(fmt, n), min_size=2 * k, max_size=2 * k))) for n in near)
    a, b = a.reshape(2, k), b.reshape(k, 2)
    c = np.array(data.draw(st.lists(members(unit.input, sum(near)), min_size=4, max_size=4))).reshape(2, 2)
    found, sums = matmul(a, b, unit, c=c), exact_sums(a, b, c)
    met = 0
    for i in range(2):
        for j in range(2):
            top, _ = aligned_at(a[i], b[:, j], c[i, j], unit)
            terms = [Fraction(x) * Fraction(y) for x, y in zip(a[i], b[:, j], strict=True)] + [Fraction(c[i, j])]
            if top is not None and all(term / Fraction(2) ** (top - unit.F) % 1 == 0 for term in terms):
                met += 1
                wanted = reference.round_exact(sums[i][j], unit.output, unit.rounding, Overflow.IEEE)
                assert found[i, j] == wanted
                assert not (found[i, j] == 0 and np.signbit(found[i, j]))
    assume(met)


@pytest.mark.parametrize("name", one_in(2, ["a100.bf16.f32", "h100.f16.f32", "ada.e5m2.f32", "mi300.bf16.f32"]))
@given(data=st.data())
def test_powers_of_two_commute(name, data):
    unit = catalog.MATRIX_UNITS[name]
    spread = min(6, unit.input.emax // 2 - 2)
    values = members(FloatFormat(8, unit.input.mantissa_bits), near=0)
    k = data.draw(st.integers(1, 2 * unit.L))
    a, b = (np.array(data.draw(st.lists(values, min_size=2 * k, max_size=2 * k))) for _ in range(2))
    a, b = a.reshape(2, k), b.reshape(k, 2)
    for side in (a, b):
        side[np.abs(side) < 2.0**-2] = 0.0
    c = np.array(data.draw(st.lists(members(F32, near=0), min_size=4, max_size=4))).reshape(2, 2)
    c[np.abs(c) < 2.0**-3] = 0.0
    s, t = (data.draw(st.integers(-spread, spread)) for _ in range(2))
    scaled = matmul(a * 2.0**s, b * 2.0**t, unit, c=c * 2.0 ** (s + t))
    assert same(scaled, matmul(a, b, unit, c=c) * 2.0 ** (s + t))


@pytest.mark.parametrize("name", one_in(2, ["a100.f16.f32", "v100.f16.f32", "h100.bf16.f32", "h100.wgmma.e4m3.f32"]))
@given(data=st.data())
def test_the_error_of_a_block(name, data):
    # Fewer than n 2**(M - F) for n terms cut, and one ulp of the result.
    unit = catalog.MATRIX_UNITS[name]
    a, b, c = data.draw(problems(unit, unit.L))
    found = matmul(a, b, unit, c=c)
    sums = exact_sums(a, b, c)
    for i in range(2):
        for j in range(2):
            largest, count = aligned_at(a[i], b[:, j], c[i, j], unit)
            if largest is None or not np.isfinite(found[i, j]):
                continue
            result = max(math.frexp(found[i, j])[1] - 1, unit.output.emin) if found[i, j] else unit.output.emin
            bound = count * Fraction(2) ** (largest - unit.F)
            bound += Fraction(2) ** (result - unit.output.mantissa_bits)
            assert abs(Fraction(found[i, j]) - sums[i][j]) < bound
