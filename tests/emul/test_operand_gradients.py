"""What passes the operands of a forward product, draws that average to the exact gradient, and gradients of a chain."""

import itertools
import re

import numpy as np
import pytest
import torch
from torch import nn

import emul
import emul.draws
from emul import ChainGradient, Product, Recipe, Rule
from emul.operands import (
    LUQ,
    MVUE,
    SAWB,
    Affine,
    LinearQuant,
    LogQuant,
    Rounded,
    Scaled,
    Sign,
    StochasticSign,
    TopN,
    Transposable,
)
from numerics import Accumulator, FixedFormat, Overflow, Quantizer, Rounding, catalog, clipping, sparsity
from numerics.chains import chain_gradients

FLOAT = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
E2M1 = Quantizer(catalog.E2M1)
INT3 = Quantizer(FixedFormat(3))

#: Multiples of 1/4 from -8 to 8, ends of grids, and what lies just beyond them.
X = torch.cat([torch.arange(-32, 33) / 4, torch.tensor([6.0, -6.0, 6.0001, -6.0001, 1.0001, -1.0001, 3.0001, -4.0001])])


def within(low: float, high: float):
    return lambda x: (x >= low) & (x <= high)


SAWB_CLIP = clipping.sawb(X.numpy(), 4)
SAWB_END = 7 / float(np.float32(7 / SAWB_CLIP))

#: (the operand, where its gradient passes)
PASSING = [
    (E2M1, lambda x: x == x),
    (Rounded(E2M1), lambda x: x == x),
    (Rounded(E2M1, gradient="clipped"), within(-6, 6)),
    (Rounded(INT3, gradient="clipped"), within(-4, 3)),
    (Rounded(E2M1, gradient="hard_tanh"), within(-1, 1)),
    (LUQ(), lambda x: x == x),
    (LUQ(3, power_of_two="down", gradient="clipped"), lambda x: x == x),  # 8 is a power of two: nothing is clipped
    (LUQ(gradient="hard_tanh"), within(-1, 1)),
    (SAWB(4, gradient="clipped"), within(-SAWB_END, SAWB_END)),
    (Affine(4, distribution="laplace", gradient="clipped"), within(*clipping.clip_range(X.numpy(), 4))),
    (Affine(4, gradient="clipped"), lambda x: x == x),
    (Affine(4, half_range=True, gradient="clipped"), lambda x: x >= 0),
    (Scaled(E2M1, largest=12.0, gradient="clipped"), within(-6, 6)),  # 8 is scaled by 1: what is beyond 6 saturates
    (Scaled(E2M1, gradient="hard_tanh"), within(-1, 1)),
    (Sign(), within(-1, 1)),
    (Sign(gradient="straight"), lambda x: x == x),
    (StochasticSign(), within(-1, 1)),
    (LinearQuant(3, gradient="clipped"), within(-1, 0.75)),
    (LinearQuant(3, low=-2.0, high=3.0, gradient="clipped"), within(-2, 3)),
    (LogQuant(-2.0, 4.0, gradient="clipped"), within(-2, 4)),
    (
        Transposable(1, 2, gradient="kept"),
        lambda x: torch.from_numpy(sparsity.transposable_mask(x.numpy().reshape(1, -1), 1, 2)).reshape(x.shape),
    ),
    ((Rounded(E2M1, gradient="clipped"), Sign()), within(-1.25, 1.25)),  # the sign sees 1.25 rounded to 1
]


@pytest.mark.parametrize(("operand", "passes"), PASSING, ids=lambda value: None)
def test_the_gradient_passes_where_the_formula_says(operand, passes):
    """Of an activation and of a weight: the gradient of the exact product of the other operand, or zero."""
    gradient = torch.arange(1.0, 3.0).reshape(1, 2)
    layer = emul.nn.Linear(len(X), 2, False, rule=Rule(".*", forward=Product(activation=operand)))
    with torch.no_grad():
        layer.weight.copy_(torch.arange(2 * len(X)).reshape(2, len(X)) % 7 - 3)
    x = X.reshape(1, -1).clone().requires_grad_()
    layer(x).backward(gradient)
    assert torch.equal(x.grad[0], torch.where(passes(X), (gradient @ layer.weight.detach())[0], 0))
    layer = emul.nn.Linear(len(X), 1, False, rule=Rule(".*", forward=Product(weight=operand)))
    with torch.no_grad():
        layer.weight.copy_(X)
    layer(torch.full((1, len(X)), 3.0)).backward(torch.ones(1, 1))
    assert torch.equal(layer.weight.grad[0], torch.where(passes(X), 3.0, 0.0))


def test_a_mask_keeps_memory_only_where_a_gradient_is_wanted():
    layer = emul.nn.Linear(4, 2, False, rule=Rule(".*", forward=Product(activation=Sign(), weight=Sign())))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.dtype) or t, lambda t: t):
        layer(torch.ones(3, 4))
    assert saved.count(torch.bool) == 1


class Words:
    """Every combination of words for the draws of a run, in the order in which the draws come."""

    def __init__(self, random_bits: int) -> None:
        self.random_bits, self.shapes, self.words = random_bits, [], None

    def applied(self, stage, tensor, used, axis, words):
        """In place of `emul.draws.applied`: with given words where it would draw them."""
        array = emul.draws.array_of(tensor)
        if not words:
            values, factor = stage.apply(array, used, axis=axis)
            return torch.from_numpy(np.ascontiguousarray(values)), factor
        shape = array.shape
        if isinstance(stage, MVUE):  # a word a block
            shape = tuple(-(-n // stage.m) if place == axis % len(shape) else n for place, n in enumerate(shape))
        if self.words is None:
            self.shapes.append(shape)
            given = np.zeros(shape, np.uint32)
        else:
            size = int(np.prod(shape))
            given, self.words = np.array(self.words[:size], np.uint32).reshape(shape), self.words[size:]
        values, factor = stage.apply(array, used, axis=axis, words=given)
        return torch.from_numpy(np.ascontiguousarray(values)), factor

    def mean(self, run) -> list[np.ndarray]:
        """The mean of what `run` returns over all words, in float64: exact where all are dyadic."""
        run()
        count = sum(int(np.prod(shape)) for shape in self.shapes)
        assert 2 <= self.random_bits * count <= 12
        total, runs = None, 0
        for words in itertools.product(range(1 << self.random_bits), repeat=count):
            self.words = list(words)
            found = [tensor.double().numpy() for tensor in run()]
            assert not self.words
            total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
            runs += 1
        return [one / runs for one in total]


#: name -> (random bits, the gradient's stages, gradient of the output, weights of the second layer, samples)
UNBIASED = {
    "sr": (2, Quantizer(catalog.E2M1, Rounding.SR, random_bits=2), [[2.75]], [[0.625, 0.75]], 1),
    "sr, 2 samples": (1, Quantizer(catalog.E2M1, Rounding.SR, random_bits=1), [[2.5]], [[0.5, 1.0]], 2),
    "luq": (2, LUQ(2, random_bits=2), [[4.0]], [[1.0, -0.375]], 1),
    "scaled sr": (2, Scaled(Quantizer(catalog.E2M1, Rounding.SR, random_bits=2)), [[5.5]], [[0.625, 0.75]], 1),
    "mvue": (1, MVUE(1, 2, random_bits=1), [[3.0, -3.0]], [[0.5, 0.75], [0.25, 1.5]], 1),
}


@pytest.mark.parametrize("name", UNBIASED)
def test_gradients_of_an_unbiased_recipe_average_to_the_exact_ones(name, monkeypatch):
    """A net of two layers: over all words, the mean of both weight gradients is the full-precision gradient."""
    random_bits, stage, upstream, second, samples = UNBIASED[name]
    rule = Rule(
        ".*",
        forward=Product(accumulator=FLOAT),
        grad_input=Product(accumulator=FLOAT, gradient=stage, samples=samples),
        grad_weight=Product(accumulator=FLOAT, gradient=stage, samples=samples),
    )
    native = nn.Sequential(nn.Linear(2, 2, False), nn.ReLU(), nn.Linear(2, len(second), False))
    with torch.no_grad():
        native[0].weight.copy_(torch.tensor([[1.0, 2.0], [0.5, 0.25]]))
        native[2].weight.copy_(torch.tensor(second))
    x, g = torch.tensor([[1.0, -0.25]]), torch.tensor(upstream)
    native(x).backward(g)
    expected = [parameter.grad.double().numpy() for parameter in native.parameters()]
    model = emul.swap_(native, Recipe((rule,)))
    words = Words(random_bits)
    monkeypatch.setattr(emul.draws, "applied", words.applied)
    seen = set()

    def run() -> list[torch.Tensor]:
        model.zero_grad()
        model(x).backward(g)
        found = [parameter.grad for parameter in model.parameters()]
        seen.add(tuple(float(value) for gradient in found for value in gradient.reshape(-1)))
        return found

    for mean, exact in zip(words.mean(run), expected, strict=True):
        np.testing.assert_array_equal(mean, exact)
    assert len(seen) > 1  # something was random


def test_samples_divide_the_variance():
    """Over all words: the variance of the mean of two draws is half of one's, exactly."""

    def variance(samples: int) -> float:
        stage = Quantizer(catalog.E2M1, Rounding.SR, random_bits=2)
        product = Product(gradient=stage, samples=samples)
        layer = emul.nn.Linear(1, 1, False, rule=Rule(".*", grad_weight=product))
        words, values = Words(2), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(emul.draws, "applied", words.applied)

            def run() -> list[torch.Tensor]:
                layer.zero_grad()
                layer(torch.ones(1, 1)).backward(torch.tensor([[2.75]]))
                values.append(float(layer.weight.grad))
                return [layer.weight.grad]

            (mean,) = words.mean(run)
        assert mean.item() == 2.75
        return sum((value - 2.75) ** 2 for value in values[1:]) / (len(values) - 1)

    assert variance(1) == 0.25 * 0.75
    assert variance(2) == 0.25 * 0.75 / 2


NARROW = Accumulator(
    catalog.lba(4, 3, 3, paper=True), Rounding.RTZ, product=Quantizer(catalog.lba(4, 3, 5), Rounding.RTZ)
)
DIFF = ChainGradient(rule="recursive", event="diff")


def chained(accumulator: Accumulator, chain: ChainGradient, operand=None, weight=None) -> Rule:
    return Rule(
        ".*",
        forward=Product(accumulator=accumulator, activation=operand, weight=weight, chain=chain),
        grad_input=Product(weight=weight),
        grad_weight=Product(activation=operand),
    )


@pytest.mark.parametrize("chain", [DIFF, ChainGradient(rule="immediate", event="overflow")], ids=["diff", "overflow"])
def test_the_gradient_of_a_chain_is_numpy_s_to_the_bit(chain):
    generator = torch.Generator().manual_seed(0)
    x, w, g = (torch.randn(shape, generator=generator) for shape in ((5, 20), (3, 20), (5, 3)))
    scaled = Scaled(Quantizer(catalog.E4M3))
    layer = emul.nn.Linear(20, 3, False, rule=chained(NARROW, chain, scaled))
    with torch.no_grad():
        layer.weight.copy_(w)
    inputs = x.clone().requires_grad_()
    layer(inputs).backward(g)
    scale = np.float32(2.0 ** np.floor(np.log2(448 / x.abs().max().item())))
    values = Quantizer(catalog.E4M3).quantize(x.numpy() * scale)
    of_a, of_b = chain_gradients(
        values, w.numpy().T, g.numpy(), NARROW, rule=chain.rule, event=chain.event, tolerance=chain.tolerance
    )
    np.testing.assert_array_equal(inputs.grad.numpy(), of_a)
    np.testing.assert_array_equal(layer.weight.grad.numpy(), of_b.T / scale)
    identity = torch.from_numpy(g.numpy() @ w.numpy())
    assert not torch.allclose(inputs.grad, identity)


def test_a_chain_that_nothing_stops_has_the_native_gradient_in_convolutions_too():
    generator = torch.Generator().manual_seed(0)

    def integers(*shape: int) -> torch.Tensor:
        return torch.randint(1, 5, shape, generator=generator).float()

    native = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), groups=2)
    with torch.no_grad():
        for parameter in native.parameters():
            parameter.copy_(integers(*parameter.shape))
    rule = chained(FLOAT, ChainGradient(rule="recursive", event="overflow"), Quantizer(catalog.BFLOAT16))
    emulated = emul.nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), groups=2, rule=rule)
    emulated.load_state_dict(native.state_dict())
    ours, theirs = (integers(2, 4, 7, 6).requires_grad_() for _ in range(2))
    with torch.no_grad():
        ours.copy_(theirs)
    output, expected = emulated(ours), native(theirs)
    assert torch.equal(output, expected)
    gradient = integers(*expected.shape)
    output.backward(gradient)
    expected.backward(gradient)
    assert torch.equal(ours.grad, theirs.grad)
    assert torch.equal(emulated.weight.grad, native.weight.grad)


def test_a_chain_stops_what_its_operands_stop():
    layer = emul.nn.Linear(3, 1, False, rule=chained(FLOAT, DIFF, Rounded(E2M1, gradient="clipped"), Sign()))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.5, 2.0]]))
    x = torch.tensor([[1.0, 7.0, 3.0]], requires_grad=True)
    layer(x).backward(torch.ones(1, 1))
    assert x.grad.tolist() == [[1.0, 0.0, 1.0]]
    assert layer.weight.grad.tolist() == [[1.0, 6.0, 0.0]]


def test_a_second_derivative_of_a_chain_is_refused():
    layer = emul.nn.Linear(3, 1, False, rule=chained(FLOAT, DIFF))
    x = torch.ones(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no derivative of their own: leave create_graph=True out"):
        gradient.sum().backward()


MX = Quantizer(catalog.MXFP4_E2M1)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: Rounded(MX, gradient="clipped"),
            ValueError,
            "gradient = 'clipped' of mxfp4_e2m1 in blocks of 32: what its blocks clip",
        ),
        (lambda: Rounded(catalog.E4M3), TypeError, "quantizer = e4m3fn: give numerics.Quantizer(e4m3fn)"),
        (
            lambda: Rounded(E2M1, gradient="kept"),
            ValueError,
            "gradient = 'kept' of Rounded: give 'straight' or 'clipped'",
        ),
        (lambda: Sign(gradient="clipped"), ValueError, "gradient = 'clipped' of Sign: give 'straight' or 'hard_tanh'"),
        (lambda: MVUE(gradient="kept"), ValueError, "gradient = 'kept' of MVUE: give 'straight'"),
        (lambda: LUQ(0), ValueError, "levels = 0: give the number of nonzero magnitudes"),
        (lambda: LUQ(eta=1.5), ValueError, "eta = 1.5: give the weight of the previous maximum, from 0 to 1"),
        (lambda: LUQ(power_of_two="near"), ValueError, "power_of_two = 'near': give None, 'up' or 'down'"),
        (lambda: LUQ(random_bits=0), ValueError, "random_bits = 0"),
        (lambda: SAWB(1), ValueError, "bits = 1: give 2 to 16"),
        (lambda: SAWB(6), ValueError, "bits = 6: SAWB has coefficients for 2, 3, 4"),
        (lambda: Affine(0), ValueError, "bits = 0"),
        (lambda: Affine(8, distribution="cauchy"), ValueError, "cauchy"),
        (lambda: Affine(8, rounding=Rounding.RTZ), ValueError, "affine rounds to nearest even, RNE, or stochastically"),
        (lambda: Affine(8, random_bits=4), ValueError, "random_bits = 4"),
        (
            lambda: Scaled(MX),
            ValueError,
            "quantizer of mxfp4_e2m1 in blocks of 32: a scale for the tensor goes with a FloatFormat",
        ),
        (lambda: Scaled(E2M1, history=0), ValueError, "length = 0: give a number of steps of at least 1"),
        (lambda: Scaled(E2M1, largest=-1.0), ValueError, "largest = -1.0: give the largest number of the format"),
        (lambda: MVUE(3, 2), ValueError, "n = 3, m = 2: give 1 <= n <= m"),
        (lambda: MVUE(1, 2, method="approximate"), ValueError, "method 'approximate' with n = 1"),
        (lambda: Transposable(method="best"), ValueError, "method = 'best': give 'exact' or 'greedy'"),
        (lambda: LinearQuant(0), ValueError, "bits = 0: give 1 to 24"),
        (lambda: LinearQuant(4, ties="up"), ValueError, "ties = 'up': give 'even' or 'away'"),
        (lambda: LogQuant(2.0, 1.0), ValueError, "low = 2.0, high = 1.0: give low <= high"),
        (lambda: ChainGradient(rule="identity"), ValueError, "rule = 'identity': give 'immediate' or 'recursive'"),
        (lambda: ChainGradient(event="swamping"), ValueError, "event = 'swamping': give 'overflow' or 'diff'"),
        (lambda: ChainGradient(tolerance=-1.0), ValueError, "tolerance = -1.0: give a relative change of a sum"),
        (lambda: ChainGradient(event="overflow", tolerance=0.5), ValueError, "tolerance = 0.5 with event = 'overflow'"),
        (lambda: Product(weight=()), ValueError, "weight = (): give the stages of the operand, or None"),
        (lambda: Product(weight=(E2M1, None)), TypeError, "weight = None: give a numerics.Quantizer, or None to leave"),
        (lambda: Product(weight=LUQ), TypeError, "emul.operands has more, and a tuple applies several"),
        (lambda: Product(weight=(MX, Sign())), ValueError, "weight: Sign with gradient = 'hard_tanh' after Rounded"),
        (lambda: Product(gradient=E2M1, samples=2), ValueError, "samples = 2 of a gradient without randomness"),
        (lambda: Product(samples=0), ValueError, "samples = 0: give the number of draws of the gradient"),
        (lambda: Product(chain=DIFF), ValueError, "without a numerics.Accumulator: there is no chain of roundings"),
        (
            lambda: Product(accumulator=catalog.MATRIX_UNITS["v100.f16.f32"], chain=DIFF),
            ValueError,
            "without a numerics.Accumulator",
        ),
        (
            lambda: Product(accumulator=Accumulator(catalog.BINARY32, order="pairwise"), chain=DIFF),
            ValueError,
            "pairwise",
        ),
        (lambda: Product(accumulator=FLOAT, chain="diff"), TypeError, "chain = 'diff': give an emul.ChainGradient"),
        (
            lambda: Rule(".*", grad_weight=Product(accumulator=FLOAT, chain=DIFF)),
            ValueError,
            "grad_weight has a chain: it is the forward product whose sums a gradient passes; give it there",
        ),
        (
            lambda: Rule(".*", grad_input=Product(weight=Rounded(E2M1, gradient="clipped"))),
            ValueError,
            "grad_input has gradient = 'clipped' for its weight: a gradient passes the operands of the forward product",
        ),
        (
            lambda: Rule(".*", forward=Product(accumulator=FLOAT, weight=E2M1, chain=DIFF)),
            ValueError,
            "grad_input beside forward.chain: the gradient of a chain is computed with the weight of the forward",
        ),
        (
            lambda: Rule(".*", forward=Product(accumulator=FLOAT, chain=DIFF), grad_weight=Product(gradient=E2M1)),
            ValueError,
            "give grad_weight=Product(activation=...) with the same activation",
        ),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        call()


def test_a_unit_with_scales_is_refused():
    unit = next(u for u in catalog.MATRIX_UNITS.values() if getattr(u, "scale", None) is not None)
    with pytest.raises(
        ValueError, match="a unit with scales of its own operands, which a layer's product does not have"
    ):
        Product(accumulator=unit)


def test_records_stay_frozen_hashable_and_equal_by_value():
    def build() -> Product:
        return Product(weight=[TopN(), Scaled(E2M1, history=4)], gradient=(LUQ(eta=0.5), MVUE()), samples=2)

    assert build() == build()
    assert hash(build()) == hash(build())
    assert build().weight == (TopN(), Scaled(E2M1, history=4))
