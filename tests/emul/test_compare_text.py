"""Paired runs of a small GPT: bits per character, their pairing, reproducibility, tables and files."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("rich")

import emul  # noqa: E402
import numerics  # noqa: E402
from emul import text  # noqa: E402
from emul.datasets import Dataset  # noqa: E402
from emul.gpt import Gpt, Size  # noqa: E402
from emul.results import Comparison  # noqa: E402
from emul.training import TEXT, phase_seed  # noqa: E402

TINY = replace(TEXT, steps=8, batch=4, warm_up=2)
ROWS = ["lba12-tuned", "fp8"]


def tiny(data: Dataset) -> torch.nn.Module:
    return Gpt(Size(1, 8, 2, data.train_inputs.shape[1]), data.classes)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return text.load(12, 6)


@pytest.fixture(scope="module")
def result(data: Dataset) -> Comparison:
    return emul.compare(tiny, ROWS, 2, settings=TINY, data=data)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = numerics.get_num_threads()
    numerics.set_num_threads(1)
    yield
    numerics.set_num_threads(before)


@pytest.mark.nightly
def test_second_run_gives_the_same_bytes(result: Comparison, data: Dataset, one_thread: None) -> None:
    torch.rand(3)
    assert emul.compare(tiny, ROWS, [0, 1], settings=TINY, data=data).to_json() == result.to_json()


def test_native_row_is_the_plain_training_loop(result: Comparison, data: Dataset) -> None:
    """The same training written once more: AdamW, a ramp and a cosine, clipping; without the scale of the loss."""
    threads = torch.get_num_threads()
    torch.set_num_threads(TINY.threads)
    torch.manual_seed(1)
    model = tiny(data)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004, betas=(0.9, 0.95))
    rates = [0.002, 0.004] + [0.002 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    order = torch.Generator().manual_seed(phase_seed(1, "train"))
    permutation = torch.randperm(len(data.train_inputs), generator=order)
    losses = []
    for step, rate in enumerate(rates):
        index = permutation[4 * step : 4 * step + 4]
        logits = model(data.train_inputs[index])
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), data.train_labels[index])
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        chances = model(data.test_inputs).softmax(-1).double()
    bits = -chances.gather(-1, data.test_labels[..., None]).log2().mean().item()
    torch.set_num_threads(threads)
    run = result.rows[0].runs[1]
    assert run.losses == pytest.approx(losses, rel=1e-4)
    assert losses[-1] < losses[0]
    assert result.rows[0].scores[1] == pytest.approx(bits, rel=1e-4)


def test_rows_share_their_start_and_take_steps_in_proportion(result: Comparison) -> None:
    runs = {row.row.key: row.runs for row in result.rows}
    assert list(runs) == ["native", "fp8", "native-tuned", "lba12-tuned"]
    assert [len(row[0].losses) for row in runs.values()] == [8, 8, 2, 2]
    for seed in range(2):
        assert runs["fp8"][seed].start == runs["native"][seed].start
        assert runs["lba12-tuned"][seed].start == runs["native-tuned"][seed].start == runs["native"][seed].weights
    assert len({run.weights for row in runs.values() for run in row}) == 8


def test_statistics_are_those_of_the_losses(result: Comparison) -> None:
    for row in result.rows:
        bits = [run.test_loss / math.log(2) for run in row.runs]
        assert list(row.scores) == pytest.approx(bits, rel=1e-12)
        assert row.score.mean == pytest.approx(sum(bits) / 2)
        if row.row.against is None:
            continue
        other = next(opponent for opponent in result.rows if opponent.row.key == row.row.against)
        c, d = (mine - theirs for mine, theirs in zip(bits, other.scores, strict=True))
        assert row.difference.mean == pytest.approx((c + d) / 2, abs=1e-9)
        assert row.difference.high - row.difference.low == pytest.approx(12.706204736432095 * abs(c - d), abs=1e-9)


def test_files_say_bits_and_perplexity(result: Comparison) -> None:
    record = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert (record["data"]["task"], record["data"]["classes"]) == ("next-token", result.data.classes)
    assert record["settings"]["steps"] == 8
    for entry, row in zip(record["rows"], result.rows, strict=True):
        assert entry["bits_per_character"]["mean"] == row.score.mean
        assert "accuracy_percent" not in entry
        assert entry["runs"][0]["perplexity"] == pytest.approx(math.exp(row.runs[0].test_loss))
    assert record["rows"][1]["difference_bits"]["mean"] == result.rows[1].difference.mean


@pytest.mark.parametrize("width", [None, 80])
def test_tables_hold_bits_and_perplexity(result: Comparison, width: int | None) -> None:
    table = result.table(width)
    assert table.isascii()
    flat = " ".join(table.split())
    assert "6 test samples, 8 step(s), seeds 0, 1" in flat
    assert "lower is better. perplexity: two to their mean." in flat
    assert "is that net after 2 step(s) more" in flat
    heading = next(line for line in table.splitlines() if line.startswith("| row"))
    assert "bits per character" in heading
    assert ("perplexity" in heading) == (width is None)
    assert max(map(len, table.splitlines())) <= (width or 200)
    for row in result.rows:
        assert f"{row.score.mean:.4f}" in table
        assert f"{2**row.score.mean:.3f}" in table
        assert row.difference is None or f"{row.difference.mean:+.4f} [{row.difference.low:+.4f}" in flat.replace(
            "| ", ""
        )


def test_picture_says_what_a_batch_is(result: Comparison) -> None:
    curves = pytest.importorskip("emul.curves")
    pytest.importorskip("matplotlib")
    assert curves.picture(result).startswith(b"\x89PNG")
    assert curves._batch(result) == "4 x 12 characters"


def test_a_diverged_gpt_has_no_bits(data: Dataset) -> None:
    settings = replace(TINY, learning_rate=1e30, clip=None, steps=3, warm_up=0)
    result = emul.compare(tiny, ["native"], 2, settings=settings, data=data)
    assert all(run.diverged for run in result.rows[0].runs)
    assert result.rows[0].scores == (None, None)
    record = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert record["rows"][0]["bits_per_character"] is None
    assert record["rows"][0]["runs"][0]["perplexity"] is None
    assert "diverged (2 of 2)" in result.table()


class Recurrent(torch.nn.Module):
    def __init__(self, data: Dataset) -> None:
        super().__init__()
        self.look = torch.nn.Embedding(data.classes, 4)
        self.cells, self.head = torch.nn.LSTM(4, 4, batch_first=True), torch.nn.Linear(4, data.classes)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.cells(self.look(ids))[0]
        return self.head(x @ x.mT @ x + 0 * torch.rand(1))


def test_what_stays_native_in_a_model_of_ones_own_is_told(data: Dataset) -> None:
    fp8 = emul.recipes.get("fp8")
    kept = emul.Recipe((emul.Rule("cells", keep=True), *fp8.rules), name="kept")
    before = torch.get_rng_state()
    result = emul.compare(Recurrent, ["fp8", "mxfp8", kept], 2, settings=replace(TINY, steps=1), data=data)
    assert torch.equal(torch.get_rng_state(), before)
    told = [line for line in result.table(10**4).splitlines() if line.startswith("Native in ")]
    names = [row.row.name for row in result.rows]
    assert told == [f"Native in {names[1]}, {names[2]} too, as results.json explains: lstm in cells."]
    native, *emulated = json.loads(result.to_json())["rows"]
    assert native["calls"] == []
    for row, rule in zip(emulated, (0, 0, 1), strict=True):
        calls = {call["function"]: call for call in row["calls"]}
        assert (calls["lstm"]["module"], calls["lstm"]["rule"]) == ("cells", None)
        assert (calls["matmul"]["module"], calls["matmul"]["rule"], calls["matmul"]["count"]) == ("", rule, 2)
    assert calls["lstm"]["native"] == "kept by rule 0"
