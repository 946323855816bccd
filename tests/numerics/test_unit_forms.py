"""The vector forms of matrix units: every form that is planned gives the scalar loop's bits, which are the oracle's."""

from dataclasses import replace

import numpy as np
import pytest

from numerics import Accumulator, FloatFormat, MatrixUnit, Overflow, Rounding, catalog, dot, matmul, plan, plans
from numerics.unit_products import compute, plan_of, prepare, ways
from tests.numerics import units
from tests.sampling import one_in

UNITS = catalog.MATRIX_UNITS
F16, BF16, F32 = catalog.BINARY16, catalog.BFLOAT16, catalog.BINARY32
PROMOTE = Accumulator(F32, Rounding.RNE, Overflow.IEEE)
FORMS = {
    "h100.f16.f32": "aligned vectors",
    "b200.tcgen05.mxf8_e4m3.f32": "aligned vectors",
    "b200.tcgen05.mxf8_e5m2.f32": "aligned vectors",
    "b200.tcgen05.mxf4.f32": "grouped vectors",
    "b200.tcgen05.nvf4.f32": "grouped vectors",
    "mi300.f16.f32": "late vectors",
    "mi300.bf16.f32": "late vectors",
    "mi300.xf32.f32": "late vectors",
    "mi300.e4m3fnuz.f32": "late vectors",
    "mi300.e5m2fnuz.f32": "late vectors",
    "mi100.exact.f16.f32": "exact vectors",
    "mi100.exact.bf16.f32": "exact vectors",
    "mi100.f16.f32": "lanes",
    "mi100.bf16.f32": "lanes",
    "mi210.f16.f32": "lanes",
    "mi210.bf16.f32": "lanes",
    "mi300.f32.f32": "lanes",
    "amx.bf16.f32": "lanes",
    "amx.f16.f32": "lanes",
    "a100.f64.f64": "lanes",
}
# Of the fields that no preset has.
LATE, NVF4 = UNITS["mi300.e4m3fnuz.f32"], UNITS["b200.tcgen05.nvf4.f32"]
OWN = {
    "late, groups cut toward zero": replace(LATE, group_ar="rz"),
    "late into binary16": MatrixUnit(
        catalog.E5M2, F16, 8, 20, rounding=Rounding.RNE, c_place="late", F2=22, Fc=15, c_format=F32
    ),
    "late, blocks of 32, no floor": replace(UNITS["mi300.f16.f32"], L=32, F=22, Emin_floor=None),
    "late, chunks": replace(UNITS["mi300.f16.f32"], chunk=24, outer=PROMOTE),
    "groups, to nearest": replace(NVF4, rounding=Rounding.RNE, F=20, output=F16),
    "groups of four, 13 bits": replace(NVF4, exact_group=4, L=16, output=FloatFormat(8, 13), F=25),
    "groups, chunks": replace(NVF4, chunk=48, outer=PROMOTE),
    "scales of four bits": MatrixUnit(catalog.E4M3, F32, 16, 21, scale=NVF4.scale, scale_block=8),
    "exact, toward zero": MatrixUnit(BF16, F32, 8, ar="exact"),
    "exact into binary16": MatrixUnit(catalog.E4M3, F16, 16, ar="exact", rounding=Rounding.RNE),
    "exact, chunks": MatrixUnit(F16, F32, 4, ar="exact", rounding=Rounding.RNE, chunk=12, outer=PROMOTE),
    "two chains by bit 1": replace(UNITS["amx.f16.f32"], groups="bit1", L=12),
    "a chain, then c": replace(UNITS["amx.f16.f32"], groups="one", L=9),
    "a chain of binary64, then c": replace(UNITS["a100.f64.f64"], c_place="late", L=11),
    "a tree of eight": replace(UNITS["mi100.f16.f32"], L=8),
    "a tree of one": replace(UNITS["mi210.f16.f32"], L=1),
    "a tree, chunks": replace(UNITS["mi210.f16.f32"], chunk=10, outer=PROMOTE),
}
CASES = {name: (UNITS[name], form) for name, form in FORMS.items()} | {name: (unit, None) for name, unit in OWN.items()}


def forced(a, b, unit, options):
    """Results by every loop that the plan allows, by name; each call is prepared anew: it uses up its c."""
    names = [plan_of(call, way).kernel for call in [prepare(a, b, unit, **options)] for way in ways(call)]
    found = {}
    for place, name in enumerate(names):
        call = prepare(a, b, unit, **options)
        found[name] = compute(call, ways(call)[place])
    return found


def near(rng, unit, m, k, n):
    """Operands around one, of all signs, some zero; c too, and scales."""
    a, b, options = units.problem(rng, unit, "near", m=m, n=n, depth=k)
    a[0], b[:, 0] = 0.0, 0.0
    options["c"] = units.members(rng, unit.addend if unit.outer is None else F32, (m, n), "near")
    options["c"][:, 1] = -0.0
    return a, b, options


@pytest.mark.parametrize("name", [*FORMS, *one_in(4, OWN)])
def test_all_loops_that_are_planned_give_the_same_bits(name):
    unit, form = CASES[name]
    rng, seen = np.random.default_rng(11), set()
    for m, k, n in ((5, 3 * unit.L + 1, 37), (2, max(1, unit.L // 2), 300), (19, 48, 3)):
        a, b, options = near(rng, unit, m, k, n)
        found = forced(a, b, unit, options)
        assert len(found) == 2, "one vector form, and the scalar loop"
        vectors, scalars = found.values()
        units.assert_same(vectors, scalars)
        assert plans(a, b, unit, **options)[0].kernel == next(iter(found))
        few = {key: x[:2] if key in ("c", "scale_a") else x for key, x in options.items()}
        few = {key: x[:, :4] if key in ("c", "scale_b") else x for key, x in few.items()}
        units.assert_same(vectors[:2, :4], units.oracle(a[:2], b[:, :4], unit, **few))
        assert form is None or next(iter(found)) == form
        seen |= set(np.unique(vectors).tolist())
    assert len(seen) > 30


@pytest.mark.parametrize("name", one_in(3, CASES))
def test_cancellations_subnormals_and_codes(name):
    unit, _ = CASES[name]
    rng, several = np.random.default_rng(12), 0
    for kind in ("low", "codes", "wide", "near"):
        for _ in range(6):
            a, b, options = units.problem(rng, unit, kind, m=2, n=5)
            if kind != "wide":
                options["c"] = -units.oracle(a, b, unit, **{k: x for k, x in options.items() if k != "c"})
                options["c"][~np.isfinite(options["c"])] = 1.0
            found = forced(a, b, unit, options)
            several += len(found) > 1
            wanted = units.oracle(a, b, unit, **options)
            for result in found.values():
                units.assert_same(result, wanted)
    assert several >= 6


@pytest.mark.parametrize("name", one_in(2, [name for name, (unit, _) in CASES.items() if unit.outer is None]))
def test_what_overflows_stays_infinite(name):
    unit, _ = CASES[name]
    rng = np.random.default_rng(13)
    a, b, options = units.problem(rng, unit, "near", m=2, n=9, depth=2 * unit.L + 1)
    c = np.full((2, 9), unit.addend.max)
    c[:, 1:3], c[:, 5] = -c[:, 1:3], np.ldexp(1.0, unit.addend.emin - unit.addend.mantissa_bits)
    for sign in (1.0, -1.0):
        options["c"] = sign * c
        found = forced(a, b, unit, options)
        for result in found.values():
            units.assert_same(result, units.oracle(a, b, unit, **options))
    if unit.input.emax < 60:
        top = np.full((2, 2 * unit.L), unit.input.max), np.full((2 * unit.L, 9), unit.inputs[1].max)
        count = 0 if unit.scale is None else -(-2 * unit.L // unit.scale_block)
        scales = {} if not count else {"scale_a": np.full((2, count), 64.0), "scale_b": np.full((count, 9), 64.0)}
        for options in (scales, scales | {"c": c}):
            for result in forced(*top, unit, options).values():
                units.assert_same(result, units.oracle(*top, unit, **options))


def planned(a, b, unit, **options):
    """The kernel of a call, whose result is held against the oracle."""
    a, b = np.atleast_2d(np.asarray(a, float)), np.asarray(b, float)[:, None]
    for result in forced(a, b, unit, options).values():
        units.assert_same(result, units.oracle(a, b, unit, **options))
    return plan(a, b, unit, **options).kernel


def one(value):
    return np.full((1, 1), value)


def test_a_form_is_left_where_it_is_not_exact():
    late, exact = UNITS["mi300.bf16.f32"], UNITS["mi100.exact.bf16.f32"]
    amx, tree, wide = UNITS["amx.bf16.f32"], UNITS["mi210.bf16.f32"], UNITS["b200.tcgen05.mxf8_e4m3.f32"]
    tiny, huge, inf = 2.0**-60, 2.0**64, np.inf
    ones = [1.0] * 4
    for kernel, a, b, unit, options in (
        ("late vectors", ones, ones, late, {}),
        ("late vectors", ones, ones, late, {"c": one(2.0**-149)}),  # c may be anything finite
        ("late vectors", ones, ones, late, {"c": one(-F32.max)}),
        ("late vectors", [2.0**-52] * 4, [2.0**-51] * 4, late, {}),
        ("integers", [2.0**-52] * 4, [2.0**-52] * 4, late, {}),  # 2**(F - M) would leave float32
        ("integers", [huge] * 4, [huge] * 4, late, {}),  # a product is infinite
        ("integers", [inf, 1], [1, 1], late, {}),
        ("integers", ones, ones, late, {"c": one(inf)}),
        ("exact vectors", ones, ones, exact, {}),
        ("exact vectors", [1, 2.0**-30], [1, 2.0**-30], exact, {}),
        ("expansions", [1, tiny], [1, 2.0**-40], exact, {}),  # more than both windows hold
        ("expansions", ones, ones, exact, {"c": one(2.0**100)}),
        ("expansions", ones, ones, exact, {"c": one(np.nan)}),
        ("lanes", ones, ones, amx, {}),
        ("lanes", [2.0**-50] * 4, [2.0**-50] * 4, amx, {}),
        ("steps", [tiny] * 4, [2.0**-53] * 4, amx, {}),  # a multiple of 2**-127 may be flushed
        ("steps", ones, ones, amx, {"c": one(2.0**-104)}),
        ("lanes", ones, ones, amx, {"c": one(2.0**-103)}),
        ("steps", [2.0**-120, 1], [1, 1], tree, {}),
        ("lanes", [2.0**-112, 1], [1, 1], tree, {}),
        ("steps", [inf, 1], [1, 1], tree, {}),
        ("steps", ones, ones, tree, {"c": one(inf)}),
        ("lanes", [tiny] * 4, [2.0**-80] * 4, UNITS["mi100.bf16.f32"], {}),  # which flushes nothing
        ("aligned vectors", ones, ones, wide, {"scale_a": one(2.0**-30), "scale_b": one(2.0**-40)}),
        ("integers", ones, ones, wide, {"scale_a": one(2.0**-40), "scale_b": one(2.0**-50)}),
        ("integers", ones, ones, wide, {"scale_a": one(2.0**-125), "scale_b": one(2.0**100)}),
        ("integers", ones, ones, wide, {"scale_a": one(np.nan), "scale_b": one(1.0)}),
    ):
        assert planned(a, b, unit, **options) == kernel, (kernel, a, b, str(unit), options)


def test_groups_of_tiny_scales_are_left_to_integers():
    # Toward zero a subnormal is not cut as the mask does it.
    unit, ones = replace(UNITS["b200.tcgen05.mxf4.f32"], Emin_floor=None), [1.0] * 32
    scales = {"scale_a": one(2.0**-45), "scale_b": one(2.0**-46)}
    assert planned(ones, ones, unit, **scales) == "grouped vectors"
    assert planned(ones, ones, unit, **scales | {"scale_b": one(2.0**-47)}) == "integers"
    assert planned(ones, ones, UNITS["b200.tcgen05.mxf4.f32"], **scales, c=one(2.0**-149)) == "grouped vectors"
    assert planned(ones, ones, unit, **scales | {"scale_b": one(np.nan)}) == "integers"
    nearest = replace(unit, rounding=Rounding.RNE)
    assert planned(ones, ones, nearest, **scales | {"scale_b": one(2.0**-100)}) == "grouped vectors"


def test_a_long_subnormal_that_meets_no_groups_is_left_to_integers():
    unit = replace(NVF4, output=BF16, c_format=F32)
    a, b, c = np.zeros((1, 64)), np.zeros((64, 16)), np.full((1, 16), 2.0**-137)
    scales = {"scale_a": np.ones((1, 4)), "scale_b": np.ones((4, 16))}
    assert not matmul(a, b, unit, c=c, **scales).any()
    assert len(forced(a, b, unit, {"c": c, **scales})) == 1
    assert len(forced(a, b, unit, {"c": c * 2.0**11, **scales})) == 2


def test_exponents_of_groups_go_below_those_of_float32():
    unit = replace(UNITS["b200.tcgen05.mxf4.f32"], Emin_floor=None, F=10, rounding=Rounding.RNE)
    scales = {"scale_a": np.array([[2.0**-65, 2.0**-70]]), "scale_b": np.array([[2.0**-65], [2.0**-70]])}
    a = np.zeros((1, 33))
    a[0, [0, 32]] = 1.0
    assert planned(a, np.ones(33), unit, **scales) == "grouped vectors"
    assert matmul(a, np.ones((33, 1)), unit, **scales) == 2.0**-130 + 2.0**-140


def test_negative_groups_that_are_cut_to_nothing_are_plus_zero():
    unit = replace(NVF4, Emin_floor=100)
    scales = {"scale_a": np.ones((1, 4)), "scale_b": np.ones((4, 1))}
    assert planned(-np.ones(64), np.ones(64), unit, c=one(-0.0), **scales) == "grouped vectors"
    assert not np.signbit(matmul(-np.ones((1, 64)), np.ones((64, 1)), unit, c=one(-0.0), **scales))


def test_both_windows_hold_every_bit():
    # A tie above a bit 54 places lower, which decides; the other way round too.
    unit = UNITS["mi100.exact.f16.f32"]
    for sign, wanted in ((1, 2.0**30 + 2.0**7), (-1, 2.0**30)):
        a, b = [sign * 2.0**-24, 8], [2.0**-24, 8]
        assert planned(a, b, unit, c=one(2.0**30)) == "exact vectors"
        assert matmul(np.array([a]), np.array([b]).T, unit, c=one(2.0**30)) == wanted
    # Above 2**(w + 51) what is rounded off has more than 53 bits: 2**-20, and products that differ by 2**-74.
    eight = MatrixUnit(BF16, F32, 8, ar="exact", rounding=Rounding.RNE)
    last = 1 + 2.0**-7
    a = [2.0**5, 2.0**-10, last * 2.0**-30, -(1 + 2.0**-6) * 2.0**-30, -(2.0**-10)]
    b = [2.0**5, 2.0**-10, last * 2.0**-30, 2.0**-30, 2.0**-10]
    assert planned(a, b, eight, c=one(2.0**34)) == "expansions"
    assert matmul(np.array([a]), np.array([b]).T, eight, c=one(2.0**34)) == 2.0**34 + 2.0**11
    a[0] = b[0] = 2.0**-1
    assert planned(a, b, eight, c=one(2.0**22)) == "exact vectors"
    assert matmul(np.array([a]), np.array([b]).T, eight, c=one(2.0**22)) == 2.0**22 + 2.0**-1


def test_sums_that_int32_does_not_hold():
    wide = replace(OWN["scales of four bits"], F=25)
    scales = {"scale_a": np.full((1, 2), 1.875), "scale_b": np.full((2, 1), 1.875)}
    ones = np.full(16, 1.875)
    assert planned(ones, ones, wide, **scales) == "integers"
    assert planned(ones, ones, replace(wide, F=23), **scales) == "aligned vectors"
    late, most = replace(UNITS["mi300.f16.f32"], L=32), np.full(32, 2 - 2.0**-10)
    assert planned(most, most, replace(late, F=25), c=one(1.0)) == "integers"
    assert planned(most, most, replace(late, F=24), c=one(1.0)) == "late vectors"


def test_chunks_that_are_no_whole_blocks_have_no_windows():
    unit = replace(OWN["exact, chunks"], chunk=6)
    numbers = np.arange(1.0, 13.0)
    assert planned(numbers, numbers, unit) == "expansions"
    assert planned(numbers, numbers, replace(unit, chunk=4)) == "exact vectors"


def test_a_group_that_cancels_still_has_the_exponent_of_its_scales():
    # 2**-19 alone is kept; beside a group of scales 2 * 2 whose products cancel it is cut, 15 bits below 2**2.
    a, b = np.zeros((1, 32)), np.ones((32, 1))
    a[0, :2], a[0, 16] = (1, -1), 0.5
    small = {"scale_a": np.array([[2.0, 2.0**-9]]), "scale_b": np.array([[2.0], [2.0**-9]])}
    tiny = replace(NVF4, F=15)
    assert matmul(a, b, tiny, **small)[0, 0] == 0.0
    a[0, :2] = 0
    assert matmul(a, b, tiny, **small)[0, 0] == 2.0**-19
    assert plan(a, b, tiny, **small).kernel == "grouped vectors"


def test_products_far_below_c_are_floored():
    # 1 + 2**-22 less 2**-24 is a tie, which stays; floored at 2**-31 the products are a little more, and the sum is below.
    unit, c = UNITS["mi300.f16.f32"], np.full((1, 1), 1 + 2.0**-22)
    a, b = np.array([[2.0**-12, 2.0**-13]]), np.array([[-(2.0**-12)], [-(2.0**-22)]])
    assert planned(a, b[:, 0], unit, c=c) == "late vectors"
    assert matmul(a, b, unit, c=c) == 1 + 2.0**-23
    assert matmul(a, -b, unit, c=-c) == -1 - 2.0**-22
    assert matmul(a[:, :1], b[:1], unit, c=c) == 1 + 2.0**-22


def test_a_floor_above_all_terms_cuts_everything():
    for unit in (UNITS["a100.f16.f32"], UNITS["mi300.f16.f32"], NVF4, UNITS["b200.tcgen05.mxf8_e5m2.f32"]):
        for floor in (127, 128, 200, 1000):
            x = np.ones((1, 1))
            scales = {} if unit.scale is None else {"scale_a": x, "scale_b": x}
            assert matmul(x, x, replace(unit, Emin_floor=floor), **scales) == 0


REASONS = {
    "h100.f16.f32": "25 + 2 + 3 <= 30",
    "mi300.f16.f32": "8 * 2**(24 + 2) <= 2**31; with c their sum has 31 + 4 + 3 <= 53 bits",
    "b200.tcgen05.nvf4.f32": "has 12 <= 24 bits",
    "mi100.exact.f16.f32": "5 * 2**(",
    "amx.bf16.f32": ">= 2**-126",
    "a100.f64.f64": "each step is the processor's own",
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_a_sentence_with_the_inequality(name):
    unit = UNITS[name]
    a, b, options = near(np.random.default_rng(1), unit, 3, 40, 4)
    result, chosen = matmul(a, b, unit, explain=True, **options)
    assert chosen == plan(a, b, unit, **options) and REASONS[name] in chosen.reason
    units.assert_same(result, matmul(a, b, unit, **options))
    counted, events, counting = matmul(a, b, unit, explain=True, events=True, **options)
    units.assert_same(counted, result)
    known = plans(a, b, unit, **options)
    assert counting.kernel == known[0].kernel and events.inexact.shape == result.shape
    assert all(ord(letter) < 128 for each in plans(a, b, unit, **options) for letter in each.reason)


def test_plans_of_products_of_vectors_and_of_nothing():
    unit = UNITS["mi300.f16.f32"]
    value, chosen = dot(np.ones(3), np.ones(3), unit, explain=True)
    assert value == 3 and chosen.kernel == "late vectors"
    value, events, chosen = dot(np.ones(3), np.ones(3), unit, explain=True, events=True)
    assert value == 3 and events.overflow == 0 and chosen.kernel == "late vectors"
    value, events, chosen = dot([60000.0], [2.0], UNITS["h100.f16.f16"], explain=True, events=True)
    assert (
        value == np.inf and events.overflow == 1 and chosen.kernel == "integers"
    )  # what may overflow is counted apart
    assert plan(np.zeros((2, 0)), np.zeros((0, 2)), unit).kernel == "nothing"
    with pytest.raises(ValueError, match="give scale_a= and scale_b="):
        plan(np.ones((1, 1)), np.ones((1, 1)), NVF4)


def test_layouts_batches_and_threads_of_scaled_units():
    for unit in (NVF4, UNITS["b200.tcgen05.mxf8_e4m3.f32"]):
        rng = np.random.default_rng(3)
        a, b = (
            units.members(rng, unit.input, (2, 1, 9, 70), "near"),
            units.members(rng, unit.input, (3, 70, 21), "near"),
        )
        count = -(-70 // unit.scale_block)
        sa, sb = np.exp2(rng.integers(-3, 4, (2, 1, 9, count))), np.exp2(rng.integers(-3, 4, (3, count, 21)))
        found = matmul(a, b, unit, scale_a=sa, scale_b=sb)
        assert plan(a, b, unit, scale_a=sa, scale_b=sb).kernel.endswith("vectors")
        for i in range(2):
            for j in range(3):
                alone = matmul(a[i, 0], b[j], unit, scale_a=sa[i, 0], scale_b=sb[j])
                units.assert_same(found[i, j], alone)
        units.assert_same(
            found[0, 0, :2, :3],
            units.oracle(a[0, 0, :2], b[0, :, :3], unit, scale_a=sa[0, 0, :2], scale_b=sb[0, :, :3]),
        )
