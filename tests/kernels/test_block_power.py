"""The facts of a block's grid: moving them by no exponent changes nothing, so every slot is in its place."""

import numba
import numpy as np
import pytest

from numerics import Overflow, Rounding, catalog
from numerics.kernels.block_power import lifted, power_of_two, shared_exponent, shifted
from numerics.kernels.carrier import unpack_row
from numerics.kernels.modes import CODE_BASE
from numerics.parameters import FLOAT32, FLOAT64, parameter_row
from tests.numerics.grids import KINDS


@numba.njit
def moved(row, exponent, scale):
    facts = unpack_row(row)
    return facts, shifted(facts, exponent, scale), lifted(facts, exponent)


@pytest.mark.parametrize("carrier", [FLOAT32, FLOAT64], ids=lambda carrier: carrier.name)
@pytest.mark.parametrize("fmt", [catalog.E4M3, catalog.E5M2, *KINDS.values()], ids=str)
def test_no_exponent_moves_nothing(fmt, carrier):
    row = parameter_row(fmt, Rounding.RTP, Overflow.IEEE if fmt.has_nan else Overflow.SATURATE, None, carrier)
    facts, by_scale, by_field = moved(row, 0, carrier.dtype.type(1))
    assert len(facts) == len(row)
    assert by_scale == facts[:CODE_BASE] == by_field


@pytest.mark.parametrize("exponent", [-9, -1, 1, 30])
def test_both_ways_of_moving_agree_where_all_is_normal(exponent):
    for fmt in (catalog.E4M3, catalog.E5M2, catalog.BINARY16, catalog.E2M1):
        for carrier in (FLOAT32, FLOAT64):
            row = parameter_row(fmt, Rounding.RNE, Overflow.SATURATE, None, carrier)
            facts, by_scale, by_field = moved(row, exponent, carrier.dtype.type(2.0**exponent))
            assert by_scale == by_field
            assert by_scale != facts[:CODE_BASE]


@numba.njit
def powers(exponents, like, out):
    for i in range(exponents.size):
        out[i] = power_of_two(exponents[i], like)


@numba.njit
def exponents_of(bits, rule, out):
    for i in range(bits.size):
        out[i] = shared_exponent(bits[i], rule)


def test_powers_of_two_and_their_exponents_through_the_whole_range():
    for dtype, unsigned, low, high in ((np.float32, np.uint32, -149, 128), (np.float64, np.uint64, -1074, 1024)):
        exponents = np.arange(low, high)
        out = np.empty(exponents.size, dtype)
        powers(exponents, unsigned(0), out)
        assert (out == np.ldexp(1.0, exponents.astype(np.int32)).astype(dtype)).all()
        rule = np.array([0, 127 if dtype is np.float32 else 1023, low, high, 0, 0, 0, 0, 0, 0, 0])
        found = np.empty(exponents.size, np.int64)
        exponents_of(out.view(unsigned), rule, found)
        assert (found == exponents).all()
