"""Which rows a comparison has, and what it refuses before any training."""

import math
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from emul import extras, recipes  # noqa: E402
from emul.paired import prepare  # noqa: E402
from emul.rows import ROWS, Row, select  # noqa: E402
from emul.schedule import Phase, Schedule  # noqa: E402
from emul.training import Settings  # noqa: E402


def test_recipe_selects_its_rows_and_their_control() -> None:
    assert [row.key for row in select(["lba12"])] == ["native", "lba12-untuned", "native-tuned", "lba12-tuned"]
    assert [row.key for row in select(["fp8"])] == ["native", "fp8"]
    assert [row.key for row in select(["8-bit accumulators, fine-tuned, identity gradients", "fp8"])] == [
        "native",
        "fp8",
        "native-tuned",
        "lba8-tuned",
    ]
    assert select([]) == (ROWS[0],)
    assert select(None) == ROWS


def test_recipe_without_a_standard_row_is_trained_as_its_paper_does() -> None:
    phases = {"luq": "train", "mvue_2_4": "train", "lba": "fine-tune", "aciq_ptq": "evaluate", "h100_fp8": "train"}
    chosen = {row.key: row for row in select([*phases, "h100.f16.f16"])}
    assert list(chosen) == ["native", "native-tuned", *phases, "h100.f16.f16"]
    for key, phase in phases.items():
        row = chosen[key]
        assert (row.recipe, row.phase, row.calibrated) == (key, phase, key == "aciq_ptq")
        assert row.schedule(7) == (recipes.schedule(key, 7))
        assert row.resolve(7).seed == 7
    assert chosen["lba"].against == "native-tuned"
    assert [phase.name for phase in chosen["lba"].schedule(0).phases] == ["lba, no underflow", "lba, underflow"]
    assert select(["lba"])[-1].resolve(0).name == "lba, no underflow"


def test_rows_of_a_schedule_start_where_it_does_and_have_the_seed_of_the_run() -> None:
    mine = Schedule((Phase(recipe=recipes.fp8(3)), Phase(recipe=None)), "trained", "mine")
    *_, tuned, row = select([mine])
    assert (tuned.key, row.key, row.phase) == ("native-tuned", "mine", "fine-tune")
    assert row.schedule(9) == mine.with_seed(9)


def test_a_recipe_that_asks_for_the_first_layer_gets_it_from_the_model() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    (_, row) = select(["bnn"])
    recipe = row.resolve(0, model)
    assert (recipe.match("1", "Linear"), recipe.match("2", "Linear")) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": "vgg"}, r"no model called 'vgg'; the known ones are cnn, mlp"),
        ({"rows": ["lba"], "settings": Settings(steps=1)}, r"a training of 1 steps is too short for the 2 phases"),
        ({"rows": ["fp9"]}, r"no row or recipe called 'fp9'; the nearest are .*fp8.*; emul recipes lists all"),
        ({"seeds": 1}, r"1 seed\(s\) were given; a paired interval needs at least 2"),
        ({"seeds": []}, r"0 seed\(s\)"),
        ({"seeds": [3, 3]}, "the seeds 3, 3 repeat"),
        ({"seeds": [0, -1]}, r"-1 is no seed; give whole numbers from 0 to 2\*\*63 - 1"),
        ({"seeds": [0, 2**63]}, "is no seed"),
        ({"seeds": [0, 0.5]}, "0.5 is no seed"),
        ({"rows": [Row("native", "an impostor", "fp8", "train")]}, "two different rows have the key 'native'"),
    ],
)
def test_refusals(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        prepare(**arguments)


OWN = """
from emul import Product, Recipe, Rule
from emul.schedule import Phase, Schedule
from numerics import Quantizer, catalog

recipe = Recipe((Rule(".*", forward=Product(weight=Quantizer(catalog.E4M3))),))

def named():
    return Recipe(recipe.rules, name="narrow")

def plan():
    return Schedule((Phase(recipe=recipe),), start="trained", name="plan")

def nothing():
    pass
"""


def test_a_row_of_ones_own_by_module_and_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rows.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    rows = select(["my_rows:recipe", "my_rows:named", "my_rows:plan"])
    assert [(row.key, row.phase) for row in rows] == [
        ("native", "train"),
        ("native-tuned", "fine-tune"),
        ("my_rows:recipe", "train"),
        ("narrow", "train"),
        ("plan", "fine-tune"),
    ]
    assert rows[3].resolve(7).seed == 7
    for target, error, sentence in (
        (
            "my_rows:nothing",
            TypeError,
            r"'my_rows:nothing' is None: give module:name of an emul\.Recipe, of an",
        ),
        ("my_rows:missing", ValueError, "my_rows has no 'missing'; give module:name"),
        ("no_such_rows:x", ImportError, "no_such_rows cannot be imported from"),
    ):
        with pytest.raises(error, match=sentence):
            select([target])


def test_missing_library_is_refused_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scipy", "sklearn"):
        monkeypatch.setattr(extras, "find_spec", lambda module, name=name: None if module == name else module)
        with pytest.raises(ImportError, match=rf'not installed: {name}; run: pip install "emul\[torch,report\]"'):
            prepare(rows=["native"])


def test_further_refusals() -> None:
    with pytest.raises(TypeError, match=r"rows is the string 'fp8'; give a list"):
        prepare(rows="fp8")
    with pytest.raises(ValueError, match="the phase 'test'"):
        Row("mine", "mine", None, "test")
    with pytest.raises(ValueError, match=r"(?i)no layer"):
        prepare(torch.nn.Flatten, ["fp8"])
    for field, value in (("epochs", 0), ("batch", 0), ("threads", 0), ("fine_tune_epochs", -1)):
        with pytest.raises(ValueError, match=f"{field} is {value}; give at least 1"):
            Settings(**{field: value})
    for value in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"learning_rate is {value}"):
            Settings(learning_rate=value)
    with pytest.raises(ValueError, match=r"momentum is 1\.0"):
        Settings(momentum=1.0)
