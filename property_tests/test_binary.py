"""Laws of binary nets over drawn data: products, packing, signs, powers of two, the factors of batch norm."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numerics import binary, reference, tempered

oracle = reference.binary
finite = st.floats(allow_nan=False, allow_infinity=False)
moderate = st.floats(-1e100, 1e100).filter(lambda x: x == 0 or abs(x) > 1e-100)


@st.composite
def pairs(draw):
    """Matrices of +-1 that have a product."""
    m, k, n = draw(st.integers(1, 6)), draw(st.integers(1, 300)), draw(st.integers(1, 70))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return generator.choice(np.array([-1.0, 1.0]), (m, k)), generator.choice(np.array([-1.0, 1.0]), (k, n))


@given(pairs())
def test_products_are_those_of_integers(operands):
    a, b = operands
    wanted = a.astype(int) @ b.astype(int)
    assert np.array_equal(binary.xnor_matmul(a, b), wanted)
    assert np.array_equal(binary.xnor_matmul(binary.pack(a), binary.pack(b.T)), wanted)
    assert np.array_equal(binary.matmul_bits(a > 0, b > 0), (a > 0).astype(int) @ (b > 0).astype(int))
    assert np.array_equal(binary.xnor_matmul(b.T, a.T), wanted.T)


@given(pairs(), st.sampled_from([np.uint8, np.int8]), st.integers(0, 2**32))
def test_bytes_multiply_as_integers(operands, dtype, seed):
    info = np.iinfo(dtype)
    x = np.random.default_rng(seed).integers(info.min, info.max, (3, operands[1].shape[0]), dtype, endpoint=True)
    assert np.array_equal(binary.byte_matmul(x, operands[1]), x.astype(int) @ operands[1].astype(int))


@given(st.lists(finite, min_size=1, max_size=8), st.integers(1, 32), st.data())
def test_signs_as_the_oracle_has_them(values, random_bits, data):
    words = [data.draw(st.integers(0, 2**random_bits - 1)) for _ in values]
    found = binary.stochastic_sign(np.array(values), words=np.array(words), random_bits=random_bits)
    assert found.tolist() == [oracle.stochastic_sign(*pair, random_bits) for pair in zip(values, words, strict=True)]
    assert binary.sign(np.array(values)).tolist() == [oracle.sign(x) for x in values]


@given(finite)
def test_powers_as_the_oracle_has_them(x):
    top = Fraction(2) ** 1023
    power = Fraction(float(binary.ap2(np.array(x))))
    assert power == max(min(oracle.ap2(x), top), -top)
    assert binary.ap2(np.array(-x)) == -power
    if x > 0:
        assert Fraction(float(binary.inverse_root(np.array(x)))) == oracle.inverse_root(x)


@given(st.lists(moderate, min_size=2, max_size=9))
def test_factors_of_batch_norm_in_rationals(values):
    exact, shifted = oracle.variance(values), oracle.shift_variance(values)
    assert exact / 2 <= shifted**2 / exact <= 2 * exact if exact else shifted == 0
    if exact:
        assert Fraction(1, 8) <= oracle.inverse_root(shifted) ** 4 * exact**2 <= 8


@given(st.lists(st.integers(1, 70), min_size=2, max_size=4), st.integers(0, 2**32))
def test_threshold_nets_do_not_depend_on_packing(widths, seed):
    net = tempered.draw_net(widths, seed=seed)
    x = np.random.default_rng(seed).integers(0, 2, (4, widths[0]))
    assert np.array_equal(tempered.evaluate(net, x), tempered.evaluate(net, x, packed=True))
    for layer in net:
        bits = tempered.accumulator_width(layer.weights.shape[1], layer.weights.shape[1])
        reach = layer.signs * layer.weights.sum(axis=1) + layer.biases
        assert (np.abs(reach) < 1 << (bits - 1)).all()
