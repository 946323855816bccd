"""Binary nets: signs, their mask, powers of two, the state of AdaMax, products, and how wide their sums are."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from numerics import binary, luq, tempered

from ..published import Law, Variant

Array = Any
FLOATS = st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=6).map(lambda v: np.array(v, np.float32))
SIZES = st.floats(2.0**-60, 2.0**60, width=32)
BELOW = np.float32(2**0.5)  # sqrt(2) lies between it and the next
ABOVE = np.nextafter(BELOW, np.float32(2))


def _signs(fn: Any, x: Array) -> None:
    found = fn(x)
    assert set(found.tolist()) <= {1.0, -1.0}, (x, found)
    assert (found == np.where(x >= 0, 1, -1)).all(), (x, found)


def _mask(fn: Any, x: Array) -> None:
    assert (fn(x) == (np.abs(x) <= 1)).all()


def _geometric(fn: Any, size: float) -> None:
    """The square of the power is within a factor of 2 of that of the number: sqrt(2) parts neighbours."""
    power, exact = Fraction(float(fn(np.float32([size]))[0])), Fraction(size)
    assert power**2 <= 2 * exact**2 and exact**2 <= 2 * power**2, (size, power)


def _linear(fn: Any, size: float) -> None:
    power, exact = Fraction(float(fn(np.float32([size]))[0])), Fraction(size)
    assert all(abs(exact - power) <= abs(exact - other) for other in (power / 2, power * 2)), (size, power)


def _decays(fn: Any, case: tuple[float, int]) -> None:
    """A magnitude of the state without a gradient: beta2**steps of it is left, to the roundings of float64."""
    start, steps = case
    left = Fraction(fn(start, steps)) / Fraction(start)
    assert abs(left / (1 - Fraction(1, 1 << 10)) ** steps - 1) <= Fraction(steps, 1 << 50), (case, float(left))


def _state(store: str) -> Any:
    def magnitude(start: float, steps: int) -> float:
        theta, state = np.zeros(1), binary.AdaMaxState(np.zeros(1), np.array([start]), 0)
        for _ in range(steps):
            theta, state = binary.shift_adamax(theta, np.zeros(1), state, store=store)
        return float(state.v[0])

    return magnitude


def _product(fn: Any, case: tuple[int, int]) -> None:
    """x real [3, K], w of signs [K, 2]: the integers that sign(x) @ w is."""
    length, seed = case
    generator = np.random.default_rng(seed)
    x, w = generator.standard_normal((3, length)), generator.choice(np.array([-1.0, 1.0]), (length, 2))
    assert np.array_equal(fn(x, w), np.where(x >= 0, 1, -1) @ w.astype(int)), case


def _padding_counted(x: Array, w: Array) -> Array:
    """All bits of 64-bit words are compared, those that no operand has among them."""
    spare = -x.shape[1] % 64
    return binary.xnor_matmul(binary.sign(x), w) + (2 * spare if spare else 0)


def _first_layer(x: Array, w: Array) -> Array:
    return x @ w if x.shape[1] == 784 else binary.sign(x) @ w


def _wide_enough(fn: Any, case: tuple[int, int]) -> None:
    """Two's complement of so many bits holds gamma (W h) + b, |b| <= bias, at both ends."""
    inputs, bias = case
    reach = inputs + bias
    assert -(1 << (fn(inputs, bias) - 1)) <= -reach and reach < 1 << (fn(inputs, bias) - 1), case


SIGN = Law("sign", _signs, FLOATS, binary.sign, (np.array([0.0, -0.0, 1.0, -1.0], np.float32),))
MASK = Law("mask of the straight-through gradient", _mask, FLOATS, binary.ste_mask, (np.float32([1, 1.5, -1, -3]),))
AP2 = Law("AP2", _geometric, SIZES, binary.ap2, (float(BELOW), float(ABOVE), 1.45, float(ABOVE) * 2.0**20))
RDNP = Law("nearest power", _linear, SIZES, luq.rdnp, (1.45, 1.25, 1.499, 1.0))
STATE = Law(
    "decay of AdaMax's state",
    _decays,
    st.tuples(st.floats(0.5, 8), st.integers(1, 20)),
    _state("exact"),
    ((4.0, 1000),),
)
PRODUCT = Law(
    "XNOR product",
    _product,
    st.tuples(st.sampled_from([1, 3, 31, 32, 64, 65, 128, 130, 784]), st.integers(0, 99)),
    lambda x, w: binary.xnor_matmul(binary.sign(x), w),
    ((784, 0), (63, 1)),
)
WIDTH = Law(
    "width of a neuron's sum",
    _wide_enough,
    st.tuples(st.integers(0, 300), st.integers(0, 300)),
    tempered.accumulator_width,
    ((1, 1),),
)
LAWS = (SIGN, MASK, AP2, RDNP, STATE, PRODUCT, WIDTH)
VARIANTS = (
    Variant("three_signs", "BinaryNet.pytorch: tensor.sign(), which is 0 at 0, a third value", SIGN, np.sign),
    Variant(
        "sign_of_minus_zero",
        "of a kind: the sign bit for the sign: -0.0 becomes -1, where the packing's x >= 0 has +1",
        SIGN,
        lambda x: np.copysign(np.float32(1), x),
    ),
    Variant(
        "identity_for_the_mask",
        "BinaryNet.pytorch: the gradient passes everywhere, and relies on another layer to stop it",
        MASK,
        lambda x: np.ones(x.shape, bool),
    ),
    Variant("ap2_in_linear_distance", "of a kind: the nearest power, which parts at 1.5, for AP2", AP2, luq.rdnp),
    Variant(
        "ap2_by_a_float32_logarithm",
        "of a kind: 2**round(log2|x|) in float32: next to sqrt(2) 2**20 the logarithm is 20.5",
        AP2,
        lambda x: np.copysign(np.exp2(np.rint(np.log2(np.abs(x)))), x),
    ),
    Variant(
        "rdnp_at_the_square_root", "of a kind: AP2, which parts at sqrt(2), for the nearest power", RDNP, binary.ap2
    ),
    Variant(
        "rdnp_with_the_printed_midpoint",
        "LUQ, arXiv 2112.10769: the midpoint of 2**(n-1) and 2**n is printed as 3/4 2**(n-1), below both",
        RDNP,
        lambda x: np.exp2(np.floor(np.log2(x)) + 1),
    ),
    Variant(
        "power_written_back",
        "BinaryNet, Torch7 code: AP2(v) is the new state, and a power of two never decays",
        STATE,
        _state("ap2"),
    ),
    Variant(
        "padding_counted", "of a kind: bits beyond K, equal in both operands, count as +1", PRODUCT, _padding_counted
    ),
    Variant(
        "first_layer_not_binarized",
        "BinaryNet.pytorch: BinarizeLinear leaves its input as it is where it has 784 features",
        PRODUCT,
        _first_layer,
    ),
    Variant(
        "width_without_the_bias",
        "the certificate ceil(log2(d + 1)) + 1 for arXiv 2410.19092 does not hold with a bias that is added",
        WIDTH,
        lambda inputs, bias: math.ceil(math.log2(inputs + 1)) + 1,
    ),
)
