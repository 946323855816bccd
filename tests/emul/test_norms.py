"""Norm layers: their sums against numpy's, bit for bit; their formulas against torch's own and finite differences."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import emul
from emul import Norm, Product, Recipe, Rule, swap_, swap_report
from numerics import Accumulator, Overflow, Quantizer, Rounding, binary, catalog, matmul, normalization, parse_format

#: Truncating, coarse and chunked: almost any other order or operand gives other bits.
SUMS = Accumulator(
    parse_format("lba_m4e3_b3_paper"), Rounding.RTZ, product=Quantizer(parse_format("e4m3fn"), Rounding.RTZ), chunk=4
)
FLOAT = Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE)
WIDE = Product(accumulator=Accumulator(catalog.BINARY64, Rounding.RNE, Overflow.IEEE))
BATCH = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
EXACT = Rule(".*", forward=WIDE, grad_input=WIDE, grad_weight=WIDE)
#: Each sum by another accumulator, so that one in the place of another is seen.
COARSE = {
    "forward": Product(accumulator=SUMS),
    "grad_input": Product(accumulator=FLOAT),
    "grad_weight": Product(accumulator=SUMS),
}

FORMS = [
    Norm("l2"),
    Norm("l1"),
    Norm("linf"),
    Norm("linf", kind="paper"),
    Norm("topk", k=3),
    Norm("range"),
    Norm("range", kind="code", chunks=3),
    Norm("shift"),
]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)


def form(norm: Norm, **products: Product) -> Rule:
    return Rule(".*", types=BATCH, norm=norm, **products)


def fill(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=i + 7, dtype=parameter.dtype))
    return layer


@pytest.mark.parametrize("norm", FORMS, ids=str)
def test_a_form_is_that_of_numerics(norm):
    layer = emul.nn.BatchNorm2d(3, eps=0.0, momentum=1.0, dtype=torch.float64, rule=form(norm))
    fill(layer)
    x = draw(4, 3, 2, 2)
    output, array = layer(x).detach().numpy(), x.numpy()
    gain, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    options = {
        name: getattr(norm, name)
        for name, forms in (("kind", ("linf", "topk", "range")), ("k", ("topk",)), ("chunks", ("range",)))
        if norm.form in forms
    }
    if norm.form == "shift":
        rows = array.transpose(0, 2, 3, 1).reshape(-1, 3)
        expected = binary.shift_batch_norm(rows, gain, bias).reshape(4, 2, 2, 3).transpose(0, 3, 1, 2)
        centred = rows - rows.mean(0)
        variance = binary.shift_variance(centred)
    else:
        found = getattr(normalization, f"{norm.form}_batch_norm")(array, axis=(0, 2, 3), **options)
        expected = found.values * gain[:, None, None] + bias[:, None, None]
        variance = found.scale.reshape(-1) ** 2 * (16 / 15 if norm.form == "l2" else 1)
    np.testing.assert_allclose(output, expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(layer.running_var, variance, rtol=1e-13)
    np.testing.assert_allclose(layer.running_mean, array.mean((0, 2, 3)), rtol=1e-13)
    # In evaluation the running statistics stand for those of the batch.
    layer.eval()
    if norm.form != "l2":
        np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12, atol=1e-13)


def test_the_shift_form_is_that_of_numerics_to_the_bit_where_means_are_exact():
    layer = fill(emul.nn.BatchNorm1d(3, eps=0.25, rule=form(Norm("shift"))))
    x = torch.randint(-8, 9, (16, 3), generator=torch.Generator().manual_seed(0)).float()
    x[:, 1] = 5  # constant: the bias
    gain, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    expected = binary.shift_batch_norm(x.numpy(), gain, bias, epsilon=0.25)
    assert np.array_equal(layer(x).detach().numpy(), expected)


@pytest.mark.parametrize("norm", FORMS[:-1], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_is_that_of_the_formula(norm, training):
    layer = fill(emul.nn.BatchNorm1d(2, eps=0.1, dtype=torch.float64, rule=form(norm))).train(training)

    def call(x, gain, bias):
        return torch.func.functional_call(layer, {"weight": gain, "bias": bias}, (x,))

    inputs = draw(8, 2), layer.weight.detach().clone(), layer.bias.detach().clone()
    assert torch.autograd.gradcheck(call, [tensor.requires_grad_() for tensor in inputs])


class Straight(torch.autograd.Function):
    """AP2, straight through."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(binary.ap2(x.detach().numpy()))

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_the_gradient_of_the_shift_form_is_straight_through_its_powers():
    layer = fill(emul.nn.BatchNorm1d(2, eps=0.1, dtype=torch.float64, rule=form(Norm("shift"))))
    x, g = draw(7, 2).requires_grad_(), draw(7, 2, seed=1)
    layer(x).backward(g)
    own, gain = x.detach().clone().requires_grad_(), layer.weight.detach().clone().requires_grad_()
    d = own - own.mean(0)
    inverse = Straight.apply(((d * Straight.apply(d)).mean(0) + 0.1) ** -0.5)
    (Straight.apply(gain) * (d * inverse) + layer.bias.detach()).backward(g)
    torch.testing.assert_close(x.grad, own.grad, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(layer.weight.grad, gain.grad, rtol=1e-12, atol=1e-13)


LAYERS = [
    (lambda: nn.LayerNorm(6), (4, 3, 6)),
    (lambda: nn.LayerNorm((3, 6), eps=0.1, bias=False), (4, 3, 6)),
    (lambda: nn.LayerNorm(6, elementwise_affine=False), (6,)),
    (lambda: nn.RMSNorm(6), (4, 3, 6)),
    (lambda: nn.RMSNorm((3, 6), eps=0.1, elementwise_affine=False), (4, 3, 6)),
    (lambda: nn.BatchNorm1d(3), (5, 3)),
    (lambda: nn.BatchNorm1d(3, momentum=None, affine=False), (5, 3, 4)),
    (lambda: nn.BatchNorm2d(3, track_running_stats=False), (5, 3, 2, 2)),
    (lambda: nn.BatchNorm3d(3, momentum=0.3, eps=0.1), (2, 3, 2, 1, 3)),
]


@pytest.mark.parametrize(("build", "shape"), LAYERS)
def test_binary64_is_torch_s_own(build, shape):
    native = fill(build().double())
    ours = copy.deepcopy(native)
    rule = Rule(".*", types=(type(native).__name__,), forward=WIDE, grad_input=WIDE, grad_weight=WIDE)
    swap_(ours, Recipe((rule,)))
    assert type(ours) is getattr(emul.nn, type(native).__name__)
    for step in range(3):
        if step == 2:
            ours.eval()
            native.eval()
        results = []
        for layer in (ours, native):
            layer.zero_grad()
            x = draw(*shape, seed=step).requires_grad_()
            output = layer(x)
            output.backward(draw(*shape, seed=step + 9))
            results.append([output, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()])
        for mine, other in zip(*results, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-12)
    assert list(ours.state_dict()) == list(native.state_dict())
    emul.restore_(ours)
    assert type(ours) is type(native)


def total(a: np.ndarray, b: np.ndarray, accumulator: Accumulator = SUMS) -> np.ndarray:
    return np.concatenate([matmul(one[None], other[:, None], accumulator)[0] for one, other in zip(a, b, strict=True)])


def by_hand(x, g, gain, epsilon, norm, *, centred=True, per_row=True, sums=(FLOAT, SUMS)):
    """Values times gain, gradients of x and of the gain, for rows x and the gradient g of the result, in float32."""
    one, n = np.float32, x.shape[1]
    ones = np.ones_like(x)
    mean = total(x, ones) / one(n) if centred else np.zeros(len(x), np.float32)
    d = x - mean[:, None]
    constant = one(
        normalization.L1_CONSTANT
        if norm.form == "l1"
        else normalization.top_constant(n, norm.k)
        if norm.form == "topk"
        else 1
    )
    order = np.argsort(-np.abs(d), axis=1, kind="stable")[:, : norm.k]
    if norm.form in ("l2", "shift"):
        other = d if norm.form == "l2" else binary.ap2(d)
        variance, slopes = total(d, other) / one(n), (d + other) / one(2 * n) if norm.form == "shift" else d / one(n)
    else:
        part = np.abs(d) if norm.form == "l1" else np.take_along_axis(np.abs(d), order, 1)
        scale = constant * (total(part, np.ones_like(part)) / one(part.shape[1]))
        chosen = np.zeros_like(d)
        np.put_along_axis(chosen, order, 1, 1)
        slopes = scale[:, None] * (
            np.sign(d)
            * (
                one(np.float64(normalization.L1_CONSTANT) / n)
                if norm.form == "l1"
                else chosen * one(normalization.top_constant(n, norm.k) / norm.k)
            )
        )
        variance = scale * scale
    exact = one(1) / np.sqrt(variance + one(epsilon))
    factor = binary.inverse_root(variance + one(epsilon)).astype(np.float32) if norm.form == "shift" else exact
    values = d * factor[:, None]
    gains = binary.ap2(gain) if norm.form == "shift" else gain
    gains = gains[:, None] if per_row else gains[None]
    of_gain = total(g, values, sums[1]) if per_row else total(g.T.copy(), values.T.copy(), sums[1])
    inner = g * gains
    along = total(inner, values, sums[0])
    of_x = factor[:, None] * inner - (along * (exact / factor) * exact)[:, None] * (exact[:, None] * slopes)
    if centred:
        of_x = of_x - (total(of_x, ones, sums[0]) / one(n))[:, None]
    return values * gains, of_x, of_gain


def assert_same_bits(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.detach().numpy(), other), (one, other)


@pytest.mark.parametrize("norm", [Norm("l2"), Norm("l1"), Norm("topk", k=3), Norm("shift")], ids=str)
def test_every_sum_of_a_batch_norm_is_numpy_s_to_the_bit(norm):
    layer = fill(emul.nn.BatchNorm1d(3, eps=0.125, rule=form(norm, **COARSE)))
    x, g = draw(4, 3, 3, dtype=torch.float32).requires_grad_(), draw(4, 3, 3, seed=1, dtype=torch.float32)
    output = layer(x)
    output.backward(g)

    def rows(tensor):
        return np.ascontiguousarray(tensor.detach().numpy().transpose(1, 0, 2).reshape(3, -1))

    values, of_x, of_gain = by_hand(rows(x), rows(g), layer.weight.detach().numpy(), 0.125, norm)
    values = values + layer.bias.detach().numpy()[:, None]

    def back(array):
        return array.reshape(3, 4, 3).transpose(1, 0, 2)

    assert_same_bits((output, x.grad, layer.weight.grad), (back(values), back(of_x), of_gain))


@pytest.mark.parametrize("centred", [True, False], ids=["LayerNorm", "RMSNorm"])
def test_every_sum_of_a_layer_norm_is_numpy_s_to_the_bit(centred):
    kind = emul.nn.LayerNorm if centred else emul.nn.RMSNorm
    turned = {**COARSE, "grad_input": COARSE["grad_weight"], "grad_weight": COARSE["grad_input"]}
    layer = fill(kind((2, 5), eps=0.125, rule=Rule(".*", **turned)))
    x, g = draw(3, 2, 2, 5, dtype=torch.float32).requires_grad_(), draw(3, 2, 2, 5, seed=1, dtype=torch.float32)
    output = layer(x)
    output.backward(g)
    rows = [tensor.detach().numpy().reshape(6, 10) for tensor in (x, g)]
    gain = layer.weight.detach().numpy().reshape(10)
    values, of_x, of_gain = by_hand(*rows, gain, 0.125, Norm(), centred=centred, per_row=False, sums=(SUMS, FLOAT))
    if centred:
        values = values + layer.bias.detach().numpy().reshape(10)
    expected = values.reshape(x.shape), of_x.reshape(x.shape), of_gain.reshape(2, 5)
    assert_same_bits((output, x.grad, layer.weight.grad), expected)


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.LayerNorm(6, elementwise_affine=False),
        lambda: nn.LayerNorm(6),
        lambda: nn.RMSNorm(6, elementwise_affine=False),
        lambda: nn.BatchNorm1d(6, affine=False),
        lambda: nn.BatchNorm1d(6),
    ],
)
def test_an_output_may_be_changed_in_place(build):
    kinds = ("LayerNorm", "RMSNorm", "BatchNorm1d")
    found = []
    for inplace in (False, True):
        model = nn.Sequential(build(), nn.ReLU(inplace))
        swap_(model, Recipe((Rule(".*", types=kinds, **COARSE),)))
        x = draw(4, 6, dtype=torch.float32).requires_grad_()
        output = model(x)
        found.append([output, *torch.autograd.grad(output.square().sum(), [x, *model.parameters()])])
    for plain, changed in zip(*found, strict=True):
        assert torch.equal(plain, changed)


def test_words_are_keyed_by_step_and_a_checkpoint_draws_them_again():
    noisy = Product(accumulator=Accumulator(catalog.BINARY16, Rounding.SR, random_bits=8))
    layer = emul.nn.LayerNorm(16, rule=Rule(".*", forward=noisy, grad_input=noisy), name="norm")
    twin = copy.deepcopy(layer)
    x = draw(4, 16, dtype=torch.float32).requires_grad_()
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    (expected,) = torch.autograd.grad(first.square().sum(), x)
    output = checkpoint(twin, x, use_reentrant=False)
    assert torch.equal(output, first)
    (found,) = torch.autograd.grad(output.square().sum(), x)
    assert torch.equal(found, expected)
    assert twin.emulation.step == 1


def test_norms_are_for_rules_that_name_them():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.BatchNorm1d(4), nn.GroupNorm(1, 4))
    plain = Rule(".*", forward=COARSE["forward"])
    native = "no rule names its type, which norms want"
    report = swap_report(model, Recipe((plain,)))
    assert [(layer.name, layer.rule) for layer in report.layers] == [("0", 0), ("1", None), ("2", None), ("3", None)]
    assert [layer.native for layer in report.native[:2]] == [native, native]
    assert report.native[2].native.startswith("emul.nn has no GroupNorm: use a torch.nn.LayerNorm or a BatchNorm")
    named = Rule(".*", types=("LayerNorm",), forward=COARSE["forward"])
    report = swap_report(swap_(model, Recipe((plain, named))))
    assert [(layer.name, layer.rule) for layer in report.layers] == [("0", 0), ("1", 1), ("2", None), ("3", None)]
    assert type(model[1]) is emul.nn.LayerNorm
    assert type(model[2]) is nn.BatchNorm1d
    emul.restore_(model)
    ranged = Recipe((form(Norm("range")),))
    assert str(swap_report(model, ranged)).splitlines()[2].startswith("2 (BatchNorm1d): rule 0, in the form range, for")
    kept = Rule(".*", types=("LayerNorm",), keep=True)
    assert swap_report(model, Recipe((kept, plain))).layers[1].native == "kept by rule 0"


def test_a_constant_channel_and_an_overflowing_sum_become_zeros():
    half = Accumulator(catalog.BINARY16, Rounding.RNE, Overflow.IEEE)
    for norm, zero in ((Norm("l2"), True), (Norm("l1"), False)):
        layer = emul.nn.BatchNorm1d(2, eps=0.0, affine=False, rule=form(norm, forward=Product(accumulator=half)))
        x = torch.tensor([[300.0, 2.0], [-300.0, 2.0], [300.0, 2.0], [-300.0, 2.0]], requires_grad=True)
        output = layer(x)
        output.sum().backward()
        assert bool(output[:, 0].any()) is not zero  # 300 squared is beyond binary16, 300 is not
        assert not output[:, 1].any()
        assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("norm", [Norm("l1"), Norm("topk", k=3)], ids=str)
def test_of_a_channel_whose_deviation_overflows_the_gradient_is_zero_as_its_values(norm):
    half = Accumulator(catalog.BINARY16, Rounding.RNE, Overflow.IEEE)
    layer = emul.nn.BatchNorm1d(2, rule=form(norm, forward=Product(accumulator=half)))
    x = (torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]) * torch.tensor([3e4, 1.0])).requires_grad_()
    output = layer(x)
    (output * torch.tensor([[1.0], [2.0], [4.0], [9.0]])).sum().backward()
    assert not output[:, 0].any()
    assert not x.grad[:, 0].any()
    assert x.grad[:, 1].any()


ROUNDED = Rule(".*", types=("LayerNorm",), forward=Product(activation=Quantizer(catalog.E4M3)))


@pytest.mark.parametrize("norm", [Norm("l2"), Norm("range", chunks=2), Norm("shift")], ids=str)
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0, 4)])
def test_a_batch_of_no_elements_is_taken_as_torch_takes_it(norm, options, shape):
    native = nn.BatchNorm2d(3, **options)
    layer = emul.nn.BatchNorm2d(3, **options, rule=form(norm, **COARSE))
    for each in (native, layer):
        if each.running_mean is not None:
            each.running_mean.fill_(0.25)
        x = torch.empty(shape, requires_grad=True)
        output = each(x)
        output.sum().backward()
        assert output.shape == x.grad.shape == shape
        each.eval()(x).add_(1)  # no view of a leaf
    for found, wanted in zip(layer.parameters(), native.parameters(), strict=True):
        assert torch.equal(found.grad, wanted.grad)
    state = native.state_dict()
    assert all(torch.equal(layer.state_dict()[name], state[name]) for name in state)
    assert int(state.get("num_batches_tracked", 1)) == 1


LAYER = emul.nn.LayerNorm((2, 3), rule=Rule(".*", **COARSE), name="ln")


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: Norm("l3"), ValueError, "form = 'l3': give l2, l1"),
        (lambda: Norm("l1", kind="paper"), ValueError, "kind = 'paper' goes with linf and topk and range, not l1"),
        (lambda: Norm("range", kind="mine"), ValueError, "kind 'mine' is not known"),
        (lambda: Norm("linf", kind="poster"), ValueError, "kind 'poster' is not known"),
        (lambda: Norm("topk", k=0), ValueError, "k = 0: give an integer of at least 1"),
        (lambda: Norm("range", chunks=1.5), ValueError, "chunks = 1.5: give an integer"),
        (lambda: Rule(".*", norm="l1"), TypeError, "norm = 'l1': give an emul.Norm"),
        (
            lambda: Rule(".*", norm=Norm("l1")),
            ValueError,
            "it is the form of batch norms; give types among BatchNorm1d",
        ),
        (
            lambda: Rule(".*", types=("BatchNorm1d", "Linear"), norm=Norm("l1")),
            ValueError,
            "give types among BatchNorm1d, BatchNorm2d, BatchNorm3d",
        ),
        (
            lambda: swap_(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), Recipe((ROUNDED,))),
            ValueError,
            "LayerNorm '1' has sums and no operands: its forward product takes an accumulator and nothing else",
        ),
        (
            lambda: emul.nn.RMSNorm(2, rule=form(Norm("l1"))),
            ValueError,
            r"RMSNorm '' has no form Norm\('l1'\): norm= is for batch norms",
        ),
        (lambda: LAYER(torch.ones(3, 2)), ValueError, r"LayerNorm 'ln' has shape \[3, 2\]: its last dimensions must"),
        (
            lambda: LAYER(torch.ones(2, 3).double()),
            TypeError,
            "input of LayerNorm 'ln' is torch.float64 and its weight",
        ),
        (
            lambda: emul.nn.BatchNorm1d(3, rule=form(Norm()), name="bn")(torch.ones(4, 2)),
            ValueError,
            r"BatchNorm1d 'bn' has shape \[4, 2\]: give 3 channels, \[N, 3, ...\]",
        ),
        (
            lambda: emul.nn.BatchNorm1d(3, rule=form(Norm()), name="bn")(torch.ones(1, 3)),
            ValueError,
            "one element of a channel has no deviation; give more, or call eval",
        ),
        (
            lambda: emul.nn.BatchNorm1d(3, rule=form(Norm("range", chunks=3)))(torch.ones(3, 3)),
            ValueError,
            r"input of BatchNorm1d '' has 3 elements, of which Norm\('range', chunks=3\) leaves a run of 1: give fewer chunks",
        ),
        (
            lambda: emul.nn.BatchNorm1d(3, rule=form(Norm("topk")), name="bn")(torch.ones(3, 3)),
            ValueError,
            r"the input of BatchNorm1d 'bn' has 3 elements: Norm\('topk'\) wants 10; give a larger batch",
        ),
        (
            lambda: emul.nn.BatchNorm1d(3, track_running_stats=False, rule=form(Norm())).eval()(torch.ones(1, 3)),
            ValueError,
            r"no deviation; give more, or track_running_stats=True and eval\(\)",
        ),
        (
            lambda: emul.nn.BatchNorm1d(1, rule=form(Norm("shift")), name="bn")(torch.tensor([[1.0], [torch.nan]])),
            ValueError,
            r"forward of layer 'bn': the input of BatchNorm1d 'bn' is nan at \[1, 0\] of its shape \[2, 1\]",
        ),
        (
            lambda: swap_(nn.GroupNorm(1, 2), Recipe((Rule(".*", types=("GroupNorm",), forward=WIDE),))),
            ValueError,
            "emul.nn has no GroupNorm: use a torch.nn.LayerNorm or a BatchNorm",
        ),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_a_norm_is_kept_native_by_an_earlier_rule_without_types():
    named = Rule(".*", types=("LayerNorm", "Linear"), forward=Product(accumulator=Accumulator(catalog.BINARY32)))
    model = nn.ModuleDict({"head": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), "norm": nn.LayerNorm(2)})
    swap_(model, Recipe((Rule(r"head\..*", keep=True), named)))
    found = {layer.name: layer for layer in emul.swap_report(model).layers}
    assert found["head.1"].native == found["head.0"].native == "kept by rule 0"
    assert type(model["head"][1]) is nn.LayerNorm
    assert found["norm"].rule == 1
