"""Models and data by name, factories of a user's own, and what is refused before any training."""

import math
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from emul import Product, Recipe, Rule, compare, text  # noqa: E402
from emul.datasets import Dataset  # noqa: E402
from emul.paired import prepare  # noqa: E402
from emul.rows import Row  # noqa: E402
from emul.schedule import Phase, Schedule  # noqa: E402
from emul.training import TEXT, Settings, orders, usual  # noqa: E402
from numerics import Accumulator, catalog  # noqa: E402

MINE = """
import numpy
import torch
from types import SimpleNamespace
from emul.datasets import Dataset

x = torch.arange(24.).reshape(12, 2) / 32
y = torch.arange(12) % 3
ids = torch.arange(40).reshape(8, 5) % 7
number = 7

def points():
    return Dataset("points", x, y, x, y)

def words():
    return Dataset("words", ids, (ids + 1) % 7, ids, (ids + 1) % 7, token="word")

def tensor():
    return x

def line():
    return torch.nn.Linear(2, 3)

def fitted(data):
    return torch.nn.Linear(data.train_inputs.shape[1], data.classes)

built = line()

def narrow():
    return torch.nn.Linear(2, 2)

def table():
    return [1]

def two(data, width):
    return torch.nn.Linear(width, width)

def keyword(*, data):
    return torch.nn.Linear(2, 3)

def waiting():
    return torch.nn.Sequential(torch.nn.LazyLinear(3))

def drawn():
    net = line()
    net.bias.data += torch.from_numpy(numpy.random.randn(3)).float()
    return net

class Double(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x.double())

def double():
    return torch.nn.Sequential(Double(2, 3, dtype=torch.float64))

class Reader(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        self.look, self.head = torch.nn.Embedding(data.classes, 4), torch.nn.Linear(4, data.classes)

    def forward(self, ids):
        return SimpleNamespace(loss=None, logits=self.head(self.look(ids)))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the working directory."""
    (tmp_path / "my_task.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    monkeypatch.delitem(__import__("sys").modules, "my_task", raising=False)
    return "my_task"


@pytest.mark.parametrize("model", ["line", "fitted"])
def test_a_factory_of_no_argument_or_of_the_data(mine: str, model: str) -> None:
    result = compare(f"{mine}:{model}", ["native"], 2, data=f"{mine}:points", settings=Settings(epochs=1, batch=4))
    assert result.model == f"{mine}:{model}"
    assert result.data.name == "points"
    assert result.data.classes == 3
    assert all(len(run.losses) == 3 and run.correct is not None for run in result.rows[0].runs)


def test_next_tokens_of_a_user_and_a_model_that_returns_logits(mine: str) -> None:
    result = compare(f"{mine}:Reader", ["fp8"], 2, data=f"{mine}:words", settings=replace(TEXT, steps=4, batch=3))
    assert result.metric.name == "bits per word"
    for row in result.rows:
        for run, score in zip(row.runs, row.scores, strict=True):
            assert score == pytest.approx(run.test_loss / math.log(2))
            assert 0 < score < 2 * math.log2(7)


@pytest.mark.parametrize(
    ("model", "data", "error", "sentence"),
    [
        (
            "vgg",
            None,
            ValueError,
            "no model called 'vgg'; the known ones are cnn, mlp, gpt; your own is module:factory",
        ),
        (
            None,
            "mnist",
            ValueError,
            "no data called 'mnist'; the known ones are digits, text; your own is module:factory",
        ),
        ("no_such_module:f", None, ImportError, "no_such_module cannot be imported from .*No module named"),
        (None, "no_such_module:f", ImportError, "no_such_module cannot be imported"),
        ("{}:nothing", None, ValueError, "my_task has no 'nothing'; give module:name of what it has"),
        ("{}:number", None, TypeError, "my_task:number is a int; name a function that builds it"),
        (None, "{}:number", TypeError, "my_task:number is a int"),
        ("{}:built", "{}:points", TypeError, "the model is a Linear, one net: give a function that builds a fresh one"),
        (None, "{}:tensor", TypeError, "my_task:tensor returned a Tensor; return an emul.datasets.Dataset"),
        ("{}:table", "{}:points", TypeError, "the model 'my_task:table' is a list; return a torch.nn.Module"),
        ("{}:two", "{}:points", TypeError, "my_task:two takes the arguments data, width; a model's factory takes none"),
        (
            "{}:keyword",
            "{}:points",
            TypeError,
            "my_task:keyword takes the arguments data; a model's factory takes none",
        ),
        (
            None,
            "math:sqrt",
            TypeError,
            r"math:sqrt\(\) raised TypeError: .*; a data factory is called without arguments",
        ),
        (
            "math:sqrt",
            "{}:points",
            TypeError,
            "the factory of the model 'math:sqrt' raised TypeError: must be real number, not Dataset; it is called without",
        ),
        (
            "{}:narrow",
            "{}:points",
            ValueError,
            r"'my_task:narrow' makes \[2, 2\] of two samples .* 3 classes are \[2, 3\]",
        ),
        (
            "{}:line",
            "{}:words",
            ValueError,
            r"'my_task:line' does not take the next-token data 'words' with inputs \[5\]",
        ),
        (
            "cnn",
            "{}:points",
            ValueError,
            r"the model 'cnn' does not take the classification data 'points' with inputs \[2\]",
        ),
        (
            "gpt",
            "digits",
            ValueError,
            "the model 'gpt' predicts next tokens, and 'digits' is classification; give text",
        ),
        ("mlp", "text", ValueError, "the model 'mlp' does not take the next-token data 'text'"),
        (
            "{}:waiting",
            "{}:points",
            ValueError,
            "0.weight of the model 'my_task:waiting' has no shape yet: put a batch",
        ),
        (
            "{}:drawn",
            "{}:points",
            ValueError,
            "the factory of the model 'my_task:drawn' builds other weights each time",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    mine: str, model: str | None, data: str | None, error: type[Exception], sentence: str
) -> None:
    given = (model or "cnn").format(mine), None if data is None else data.format(mine)
    with pytest.raises(error, match=sentence) as refusal:
        prepare(given[0], ["native"], 2, data=given[1])
    assert "\n" not in str(refusal.value)


def test_what_only_a_backward_pass_would_meet_is_refused_before_any_training(mine: str) -> None:
    half = Accumulator(catalog.BINARY16)
    bad = Recipe((Rule(".*", grad_weight=Product(accumulator=half)),), name="bad")
    with pytest.raises(ValueError, match=r"grad_weight of layer '0\.linear\.0', .* 53 and 2 significant bits"):
        prepare(f"{mine}:double", [bad], 2, data=f"{mine}:points")
    prepare(f"{mine}:double", [Row("bad", "bad", bad, "evaluate")], 2, data=f"{mine}:points")  # which has none
    later = Schedule((Phase(recipe=None, share=1), Phase(recipe=bad, share=1)), name="late")
    with pytest.raises(ValueError, match="53 and 2 significant bits"):
        prepare(f"{mine}:double", [later], 2, data=f"{mine}:points")


def test_a_model_in_the_place_of_its_factory_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"the model is a Linear, one net: give a function that builds a fresh one for each"
    ):
        compare(torch.nn.Linear(64, 10), ["fp8"], 2)


def test_data_that_are_none_are_refused() -> None:
    ids = torch.arange(12).reshape(3, 4)
    with pytest.raises(TypeError, match=r"holds torch\.float32 inputs and torch\.int64 labels; give int64 inputs"):
        Dataset("mine", ids.float(), ids, ids, ids)
    with pytest.raises(ValueError, match=r"inputs \[3, 4\] and labels \[3, 3\]; .* one label for each place of it"):
        Dataset("mine", ids, ids[:, 1:], ids, ids)
    with pytest.raises(ValueError, match="sequences of 4 and of 3 tokens; cut both to one length"):
        Dataset("mine", ids, ids, ids[:, 1:], ids[:, 1:])
    with pytest.raises(ValueError, match="labels from -1 to 11; number its 12 classes from 0"):
        Dataset("mine", ids, ids - 1, ids, ids)
    with pytest.raises(ValueError, match="labels from 0 to 11; number its 11 classes from 0"):
        Dataset("mine", ids, ids, ids, ids, classes=11)
    with pytest.raises(ValueError, match=r"the test part of 'mine' has inputs \[3, 4\] and labels \[2, 4\]"):
        Dataset("mine", ids, ids, ids, ids[:2])
    with pytest.raises(ValueError, match="token is 'a word'; give one word"):
        Dataset("mine", ids, ids, ids, ids, token="a word")
    assert Dataset("mine", ids, ids, ids, ids).head(2, 1).train_labels.shape == (2, 4)


def test_settings_that_cannot_be_are_refused() -> None:
    for field, value, sentence in (
        ("steps", 0, "steps is 0; give at least 1"),
        ("clip", 0.0, r"clip is 0\.0; give a positive number"),
        ("optimizer", "adam", "optimizer is 'adam'; give 'sgd' or 'adamw'"),
        ("warm_up", -1, "warm_up is -1; give 0 or more steps"),
        ("loss_scale", 1000.0, r"loss_scale is 1000\.0; give a power of two, whose product is exact"),
        ("loss_scale", 0.0, "loss_scale is"),
        ("loss_scale", math.inf, "loss_scale is"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Settings(**{field: value})


def test_steps_fine_tune_in_proportion_and_rates_climb_and_fall() -> None:
    assert Settings().training_steps(100) == 15 * 4
    assert Settings().fine_tuning_steps(100) == 5 * 4
    assert (Settings(steps=7).training_steps(100), Settings(steps=7).fine_tuning_steps(100)) == (7, 3)
    assert Settings(steps=1).fine_tuning_steps(100) == 1
    ramp = [Settings(warm_up=2).rate(step, 10, 1.0) for step in range(10)]
    assert ramp[:3] == [0.5, 1.0, 1.0]
    assert ramp[6] == pytest.approx(0.5)
    assert ramp == sorted(ramp[:2]) + sorted(ramp[2:], reverse=True)
    assert ramp[9] > 0
    assert usual("next-token", quick=True) == replace(usual("next-token"), steps=100)


def test_batches_are_a_function_of_the_seed_and_hold_every_sample_once_an_epoch() -> None:
    def drawn(seed: int) -> list[list[int]]:
        return [index.tolist() for _, index in zip(range(6), orders(10, 4, seed), strict=False)]

    first = drawn(3)
    assert [len(index) for index in first] == [4, 4, 2] * 2
    assert sorted(chain(*first[:3])) == sorted(chain(*first[3:])) == list(range(10))
    assert first == drawn(3)
    assert first != drawn(4)
    assert first[:3] != first[3:]


def test_text_is_the_usual_data_of_gpt() -> None:
    plan = prepare("gpt", ["native"], 2)
    assert plan.data.name == "text"
    assert plan.settings == TEXT
    assert prepare("cnn", ["native"], 2).data.name == "digits"
    assert prepare("gpt", ["native"], 2, data=text.load(8, 4)).data.train_inputs.shape[1] == 8
