"""Which kernel a product gets, the conditions at their edges, and the sentence that says why."""

import numpy as np
import pytest

from numerics import (
    Accumulator,
    FloatFormat,
    Overflow,
    Plan,
    Quantizer,
    Rounding,
    Subnormals,
    catalog,
    parse_format,
    planning,
)
from numerics.kernels import modes
from numerics.parameters import FLOAT32, FLOAT64
from numerics.problem import Facts, Problem, facts
from tests.numerics import grids

R = Rounding
LBA = Accumulator(
    parse_format("lba_m7e4_b10_paper"),
    R.RTZ,
    product=Quantizer(parse_format("lba_m7e4_b12_paper"), R.RTZ),
    chunk=4,
)
DEPTH = 100


def bounds(significant_bits, lowest, highest):
    """Facts of an operand whose largest element nearly reaches the next power of two."""
    return Facts(significant_bits, lowest, highest, 2.0**highest * (2 - 2.0**-20))


FP8 = bounds(4, -9, 8)  # E4M3: 4 significant bits, lowest bit 2**-9, largest below 2**9


def stepping(acc, a, b, c=None, depth=DEPTH):
    """The plans that take every step, the fastest first."""
    problem = Problem(np.empty((1, 1, depth)), np.empty((1, depth, 1)), None, (a, b, c), None)
    return [plan for plan in planning.plans(problem, acc) if plan.mode != modes.NO_ROUNDING]


def choose(acc, a, b, c=None, depth=DEPTH):
    return stepping(acc, a, b, c, depth)[0]


def test_facts_of_arrays():
    for dtype in (np.float32, np.float64):
        assert facts(np.array([[1.0, 0.0], [-448.0, 2.0**-9]], dtype), "x") == Facts(3, -9, 8, 448.0)
        assert facts(np.array([1.0, 2.0, -0.5], dtype), "x") == Facts(1, -1, 1, 2.0)
        assert facts(np.array([1 + 2.0**-20], dtype), "x") == Facts(21, -20, 0, 1 + 2.0**-20)
        assert facts(np.zeros((2, 0), dtype), "x") == Facts(1, 0, 0)
        assert facts(np.array([0.0, -0.0], dtype), "x") == Facts(1, 0, 0, 0.0, True)
        assert facts(np.array([-1.0, -0.0], dtype), "x").minus
        top, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
        carrier = FLOAT32 if dtype is np.float32 else FLOAT64
        assert facts(np.array([top]), "x").highest == carrier.emax
        assert facts(np.array([tiny]), "x").lowest == carrier.quantum_exponent
        assert facts(np.array([top, tiny]), "x") == Facts(
            carrier.precision, carrier.quantum_exponent, carrier.emax, float(top)
        )


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
        lowest_of_all = 1 << 20
        for v in x[x != 0].tolist():
            numerator, denominator = v.as_integer_ratio()
            odd = abs(numerator) // (abs(numerator) & -abs(numerator))
            lowest = (abs(numerator) & -abs(numerator)).bit_length() - denominator.bit_length()
            assert found.significant_bits >= odd.bit_length()
            lowest_of_all = min(lowest_of_all, lowest)
            assert found.highest >= np.frexp(v)[1] - 1
        assert found.lowest == lowest_of_all or not x.any()
        assert found.largest == np.abs(x).max()
        assert found.minus == bool((np.signbit(x) & (x == 0)).any())


def test_facts_do_not_depend_on_the_layout():
    x = np.random.default_rng(1).standard_normal((4, 5, 6)).astype(np.float32)
    for view in (x.T, x[::-1], x[:, ::2], np.broadcast_to(x[0, 0], (3, 6)), np.asfortranarray(x)):
        assert facts(view, "x") == facts(np.ascontiguousarray(view), "x")


SIGNED, ONCE, UNIFORM = modes.SIGNED, modes.ONCE, modes.UNIFORM
FORMS = [
    (Accumulator(catalog.E4M3), FLOAT32, SIGNED),
    (Accumulator(catalog.E4M3, R.RTZ), FLOAT32, modes.MAGIC + SIGNED),
    (Accumulator(catalog.E4M3, R.RNE, Overflow.IEEE), FLOAT32, 0),
    (Accumulator(catalog.E4M3FNUZ), FLOAT32, 0),
    (Accumulator(catalog.BINARY16), FLOAT32, SIGNED + UNIFORM + ONCE),  # 8 bits of products, 11 of sums: 24 >= 23
    (Accumulator(catalog.BINARY16, R.RTP), FLOAT32, UNIFORM),  # sums are multiples of its quantum
    (Accumulator(catalog.BFLOAT16), FLOAT32, UNIFORM + ONCE),
    (Accumulator(grids.KINDS["flush"]), FLOAT32, modes.UNIFORM),
    (Accumulator(parse_format("lba_m7e4_b10"), R.RTZ), FLOAT32, UNIFORM + SIGNED),
    (Accumulator(grids.KINDS["no_mantissa"]), FLOAT32, 0),
    (Accumulator(FloatFormat(8, 19, 130)), FLOAT32, 0),
    (Accumulator(FloatFormat(7, 21)), FLOAT32, SIGNED + UNIFORM),
    (Accumulator(FloatFormat(7, 22)), FLOAT64, SIGNED + UNIFORM),
    (Accumulator(catalog.BINARY32, R.RTZ, Overflow.IEEE), FLOAT64, UNIFORM + SIGNED),
    (Accumulator(FloatFormat(8, 50)), FLOAT64, SIGNED + UNIFORM),
    (Accumulator(catalog.BINARY16, R.SR, random_bits=12), FLOAT32, UNIFORM),
]


@pytest.mark.parametrize(("acc", "carrier", "form"), FORMS, ids=lambda value: str(getattr(value, "format", "")))
def test_the_carrier_and_the_form_of_a_plan(acc, carrier, form):
    plan = choose(acc, FP8, FP8, None)
    assert plan.carrier == carrier
    assert plan.mode & modes.MODE_MASK == acc.rounding
    assert plan.mode & ~modes.MODE_MASK in (form, form | ONCE * plan.exact)
    assert plan.product_mode == plan.outer_mode == modes.NO_ROUNDING
    assert carrier.name in plan.reason


def test_native_plans():
    for overflow in (Overflow.SATURATE, Overflow.IEEE, Overflow.ERROR):
        plan = choose(
            Accumulator(catalog.BINARY32, R.RNE, overflow), bounds(24, -149, 127), bounds(24, -149, 127), None
        )
        assert plan.carrier == FLOAT32
        assert plan.mode < modes.NO_ROUNDING
        assert "fused step" in plan.reason
    assert choose(Accumulator(catalog.BINARY32, R.RNE, Overflow.PROPAGATE), FP8, FP8, None).carrier == FLOAT64
    assert choose(Accumulator(catalog.BINARY32), bounds(25, -60, 60), FP8, None).carrier == FLOAT64
    no_minus_zero = FloatFormat(8, 23, 127, infinities=False, nan=grids.NEGATIVE_ZERO)
    assert choose(Accumulator(no_minus_zero), FP8, FP8, None).mode >= 0


def test_parts_of_a_plan():
    plan = choose(LBA, FP8, FP8, None)
    truncating = modes.RTZ + modes.UNIFORM + SIGNED
    assert (plan.mode, plan.product_mode, plan.outer_mode) == (truncating,) * 3
    strict = Accumulator(catalog.E4M3, product=Quantizer(catalog.E5M2, overflow=Overflow.ERROR), chunk=2)
    plan = choose(strict, FP8, FP8, None)
    parts = (plan.mode, plan.product_mode, plan.outer_mode)
    assert [part & (modes.MODE_MASK | modes.UNIFORM | modes.MAGIC) for part in parts] == [modes.RNE] * 3


def carrier_for(a, b, c=None, acc=Accumulator(catalog.E4M3)):  # noqa: B008
    return choose(acc, a, b, c).carrier


def test_conditions_at_their_edges():
    # Significant bits of a product: 24 fit float32, 25 do not.
    assert carrier_for(bounds(12, -11, 0), bounds(12, -11, 0)) == FLOAT32
    assert carrier_for(bounds(13, -12, 0), bounds(12, -11, 0)) == FLOAT64
    assert carrier_for(bounds(24, -23, 0), bounds(1, 3, 3)) == FLOAT32
    assert carrier_for(bounds(24, -23, 0), bounds(2, 3, 4)) == FLOAT64
    # Its lowest bit: 2**-149 fits.
    assert carrier_for(bounds(1, -75, 0), bounds(1, -74, 0)) == FLOAT32
    assert carrier_for(bounds(1, -75, 0), bounds(1, -75, 0)) == FLOAT64
    # Its size: below 2**127 leaves room for a sum.
    assert carrier_for(bounds(1, 0, 63), bounds(1, 0, 62)) == FLOAT32
    assert carrier_for(bounds(1, 0, 63), bounds(1, 0, 63)) == FLOAT64
    # A start value with more bits than float32 has, or beyond its range.
    assert carrier_for(FP8, FP8, bounds(24, -149, 127)) == FLOAT32
    assert carrier_for(FP8, FP8, bounds(25, -30, 0)) == FLOAT64
    assert carrier_for(FP8, FP8, bounds(1, -150, 0)) == FLOAT64
    assert carrier_for(FP8, FP8, bounds(1, 128, 128)) == FLOAT64
    # Precision: 22 of 24 bits, 51 of 53.
    assert carrier_for(FP8, FP8, None, Accumulator(FloatFormat(6, 21))) == FLOAT32
    assert carrier_for(FP8, FP8, None, Accumulator(FloatFormat(6, 22))) == FLOAT64
    wide = bounds(26, -60, 10)
    assert isinstance(choose(Accumulator(FloatFormat(6, 50)), wide, wide, None), Plan)
    with pytest.raises(ValueError, match="52 bits of precision: rounding is exact for up to 51 in float64"):
        choose(Accumulator(FloatFormat(6, 51)), wide, wide, None)
    # Random bits: p + r + 1 of the carrier, one more for SR_B and SR_C.
    for mode, more in ((R.SR, 1), (R.SR_B, 2), (R.SR_C, 2)):
        fits, much = (Accumulator(catalog.BINARY16, mode, random_bits=24 - 11 - more + i) for i in (0, 1))
        assert choose(fits, wide._replace(significant_bits=8), wide._replace(significant_bits=8)).carrier == FLOAT32
        assert choose(much, wide._replace(significant_bits=8), wide._replace(significant_bits=8)).carrier == FLOAT64
        with pytest.raises(ValueError, match=f"p = 41 .* r = 32 .* {mode.name} is exact for p [+] r <= {53 - more}"):
            choose(Accumulator(FloatFormat(8, 40), mode), wide, wide)


def test_the_top_of_the_carrier():
    directed = Accumulator(catalog.E5M2, R.RTZ, Overflow.IEEE)
    # float32's largest values plus something too small to carry: safe; plus more: not.
    assert choose(directed, FP8, FP8, bounds(24, 104, 127)).carrier == FLOAT32
    large = bounds(1, 60, 60)
    assert choose(directed, large, large, bounds(24, 104, 127)).carrier == FLOAT64
    assert choose(directed, large, large, bounds(24, 103, 126)).carrier == FLOAT32
    assert choose(Accumulator(catalog.E5M2, R.RTZ), large, large, bounds(24, 104, 127)).carrier == FLOAT32
    assert choose(Accumulator(catalog.E5M2, R.RNE, Overflow.IEEE), large, large, bounds(1, 127, 127)).carrier == FLOAT32


def test_fast_forms_where_no_sum_can_overflow():
    small = bounds(4, -3, 0)  # a hundred products below 4
    for rule in (Overflow.IEEE, Overflow.PROPAGATE, Overflow.ERROR):
        for acc, fast in (
            (Accumulator(catalog.BINARY16, R.RNE, rule), True),
            (Accumulator(FloatFormat(4, 10), R.RNE, rule), False),  # up to 255, which a hundred products may pass
            (Accumulator(catalog.BINARY16, R.RNE, rule, order="kahan"), False),
            (Accumulator(catalog.BINARY16, R.RNE, rule, product=Quantizer(FloatFormat(2, 3), overflow=rule)), False),
            (Accumulator(FloatFormat(4, 10), R.RNE, rule, chunk=10, outer=Accumulator(catalog.BINARY16)), True),
            (
                Accumulator(
                    catalog.BINARY16, R.RNE, rule, chunk=10, outer=Accumulator(FloatFormat(4, 10), R.RNE, rule)
                ),
                False,
            ),
        ):
            assert bool(choose(acc, small, small).mode & (SIGNED | UNIFORM)) == fast


def test_one_rounding_in_the_carrier_is_harmless_at_its_edges():
    def once(acc, a, b, c=None):
        plan = choose(acc, a, b, c)
        return plan.carrier is FLOAT32 and bool(plan.mode & ONCE) and not plan.exact

    far = bounds(8, -60, 20)  # so far apart that no sum is exact
    eleven, twelve = FloatFormat(8, 10), FloatFormat(8, 11)
    assert once(Accumulator(eleven), far, bounds(3, -20, 10))
    assert not once(Accumulator(twelve), far, bounds(3, -20, 10))  # 24 < 2 * 12 + 1
    assert not once(Accumulator(eleven), far, bounds(4, -20, 10))  # products of 12 bits
    assert not once(Accumulator(eleven, R.RNA), far, bounds(3, -20, 10))
    assert once(Accumulator(eleven), far, bounds(3, -20, 10), bounds(11, -60, 20))
    assert not once(Accumulator(eleven), far, bounds(3, -20, 10), bounds(12, -60, 20))
    assert not once(Accumulator(eleven, order="kahan"), far, bounds(3, -20, 10))
    for product, kept in (
        (FloatFormat(8, 11), True),
        (FloatFormat(5, 11), False),  # the largest value has 12 bits
        (FloatFormat(5, 10), True),
        (FloatFormat(8, 11, subnormals=Subnormals.NORMAL_BINADE), False),  # the smallest has
    ):
        assert once(Accumulator(eleven, product=Quantizer(product)), far, bounds(3, -20, 10)) == kept


def test_sums_that_the_carrier_holds_are_rounded_once_in_every_mode():
    small = bounds(4, -3, 0)
    for mode in (R.RTZ, R.RTN, R.RTO, R.SR):
        plan = choose(Accumulator(catalog.E4M3, mode), small, small)
        assert plan.exact
        assert plan.mode & ONCE
        assert "sums are exact in float32" in plan.reason


def test_blas_where_nothing_is_rounded():
    integers = bounds(3, 0, 2)  # below 8: a hundred products of less than 64
    problem = Problem(np.empty((1, 1, DEPTH)), np.empty((1, DEPTH, 1)), None, (integers, integers, None), None)
    found = planning.plans(problem, Accumulator(FloatFormat(6, 12)))
    assert [plan.kernel for plan in found][:2] == ["sgemm", "dgemm"]
    assert "nothing is rounded" in found[0].reason
    for acc in (
        Accumulator(FloatFormat(6, 11)),  # 2**12 < 6400
        Accumulator(FloatFormat(4, 12)),  # 6400 > 255
        Accumulator(FloatFormat(6, 12), R.RTN),  # -0
        Accumulator(FloatFormat(6, 12), order="pairwise"),
        Accumulator(FloatFormat(6, 12, subnormals=grids.KINDS["flush"].subnormals, bias=-2)),
        Accumulator(FloatFormat(6, 12), product=Quantizer(catalog.E4M3)),
        Accumulator(FloatFormat(6, 12), chunk=10, outer=Accumulator(catalog.E4M3)),
    ):
        assert not {"sgemm", "dgemm"} & {plan.kernel for plan in planning.plans(problem, acc)}
    with_minus = problem._replace(facts=(integers, integers, integers._replace(minus=True)))
    assert not {"sgemm", "dgemm"} & {p.kernel for p in planning.plans(with_minus, Accumulator(FloatFormat(6, 12)))}
