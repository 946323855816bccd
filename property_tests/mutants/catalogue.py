"""All mutants, and the right functions beside them."""

from . import blocks, luq, masks, products, rounding, samplers, tables, units, wiring, words
from .record import Mutant, Right

MUTANTS: tuple[Mutant, ...] = tuple(
    mutant
    for kind in (rounding, wiring, words, tables, samplers, blocks, products, units, masks, luq)
    for mutant in kind.MUTANTS
)
RIGHT: tuple[Right, ...] = tuple({mutant.twin.name: mutant.twin for mutant in MUTANTS}.values())
SEEDS = range(10)


def seeds_of(mutant: Mutant | Right) -> range:
    """The seeds that a mutant is tried with: one where nothing is left to chance."""
    return SEEDS if mutant.random else range(1)
