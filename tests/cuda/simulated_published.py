"""LUQ, signs, masks and products of bits by the CUDA kernels, run in the simulator: the CPU's bits, and its sentences."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from numerics import binary, device_luq, device_masks, luq, random_words, sparsity
from numerics.kernels.cuda import masks
from numerics.kernels.cuda._jit import SIMULATED
from numerics.kernels.cuda.elementwise import THREADS
from numerics.kernels.cuda.launch import own_queue
from tests.sampling import but_at_night

assert SIMULATED
QUEUE = own_queue()
FEW = 2 * THREADS * 2 + 37  # more than both blocks have threads, and a rest
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
KEYS = {"seed": 7 + (5 << 32), "stream": 3 + (9 << 32)}


def values(dtype, count=FEW):
    """Of every size, on the grid of powers, subnormal, zeros of both signs."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=count) * 2.0 ** rng.integers(-14, 11, count)).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    edges = [0.0, -0.0, tiny, -5 * tiny, 0.25, -0.5, 1.0, 1.5, np.sqrt(2), -np.sqrt(0.5), -3.0, 1e5, -1.0]
    x[: len(edges)] = edges
    return x


def same(found, wanted):
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    different = np.flatnonzero(found.view(np.uint8) != wanted.view(np.uint8)) // found.itemsize
    assert different.size == 0, (different[:5], found.reshape(-1)[different[:5]], wanted.reshape(-1)[different[:5]])


def draws(bits, shape):
    """Words given, and drawn from within a block of Philox and over the end of element numbers."""
    yield {"words": random_words(int(np.prod(shape)), bits, seed=bits).reshape(shape), "random_bits": bits}
    for offset in (13, (1 << 64) - 7):
        yield {**KEYS, "offset": offset, "random_bits": bits}


@pytest.mark.sampled
@DTYPES
@pytest.mark.parametrize("bits", but_at_night([8, 12, 32], [8, 12]))
def test_luq(dtype, bits):
    x = values(dtype).reshape(-1, 3)
    for i, how in enumerate(draws(bits, x.shape)):
        options = {"levels": 5, "power_of_two": "up"} if i == 1 else {"alpha": 0.3}
        out = np.zeros_like(x)
        device_luq.luq_on(x, out, **options, **how, queue=QUEUE)
        same(out, luq.quantize(x, **options, **how))
    codes = np.zeros(x.shape, device_luq.code_dtype_of(7))
    device_luq.luq_on(x, codes, alpha=0.3, **how, queue=QUEUE)
    same(codes, luq.encode(x, alpha=0.3, **how))


def test_luq_alpha_codes_and_what_is_left_to_the_host():
    for dtype, power in product((np.float32, np.float64), (None, "up", "down")):
        x = values(dtype)
        assert device_luq.luq_alpha_on(x, power_of_two=power, queue=QUEUE) == luq.alpha(x, power_of_two=power)
    codes, out = np.arange(16, dtype=np.uint8), np.zeros(16, np.float32)
    device_luq.luq_decode_on(codes, 0.3, 7, out, queue=QUEUE)
    same(out, luq.decode(codes, 0.3, dtype=np.float32))
    x = np.float32([1e-30, -3e-31, 0, 2e-32])  # alpha below 2**-90
    out, kept = np.ones_like(x), x.copy()
    device_luq.luq_on(x, out, seed=1, queue=QUEUE)
    same(out, luq.quantize(x, seed=1))
    device_luq.luq_on(np.zeros(5, np.float32), zeros := np.ones(5, np.float32), seed=1, queue=QUEUE)
    assert not zeros.any() and (x == kept).all()
    device_luq.luq_on(wide := values(np.float32), wide, alpha=0.5, seed=1, queue=QUEUE)  # in place
    same(wide, luq.quantize(values(np.float32), alpha=0.5, seed=1))


@DTYPES
def test_signs_and_powers(dtype):
    x = values(dtype) / dtype(2)
    x[-3:] = np.inf, -np.inf, np.finfo(dtype).max
    out = np.zeros_like(x)
    device_luq.sign_on(x, out, queue=QUEUE)
    same(out, binary.sign(x))
    device_luq.ap2_on(x, out, queue=QUEUE)
    same(out, binary.ap2(x))
    bits = 1 + np.arange(2) * 31
    for how in [how for r in bits for how in draws(int(r), x.shape)]:
        device_luq.sign_on(x, out, stochastic=True, **how, queue=QUEUE)
        same(out, binary.stochastic_sign(x, **how))
    root = dtype(2) ** dtype(0.5)
    near = np.array([np.nextafter(root, dtype(d)) for d in (0, 2)] + [root], dtype)
    near = np.concatenate([near * dtype(2.0**e) for e in (-3, 0, 40)] + [np.array([np.nan, 6e-39, 1e-310], dtype)])
    powers = np.zeros_like(near)
    device_luq.ap2_on(near, powers, queue=QUEUE)
    same(powers, binary.ap2(near))


def test_every_word_of_a_sign():
    """Of four bits, at multiples of 1/16: floor((x + 1)/2 16) of the words give +1."""
    points = np.repeat(np.arange(-17, 18) / 16, 16).astype(np.float32)
    words = np.tile(np.arange(16), 35)
    out = np.zeros_like(points)
    device_luq.sign_on(points, out, stochastic=True, words=words, random_bits=4, queue=QUEUE)
    counts = (out.reshape(35, 16) > 0).sum(axis=1)
    assert counts.tolist() == [int(np.clip((j + 16) / 2, 0, 16)) for j in range(-17, 18)]


def blocks(m, dtype, count=2 * THREADS + 5):
    rng = np.random.default_rng(m)
    x = (rng.normal(size=(count, m)) * 2.0 ** rng.integers(-3, 3, (count, m))).astype(dtype)
    x[0], x[1, 1:], x[2], x[3] = 0, 0, 1, np.arange(m) - 1
    x[4] = 2.0 ** (-16.0 * np.arange(m))  # sums are inexact: left to the host
    x[-1] = np.finfo(dtype).smallest_subnormal * np.arange(m)
    return x


@DTYPES
def test_the_largest(dtype):
    for n, m in ((2, 4), (1, 2), (3, 5)):
        x = blocks(m, dtype)
        x[-2, :2] = np.inf, -np.inf
        out = np.zeros_like(x)
        device_masks.top_n_on(x, out, n, m, queue=QUEUE)
        same(out, sparsity.top_n(x, n, m))


@pytest.mark.sampled
@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize(
    ("n", "m", "method", "dtype"),
    [
        (2, 4, "exact", np.float32),
        pytest.param(1, 2, "exact", np.float32, marks=pytest.mark.nightly),
        (2, 4, "exact", np.float64),
        (2, 4, "approximate", np.float32),
        (2, 4, "sequential", np.float64),
        (3, 8, "exact", np.float32),
    ],
)
def test_draws(n, m, method, dtype, bits):
    x = blocks(m, dtype, 2 * masks.THREADS + 9)
    for how in draws(bits, (len(x),)):
        out = np.zeros_like(x)
        device_masks.mvue_on(x, out, n, m, method=method, **how, queue=QUEUE)
        if "words" in how:
            how["words"] = how["words"][:, None]
        same(out, sparsity.mvue(x, n, m, method=method, **how))


def test_bits_and_their_products():
    rng = np.random.default_rng(3)
    for k in (1, 64, 64 * 2 + 3):
        a, b = (rng.choice(np.array([-1.0, 1.0]), (rows, k)) for rows in (3, 5))
        for signed, low in ((True, -1.0), (False, 0.0)):
            x, y = np.where(a < 0, low, 1).astype(np.float32), np.where(b < 0, low, 1)
            packed = []
            for array in (x, y):
                words = np.zeros((len(array), -(-k // 64)), np.uint64)
                device_masks.pack_on(array, words, signed=signed, queue=QUEUE)
                assert (words == (binary.pack if signed else binary.pack_bits)(array).words).all()
                packed.append(words)
            out = np.zeros((3, 5), np.int32)
            device_masks.product_on(*packed, k, out, signed=signed, queue=QUEUE)
            assert (out == x.astype(int) @ y.T.astype(int)).all()


X = np.ones((2, 4), np.float32)
BAD = np.float32([[1, np.nan, 1, 1], [1, 1, 1, 1]])


def _both(there, here):
    for call in (there, here):
        with pytest.raises((ValueError, TypeError, OverflowError)) as raised:
            call()
        yield type(raised.value), str(raised.value)


@pytest.mark.parametrize(
    ("there", "here"),
    [
        (partial(device_luq.luq_on, BAD, X.copy(), seed=1), partial(luq.quantize, BAD, seed=1)),
        (partial(device_luq.luq_on, BAD, X.copy(), alpha=0.5, seed=1), partial(luq.quantize, BAD, alpha=0.5, seed=1)),
        (partial(device_luq.luq_on, X, X.copy(), alpha=0.0, seed=1), partial(luq.quantize, X, alpha=0.0, seed=1)),
        (partial(device_luq.luq_on, X, X.copy()), partial(luq.quantize, X)),
        (partial(device_luq.luq_alpha_on, BAD), partial(luq.alpha, BAD)),
        (
            partial(device_luq.luq_decode_on, np.uint8([1, 7]), 1.0, 5, np.zeros(2)),
            partial(luq.decode, np.uint8([1, 7]), 1.0, 5),
        ),
        (partial(device_luq.sign_on, BAD, X.copy()), partial(binary.sign, BAD)),
        (partial(device_luq.sign_on, X, X.copy(), stochastic=True), partial(binary.stochastic_sign, X)),
        (partial(device_masks.top_n_on, BAD, X.copy()), partial(sparsity.top_n, BAD)),
        (partial(device_masks.mvue_on, BAD, X.copy(), seed=1), partial(sparsity.mvue, BAD, seed=1)),
        (
            partial(device_masks.mvue_on, X * np.float32(3e38), X.copy(), seed=1),
            partial(sparsity.mvue, X * np.float32(3e38), seed=1),
        ),
        (partial(device_masks.pack_on, 2 * X, np.zeros((2, 1), np.uint64)), partial(binary.pack, 2 * X)),
    ],
)
def test_errors_are_those_of_the_cpu(there, here):
    found, wanted = _both(partial(there, queue=QUEUE), here)
    assert found == wanted


def test_long_blocks_are_refused():
    with pytest.raises(NotImplementedError, match=r"m = 33 are drawn on CUDA up to 32: move x with \.cpu\(\)"):
        device_masks.mvue_on(np.ones((1, 33), np.float32), np.zeros((1, 33), np.float32), 2, 33, seed=1, queue=QUEUE)
