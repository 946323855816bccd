"""Events of matrix units counted in vectors: those of the scalar loop, and of the oracle, for every call that has both."""

from dataclasses import fields, replace

import numpy as np
import pytest

from numerics import Events, FloatFormat, MatrixUnit, Rounding, catalog
from numerics.unit_products import compute, prepare, ways
from tests.numerics import units

UNITS = catalog.MATRIX_UNITS
F16, F32 = catalog.BINARY16, catalog.BINARY32
CASES = {
    "h100.f16.f32": UNITS["h100.f16.f32"],
    "a100.f16.f32": UNITS["a100.f16.f32"],
    "a100.bf16.f32": UNITS["a100.bf16.f32"],
    "b200.tcgen05.mxf8_e4m3.f32": UNITS["b200.tcgen05.mxf8_e4m3.f32"],
    "to nearest": replace(UNITS["a100.f16.f32"], rounding=Rounding.RNE, F=20),
    "few bits": MatrixUnit(catalog.E5M2, F32, 8, 5),
    "blocks of four": MatrixUnit(F16, F32, 4, 24),
    "into binary16": MatrixUnit(F16, F16, 8, 22, rounding=Rounding.RNE, c_format=F16),
    "h100.wgmma.e4m3.f32": UNITS["h100.wgmma.e4m3.f32"],
    "c apart": UNITS["h100.e4m3.f32"],
    "c apart, to nearest": UNITS["h100.e5m2.f16"],
    "c late": UNITS["mi300.f16.f32"],
    "c late, blocks of four": UNITS["mi300.xf32.f32"],
    "c late, two groups": UNITS["mi300.e4m3fnuz.f32"],
    "c late, two groups cut to zero": replace(UNITS["mi300.e5m2fnuz.f32"], group_ar="rz"),
    "groups": UNITS["b200.tcgen05.nvf4.f32"],
    "groups of power of two scales": UNITS["b200.tcgen05.mxf4.f32"],
    "groups, to nearest, few bits": replace(UNITS["b200.tcgen05.nvf4.f32"], rounding=Rounding.RNE, F=9),
    "exact": UNITS["mi100.exact.f16.f32"],
    "exact, blocks of two": UNITS["mi100.exact.bf16.f32"],
    "exact, into binary16": MatrixUnit(F16, F16, 4, ar="exact", rounding=Rounding.RNE, c_format=F16),
    "exact, toward zero": replace(UNITS["mi100.exact.f16.f32"], rounding=Rounding.RTZ),
    "chain": MatrixUnit(F16, F32, 1, tree="sequential", rounding=Rounding.RNE),
    "chain of binary32": UNITS["mi100.f32.f32"],
    "chain of binary64": UNITS["a100.f64.f64"],
    "two chains": UNITS["amx.bf16.f32"],
    "chains of four, then c": MatrixUnit(F16, F32, 4, tree="sequential", c_place="late", rounding=Rounding.RNE),
    "two chains of pairs": MatrixUnit(
        F16, F32, 8, tree="sequential", groups="bit1", c_place="late", rounding=Rounding.RNE
    ),
    "pairs": UNITS["mi100.bf16.f32"],
    "trees of four": UNITS["mi210.f16.f32"],
    "trees of eight": MatrixUnit(F16, F32, 8, tree="pairwise", c_place="late", rounding=Rounding.RNE),
    "c late, few bits, into binary16": MatrixUnit(
        catalog.E4M3, F16, 8, 6, rounding=Rounding.RNE, c_format=F16, c_place="late", F2=12, Fc=9, c_reach=14
    ),
}
# Into binary32 sums that may be subnormal have kernels of their own: those of these cases are compiled.
TINY = ("c late, blocks of four", "groups of power of two scales")
NEVER = {name: ("absorbed",) for name in CASES if name.startswith("exact")}  # where nothing is cut


def both(a, b, unit, options):
    """(result, Events) by each loop that counts; each call is prepared anew: it uses up its c."""
    forms = [way.form for way in ways(prepare(a, b, unit, **options), events=True)]
    found = []
    for place in range(len(forms)):
        call = prepare(a, b, unit, **options)
        found.append(compute(call, ways(call, events=True)[place], events=True))
    return forms, found


def assert_equal(found, wanted):
    units.assert_same(found[0], wanted[0])
    for field in fields(Events):
        ours, theirs = getattr(found[1], field.name), getattr(wanted[1], field.name)
        assert np.array_equal(ours, theirs), (field.name, np.argwhere(ours != theirs)[:5].tolist())


@pytest.mark.parametrize("name", CASES)
def test_vectors_count_what_the_scalar_loop_counts(name):
    unit, rng, counted = CASES[name], np.random.default_rng(7), 0
    happened = dict.fromkeys((field.name for field in fields(Events)), 0)
    for kind in ("near", "wide", "low", "codes") * 3:
        long = 270 * unit.L if unit.tree == "fused" else 700
        for m, k, n in ((3, 3 * unit.L + 1, 37), (18, unit.L, 5), (1, long, 17)):
            a, b, options = units.problem(rng, unit, kind, m=m, n=n, depth=k)
            a[:, ::5], b[:, 0] = -0.0, 0.0
            form = ways(prepare(a, b, unit, **options), events=True)[0].form
            if unit.output == F32 and name not in TINY and getattr(form, "gradual", False):
                continue
            forms, found = both(a, b, unit, options)
            if len(found) == 1:
                continue
            assert forms[1] is None
            assert_equal(*found)
            counted += 1
            for event in happened:
                happened[event] += int(getattr(found[0][1], event).sum())
    assert counted >= 3
    assert all(happened[event] > 0 for event in ("inexact", "swamped", "absorbed") if event not in NEVER.get(name, ()))
    assert happened["underflow"] > 0 or "into binary16" not in name


def test_the_oracle_counts_the_same():
    unit, rng = UNITS["a100.f16.f32"], np.random.default_rng(8)
    for kind in ("near", "wide", "codes"):
        a, b, options = units.problem(rng, unit, kind, m=2, n=20, depth=20)
        forms, found = both(a, b, unit, options)
        if len(forms) == 2:
            wanted, counts = units.oracle(a, b, unit, events=True, **options)
            assert_equal(found[0], (wanted, Events(**counts)))


def test_sums_below_the_smallest_normal():
    rng, unit = np.random.default_rng(9), CASES["into binary16"]
    for scale in (2.0**-8, 2.0**-10, 2.0**-12):  # units of a block above and below the smallest normal
        a = units.members(rng, unit.inputs[0], (4, 40), "near") * scale
        b = units.members(rng, unit.inputs[1], (40, 33), "near") * scale
        a, b = (x.astype(np.float16).astype(np.float32) for x in (a, b))
        b[1::2, ::3] = -b[::2, ::3]
        forms, (found, wanted) = both(a, b, unit, {})
        assert forms[0].gradual
        assert_equal(found, wanted)
        assert found[1].underflow.any()


def test_terms_too_small_for_a_fraction_are_looked_at_alone():
    # 2**-60 beside 1: far below any fraction, yet it keeps the sum from being exact, and is absorbed.
    unit = replace(UNITS["a100.bf16.f32"], L=8)
    a = np.zeros((1, 16))
    b = np.zeros((16, 20))
    a[0, :3], b[:3] = 1.0, 0.0
    b[0], b[1, ::2], b[2, ::4] = 1.0, 2.0**-60, -(2.0**-60)
    forms, (found, wanted) = both(a, b, unit, {})
    assert len(forms) == 2
    assert_equal(found, wanted)
    assert found[1].inexact[0].tolist() == [0 if j % 4 == 0 or j % 2 else 1 for j in range(20)]
    assert found[1].absorbed[0].tolist() == [1 - j % 2 for j in range(20)]


def test_a_small_addend_beside_large_products_and_the_other_way_round():
    unit, rng = UNITS["h100.f16.f32"], np.random.default_rng(10)
    a, b, _ = units.problem(rng, unit, "near", m=3, n=40, depth=33)
    for scale in (2.0**-140, 2.0**-30, 2.0**40, 2.0**100):
        c = units.members(rng, F32, (3, 40), "near") * scale
        c = c.astype(np.float32).astype(np.float64)
        _, found = both(a, b, unit, {"c": c})
        assert_equal(found[0], found[-1])


def test_an_addend_that_vanishes_in_units():
    unit = UNITS["a100.bf16.f32"]
    a, b, c = np.full((1, 8), 2.0**50), np.full((8, 17), 2.0**50), np.full((1, 17), 2.0**-100)
    _, (found, wanted) = both(a, b, unit, {"c": c})
    assert_equal(found, wanted)
    assert found[1].absorbed.all() and found[1].inexact.all() and found[1].swamped.all()


# Of a block in units of 2**(M - 22): M = 1, so that 2**-14 is 128 of them, and M = 9, so that it is half of one.
@pytest.mark.parametrize("large", [1.0, 16.0])
def test_what_is_left_of_a_cancellation_beside_the_smallest_normal(large):
    unit = CASES["into binary16"]
    parts = [[2.0**-14, -(2.0**-24)], [2.0**-14], [2.0**-14, 2.0**-24], [2.0**-16], [2.0**-13], [2.0**-15, 2.0**-22]]
    a, b = np.zeros((2, 8)), np.zeros((8, 18))
    a[0, :2], b[0], b[1] = large, 2 * large, -2 * large
    a[0, 2:4] = 2.0**-9
    a[1] = -a[0]
    for j in range(18):
        for n, part in enumerate(parts[j % 6]):
            b[2 + n, j] = part * 2.0**9
    forms, (found, wanted) = both(a, b, unit, {})
    assert forms[0].gradual
    assert_equal(found, wanted)
    assert found[1].underflow.any() and not found[1].underflow.all()


def test_products_that_cancel_are_no_number_that_c_is_swamped_by():
    unit = UNITS["a100.f16.f32"]
    a, b = np.zeros((1, 8)), np.ones((8, 17))
    a[0, :2] = 1.0, -1.0
    c = np.where(np.arange(17) % 2, 2.0**-40, 0.0)[None]
    _, (found, wanted) = both(a, b, unit, {"c": c})
    assert_equal(found, wanted)
    assert not found[1].swamped.any()
    assert found[1].absorbed[0].tolist() == found[1].inexact[0].tolist() == (c[0] != 0).tolist()


def test_rounding_to_a_subnormal_takes_a_longer_addend_that_is_no_small_one():
    # Eight products of 2**-27 are one step of binary16; c is a fourth of what rounding may take.
    unit = replace(CASES["into binary16"], c_format=F32)
    a, b = np.full((1, 8), 2.0**-13), np.full((8, 17), 2.0**-14)
    _, (found, wanted) = both(a, b, unit, {"c": np.full((1, 17), 2.0**-29)})
    assert_equal(found, wanted)
    assert found[0].tolist() == [[2.0**-24] * 17] and found[1].swamped.all()


def test_scales_that_carry_into_the_exponents_of_operands():
    # In units of the lowest place 18225 + 17550 - 16900 - 18876 = -1, 55 bits below what the others add up to.
    unit = MatrixUnit(catalog.E4M3, F32, 32, 22, scale=FloatFormat(5, 3), scale_block=1)
    factors = ((15, 9, 15, 9), (15, 9, 13, 10), (-13, 10, 13, 10), (-13, 11, 12, 11))
    a, b = np.full((1, 32), 1.875), np.full((32, 17), 1.875)
    scale_a, scale_b = a.copy(), b.copy()
    for k, (x, s, y, t) in enumerate(factors):
        a[0, k], scale_a[0, k], b[k], scale_b[k] = x * 2.0**-9, s * 2.0**-17, y / 8, t * 2.0**-17
    _, (found, wanted) = both(a, b, unit, {"scale_a": scale_a, "scale_b": scale_b})
    assert_equal(found, wanted)
    assert found[1].inexact.all()


@pytest.mark.parametrize(
    ("F2", "Fc", "floor", "first"),
    [(12, 4, None, -(2.0**124)), (5, 5, 127, 0.0)],
)
def test_sums_that_floors_take_beyond_the_largest_value_are_not_counted_in_vectors(F2, Fc, floor, first):
    # Each floor may make a negative sum a unit longer: one of c's place, or one of the floor of the exponents.
    unit = replace(UNITS["mi300.bf16.f32"], F=5, F2=F2, Fc=Fc, Emin_floor=floor)
    a, b = np.full((1, 300 * unit.L), -(2.0**-20)), np.ones((300 * unit.L, 17))
    forms, found = both(a, b, unit, {"c": np.full((1, 17), first)})
    assert forms == [None] and found[0][1].overflow.all()
    if floor is None:
        assert both(a[:, : unit.L], b[: unit.L], unit, {"c": np.full((1, 17), first)})[0][0] is not None


def test_products_as_far_from_each_other_as_an_exact_sum_allows():
    # The low ones add up to one in their last place, the high ones nearly fill what float64 holds above it.
    for name in ("a100.bf16.f32", "c late"):
        unit = replace(UNITS["mi300.bf16.f32"] if name == "c late" else UNITS[name], L=8)
        a, b = np.full((1, 8), 255 / 128), np.full((8, 17), 255 / 128)
        a[0, :2], b[0], b[1] = (129 / 128, -1.0), 129 / 128, 130 / 128
        b[:2] *= 2.0 ** -np.arange(28, 45)
        forms, (found, wanted) = both(a, b, unit, {})
        assert 28 < forms[0].told(unit)[0] < 44
        assert_equal(found, wanted)
        assert found[1].inexact.all()


def test_groups_as_far_from_each_other_as_an_exact_sum_allows():
    unit = replace(UNITS["b200.tcgen05.nvf4.f32"], scale=catalog.E8M0)
    a, b = np.full((1, 64), 6.0), np.full((64, 17), 6.0)
    a[0, :16], b[:16], a[0, 0] = 0.0, 0.5, 0.5
    scale_a, scale_b = np.ones((1, 4)), np.ones((4, 17))
    scale_b[0] = 2.0 ** -np.arange(30, 47)
    forms, (found, wanted) = both(a, b, unit, {"scale_a": scale_a, "scale_b": scale_b})
    assert 30 < forms[0].told(unit)[0] < 46
    assert_equal(found, wanted)
    assert found[1].inexact.all()


def test_a_long_addend_that_becomes_zero_alone_is_not_swamped():
    unit = replace(CASES["exact, into binary16"], c_format=F32)
    a, b, c = np.zeros((1, 4)), np.zeros((4, 16)), np.full((1, 16), 2.0**-30)
    _, (found, wanted) = both(a, b, unit, {"c": c})
    assert_equal(found, wanted)
    assert not found[0].any() and found[1].underflow.all() and not found[1].swamped.any()


@pytest.mark.parametrize("name", ["chain of binary32", "chain of binary64"])
def test_chains_in_which_every_step_is_counted(name):
    a, b, c = np.full((1, 4200), 2.0**-30), np.full((4200, 17), 2.0**-30), np.ones((1, 17))
    forms, (found, wanted) = both(a, b, CASES[name], {"c": c})
    assert len(forms) == 2
    assert_equal(found, wanted)
    assert (found[1].absorbed == 4200).all()


def test_an_addend_as_large_as_what_cutting_and_rounding_take():
    # In units of 2**-24: the results' last place is 32, and 15.5 + 16.5 of the products are cut to 31.
    unit = replace(UNITS["a100.bf16.f32"], L=8)
    a, b, c = np.full((1, 8), 255 / 128), np.full((8, 80), 255 / 128), np.arange(80) * 2.0**-24
    a[0, :3], b[0], b[1], b[2] = 2.0**-12, 15.5 * 2.0**-12, 16.5 * 2.0**-12, 0.0
    forms, (found, wanted) = both(a, b, unit, {"c": c})
    assert forms[0] is not None
    assert_equal(found, wanted)
    assert found[1].swamped[0].tolist() == [int(0 < j < 33) for j in range(80)]


GRADUAL = {  # a unit into binary16, two products and c: an exact sum below its smallest normal number, or not
    "c": (MatrixUnit(catalog.E5M2, F16, 8, 8, rounding=Rounding.RNE, c_format=F16), 1.0, -1.0, 2.0**-15),
    "products": (MatrixUnit(F16, F16, 8, 5, rounding=Rounding.RNE, c_format=F16), 1.0 + 2.0**-10, -1.0, 1.0),
    "late c": (replace(CASES["c late, few bits, into binary16"], F2=6, Fc=6), 1.0, -1.0, 2.0**-15),
    "late products": (
        replace(CASES["c late, few bits, into binary16"], input=F16, F2=6, Fc=6), 1.0 + 2.0**-10, -1.0, 1.0
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADUAL)
def test_forms_that_meet_sums_below_the_smallest_normal(name):
    unit, x, y, c = GRADUAL[name]
    b = np.array([[x, 1.0], [1.0, 1.0]])
    for first, expected in ((c, True), (1.0, "products" in name)):
        call = prepare(np.array([[x, y]]), b, unit, c=np.full((1, 2), first))
        assert ways(call, events=True)[0].form.gradual == expected


def test_what_vectors_do_not_count():
    bf16, late, half = UNITS["a100.bf16.f32"], UNITS["mi300.bf16.f32"], CASES["into binary16"]
    groups = UNITS["b200.tcgen05.mxf4.f32"]
    scales = {"scale_a": np.full((1, 2), 2.0**64), "scale_b": np.full((2, 1), 2.0**63)}
    calls = [
        (bf16, [2.0**-40, 0.0], [2.0**-39, 1.0], {"c": [[2.0**120]]}),  # in units no float32, but absorbed
        (late, [2.0**-40, 2.0**60], [2.0**-39, 2.0**60], {}),
        (half, [100.0, 0.0], [100.0, 1.0], {"c": [[60000.0]]}),  # which overflows
        (groups, [6.0, 6.0], [6.0, 6.0], scales),
    ]
    for unit, x, y, options in calls:
        a, b = np.zeros((1, 64)), np.zeros((64, 1))
        a[0, :2], b[:2, 0] = x, y
        forms, [(_, events)] = both(a, b, unit, {key: np.array(value) for key, value in options.items()})
        assert forms == [None]
        assert (events.overflow if unit in (half, groups) else events.absorbed).all()


def test_an_exact_sum_that_is_next_to_nothing_more_than_the_result():
    # 1 + 2**-81 and c = 2**-26 become 1, which is not what the products add up to.
    a, b = np.array([[1.0, 2.0**-41]]), np.ones((2, 16)) * [[1.0], [2.0**-40]]
    _, (found, wanted) = both(a, b, UNITS["mi100.exact.bf16.f32"], {"c": np.full((1, 16), 2.0**-26)})
    assert_equal(found, wanted)
    assert (found[0] == 1.0).all() and not found[1].swamped.any()


def test_an_exact_sum_below_the_smallest_normal_is_no_underflow():
    a, b = np.full((1, 8), 2.0**-9), np.full((8, 17), 2.0**-10) * (np.arange(8) < 5)[:, None]
    _, (found, wanted) = both(a, b, CASES["into binary16"], {})
    assert_equal(found, wanted)
    assert (found[0] == 5 * 2.0**-19).all() and not found[1].underflow.any()


def test_a_long_product_and_c_that_make_a_number_but_for_the_last_bit():
    # (2**27 - 1)**2 ends halfway between two numbers, of which the lower one is even; c is half a step but for its last bit.
    a, b, c = np.full((1, 1), 2.0**27 - 1), np.full((1, 17), 2.0**27 - 1), np.full((1, 17), 1 - 2.0**-53)
    _, (found, wanted) = both(a, b, UNITS["a100.f64.f64"], {"c": c})
    assert_equal(found, wanted)
    assert found[1].inexact.all()


def test_products_too_far_apart_for_a_fraction_in_units_of_few_bits():
    a = np.array([[1.75 * 2.0**15, 2.0**-16]])
    _, (found, wanted) = both(a, a.T * np.ones(17), CASES["few bits"], {})
    assert_equal(found, wanted)
    assert (found[0] == 1.75**2 * 2.0**30).all() and found[1].inexact.all()


@pytest.mark.parametrize("name", ["into binary16", "c late, few bits, into binary16"])
def test_next_to_nothing_less_than_the_smallest_normal_is_below_it(name):
    unit = replace(CASES[name], input=catalog.BFLOAT16)
    a, b, c = np.full((1, 1), -(2.0**-40)), np.full((1, 17), 2.0**-40), np.full((1, 17), 2.0**-14)
    forms, (found, wanted) = both(a, b, unit, {"c": c})
    assert forms[0].gradual
    assert_equal(found, wanted)
    assert (found[0] == 2.0**-14).all() and found[1].underflow.all()
