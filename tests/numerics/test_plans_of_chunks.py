"""Plans of chunks that are computed one by one: why their sums are combined exactly is told before they are known."""

import re

import numpy as np
import pytest

from numerics import Accumulator, FixedFormat, FloatFormat, Overflow, Rounding, catalog, matmul, plan
from numerics.products import plans

HALF = catalog.BINARY16
PARTS = {
    "a tree": Accumulator(HALF, chunk=1, outer=Accumulator(HALF, order="pairwise")),
    "toward zero": Accumulator(HALF, order="pairwise", chunk=1, outer=Accumulator(HALF, Rounding.RTZ)),
    "compensated": Accumulator(HALF, chunk=1, outer=Accumulator(catalog.BINARY32, order="kahan")),
    "exact": Accumulator(HALF, chunk=1, outer=Accumulator(catalog.BINARY64, order="exact")),
    "exact in fixed point": Accumulator(HALF, chunk=1, outer=Accumulator(FixedFormat(20, 4), order="exact")),
    "fixed point": Accumulator(FixedFormat(12, 3), chunk=1, outer=Accumulator(FixedFormat(10, 1), Rounding.RNA)),
    "flushed": Accumulator(FloatFormat(5, 6, subnormals=False), order="kahan", chunk=1),
}


@pytest.mark.parametrize("accumulator", PARTS.values(), ids=PARTS)
def test_what_is_told_of_any_sums_is_what_the_worst_of_them_get(accumulator):
    fmt = accumulator.format
    ends = [0.0, fmt.max, -fmt.max]
    if isinstance(fmt, FixedFormat):
        ends += [fmt.min, fmt.quantum]
    else:
        step = 2.0 ** (fmt.emin - fmt.mantissa_bits)
        least = fmt.smallest_normal + (0.0 if fmt.smallest_subnormal < fmt.smallest_normal else step)
        ends += [fmt.smallest_subnormal, -0.0, least]
    a, b = np.array([ends]), np.ones((len(ends), 1))
    told = plan(a, b, accumulator).reason
    met = matmul(a, b, accumulator, explain=True)[1].reason
    assert told.replace(", whatever they are:", ":") == met
    assert told != met


def test_the_addend_counts_among_the_sums():
    accumulator = Accumulator(HALF, order="kahan", chunk=2, outer=Accumulator(FloatFormat(9, 50)))
    a, b, c = np.ones((2, 4)), np.ones((4, 3)), np.full((2, 3), 2.0**-60)
    assert "whatever they are: BLAS (dgemm)" in plan(a, b, accumulator).reason
    assert "whatever they are: float64, every step: rounded to odd" in plan(a, b, accumulator, c=c).reason


@pytest.mark.parametrize(("order", "fits"), [("sequential", True), ("pairwise", False)])
def test_sums_that_no_carrier_combines_in_general_are_said_to_be_so(order, fits):
    outer = Accumulator(FloatFormat(9, 52), Rounding.RTZ, order=order)
    wide = Accumulator(FloatFormat(9, 50), order="kahan", chunk=4, outer=outer)
    a, b = np.ones((2, 8)), np.ones((8, 3))
    obstacle = "accumulator e9m52 has 53 bits of precision"
    assert f"their sums by {order}, if what they are allows it: in general {obstacle}" in plan(a, b, wide).reason
    if fits:
        assert (matmul(a, b, wide) == 8).all()
    else:
        with pytest.raises(ValueError, match=obstacle):
            matmul(a, b, wide)


def test_integers_that_float64_does_not_hold():
    wide = Accumulator(FixedFormat(60, 2), chunk=4, overflow=Overflow.WRAP)
    a, b = np.ones((2, 8)), np.ones((8, 3))
    assert plan(a, b, wide) == matmul(a, b, wide, explain=True, encode=True)[1]


@pytest.mark.parametrize(
    ("accumulator", "c", "sentence"),
    [
        (
            Accumulator(FixedFormat(16), chunk=2, outer=Accumulator(FixedFormat(8, signed=False))),
            -1.0,
            "c[0, 1] is -1.0: u8",
        ),
        (Accumulator(FixedFormat(60), chunk=2), 0.5, "c[0, 1] is 0.5, no multiple of 2**0"),
    ],
    ids=["negative", "off the grid"],
)
def test_a_plan_is_refused_for_any_element_of_c_that_the_product_refuses(accumulator, c, sentence):
    # Once plans looked at the first element alone, or at none.
    a, b, start = np.ones((1, 4)), np.ones((4, 2)), np.array([[1.0, c]])
    for call in (plan, lambda *given, c: matmul(*given, c=c, encode=True)):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            call(a, b, accumulator, c=start)


def test_inequalities_of_sums_at_their_very_bound_are_true():
    # Exactly 2**24 units were "below 2**25 <= 2**24", and 2**63 - 2**10 grid steps "2**63 < 2**63".
    a, b = np.array([[2.0**12, 1]]), np.array([[2.0**11], [1]])
    assert "is at most 2**24 <= 2**24 of them" in plan(a, b, Accumulator(FloatFormat(8, 30))).reason
    a, b = np.array([[2.0**53 - 1]]), np.array([[2.0**10]])
    reasons = {way.kernel: way.reason for way in plans(a, b, Accumulator(FixedFormat(11)))}
    assert reasons["int64"] == "products below 2**63 <= 2**63 grid steps"
