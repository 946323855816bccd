"""The claims about trainings: a run of few steps to the files, and its verdicts computed again.

Run in this process: another one would import torch once more.
The parts' own tests lie beside them, in benchmarks/claims/test_parts.py.
"""

import json
import runpy
import sys
from fractions import Fraction

import pytest

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

from emul.intervals import paired, sign_flips


@pytest.fixture
def claims(monkeypatch, capsys):
    """The command -> (exit status, what it wrote to stderr)."""

    def run(folder, *arguments):
        monkeypatch.setattr(sys, "argv", ["claims", *([] if folder is None else ["--out", str(folder)]), *arguments])
        monkeypatch.delitem(sys.modules, "benchmarks.claims.__main__", raising=False)
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("benchmarks.claims", run_name="__main__")
        return ended.value.code, capsys.readouterr().err

    return run


def test_a_small_run_and_its_verdicts(claims, tmp_path):
    earlier = {"name": "luq", "says": "", "source": "", "setup": "", "reproduced": "no", "contrasts": []}
    row = {"name": "native", "bits_per_character": None, "runs": [{"seed": 0, "bits_per_character": None}]}
    settings = {"steps": 1, "batch": 1, "optimizer": "sgd", "learning_rate": 1.0}
    earlier["comparison"] = {"model": "", "data": {"name": ""}, "settings": settings, "seeds": [0], "rows": [row]}
    (tmp_path / "claims.json").write_text(json.dumps({"claims": [earlier]}))
    status, told = claims(tmp_path, "--only", "norms", "--seeds", "2", "--steps", "12")
    assert status == 0, told
    kept, record = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert kept == earlier and sorted(path.name for path in tmp_path.iterdir()) == ["claims.json", "claims.md"]
    runs = {row["key"]: row["runs"] for row in record["comparison"]["rows"]}
    for contrast in record["contrasts"]:
        correct = [[run["correct"] for run in runs[contrast[key]]] for key in ("row", "other")]
        apart = [Fraction(100 * (a - b), 445) for a, b in zip(*correct, strict=True)]
        interval = paired([float(one) for one in apart], [0.0, 0.0])
        assert (contrast["mean"], contrast["low"], contrast["high"]) == (interval.mean, interval.low, interval.high)
        if contrast["margin"] is None:
            assert contrast["p"] == sign_flips(apart)
        else:
            assert contrast["p"] == max(sign_flips([1 + one for one in apart]), sign_flips([1 - one for one in apart]))
        assert contrast["reproduced"] is False  # two seeds show nothing: p is 1/4 at the least
    assert record["reproduced"] == "no"
    half, l2 = (sum(run["correct"] for run in runs[key]) for key in ("l1-half", "l2-half"))
    assert half > 2 * l2  # squares overflow: the net says nothing of the image
    text = (tmp_path / "claims.md").read_text()
    assert "| norms | l1 norm, sums in binary16 better than L2 norm, sums in binary16 | +" in text
    assert "diverged" in text and "12 steps in batches of 32, sgd at 0.05, 2 seeds." in text


def test_where_a_file_has_no_place_none_is_written(claims, tmp_path):
    (tmp_path / "claims.md").mkdir()
    status, told = claims(tmp_path, "--only", "norms", "--seeds", "2", "--steps", "1")
    assert status == 1 and "nothing was written" in told
    assert [path.name for path in tmp_path.iterdir()] == ["claims.md"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--only", "lbq"), "there is no claim 'lbq': give some of lba12, lba8, luq, mvue, fp4-sr, norms"),
        (("--steps", "5"), "the results are of the claims' own: give another --out"),
    ],
)
def test_what_is_refused(claims, arguments, sentence):
    status, told = claims(None, *arguments)
    assert status == 2 and sentence in " ".join(told.split())
