"""Verdicts against values worked out by hand, every row of every claim built, and what ablations leave as it is.

Nothing outside this folder may import from it, so they are here; an ordinary run takes them in.
"""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

from benchmarks.claims import __main__ as command
from benchmarks.claims import claim as claims
from benchmarks.claims import luq, nets, norms, report
from benchmarks.claims.claim import Contrast, judge
from benchmarks.claims.lba import EIGHT, TWELVE
from emul.operands import LUQ
from emul.swap import swap_

BETTER = Contrast("a", "b")


def fractions(*values):
    return [Fraction(value) for value in values]


def test_better_needs_the_interval_and_the_test():
    shown = judge(BETTER, fractions(1, 2, 3, 4, 5))
    assert (shown.reproduced, shown.p, shown.interval.mean) == (True, 1 / 32, 3)
    assert not judge(BETTER, fractions(-1, -2, -3, -4, -5)).reproduced
    assert not judge(BETTER, fractions(1, 1, 1, 1, -1)).reproduced
    assert not judge(BETTER, fractions(1, 1, 1)).reproduced  # the interval has no length, and p is 1/8
    assert not judge(BETTER, fractions(0, 0, 0, 0, 0)).reproduced


def test_within_a_margin_needs_both_ends():
    near = Contrast("a", "b", 1.0)
    shown = judge(near, fractions(0.25, -0.25, 0.125, 0, 0))
    assert (shown.reproduced, shown.p) == (True, 1 / 32)
    for values in ((2, 2.25, 2.5, 2, 2), (-2, -2.25, -2.5, -2, -2), (3, -3, 2, -2, 0)):
        assert not judge(near, fractions(*values)).reproduced
    assert judge(near, fractions(2, 2.25, 2.5, 2, 2)).p == 1


def test_the_claims_are_whole():
    assert len(command.CLAIMS) == 6
    for name, claim in command.CLAIMS.items():
        assert claim.seeds >= 5 and claim.name == name
        keys = {row.key for row in claim.rows} | {"native"}
        assert len(keys) == len({row.name for row in claim.rows} | {"native float32"})
        used = {key for contrast in claim.contrasts for key in (contrast.row, contrast.other)}
        assert used <= keys | {"native-tuned"}
        assert {row.key for row in claim.rows} - {"native", "native-tuned"} <= used


@pytest.mark.parametrize("name", sorted(command.CLAIMS))
def test_every_recipe_fits_its_net(name):
    claim = command.CLAIMS[name]
    data = claim.data()
    for row in claim.rows:
        if row.recipe is not None:
            model = claim.model(data) if data.task == "next-token" else claim.model()
            swap_(model, row.recipe)


def test_ablations_change_what_they_name_and_nothing_else():
    (lba,) = (row.recipe.rules[0].forward for row in TWELVE.rows if row.key == "lba")
    for key, part in (("no-chunks", "chunk"), ("both-12", "format"), ("both-10", "product")):
        (other,) = (row.recipe.rules[0].forward for row in TWELVE.rows if row.key == key)
        changed = getattr(other.accumulator, part)
        assert changed != getattr(lba.accumulator, part)
        assert replace(lba, accumulator=replace(lba.accumulator, **{part: changed})) == other
    identity, immediate = (row.recipe.rules[0].forward for row in EIGHT.rows[:2])
    assert identity.chain is None and replace(immediate, chain=None) == identity
    assert immediate.accumulator.format.max == 3.875


def test_ablated_luq_is_luq_where_nothing_is_taken_out():
    x = np.random.default_rng(0).normal(size=200).astype(np.float32)
    whole, used = LUQ(7), LUQ(7).used((), x)
    draw = {"seed": 3, "stream": 1, "offset": 0}
    assert np.array_equal(luq.Ablated(7).apply(x, used, **draw).values, whole.apply(x, used, **draw).values)
    nearest = luq.Ablated(7, underflow="zero", rounding="nearest").apply(x, used, **draw)
    small = np.abs(x) < used
    assert small.any() and not nearest.values[small].any()
    scaled = np.abs(x[~small].astype(np.float64)) / used
    assert np.array_equal(np.abs(nearest.values[~small]), 2 ** np.floor(np.log2(scaled * 4 / 3)).astype(np.float32))
    again = luq.Ablated(7, underflow="zero", rounding="nearest").apply(x, used, seed=4, stream=0, offset=0)
    assert np.array_equal(again.values, nearest.values)


def test_squares_overflow_and_magnitudes_do_not():
    model, data = norms.CLAIM.model(), norms.CLAIM.data()
    deviations = []
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.register_forward_pre_hook(lambda _, given: deviations.append(given[0] - given[0].mean(0)))
    model(data.train_inputs[:32])
    for deviation in deviations:
        assert deviation.square().sum(0).min() > 65504 and deviation.abs().sum(0).max() < 65504


@pytest.fixture(scope="module")
def small():
    """The claim of the norms on a few steps and two seeds, its rows those of one form."""
    rows = tuple(row for row in norms.CLAIM.rows if row.key in ("l1-half", "l2-half"))
    contrasts = (Contrast("l1-half", "native", 100.0), Contrast("l1-half", "l2-half"))
    settings = replace(norms.CLAIM.settings, steps=8)
    return replace(
        norms.CLAIM, rows=rows, contrasts=contrasts, settings=settings, data=lambda: norms.CLAIM.data().head(64, 64)
    )


def test_only_keeps_other_claims_and_a_blocked_place_writes_nothing(small, tmp_path, monkeypatch, capsys):
    record = {"name": "luq", "says": "", "source": "", "setup": "", "reproduced": "no", "contrasts": []}
    monkeypatch.setattr(command, "run", lambda claim: None)
    monkeypatch.setattr(command, "record", lambda claim, result: {**record, "name": claim.name})
    monkeypatch.setattr(report, "markdown", lambda records: "")
    report.write([record], tmp_path)
    assert command.main(["--out", str(tmp_path), "--only", "norms"]) == 0
    assert [one["name"] for one in report.before(tmp_path)] == ["luq", "norms"]
    blocked = tmp_path / "blocked"
    (blocked / "claims.md").mkdir(parents=True)
    assert command.main(["--out", str(blocked), "--only", "norms"]) == 1
    assert "nothing was written" in capsys.readouterr().err and [path.name for path in blocked.iterdir()] == [
        "claims.md"
    ]


def test_a_diverged_run_guesses(small):
    result = claims.run(replace(small, seeds=2))
    gone = replace(result.rows[0].runs[0], diverged="the loss of step 1 is nan", correct=None)
    native = replace(result.rows[0], runs=(gone, result.rows[0].runs[1]))
    claim = replace(small, contrasts=(Contrast("native", "l2-half"),))
    (verdict,) = claims.verdicts(claim, replace(result, rows=(native, *result.rows[1:])))
    l2 = next(row for row in result.rows if row.row.key == "l2-half")
    assert verdict.differences[0] == float(10 - Fraction(100 * l2.runs[0].correct, 64))
    assert math.isclose(verdict.differences[1], native.scores[1] - l2.scores[1])


def test_fewer_bits_are_better(small):
    result = claims.run(replace(small, seeds=2))
    claim = replace(small, contrasts=(Contrast("native", "l2-half"),))
    (verdict,) = claims.verdicts(claim, replace(result, data=nets.letters()))  # the same losses, now of characters
    rows = {row.row.key: row for row in result.rows}
    for run, other, difference in zip(rows["native"].runs, rows["l2-half"].runs, verdict.differences, strict=True):
        assert difference == pytest.approx((other.test_loss - run.test_loss) / math.log(2), rel=1e-12)
