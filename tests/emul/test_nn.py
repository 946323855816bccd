import copy
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

import emul
import emul.ops
from emul import Product, Recipe, Rule
from numerics import Accumulator, Overflow, Quantizer, Rounding, catalog, reference, theory

FLOAT = Product(accumulator=Accumulator(catalog.BINARY32, Rounding.RNE, Overflow.IEEE))
#: Every product through the kernels, every sum of small integers exact.
EXACT = Rule(".*", forward=FLOAT, grad_input=FLOAT, grad_weight=FLOAT)
SR = Quantizer(catalog.E5M2, Rounding.SR)
STOCHASTIC = Rule(".*", grad_input=Product(gradient=SR), grad_weight=Product(gradient=SR))


def integers(*shape: int) -> torch.Tensor:
    return torch.randint(-8, 9, shape).float()


def fill(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(integers(*parameter.shape))
    return layer


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def assert_same_as_native(native: nn.Module, emulated: nn.Module, x: torch.Tensor) -> None:
    """Output and all gradients on integers, where every order of summation gives the same value."""
    emulated.load_state_dict(fill(native).state_dict())
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    output, expected = emulated(ours), native(theirs)
    assert output.dtype == expected.dtype
    assert output.is_contiguous()
    assert torch.equal(output, expected)
    gradient = integers(*expected.shape).to(x.dtype)
    output.backward(gradient)
    expected.backward(gradient)
    assert torch.equal(ours.grad, theirs.grad)
    for mine, other in zip(emulated.parameters(), native.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", ["lba12", "transposable_2_4", "luq"])
@pytest.mark.parametrize(("shape", "outputs"), [((2, 3, 4), 0), ((4,), 0), ((2, 0), 3), ((0, 4), 3), ((0, 0), 0)])
def test_linear_without_inputs_outputs_or_samples(name, shape, outputs):
    layer, x = nn.Linear(shape[-1], outputs), torch.randn(shape, requires_grad=True)
    expected = layer(x)
    emul.swap_(layer, emul.recipes.get(name))
    found = layer(x)
    assert found.shape == expected.shape
    assert shape[-1] or torch.equal(found, expected)  # the bias
    found.sum().backward()
    assert not x.grad.any() or outputs
    assert torch.equal(layer.weight.grad, torch.zeros(outputs, shape[-1]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6), (0, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_is_native_on_integers(shape, bias, dtype):
    native = nn.Linear(6, 5, bias, dtype=dtype)
    assert_same_as_native(native, emul.nn.Linear(6, 5, bias, dtype=dtype, rule=EXACT), integers(*shape).to(dtype))


PADDED = [(s, p) for s, p in itertools.product([1, (2, 3)], [0, (2, 1), "same", "valid"]) if p != "same" or s == 1]


@pytest.mark.sampled
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("kernel_size", [(3, 2), 1, 3], ids=str)
@pytest.mark.parametrize(("stride", "padding"), PADDED, ids=str)
@pytest.mark.parametrize("dilation", [1, (1, 2)], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding_mode", ["zeros", "circular", "reflect"])
def test_conv2d_is_native_on_integers(kernel_size, stride, padding, dilation, groups, padding_mode):
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    options |= {"groups": groups, "padding_mode": padding_mode}
    assert_same_as_native(nn.Conv2d(4, 6, **options), emul.nn.Conv2d(4, 6, **options, rule=EXACT), integers(2, 4, 7, 6))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"groups": 4, "padding": 1}, (2, 4, 5, 5)),  # depthwise
        ({"padding": 4, "padding_mode": "replicate"}, (2, 4, 5, 5)),
        ({"padding": 4}, (2, 4, 1, 1)),  # the kernel sees mostly zeros
        ({"stride": 4}, (2, 4, 6, 6)),  # it skips rows, and leaves some over
        ({"bias": False}, (4, 5, 5)),  # one image
        ({}, (0, 4, 5, 5)),
        ({"dtype": torch.float64}, (2, 4, 5, 5)),
    ],
)
def test_conv2d_is_native_on_integers_at_the_edges(options, shape):
    x = integers(*shape).to(options.get("dtype", torch.float32))
    assert_same_as_native(nn.Conv2d(4, 8, 3, **options), emul.nn.Conv2d(4, 8, 3, **options, rule=EXACT), x)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize(
    ("kind", "options", "shape"),
    [
        ("Conv1d", {"kernel_size": 3}, (2, 4, 9)),
        ("Conv1d", {"kernel_size": 3, "stride": 2, "padding": 2, "dilation": 2, "groups": 2}, (2, 4, 9)),
        ("Conv1d", {"kernel_size": 4, "padding": "same", "groups": 4, "bias": False}, (4, 9)),
        ("Conv1d", {"kernel_size": 3, "padding": "valid"}, (0, 4, 9)),
        ("Conv1d", {"kernel_size": 5, "padding": 2, "padding_mode": "reflect"}, (2, 4, 9)),
        ("Conv1d", {"kernel_size": 2, "padding": "same", "padding_mode": "circular"}, (2, 4, 9)),
        ("Conv3d", {"kernel_size": (1, 2, 3), "stride": (1, 2, 1), "padding": (0, 1, 2)}, (2, 4, 2, 4, 5)),
        ("Conv3d", {"kernel_size": 2, "dilation": 2, "groups": 2, "padding": "same"}, (4, 3, 4, 3)),
        ("Conv3d", {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"}, (1, 4, 2, 3, 4)),
    ],
)
def test_conv1d_and_conv3d_are_native_on_integers(kind, options, shape):
    assert_same_as_native(
        getattr(nn, kind)(4, 8, **options), getattr(emul.nn, kind)(4, 8, **options, rule=EXACT), integers(*shape)
    )


WIDE = Product(accumulator=Accumulator(catalog.BINARY64, Rounding.RNE, Overflow.IEEE))


@pytest.mark.parametrize(
    ("made", "shape"),
    [(("Conv1d", 4, 6, 3, 2, 1), (2, 4, 9)), (("Conv3d", 4, 6, (2, 1, 3)), (2, 4, 3, 2, 4))],
    ids=["Conv1d", "Conv3d"],
)
def test_binary64_is_torch_s_own_within_the_bound(made, shape):
    kind, *arguments = made
    native = getattr(nn, kind)(*arguments, bias=False, dtype=torch.float64)
    ours = copy.deepcopy(native)
    emul.swap_(ours, Recipe((Rule("", forward=WIDE, grad_input=WIDE, grad_weight=WIDE),)))
    assert isinstance(ours, getattr(emul.nn, kind))  # torch's own sums may have the same order, and so the same bits
    magnitudes = copy.deepcopy(native)
    with torch.no_grad():
        magnitudes.weight.abs_()
    x = torch.randn(shape, dtype=torch.float64)
    gradient = torch.randn_like(native(x))
    results = []
    for layer, input, upstream in ((ours, x, gradient), (native, x, gradient), (magnitudes, x.abs(), gradient.abs())):
        leaf = input.clone().requires_grad_()
        output = layer(leaf)
        output.backward(upstream)
        results.append((output.detach(), leaf.grad, layer.weight.grad))
    lengths = native.weight[0].numel(), 6 * native.weight[0, 0].numel(), gradient[:, 0].numel()
    for mine, other, size, n in zip(*results, lengths, strict=True):
        # Both sum n terms, in whatever order, and so does their bound, whose own error is the rest.
        bound = 2.001 * float(theory.error_bound(WIDE.accumulator, n).products) * size
        assert ((mine - other).abs() <= bound).all()
        assert bound.max() < 1e-12
    # On Intel's processors MKL's short sums of the forward product are in our order; those of the gradients are not.
    assert any(not torch.equal(mine, other) for mine, other in zip(*results[:2], strict=True))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Linear(6, 6, bias=False), (2, 6)),
        (lambda: nn.Linear(6, 6, bias=False), (2, 3, 6)),
        (lambda: nn.Linear(6, 6, bias=False), (6,)),
        (lambda: nn.Conv2d(2, 3, 3, bias=False), (2, 2, 3, 3)),  # one position, so that its image is no copy
        (lambda: nn.Conv1d(2, 1, 3, bias=False), (2, 2, 6)),  # one channel
    ],
)
def test_an_output_without_bias_may_be_changed_in_place(layer, shape):
    rule = Rule(".*", forward=Product(accumulator=Accumulator(catalog.BFLOAT16)))
    made, found = layer(), []
    for inplace in (False, True):
        model = emul.swap_(copy.deepcopy(nn.Sequential(made, nn.ReLU(inplace))), Recipe((rule,)))
        x = torch.linspace(-2, 3, shape[-1]).expand(shape).clone().requires_grad_()
        output = model(x)
        found.append([output, *torch.autograd.grad(output.sum(), [x, model[0].weight])])
    assert all(map(torch.equal, *found))


def test_inputs_of_any_strides():
    layer = fill(emul.nn.Conv2d(4, 6, 3, padding=1, rule=EXACT))
    x = integers(2, 4, 6, 6)
    last = x.to(memory_format=torch.channels_last)
    assert torch.equal(layer(last), layer(x))
    assert torch.equal(layer(x.mT), layer(x.mT.contiguous()))


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 2, stride=2), nn.Flatten(), nn.Linear(8, 3)
    )


@pytest.mark.parametrize("name", ["fp8", "lba12", "lba8"])
def test_the_oracle_in_place_of_the_kernel_gives_the_same_bits(name, monkeypatch):
    x, labels = torch.rand(2, 1, 4, 4), torch.tensor([0, 2])

    def run() -> list[torch.Tensor]:
        model = emul.swap_(copy.deepcopy(net), emul.recipes.get(name, seed=1))
        inputs = x.clone().requires_grad_()
        output = model(inputs)
        nn.functional.cross_entropy(output, labels).backward()
        return [output.detach(), inputs.grad, *(parameter.grad for parameter in model.parameters())]

    net = small_net()
    kernel = run()
    calls = []

    def oracle(a, b, accumulator, **options):
        calls.append((a.shape, b.shape))
        return reference.matmul(a, b, accumulator, **options)

    monkeypatch.setattr(emul.ops, "numpy_matmul", oracle)
    slow = run()
    assert all(torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in zip(slow, kernel, strict=True))
    # Three layers, forward; in FP8 also both gradients of each.
    assert len(calls) == (9 if name == "fp8" else 3)
    assert any(bool(gradient.any()) for gradient in kernel[1:])


def test_a_forward_product_is_numpy_s_to_the_bit():
    recipe = emul.recipes.lba12()
    (rule,) = recipe.rules
    layer = emul.nn.Linear(40, 7, rule=rule)
    x = torch.randn(5, 40)
    q = rule.forward.activation
    product = torch.from_numpy(
        reference.matmul(q.quantize(x.numpy()), q.quantize(layer.weight.detach().numpy()).T, rule.forward.accumulator)
    )
    assert torch.equal(layer(x), product + layer.bias)


def gradients(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    layer.zero_grad()
    generator = torch.Generator().manual_seed(1)
    output = layer(x)
    output.backward(torch.randn(output.shape, generator=generator))
    return layer.weight.grad.clone()


def twins(**changes: object) -> tuple[nn.Module, nn.Module]:
    """Two layers of the same weights, the second with changed seed or name."""
    first = emul.nn.Linear(6, 5, rule=STOCHASTIC, seed=3, name="fc")
    second = emul.nn.Linear(6, 5, rule=STOCHASTIC, **{"seed": 3, "name": "fc", **changes})
    second.load_state_dict(first.state_dict())
    return first, second


def test_the_same_seed_gives_the_same_bits_over_steps():
    first, second = twins()
    for _ in range(3):
        x = torch.randn(4, 6)
        assert torch.equal(gradients(first, x), gradients(second, x))


@pytest.mark.parametrize("changes", [{"seed": 4}, {"name": "other"}])
def test_another_seed_or_layer_draws_other_words(changes):
    first, second = twins(**changes)
    x = torch.randn(4, 6)
    assert not torch.equal(gradients(first, x), gradients(second, x))


def test_steps_draw_other_words_and_are_counted_in_training_only():
    layer, _ = twins()
    x = torch.randn(4, 6)
    first, second = gradients(layer, x), gradients(layer, x)
    assert layer.emulation.step == 2
    assert not torch.equal(first, second)
    layer.eval()
    third, again = gradients(layer, x), gradients(layer, x)
    assert layer.emulation.step == 2
    assert torch.equal(third, again)
    layer.emulation.step = 0
    assert torch.equal(gradients(layer, x), first)


def test_a_refused_call_is_no_step():
    layer, _ = twins()
    with pytest.raises(ValueError, match="shape"):
        layer(torch.randn(4, 7))
    assert layer.emulation.step == 0


def test_two_forwards_before_their_backwards_keep_their_own_steps():
    layer, other = twins()
    x, g = torch.randn(4, 6), torch.randn(4, 5)
    first, second = layer(x), layer(x)
    (late,) = torch.autograd.grad(second, layer.weight, g)
    (early,) = torch.autograd.grad(first, layer.weight, g)
    expected = [torch.autograd.grad(other(x), other.weight, g)[0] for _ in range(2)]
    assert torch.equal(early, expected[0])
    assert torch.equal(late, expected[1])


def test_copies_and_pickles_go_on_where_the_layer_stands():
    layer, _ = twins()
    x = torch.randn(4, 6)
    gradients(layer, x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is emul.nn.Linear
        assert twin.emulation == layer.emulation
        assert twin.emulation is not layer.emulation
        assert torch.equal(gradients(twin, x), gradients(copy.deepcopy(layer), x))
    assert layer.emulation.step == 1


def test_no_grad_builds_no_graph():
    layer = emul.nn.Linear(6, 5, rule=EXACT)
    with torch.no_grad():
        assert not layer(torch.randn(4, 6).requires_grad_()).requires_grad


# torch hides this warning of its own where it is not an error
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_model_gives_the_eager_bits():
    torch._dynamo.reset()
    model = emul.swap_(small_net(), emul.recipes.fp8(seed=2))
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, backend="aot_eager")
    for _ in range(3):
        x = torch.rand(2, 1, 4, 4)
        expected, output = model(x), compiled(x)
        assert torch.equal(output, expected)
        expected.sum().backward()
        output.sum().backward()
        for mine, other in zip(twin.parameters(), model.parameters(), strict=True):
            assert torch.equal(mine.grad, other.grad)


def test_the_representation_names_the_rule():
    assert repr(emul.nn.Linear(6, 5, rule=EXACT)) == "Linear(in_features=6, out_features=5, bias=True, rule=0)"


def test_the_rule_is_that_of_the_recipe():
    layer = emul.nn.Linear(6, 5, rule=EXACT, seed=4, name="fc")
    assert layer.emulation.rule is EXACT
    assert layer.emulation.recipe == Recipe((EXACT,), 4)


LINEAR = emul.nn.Linear(2, 3, rule=EXACT, name="fc")
CONV = emul.nn.Conv2d(2, 3, 3, rule=EXACT, name="conv")


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: LINEAR(torch.ones(4, 3)), ValueError, r"Linear 'fc' has shape \[4, 3\]: its last dimension must be 2"),
        (lambda: LINEAR(torch.tensor(1.0)), ValueError, r"Linear 'fc' has shape \[\]"),
        (
            lambda: LINEAR(torch.ones(4, 2).half()),
            TypeError,
            r"the input of Linear 'fc' is torch.float16: .*\.float\(\)",
        ),
        (lambda: LINEAR(torch.ones(4, 2).double()), TypeError, r"'fc' is torch.float64 and its weight torch.float32"),
        (lambda: LINEAR(torch.ones(4, 2, device="meta")), ValueError, r"the input of Linear 'fc' is a meta tensor"),
        (lambda: LINEAR([[1.0, 2.0]]), TypeError, r"the input of Linear 'fc' is a list"),
        (
            lambda: copy.deepcopy(LINEAR).to("meta")(torch.ones(4, 2)),
            ValueError,
            r"the weight of Linear 'fc' is a meta tensor",
        ),
        (
            lambda: copy.deepcopy(LINEAR).bfloat16()(torch.ones(4, 2)),
            TypeError,
            r"the weight of Linear 'fc' is torch.bfloat16",
        ),
        (
            lambda: CONV(torch.ones(1, 3, 5, 5)),
            ValueError,
            r"Conv2d 'conv' has shape \[1, 3, 5, 5\]: give \[N, 2, H, W\]",
        ),
        (lambda: CONV(torch.ones(5, 5)), ValueError, r"Conv2d 'conv' has shape \[5, 5\]"),
        (
            lambda: emul.nn.Conv1d(2, 3, 3, rule=EXACT, name="c")(torch.ones(1, 5)),
            ValueError,
            r"Conv1d 'c' has shape \[1, 5\]: give \[N, 2, L\] or \[2, L\]",
        ),
        (
            lambda: emul.nn.Conv3d(2, 3, 3, rule=EXACT, name="c")(torch.ones(2, 2, 5, 5)),
            ValueError,
            r"Conv3d 'c' has shape .*: with its padding it is smaller than the kernel \(3, 3, 3\)",
        ),
        (lambda: CONV(torch.ones(1, 2, 5, 2)), ValueError, r"smaller than the kernel \(3, 3\) of dilation \(1, 1\)"),
        (
            lambda: emul.nn.Linear(2, 3, rule=Rule(".*", keep=True)),
            ValueError,
            r"the rule '\.\*' keeps layers native: build a torch.nn.Linear",
        ),
        (
            lambda: LINEAR(torch.tensor([[float("inf"), 1.0]])),
            ValueError,
            r"its activation is inf at \[0, 0\] of .*finite",
        ),
    ],
)
def test_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


class Counted(nn.Module):
    """A parametrization that is not the same twice, as one by a power iteration or with noise."""

    count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return x * self.count


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(4, 4),
        nn.Conv1d(4, 2, 1),
        nn.LayerNorm(4),
        nn.RMSNorm(4),
        nn.BatchNorm1d(4),
        nn.MultiheadAttention(4, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_that_is_parametrized_after_the_swap_asks_for_each_parameter_once(layer):
    norm = Rule(".*", types=("LayerNorm", "RMSNorm", "BatchNorm1d"), forward=FLOAT)
    emul.swap_(nn.Sequential(layer), Recipe((norm, EXACT)))
    made = []
    for owner in (layer, *layer.children()):
        for name, _ in list(owner.named_parameters(recurse=False)):
            made.append(Counted())
            register_parametrization(owner, name, made[-1])
    before = [one.count for one in made]
    x = integers(4, 4)
    layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x)
    assert [after.count - count for after, count in zip(made, before, strict=True)] == [1] * len(made)
