"""What the emulated layers have in common: the rule they follow, their name and steps, and the product."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..autograd import Draw, layer_product
from ..checkpoints import numbers
from ..distributed import replica_of
from ..functional.mode import current, off
from ..geometry import BatchGeometry, Geometry
from ..memory import REMEMBERED, Call, Done, Journal
from ..operators.eager import EAGER, check_eager
from ..ops import check_operand, check_together
from ..recipe import Recipe, Rule
from ..state import load, may_run_again, named_as, runs_again, saved, what_ran

Result = TypeVar("Result")


@dataclass
class Emulation:
    """All that an emulated layer has beyond its native one: the rule of the recipe, its name, what it keeps.

    name: the layer's part of the key of its random words. step: forward products in training mode so far. A call in
    evaluation mode draws the words of the step to come, scales as it would, and leaves both as they are. kept: what the
    rule's stages remember, by product and role. journal: forwards that gradient checkpointing may run again, the latest
    4096. replica: as `emul.swap_` takes it. watch: what looks after the functions that the swapped model calls, None for a
    layer alone.
    """

    recipe: Recipe
    index: int
    name: str
    step: int = 0
    kept: dict[str, tuple[float, ...]] = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal, compare=False, repr=False)
    replica: int | None = None
    watch: Any = field(default=None, compare=False, repr=False)

    @property
    def rule(self) -> Rule:
        """The rule of the recipe that the layer follows."""
        return self.recipe.rules[self.index]


def run(
    state: Emulation, training: bool, compute: Callable[[Draw], Result], operands: tuple[Tensor, Tensor], part: str = ""
) -> Result:
    """What `compute` makes of the operands with the words of this call, and in training with it a step.

    Where a backward pass is running, gradient checkpointing is making its operands again: then the call is that of
    the forward that ran before, with its words and its scales, and no step.
    """
    name = f"{state.name}.{part}" if part else state.name
    check_eager(f"layer {name!r}", *operands)
    replica = replica_of(state.replica)

    def computed(step: int, call: Call | None) -> Result:
        with off():
            return compute(Draw(state.recipe.seed, name, step, call, replica))

    changes = state.rule.stochastic or state.rule.remembers
    if training and runs_again():
        if not changes:
            return computed(state.step, None)
        task = torch._C._current_graph_task_id()
        around, inside = numbers()
        done = state.journal.find(what_ran(part, *operands), around, task, inside)
        if done is None:
            raise RuntimeError(
                f"layer {name!r} runs inside a backward pass, on an input that it has not had before, or not in its last"
                f" {REMEMBERED} calls: gradient checkpointing must make the same input again; turn off what differs, such"
                " as dropout without preserve_rng_state, put fewer calls of a layer between a checkpoint and its backward"
                " pass, or call the layer before the backward pass"
            )
        return computed(done.step, Call(state.kept, True, part, dict(done.used)))
    call = Call(state.kept, training, part)
    output = computed(state.step, call)
    if training:
        if changes and may_run_again():
            key = what_ran(part, *operands)
            state.journal.note(Done(key, state.step, dict(call.used), numbers()[1]))
        call.commit()
        state.step += 1
    return output


class Emulated(torch.nn.Module):
    """What the emulated layers have in common: the attribute `emulation`, and the product.

    The state_dict has, beside the native entries, those of what makes the next step differ from the first, on the CPU:
    `emulation_step`, int64, where the rule draws random words, and for each stage that remembers its float64 numbers,
    `emulation_forward_activation` and so on. They are no buffers of the module, so that neither `.half()` rounds them
    nor another rank's replace them. Loading a state_dict without them starts anew. torch.distributed.checkpoint takes them
    too; from a folder it loads what the model has entries for, and in their size: histories must be as long.
    """

    emulation: Emulation
    #: Names of the products of a layer that has more than three, each three of them a part.
    parts: tuple[str, ...] = ("",)

    def _start(self, rule: Rule, seed: int, name: str) -> None:
        if rule.keep:
            raise ValueError(f"the rule {rule.pattern!r} keeps layers native: build a torch.nn.{type(self).__name__}")
        self.emulation = Emulation(Recipe((rule,), seed), 0, name)

    @torch.compiler.disable(reason=EAGER)  # type: ignore[untyped-decorator, no-untyped-call]
    def _product(self, activation: Tensor, weight: Tensor, geometry: Geometry, part: str = "") -> Tensor:
        """The forward product, and with it a step. A compiled model calls it as it is: the step is not a constant.

        part: one of `parts`.
        """
        shared = not isinstance(geometry, BatchGeometry)  # attention's keys and values are each rank's own

        def product(draw: Draw) -> Tensor:
            draw = replace(draw, shared=shared)
            return layer_product(activation, weight, geometry, self.emulation.rule, draw)

        return self._call(product, (activation, weight), part)

    def _call(self, compute: Callable[[Draw], Result], operands: tuple[Tensor, Tensor], part: str = "") -> Result:
        """What `compute` makes of the operands with the words of this call, and with it a step."""
        watch = self.emulation.watch
        if watch is not None and part == self.parts[0] and current(watch) is None and not runs_again():
            watch.left(self.emulation.name)
            if not self.emulation.name:
                watch.alone(self)
        return run(self.emulation, self.training, compute, operands, part)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        entries = saved(self.emulation, self.parts)
        named_as(self, entries)
        destination.update({prefix + name: tensor for name, tensor in entries.items()})

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        known, errors = load(self.emulation, self.parts, state_dict, prefix)
        unexpected_keys[:] = [key for key in unexpected_keys if key not in known]
        error_msgs += errors

    def _check(self, input: Tensor, weight: Tensor) -> None:
        label = f"the {{}} of {type(self).__name__} {self.emulation.name!r}"
        check_operand(input, label.format("input"))
        check_operand(weight, label.format("weight"))
        check_together(input, weight, label.format("input"), "its weight")
        if input.dtype != weight.dtype:
            raise TypeError(
                f"{label.format('input')} is {input.dtype} and its weight {weight.dtype}: convert one of them"
            )

    def __prepare_scriptable__(self) -> Any:
        """torch.jit.script asks for a module that it can compile."""
        raise NotImplementedError(
            f"layer {self.emulation.name!r} is emulated in Python, which torch.jit.script cannot compile: emul.restore_ the"
            " model first"
        )

    def extra_repr(self) -> str:
        """The native layer's, and the rule."""
        return f"{super().extra_repr()}, rule={self.emulation.index}"
