"""What `emul recipes NAME` prints: the phases of one recipe, their rules in order, and what each does to its products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from numerics.formats.spelling import expression

from . import recipes
from .recipe import ROLES, Recipe, Rule
from .rows import own
from .schedule import Phase, Schedule, single

HEADER = ("phase", "length", "rule", "layers", "product", "part", "arithmetic")
STARTS = {"scratch": "scratch", "trained": "trained net", "evaluate": "trained net, no training"}
NATIVE, KEPT = "torch's own", "stays native"
AS_IT_IS = "as it is"


class Part(NamedTuple):
    """A line of a rule: product "" where the rule speaks of a layer as a whole; arithmetic: Python of numerics and emul."""

    product: str
    part: str
    arithmetic: str


class Told(NamedTuple):
    """A recipe: its title, the facts about it by label, its schedule, and whether it is trained by it."""

    title: str
    facts: dict[str, str]
    schedule: Schedule
    trained: bool = True


def told(name: str) -> Told:
    """The recipe of a name, or the Recipe or Schedule that module:name is.

    Errors: ValueError for an unknown name, with the nearest; as `emul.rows.own` for module:name.
    """
    if ":" in name:
        made = own(name)
        plan = single(made) if isinstance(made, Recipe) else made
        title = name if made.name == name else f"{name}: {made.name}"
        return Told(title, {"start": STARTS[plan.start]}, plan)
    entry = recipes.entry(name)
    facts = {"paper": entry.paper, "start": STARTS[entry.start]}
    if hasattr(recipes, name):
        facts["more"] = f"help(emul.recipes.{name}): its options, and what of it was verified"
    if entry.inputs:
        facts["first"] = (
            "the layer that sees the net's input has a rule of its own, first=PATTERN; emul compare finds it"
        )
    if entry.calibrate:
        facts["data"] = f"emul compare takes clips from data: emul.calibration.{entry.calibrate}"
    return Told(f"{entry.name}: {entry.what}", facts, recipes.schedule(name), entry.start != "evaluate")


def lines(recipe: Told) -> Iterator[str]:
    """The text."""
    yield recipe.title
    width = max(map(len, recipe.facts))
    for label, fact in recipe.facts.items():
        yield f"  {label:<{width}}  {fact}"
    phases = recipe.schedule.phases
    for number, phase in enumerate(phases, 1):
        yield ""
        yield f"phase {number} of {len(phases)}: {phase.name}, {length(phase, recipe)}"
        for label in ("learning_rate", "until", "clip_weights"):
            if getattr(phase, label) is not None:
                yield f"  {label.replace('_', ' ')}: {getattr(phase, label)!r}"
        if phase.recipe is None:
            yield f"  every product is {NATIVE}"
            continue
        for index, rule in enumerate(phase.recipe.rules):
            if rule.keep:
                yield f"  rule {index}: {layers(rule)}: {KEPT}"
                continue
            yield f"  rule {index}: {layers(rule)}"
            before = None
            for product, part, arithmetic in parts(rule):
                yield f"    {product if product != before else '':<11}  {part:<10}  {arithmetic}"
                before = product


def rows(recipe: Told) -> list[tuple[str, ...]]:
    """The same as a table with the columns of HEADER, a line for each part of each product of each rule."""
    found: list[tuple[str, ...]] = []
    for phase in recipe.schedule.phases:
        head = (phase.name, length(phase, recipe))
        if phase.recipe is None:
            found.append((*head, "", "every layer", "", "", NATIVE))
            continue
        for index, rule in enumerate(phase.recipe.rules):
            found += [(*head, str(index), layers(rule), *part) for part in parts(rule)]
    return found


def length(phase: Phase, recipe: Told) -> str:
    """How long a phase is: its steps, or its part of those that are left to shares."""
    if not recipe.trained:
        return "no training"
    if phase.steps is not None:
        return f"{phase.steps} steps"
    shares = [other.share for other in recipe.schedule.phases if other.share is not None]
    if len(shares) == 1:
        return "all steps" if len(recipe.schedule.phases) == 1 else "the steps that are left"
    return f"{phase.share:g} of {sum(shares):g} parts"


def layers(rule: Rule) -> str:
    """Which layers a rule decides about, if none before it does."""
    which = "every layer" if rule.pattern == ".*" else f"layers named {rule.pattern!r}"
    return f"{which} of the type {' or '.join(rule.types)}" if rule.types else which


def parts(rule: Rule) -> Iterator[Part]:
    """What a rule does: of each product its sums, its two operands and what else is particular to it."""
    if rule.keep:
        yield Part("", "", KEPT)
        return
    if rule.norm is not None:
        yield Part("", "norm", repr(rule.norm))
    for product, roles in ROLES.items():
        made = getattr(rule, product)
        if rule.norm is not None and made == type(made)():
            continue
        yield Part(product, "sums", NATIVE if made.accumulator is None else expression(made.accumulator))
        for role in roles:
            operand = getattr(made, role)
            yield Part(product, role, AS_IT_IS if operand is None else expression(operand))
        if made.samples != 1:
            yield Part(product, "samples", f"{made.samples} draws of the gradient")
        if made.chain is not None:
            yield Part(product, "chain", repr(made.chain))
