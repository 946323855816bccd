"""Which kernel a product gets, the conditions at their edges, and that every plan gives the same bits."""

import numpy as np
import pytest

from numerics import Accumulator, FloatFormat, Overflow, Quantizer, Rounding, catalog, parse_format
from numerics.kernels import modes
from numerics.parameters import FLOAT32, FLOAT64
from numerics.plan import Facts, Plan, _plan_in, choose, facts
from numerics.products import launch
from tests.numerics import grids

R = Rounding
LBA = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    R.RTZ,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), R.RTZ),
    chunk=4,
)
FP8 = Facts(4, -9, 8)  # E4M3: 4 significant bits, lowest bit 2**-9, largest below 2**9


def test_facts_of_arrays():
    for dtype in (np.float32, np.float64):
        assert facts(np.array([[1.0, 0.0], [-448.0, 2.0**-9]], dtype), "x") == Facts(3, -11, 8)
        assert facts(np.array([1.0, 2.0, -0.5], dtype), "x") == Facts(1, -1, 1)
        assert facts(np.array([1 + 2.0**-20], dtype), "x") == Facts(21, -20, 0)
        assert facts(np.zeros((2, 0), dtype), "x") == facts(np.array([0.0, -0.0], dtype), "x") == Facts(1, 0, 0)
        top, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
        carrier = FLOAT32 if dtype is np.float32 else FLOAT64
        assert facts(np.array([top]), "x").highest == carrier.emax
        assert facts(np.array([tiny]), "x").lowest == carrier.quantum_exponent
        assert facts(np.array([top, tiny]), "x") == Facts(carrier.precision, carrier.quantum_exponent, carrier.emax)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_facts_are_bounds(dtype):
    rng = np.random.default_rng(0)
    for _ in range(200):
        kept = int(rng.integers(1, np.finfo(dtype).nmant + 2))
        low, high = sorted(rng.integers(np.finfo(dtype).minexp - 20, np.finfo(dtype).maxexp - 2, 2))
        x = np.ldexp(np.round(rng.uniform(1, 2, 5) * 2.0 ** (kept - 1)), rng.integers(low, high + 1, 5) - kept + 1)
        with np.errstate(under="ignore"):
            x = (x * rng.choice([1, -1, 0], 5, p=[0.5, 0.4, 0.1])).astype(dtype)
        found = facts(x.reshape(5, 1), "x")
        for v in x[x != 0].tolist():
            numerator, denominator = v.as_integer_ratio()
            odd = abs(numerator) // (abs(numerator) & -abs(numerator))
            lowest = (abs(numerator) & -abs(numerator)).bit_length() - denominator.bit_length()
            assert found.significant_bits >= odd.bit_length()
            assert found.lowest <= lowest
            assert found.highest >= np.frexp(v)[1] - 1


def test_facts_do_not_depend_on_the_layout():
    x = np.random.default_rng(1).standard_normal((4, 5, 6)).astype(np.float32)
    for view in (x.T, x[::-1], x[:, ::2], np.broadcast_to(x[0, 0], (3, 6)), np.asfortranarray(x)):
        assert facts(view, "x") == facts(np.ascontiguousarray(view), "x")


FORMS = [
    (Accumulator(catalog.E4M3), FLOAT32, modes.MAGIC),
    (Accumulator(catalog.E4M3, R.RNE, Overflow.IEEE), FLOAT32, 0),
    (Accumulator(catalog.E4M3FNUZ), FLOAT32, 0),
    (Accumulator(catalog.BFLOAT16), FLOAT32, 0),
    (Accumulator(grids.KINDS["flush"]), FLOAT32, modes.UNIFORM),
    (Accumulator(parse_format("lba_m7e4_b10"), R.RTZ), FLOAT32, modes.UNIFORM),
    (Accumulator(grids.KINDS["no_mantissa"]), FLOAT32, 0),
    (Accumulator(FloatFormat(8, 19, 130)), FLOAT32, 0),
    (Accumulator(FloatFormat(7, 21)), FLOAT32, modes.MAGIC),
    (Accumulator(FloatFormat(7, 22)), FLOAT64, modes.MAGIC),
    (Accumulator(catalog.BINARY32, R.RTZ, Overflow.IEEE), FLOAT64, 0),
    (Accumulator(FloatFormat(8, 50)), FLOAT64, modes.MAGIC),
]


@pytest.mark.parametrize(("acc", "carrier", "form"), FORMS, ids=lambda value: str(getattr(value, "format", "")))
def test_the_carrier_and_the_form_of_a_plan(acc, carrier, form):
    plan = choose(acc, FP8, FP8, None)
    assert plan.carrier == carrier
    assert plan.mode & modes.MODE_MASK == acc.rounding
    assert plan.mode & (modes.UNIFORM | modes.MAGIC) == form
    assert plan.product_mode == plan.outer_mode == modes.NO_ROUNDING
    assert carrier.name in plan.reason


def test_native_plans():
    for overflow in (Overflow.SATURATE, Overflow.IEEE, Overflow.ERROR):
        plan = choose(Accumulator(catalog.BINARY32, R.RNE, overflow), Facts(24, -149, 127), Facts(24, -149, 127), None)
        assert plan.carrier == FLOAT32
        assert plan.mode < modes.NO_ROUNDING
        assert "fused step" in plan.reason
    assert choose(Accumulator(catalog.BINARY32, R.RNE, Overflow.PROPAGATE), FP8, FP8, None).carrier == FLOAT64
    assert choose(Accumulator(catalog.BINARY32), Facts(25, -60, 60), FP8, None).carrier == FLOAT64
    no_minus_zero = FloatFormat(8, 23, 127, infinities=False, nan=grids.NEGATIVE_ZERO)
    assert choose(Accumulator(no_minus_zero), FP8, FP8, None).mode >= 0


def test_parts_of_a_plan():
    plan = choose(LBA, FP8, FP8, None)
    truncating = modes.RTZ + modes.UNIFORM
    assert (plan.mode, plan.product_mode, plan.outer_mode) == (truncating,) * 3
    strict = Accumulator(catalog.E4M3, product=Quantizer(catalog.E5M2, overflow=Overflow.ERROR), chunk=2)
    plan = choose(strict, FP8, FP8, None)
    parts = (plan.mode, plan.product_mode, plan.outer_mode)
    assert [part & (modes.MODE_MASK | modes.UNIFORM | modes.MAGIC) for part in parts] == [modes.RNE] * 3


def carrier_for(a, b, c=None, acc=Accumulator(catalog.E4M3)):  # noqa: B008
    return choose(acc, a, b, c).carrier


def test_conditions_at_their_edges():
    # Significant bits of a product: 24 fit float32, 25 do not.
    assert carrier_for(Facts(12, -11, 0), Facts(12, -11, 0)) == FLOAT32
    assert carrier_for(Facts(13, -12, 0), Facts(12, -11, 0)) == FLOAT64
    assert carrier_for(Facts(24, -23, 0), Facts(1, 3, 3)) == FLOAT32
    assert carrier_for(Facts(24, -23, 0), Facts(2, 3, 4)) == FLOAT64
    # Its lowest bit: 2**-149 fits.
    assert carrier_for(Facts(1, -75, 0), Facts(1, -74, 0)) == FLOAT32
    assert carrier_for(Facts(1, -75, 0), Facts(1, -75, 0)) == FLOAT64
    # Its size: below 2**127 leaves room for a sum.
    assert carrier_for(Facts(1, 0, 63), Facts(1, 0, 62)) == FLOAT32
    assert carrier_for(Facts(1, 0, 63), Facts(1, 0, 63)) == FLOAT64
    # A start value with more bits than float32 has, or beyond its range.
    assert carrier_for(FP8, FP8, Facts(24, -149, 127)) == FLOAT32
    assert carrier_for(FP8, FP8, Facts(25, -30, 0)) == FLOAT64
    assert carrier_for(FP8, FP8, Facts(1, -150, 0)) == FLOAT64
    assert carrier_for(FP8, FP8, Facts(1, 128, 128)) == FLOAT64
    # Precision: 22 of 24 bits, 51 of 53.
    assert carrier_for(FP8, FP8, None, Accumulator(FloatFormat(6, 21))) == FLOAT32
    assert carrier_for(FP8, FP8, None, Accumulator(FloatFormat(6, 22))) == FLOAT64
    assert isinstance(choose(Accumulator(FloatFormat(6, 50)), FP8, FP8, None), Plan)
    with pytest.raises(ValueError, match="52 bits of precision: rounding is exact for up to 51 in float64"):
        choose(Accumulator(FloatFormat(6, 51)), FP8, FP8, None)


def test_the_top_of_the_carrier():
    directed = Accumulator(catalog.E5M2, R.RTZ, Overflow.IEEE)
    # float32's largest values plus something too small to carry: safe; plus more: not.
    assert choose(directed, FP8, FP8, Facts(24, 104, 127)).carrier == FLOAT32
    large = Facts(1, 60, 60)
    assert choose(directed, large, large, Facts(24, 104, 127)).carrier == FLOAT64
    assert choose(directed, large, large, Facts(24, 103, 126)).carrier == FLOAT32
    assert choose(Accumulator(catalog.E5M2, R.RTZ), large, large, Facts(24, 104, 127)).carrier == FLOAT32
    assert choose(Accumulator(catalog.E5M2, R.RNE, Overflow.IEEE), large, large, Facts(1, 127, 127)).carrier == FLOAT32


SAME = [
    Accumulator(catalog.E4M3),
    Accumulator(FloatFormat(5, 10)),
    Accumulator(grids.KINDS["flush"]),
    LBA,
]


@pytest.mark.parametrize("acc", SAME, ids=lambda acc: f"{acc.format}-{acc.rounding.name}")
def test_fast_general_and_float64_plans_give_the_same_bits(acc):
    rng = np.random.default_rng(2)
    a = Quantizer(catalog.E4M3).quantize(rng.standard_normal((1, 20, 37)) * np.exp2(rng.integers(-6, 5, (1, 20, 37))))
    b = Quantizer(catalog.E5M2).quantize(rng.standard_normal((1, 37, 300)) * np.exp2(rng.integers(-8, 5, (1, 1, 300))))
    fast = choose(acc, facts(a, "a"), facts(b, "b"), None)
    assert fast.mode >= modes.UNIFORM
    general = fast._replace(
        mode=fast.mode & modes.MODE_MASK,
        product_mode=fast.product_mode & modes.MODE_MASK if fast.product_mode >= 0 else fast.product_mode,
        outer_mode=fast.outer_mode & modes.MODE_MASK if fast.outer_mode >= 0 else fast.outer_mode,
    )
    wide = _plan_in(FLOAT64, acc, facts(a, "a"), facts(b, "b"), None)
    assert wide.carrier == FLOAT64
    results = []
    for plan in (fast, general, wide):
        dtype = plan.carrier.dtype
        total = np.zeros((1, 20, 300), dtype)
        launch(plan, acc, a.astype(dtype), b.astype(dtype), total)
        results.append(total.astype(np.float64))
    grids.assert_same_bits(results[1], results[0])
    grids.assert_same_bits(results[2], results[0])
    assert len(np.unique(results[0])) > 20
