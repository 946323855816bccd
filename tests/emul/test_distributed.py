"""Two processes that train one model under DistributedDataParallel: whose words are whose, and what stays one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

import emul
from emul import Product, Recipe, Rule
from numerics import Accumulator, Quantizer, Rounding, catalog
from tests.emul.distributed_worker import RULE, STEPS, WORLD, batch, build, optimizer_of, weights

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="torch has no gloo here"
)


def start(folder: Path) -> list[subprocess.Popen]:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.emul.distributed_worker"]
    return [
        subprocess.Popen([*command, str(rank), str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(WORLD)
    ]


def finished(running: list[subprocess.Popen], folder: Path) -> list[dict]:
    for rank in running:
        _, errors = rank.communicate(timeout=300)
        assert rank.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    """What the ranks of a launch found."""
    model = build()
    model(batch(0, 0)).square().mean().backward()
    optimizer_of(model).step()  # what both ranks would compile at once is compiled
    folder = tmp_path_factory.mktemp("ranks") / "first"
    return finished(start(folder), folder)


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    return a == b if isinstance(a, str) else len(a) == len(b) and all(map(equal, a, b))


@pytest.mark.nightly
def test_a_second_launch_gives_the_same_bits(ranks, tmp_path):
    second = finished(start(tmp_path / "second"), tmp_path / "second")
    for rank in range(WORLD):
        assert equal({**ranks[rank], "refused": ""}, {**second[rank], "refused": ""})


def test_one_process_that_plays_both_ranks_gives_the_same_bits(ranks):
    models = [build(replica=replica) for replica in range(WORLD)]
    optimizers = [optimizer_of(model) for model in models]
    for step in range(STEPS):
        for replica, model in enumerate(models):
            model.zero_grad()
            model(batch(step, replica)).square().mean().backward()
        for parameters in zip(*(model.parameters() for model in models), strict=True):
            mean = torch.stack([parameter.grad for parameter in parameters]).sum(0) / WORLD
            for parameter in parameters:
                parameter.grad.copy_(mean)
        for optimizer in optimizers:
            optimizer.step()
        assert equal(weights(models[0]), ranks[0]["apart"][step])
    for model, rank in zip(models, ranks, strict=True):
        assert equal(dict(model.state_dict()), dict(rank["before"]))


@pytest.mark.parametrize("run", ["apart", "together", "through"])
def test_replicas_have_the_same_weights_after_each_step(ranks, run):
    one, other = ranks
    assert equal(one[run], other[run])
    steps = one[run]
    assert len(steps) == {"apart": STEPS, "together": 2, "through": STEPS - 2}[run]
    assert not any(equal(steps[i], steps[i + 1]) for i in range(len(steps) - 1))


def test_sharded_layers_are_emulated_as_whole_ones(ranks):
    for rank in ranks:
        assert equal(rank["sharded"], rank["whole"])
    assert not equal(ranks[0]["sharded"], weights(build()))


def test_ranks_draw_their_own_words_and_a_replica_that_is_named_has_them(ranks):
    outputs = [rank["same input"] for rank in ranks]
    assert not torch.equal(*outputs)
    for replica, output in enumerate(outputs):
        assert torch.equal(build(replica=replica)(batch(0, 0)), output)
    assert torch.equal(build()(batch(0, 0)), outputs[0])


def test_what_ranks_remember_becomes_the_maximum_of_all(ranks):
    befores, afters = ([rank[key] for rank in ranks] for key in ("before", "after"))
    assert equal(*afters)
    names = [name for name in befores[0] if "emulation" in name]
    assert {"0.emulation_forward_activation", "2.emulation_matmul_1_grad_input_gradient"} <= set(names)
    for name in names:
        assert torch.equal(afters[0][name], torch.maximum(befores[0][name], befores[1][name]))
    assert not equal(*befores)


def test_one_ranks_state_goes_on_on_all(ranks):
    for rank in ranks:
        assert equal(rank["resumed"][0], rank["through"][0])


def test_ranks_at_different_steps_are_refused_on_all(ranks):
    for rank in ranks:
        assert "are not at the same steps of the same layers: load one state_dict on all ranks" in rank["refused"]


def test_optimizers_refuse_parts_of_parameters_and_a_group_is_for_its_ranks(ranks):
    sentence = "a DTensor, of which each process may hold a part: give its .full_tensor(); layers take fully_shard"
    for rank in ranks:
        assert f"parameter 0: tensor is {sentence}" in rank["refused optimizer"]
        assert f"parameter 0 is {sentence}" in rank["refused step"]
    assert "refused group" not in ranks[0]
    assert ranks[1]["refused group"].startswith("rank 1 is not in the group given: call it on the ranks of the group")


@pytest.mark.parametrize(
    ("product", "differs"),
    [
        (Product(weight=Quantizer(catalog.E4M3, Rounding.SR)), False),
        (Product(activation=Quantizer(catalog.E4M3, Rounding.SR)), True),
        (Product(accumulator=Accumulator(catalog.BINARY16, Rounding.SR, random_bits=8)), True),
    ],
    ids=["weight", "activation", "sums"],
)
def test_weights_draw_the_same_words_in_all_replicas_and_nothing_else_does(product, differs):
    rule = Rule(".*", types=("Linear",), forward=product)
    one, other = (build(rule, replica)(batch(0, 0)) for replica in (0, 3))
    assert torch.equal(one, other) is not differs


class Calls(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call, self.weight = call, nn.Parameter(torch.linspace(-2, 2, 24).reshape(2, 2, 6))

    def forward(self, x):
        return self.call(x, self.weight)


@pytest.mark.parametrize(
    ("call", "differs"),
    [
        (lambda x, w: x @ x.mT, True),
        (lambda x, w: x[0] @ x[0].T, True),
        (lambda x, w: nn.functional.scaled_dot_product_attention(w, x, x), True),
        (lambda x, w: torch.einsum("bik,bjk->bij", x, x), True),
        (lambda x, w: torch.baddbmm(w[:, :1, :4], x, x.mT), True),
        (lambda x, w: x[0] @ w[0].T, False),
        (lambda x, w: w[0].T @ x[0, :2], False),
        (lambda x, w: x[0] @ w.mT, False),
        (lambda x, w: w @ x.mT, False),
        (lambda x, w: torch.bmm(x, w.mT), False),
        (lambda x, w: torch.einsum("bik,bjk->bij", x, w), False),
        (lambda x, w: nn.functional.linear(x, w[0] / 2), False),
    ],
)
def test_of_what_a_call_multiplies_by_only_parameters_draw_the_same_words(call, differs):
    """The keys of attention have the role of the weight, and are as much the rank's own as its queries."""
    sr = Quantizer(catalog.E4M3, Rounding.SR)
    recipe = Recipe((Rule(".*", forward=Product(weight=sr)),))
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    one, other = (emul.swap_(Calls(call), recipe, replica=replica)(x) for replica in (0, 1))
    assert torch.equal(one, other) is not differs


def test_keys_and_values_of_attention_layers_draw_words_of_the_replica():
    rule = Rule(".*", forward=Product(weight=Quantizer(catalog.E4M3, Rounding.SR)))
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    attend = emul.nn.functional.scaled_dot_product_attention
    assert not torch.equal(*(attend(x, x, x, rule=rule, replica=replica) for replica in (0, 1)))
    found = []
    for replica in (0, 1):
        layer = emul.nn.MultiheadAttention(6, 2, rule=rule, name="attention")
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))
        layer.emulation.replica = replica
        found.append(layer(x, x, x)[0])
    assert not torch.equal(*found)


def test_gradients_draw_words_of_the_replica():
    rule = Rule(".*", grad_input=RULE.grad_input, grad_weight=Product(gradient=Quantizer(catalog.E5M2, Rounding.SR)))
    found = []
    for replica in (0, 1):
        model = build(rule, replica)
        model(batch(0, 0)).square().mean().backward()
        found.append(model[3].weight.grad)
    assert not torch.equal(*found)


def test_without_a_process_group_there_is_nothing_to_synchronize():
    with pytest.raises(RuntimeError, match="there is no process group: call torch"):
        emul.synchronize_(emul.swap_(torch.nn.Linear(2, 2), Recipe((RULE,))))
