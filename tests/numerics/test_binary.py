"""Signs, powers of two, shift-based batch norm and AdaMax against exact rationals; packing; what is refused."""

import math
from fractions import Fraction

import numpy as np
import pytest

from numerics import binary, random_words, reference
from tests.numerics.grids import assert_same_bits

oracle = reference.binary
DTYPES = [np.float32, np.float64]


def hard(dtype):
    """Values at which decisions change, both signs, down to subnormals and up to the end of the range."""
    info = np.finfo(dtype)
    powers = [math.ldexp(1.0, k) for k in range(info.minexp - info.nmant, info.maxexp, 7)] + [1.0, float(info.tiny)]
    values = [0.0, float(info.max), float(info.smallest_subnormal), 3 * float(info.smallest_subnormal), 0.5, 1.5]
    for power in powers:
        root = dtype(power * math.sqrt(2))
        values += [power, *(float(v) for v in (root, np.nextafter(root, dtype(0)), np.nextafter(root, dtype(np.inf))))]
        values += [float(np.nextafter(dtype(power), dtype(0)))]
    array = np.array(values, dtype)
    array = array[np.isfinite(array)]
    return np.concatenate([array, -array])


# Signs


@pytest.mark.parametrize("dtype", DTYPES)
def test_sign_and_mask(dtype):
    x = np.concatenate([hard(dtype), np.array([np.inf, -np.inf, np.nextafter(dtype(1), dtype(2))], dtype)])
    found = binary.sign(x)
    assert found.dtype == dtype
    assert found.tolist() == [oracle.sign(v) for v in x.tolist()]
    assert binary.sign(dtype(-0.0)) == 1
    assert binary.ste_mask(x).tolist() == [abs(v) <= 1 for v in x.tolist()]
    assert binary.ste_mask(np.array([np.nan, 1, -1], dtype)).tolist() == [False, True, True]


@pytest.mark.parametrize("dtype", DTYPES)
def test_hard_sigmoid_is_rounded_once(dtype):
    x = hard(dtype)
    found = binary.hard_sigmoid(x)
    for value, p in zip(x.tolist(), found.tolist(), strict=True):
        exact = oracle.hard_sigmoid(value)
        assert abs(Fraction(p) - exact) <= Fraction(float(np.spacing(dtype(p)))) / 2
    assert binary.hard_sigmoid(np.array([np.inf, -np.inf], dtype)).tolist() == [1, 0]
    assert np.isnan(binary.hard_sigmoid(np.array([np.nan], dtype)))[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("random_bits", [1, 4])
def test_every_word_of_a_stochastic_sign(dtype, random_bits):
    x = np.concatenate([hard(dtype), np.linspace(-1.2, 1.2, 29).astype(dtype)])
    words = np.arange(1 << random_bits)
    found = binary.stochastic_sign(
        np.broadcast_to(x[:, None], (x.size, words.size)),
        words=np.broadcast_to(words, (x.size, words.size)),
        random_bits=random_bits,
    )
    wanted = [[oracle.stochastic_sign(v, int(w), random_bits) for w in words] for v in x.tolist()]
    assert found.dtype == dtype
    assert found.tolist() == wanted
    plus = (found == 1).sum(axis=1)
    assert plus.tolist() == [math.floor(oracle.hard_sigmoid(v) * (1 << random_bits)) for v in x.tolist()]


def test_a_stochastic_sign_at_32_bits():
    x = np.array([np.nextafter(0.0, -1), 0.0, 2.0**-40, -1 + 2.0**-31, np.nextafter(-1 + 2.0**-31, -2), 1 - 2.0**-53])
    for word in (0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1):
        found = binary.stochastic_sign(x, words=np.full(x.shape, word, np.uint32))
        assert found.tolist() == [oracle.stochastic_sign(v, word, 32) for v in x.tolist()]


def test_a_seed_stands_for_words():
    x = np.linspace(-1, 1, 60, dtype=np.float32).reshape(5, 12)
    words = random_words(60, 16, seed=3, stream=2, offset=7).reshape(x.shape)
    drawn = binary.stochastic_sign(x, seed=3, stream=2, offset=7, random_bits=16)
    assert_same_bits(drawn, binary.stochastic_sign(x, words=words, random_bits=16))
    strided = binary.stochastic_sign(np.asfortranarray(x), seed=3, stream=2, offset=7, random_bits=16)
    assert_same_bits(strided, drawn)


def test_weights():
    w = np.array([-np.inf, -1.5, -1, 0.25, 1, 7], np.float32)
    assert binary.clip_weights(w).tolist() == [-1, -1, -1, 0.25, 1, 1]
    assert binary.glorot_scale(784, 4096) == pytest.approx(1 / math.sqrt(1.5 / 4880), rel=1e-15)


# Powers of two


@pytest.mark.parametrize("dtype", DTYPES)
def test_ap2_against_the_oracle(dtype):
    x = hard(dtype)
    top = Fraction(2) ** (np.finfo(dtype).maxexp - 1)
    found = binary.ap2(x)
    assert found.dtype == dtype
    for value, power in zip(x.tolist(), found.tolist(), strict=True):
        exact = oracle.ap2(value)
        assert Fraction(power) == max(min(exact, top), -top), value
        if value and abs(exact) <= top:
            assert Fraction(1, 2) < (Fraction(power) / Fraction(value)) ** 2 < 2


def test_ap2_at_its_ends():
    assert binary.ap2(np.array([1.41, 1.42])).tolist() == [1, 2]
    assert binary.ap2(np.array([1.45])) == 2  # nearest in distance would be 1
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])
    assert_same_bits(binary.ap2(x), x)
    assert binary.ap2(np.float32(3.4e38)) == 2.0**127
    assert binary.ap2(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_quant(dtype):
    x = np.array([-2, -1, -0.8125, -0.3125, -0.0625, 0, 0.0625, 0.1875, 0.8749, 0.9375, 3, np.inf, -np.inf], dtype)
    for ties in ("even", "away"):
        found = binary.linear_quant(x, 4, ties=ties)
        assert found.dtype == dtype
        for value, q in zip(x[:-2].tolist(), found.tolist(), strict=False):
            scaled = Fraction(value) * 8
            away = math.floor(abs(scaled) + Fraction(1, 2)) * (1 if scaled >= 0 else -1)
            exact = Fraction(round(scaled) if ties == "even" else away, 8)
            assert Fraction(q) == min(max(exact, -1), Fraction(7, 8))
        assert found[-2:].tolist() == [0.875, -1]
    assert len(set(binary.linear_quant(np.linspace(-1, 1, 999), 3).tolist())) == 8
    assert binary.linear_quant(np.array([0.9]), 2, high=1.0) == 1
    assert binary.linear_quant(np.array([np.nextafter(0.5, 0)]), 1, high=1.0, ties="away") == 0


def test_log_quant():
    x = np.array([-3, 0, 0.01, 0.2, 0.36, 1.4, 90], np.float32)
    assert binary.log_quant(x, -1, 1).tolist() == [-1, 0, 2.0**-7, 0.25, 0.5, 1, 1]


# Batch norm


def test_inverse_root():
    x = np.concatenate([v[v > 0] for v in (hard(np.float64), hard(np.float32).astype(np.float64))])
    assert [Fraction(v) for v in binary.inverse_root(x).tolist()] == [oracle.inverse_root(v) for v in x.tolist()]
    assert binary.inverse_root(np.array([2.0, 0.5])).tolist() == [0.5, 1]
    assert binary.inverse_root(np.array([0.0, np.inf])).tolist() == [np.inf, 0]


def test_the_variance_is_exact_on_exact_means():
    x = np.array([[3, -3, 5, -5, 1, -1, 0, 0], [6, -6, 0, 0, 7, -7, 11, -11]], np.float32)
    found = binary.shift_variance(x, axis=1)
    assert [Fraction(v) for v in found.tolist()] == [oracle.shift_variance(row.tolist()) for row in x]


@pytest.mark.parametrize("seed", range(8))
def test_factors_of_batch_norm_are_bounded(seed):
    draw = np.random.default_rng(seed)
    x = (draw.integers(-999, 1000, 12) * 10.0 ** draw.integers(-3, 4)).astype(np.float32)
    x[0] += 1
    values = [float(v) for v in x]
    exact, shifted = oracle.variance(values), oracle.shift_variance(values)
    assert Fraction(1, 2) <= (shifted / exact) ** 2 <= 2
    scale = oracle.inverse_root(shifted)
    assert Fraction(1, 8) <= scale**4 * exact**2 <= 8  # scale/(1/std) in [2**-3/4, 2**3/4]
    y = binary.shift_batch_norm(x[:, None], 1.0, 0.0)[:, 0]
    wanted = [float(scale) * (v - sum(values) / 12) for v in values]
    assert np.allclose(y, wanted, rtol=1e-5, atol=1e-6)


def test_the_bounds_of_batch_norm_are_nearly_reached():
    # +-c with c just above or below sqrt(2), and a variance next to where its root changes power.
    above, below = (np.array([c, -c]) for c in (1.4142136, 1.4142135))
    low, high = binary.SHIFT_VARIANCE_BOUNDS
    assert float(binary.shift_variance(above) / above[0] ** 2) == pytest.approx(high, rel=1e-6)
    assert float(binary.shift_variance(below) / below[0] ** 2) == pytest.approx(low, rel=1e-6)
    found = [float(binary.inverse_root(binary.shift_variance(x))) * abs(x[0]) for x in (below, above)]
    assert found == pytest.approx([2.0**0.5, 2.0**-0.5], rel=1e-6)  # 1, and 1/2, over 1/sqrt(2)
    # Both magnitudes are rounded up (down), and the variance by shifts is barely above (below) 2, where the root parts.
    for magnitudes, share, end in (((1.4142136, 0.7071069), 0.6097, 0), ((2.8284271, 1.4142135), 0.1379, 1)):
        count = int(share * 10_000)
        half = np.repeat(magnitudes, [count, 10_000 - count])
        x = np.concatenate([half, -half])
        scale = float(binary.inverse_root(binary.shift_variance(x)))
        assert scale * x.std() == pytest.approx(binary.SHIFT_SCALE_BOUNDS[end], rel=1e-3)


def test_batch_norm_shapes_and_constants():
    x = np.array([[0.1, 1, 4], [0.1, 3, 4], [0.1, -7, 5]], np.float32)
    y = binary.shift_batch_norm(x, np.array([3.0, 1, 1]), np.array([0.5, 0, 0]))
    assert y.dtype == np.float32
    assert y[:, 0].tolist() == [0.5] * 3
    assert np.allclose(y[:, 1:].sum(axis=0), 0, atol=1e-6)
    assert np.array_equal(binary.shift_batch_norm(x.T, np.array([3.0, 1, 1]), np.array([0.5, 0, 0]), axis=1), y.T)
    with_epsilon = binary.shift_batch_norm(x, 1.0, 0.0, epsilon=1e6)
    assert np.abs(with_epsilon).max() < 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_layout_changes_a_bit_of_batch_norm(axis):
    """numpy's mean adds in the order of the memory."""
    x = np.random.default_rng(1).standard_normal((37, 29, 31))
    for dtype in (np.float32, np.float64):
        array = x.astype(dtype)
        others = [np.asfortranarray(array), np.ascontiguousarray(array.transpose(1, 0, 2)).transpose(1, 0, 2)]
        for other in others:
            for verb in (binary.shift_variance, lambda a, axis: binary.shift_batch_norm(a, 1, 0, axis=axis)):
                one, two = verb(array, axis=axis), verb(other, axis=axis)
                assert one.shape == two.shape
                assert one.tobytes() == two.tobytes()


# AdaMax


def test_adamax_at_rate_0_stays_and_goes_on():
    theta, g = np.array([-0.0, 0.0, 1.0], np.float32), np.array([-1.0, 1.0, 1e-30], np.float32)
    state = binary.AdaMaxState(np.array([-1, 1, 3], np.float32), np.full(3, 1e-40, np.float32), 4)
    moved, after = binary.shift_adamax(theta, g, state, rate=0.0, beta2=0.0)
    assert moved.tobytes() == theta.tobytes()
    beyond = state._replace(m=state.m * np.float32(1e38))  # m / v is infinite
    assert binary.shift_adamax(theta, g, beyond, rate=0.0, beta2=0.0)[0].tobytes() == theta.tobytes()
    _, same = binary.shift_adamax(theta, g, state, rate=2.0**-10, beta2=0.0)
    for found, expected in zip(after, same, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_adamax_step():
    theta, g = np.array([0.5, -0.5]), np.array([0.3, -2.9])
    moved, state = binary.shift_adamax(theta, g, binary.AdaMaxState.zeros(theta))
    # m = g/8; v = |g|; AP2(2**-10/(1/8)) = 2**-7; AP2(0.3) = 1/4, AP2(2.9) = 4
    assert moved.tolist() == [0.5 - 2**-7 * (0.3 / 8) / 0.25, -0.5 + 2**-7 * (2.9 / 8) / 4]
    assert state.steps == 1
    assert state.v.tolist() == [0.3, 2.9]
    again, state = binary.shift_adamax(moved, 0 * g, state)
    assert state.v.tolist() == [0.3 * (1 - 2**-10), 2.9 * (1 - 2**-10)]
    assert (np.abs(again) < np.abs(moved)).tolist() == [True, True]
    still, state = binary.shift_adamax(theta, 0 * g, binary.AdaMaxState.zeros(theta))
    assert still.tolist() == theta.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_stored_power_never_decays(dtype):
    theta, g = np.zeros(2, dtype), np.array([4, 3], dtype)
    for store in ("ap2", "exact"):
        _, state = binary.shift_adamax(theta, g, binary.AdaMaxState.zeros(theta), store=store)
        assert state.v.dtype == dtype
        for _ in range(600):
            _, state = binary.shift_adamax(theta, 0 * g, state, store=store)
        if store == "ap2":
            assert state.v.tolist() == [4, 4]
        else:
            assert np.allclose(state.v, g * (1 - 2.0**-10) ** 600, rtol=1e-3)


# Packing


@pytest.mark.parametrize("k", [0, 1, 63, 64, 65, 130])
def test_packing_and_back(k):
    draw = np.random.default_rng(k)
    bits = draw.integers(0, 2, (5, k))
    for x, packer in ((2 * bits - 1, binary.pack), (bits, binary.pack_bits)):
        packed = packer(x.astype(np.float32))
        assert packed.words.shape == (5, -(-k // 64))
        for row, words in zip(bits.tolist(), packed.words.tolist(), strict=True):
            assert sum(w << 64 * i for i, w in enumerate(words)) == sum(b << i for i, b in enumerate(row))
        assert np.array_equal(binary.unpack(packed, np.int8), x)
        fortran = packer(np.asfortranarray(x.astype(np.float32)))
        assert np.array_equal(fortran.words, packed.words)
        assert np.array_equal(packer(np.repeat(x, 2, axis=1)[:, ::2].astype(np.float32)).words, packed.words)


def test_packing_in_parts_by_threads():
    x = np.where(np.random.default_rng(0).normal(size=(700, 300)) > 0, 1, -1).astype(np.float32)
    wanted = np.packbits(x > 0, axis=1, bitorder="little")
    assert np.array_equal(binary.pack(x).words.view(np.uint8)[:, : wanted.shape[1]], wanted)
    by_columns = binary.pack(x.T).words.view(np.uint8)
    wanted = np.packbits(x.T > 0, axis=1, bitorder="little")
    assert np.array_equal(by_columns[:, : wanted.shape[1]], wanted)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, ">f4"])
def test_any_dtype_multiplies(dtype):
    a = np.array([[1, -1, 1], [-1, -1, -1]])
    assert np.array_equal(binary.xnor_matmul(a.astype(dtype), a.T.astype(dtype)), a @ a.T)


def test_packed_operands():
    draw = np.random.default_rng(5)
    a, b = draw.choice([-1.0, 1.0], (4, 70)), draw.choice([-1.0, 1.0], (70, 3))
    wanted = (a @ b).astype(np.int32)
    for left in (a, binary.pack(a)):
        for right in (b, binary.pack(b.T)):
            assert np.array_equal(binary.xnor_matmul(left, right), wanted)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_bytes_times_signs(dtype):
    info = np.iinfo(dtype)
    draw = np.random.default_rng(6)
    w = draw.choice([-1.0, 1.0], (131, 5))
    x = draw.integers(info.min, info.max, (3, 131), dtype, endpoint=True)
    x[0], x[1] = info.min, info.max
    wanted = x.astype(np.int64) @ w.astype(np.int64)
    assert np.array_equal(binary.byte_matmul(x, w), wanted)
    assert np.array_equal(binary.byte_matmul(x[:, ::-1], binary.pack(w[::-1].T)), wanted)
    everything = np.arange(info.min, info.max + 1, dtype=np.int64).astype(dtype)[:, None]
    assert np.array_equal(binary.byte_matmul(everything, np.array([[1.0, -1.0]]))[:, 0], everything[:, 0])


def test_nothing_to_multiply():
    assert binary.xnor_matmul(np.ones((0, 5)), np.ones((5, 2))).shape == (0, 2)
    assert binary.xnor_matmul(np.ones((2, 0)), np.ones((0, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert binary.byte_matmul(np.ones((2, 0), np.uint8), np.ones((0, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]


# Refusals

ONES, TWO = np.ones((2, 3)), np.array([[1.0, -1], [0.5, 1]])
REFUSED = [
    (lambda: binary.sign(np.array([1, np.nan])), ValueError, r"x\[1\] .* is NaN: a sign has none"),
    (lambda: binary.sign(np.array([1])), TypeError, "array of dtype int64: give float32 or float64"),
    (lambda: binary.stochastic_sign(ONES), ValueError, r"needs random words: give seed=, or words= of shape \(2, 3\)"),
    (lambda: binary.stochastic_sign(ONES, seed=0, random_bits=33), ValueError, "random_bits = 33"),
    (lambda: binary.stochastic_sign(ONES, words=np.full((2, 3), 4), random_bits=2), ValueError, "word 4 is outside"),
    (lambda: binary.stochastic_sign(np.array(np.nan), seed=0), ValueError, "is NaN"),
    (lambda: binary.glorot_scale(0, 3), ValueError, "fan_in = 0, fan_out = 3"),
    (lambda: binary.linear_quant(ONES, 25), ValueError, "bits = 25: give 1 to 24"),
    (lambda: binary.linear_quant(ONES, 2, ties="up"), ValueError, "ties = 'up'"),
    (lambda: binary.linear_quant(ONES, 2, low=2), ValueError, "give low <= high"),
    (lambda: binary.log_quant(ONES, 1, -1), ValueError, "give low <= high"),
    (lambda: binary.inverse_root(np.array([-1.0])), ValueError, r"x = -1.0: a root needs x >= 0"),
    (lambda: binary.shift_variance(np.ones((0, 2))), ValueError, "no samples along axis 0"),
    (lambda: binary.shift_batch_norm(np.array([1, np.inf]), 1, 0), ValueError, "has an infinity"),
    (lambda: binary.shift_batch_norm(ONES, 1, 0, epsilon=-1), ValueError, "epsilon = -1"),
    (lambda: _adamax(np.ones(2), np.ones(3)), ValueError, "give one shape and dtype"),
    (lambda: _adamax(np.ones(2), np.ones(2), store="v"), ValueError, "store = 'v': give 'exact' or 'ap2'"),
    (lambda: _adamax(np.ones(2), np.ones(2), beta1=1), ValueError, "beta1 = 1"),
    (lambda: _adamax(np.ones(2), np.ones(2), rate=np.inf), ValueError, "rate = inf, .*: give 0 <= rate < inf"),
    (lambda: binary.pack(TWO), ValueError, r"x\[1, 0\] = 0.5 is neither -1 nor 1: sign\(x\) gives"),
    (lambda: binary.pack(np.array([[1.0, np.nan]])), ValueError, r"x\[0, 1\] = nan"),
    (lambda: binary.pack(np.array([[1, 257]])), ValueError, r"x\[0, 1\] = 257"),
    (lambda: binary.pack(np.array([[1, 0]])), ValueError, r"x\[0, 1\] = 0 is neither -1 nor 1"),
    (lambda: binary.pack(np.array([[1 + 2.0**-40]])), ValueError, r"x\[0, 0\] = 1.0000"),
    (lambda: binary.pack_bits(np.array([[1, -1]])), ValueError, r"x\[0, 1\] = -1 is neither 0 nor 1"),
    (lambda: binary.pack(np.array([[True]])), TypeError, "array of dtype bool"),
    (lambda: binary.pack(np.ones((1, 1), np.longdouble)), TypeError, "array of dtype (float128|longdouble)"),
    (lambda: binary.pack(np.ones(3)), ValueError, r"array of shape \(3,\): give a matrix"),
    (lambda: binary.PackedMatrix(np.ones((1, 1)), 3), TypeError, "give a uint64 array"),
    (lambda: binary.PackedMatrix(np.ones((1, 1), np.uint64), 65), ValueError, "length = 65 with 1 words a row"),
    (lambda: binary.PackedMatrix(np.array([[8]], np.uint64), 3), ValueError, "a bit behind element 2 is set"),
    (lambda: binary.xnor_matmul(ONES, ONES), ValueError, "a has 3 columns and b 2 rows"),
    (lambda: binary.xnor_matmul(binary.pack_bits(ONES), ONES.T), ValueError, "a is packed as 0/1: use pack,"),
    (lambda: binary.matmul_bits(ONES, binary.pack(ONES)), ValueError, r"b is packed as \+-1: use pack_bits"),
    (lambda: binary.byte_matmul(ONES, ONES.T), TypeError, "x of dtype float64: give uint8 or int8"),
    (lambda: binary.byte_matmul(np.ones(3, np.uint8), ONES.T), ValueError, "give a matrix"),
    (lambda: binary.byte_matmul(np.ones((2, 4), np.uint8), ONES.T), ValueError, "a has 4 columns and b 3 rows"),
    (lambda: binary.byte_matmul(np.zeros((0, (1 << 22) + 1), np.uint8), ONES), ValueError, "may leave int32"),
]


def _adamax(theta, g, **options):
    return binary.shift_adamax(theta, g, binary.AdaMaxState.zeros(theta), **options)


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[case[2][:40] for case in REFUSED])
def test_refusals(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
