"""`emul claims`: a table, CSV or JSON, the exit status says whether all agree."""

import csv
import io
import json
from fractions import Fraction

import pytest

pytest.importorskip("typer")
from typer.testing import CliRunner

from emul import commands
from numerics import claims
from numerics.claims import Claim, Paper

THIRD = Claim("a third", Fraction(1, 3), lambda: Fraction(1, 3), "eq. 1")
WRONG = Claim("two digits of pi", 3.1, lambda: 3.14159, "eq. 2", 0.005, "printed so")


@pytest.fixture
def run(monkeypatch):
    def run(*arguments, shown=(THIRD, WRONG)):
        monkeypatch.setattr(claims, "PAPERS", {"mine": Paper("Mine, 2026", shown), "lba": claims.PAPERS["lba"]})
        return CliRunner().invoke(commands.app, ["claims", *arguments])

    return run


def test_a_table_and_what_disagrees(run):
    done = run("mine")
    assert done.exit_code == 1
    assert "3.1 ± 0.005" in done.stdout
    assert "3.14159" in done.stdout and " NO " in done.stdout
    assert "mine: Mine, 2026" in done.stdout
    assert "1 of 2 agree" in done.stdout
    assert run("mine", shown=(THIRD,)).exit_code == 0


def test_csv_and_json(run):
    rows = list(csv.DictReader(io.StringIO(run("mine", "--format", "csv").stdout)))
    assert [row["agrees"] for row in rows] == ["yes", "NO"]
    first, second = json.loads(run("mine", "--json").stdout)
    assert (first["expected"], first["found"], first["agrees"]) == ("1/3", "1/3", True)
    assert (second["found"], second["agrees"], second["note"]) == (3.14159, False, "printed so")


def test_all_papers_and_one_that_is_not_there(run):
    done = run(shown=(THIRD,))
    assert done.exit_code == 0, done.stdout
    assert "M7E4 with bias 10 ends at 63.75" in done.stdout and "a third" in done.stdout
    done = run("luc")
    assert done.exit_code == 2
    assert "emul: paper 'luc' is not known: known are mine, lba" in done.output
