"""The table, the JSON files, the picture, and the folder that appears whole or not at all."""

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

import emul  # noqa: E402
import numerics  # noqa: E402
from emul import compare, digits, operands  # noqa: E402
from emul.curves import WINDOW, picture, smooth  # noqa: E402
from emul.intervals import Interval  # noqa: E402
from emul.record import _plain  # noqa: E402
from emul.report import PARTIAL, WARNING, files, publication  # noqa: E402
from emul.results import Comparison  # noqa: E402
from emul.training import Settings  # noqa: E402

NAMES = ["curves.png", "results.json", "table.txt", "timing.json"]


@pytest.fixture(scope="module")
def result() -> Comparison:
    settings = Settings(epochs=1, fine_tune_epochs=1, batch=16)
    return compare("mlp", None, [4, 2], settings=settings, data=digits.load().head(32, 20))


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_table_reads_as_markdown(result: Comparison) -> None:
    heading, rule, *rows = cells(result.table())
    to_native, to_tuned = ["to native", "95 % interval"], ["to tuned", "95 % interval"]
    assert heading == ["row", "accuracy, %", "sd", *to_native, *to_tuned, "time ratio"]
    assert all(set(cell) <= {"-", ":"} for cell in rule)
    assert [row[0] for row in rows] == [row.row.name for row in result.rows]
    native = rows[0]
    assert native[0] == "native float32"
    assert native[3:] == ["-"] * 4 + ["1.00"]
    for cell_row, row in zip(rows, result.rows, strict=True):
        assert cell_row[1] == f"{row.accuracy.mean:.2f}"
        assert cell_row[2] == f"{row.accuracy.deviation:.2f}"
        assert 0 <= float(cell_row[1]) <= 100
        tuned = row.difference if row.row.against == "native-tuned" else None
        for interval, found in ((row.difference_to_native, cell_row[3:5]), (tuned, cell_row[5:7])):
            if interval is None:
                assert found == ["-", "-"]
            else:
                assert found == [f"{interval.mean:+.2f}", f"[{interval.low:+.2f}, {interval.high:+.2f}]"]
        assert float(cell_row[7]) == round(row.timing.ratio, 2)
    assert [row[5] != "-" for row in rows] == [False] * 4 + [True] * 2
    assert all(row[3] != "-" for row in rows[1:])


def test_table_is_ascii_and_says_what_its_figures_are(result: Comparison) -> None:
    text = result.table()
    assert text.isascii()
    assert text.startswith("mlp on digits: 32 training and 20 test samples, 1 epoch(s), seeds 4, 2\n")
    flat = " ".join(text.split())
    assert "not the choice of the 20 test samples" in flat
    assert "native on 1 torch thread(s)" in flat
    assert "is that of a forward step on a test batch" in flat
    assert "to tuned: its differences to the row 'native float32, fine-tuned', which had the same steps" in flat


def test_narrow_table_keeps_every_figure(result: Comparison) -> None:
    text = result.table(80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()  # nothing was cut off with an ellipsis
    heading, _, *lines = cells(text)
    assert heading == ["row", "accuracy, %", "to native", "time ratio"]
    assert "".join(line[0] for line in lines).replace(" ", "") == "".join(row.row.name for row in result.rows).replace(
        " ", ""
    )
    for line, row in zip([line for line in lines if line[1]], result.rows, strict=True):
        assert line[1] == f"{row.accuracy.mean:.2f} ({row.accuracy.deviation:.2f})"
        assert line[3] == f"{row.timing.ratio:.2f}"
        native, tuned = row.difference_to_native, row.difference
        if native is None:
            assert line[2] == "-"
        else:
            assert line[2] == f"{native.mean:+.2f} [{native.low:+.2f}, {native.high:+.2f}]"
        if row.row.against == "native-tuned":
            assert f"to tuned: {tuned.mean:+.2f} [{tuned.low:+.2f}, {tuned.high:+.2f}]" in " ".join(text.split())


def test_interval_without_length_is_explained(result: Comparison) -> None:
    sentence = "An interval without length: all seeds differ by the same number of test samples."
    equal = replace(result.rows[1], difference=Interval(1.0, 1.0, 1.0))
    apart = [replace(row, difference=Interval(1.0, 0.5, 1.5)) for row in result.rows[1:]]
    assert sentence in replace(result, rows=(result.rows[0], equal, *apart[1:])).table()
    assert sentence not in replace(result, rows=(result.rows[0], *apart)).table()


def test_a_card_is_told_and_what_differs_there(result: Comparison) -> None:
    there = replace(result, settings=replace(result.settings, device="cuda:1")).table()
    assert "both on cuda:1, TF32 off." in there
    assert "torch's own there" in " ".join(there.split())
    assert "TF32" not in result.table()


def test_json_holds_what_the_seeds_decide(result: Comparison) -> None:
    record = json.loads(result.to_json())
    assert record["seeds"] == [4, 2]
    assert record["settings"]["threads"] == 1
    assert record["model"] == "mlp"
    assert set(record["versions"]) >= {"emul", "python", "numpy", "numba", "torch", "scikit-learn"}
    assert record["data"]["training_samples"] == 32
    assert len(record["data"]["sha256"]) == 64
    for row, entry in zip(result.rows, record["rows"], strict=True):
        assert entry["accuracy_percent"]["mean"] == row.accuracy.mean
        for run, run_entry in zip(row.runs, entry["runs"], strict=True):
            assert run_entry["correct"] == run.correct
            assert run_entry["final_weights_sha256"] == run.weights
            assert record["training_losses"][row.row.key][str(run.seed)] == list(run.losses)
        assert (entry["recipe"] is None) == (row.row.recipe is None)


def test_json_tells_the_whole_arithmetic(result: Comparison) -> None:
    """A recipe changed anywhere must show."""
    rows = {entry["key"]: entry for entry in json.loads(result.to_json())["rows"]}
    lba12 = json.dumps(rows["lba12-tuned"]["recipe"])
    assert '"chunk": 16' in lba12
    assert '"RTZ"' in lba12
    assert "SATURATE" in lba12
    lba8 = json.dumps(rows["lba8-tuned"]["recipe"])
    assert lba8 != lba12
    assert '"SR"' in json.dumps(rows["fp8"]["recipe"])
    assert [layer["name"] for layer in rows["fp8"]["layers"]].count("1") == 1


def test_stages_and_matrix_units_are_told_apart_in_json() -> None:
    half = numerics.Quantizer(numerics.catalog.BINARY16)
    unit = numerics.catalog.MATRIX_UNITS["h100.f16.f32"]
    stages = (operands.TopN(), operands.MVUE(), operands.LUQ(), operands.Affine(), (operands.TopN(), half))
    products = [emul.Product(gradient=stage) for stage in stages]
    products += [emul.Product(accumulator=unit), emul.Product(gradient=half)]
    texts = [json.dumps(_plain(product)) for product in products]
    assert len(set(texts)) == len(texts)
    assert '"stage": "MVUE"' in texts[1]
    assert '"rounding": "' in texts[3]


def test_timings_are_in_their_own_file(result: Comparison) -> None:
    written = {name: content.decode() for name, content in files(result).items() if name != "curves.png"}
    timing = json.loads(written["timing.json"])
    assert timing["rows"]["fp8"]["ratio"] == result.rows[1].timing.ratio
    assert timing["torch_threads"] == 1
    assert timing["emulation_threads"] >= 1
    assert timing["wall_seconds"] > 0
    later = replace(result, seconds=0.0, rows=tuple(replace(row, timing=result.rows[0].timing) for row in result.rows))
    assert later.to_json() == written["results.json"] == result.to_json()
    assert written["table.txt"] == result.table()


def test_picture_is_a_png_with_a_panel_per_phase(result: Comparison) -> None:
    width, height = struct.unpack(">II", picture(result)[16:24])
    assert (width, height) == (1280, 540)
    alone = replace(result, rows=result.rows[:2])
    assert struct.unpack(">II", picture(alone)[16:24]) == (640, 540)


def test_picture_of_a_diverged_run(result: Comparison) -> None:
    row = result.rows[1]
    runs = (replace(row.runs[0], losses=(2.0, float("nan")), diverged="the loss"), row.runs[1])
    none = tuple(replace(run, losses=(), diverged="the net it starts from diverged") for run in row.runs)
    broken = replace(result, rows=(result.rows[0], replace(row, runs=runs), replace(result.rows[4], runs=none)))
    assert picture(broken).startswith(b"\x89PNG")


def test_smooth_by_hand() -> None:
    assert WINDOW == 10
    losses = [float(value) for value in range(1, 13)]
    assert smooth(losses) == [(6.5, 6.5)]
    assert smooth([float(value) for value in range(1, 26)]) == [(5.5, 5.5), (18.0, 18.0)]
    assert smooth([2.0] * 20) == [(5.5, 2.0), (15.5, 2.0)]
    assert smooth([1.0, 3.0, float("inf"), 5.0]) == [(1.5, 2.0)]
    assert smooth([]) == []


def test_save_publishes_everything_in_one_folder(result: Comparison, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "deep" / "run")
    assert folder == tmp_path / "deep" / "run"
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert (folder / "results.json").read_text() == result.to_json()
    umask = os.umask(0)
    os.umask(umask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~umask


def test_existing_folder_is_refused_and_kept(result: Comparison, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(FileExistsError, match=r"run' exists already; give another name or delete it"):
        result.save(tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="exists already"):
        result.save(tmp_path / "link")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "run"]
    assert not list((tmp_path / "run").iterdir())


def test_nothing_is_left_of_a_publication_that_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with publication(tmp_path / "run") as partial:
            assert partial.parent == tmp_path
            assert PARTIAL in partial.name
            assert [path.name for path in partial.iterdir()] == [WARNING]
            (partial / "results.json").write_text("{}")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["empty folder", "full folder", "file"])
def test_what_appears_during_the_run_is_not_overwritten(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "run"

    def race() -> None:
        with publication(target) as partial:
            (partial / "results.json").write_text("mine")
            if kind == "file":
                target.write_text("theirs")
            else:
                target.mkdir()
            if kind == "full folder":
                (target / "results.json").write_text("theirs")

    with pytest.raises(FileExistsError, match=rf"appeared during the run; the finished files are in .*{PARTIAL}"):
        race()
    (partial,) = (path for path in tmp_path.iterdir() if PARTIAL in path.name)
    assert (partial / "results.json").read_text() == "mine"
    assert target.is_file() == (kind == "file")
    assert (target / "results.json").exists() == (kind == "full folder")
