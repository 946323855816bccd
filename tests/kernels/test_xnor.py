"""Products of bits by both routes against integer products: any K and shape, both operands packed or not, any threads."""

import itertools

import numba
import numpy as np
import pytest

from numerics import binary, reference
from numerics.kernels import xnor
from tests.kernels.test_codegen import instructions_of

NIBBLES = pytest.mark.skipif(not xnor.looks_up_bytes(), reason="no AVX2, or AVX-512 with a count of vectors")
ROUTES = [pytest.param(False, id="words"), pytest.param(True, id="nibbles", marks=NIBBLES)]


def signs(seed, *shape):
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), shape)


@pytest.fixture(params=ROUTES)
def route(request, monkeypatch):
    monkeypatch.setattr(xnor, "looks_up_bytes", lambda: request.param)


def test_every_k_to_130(route):
    a, b = signs(0, 5, 130), signs(1, 130, 7)
    for k in range(1, 131):
        left, right = a[:, :k], b[:k]
        found = binary.xnor_matmul(left, right)
        assert found.dtype == np.int32
        assert np.array_equal(found, left.astype(np.int64) @ right.astype(np.int64)), k
        assert k > 9 or found.tolist() == reference.binary.xnor_matmul(left.astype(int), right.astype(int))


@pytest.mark.parametrize("k", [248, 249, 511, 1000])
def test_counts_do_not_overflow_a_byte(route, k):
    # All ones: each byte of K adds 8 to every count, and 31 of them are all that fits.
    ones = np.ones((3, k), np.float32)
    assert (binary.xnor_matmul(ones, ones.T) == k).all()
    assert (binary.xnor_matmul(ones, -ones.T) == -k).all()
    assert (binary.matmul_bits(ones, ones.T) == k).all()


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 64), (3, 65), (4, 63), (5, 128), (9, 200)])
def test_shapes_at_the_edges_of_tiles(route, m, n):
    a, b = signs(2, m, 77), signs(3, 77, n)
    assert np.array_equal(binary.xnor_matmul(a, b), (a @ b).astype(np.int32))
    zero_one = (a > 0).astype(np.float32), (b > 0).astype(np.float32)
    assert np.array_equal(binary.matmul_bits(*zero_one), (zero_one[0] @ zero_one[1]).astype(np.int32))


def test_all_pairs_of_short_rows(route):
    rows = np.array(list(itertools.product((-1.0, 1.0), repeat=6)), np.float32)
    assert np.array_equal(binary.xnor_matmul(rows, rows.T), (rows @ rows.T).astype(np.int32))


def test_threads_change_nothing(route, on_threads):
    a, b = signs(4, 37, 300), signs(5, 300, 70)
    found = []
    for count in (1, 3):
        on_threads(count)
        found.append(binary.xnor_matmul(a, b))
    assert np.array_equal(*found)
    assert np.array_equal(found[0], (a @ b).astype(np.int32))


def test_the_table_counts_what_nibbles_share():
    table = xnor.NIBBLE_TABLE.view(np.uint8).reshape(256, 2, 16)
    for byte, high, nibble in itertools.product(range(256), range(2), range(16)):
        assert table[byte, high, nibble] == ((byte >> 4 * high & 15) & nibble).bit_count()


@NIBBLES
def test_bytes_are_looked_up_in_full_vectors():
    of = numba.typeof
    bits, words, terms = (of(np.zeros((1,) * n, t)) for n, t in ((2, np.uint8), (2, np.uint64), (1, np.int64)))
    tiles, out, number = of(np.zeros((1, 1, 1), np.uint8)), of(np.zeros((1, 1), np.int32)), numba.int64
    found = instructions_of(xnor.count_nibbles, (bits, tiles, words, number, terms, terms, out, number, number))
    assert found["vpshufb", "ymm"] >= 2 * xnor.ROWS * xnor.COLUMNS // xnor.LANES
