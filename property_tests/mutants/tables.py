"""Mutants of tables from codes to codes, a few entries of which are wrong."""

from typing import Any

import numpy as np

from numerics import Overflow, Quantizer, Rounding, catalog
from numerics.properties import QuantizerUnderTest, as_quantizer

from .record import Mutant, Right

SOURCE, TARGET, WIDE = catalog.E5M2, catalog.E4M3, catalog.BINARY16
Array = Any


def _table(source: Any, target: Any) -> Array:
    """The code of the target for each code of the source."""
    values = source.decode(np.arange(1 << source.bits)).astype(np.float32)
    return Quantizer(target, overflow=Overflow.SATURATE).encode(values)


def _make(source: Any, target: Any, spoil: Any = None) -> Any:
    def make(_: int) -> QuantizerUnderTest:
        table = _table(source, target)
        if spoil is not None:
            spoil(table)
        return as_quantizer(
            lambda codes: table[codes], fmt=target, rounding=Rounding.RNE, source=source, codes=True, name="table"
        )

    return make


NARROW = Right("a table of 256 codes", _make(SOURCE, TARGET))
LARGE = Right("a table of 65536 codes", _make(WIDE, TARGET))
MUTANTS: list[Mutant] = []


def _mutant(name: str, where: str, twin: Right, source: Any, spoil: Any) -> None:
    MUTANTS.append(Mutant(name, where, _make(source, TARGET, spoil), "every_code", twin))


def _overflows(table: Array) -> None:
    table[0x61:0x7C] = 0


def _underflows(table: Array) -> None:
    table[0x01:0x08] = 0x7E


def _nan(table: Array) -> None:
    table[0x7E] = 0


def _infinity(table: Array) -> None:
    table[0xFC] = 0x7E


def _one(table: Array) -> None:
    table[0x3C41] += 1


_mutant("entries_beyond_the_range", "of a kind: entries beyond the range were never filled", NARROW, SOURCE, _overflows)
_mutant("underflow_to_the_top", "of a kind: an exponent below the range wraps around", NARROW, SOURCE, _underflows)
_mutant("a_nan_to_zero", "of a kind: one of several NaNs is not known as one", NARROW, SOURCE, _nan)
_mutant("minus_infinity_to_plus", "of a kind: the sign of an infinity is lost", NARROW, SOURCE, _infinity)
_mutant("one_entry_of_many", "of a kind: a typing error in a table of 65536 entries", LARGE, WIDE, _one)
