"""Paired runs: pairing, reproducibility, statistics, divergence."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

import numerics

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import emul  # noqa: E402
from emul import digits, recipes  # noqa: E402
from emul.paired import Comparison, Progress  # noqa: E402
from emul.rows import ROWS, Row  # noqa: E402
from emul.training import Settings, phase_seed  # noqa: E402

TINY = Settings(epochs=2, fine_tune_epochs=1, batch=16)


@pytest.fixture(scope="module")
def data() -> digits.Dataset:
    return digits.load().head(64, 40)


@pytest.fixture(scope="module")
def events() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def result(data: digits.Dataset, events: list[Progress]) -> Comparison:
    return emul.compare("cnn", seeds=2, settings=TINY, data=data, progress=events.append)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = numerics.get_num_threads()
    numerics.set_num_threads(1)
    yield
    numerics.set_num_threads(before)


def test_rows_are_the_promised_ones(result: Comparison) -> None:
    assert [row.row.name for row in result.rows] == [
        "native float32",
        "FP8 (E4M3 forward, E5M2 SR gradients)",
        "12-bit accumulators, no fine-tuning",
        "native float32, fine-tuned",
        "12-bit accumulators, fine-tuned",
        "8-bit accumulators, fine-tuned, identity gradients",
    ]
    assert not any(run.diverged for row in result.rows for run in row.runs)


def test_second_run_gives_the_same_bytes(
    result: Comparison, data: digits.Dataset, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.rand(5)  # neither the global generator nor the number of emulation threads may matter
    again = emul.compare("cnn", seeds=[0, 1], settings=TINY, data=data)
    assert again.to_json() == result.to_json()


def test_oracle_in_place_of_the_kernel_gives_the_same_bytes(
    data: digits.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row really runs in the arithmetic it names: the slow rational arithmetic ends in the same weights."""

    def net() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 2, 3, stride=2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(18, 10)
        )

    def run() -> str:
        settings = Settings(epochs=1, fine_tune_epochs=1, batch=4)
        return emul.compare(net, None, 2, settings=settings, data=data.head(8, 4)).to_json()

    kernel = run()
    products = []

    def oracle(a: object, b: object, accumulator: numerics.Accumulator, **options: object) -> object:
        products.append(accumulator.format.name)
        return numerics.reference.matmul(a, b, accumulator, **options)

    monkeypatch.setattr(emul.ops, "numpy_matmul", oracle)
    assert run() == kernel
    # Two seeds, two layers. FP8: of two steps three products each (the first layer's input needs no gradient, that is
    # one less) and a test; 12 bits: a test, and two steps and a test; 8 bits: two steps and a test. Before, each of the
    # four rows is tried once, as a step or a test.
    assert {name: products.count(name) for name in set(products)} == {
        "binary32": 2 * (2 * 5 + 2) + 5,
        "lba_m7e4_b10_paper": 2 * (2 + 3 * 2) + 4,
        "lba_m4e3_b3_paper": 2 * (3 * 2) + 2,
    }


def test_rows_share_their_start_and_their_data_order(result: Comparison) -> None:
    runs = {row.row.key: row.runs for row in result.rows}
    for seed in range(2):
        native = runs["native"][seed]
        assert runs["fp8"][seed].start == native.start
        assert runs["lba12-untuned"][seed].weights == runs["lba12-untuned"][seed].start == native.weights
        for key in ("native-tuned", "lba12-tuned", "lba8-tuned"):
            assert runs[key][seed].start == native.weights
            assert runs[key][seed].weights != native.weights
    # every run is another one: emulation changes the bits, and so does the seed
    trained = [run.weights for key, row in runs.items() if key != "lba12-untuned" for run in row]
    assert len(set(trained)) == len(trained) == 10


def test_emulated_losses_are_those_of_the_same_batches(result: Comparison) -> None:
    first = {row.row.key: row.runs[0].losses[0] for row in result.rows if row.runs[0].losses}
    assert first["fp8"] != first["native"]
    assert first["fp8"] == pytest.approx(first["native"], rel=0.02)
    assert first["lba12-tuned"] != first["native-tuned"]
    assert len({len(run.losses) for row in result.rows[:2] for run in row.runs}) == 1


def test_native_row_is_the_plain_training_loop(result: Comparison, data: digits.Dataset) -> None:
    """The same training written once more, with nothing of the project in it but the seed of the data order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(TINY.threads)
    torch.manual_seed(1)
    model = digits.cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
    order = torch.Generator().manual_seed(phase_seed(1, "train"))
    losses = []
    for _ in range(2):
        for index in torch.randperm(64, generator=order).split(16):
            loss = torch.nn.functional.cross_entropy(model(data.train_inputs[index]), data.train_labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    correct = int((model(data.test_inputs).argmax(1) == data.test_labels).sum())
    torch.set_num_threads(threads)
    run = result.rows[0].runs[1]
    assert run.losses == pytest.approx(losses, rel=1e-5)  # the schedule's rounding differs
    assert run.correct == correct
    assert result.rows[0].accuracies[1] == 100 * correct / 40


def test_statistics_of_the_rows_are_those_of_the_runs(result: Comparison) -> None:
    by_key = {row.row.key: row for row in result.rows}
    opponents = {"native": None, "fp8": "native", "lba12-untuned": "native", "native-tuned": "native"}
    opponents |= {"lba12-tuned": "native-tuned", "lba8-tuned": "native-tuned"}
    for key, row in by_key.items():
        a, b = (100 * run.correct / 40 for run in row.runs)
        assert row.accuracy.mean == pytest.approx((a + b) / 2)
        assert row.accuracy.deviation == pytest.approx(abs(a - b) / math.sqrt(2))
        assert row.row.against == opponents[key]
        if opponents[key] is None:
            assert row.difference is None
            assert row.difference_to_native is None
            continue
        for interval, other in ((row.difference, opponents[key]), (row.difference_to_native, "native")):
            c, d = (x - y for x, y in zip((a, b), by_key[other].accuracies, strict=True))
            half = 12.706204736432095 * abs(c - d) / 2  # t of 1 degree of freedom at 97.5 %
            assert interval.mean == pytest.approx((c + d) / 2, abs=1e-9)
            assert (interval.low, interval.high) == pytest.approx(
                ((c + d) / 2 - half, (c + d) / 2 + half), rel=1e-9, abs=1e-9
            )


def test_timing_is_kept_apart_and_relative_to_native(result: Comparison) -> None:
    native = result.rows[0].timing
    assert native.ratio == 1
    assert native.steps == 16
    assert native.step == "training step"
    for row in result.rows[1:]:
        assert row.timing.ratio > 0
        assert row.timing.median_seconds > 0
    untuned = result.rows[2].timing
    assert untuned.step == "forward step"
    assert untuned.steps == 2 * 2
    assert "seconds" not in result.to_json()
    assert "ratio" not in result.to_json()


def test_progress_reaches_its_end(result: Comparison, events: list[Progress]) -> None:
    total = 2 * (2 * 2 * 4 + 3 * 1 * 4 + 6 * 3)
    starts = [
        event for last, event in zip([None, *events], events, strict=False) if last is None or event.row != last.row
    ]
    assert [(event.seed, event.row) for event in starts] == [(seed, row) for seed in range(2) for row in ROWS]
    assert sorted({event.done for event in events}) == list(range(total + 1))
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert {event.total for event in events} == {total}
    assert {event.row for event in events} == set(ROWS)


def test_torch_is_left_as_it_was(data: digits.Dataset) -> None:
    torch.manual_seed(11)
    before = (torch.get_rng_state().tolist(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    emul.compare("mlp", ["native"], 2, settings=replace(TINY, epochs=1, threads=2), data=data.head(16, 8))
    after = (torch.get_rng_state().tolist(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    assert before == after


def test_builders_and_recipes_of_the_user(data: digits.Dataset) -> None:
    def narrow() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, 10))

    mine = replace(recipes.get("lba12"), name="mine")
    rows = [mine, Row("mine-untuned", "mine, untrained", mine, "evaluate"), "native-tuned"]
    result = emul.compare(narrow, rows, [5, 9], settings=TINY, data=data)
    assert result.model == "narrow"
    assert result.seeds == (5, 9)
    assert [row.row.key for row in result.rows] == ["native", "native-tuned", "mine", "mine-untuned"]
    assert result.rows[2].recipe == replace(mine, seed=5)
    record = json.loads(result.to_json())
    assert record["rows"][2]["recipe"]["seed"] == "that of the run"
    assert record["rows"][2]["layers"]


def test_diverged_native_row_is_reported_with_everything_that_starts_from_it(data: digits.Dataset) -> None:
    settings = replace(TINY, learning_rate=1e25)
    result = emul.compare("mlp", ["lba12"], 2, settings=settings, data=data)
    assert all(run.diverged and run.correct is None for row in result.rows for run in row.runs)
    assert result.rows[2].runs[0].diverged == "the native net it starts from diverged"
    record = json.loads(result.to_json(), parse_constant=pytest.fail)  # no NaN and no Infinity in the text
    for row in record["rows"]:
        assert row["diverged_seeds"] == [0, 1]
        assert row["accuracy_percent"] is None
    assert result.table().count("diverged (2 of 2)") == 4
    assert result.rows[0].accuracy is None
    assert result.rows[1].difference is None


def test_one_diverged_seed_leaves_no_mean(data: digits.Dataset) -> None:
    def sometimes() -> torch.nn.Module:
        seed = torch.initial_seed()
        model = digits.mlp()
        if seed == 1:
            torch.nn.init.constant_(model[1].weight, 3e38)
        return model

    result = emul.compare(sometimes, ["native"], 2, settings=TINY, data=data)
    (native,) = result.rows
    assert native.runs[0].correct is not None
    assert native.runs[1].correct is None
    assert native.runs[1].diverged.startswith("the loss of step 1 is ")
    assert native.accuracies[0] is not None
    assert native.accuracy is None
    assert "diverged (1 of 2)" in result.table()
    assert "seed 1: diverged, the loss of step 1" in result.table()


def test_emulated_run_that_meets_infinity_is_reported(data: digits.Dataset) -> None:
    """Emulated products refuse operands that are not finite where torch would go on with NaN."""

    class Exploding(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (float("inf") if self.training else 1.0)

    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), Exploding(), torch.nn.Linear(64, 10))

    product = emul.Product(accumulator=numerics.Accumulator(numerics.catalog.BINARY32))
    recipe = emul.Recipe((emul.Rule(".*", forward=product),), name="plain")
    result = emul.compare(build, [recipe], 2, settings=TINY, data=data)
    reason = result.rows[1].runs[0].diverged
    assert reason.startswith("step 1: ")
    assert "finite" in reason


def test_errors_that_are_no_divergence_are_not_swallowed(data: digits.Dataset) -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("a mistake in the model")

    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), Broken(), torch.nn.Linear(64, 10))

    with pytest.raises(ValueError, match="a mistake in the model"):
        emul.compare(build, ["native"], 2, settings=TINY, data=data)
