import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import emul
from emul import Product, Recipe, Rule, restore_, swap_, swap_report
from emul.swap import LayerReport
from numerics import Accumulator, Quantizer, catalog

COARSE = Product(accumulator=Accumulator(catalog.BFLOAT16), activation=Quantizer(catalog.E4M3))


def recipe(*rules: Rule, seed: int = 0) -> Recipe:
    return Recipe(rules or (Rule(".*", forward=COARSE),), seed, "coarse")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.embedding = nn.Embedding(3, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


@pytest.fixture
def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield Net()


X = torch.linspace(-2, 2, 32).reshape(2, 1, 4, 4)


def classes(model: nn.Module) -> list[type]:
    return [type(module) for module in model.modules()]


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_state(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_swap_changes_the_arithmetic_of_what_matches_in_place(net):
    net.eval()
    native = net(X)
    parameters = dict(net.named_parameters())
    assert swap_(net, recipe()) is net
    assert type(net.head) is emul.nn.Linear
    assert type(net.features[0]) is emul.nn.Conv2d
    assert not torch.equal(net(X), native)
    assert all(parameter is parameters[name] for name, parameter in net.named_parameters())


def test_restore_gives_back_bits_and_classes(net):
    net.eval()
    before, kinds, attributes, output = state(net), classes(net), [set(vars(m)) for m in net.modules()], net(X)
    swap_(net, recipe())
    net(X)
    assert restore_(net) is net
    assert classes(net) == kinds
    assert [set(vars(m)) for m in net.modules()] == attributes
    assert same_state(state(net), before)
    assert torch.equal(net(X), output)


def test_a_restored_model_can_be_swapped_again(net):
    net.eval()
    first = swap_(net, recipe())(X)
    assert torch.equal(swap_(restore_(net), recipe())(X), first)


def test_the_report_does_not_count_what_was_restored_or_came_later(net):
    swap_(net, recipe())
    restore_(net.features)
    net.late = nn.Linear(3, 3)
    found = {layer.name: layer for layer in swap_report(net).layers}
    told = "rule 0 matches, and it was restored or came into the model after swap_"
    assert (found["features.0"].rule, found["features.0"].native) == (None, told)
    late = "it came into the model after swap_, and its function is called by the module around it, as calls tell"
    assert found["late"].rule is None and found["late"].native.startswith(late)
    assert [layer.name for layer in swap_report(net).emulated] == ["head"]


def test_a_layer_in_the_place_of_one_that_is_kept_is_not_said_to_be_kept():
    """Its function is called by the model, of which another rule says that it is emulated."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    swap_(model, Recipe((Rule("1", keep=True), Rule(".*", forward=Product(weight=Quantizer(catalog.E4M3))))))
    model[1] = nn.Linear(3, 3)
    model(torch.ones(1, 3))
    report = swap_report(model)
    (late,), (call,) = report.native, report.calls
    assert late.native.startswith("it came into the model after swap_")
    assert (call.module, call.function, call.rule) == ("", "linear", 1)


def test_a_part_can_be_swapped_and_restored_alone(net):
    swap_(net.features, recipe())
    assert type(net.head) is nn.Linear
    restore_(net.features)
    assert type(net.features[0]) is nn.Conv2d


def test_the_state_dict_has_the_native_keys_and_loads_both_ways(net):
    native = copy.deepcopy(net)
    swap_(net, recipe())
    assert list(net.state_dict()) == list(native.state_dict())
    with torch.no_grad():
        net.head.weight.add_(1)
    native.load_state_dict(net.state_dict())
    assert same_state(state(native), state(net))
    with torch.no_grad():
        native.head.weight.add_(1)
    net.load_state_dict(native.state_dict())
    assert same_state(state(native), state(net))


def test_copies_and_pickles_are_swapped_models_of_their_own(net):
    swap_(net, recipe(seed=9))
    net(X)
    net.eval()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert classes(twin) == classes(net)
        assert twin.head.emulation == net.head.emulation
        assert swap_report(twin) == swap_report(net)
        assert torch.equal(twin(X), net(X))
        restore_(twin)
        assert type(twin.head) is nn.Linear
    assert type(net.head) is emul.nn.Linear


def test_hooks_survive_both_ways(net):
    calls = []
    net.head.register_forward_hook(lambda module, inputs, output: calls.append("forward"))
    net.head.register_full_backward_hook(lambda module, inputs, outputs: calls.append("backward"))
    net.head.weight.register_hook(lambda gradient: calls.append("weight"))
    for change in (lambda: swap_(net, recipe()), lambda: restore_(net)):
        change()
        calls.clear()
        net(X).sum().backward()
        assert sorted(calls) == ["backward", "forward", "weight"]


def test_an_optimizer_made_before_goes_on(net):
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    swap_(net, recipe())
    before = state(net)
    net(X).sum().backward()
    optimizer.step()
    assert not torch.equal(net.head.weight, before["head.weight"])
    assert not torch.equal(net.features[0].weight, before["features.0.weight"])


def test_training_mode_requires_grad_and_dtype_are_kept(net):
    net.double().eval()
    net.head.weight.requires_grad_(False)
    swap_(net, recipe())
    assert not net.head.training
    assert not net.head.weight.requires_grad
    assert net(X.double()).dtype == torch.float64


def test_a_model_compiled_before_does_not_go_on_natively(net):
    torch._dynamo.reset()
    net.eval()
    compiled = torch.compile(net, backend="aot_eager")
    with torch.no_grad():
        native = compiled(X)
        swap_(net, recipe())
        output = compiled(X)
        assert torch.equal(output, net(X))
        assert not torch.equal(output, native)


@pytest.mark.parametrize("layer", [nn.Linear(4, 2), nn.Conv2d(1, 2, 3)], ids=["Linear", "Conv2d"])
def test_a_bare_layer_is_a_model(layer):
    native = type(layer)
    swap_(layer, recipe(Rule("", forward=COARSE)))
    assert type(layer) is emul.swap.EMULATED[native]
    assert swap_report(layer).layers == (LayerReport("", native.__name__, 0, ""),)
    restore_(layer)
    assert type(layer) is native


def test_layers_are_keyed_by_their_names(net):
    swap_(net, recipe(Rule(r"features\..*", forward=COARSE), Rule(".*", forward=COARSE), seed=5))
    for name, index in (("features.0", 0), ("head", 1)):
        emulation = net.get_submodule(name).emulation
        assert (emulation.name, emulation.index, emulation.recipe.seed, emulation.step) == (name, index, 5, 0)


def test_the_report_tells_every_layer(net):
    rules = recipe(
        Rule("head", types=("Linear",), forward=COARSE),
        Rule(r"features\.0", keep=True),
        Rule(r"features\.2", forward=COARSE),
    )
    planned = swap_report(net, rules)
    assert planned.layers == (
        LayerReport("features.0", "Conv2d", None, "kept by rule 1"),
        LayerReport("features.1", "BatchNorm2d", None, "no rule names its type, which norms want"),
        LayerReport("embedding", "Embedding", None, "it looks up a table and has no product"),
        LayerReport("head", "Linear", 0, ""),
    )
    assert planned.unused == (2,)
    assert [layer.name for layer in planned.emulated] == ["head"]
    assert [layer.name for layer in planned.native] == ["features.0", "features.1", "embedding"]
    assert str(planned) == (
        "features.0 (Conv2d): native, kept by rule 1\n"
        "features.1 (BatchNorm2d): native, no rule names its type, which norms want\n"
        "embedding (Embedding): native, it looks up a table and has no product\n"
        "head (Linear): rule 0, forward emulated; grad_input and grad_weight torch's own\n"
        "rule 2 has decided about nothing yet: it matches no layer, and functions are seen when they are called"
    )
    assert type(net.head) is nn.Linear
    assert swap_report(swap_(net, rules)) == planned


def test_the_report_tells_of_each_product_whose_sums_it_has(net):
    sums = Accumulator(catalog.BINARY32)
    rules = recipe(
        Rule("head", forward=Product(accumulator=sums, chain=emul.ChainGradient())),
        Rule(".*", grad_weight=Product(accumulator=sums), grad_input=Product(weight=COARSE.activation)),
    )
    report = swap_report(net, rules)
    convolution, head = report.emulated
    assert str(report).count("native") == 2  # the norm and the embedding
    assert report.products(convolution) == {
        "forward": "torch's own",
        "grad_input": "torch's sums of emulated operands",
        "grad_weight": "emulated",
    }
    assert report.products(head) == {
        "forward": "emulated",
        "grad_input": "torch's sums through the forward chain",
        "grad_weight": "torch's sums through the forward chain",
    }
    assert "head (Linear): rule 0, forward emulated; grad_input and grad_weight torch's sums through" in str(report)
    embedding = LayerReport("embedding", "Embedding", None, "no products")
    assert report.products(embedding) == dict.fromkeys(report.products(head), "torch's own")


def test_the_report_of_a_part_keeps_the_rule_it_was_swapped_by(net):
    swap_(net, recipe(Rule("features.0", keep=True), Rule("head", forward=COARSE)))
    assert swap_report(net.head).layers == (LayerReport("", "Linear", 1, ""),)


def test_a_layer_without_rule_is_reported(net):
    report = swap_report(net, recipe(Rule("head", forward=COARSE)))
    assert report.native[0] == LayerReport("features.0", "Conv2d", None, "no rule matches")


def test_a_layer_under_two_names_is_one_layer_and_goes_by_the_first():
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared, nn.Linear(4, 4))})
    rules = recipe(Rule("a", forward=COARSE), Rule(".*", keep=True))
    swap_(model, rules)
    assert swap_report(model).layers == (
        LayerReport("a", "Linear", 0, "", ("b.0",)),
        LayerReport("b.1", "Linear", None, "kept by rule 1"),
    )
    assert model["b"][0] is shared
    assert "a (Linear, also b.0): rule 0" in str(swap_report(model))
    shared(torch.ones(1, 4))
    model["b"][0](torch.ones(1, 4))
    assert shared.emulation.step == 2
    restore_(model)
    assert type(shared) is nn.Linear


class Mine(nn.Linear):
    pass


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))


def patched() -> nn.Linear:
    layer = nn.Linear(2, 2)
    layer.forward = lambda input: input
    return layer


def parametrized() -> nn.Module:
    layer = nn.Linear(2, 2)
    return parametrize.register_parametrization(layer, "weight", nn.Identity())


#: A module with products that cannot be emulated, and why.
NATIVE = [
    (lambda: nn.ConvTranspose1d(1, 1, 1), "emul.nn has no ConvTranspose1d: use torch.nn.Upsample and a Conv1d"),
    (lambda: nn.ConvTranspose3d(1, 1, 1), "emul.nn has no ConvTranspose3d: use torch.nn.Upsample and a Conv3d"),
    (lambda: nn.Bilinear(1, 1, 1), "emul.nn has no Bilinear: use a torch.nn.Linear of the two inputs' outer product"),
    (lambda: nn.RNN(1, 1), "emul.nn has no RNN: write its step with torch.nn.Linear layers"),
    (lambda: nn.LSTM(1, 1), "emul.nn has no LSTM: write its step with torch.nn.Linear layers, which can be emulated"),
    (lambda: nn.GRUCell(1, 1), "emul.nn has no GRUCell: write its step"),
    (lambda: nn.Embedding(3, 2), "it looks up a table and has no product"),
    (lambda: nn.EmbeddingBag(3, 2), "emul.nn has no EmbeddingBag: use a torch.nn.Embedding, and emul.matmul with ones"),
    (lambda: nn.LazyLinear(2), "its shape is not known yet: run one batch through the model first"),
    (lambda: nn.LazyConv1d(2, 1), "its shape is not known yet"),
    (lambda: nn.LazyBatchNorm2d(), "its shape is not known yet"),
    (lambda: nn.CrossMapLRN2d(2), "emul.nn has no CrossMapLRN2d: use a torch.nn.LayerNorm or a BatchNorm"),
    (parametrized, "it is parametrized: call torch.nn.utils.parametrize.remove_parametrizations first"),
    (lambda: Mine(2, 2), "it is a subclass of Linear, which may compute something else: use Linear itself"),
    (patched, "its forward is replaced on the instance: remove that first"),
    (Scale, "Scale uses parameters in a forward of its own, whose products are seen when it"),
]
KINDS = [build().__class__.__name__ for build, _ in NATIVE]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
@pytest.mark.parametrize(("build", "reason"), NATIVE, ids=KINDS)
def test_what_cannot_be_emulated_is_reported(build, reason):
    model = nn.ModuleDict({"it": build(), "fc": nn.Linear(2, 2)})
    swap_(model, recipe())
    found = {layer.name: layer for layer in swap_report(model).layers}
    assert found["it"].native.startswith(reason)
    assert found["fc"].rule == 0
    assert not isinstance(model["it"], emul.nn.Emulated)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
@pytest.mark.parametrize(("build", "reason"), NATIVE, ids=KINDS)
def test_what_cannot_be_emulated_is_refused_where_a_rule_names_its_type(build, reason):
    model = nn.ModuleDict({"fc": nn.Linear(2, 2), "it": build()})
    kind = type(model["it"]).__name__
    kinds, before = classes(model), set(vars(model["fc"]))
    named = recipe(Rule("fc", forward=COARSE), Rule(".*", types=(kind,), forward=COARSE))
    with pytest.raises(ValueError, match=f"rule 1 names the type {kind}, and module 'it' is one that .* {reason}"):
        swap_(model, named, functional="report" if kind == "Scale" else "emulate")
    assert classes(model) == kinds
    assert set(vars(model["fc"])) == before
    # ... unless an earlier rule keeps it.
    swap_(model, recipe(Rule("it", keep=True), Rule(".*", types=(kind, "Linear"), forward=COARSE)))
    found = {layer.name: layer for layer in swap_report(model).layers}
    assert (found["it"].native, found["fc"].rule) == ("kept by rule 0", 1)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_a_lazy_layer_is_emulated_once_it_has_its_shape():
    model = nn.Sequential(nn.LazyLinear(2))
    model(torch.ones(1, 3))
    assert type(swap_(model, recipe())[0]) is emul.nn.Linear


def test_a_layer_that_was_lazy_when_it_was_swapped_is_told_as_what_it_is():
    """It was there, and was never restored; its function is emulated, and a rule that keeps it does so."""
    rule = Rule("0|2", forward=Product(weight=Quantizer(catalog.E4M3)))
    model = swap_(
        nn.Sequential(nn.LazyLinear(3), nn.LazyLinear(2), nn.Linear(2, 2)), Recipe((rule, Rule(".*", keep=True)))
    )
    model(torch.ones(1, 3))
    report = swap_report(model)
    assert [layer.native[:12] for layer in report.native] == ["it was lazy,", "kept by rule"]
    assert [(call.module, call.rule, call.keeper) for call in report.calls] == [("0", 0, None), ("1", None, 1)]


class Encoder(nn.TransformerEncoderLayer):
    pass


def test_linears_that_a_subclass_of_a_transformer_layer_may_bypass_stay_native():
    # In evaluation torch's fast path reads linear1.weight and never calls linear1.
    layer = Encoder(4, 2, 8, batch_first=True)
    with pytest.raises(ValueError, match="no layer of Encoder is emulated"):
        swap_(layer, recipe())
    model = nn.ModuleDict({"encoder": layer, "fc": nn.Linear(2, 2)})
    found = {entry.name: entry.native for entry in swap_report(swap_(model, recipe())).layers}
    assert found["encoder.linear1"] == "the Encoder around it may use its weight without calling it"
    assert found["encoder.self_attn"] == "the Encoder around it may use its weight without calling it"
    assert found["encoder.self_attn.out_proj"].startswith("the MultiheadAttention around it may use its weight")
    assert found["fc"] == ""


def test_the_projection_inside_an_emulated_attention_is_its_own():
    report = swap_report(nn.MultiheadAttention(4, 2), recipe())
    assert report.layers == (LayerReport("", "MultiheadAttention", 0, ""),)
    kept = swap_report(nn.MultiheadAttention(4, 2), recipe(Rule("", keep=True), Rule("out_proj", forward=COARSE)))
    assert [layer.name for layer in kept.native] == ["", "out_proj"]


def test_a_pruned_layer_is_emulated_with_its_mask():
    layer = nn.Linear(4, 2)
    prune.l1_unstructured(layer, "weight", 5)
    keys = list(layer.state_dict())
    swap_(layer, recipe())
    layer(torch.ones(1, 4)).sum().backward()
    assert list(layer.state_dict()) == keys
    assert torch.equal(layer.weight_orig.grad != 0, layer.weight_mask != 0)


def test_a_swapped_model_is_refused(net):
    swap_(net, recipe())
    with pytest.raises(ValueError, match=r"layer 'features\.0' is emulated already: call emul\.restore_\(model\)"):
        swap_(net, recipe())
    with pytest.raises(ValueError, match="the model is swapped already: report on it without recipe="):
        swap_report(net, recipe())


def test_a_recipe_that_matches_nothing_is_refused_with_what_is_there(net):
    with pytest.raises(ValueError, match="no layer of Net is emulated by the recipe 'coarse'") as refusal:
        swap_(net, recipe(Rule(r"features\.2", forward=COARSE)))
    assert "emul.nn has Linear, Conv1d, Conv2d, Conv3d, MultiheadAttention, CausalAttention; the model" in str(
        refusal.value
    )
    assert "the model has features.0 (Conv2d): native, no rule matches; features.1 (BatchNorm2d)" in str(refusal.value)
    assert type(net.head) is nn.Linear
    with pytest.raises(ValueError, match="the model has Sequential, ReLU"):
        swap_(nn.Sequential(nn.ReLU()), recipe())
    with pytest.raises(ValueError, match=r"7 \(Linear\): native, no rule matches; and 12 more; functions"):
        swap_(
            nn.Sequential(*(nn.Linear(2, 2) for _ in range(20))), recipe(Rule(".*", types=("Conv2d",), forward=COARSE))
        )


def test_restoring_a_native_model_is_refused(net):
    with pytest.raises(ValueError, match="Net has no emulated layer to restore: swap_ makes them"):
        restore_(net)
    with pytest.raises(ValueError, match="Net has no emulated layer: report on a module that one swap_ was applied to"):
        swap_report(net)


def test_reports_of_two_recipes_are_refused(net):
    swap_(net.features, recipe(seed=1))
    swap_(net.head, recipe(seed=2))
    with pytest.raises(ValueError, match="Net has layers of 2 recipes"):
        swap_report(net)
    assert len(swap_report(net.features).emulated) == 1


def test_a_subclass_of_an_emulated_layer_is_not_restored():
    class Own(emul.nn.Linear):
        pass

    model = nn.Sequential(emul.nn.Linear(2, 2, rule=recipe().rules[0]), Own(2, 2, rule=recipe().rules[0]))
    with pytest.raises(ValueError, match="Own is a subclass of an emulated layer"):
        restore_(model)
    assert type(model[0]) is emul.nn.Linear


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: swap_("model", recipe()), "model is a str: give a torch.nn.Module"),
        (lambda: swap_(nn.Linear(2, 2), "fp8"), "recipe = 'fp8': give an emul.Recipe; emul.recipes.get"),
        (lambda: swap_report(nn.Linear(2, 2), "fp8"), r"recipe = 'fp8': .*; emul\.recipes\.get\('fp8'\) makes one"),
        (lambda: swap_(nn.Linear(2, 2), recipe().rules[0]), r"recipe is a Rule: give emul\.Recipe\(\(rule, \.\.\.\)\)"),
        (lambda: swap_(nn.Linear(2, 2), list(recipe().rules)), r"recipe is a list of 1 Rule: give emul\.Recipe"),
    ],
)
def test_refused_types(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call()


def test_a_layer_that_was_parametrized_since_is_restored_without_it():
    layer = swap_(nn.Sequential(nn.Linear(4, 4)), recipe())[0]
    model, x = nn.Sequential(layer), X.reshape(-1, 4)
    nn.utils.parametrizations.weight_norm(layer)
    assert isinstance(layer, emul.nn.Linear)
    with pytest.raises(
        ValueError, match=r"layer '0' .ParametrizedLinear. was parametrized after swap_: call torch\.nn\.utils\.param"
    ):
        restore_(model)
    emulated = model(x)
    parametrize.remove_parametrizations(layer, "weight")
    assert torch.equal(model(x), emulated)
    assert type(restore_(model)[0]) is nn.Linear
