"""Which rows a comparison has, and what it refuses before any training."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from emul import extras, recipes  # noqa: E402
from emul.paired import prepare  # noqa: E402
from emul.rows import ROWS, Row, select  # noqa: E402
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


def test_recipe_without_a_standard_row_is_trained_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    known = recipes.names()
    monkeypatch.setattr(recipes, "names", lambda: (*known, "new"))
    row = select(["new"])[1]
    assert (row.key, row.recipe, row.phase) == ("new", "new", "train")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": "vgg"}, r"no model called 'vgg'; the known ones are cnn, mlp"),
        ({"rows": ["fp9"]}, r"no row or recipe called 'fp9'; the known ones are native, fp8, .*lba12.*lba8"),
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
