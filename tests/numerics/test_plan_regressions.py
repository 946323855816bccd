"""Sums for which a plan once looked exact and was not: each case is what the proof had forgotten."""

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FloatFormat,
    Overflow,
    Quantizer,
    Rounding,
    Subnormals,
    catalog,
    matmul,
    plan,
    reference,
)
from tests.numerics import grids

R = Rounding
E4M3, BINARY16, BINARY32 = catalog.E4M3, catalog.BINARY16, catalog.BINARY32
BINADE = FloatFormat(4, 3, subnormals=Subnormals.NORMAL_BINADE)
CASES = {
    # Half a quantum and something tiny: to nearest in the carrier it is a tie.
    "tree": (Accumulator(E4M3, order="pairwise"), [2.0**-5, 2.0**-20], [2.0**-5, 2.0**-20], None),
    "tree of binary16": (Accumulator(BINARY16, order="pairwise"), [2.0**-13, 2.0**-26], [2.0**-12, 2.0**-26], None),
    "start": (Accumulator(E4M3), [2.0**-20], [2.0**-20], 2.0**-10),
    "start of chunks": (
        Accumulator(FloatFormat(8, 3), chunk=1, outer=Accumulator(E4M3)),
        [2.0**-20],
        [2.0**-20],
        2.0**-10,
    ),
    # The largest value has lower bits than what overflowed.
    "saturated product": (
        Accumulator(catalog.BFLOAT16, R.RTZ, product=Quantizer(E4M3)),
        [2.0**10],
        [2.0**10],
        -(2.0**34),
    ),
    "saturated product in 24 bits": (
        Accumulator(BINARY32, R.RTZ, product=Quantizer(E4M3)),
        [2.0**5],
        [2.0**5],
        2.0**30,
    ),
    # It has more bits, too: half an ulp of the sum's format, and something tiny.
    "saturated product of powers of two": (
        Accumulator(FloatFormat(7, 9), product=Quantizer(FloatFormat(3, 10))),
        [2.0**15],
        [2.0**14],
        -(2.0**-63),
    ),
    "saturated chunk": (
        Accumulator(BINARY16, chunk=1, outer=Accumulator(BINARY32, R.RTZ)),
        [2.0**10],
        [2.0**10],
        2.0**34,
    ),
    # The lowest power of two is zero's code.
    "no such member": (Accumulator(BINADE), [2.0**-3], [2.0**-4], None),
    "smallest member": (Accumulator(BINADE, R.RTP), [2.0**-3, 2.0**-4], [2.0**-4, 2.0**-6], None),
}


# Of 52 bits none are left for rounding to odd; the chains need that.
ODD_THEN_EXACT = Accumulator(E4M3, R.RTZ, chunk=3, outer=Accumulator(FloatFormat(11, 51), R.RTZ))
ROW, COLUMN = np.array([[1.0, 2.0**-60, 3.0, 2.0**-4, -5.0]]), np.array([[1.0], [-1.0], [7.0], [3.0], [0.5]])


def test_chains_are_rounded_to_odd_first_and_their_sums_are_not():
    found = plan(ROW, COLUMN, ODD_THEN_EXACT)
    assert "rounded to odd, then to p = 4 bits" in found.reason and "sums of chunks: sums are exact" in found.reason
    c = np.array([[2.0**-60]])
    with pytest.raises(ValueError, match="e11m51 has 52 bits of precision: rounding is exact for up to 51 in float64"):
        plan(ROW, COLUMN, ODD_THEN_EXACT, c=c)


@pytest.mark.nightly
def test_such_chains_give_the_bits_of_the_oracle():
    grids.assert_same_bits(matmul(ROW, COLUMN, ODD_THEN_EXACT), reference.matmul(ROW, COLUMN, ODD_THEN_EXACT))


@pytest.mark.parametrize("name", CASES)
def test_sums_are_those_of_the_oracle(name):
    acc, left, right, start = CASES[name]
    a, b = np.array([left]), np.array(right)[:, None]
    c = None if start is None else np.array([[start]])
    grids.assert_same_bits(matmul(a, b, acc, c=c), reference.matmul(a, b, acc, c=c))


@pytest.mark.nightly
@pytest.mark.parametrize("name", CASES)
def test_their_events_are_those_of_the_oracle(name):
    acc, left, right, start = CASES[name]
    a, b = np.array([left]), np.array(right)[:, None]
    c = None if start is None else np.array([[start]])
    wanted, counts = reference.matmul(a, b, acc, c=c, events=True)
    found, events = matmul(a, b, acc, c=c, events=True)
    grids.assert_same_bits(found, wanted)
    assert {key: int(getattr(events, key)[0, 0]) for key in counts} == {key: int(v[0, 0]) for key, v in counts.items()}


def test_events_of_a_start_value_alone():
    c = np.array([[1000.3, 1.0, 2.0**-10]])
    a, b = np.zeros((1, 0)), np.zeros((0, 3))
    found, events = matmul(a, b, Accumulator(E4M3), c=c, events=True)
    assert found.tolist() == [[448.0, 1.0, 0.0]]
    assert events.overflow.tolist() == [[1, 0, 0]]
    assert events.inexact.tolist() == [[1, 0, 1]]
    assert events.underflow.tolist() == [[0, 0, 1]]


def test_an_overflow_in_a_chunk_is_an_overflow():
    strict = Accumulator(E4M3, overflow=Overflow.ERROR, chunk=2, outer=Accumulator(BINARY16, order="pairwise"))
    x = np.array([[100.0, 100.0, 1.0, 1.0]])
    with pytest.raises(OverflowError, match=r"the sum of chunk 0 of output \(0, 0\) overflows e4m3fn"):
        matmul(x, x.T, strict)
    product = Accumulator(BINARY32, product=Quantizer(E4M3, overflow=Overflow.ERROR))
    with pytest.raises(OverflowError, match=r"overflows e4m3fn \(largest 448.0\) in its products; scale"):
        matmul(x, x.T, product)
    with pytest.raises(TypeError, match="c is a masked array: its mask would be lost"):
        matmul(x, x.T, Accumulator(E4M3), c=np.ma.masked_array([[1.0]]))
