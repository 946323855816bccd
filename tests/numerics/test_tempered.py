"""Threshold nets: packed and plain evaluation, the width of sums, the count of all tiny nets, interpolators."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from numerics import reference, tempered
from numerics.tempered import ThresholdLayer

F = Fraction
PARITY, MAJORITY, ALWAYS = 0b10010110, 0b11101000, 0b11111111


def points(width):
    return np.arange(1 << width)[:, None] >> np.arange(width) & 1


def layer(weights, signs, biases):
    return ThresholdLayer(np.array(weights), np.array(signs), np.array(biases))


PARITY_NET = (
    layer([[1, 1, 1]] * 3, [1, -1, 1], [0, 2, -2]),  # at least 1, at most 1, at least 3
    layer([[1, 1, 1]], [1], [-1]),
)


@pytest.mark.parametrize("widths", [(3, 3, 1), (70, 65, 2, 3), (1, 1)])
def test_packed_evaluation_is_the_same_and_that_of_the_oracle(widths):
    x = np.random.default_rng(0).integers(0, 2, (6, widths[0]))
    for number in range(5):
        layers = tempered.draw_net(widths, seed=1, offset=number)
        plain = tempered.evaluate(layers, x)
        assert plain.dtype == np.uint8
        assert np.array_equal(plain, tempered.evaluate(layers, x, packed=True))
        for row, found in zip(x.tolist(), plain.tolist(), strict=True):
            h = row
            for one in layers:
                parts = one.weights.tolist(), one.signs.tolist(), one.biases.tolist()
                h = reference.binary.threshold_layer(*parts, h)
            assert h == found


def test_the_comparison_is_strict():
    x = points(3)
    for packed in (False, True):
        at_least_two = tempered.evaluate((layer([[1, 1, 1]], [1], [-1]),), x, packed=packed)
        assert at_least_two[:, 0].tolist() == [int(row.sum() >= 2) for row in x]
        never = tempered.evaluate((layer([[1, 1, 1]], [0], [0]),), x, packed=packed)
        assert not never.any()
    assert tempered.truth_table(PARITY_NET) == PARITY
    assert tempered.truth_table((layer([[1, 1, 1]], [1], [-1]),)) == MAJORITY


@pytest.mark.parametrize("inputs", [0, 1, 2, 3, 4, 7, 8, 15, 16, 100])
def test_the_width_holds_every_value_and_no_narrower_one_does(inputs):
    for bias in (0, 1, inputs):
        values = [s * n + b for s in (-1, 0, 1) for n in (0, inputs) for b in (-bias, bias)]

        def holds(bits, values=values):
            return all(-(1 << bits) <= 2 * v < 1 << bits for v in values)

        bits = tempered.accumulator_width(inputs, bias)
        assert holds(bits)
        assert not holds(bits - 1) or bits == 1
    assert tempered.accumulator_width(inputs) == int(np.ceil(np.log2(inputs + 1))) + 1


def test_a_bias_that_is_added_needs_a_bit_more():
    # What is printed, ceil(log2(d + 1)) + 1 = 2 bits for one input, ends at 1; the sum of one input and its bias is 2.
    net = layer([[1]], [1], [1])
    assert int(net.weights[0, 0] * 1 + net.biases[0]) == 2 > 2 ** (tempered.accumulator_width(1) - 1) - 1
    for d in range(1, 70):
        assert tempered.accumulator_width(d, d) == tempered.accumulator_width(d) + 1


@pytest.mark.parametrize("bias", [None, 1])
def test_all_nets_of_two_inputs_counted_one_by_one(bias):
    bound = 2 if bias is None else bias
    neurons = [
        (list(w), s, b)
        for w in itertools.product((0, 1), repeat=2)
        for s in (-1, 0, 1)
        for b in range(-bound, bound + 1)
    ]
    x = points(2)
    tables = [tempered.evaluate((layer([w], [s], [b]),), x)[:, 0] for w, s, b in neurons]
    found: dict[int, int] = {}
    for t in tables:
        function = sum(int(y) << i for i, y in enumerate(t))
        found[function] = found.get(function, 0) + 1
    assert found == tempered.neuron_counts(2, bias)
    nets: dict[int, int] = {}
    for first, second, out in itertools.product(tables, tables, tables):
        function = sum(int(out[first[i] + 2 * second[i]]) << i for i in range(4))
        nets[function] = nets.get(function, 0) + 1
    assert nets == tempered.net_counts(2, 2, bias)


def test_all_nets_of_three_inputs():
    counts = tempered.net_counts()
    assert sum(counts.values()) == 168**4
    assert (len(counts), len(tempered.neuron_counts(3))) == (250, 26)
    assert sum(tempered.net_counts(3, 1).values()) == 168 * 2 * 3 * 3
    for number in range(40):
        assert tempered.truth_table(tempered.draw_net((3, 3, 1), seed=2, offset=number)) in counts
    # Of a function and its complement there are not as many: `> 0` is strict.
    assert counts[0] != counts[ALWAYS]


def test_drawn_nets_are_spread_as_counted():
    counts, draws = tempered.neuron_counts(2), 700
    seen = [tempered.truth_table(tempered.draw_net((2, 1), seed=3, offset=i)) for i in range(draws)]
    for function, count in counts.items():
        p = count / sum(counts.values())
        assert abs(seen.count(function) - draws * p) < 5 * (draws * p) ** 0.5


def test_rejection_gives_interpolators():
    x, labels = points(3)[[0, 3, 5, 6]], np.array([0, 1, 1, 1])
    net, number = tempered.sample_interpolator((3, 3, 1), x, labels, seed=4)
    assert tempered.evaluate(net, x)[:, 0].tolist() == labels.tolist()
    assert tempered.truth_table(net) in tempered.interpolators(tempered.net_counts(), {0: 0, 3: 1, 5: 1, 6: 1})
    assert tempered.truth_table(tempered.draw_net((3, 3, 1), seed=4, offset=number)) == tempered.truth_table(net)
    for earlier in range(number):
        other = tempered.evaluate(tempered.draw_net((3, 3, 1), seed=4, offset=earlier), x)
        assert other[:, 0].tolist() != labels.tolist()


def test_error_of_interpolators_by_definition():
    counts, noise, teacher = tempered.net_counts(2, 2), F(1, 5), 0b0110
    weight = error = F(0)
    for chosen in itertools.combinations(range(4), 3):
        for flips in itertools.product((0, 1), repeat=3):
            labels = {x: (teacher >> x & 1) ^ flip for x, flip in zip(chosen, flips, strict=True)}
            found = tempered.interpolators(counts, labels)
            if found:
                p = noise ** sum(flips) * (1 - noise) ** (3 - sum(flips))
                weight, error = weight + p, error + p * tempered.mean_error(found, teacher, 4, noise)
    assert tempered.interpolator_error([counts], teacher, 4, noise, 3) == error / weight


def test_errors_lie_between_the_noise_and_a_coin():
    counts = tempered.net_counts()
    for noise in (F(1, 20), F(1, 5)):
        for samples in (4, 8):
            error = tempered.interpolator_error([counts], MAJORITY, 8, noise, samples)
            assert noise < error < F(1, 2)
        assert tempered.interpolator_error([counts], MAJORITY, 8, noise, 0) == F(1, 2)
    assert tempered.mean_error({MAJORITY: 3}, MAJORITY, 8, F(1, 9)) == F(1, 9)
    # A table that is its own teacher's noise, all of it: the error of memorizing, exactly.
    everything = dict.fromkeys(range(256), 1)
    assert tempered.interpolator_error([everything], PARITY, 8, F(1, 7), 8) == tempered.memorizing_error(F(1, 7))


def test_of_several_sizes_the_smallest_interpolates():
    sizes = [tempered.net_counts(2, h) for h in (1, 2)]
    assert tempered.interpolator_error(sizes, 0b1000, 4, F(0), 4) == 0
    assert tempered.interpolator_error([{0b1000: 1}, {0b1001: 1}], 0b1000, 4, F(0), 2) == 0
    assert tempered.interpolator_error([{0b1001: 1}, {0b1000: 1}], 0b1000, 4, F(0), 4) == 0


REFUSED = [
    (lambda: layer([[2]], [1], [0]), "weight 2: give an integer from 0 to 1"),
    (lambda: layer([[1]], [2], [0]), "sign 2: give an integer from -1 to 1"),
    (lambda: layer([[1]], [1], [0.5]), "biases of dtype float64: give integers"),
    (lambda: layer([1], [1], [0]), r"give \[out, in\], \[out\] and \[out\]"),
    (lambda: tempered.evaluate(PARITY_NET, np.array([[0, 1, 2]])), "give a matrix .* of 0 and 1"),
    (lambda: tempered.evaluate(PARITY_NET, points(2)), "layer 0 takes 3 inputs and gets 2"),
    (lambda: tempered.accumulator_width(-1), "inputs = -1, bias = 0: give at least 0"),
    (lambda: tempered.neuron_counts(5), "inputs = 5: all nets are counted for 1 to 4"),
    (lambda: tempered.net_counts(4, 1), "4-1-1: all nets are counted up to 3-3-1"),
    (lambda: tempered.mean_error({}, 0, 8, F(1, 2)), "no function to draw from"),
    (lambda: tempered.interpolator_error([{1: 1}], 0, 2, F(1, 2), 3), "samples = 3 of 2 inputs: give 0 to 2"),
    (lambda: tempered.interpolator_error([{}], 0, 2, F(1, 2), 1), "no labels of 1 inputs have an interpolator"),
    (lambda: tempered.draw_net((3,), seed=0), r"widths = \(3,\): give inputs and outputs"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED, ids=[case[1] for case in REFUSED])
def test_refusals(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_search_that_ends():
    with pytest.raises(RuntimeError, match=r"none of 3 nets 3-1 has these labels: give more draws or units"):
        tempered.sample_interpolator((3, 1), points(3), points(3).sum(axis=1) % 2, seed=0, draws=3)
