"""What the papers prove or print, checked one by one: expected, found, and whether they agree. `emul claims` prints it.

One file a paper, named in `PAPERS`; a figure is found when it is asked for, never stored.
"""

from collections.abc import Iterator

from . import (
    aciq,
    binary,
    edge_of_stability,
    eight_bit,
    fp4_training,
    fp8_training,
    lba,
    luq,
    norm_matters,
    sawb,
    sparsity,
    tempered,
)
from .claim import Claim, Outcome, Paper, check

__all__ = ["PAPERS", "Claim", "Outcome", "Paper", "check", "outcomes"]

#: Short name -> source and claims, in the order in which they are printed.
PAPERS: dict[str, Paper] = {
    "lba": lba.PAPER,
    "binary": binary.PAPER,
    "tempered": tempered.PAPER,
    "luq": luq.PAPER,
    "mvue": sparsity.PAPER,
    "transposable": sparsity.TRANSPOSABLE,
    "aciq": aciq.PAPER,
    "sawb": sawb.PAPER,
    "eight-bit": eight_bit.PAPER,
    "norm-matters": norm_matters.PAPER,
    "fp8-training": fp8_training.PAPER,
    "fp4-training": fp4_training.PAPER,
    "edge-of-stability": edge_of_stability.PAPER,
}


def outcomes(*names: str) -> Iterator[Outcome]:
    """Checks all claims of the papers named, of all papers where none is.

    Errors: ValueError for a name that is not in `PAPERS`.
    """
    for name in names:
        if name not in PAPERS:
            raise ValueError(f"paper {name!r} is not known: known are {', '.join(PAPERS)}")
    return (check(claim, name) for name in names or PAPERS for claim in PAPERS[name].claims)
