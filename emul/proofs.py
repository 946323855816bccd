"""What `emul verify` puts to the proof, and how it and `emul claims` show what came of it."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .extras import require
from .named import found
from .own_formats import format_named, found_or_made, is_format

if TYPE_CHECKING:
    from numerics.claims import Outcome
    from numerics.properties.claims import Subject
    from numerics.properties.verify import Report, Verdict

HEADER = ("claim", "verdict", "evidence", "cases", "seconds")
CLAIMS_HEADER = ("paper", "claim", "expected", "found", "agrees", "place", "note")


def subject_of(
    target: str,
    *,
    fmt: str | None,
    rounding: str | None,
    random_bits: int | None,
    overflow: str | None,
    sampler: bool,
    codes: bool,
    source: str | None,
    tensor: bool,
    dtype: str,
    limit: int,
) -> Subject:
    """The subject that a target names: a format, a matrix unit, or module:name of a format, a function or a record.

    Errors: ValueError, TypeError, ImportError, each with a sentence; options that the target has no use for are refused.
    """
    from numerics import catalog, parse_format
    from numerics.formats.naming import named
    from numerics.properties import as_accumulator, as_quantizer
    from numerics.properties.verify import as_subject
    from numerics.quantizer import Quantizer
    from numerics.rounding import Overflow, Rounding

    of_functions: dict[str, object] = {
        "--format": fmt,
        "--sampler": sampler,
        "--codes": codes,
        "--source": source,
        "--torch": tensor,
    }
    of_roundings: dict[str, object] = {"--rounding": rounding, "--overflow": overflow, "--random-bits": random_bits}
    mode = _member(Rounding, "rounding", rounding or "RNE")
    rule = _member(Overflow, "overflow", overflow or "SATURATE")
    if ":" not in target and target in catalog.MATRIX_UNITS:
        _check_unused(f"{target} is a matrix unit", of_functions | of_roundings)
        return as_accumulator(catalog.MATRIX_UNITS[target], takes_c=True)
    made: Any = found_or_made(target) if ":" in target else parse_format(target)
    if isinstance(made, type) and hasattr(made, "subject"):  # what a suite for pytest was made of
        made = made.subject
    if is_format(made):
        _check_unused(f"{target} is a format", of_functions)
        bits = 8 if mode.stochastic and random_bits is None else random_bits
        return as_quantizer(Quantizer(made, mode, rule, bits), dtype=dtype, limit=limit)
    if not _is_function(made):
        try:
            subject = as_subject(made)
        except TypeError:
            what = "is" if found(target) is made else "returned"
            raise TypeError(
                f"{target} {what} {named(made)}: give a function of an array, a format, a Quantizer, Accumulator or MatrixUnit,"
                " or what as_quantizer, as_accumulator or as_mask made"
            ) from None
        _check_unused(f"{target} says all that is claimed", of_functions | of_roundings)
        return subject
    if fmt is None:
        raise ValueError(f"{target} is a function: say what it rounds to, --format e4m3fn for example")
    _check_arguments(made, target, mode, random_bits, sampler)
    return as_quantizer(
        made,
        fmt=format_named(fmt),
        rounding=mode,
        overflow=rule,
        sampler=sampler,
        codes=codes,
        source=None if source is None else _element(source),
        tensor=_from_numpy() if tensor else None,
        dtype=dtype,
        name=target.partition(":")[2],
        limit=limit,
        random_bits=random_bits,
    )


def _check_unused(why: str, options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        raise ValueError(f"{', '.join(given)} with a target that has no use for it: {why}; leave it out")


def _check_arguments(fn: Any, target: str, mode: Any, random_bits: int | None, sampler: bool) -> None:
    """Refuses options under which a function would be called with words that it does not take, or without those it needs."""
    try:
        needed, most = _argument_counts(fn)
        by_name = _needed_by_name(fn)
    except (ValueError, TypeError):  # compiled code that does not tell
        return
    if by_name:
        raise ValueError(
            f"{target} needs {', '.join(by_name)} by name, and it is called as fn(x), or as fn(x, words): give a function that"
            " passes it on"
        )
    if most == 0 or needed > 2:
        raise ValueError(f"{target} takes {needed} arguments: it is called as fn(x), or as fn(x, words)")
    if needed == 2 and not mode.stochastic:
        raise ValueError(
            f"{target} takes 2 arguments, and {mode.name} has no words to give: --rounding is missing, SR for example"
        )
    if needed == 2 and sampler:
        raise ValueError(
            f"{target} takes 2 arguments, and with --sampler it is called with x alone: leave --sampler out, and give "
            "--random-bits, how many bits its words have"
        )
    if needed == 2 and random_bits is None:
        raise ValueError(
            f"{target} takes 2 arguments, x and words: --random-bits is missing, how many bits a word has, 8 for example"
        )
    if most == 1 and mode.stochastic and random_bits is not None and not sampler:
        raise ValueError(
            f"{target} takes 1 argument, so there is no place for words of {random_bits} bits: --sampler is missing, "
            "which says that it draws for itself"
        )


def _argument_counts(fn: Any) -> tuple[int, float]:
    """How many arguments by position a function needs, and how many it takes at most. Errors: as inspect.signature."""
    needed, most = 0, 0.0
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = math.inf
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            needed += parameter.default is parameter.empty
            most += 1
    return needed, most


def _needed_by_name(fn: Any) -> list[str]:
    """The arguments that a function needs and takes by keyword alone. Errors: as inspect.signature."""
    parameters = inspect.signature(fn).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]


def _is_function(found: Any) -> bool:
    from numerics.accumulator import Accumulator
    from numerics.matrix_unit import MatrixUnit
    from numerics.properties import AccumulatorUnderTest, MaskUnderTest, QuantizerUnderTest
    from numerics.quantizer import Quantizer

    records = (Accumulator, MatrixUnit, Quantizer, AccumulatorUnderTest, MaskUnderTest, QuantizerUnderTest)
    return callable(found) and not isinstance(found, records)


def _member(kind: Any, label: str, name: str) -> Any:
    try:
        return kind[name.upper()]
    except KeyError:
        raise ValueError(f"{label} {name!r} is not known: known are {', '.join(kind.__members__)}") from None


def _element(name: str) -> Any:
    from numerics import BlockFormat

    fmt = format_named(name)
    if isinstance(fmt, BlockFormat):
        raise ValueError(f"source {name} is a block format: codes come in one by one")
    return fmt


def _from_numpy() -> Any:
    require("torch")
    import torch

    return torch.from_numpy


def cells(verdict: Verdict) -> tuple[str, ...]:
    """A line of the table."""
    evidence = verdict.kind if verdict.status == "held" else verdict.note.partition("\n")[0]
    note = f" ({verdict.note})" if verdict.status == "held" and verdict.note else ""
    cases = f"{verdict.cases:,}" if verdict.cases else ""
    return verdict.claim, verdict.status, evidence + note, cases, f"{verdict.seconds:.2f}" if verdict.seconds else ""


def summary(report: Report) -> str:
    """The last line: how many claims held, were broken, do not apply."""
    count = {status: sum(v.status == status for v in report.verdicts) for status in ("held", "broken", "skipped")}
    seconds = sum(v.seconds for v in report.verdicts)
    return f"{count['held']} held, {count['broken']} broken, {count['skipped']} do not apply; {seconds:.1f} s"


def claim_cells(outcome: Outcome) -> tuple[str, ...]:
    """A line of the table of what papers claim."""
    claim = outcome.claim
    expected = _figure(claim.expected) + (f" ± {claim.tolerance:.2g}" if claim.tolerance else "")
    found = _figure(outcome.found)
    return outcome.paper, claim.statement, expected, found, "yes" if outcome.holds else "NO", claim.place, claim.note


def claims_json(outcomes: Sequence[Outcome]) -> str:
    """The same as JSON: a list of objects; fractions are strings such as "1/3"."""
    return json.dumps(
        [
            {
                "paper": outcome.paper,
                "claim": outcome.claim.statement,
                "expected": _plain(outcome.claim.expected),
                "tolerance": outcome.claim.tolerance,
                "found": _plain(outcome.found),
                "agrees": outcome.holds,
                "place": outcome.claim.place,
                "note": outcome.claim.note,
                "seconds": outcome.seconds,
            }
            for outcome in outcomes
        ],
        indent=2,
        ensure_ascii=False,
    )


def _figure(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Fraction) else value
