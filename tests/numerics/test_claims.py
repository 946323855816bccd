"""The papers' claims agree with ours, each is found anew, and a wrong one is seen."""

import re
from fractions import Fraction

import pytest

from numerics import claims
from numerics.claims import PAPERS, Claim, check

CLAIMS = [(name, claim) for name, paper in PAPERS.items() for claim in paper.claims]


@pytest.mark.parametrize(("name", "claim"), CLAIMS, ids=[f"{name}: {claim.statement}" for name, claim in CLAIMS])
def test_agrees(name, claim):
    outcome = check(claim, name)
    assert outcome.holds, f"{claim.statement}: expected {claim.expected}, found {outcome.found}"


def test_papers_cite_themselves():
    for paper in PAPERS.values():
        assert re.search(r"arXiv \d{4}\.\d{4,5}|20\d\d", paper.title), paper.title
        statements = [claim.statement for claim in paper.claims]
        assert len(set(statements)) == len(statements)


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "holds"),
    [
        (0.5, Fraction(1, 2), 0, True),
        (Fraction(1, 3), 1 / 3, 0, False),
        (0.1817, 0.18169, 5e-5, True),
        (0.1817, 0.1818, 5e-5, False),
        (True, 1, 0, False),
        (True, False, 0, False),
        ("64", "64", 0, True),
    ],
)
def test_agreement(expected, found, tolerance, holds):
    assert check(Claim("", expected, lambda: found, tolerance=tolerance)).holds is holds


def test_a_paper_that_is_not_known():
    with pytest.raises(ValueError, match="paper 'luc' is not known: known are lba"):
        claims.outcomes("luc")
    assert [outcome.paper for outcome in claims.outcomes("lba")] == ["lba"] * len(PAPERS["lba"].claims)
