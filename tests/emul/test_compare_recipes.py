"""compare with recipes that have phases, conditions and calibrations: what is trained, and what its record says."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import emul  # noqa: E402
from emul import digits, paired, recipes  # noqa: E402
from emul.schedule import GradientToNoise, LearningRate, Phase, Schedule  # noqa: E402
from emul.training import Settings  # noqa: E402

SETTINGS = Settings(epochs=3, fine_tune_epochs=2, batch=16)
LATE = Schedule(
    (
        Phase(recipe=recipes.nvfp4_split(), share=5, until=GradientToNoise(1e6, every=2)),
        Phase(recipe=recipes.schedule("nvfp4_split").phases[1].recipe, learning_rate=LearningRate("constant", 0.5)),
    ),
    name="late",
)


def small() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 12), torch.nn.ReLU(), torch.nn.Linear(12, 10))


@pytest.fixture(scope="module")
def result():
    return emul.compare(
        small, ["lba", "aciq_ptq", "mvue_2_4", LATE], 2, settings=SETTINGS, data=digits.load().head(32, 20)
    )


def test_runs_tell_their_phases_and_what_was_measured(result) -> None:
    by_key = {row.row.key: row for row in result.rows}
    assert list(by_key) == ["native", "native-tuned", "lba", "aciq_ptq", "mvue_2_4", "late"]
    for run in by_key["lba"].runs:  # 2 epochs of 2 steps
        assert [(one.name, one.steps) for one in run.phases] == [("lba, no underflow", 3), ("lba, underflow", 1)]
        assert len(run.losses) == 4 and run.start != run.weights
    for run in by_key["late"].runs:  # 3 epochs of 2; the first look at the noise ends the phase
        assert [(one.steps, one.ended) for one in run.phases] == [(2, "gradient to noise"), (4, "steps")]
        (measured,) = run.phases[0].measured
        assert measured.step == 2 and 0 < measured.ratio < 1e6 and measured.dimension == 64 * 12 + 12 * 10
    assert by_key["native"].schedule is None and by_key["native"].runs[0].phases == ()


def test_the_record_has_phases_and_clips(result) -> None:
    text = result.to_json()
    rows = {row["key"]: row for row in json.loads(text)["rows"]}
    assert rows["native"]["phases"] is rows["mvue_2_4"]["phases"] is rows["aciq_ptq"]["phases"] is None
    assert "phases" not in rows["mvue_2_4"]["runs"][0]
    assert [phase["name"] for phase in rows["lba"]["phases"]] == ["lba, no underflow", "lba, underflow"]
    assert rows["lba"]["phases"][0]["recipe"]["seed"] == "that of the run"
    first, second = rows["late"]["phases"]
    assert first["until"] == {"below": 1e6, "every": 2}
    assert second["learning_rate"] == {"shape": "constant", "factor": 0.5, "low": 0.0, "warm_up": 0}
    assert rows["late"]["runs"][1]["phases"][0]["measured"][0]["step"] == 2
    masks = rows["mvue_2_4"]["recipe"]["rules"][0]["grad_weight"]["gradient"]
    assert masks == {"stage": "MVUE", "gradient": "straight", "n": 2, "m": 4, "method": "exact", "random_bits": 32}
    clips = [run["clips"] for run in rows["aciq_ptq"]["runs"]]
    assert [clip["layer"] for clip in clips[0]] == ["1", "3"]
    assert clips[0] != clips[1]
    again = emul.compare(
        small, ["lba", "aciq_ptq", "mvue_2_4", LATE], 2, settings=SETTINGS, data=digits.load().head(32, 20)
    )
    assert again.to_json() == text


def test_the_words_of_a_run_are_those_of_its_seed(monkeypatch) -> None:
    seen, real = [], paired.train

    def noted(*arguments, schedule=None, **options):
        seen.append(None if schedule is None else {phase.recipe.seed for phase in schedule.phases})
        return real(*arguments, schedule=schedule, **options)

    monkeypatch.setattr(paired, "train", noted)
    emul.compare(small, ["luq_fnt"], [4, 9], settings=SETTINGS, data=digits.load().head(32, 20))
    assert seen == [None, {4}, None, {9}]
