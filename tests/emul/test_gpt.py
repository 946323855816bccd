"""The text that ships with Python, and the GPT that learns it."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import emul  # noqa: E402
import numerics  # noqa: E402
from emul import text  # noqa: E402
from emul.datasets import Dataset  # noqa: E402
from emul.gpt import SMALL, CausalAttention, Gpt, Size  # noqa: E402


@pytest.fixture(scope="module")
def data() -> Dataset:
    return text.load(16, 40)


def test_the_sequences_are_the_text_and_the_next_characters(data: Dataset) -> None:
    whole = text.whole()
    letters = sorted(set(whole))
    assert data.classes == len(letters)
    assert (data.task, data.token, data.name) == ("next-token", "character", "text")
    split = len(whole) * 9 // 10
    assert data.train_inputs.shape == data.train_labels.shape == ((split - 1) // 16, 16)

    def spelled(numbers: torch.Tensor) -> str:
        return "".join(letters[number] for number in numbers.flatten().tolist())

    assert spelled(data.train_inputs) == whole[: data.train_inputs.numel()]
    assert spelled(data.train_labels) == whole[1 : data.train_labels.numel() + 1]
    held = whole[split:]
    there = (len(held) - 1) // 16
    places = [16 * (number * there // 40) for number in range(40)]  # evenly spread
    for inputs, labels, place in zip(data.test_inputs, data.test_labels, places, strict=True):
        assert spelled(inputs) == held[place : place + 16]
        assert spelled(labels) == held[place + 1 : place + 17]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0,), "context is 0; the held-out part has .* characters: give from 1 to"),
        ((10**9,), "context is 1000000000"),
        ((64, 0), "held_out is 0; there are .* sequences of 64: give from 1 to"),
        ((64, 10**6), "held_out is 1000000"),
    ],
)
def test_cuts_that_cannot_be_are_refused(arguments: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        text.load(*arguments)


def test_a_place_sees_nothing_behind_it() -> None:
    torch.manual_seed(0)
    model = Gpt(Size(2, 8, 2, 12), 20).eval()
    first = torch.randint(20, (3, 12))
    second = first.clone()
    second[:, 7] = (second[:, 7] + 1) % 20
    one, two = model(first), model(second)
    assert one.shape == (3, 12, 20)
    assert torch.equal(one[:, :7], two[:, :7])
    assert all(not torch.equal(one[:, place], two[:, place]) for place in range(7, 12))


def test_attention_is_that_of_torch() -> None:
    query, key, value = torch.randn(3, 2, 2, 9, 4, generator=torch.Generator().manual_seed(1)).double()
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert torch.allclose(CausalAttention()(query, key, value), wanted, rtol=1e-12, atol=1e-14)


def test_small_has_the_documented_size_and_begins_as_stated() -> None:
    torch.manual_seed(0)
    model = Gpt(SMALL, 103)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == 0.12
    weights = {name: parameter for name, parameter in model.named_parameters() if parameter.dim() == 2}
    for name, weight in weights.items():
        wanted = 0.02 / (2 if name.endswith(("gather.weight", "down.weight")) else 1)  # 1 / sqrt(2 * 2 layers)
        assert weight.std().item() == pytest.approx(wanted, rel=0.05), name
    assert all(not parameter.any() for name, parameter in model.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("name", ["fp8", "lba12"])
def test_both_products_of_attention_are_those_of_numpy(name: str) -> None:
    """Each with the rule's quantizers and accumulator, from numbers that the rule's operands are rounded from."""
    rule = emul.recipes.get(name).rules[0].forward
    draw = torch.randn(3, 2, 1, 9, 4, generator=torch.Generator().manual_seed(1))
    layer = emul.nn.CausalAttention(rule=emul.recipes.get(name).rules[0]).eval()
    scores = torch.empty(2, 1, 9, 9)
    wanted = torch.empty(2, 1, 9, 4)

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        left, right = rule.activation.quantize(a.numpy()), rule.weight.quantize(b.numpy())
        return torch.from_numpy(numerics.matmul(left, np.ascontiguousarray(right.T), rule.accumulator))

    query, key, value = draw
    for sample in range(2):
        scores[sample, 0] = product(query[sample, 0], key[sample, 0]) * 0.5
    hidden = torch.ones(9, 9, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
    for sample in range(2):
        wanted[sample, 0] = product(weights[sample, 0], value[sample, 0].T.contiguous())
    assert torch.equal(layer(query, key, value), wanted)
    assert not torch.equal(wanted, CausalAttention()(query, key, value))
    assert torch.allclose(wanted, CausalAttention()(query, key, value), atol=0.3)


def test_attention_of_unlike_shapes_is_refused() -> None:
    layer = emul.nn.CausalAttention(rule=emul.recipes.fp8().rules[0], name="mine")
    with pytest.raises(ValueError, match=r"CausalAttention 'mine' has query \[9, 4\], key \[8, 4\] .* of one shape"):
        layer(torch.ones(9, 4), torch.ones(8, 4), torch.ones(8, 4))
    with pytest.raises(TypeError, match=r"of CausalAttention 'mine' is torch\.float16"):
        layer(torch.ones(9, 4).half(), torch.ones(9, 4), torch.ones(9, 4))


def test_swap_reaches_every_product() -> None:
    model = Gpt(Size(2, 8, 2, 12), 20)
    emul.swap_(model, emul.recipes.lba12())
    products = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | CausalAttention)]
    assert len(products) == 2 * 5 + 1
    assert {layer.name for layer in emul.swap_report(model).emulated} == set(products)
    assert math.isfinite(model(torch.zeros(1, 12, dtype=torch.int64)).sum().item())


def test_impossible_sizes_and_long_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="layers is 0; give at least 1"):
        Size(0, 8, 2, 12)
    with pytest.raises(ValueError, match="3 heads do not divide a width of 8; give a multiple"):
        Size(1, 8, 3, 12)
    with pytest.raises(ValueError, match="a text of 13 tokens is longer than the model's context of 12; cut it"):
        Gpt(Size(1, 8, 2, 12), 20)(torch.zeros(1, 13, dtype=torch.int64))
