"""Events of matrix units: by hand, one at a time; of every preset, those of the oracle."""

from dataclasses import fields, replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    Events,
    FloatFormat,
    MatrixUnit,
    Overflow,
    Rounding,
    catalog,
    dot,
    matmul,
)
from tests.numerics import units
from tests.sampling import one_in

UNITS = catalog.MATRIX_UNITS
F16, F32, F64 = catalog.BINARY16, catalog.BINARY32, catalog.BINARY64
A100 = UNITS["a100.f16.f32"]  # blocks of 8, cut to 24 bits, toward zero
NARROW = UNITS["a100.f16.f16"]
EXACT = MatrixUnit(F16, F16, 8, ar="exact", rounding=Rounding.RNE)
CHAIN = MatrixUnit(F32, F32, 4, tree="sequential", rounding=Rounding.RNE)
PAIRS = MatrixUnit(F32, F32, 4, tree="pairwise", c_place="late", rounding=Rounding.RNE)
NAMES = [field.name for field in fields(Events)]


def happened(a, b, unit, c=0.0):
    """The counts that are not zero, by name; counting changes no bit of the result."""
    a, b = np.array(a, float), np.array(b, float)
    found, events = dot(a, b, unit, c=np.float64(c), events=True)
    assert np.array_equal(found, dot(a, b, unit, c=np.float64(c)), equal_nan=True)
    return {name: int(getattr(events, name)) for name in NAMES if getattr(events, name)}


def assert_equals_the_oracle(a, b, unit, **options):
    found, events = matmul(a, b, unit, events=True, **options)
    wanted, counts = units.oracle(a, b, unit, events=True, **options)
    units.assert_same(found, wanted)
    units.assert_same(found, matmul(a, b, unit, **options))
    for name, count in counts.items():
        got = getattr(events, name)
        assert got.dtype == np.int32 and np.array_equal(got, count), (name, got.tolist(), count.tolist())
    return counts


@pytest.mark.parametrize("name", one_in(5, UNITS))
def test_every_preset(name):
    unit, rng = UNITS[name], np.random.default_rng(len(name))
    inexact = 0
    for kind in units.KINDS:
        for specials in (False, True) if kind == "codes" else (False,):
            a, b, options = units.problem(rng, unit, kind, specials)
            inexact += assert_equals_the_oracle(a, b, unit, **options)["inexact"].sum()
    assert inexact > 0


def test_nothing_happens_in_exact_sums():
    assert happened([1, 2, 3], [4, 5, 6], A100, 7) == {}
    assert happened([0, 0], [0, 1], A100, -0.0) == {}
    assert happened([1, -1], [1, 1], A100) == {}


def test_inexact_and_absorbed_are_rounding_and_alignment():
    assert happened([1, 1], [1, 2.0**-11], NARROW) == {"inexact": 1}  # 12 bits, none of them cut
    assert happened([1, 1.5], [1, 2.0**-24], A100) == {"inexact": 1}  # half of a product is cut
    assert happened([1, 1, -1], [1, 2.0**-24, 2.0**-24], replace(A100, F=23)) == {"absorbed": 1}  # each other's cut
    # Both blocks cut a product away; a second one in the same block is not counted again.
    tiny = [1, 2.0**-13, 2.0**-13, 0, 0, 0, 0, 0]
    assert happened(2 * tiny, 2 * tiny, A100) == {"inexact": 2, "absorbed": 2}
    # By floor the cut is felt, and the bits are lost all the same.
    found = happened([1, -(2.0**-13)], [1, 2.0**-13], replace(A100, ar="floor"))
    assert found == {"inexact": 1, "absorbed": 1}
    assert happened([1, -(2.0**-12)], [1, 2.0**-12], A100) == {}  # the last place kept


def test_swamped_by_the_total_and_by_the_products():
    ones = [1, 0, 0, 0, 0, 0, 0, 0]
    assert happened([1], [1], A100, 2.0**24) == {"inexact": 1, "swamped": 1}
    assert happened(3 * ones, 3 * ones, A100, 2.0**25) == {"inexact": 3, "swamped": 3, "absorbed": 3}
    assert happened([2.0**13], [2.0**13], A100, 1) == {"inexact": 1, "swamped": 1, "absorbed": 1}
    # Two products that cancel leave the total as it is: nothing was added.
    assert happened([1, -1], [1, 1], A100, 2.0**24) == {}
    # Of products that add up to more than the total, none survives the cut.
    coarse = MatrixUnit(F16, F32, 4, 0)
    assert happened([1.5, 1.5, 1.5], [1, 1, 1], coarse, 2) == {"inexact": 1, "swamped": 1, "absorbed": 1}
    # A total of zero swamps nothing, and the products may still be lost in each other.
    assert happened([2.0**12, -(2.0**12), 1], [2.0**12, 2.0**12, 0.5], A100) == {"inexact": 1, "absorbed": 1}


def test_overflow():
    assert happened([60000, 60000], [1, 1], NARROW) == {"inexact": 1, "overflow": 1}
    kept = replace(NARROW, overflow_to_infinity=False)
    assert happened([65504, 16], [1, 1], replace(kept, rounding=Rounding.RTZ)) == {"inexact": 1}
    assert happened([65504, 32], [1, 1], kept) == {"inexact": 1, "overflow": 1}
    assert happened([65504], [1], kept, 32) == {"inexact": 1, "overflow": 1, "swamped": 1}


def test_what_is_saturated_may_be_exact():
    # 63488 + 2048 - 2048: the last is cut toward zero from 2**10 units; the unit rounds 65536, beyond the largest 63488.
    edge = MatrixUnit(F16, FloatFormat(5, 4), 4, 4, overflow_to_infinity=False)
    assert happened([61440, 4096, -1024, -1024], [1, 1, 1, 1], edge) == {"overflow": 1, "absorbed": 1}
    assert dot(np.array([61440.0, 4096, -1024, -1024]), np.ones(4), edge) == 63488


def test_underflow():
    low = 2.0**-24
    assert happened([low], [0.5], NARROW) == {"inexact": 1, "underflow": 1}
    assert happened([low], [1], NARROW) == {}  # a subnormal, as it is
    assert happened([2.0**-14, -(2.0**-14)], [1, 2.0**-11], NARROW) == {"inexact": 1, "underflow": 1}
    # The exact number is tiny, not the number that the unit rounds: of 2**-15 it kept nothing.
    assert happened([1, -1, 2.0**-15], [1, 1, 1], replace(NARROW, F=10)) == {
        "inexact": 1,
        "underflow": 1,
        "absorbed": 1,
    }


def test_exact_blocks_cut_nothing():
    assert happened([2.0**15, -(2.0**15), 2.0**-24], [2.0**15, 2.0**15, 2.0**-24], EXACT) == {
        "inexact": 1,
        "underflow": 1,
    }
    assert happened([1], [2.0**-12], EXACT, 1) == {"inexact": 1, "swamped": 1}
    assert happened([2.0**-14], [1], EXACT, 2.0**-24) == {}


def test_c_late_and_apart():
    late = UNITS["mi300.f16.f32"]
    assert happened([1], [1], late, 2.0**-60) == {"inexact": 1, "swamped": 1, "absorbed": 1}
    assert happened([1], [1], late, -(2.0**-60)) == {"inexact": 1, "absorbed": 1}  # floor makes it 1 - 2**-24
    assert happened([2.0**12, -(2.0**12)], [2.0**12, 2.0**12], late, 0.5) == {"inexact": 1, "absorbed": 1}
    apart = UNITS["h100.e5m2.f16"]  # a chain from zero for each of two groups, then c
    assert happened([1, 0, 1], [1, 0, 1], apart, 2.0**-12) == {"inexact": 1, "swamped": 1, "absorbed": 1}
    assert happened([1], [1], apart, 2.0**10) == {}
    assert happened([1], [1], apart, 2.0**12) == {"inexact": 1, "swamped": 1, "absorbed": 1}


def test_steps():
    tiny = 2.0**-24
    assert happened([1, 1, 1], [1, tiny, tiny], CHAIN) == {"inexact": 2, "swamped": 2, "absorbed": 2}
    assert happened([1, 1, 1], [tiny, tiny, 1], CHAIN) == {}
    third = float(np.float32(1 / 3))
    assert happened([third], [third], CHAIN) == {"inexact": 1}  # one rounding, no product of its own
    assert happened([third], [third], PAIRS) == {"product_inexact": 1}
    assert happened([2.0**100], [2.0**100], PAIRS) == {"product_inexact": 1, "product_overflow": 1}
    assert happened([2.0**-100], [2.0**-100], PAIRS) == {"product_inexact": 1, "product_underflow": 1}
    flushing = replace(PAIRS, ftz_out=True)
    assert happened([2.0**-100], [2.0**-30], flushing) == {"product_inexact": 1, "product_underflow": 1}
    assert happened([2.0**-100], [2.0**-30], PAIRS) == {}


def test_steps_in_binary64_at_its_ends():
    rng = np.random.default_rng(11)
    for turn in range(25):
        for place, groups in (("late", "bit1"), ("in_align", "one")):
            unit = MatrixUnit(F64, F64, 4, tree="sequential", c_place=place, groups=groups, rounding=Rounding.RNE)
            tree = replace(unit, tree="pairwise", c_place="late", groups="one")
            spread = (20, 50, 0, -20, -60)
            middle = rng.choice([960, 900, 0, -960, -1010]) if turn % 3 else 0
            a = np.ldexp(rng.standard_normal((2, 6)), rng.choice(spread) if turn % 3 else rng.integers(-1074, 1021))
            b = np.ldexp(rng.standard_normal((6, 2)), middle)
            c = np.ldexp(rng.standard_normal((2, 2)), rng.choice([1020, 1000, 0, -1000, -1060, -1072]))
            for each in (unit, tree):
                assert_equals_the_oracle(a, b, each, c=c)


def test_chunks_count_the_sums_of_outer():
    unit = replace(A100, chunk=8, outer=Accumulator(F16, Rounding.RNE, Overflow.IEEE))
    ones = np.ones(16)
    assert happened(ones, ones, unit, 2.0**15) == {"inexact": 2, "swamped": 2, "absorbed": 2}
    assert happened(ones, ones, unit, 2.0**10) == {}
    assert happened(ones, 8188 * ones, unit) == {"inexact": 1, "overflow": 1}
    assert happened(ones, 8188 * ones, unit, np.inf) == {}


def test_infinities_and_nan_are_no_events():
    for unit in (A100, UNITS["mi300.bf16.f32"], UNITS["amx.bf16.f32"], EXACT, CHAIN):
        tiny = 2.0**-24
        assert happened([np.inf, 1, tiny], [1, 1, tiny], unit) == {}
        assert happened([1, 1, tiny], [1, np.nan, tiny], unit).keys() <= {"inexact", "swamped", "absorbed"}
        assert happened([1, 1], [1, tiny], unit, np.inf).get("overflow", 0) == 0
    assert happened([1, 1], [1, 2.0**-24], A100, -np.inf) == {}
    limited = replace(A100, product_limit=4)
    assert happened([4, 1], [4, 2.0**-24], limited) == {}
    # Only the block it is in: the next one is counted again where c is added apart.
    apart = UNITS["h100.e5m2.f16"]
    row = np.array([np.inf] + [0.0] * 31 + [1, -1, 2.0**-14])
    column = np.array([1.0] * 34 + [2.0**-14])
    assert happened(row, column, apart) == {"inexact": 1, "underflow": 1}


def test_empty_sums_round_c_once():
    empty = np.zeros((1, 0))
    narrow = MatrixUnit(F16, FloatFormat(5, 4), 8, 24, c_format=F32)
    c = np.array([[1.0, 1 + 2.0**-20, 65504.0, 1e9, -(2.0**-30), np.inf]])
    counts = assert_equals_the_oracle(empty, np.zeros((0, 6)), narrow, c=c)
    assert counts["overflow"].tolist() == [[0, 0, 0, 1, 0, 0]] and counts["underflow"].tolist() == [[0, 0, 0, 0, 1, 0]]
    for flushed in (replace(narrow, ftz_out=True), replace(PAIRS, ftz_out=True)):
        lows = np.array([[2.0**-130, -(2.0**-130), 1.0]])
        assert assert_equals_the_oracle(empty, np.zeros((0, 3)), flushed, c=lows)["inexact"].tolist() == [[1, 1, 0]]
    chunked = replace(A100, chunk=8, outer=Accumulator(F16, Rounding.RTZ))
    assert_equals_the_oracle(empty, np.zeros((0, 6)), chunked, c=c)
    found, events = matmul(np.zeros((0, 3)), np.zeros((3, 2)), A100, events=True)
    assert found.shape == events.inexact.shape == (0, 2)


@pytest.mark.parametrize("name", ["a100.f16.f32", "mi300.e4m3fnuz.f32", "mi210.f16.f32"])
def test_batches_and_threads(name, on_threads):
    unit, rng = UNITS[name], np.random.default_rng(5)
    a = units.members(rng, unit.input, (2, 1, 40, 50), "near").astype(np.float32)
    b = units.members(rng, unit.input, (3, 50, 33), "near").astype(np.float32)
    on_threads(3)
    found, events = matmul(a, b, unit, events=True)
    units.assert_same(found, matmul(a, b, unit))
    for i in range(2):
        for j in range(3):
            one, counts = matmul(a[i, 0], b[j], unit, events=True)
            units.assert_same(found[i, j], one)
            for field in NAMES:
                assert np.array_equal(getattr(events, field)[i, j], getattr(counts, field))


def test_refused():
    with pytest.raises(ValueError, match=r"encode=True with a MatrixUnit: .* gives values; Quantizer"):
        matmul(np.ones((1, 1)), np.ones((1, 1)), A100, events=True, encode=True)
    ends = replace(CHAIN, input=F64, output=F64, chunk=1, outer=Accumulator(F64, Rounding.RNE, Overflow.IEEE))
    with pytest.raises(ValueError, match="float64"):
        dot(np.array([2.0**-1074]), np.ones(1), ends, events=True)
    assert dot(np.array([2.0**-1074]), np.ones(1), ends) == 2.0**-1074
