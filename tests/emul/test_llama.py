"""A tiny Llama of transformers, randomly initialised: swapped, trained and compared. Nothing is downloaded.

The extra `test` brings transformers; where it is missing these tests are skipped.
"""

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

import emul  # noqa: E402
from emul import text  # noqa: E402
from emul.datasets import Dataset  # noqa: E402
from emul.results import Comparison  # noqa: E402
from emul.training import TEXT  # noqa: E402

LINEAR = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
LINEAR += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
STEPS = 20


def llama(data: Dataset) -> torch.nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=data.classes,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=data.train_inputs.shape[1],
        use_cache=False,
    )
    return transformers.LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return text.load(16, 16)


@pytest.fixture(scope="module")
def result(data: Dataset) -> Comparison:
    settings = replace(TEXT, steps=STEPS, batch=8, warm_up=4)
    return emul.compare(llama, ["lba12-tuned", "fp8"], 2, settings=settings, data=data)


def test_swap_reaches_every_linear_layer_and_names_what_it_leaves(data: Dataset) -> None:
    report = emul.swap_report(llama(data), emul.recipes.lba12())
    wanted = {f"model.layers.{layer}.{name}" for layer in range(2) for name in LINEAR} | {"lm_head"}
    assert {layer.name for layer in report.emulated} >= wanted
    left = {layer.name for layer in report.native} - wanted
    assert all("norm" in name or "embed" in name or "rotary" in name for name in left), left


def test_the_products_of_attention_are_emulated(data: Dataset) -> None:
    model = emul.swap_(llama(data), emul.recipes.lba12(), functional="refuse")
    model(data.test_inputs[:2])
    calls = emul.swap_report(model).calls
    assert [call.module for call in calls] == [f"model.layers.{layer}.self_attn" for layer in range(2)]
    assert {(call.rule, call.function) for call in calls} == {(0, "scaled_dot_product_attention")}


def test_eager_attention_is_emulated_product_by_product(data: Dataset) -> None:
    model = llama(data)
    model.set_attn_implementation("eager")
    emul.swap_(model, emul.recipes.lba12())
    model(data.test_inputs[:2])
    calls = emul.swap_report(model).calls
    counts = {(call.function, call.count) for call in calls if call.module.endswith("self_attn")}
    assert counts == {("matmul", 2)}
    assert all(call.rule == 0 for call in calls)


def test_restored_it_has_its_own_bits_again(data: Dataset) -> None:
    torch.manual_seed(0)
    model = llama(data).eval()
    with torch.no_grad():
        before = model(data.test_inputs[:2]).logits
        emul.swap_(model, emul.recipes.lba12())
        swapped = model(data.test_inputs[:2]).logits
        emul.restore_(model)
        after = model(data.test_inputs[:2]).logits
    assert torch.equal(before, after)
    assert not torch.equal(before, swapped)
    assert torch.allclose(before, swapped, atol=0.1)


def test_it_trains_in_emulated_arithmetic(result: Comparison) -> None:
    rows = {row.row.key: row for row in result.rows}
    assert list(rows) == ["native", "fp8", "native-tuned", "lba12-tuned"]
    for key in ("native", "fp8"):
        for run in rows[key].runs:
            assert len(run.losses) == STEPS
            assert not run.diverged
            assert run.losses[-1] < run.losses[0] - 0.5
    assert len({run.weights for row in result.rows for run in row.runs}) == 8
    assert all(score < math.log2(result.data.classes) for row in result.rows for score in row.scores)
    assert abs(rows["fp8"].difference.mean) < 0.2
    assert abs(rows["lba12-tuned"].difference.mean) < 0.2


@pytest.mark.nightly
def test_a_second_run_gives_the_same_bytes(result: Comparison, data: Dataset) -> None:
    again = emul.compare(llama, ["lba12-tuned", "fp8"], 2, settings=result.settings, data=data)
    assert again.to_json() == result.to_json()
