"""Products on matrix units against the oracle, bit for bit, and what the fields mean, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FloatFormat,
    MatrixUnit,
    Overflow,
    Rounding,
    catalog,
    dot,
    matmul,
    unit_products,
)
from tests.numerics import units
from tests.sampling import one_in

UNITS = catalog.MATRIX_UNITS
F16, BF16, F32 = catalog.BINARY16, catalog.BFLOAT16, catalog.BINARY32
A100, H100 = UNITS["a100.f16.f32"], UNITS["h100.f16.f32"]
FP8 = UNITS["h100.e4m3.f16"]
PROMOTE = Accumulator(F32, Rounding.RNE, Overflow.IEEE)


def general_only(monkeypatch):
    monkeypatch.setattr(unit_products, "plan_fast", lambda *_: None)


def vectors_only(monkeypatch):
    plan = unit_products.plan_fast

    def planned(*arguments):
        found = plan(*arguments)
        assert found is not None
        return found

    monkeypatch.setattr(unit_products, "plan_fast", planned)


@pytest.mark.parametrize("name", one_in(12, UNITS))
def test_every_preset(name):
    unit, rng = UNITS[name], np.random.default_rng(len(name))
    for kind in units.KINDS:
        for specials in (False, True) if kind == "codes" else (False,):
            a, b, options = units.problem(rng, unit, kind, specials)
            units.assert_same(matmul(a, b, unit, **options), units.oracle(a, b, unit, **options))


VECTORS = [
    "v100.f16.f32",
    "v100.f16.f16",
    "a100.f16.f32",
    "a100.bf16.f32",
    "a100.tf32.f32",
    "h100.f16.f32",
    "h100.f16.f16",
    "h100.tf32.f32",
    "ada.e4m3.f32",
    "ada.e5m2.f16",
    "h100.wgmma.e5m2.f32",
    "b200.tcgen05.e4m3.f32",
    "h100.e4m3.f32",
    "h200.e5m2.f16",
]


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_and_integers_agree(name, monkeypatch):
    unit, rng = UNITS[name], np.random.default_rng(7)
    cases = []
    for kind in ("near", "low", "codes") if unit.input.emin > -126 else ("near",):
        for n, depth in ((3, None), (300, 5), (17, 3 * unit.L + 1)):
            a, b, options = units.problem(rng, unit, kind, n=n, depth=depth)
            if "c" in options:
                options["c"] = units.members(rng, unit.addend, options["c"].shape, "near")
            cases.append((a.astype(np.float32), b.astype(np.float32), options))
    with monkeypatch.context() as patch:
        vectors_only(patch)
        found = [matmul(a, b, unit, **options) for a, b, options in cases]
    general_only(monkeypatch)
    for result, (a, b, options) in zip(found, cases, strict=True):
        units.assert_same(result, matmul(a, b, unit, **options))
    a, b, options = cases[0]
    units.assert_same(found[0], units.oracle(a, b, unit, **options))


def test_the_vector_form_is_left_where_it_is_not_exact(monkeypatch):
    plans = []
    plan = unit_products.plan_fast
    monkeypatch.setattr(unit_products, "plan_fast", lambda *arguments: plans.append(plan(*arguments)) or plans[-1])
    unit = UNITS["h100.bf16.f32"]
    one = np.ones((1, 16), np.float32)
    tiny, huge = np.float32(2.0**-50), np.float32(2.0**64)
    for a, b, c, fast in (
        (one, one.T, None, True),
        (one * 0, one.T, None, True),
        (one * tiny, one.T, None, True),
        (one * tiny, one.T * tiny, None, False),  # 2**(F - M) would leave float32
        (one * huge, one.T * huge, None, False),  # the product would
        (one, one.T, np.full((1, 1), 2.0**-103), False),
        (one, one.T, np.full((1, 1), 2.0**-102), True),
        (one, one.T, np.full((1, 1), np.inf), False),
        (one * np.float32(np.nan), one.T, None, False),
    ):
        found = matmul(a, b, unit, c=c)
        units.assert_same(found, units.oracle(a, b, unit, c=c))
        assert (plans.pop() is not None) is fast
    for changed in (
        replace(UNITS["mi300.f16.f32"], prodnorm=True),
        replace(UNITS["b200.tcgen05.nvf4.f32"], ftz_out=True),
        replace(UNITS["h100.f16.f32"], ar="floor"),
    ):
        a, b, options = units.problem(np.random.default_rng(0), changed, "near", depth=64)
        matmul(a, b, changed, **options)
        assert plans.pop() is None


def test_an_infinite_result_stays_in_both_forms(monkeypatch):
    unit = UNITS["h100.f16.f16"]
    a = np.full((1, 64), 255.0, np.float32)
    b = np.full((64, 9), 255.0, np.float32)
    b[16:], b[:, 1] = -b[16:], 0.0
    b[32:, 2] = 1.0
    vectors_only(monkeypatch)
    found = matmul(a, b, unit)
    units.assert_same(found, units.oracle(a, b, unit))
    assert found[0, 0] == np.inf and found[0, 1] == 0
    # c added last meets the infinity of another block: not a number, as in the adder that does it.
    late = UNITS["h100.e5m2.f16"]
    a, b = np.full((1, 64), 1024.0, np.float32), np.full((64, 1), 1024.0, np.float32)
    b[32:] = -b[32:]
    assert np.isnan(matmul(a, b, late)) and np.isnan(units.oracle(a, b, late))


# ---- what the fields mean: probes of hardware.md 2.3, expected values by hand ----------------------------------------


def one(a, b, unit, c=0.0):
    return float(dot(np.array(a, float), np.array(b, float), unit, c=np.float64(c)))


@pytest.mark.parametrize(("name", "bits"), [("v100.f16.f32", 23), ("a100.f16.f32", 24), ("h100.f16.f32", 25)])
def test_terms_are_cut_to_f_bits(name, bits):
    unit = UNITS[name]
    for j in range(20, 30):
        x = one([1, -(2.0**-7)], [1, 2.0 ** (7 - j)], unit)
        whole = np.floor((1 - 2.0**-j) * 2.0**24) / 2.0**24  # 24 bits below one, toward zero
        assert x == (1.0 if j > bits else whole)


def test_results_go_toward_zero_or_to_nearest():
    a, b = np.array([2, 2.0**-12, 2.0**-12]), [1, 2.0**-11, 2.0**-12]
    nearest = replace(H100, rounding=Rounding.RNE)
    assert one(a, b, H100) == 2 and one(-a, b, H100) == -2
    assert one(a, b, nearest) == 2 + 2.0**-22 and one(-a, b, nearest) == -2 - 2.0**-22
    assert one(a, b, replace(nearest, F=24)) == 2  # one of the two is cut: a tie
    assert one([1, 2.0**-11], [1, 1], UNITS["a100.f16.f16"]) == 1
    assert one([1, 2.0**-11, 2.0**-11], [1, 1, 1], UNITS["a100.f16.f16"]) == 1 + 2.0**-10


def test_alignment_toward_zero_or_down():
    # One and -1 cancel, what was cut of the third term shows.
    a, b = [1, -1, -(2.0**-13)], [1, 1, 2.0**-12 * 0.75]
    assert one(a, b, A100) == 0
    assert one(a, b, replace(A100, ar="floor")) == -(2.0**-24)
    exact = MatrixUnit(F16, F32, 8, ar="exact", rounding=Rounding.RNE)
    assert one(a, b, exact) == -(2.0**-25) * 0.75
    assert one([2.0**15, -(2.0**15), 2.0**-24], [2.0**15, 2.0**15, 2.0**-24], exact) == 2.0**-48


def test_products_are_not_normalised_unless_said():
    a, b = [1.75, -1.75, 2.0**-12], [1.75, 1.75, 2.0**-12]
    assert one(a, b, A100) == 2.0**-24
    assert one(a, b, replace(A100, prodnorm=True)) == 0
    assert one([1.75, 1], [1.75, 1], replace(A100, prodnorm=True)) == 1.75**2 + 1


def test_where_c_enters():
    a, b = [2.0**12, -(2.0**12)], [2.0**12, 2.0**12]
    assert one(a, b, A100, 1.5) == 1.0 and one(a, b, A100, -1.5) == -1.0
    # A sum that cancelled keeps its exponent: c is cut there too, but down.
    assert one(a, b, UNITS["mi300.f16.f32"], 1.5) == 1.0 and one(a, b, UNITS["mi300.f16.f32"], -1.5) == -2.0
    assert one(a, b, UNITS["amx.f16.f32"], 1.5) == 1.5
    assert one(a, b, UNITS["mi100.exact.f16.f32"], 1.5) == 1.5


def test_a_negative_c_far_below_is_cut_down_or_dropped():
    below_one = 1 - 2.0**-24
    assert one([1], [1], UNITS["mi300.f16.f32"], -(2.0**-60)) == below_one
    assert one([1], [1], UNITS["mi300.e4m3fnuz.f32"], -(2.0**-25)) == below_one
    assert one([1], [1], UNITS["mi300.e4m3fnuz.f32"], -(2.0**-26)) == 1


def test_blocks_are_a_chain():
    # Alone, a one beside 2**24 is cut off by the result; two in a block are not.
    def survives(i, j, unit, k):
        a = np.zeros(k)
        a[[i, j]] = 1
        return one(a, np.ones(k), unit, 2.0**24) == 2.0**24 + 2

    assert all(survives(0, j, A100, 16) == (j < 8) for j in range(1, 16))
    assert survives(3, 14, H100, 16) and not survives(3, 16, H100, 32)
    # Two groups by bit 1 of k, from zero: a small product survives only behind the block in which large ones cancel.
    for place in range(4, 32):
        a, b = np.zeros(32), np.zeros(32)
        a[[0, 1]], b[[0, 1]] = 2.0**7, (2.0**7, -(2.0**7))
        a[place] = b[place] = 2.0**-6
        assert one(a, b, UNITS["h100.e5m2.f32"]) == (2.0**-12 if place & 2 else 0)


def test_subnormals_have_the_exponent_of_their_format():
    smallest = 2.0**-24
    assert one([smallest], [smallest], A100) == 2.0**-48
    # Their significand is 2**-10, so 14 + 10 places of the product are below the point: the other term is cut.
    assert one([smallest, 2.0**-14], [1, 2.0**-14], A100) == smallest + 2.0**-28
    assert one([1, 1], [2.0**-24, 0], UNITS["mi210.f16.f32"]) == 0
    assert one([1], [2.0**-126 * 0.5], UNITS["amx.bf16.f32"]) == 0


def test_the_exponent_floor():
    tiny = 2.0**-60
    unit = UNITS["a100.bf16.f32"]
    assert one([tiny * 2.0**-10], [2.0**-79], unit) == 2.0**-149
    # 2**-151 + 2**-151 + ...: without a floor they add up to a subnormal; below 2**(-126 - 24) they are cut.
    eight = [tiny] * 8
    assert one(eight, [2.0**-91] * 8, unit) == 0
    assert one(eight, [2.0**-91] * 8, replace(unit, Emin_floor=None)) == 2.0**-148
    assert one(eight, [2.0**-90] * 8, unit) == 2.0**-147


def test_overflow_toward_zero():
    unit = UNITS["a100.bf16.f32"]
    big = 2.0**64
    assert one([big], [big], unit) == np.inf
    assert one([big], [-big], unit) == -np.inf
    assert one([big], [big], replace(unit, overflow_to_infinity=False)) == F32.max
    assert one([big, -big], [big, big], unit) == 0
    late = UNITS["mi300.bf16.f32"]
    assert one([big, 1], [big / 2, 1], late) == 2.0**127
    assert np.isnan(one([big, -big], [big, big], late))  # a product of 2**128 is infinite


def test_signs_of_zero():
    assert np.copysign(1, one([-1, 1], [0.0, -0.0], A100, -0.0)) == 1
    assert np.copysign(1, one([-(2.0**-24)], [2.0**-24], UNITS["a100.f16.f16"])) == 1
    assert np.copysign(1, matmul(np.zeros((1, 0)), np.zeros((0, 1)), A100, c=np.full((1, 1), -0.0))[0, 0]) == -1


def test_what_is_tiny_after_rounding_is_flushed():
    # Just below 2**-126: on the subnormal grid both become it; with an unbounded exponent one of them does.
    unit = UNITS["amx.bf16.f32"]
    for sign in (1, -1):
        a = np.array([sign * 2.0**-126, 0, -sign * 2.0**-75])
        assert one(a, [1, 0, 2.0**-75], unit) == 0
        assert one(a, [1, 0, 2.0**-76], unit) == sign * 2.0**-126
        assert one(a, [1, 0, 2.0**-76 * 1.5], unit) == 0
        assert one(a, [1, 0, 2.0**-77], unit) == sign * 2.0**-126
        rng = np.random.default_rng(9)
        third = rng.integers(-255, 256, 400) * 2.0 ** rng.integers(-93, -82, 400)
        many = np.stack([np.full(400, float(sign)), np.zeros(400), third], axis=1)
        b = np.array([[2.0**-126], [0], [2.0**-66]])
        units.assert_same(matmul(many, b, unit), units.oracle(many, b, unit))


@pytest.mark.parametrize("name", ["a100.f16.f32", "h100.e5m2.f16", "mi300.bf16.f32", "amx.bf16.f32", "mi210.bf16.f32"])
def test_infinities_and_nan(name):
    unit, inf = UNITS[name], np.inf
    assert one([inf, 1], [2, 1], unit) == inf
    assert one([-inf, 1], [2, 1], unit, 5) == -inf
    assert np.isnan(one([inf, 1], [0, 1], unit))
    assert np.isnan(one([inf, inf], [1, -1], unit))
    assert np.isnan(one([inf], [1], unit, -inf))
    assert one([1], [1], unit, -inf) == -inf
    assert np.isnan(one([1], [np.nan], unit)) and np.isnan(one([1], [1], unit, np.nan))
    padded = [inf] + [1.0] * (3 * unit.L)
    assert one(padded, [1.0] * len(padded), unit) == inf


def test_scales():
    unit, rng = UNITS["b200.tcgen05.nvf4.f32"], np.random.default_rng(3)
    a, b = units.members(rng, unit.input, (3, 70), "codes"), units.members(rng, unit.input, (70, 4), "codes")
    sa, sb = np.full((3, 5), 1.75), np.full((5, 4), 0.5)
    assert np.array_equal(matmul(a, b, unit, scale_a=sa, scale_b=sb), (a @ b) * 0.875)
    sa[1, 2] = np.nan
    assert np.isnan(matmul(a, b, unit, scale_a=sa, scale_b=sb)).tolist() == [[False] * 4, [True] * 4, [False] * 4]
    wide = UNITS["b200.tcgen05.mxf8_e4m3.f32"]
    a, b = np.ones((1, 64)), np.ones((64, 1))
    scale = np.array([[1.0, 2.0**-60]])
    assert matmul(a, b, wide, scale_a=scale, scale_b=np.ones((2, 1)))[0, 0] == 32
    assert matmul(a, b, wide, scale_a=scale * 2.0**20, scale_b=np.ones((2, 1)))[0, 0] == 2.0**25


def test_an_infinite_scale():
    unit = MatrixUnit(catalog.E4M3, F32, 8, 20, scale=FloatFormat(5, 2), scale_block=8)
    a, b = np.array([[1.0, 3.0], [0.0, 1.0]]), np.ones((2, 1))
    scales = {"scale_a": np.array([[np.inf], [np.inf]]), "scale_b": np.ones((1, 1))}
    found = matmul(a, b, unit, **scales)
    units.assert_same(found, units.oracle(a, b, unit, **scales))
    assert found[0, 0] == np.inf and np.isnan(found[1, 0])


def test_scaled_products_are_normalised_with_their_scales():
    scale = UNITS["b200.tcgen05.nvf4.f32"].scale
    unit = MatrixUnit(catalog.E5M2, F32, 2, 2, scale=scale, scale_block=2, prodnorm=True)
    a, b, scales = np.array([[1.75, 1.0]]), np.array([[1.75], [0.25]]), {"scale_a": [[1.5]], "scale_b": [[1.5]]}
    found = matmul(a, b, unit, **scales)
    units.assert_same(found, units.oracle(a, b, unit, **scales))
    assert found[0, 0] == 6  # of 6.890625, whose leading bit is 4: cut to ones; and 0.5625


def test_an_infinity_has_the_signs_of_both_scales():
    unit = MatrixUnit(catalog.E5M2, F32, 4, 25, scale=FloatFormat(4, 3), scale_block=2)
    a = np.array([[np.inf, 1.0, 1.0, 2.0], [1.0, 1.0, 1.0, 2.0]])
    for left, right in ((-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)):
        scales = {"scale_a": np.array([[left, -0.5], [left, -0.5]]), "scale_b": np.array([[right], [1.5]])}
        found = matmul(a, np.ones((4, 1)), unit, **scales)
        assert found.tolist() == [[left * right * np.inf], [2 * left * right - 2.25]]
        units.assert_same(matmul(a, np.ones((4, 1)), unit, events=True, **scales)[0], found)


def test_what_scales_of_zero_make_of_infinities():
    scale = FloatFormat(4, 3)  # with a zero, infinities and NaN
    unit = MatrixUnit(catalog.E5M2, F32, 4, 25, scale=scale, scale_block=2)
    values, factors = (-np.inf, np.nan, -2.0, 0.0, np.inf), (0.0, 1.0, np.inf, np.nan)
    each = np.array(np.meshgrid(values, values, factors, factors)).reshape(4, -1)
    a, b = np.ones((each.shape[1], 1, 4)), np.ones((each.shape[1], 4, 1))
    scales = {"scale_a": np.ones((len(a), 1, 2)), "scale_b": np.ones((len(a), 2, 1))}
    a[:, 0, 2], b[:, 2, 0], scales["scale_a"][:, 0, 1], scales["scale_b"][:, 1, 0] = each
    found = matmul(a, b, unit, **scales)
    units.assert_same(found, units.oracle(a, b, unit, **scales))
    units.assert_same(matmul(a, b, unit, events=True, **scales)[0], found)
    assert np.isnan(found[(each == [[-2.0], [np.inf], [0.0], [1.0]]).all(axis=0)])  # (-2 * 0) * infinity


def test_chunks_are_promoted():
    unit = replace(UNITS["h100.wgmma.e4m3.f32"], chunk=128, outer=PROMOTE)
    rng = np.random.default_rng(4)
    a = units.members(rng, unit.input, (5, 300), "near").astype(np.float32)
    b = units.members(rng, unit.input, (300, 40), "near").astype(np.float32)
    c = rng.standard_normal((5, 40)).astype(np.float32)
    wanted = c
    for k in range(0, 300, 128):
        wanted = wanted + matmul(a[:, k : k + 128], b[k : k + 128], unit.without_chunk)
    units.assert_same(matmul(a, b, unit, c=c), wanted)
    units.assert_same(matmul(a[:2, :140], b[:140, :3], unit), units.oracle(a[:2, :140], b[:140, :3], unit))
    odd = replace(UNITS["h100.e4m3.f32"], chunk=41, outer=Accumulator(BF16, Rounding.RTZ))
    units.assert_same(matmul(a[:2], b[:, :3], odd), units.oracle(a[:2], b[:, :3], odd))
    assert matmul(a[:, :0], b[:0], odd, c=np.full((5, 40), 1 + 2.0**-20))[0, 0] == 1


@pytest.mark.parametrize("name", ["a100.f16.f32", "h100.e4m3.f16", "mi300.e4m3fnuz.f32", "mi210.f16.f32"])
def test_layout_batches_and_threads(name, on_threads):
    unit, rng = UNITS[name], np.random.default_rng(5)
    a = units.members(rng, unit.input, (2, 3, 40, 50), "near").astype(np.float32)
    b = units.members(rng, unit.input, (3, 50, 33), "near").astype(np.float32)
    found = matmul(a, b, unit)
    for i in range(2):
        for j in range(3):
            units.assert_same(
                found[i, j], matmul(np.asfortranarray(a[i, j]), b[j].astype(np.float64), unit).astype("f4")
            )
    for threads in (1, 3):
        on_threads(threads)
        units.assert_same(matmul(a, b, unit), found)
    units.assert_same(matmul(a[:1, 1:2], b[1], unit), found[:1, 1:2])


def test_operands_stay_as_they_were():
    for unit in (UNITS["mi210.bf16.f32"], replace(UNITS["a100.tf32.f32"], tf32_trunc=True), A100):
        a = np.full((2, 4), 1.0, np.float32)
        a[0, 0] = 2.0**-130 if unit is not A100 else 0.5
        kept, c = a.copy(), np.full((2, 2), 0.5, np.float32)
        matmul(a, a.T, unit, c=c)
        assert np.array_equal(a, kept) and (c == 0.5).all()


def test_truncation_of_binary32_operands():
    unit = replace(UNITS["a100.tf32.f32"], tf32_trunc=True)
    x = np.random.default_rng(6).standard_normal((3, 9)).astype(np.float32)
    bits = (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    units.assert_same(matmul(x, x.T, unit), matmul(bits, bits.T, UNITS["a100.tf32.f32"]))
    units.assert_same(matmul(x, x.T, unit), units.oracle(x, x.T, unit))


def test_two_kinds_of_operands():
    unit = replace(H100, input=catalog.E5M2, input_b=catalog.E4M3)
    rng = np.random.default_rng(8)
    a, b = units.members(rng, catalog.E5M2, (3, 40), "codes"), units.members(rng, catalog.E4M3, (40, 3), "codes")
    units.assert_same(matmul(a, b, unit), units.oracle(a, b, unit))


def test_empty_products():
    for name, unit in UNITS.items():
        if unit.scale is None:
            empty = np.zeros((2, 0))
            assert (matmul(empty, empty.T, unit) == 0).all(), name
            assert matmul(np.zeros((0, 3)), np.zeros((3, 2)), unit).shape == (0, 2)
            assert matmul(empty, empty.T, unit, c=np.full((2, 2), 0.5))[0, 0] == 0.5
    narrow = UNITS["ada.e4m3.f32"]
    assert matmul(np.zeros((1, 0)), np.zeros((0, 1)), narrow, c=np.full((1, 1), -1 - 2.0**-20))[0, 0] == -1
    small = MatrixUnit(F16, FloatFormat(5, 4), 8, 24, c_format=F32)
    c = np.array([[65504.0, 1e9, -1e9, 63488.0]])
    want = [[63488.0, np.inf, -np.inf, 63488.0]]
    assert np.array_equal(matmul(np.zeros((1, 0)), np.zeros((0, 4)), small, c=c), want)
    assert np.array_equal(matmul(np.zeros((1, 1)), np.zeros((1, 4)), small, c=c), want)
