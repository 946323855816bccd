"""Following a schedule in a training loop: recipes change in place, conditions are measured and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from numerics.means import norms
from numerics.scaling import gradient_to_noise, measured_noise

from .functional.watch import Hooks, follow, hooks_of, put_hooks, watch_of, watches
from .nn import Emulated, Emulation
from .nn.normalization import EmulatedNorm
from .obstacles import held_by
from .recipe import Recipe
from .schedule import Phase, Schedule, single
from .state import slots
from .swap import check_options, restore_, swap_


@dataclass(frozen=True)
class Measurement:
    """Of one step: ||g||, root mean square s of its quantization noise, entries d, and ||g|| / (s sqrt d).

    g is the gradient of the weights, biases and gains of norms not among them, of emulated layers and of modules whose
    calls are emulated.
    Of g = 0 without noise the ratio is infinite, as of any gradient without noise.
    """

    step: int
    gradient_norm: float
    noise: float
    dimension: int
    ratio: float


@dataclass(frozen=True)
class PhaseRecord:
    """A phase as it went: its name, its first step, its steps so far, what ended it ("" while it runs), what was measured."""

    name: str
    first: int
    steps: int = 0
    ended: str = ""
    measured: tuple[Measurement, ...] = ()


def switch_(
    model: torch.nn.Module, recipe: Recipe | None, *, functional: str | None = None, replica: int | None = None
) -> torch.nn.Module:
    """Put another recipe in the place of that of `model`, in place; returns the model. None: torch's own arithmetic.

    Parameters, buffers and the optimizer that holds them are those of before. A layer that is emulated before and after
    keeps its count of steps, so that its random words go on, and what its stages remember, where the new rule has a
    stage in the same place that remembers; so does a call of a function. A native model is swapped. functional, replica: as
    `swap_` takes them, None for those of before. Errors: as `swap_`, and the model as it was.
    """
    before = _layers(model)
    watch = watch_of(model)
    if watch is not None:
        functional = watch.functional if functional is None else functional
        replica = watch.replica if replica is None else replica
    if watch is not None or any(isinstance(module, Emulated) for module in model.modules()):
        restore_(model)
    if recipe is None:
        return model
    try:
        swap_(model, recipe, functional=functional or "emulate", replica=replica)
    except (ValueError, TypeError):
        _put_back(before)
        raise
    for module, (_, old, _) in before.items():
        if old is not None and isinstance(module, Emulated):
            _go_on(module.emulation, old, module.parts)
    if watch is not None:
        follow(model, watch, _go_on)
    return model


def _go_on(new: Emulation, old: Emulation, parts: tuple[str, ...]) -> None:
    """Take over what a layer, or a call, has kept under another rule."""
    new.step = old.step
    most = slots(new.rule, parts)
    new.kept.update({name: past[-most[name] :] for name, past in old.kept.items() if name in most})


class Course:
    """A model on its way through a schedule of `steps` steps; the recipe of the first phase is put in at once.

    In the loop: `rate` before a step of the optimizer, `step` after it. A phase that ends by a condition needs the loss
    of the batch as a function, to take its gradient in two arithmetics. phases: what has happened, the last one running.
    The same seeds give the same course; `state_dict` and `load_state_dict` (before the model's) let a training go on.
    functional, replica: as `swap_` takes them, in every phase, also in one behind a phase in torch's own arithmetic; None
    for those of the model as it is given, else swap_'s defaults.
    Errors: TypeError for anything but a Schedule or a Recipe, whose schedule has one phase; ValueError as
    `Schedule.ends` and `swap_`, and for a step beyond the last.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        schedule: Schedule | Recipe,
        steps: int,
        *,
        functional: str | None = None,
        replica: int | None = None,
    ) -> None:
        if isinstance(schedule, Recipe):
            schedule = single(schedule)
        if not isinstance(schedule, Schedule):
            raise TypeError(
                f"schedule = {schedule!r}: give an emul.schedule.Schedule; emul.recipes.schedule(name) makes one"
            )
        self.model, self.schedule = model, schedule
        self.step_number = 0
        self._ends = schedule.ends(steps)
        self.steps = self._ends[-1]  # an int, whatever integer was given
        self.phases: tuple[PhaseRecord, ...] = (PhaseRecord(schedule.phases[0].name, 0),)
        watch = watch_of(model)
        if watch is not None:
            functional = watch.functional if functional is None else functional
            replica = watch.replica if replica is None else replica
        self.functional, self.replica = functional or "emulate", replica
        check_options(self.functional, replica)
        self._switch(self.phase.recipe)

    @property
    def phase(self) -> Phase:
        """The phase of the next step."""
        return self.schedule.phases[len(self.phases) - 1]

    def rate(self, peak: float, usual: float | None = None) -> float:
        """The learning rate of the next step: the phase's own, in multiples of `peak`, or `usual` (None: `peak`)."""
        own = self.phase.learning_rate
        if own is None:
            return peak if usual is None else usual
        first = self.phases[-1].first
        return own.at(self.step_number - first, self._ends[len(self.phases) - 1] - first, peak)

    def step(self, loss: Callable[[], Tensor] | None = None) -> None:
        """A step of the optimizer is done: weights are clipped, conditions measured, and the next phase begun.

        loss: computes the loss of the batch anew; asked for where the phase has a condition. Gradients that are there,
        buffers, torch's generators, and what layers keep are those of before when it returns.
        """
        if self.step_number >= self.steps:
            raise ValueError(f"step {self.step_number + 1} of a course of {self.steps}: make one of as many steps")
        phase = self.phase
        if phase.until is not None and loss is None:
            raise ValueError(
                f"the phase {phase.name!r} ends by {phase.until}: give step() the loss of the batch as a function"
            )
        if phase.clip_weights is not None:
            clip_weights_(self.model, phase.clip_weights)
        self.step_number += 1
        now = self.phases[-1]
        now = PhaseRecord(now.name, now.first, now.steps + 1, "", now.measured)
        ended = ""
        if phase.until is not None and loss is not None and now.steps % phase.until.every == 0:
            found = self._measure(loss)
            now = PhaseRecord(now.name, now.first, now.steps, "", (*now.measured, found))
            if found.ratio < phase.until.below:
                ended = "gradient to noise"
        if not ended and self.step_number == self._ends[len(self.phases) - 1]:
            ended = "steps"
        self.phases = (*self.phases[:-1], PhaseRecord(now.name, now.first, now.steps, ended, now.measured))
        if ended and len(self.phases) < len(self.schedule.phases):
            following = self.schedule.phases[len(self.phases)]
            self.phases = (*self.phases, PhaseRecord(following.name, self.step_number))
            self._switch(following.recipe)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on, as plain numbers and strings."""
        return {"step": self.step_number, "phases": [asdict(record) for record in self.phases]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there: the phase's recipe is put in. Load the model's state_dict after it. Errors: ValueError."""
        if not isinstance(state, dict) or not {"step", "phases"} <= state.keys():
            raise ValueError("the state has no entries 'step' and 'phases': give one that a course's state_dict() made")
        phases = tuple(
            PhaseRecord(**{**record, "measured": tuple(Measurement(**one) for one in record["measured"])})
            for record in state["phases"]
        )
        known = [phase.name for phase in self.schedule.phases]
        if not phases or [record.name for record in phases] != known[: len(phases)] or state["step"] > self.steps:
            raise ValueError(
                f"the state is at step {state['step']} in the phases {[record.name for record in phases]}: this course"
                f" has {self.steps} steps in {known}; load it into one of the same schedule"
            )
        self.step_number, self.phases = int(state["step"]), phases
        self._switch(self.phase.recipe)

    def _switch(self, recipe: Recipe | None) -> None:
        switch_(self.model, recipe, functional=self.functional, replica=self.replica)

    def _measure(self, loss: Callable[[], Tensor]) -> Measurement:
        following = self.schedule.phases[len(self.phases)].recipe
        weights = [weight for weight in _weights(self.model) if weight.requires_grad]
        if not weights:
            raise ValueError(
                f"the phase {self.phase.name!r} ends by {self.phase.until}, and the model has no weight to measure it by: no"
                " emulated layer has one that is trained, and no module whose calls are emulated"
            )
        noisy = self._gradient(self.phase.recipe, loss, weights)
        exact = self._gradient(following, loss, weights)
        norm, noise = float(norms(exact.astype(np.float64))[0]), measured_noise(exact, noisy)
        ratio = gradient_to_noise(norm, noise, exact.size)
        return Measurement(self.step_number, norm, noise, exact.size, ratio)

    def _gradient(
        self, recipe: Recipe | None, loss: Callable[[], Tensor], weights: list[torch.nn.Parameter]
    ) -> np.ndarray[Any, np.dtype[Any]]:
        """The gradient of the weights in this arithmetic, as one row, and all else as before."""
        kept = _Kept(
            _layers(self.model),
            [(buffer, buffer.clone()) for buffer in self.model.buffers()],
            [(parameter, parameter.grad) for parameter in self.model.parameters()],
        )
        cuda = sorted({weight.device.index for weight in weights if weight.device.type == "cuda"})
        try:
            with torch.random.fork_rng(devices=cuda):
                self._switch(recipe)
                for parameter, _ in kept.gradients:
                    parameter.grad = None
                torch.autograd.backward(loss())
                found = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
                row = torch.cat([one.detach().reshape(-1) for one in found]).reshape(1, -1)
        finally:
            _put_back(kept.layers)
            for parameter, gradient in kept.gradients:
                parameter.grad = gradient
            with torch.no_grad():
                for buffer, value in kept.buffers:
                    buffer.copy_(value)
        array: np.ndarray[Any, np.dtype[Any]] = row.numpy(force=True)
        return array


def _weights(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The weights of emulated layers and of modules whose calls were emulated, each once; no biases, and no norm's gains."""
    calling = {call.module for watch in watches(model) for call in watch.seen if call.rule is not None}
    found: dict[torch.nn.Parameter, None] = {}
    for name, module in model.named_modules():
        parameters: Iterable[torch.nn.Parameter] = ()
        if isinstance(module, Emulated):
            parameters = () if isinstance(module, EmulatedNorm) else module.parameters(recurse=False)
        elif name in calling:
            parameters = held_by(module)
        found.update(dict.fromkeys(one for one in parameters if one.dim() > 1))
    return list(found)


def clip_weights_(model: torch.nn.Module, bound: float) -> None:
    """Every weight of an emulated layer, and of a module whose calls are emulated, into [-bound, bound], in place."""
    with torch.no_grad():
        for weight in _weights(model):
            weight.clamp_(-bound, bound)


#: As `_layers` has them.
_Layers = dict[torch.nn.Module, tuple[type[torch.nn.Module], Emulation | None, Hooks]]


@dataclass
class _Kept:
    """What a look at the gradient must leave as it was."""

    layers: _Layers
    buffers: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    gradients: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)


def _layers(model: torch.nn.Module) -> _Layers:
    """Of every module its class, what an emulated one has beyond it, and the hooks that others have."""
    return {module: (type(module), vars(module).get("emulation"), hooks_of(module)) for module in model.modules()}


def _put_back(layers: _Layers) -> None:
    for module, (kind, emulation, hooks) in layers.items():
        put_hooks(module, hooks)
        module.__class__ = kind
        if emulation is None:
            vars(module).pop("emulation", None)
        else:
            module.emulation = emulation  # type: ignore[assignment]
