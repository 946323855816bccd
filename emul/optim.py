"""Optimizers whose state and weights are in low precision, over the pure steps of `numerics`.

Parameters are float32 or float64. A step is that of numpy's function on each parameter in turn, CUDA tensors go to the
host and back, so the bits are the same everywhere. A step that is refused, for a gradient that is not finite say, moves no
parameter and no state; one around another optimizer is refused after the other's own step. Random words are keyed by
(seed; "optimizer", index of the parameter over all groups, what is rounded; step), so that processes that hold the same
weights draw the same. state_dict() has all that a run needs to go on with the same bits. `lr` and the other options are
those of parameter groups, schedulers work.
"""

from typing import Any

import torch
from torch import Tensor

from numerics import Quantizer
from numerics.binary import AdaMaxState
from numerics.formats.naming import made_from, named
from numerics.normalization.weights import RULES
from numerics.scaling import FP8_ADAM, AdamState, AdamStorage, Scaled
from numerics.words import counter

from . import binary, normalization, scaling
from .draws import stream
from .following import Closure, Following, Whole, naming, parameters_of
from .ops import check_operand, quantize

__all__ = ["BoundedNorm", "FP8Adam", "RoundedWeights", "ShiftAdaMax"]

#: A step has the words of 2**40 elements, as in a layer.
_ELEMENT_BITS = 40

#: Options of torch's optimizers, in whose place there may be nothing, and what to do where there is.
_TORCH_S = {
    "maximize": "leave it out, and negate the loss",
    **dict.fromkeys(
        (
            "amsgrad",
            "momentum",
            "dampening",
            "nesterov",
            "weight_decay",
            "foreach",
            "fused",
            "capturable",
            "differentiable",
        ),
        "leave it out",
    ),
}


class _Stepping(Whole):
    """What the optimizers with a step of their own have in common: closures, and one parameter after the other."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's. Errors: ValueError for an option of torch's optimizers that this one would not heed."""
        super().add_param_group(param_group)
        options, kind = self.param_groups[-1], type(self).__name__
        try:
            for name, remedy in _TORCH_S.items():
                if name not in self.defaults and options.get(name):
                    raise ValueError(f"{name} = {options[name]!r} of a parameter group: {kind} has none; {remedy}")
            betas = options["betas"]
            if not isinstance(betas, tuple | list) or len(betas) != 2:
                raise ValueError(f"betas = {betas!r} of a parameter group: give {kind} two numbers")
        except ValueError:
            self.param_groups.pop()
            raise

    def step(self, closure: Closure | None = None) -> float | None:  # type: ignore[override]
        """One step of every parameter that has a gradient, or of none where one is refused.

        closure: makes the loss and gradients anew, and gives it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moved = []
        with torch.no_grad():
            for index, (parameter, group) in enumerate(parameters_of(self)):
                if parameter.grad is not None:
                    check_operand(parameter, f"parameter {index}")
                    check_operand(parameter.grad, f"the gradient of parameter {index}")
                    with naming(index):
                        moved.append((parameter, *self._moved(index, parameter, parameter.grad, group)))
            for parameter, values, kept in moved:
                parameter.copy_(values)
                self.state[parameter].update(kept)
        return loss

    def _moved(
        self, index: int, parameter: Tensor, gradient: Tensor, group: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """What the parameter and its state become; both are left as they are."""
        raise NotImplementedError


class FP8Adam(_Stepping):
    """AdamW with moments in E4M3 and E5M2 and weights in FP16, each with a scale: `numerics.scaling.fp8_adam`.

    storage: how the three tensors are stored. The parameter is what the stored weights stand for, from the first step
    on, of which the weights at that time are the start. lr, betas, eps, weight_decay: those of a parameter group. seed: an
    integer in [0, 2**64), used where something is stored at random. Errors: as `fp8_adam`; TypeError for gradients of other
    dtypes and sparse ones; ValueError for a parameter that something else has changed after the first step.
    Source: Fishman, Chmiel, Banner and Soudry, Scaling FP8 training to trillion-token LLMs, arXiv 2409.12517.
    """

    _own = ("storage", "seed")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        storage: AdamStorage = FP8_ADAM,
        seed: int = 0,
    ) -> None:
        if not isinstance(storage, AdamStorage):
            raise TypeError(f"storage = {storage!r}: give a numerics.scaling.AdamStorage")
        self.storage, self.seed = storage, counter("seed", seed)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _moved(
        self, index: int, parameter: Tensor, gradient: Tensor, group: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        kept = self.state.get(parameter)
        # fp8_adam takes this stream and the next two, for the moments and the weights.
        words = {"seed": self.seed, "stream": stream("optimizer", str(index), "fp8_adam")}
        if kept:
            master, first, second = (Scaled(kept[name], kept[f"{name}_scale"]) for name in AdamState._fields[:3])
            stored = scaling.unscale(master).to(parameter)
            if not ((parameter == stored) | (parameter.isnan() & stored.isnan())).all():
                raise ValueError(
                    f"parameter {index} is not what FP8Adam has stored, and would become that again: something else has"
                    " changed it since the last step, such as BoundedNorm, RoundedWeights, clamping or load_state_dict;"
                    " load the optimizer's state too, or make a new FP8Adam"
                )
            state = AdamState(master, first, second, kept["steps"])
        else:
            state = scaling.adam_start(parameter.detach(), self.storage, **words)
        state = scaling.fp8_adam(
            gradient,
            state,
            rate=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            epsilon=group["eps"],
            weight_decay=group["weight_decay"],
            storage=self.storage,
            offset=_offset(state.steps + 1),
            **words,
        )
        found: dict[str, Any] = {"steps": state.steps}
        for name, (values, scale) in zip(AdamState._fields[:3], state[:3], strict=True):
            found[name], found[f"{name}_scale"] = values, scale
        return scaling.unscale(state.master), found


class ShiftAdaMax(_Stepping):
    """AdaMax whose products are shifts: `numerics.binary.shift_adamax`; lr, betas, eps are those of a parameter group.

    store: "exact", or "ap2", which writes AP2(v) into the state as the released code does, after which v = 2**k never
    decays. clip: keep the weights in [-1, 1] after each step, as binary nets do. Errors: as `shift_adamax`.
    Source: Hubara, Courbariaux, Soudry, El-Yaniv and Bengio, Binarized neural networks, arXiv 1602.02830.
    """

    _own = ("store", "clip")

    def __init__(
        self,
        params: Any,
        lr: float = 2.0**-10,
        betas: tuple[float, float] = (1 - 2.0**-3, 1 - 2.0**-10),
        eps: float = 0.0,
        *,
        store: str = "exact",
        clip: bool = False,
    ) -> None:
        if store not in ("exact", "ap2"):
            raise ValueError(f"store = {store!r}: give 'exact' or 'ap2'")
        self.store, self.clip = store, bool(clip)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    def _moved(
        self, index: int, parameter: Tensor, gradient: Tensor, group: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        kept: dict[str, Any] = self.state.get(parameter, {})
        theta = parameter.detach()
        zero = torch.zeros_like(theta)
        state = AdaMaxState(kept.get("m", zero), kept.get("v", zero), kept.get("steps", 0))
        moved, state = binary.shift_adamax(
            theta,
            gradient,
            state,
            rate=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            epsilon=group["eps"],
            store=self.store,
        )
        return (binary.clip_weights(moved) if self.clip else moved), state._asdict()


class RoundedWeights(Following):
    """Weights that are always members of a quantizer's format: another optimizer's step, and one rounding after it.

    The step is computed in the parameter's dtype from the rounded weights, and its result rounded by the quantizer;
    the weights at the start are rounded too, as step 0. With stochastic rounding small updates take place on average;
    to nearest those under half an ulp never do. A parameter without a gradient stays as it is, also where the format's
    scales would make another of it. The optimizer's own state is left as it is.
    Errors: TypeError for another quantizer or optimizer; as `emul.quantize`.
    """

    _own = ("optimizer", "quantizer", "seed", "steps")

    def __init__(self, optimizer: torch.optim.Optimizer, quantizer: Quantizer, *, seed: int = 0) -> None:
        if not isinstance(quantizer, Quantizer):
            raise TypeError(f"quantizer = {named(quantizer)}: give {made_from(quantizer, 'numerics.Quantizer')}")
        self.quantizer, self.seed, self.steps = quantizer, counter("seed", seed), 0
        super().__init__(optimizer)
        with torch.no_grad():
            self._start([parameter for parameter, _ in parameters_of(self)])

    def _follow(self, moved: list[Tensor]) -> None:
        self.steps += 1
        try:
            self._change(moved)
        except Exception:
            self.steps -= 1
            raise

    def _start(self, parameters: list[Tensor]) -> None:
        """These alone: another tensor scale could move what is rounded already."""
        self._change(parameters)

    def _changed(self, index: int, values: Tensor) -> Tensor:
        key = stream("optimizer", str(index), "weights")
        return quantize(values, self.quantizer, seed=self.seed, stream=key, offset=_offset(self.steps))

    def _kept(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def _keep(self, kept: dict[str, Any]) -> None:
        self.steps = int(kept["steps"])


class BoundedNorm(Following):
    """Weights of a fixed norm: another optimizer's step, and `numerics.normalization.bounded_weight_norm` after it.

    Every channel along `axis` of every parameter with two dimensions or more gets the norm rho, which is that of
    `initial_rho` by `rule` at the start, and at the start as well. That is when this is made: make it after what gives the
    model its weights, load_state_dict and DistributedDataParallel, or ranks keep the norms of their own. The paper's
    w = rho v / ||v|| with v trained is this to second order in the step, where the loss does not depend on the norm of w (a
    norm layer follows). Errors: as those.
    Source: Hoffer, Banner, Golan and Soudry, Norm matters, NeurIPS 2018, arXiv 1803.01814.
    """

    _own = ("optimizer", "rule", "axis", "rho")

    def __init__(self, optimizer: torch.optim.Optimizer, *, rule: str = "total", axis: int = 0) -> None:
        if rule not in RULES:
            raise ValueError(f"rule {rule!r} is not known: known are {', '.join(RULES)}")
        self.rule, self.axis = rule, axis
        self.rho: list[float | None] = []
        super().__init__(optimizer)
        with torch.no_grad():
            self._start([parameter for parameter, _ in parameters_of(self)])

    def _start(self, parameters: list[Tensor]) -> None:
        known = len(self.rho)
        try:
            for index, parameter in enumerate(parameters, known):
                with naming(index):
                    # Of one dimension it may have no such axis.
                    values = parameter.detach()
                    own = (
                        normalization.initial_rho(values, axis=self.axis, rule=self.rule) if values.dim() > 1 else None
                    )
                self.rho.append(own)
            self._change(parameters)
        except Exception:
            del self.rho[known:]
            raise

    def _check(self) -> None:
        if (count := sum(1 for _ in parameters_of(self))) != len(self.rho):
            raise ValueError(
                f"{len(self.rho)} parameters have a norm to keep, and {type(self.optimizer).__name__} has {count}: call"
                " add_param_group of BoundedNorm, not of the optimizer inside"
            )

    def _follow(self, moved: list[Tensor]) -> None:
        self._change(moved)

    def _changed(self, index: int, values: Tensor) -> Tensor:
        rho = self.rho[index]
        if rho is None:
            return values
        bounded: Tensor = normalization.bounded_weight_norm(values, rho, axis=self.axis)
        return bounded

    def _kept(self) -> dict[str, Any]:
        return {"rho": list(self.rho)}

    def _keep(self, kept: dict[str, Any]) -> None:
        if len(kept["rho"]) != len(self.rho):
            raise ValueError(f"state_dict has rho of {len(kept['rho'])} parameters: this optimizer has {len(self.rho)}")
        self.rho = list(kept["rho"])


def _offset(step: int) -> int:
    """The first word of a step, as the layers count them."""
    if step >= 1 << (64 - _ELEMENT_BITS):
        raise ValueError(
            f"the optimizer is at step {step}: random words reach to 2**{64 - _ELEMENT_BITS} steps; make a new one with"
            " another seed"
        )
    return step << _ELEMENT_BITS
