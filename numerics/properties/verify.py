"""All claims about one function, one after the other, into a report: what `emul verify` prints."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..accumulator import Accumulator
from ..matrix_unit import MatrixUnit
from ..quantizer import Quantizer
from .accumulators import AccumulatorUnderTest, as_accumulator
from .claims import Claim, Subject, claims_of
from .evidence import ClaimError, raised_details, told
from .masks import MaskUnderTest
from .quantizers import QuantizerUnderTest, as_quantizer

HELD, BROKEN, SKIPPED = "held", "broken", "skipped"
_AS_IN = "as in "  # of a function that fails the same way whatever is claimed


@dataclass(frozen=True)
class Verdict:
    """One claim: whether it held, how that was shown, in how many cases, in how many seconds.

    kind: "exhaustive", "exact" or "statistical"; empty where the claim was broken or skipped. note: on what it was
    shown, the counter-example, or why it does not apply.
    """

    claim: str
    statement: str
    status: str
    kind: str = ""
    cases: int = 0
    note: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """The verdicts on one subject."""

    subject: str
    verdicts: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """Whether no claim was broken, and one at least held."""
        return all(v.status != BROKEN for v in self.verdicts) and any(v.status == HELD for v in self.verdicts)

    def __str__(self) -> str:
        """The subject, a line for each claim, and what breaks those that are broken."""
        width = max((len(v.claim) for v in self.verdicts), default=0)
        lines = [self.subject]
        for v in self.verdicts:
            shown = f"{v.kind}, {v.cases:,} cases" + f" ({v.note})" * bool(v.note) if v.status == HELD else v.note
            lines.append(f"  {v.claim:<{width}}  {v.status:<7}  {shown.splitlines()[0] if shown else ''}".rstrip())
        lines += [v.note for v in self.verdicts if v.status == BROKEN and not is_repeated(v)]
        return "\n".join(lines)

    def __getitem__(self, claim: str) -> Verdict:
        """The verdict on a claim by its name. Errors: KeyError, with the names that there are."""
        for verdict in self.verdicts:
            if verdict.claim == claim:
                return verdict
        raise KeyError(f"no verdict on {claim!r}: there are {', '.join(v.claim for v in self.verdicts)}")

    def to_json(self) -> str:
        """The report as JSON: subject, ok, and the verdicts with all their fields."""
        return json.dumps(
            {"subject": self.subject, "ok": self.ok, "verdicts": [asdict(v) for v in self.verdicts]}, indent=1
        )


def describe(subject: Subject) -> str:
    """A subject and its claim in one line."""
    if isinstance(subject, AccumulatorUnderTest):
        return f"{subject.name} as {subject.claim}"
    if isinstance(subject, MaskUnderTest):
        bits = f", {subject.random_bits} random bits" if subject.random_bits else ""
        return f"{subject.name} as {subject.n}:{subject.m} {subject.kind}{bits}"
    bits = f", {subject.random_bits} random bits" if subject.stochastic else ""
    return f"{subject.name} as {subject.fmt}, {subject.rounding.name}{bits}, Overflow.{subject.overflow.name}"


def as_subject(target: Any) -> Subject:
    """A subject as it is; a Quantizer, Accumulator or MatrixUnit of this package as one."""
    if isinstance(target, QuantizerUnderTest | AccumulatorUnderTest | MaskUnderTest):
        return target
    if isinstance(target, Quantizer):
        return as_quantizer(target)
    if isinstance(target, Accumulator | MatrixUnit):
        return as_accumulator(target)
    raise TypeError(
        f"{target!r}: give what as_quantizer, as_accumulator or as_mask made, or a Quantizer, Accumulator or MatrixUnit"
    )


def verdicts(subject: Subject, only: Callable[[Claim], bool] | None = None) -> Iterator[Verdict]:
    """The verdicts as they come; only: which claims to look at."""
    known: dict[str, str] = {}  # of a function that fails whatever is claimed: where each sentence came first
    for claim in claims_of(subject):
        if only is not None and not only(claim):
            continue
        verdict = judge(claim, subject)
        head, _, sentence = verdict.note.partition("\n")[0].partition(": ")
        if verdict.status == BROKEN and (head == "result" or "the function raised" in sentence):
            sentence = "of another shape or type" if head == "result" else sentence
            first = known.setdefault(sentence, claim.name)
            if first != claim.name:
                verdict = replace(verdict, note=f"{claim.name}: {_AS_IN}{first}")
        yield verdict


def is_repeated(verdict: Verdict) -> bool:
    """Whether an earlier verdict has said already what broke this claim."""
    return verdict.status == BROKEN and verdict.note.startswith(f"{verdict.claim}: {_AS_IN}")


def judge(claim: Claim, subject: Subject) -> Verdict:
    """The verdict on one claim. Errors that are no ClaimError are the function's own, and break the claim too."""
    reason = claim.excuse(subject)
    if reason is not None:
        return Verdict(claim.name, claim.statement, SKIPPED, note=reason)
    begin = time.perf_counter()
    try:
        found = claim.check(subject)
    except ClaimError as broken:
        return Verdict(claim.name, claim.statement, BROKEN, note=str(broken), seconds=time.perf_counter() - begin)
    except Exception as error:
        sentence = f"{claim.name}: {_whose(error)} raised {type(error).__name__}: {error}"
        note = told(sentence, raised_details(error))
        return Verdict(claim.name, claim.statement, BROKEN, note=note, seconds=time.perf_counter() - begin)
    if not found.cases:
        return Verdict(claim.name, claim.statement, SKIPPED, note=found.note or "no case could be tried")
    return Verdict(claim.name, claim.statement, HELD, found.kind, found.cases, found.note, time.perf_counter() - begin)


def _whose(error: Exception) -> str:
    """Whether an error came out of the function under test, or out of the check itself, which is then to be reported."""
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    return "the function" if "call_function" in frames else "the check itself"


def verify(target: Any) -> Report:
    """Puts a function to the proof: every claim about it, with evidence or a counter-example.

    target: from `as_quantizer`, `as_accumulator` or `as_mask`; or a Quantizer, Accumulator or MatrixUnit.
    """
    subject = as_subject(target)
    return Report(describe(subject), tuple(verdicts(subject)))
