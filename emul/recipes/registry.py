"""The recipes by name: what each is, its paper, its schedule, and where a net starts. A new one is an entry here."""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from numerics import catalog

from ..recipe import Recipe
from ..schedule import Schedule, single
from . import accumulators, blocks, float8, integers, logarithmic, signs, sparse, units
from .parts import WEIGHTED


@dataclass(frozen=True)
class Entry:
    """A recipe by name. build: (seed, options) -> Recipe; plan: the same -> Schedule, None for one phase.

    start: "scratch"; "trained", a net that was trained natively; "evaluate", the same, and no training. inputs: whether
    build takes `first`, the pattern of the layer that sees the net's input. calibrate: a function of emul.calibration,
    which makes a recipe for a model from some of its data.
    """

    name: str
    what: str
    paper: str
    build: Callable[..., Recipe]
    plan: Callable[..., Schedule] | None = None
    start: str = "scratch"
    inputs: bool = False
    calibrate: str = ""


_LBA, _LUQ, _MVUE = "arXiv 2401.14110", "arXiv 2112.10769", "arXiv 2203.10991"
_PUBLISHED = (
    Entry("fp8", "E4M3 forward, E5M2 gradients rounded stochastically, no scales", "arXiv 2209.05433", float8.fp8),
    Entry(
        "fp8_delayed",
        "E4M3 and E5M2 under delayed power-of-two scales, stochastic gradients",
        "arXiv 2409.12517",
        float8.fp8_delayed,
    ),
    Entry("mxfp8", "blocks of 32: E4M3 forward, E5M2 gradients", "OCP MX v1.0", blocks.mxfp8),
    Entry("mxfp4", "blocks of 32: E2M1 forward, E3M0 stochastic gradients", "brianchmiel/nanoGPT_MXFP4", blocks.mxfp4),
    Entry(
        "nvfp4_split",
        "NVFP4, split rounding; gradients in high precision once noise outweighs",
        "arXiv 2505.19115",
        blocks.nvfp4_split,
        blocks.nvfp4_schedule,
    ),
    Entry(
        "lba",
        "12-bit accumulators, fine-tuned without underflow, then with",
        _LBA,
        accumulators.lba,
        accumulators.lba_schedule,
        "trained",
    ),
    Entry("lba12", "12-bit accumulators", _LBA, accumulators.lba12, start="trained"),
    Entry("lba8", "8-bit accumulators, identity gradients", _LBA, accumulators.lba8, start="trained"),
    Entry(
        "lba_fine_grained",
        "8-bit accumulators, gradients of their roundings",
        _LBA,
        accumulators.lba_fine_grained,
        start="trained",
    ),
    Entry("luq", "INT4 forward, logarithmic unbiased FP4 gradients", _LUQ, logarithmic.luq),
    Entry("luq_smp", "luq, two draws of the gradient in the weight gradient", _LUQ, logarithmic.luq_smp),
    Entry(
        "luq_fnt",
        "luq, then fine-tuning in high precision but for the weights",
        _LUQ,
        logarithmic.luq_fnt,
        logarithmic.luq_fnt_schedule,
    ),
    Entry("mvue_1_2", "one of two gradients, unbiased, of least variance", _MVUE, sparse.mvue_1_2),
    Entry("mvue_2_4", "two of four gradients, unbiased, of least variance", _MVUE, sparse.mvue_2_4),
    Entry("transposable_2_4", "two of four weights, in rows and columns", "arXiv 2102.08124", sparse.transposable_2_4),
    Entry(
        "aciq_ptq",
        "4 bits after training: analytical clips, bits by channel",
        "arXiv 1810.05723",
        integers.aciq_ptq,
        start="evaluate",
        calibrate="aciq_ptq",
    ),
    Entry(
        "int8_training",
        "8 bits, stochastic gradients of the input, Range BN",
        "arXiv 1805.11046",
        integers.int8_training,
    ),
    Entry("bnn", "signs of weights and activations", "arXiv 1602.02830", signs.bnn, signs.bnn_schedule, inputs=True),
    Entry("qnn", "1-bit weights, 2-bit activations", "arXiv 1609.07061", signs.qnn, signs.qnn_schedule, inputs=True),
)


@cache
def entries() -> dict[str, Entry]:
    """Every entry by its name: those of papers, then the presets of units."""
    found = {entry.name: entry for entry in _PUBLISHED}
    for name, unit in units.presets().items():
        found[name] = _of_unit(name, unit)
    return found


def names() -> tuple[str, ...]:
    """The names of all recipes; `get` also knows the units of numerics.catalog.MATRIX_UNITS by theirs."""
    return tuple(entries())


def entry(name: str) -> Entry:
    """The entry of a name. Errors: ValueError for an unknown one, with the nearest."""
    known = entries()
    if name in known:
        return known[name]
    if isinstance(name, str) and name in catalog.MATRIX_UNITS:
        return _of_unit(name, name)
    raise ValueError(
        f"there is no recipe {name!r}: {nearest(str(name), known)}; emul recipes lists all, and emul.Recipe makes your"
        " own"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that names what is spelled most like it."""
    every = list(known)
    near = difflib.get_close_matches(name.lower(), every, n=5, cutoff=0.4)
    return f"the nearest are {', '.join(near)}" if near else f"known are {', '.join(every[:19])} and others"


def get(name: str, seed: int = 0, **options: Any) -> Recipe:
    """The recipe of this name; options: those of its function. Errors: ValueError for an unknown name, with the nearest."""
    return entry(name).build(seed, **options)


def schedule(name: str, seed: int = 0, **options: Any) -> Schedule:
    """The schedule of this name, of one phase where its paper has no more. Errors: as `get`."""
    found = entry(name)
    if found.plan is not None:
        return found.plan(seed, **options)
    return replace(single(found.build(seed, **options)), start="scratch" if found.start == "scratch" else "trained")


def options_for(name: str, model: Any) -> dict[str, Any]:
    """What a recipe takes from a model, a torch.nn.Module: the pattern of its first layer, where it asks for it."""
    if not entry(name).inputs:
        return {}
    first = next((place for place, module in model.named_modules() if type(module).__name__ in WEIGHTED), None)
    return {} if first is None else {"first": re.escape(first)}


def _of_unit(name: str, unit: str) -> Entry:
    made = catalog.MATRIX_UNITS[unit]
    what = f"all products as {unit} makes them" if name != unit else f"all products as {unit}"
    source = made.source.split(",")[0].split(";")[0]
    build = partial(_hardware, unit, name)
    return Entry(name, what, source, build)


def _hardware(unit: str, name: str, seed: int = 0, **options: Any) -> Recipe:
    return units.hardware(unit, seed, name=name, **options)
