"""What optimizers of low precision have in common, and those that do something after another's step."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Closure = Callable[[], float]


class Whole(torch.optim.Optimizer):
    """An optimizer whose pickles and copies have all of it; torch's have the groups and the state alone."""

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name in self._own}
        return {**super().__getstate__(), **own}

    #: The attributes that a class has beside torch's.
    _own: tuple[str, ...] = ()


class Following(Whole):
    """Another optimizer's step, and something done to every parameter after it. The groups are the other's own.

    torch.distributed.checkpoint.state_dict steps an optimizer without state, SGD say, at rate 0 where there are no
    gradients, before it saves or loads: that is a step like any other, and counted.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer is a {type(optimizer).__name__}: give a torch.optim.Optimizer, made already")
        self.optimizer = optimizer
        super().__init__(optimizer.param_groups, optimizer.defaults)  # in which schedules look for a momentum
        self._made = True

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the other, also after it was loaded by itself; the first has the name "emul", as in state_dict().

        Without it torch.distributed.checkpoint.state_dict, which reads of a flattened state only what a group has a name
        for, would pass over the entry.
        """
        groups = self.optimizer.param_groups
        for first in groups[:1]:
            first.setdefault("emul", None)
        return groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        if self._made:  # and not torch's __init__, which begins with none
            self.optimizer.param_groups = groups

    @property
    def state(self) -> Any:
        """That of the other."""
        return self.optimizer.state

    @state.setter
    def state(self, state: Any) -> None:
        if self._made:
            self.optimizer.state = state

    #: Whether torch's __init__ is over.
    _made = False

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in super().__getstate__().items() if name not in ("state", "param_groups")}
        return {**own, "_made": True}

    def step(self, closure: Closure | None = None) -> float | None:  # type: ignore[override]
        """The other's step, and what follows it, done to all parameters or, where it is refused, to none."""
        self._check()
        absent = {id(parameter) for parameter, _ in parameters_of(self) if closure is None and parameter.grad is None}
        loss = self.optimizer.step() if closure is None else self.optimizer.step(closure)
        moved = [one for one, _ in parameters_of(self) if one.grad is not None or id(one) not in absent]
        try:
            with torch.no_grad():
                self._follow(moved)
        except (ValueError, OverflowError) as error:
            inner = type(self.optimizer).__name__
            raise type(error)(
                f"{error}. The step of {inner} is done, what {type(self).__name__} does after it is not: skip a batch"
                " before its step, or load model and optimizer as they were"
            ) from error
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As the other's; what follows a step is done to its parameters too."""
        if not any(param_group is group for group in self.optimizer.param_groups):
            self.optimizer.add_param_group(param_group)
            try:
                with torch.no_grad():
                    self._start(list(self.optimizer.param_groups[-1]["params"]))
            except Exception:
                self.optimizer.param_groups.pop()
                raise

    def state_dict(self) -> dict[str, Any]:
        """The other's, and in it, as "emul", what this one keeps, and "inside" of that what one around another has.

        The first group has it too, where a live one has None: torch.distributed.checkpoint.state_dict takes no more than
        the state and the groups.
        """
        for before in self._optimizer_state_dict_pre_hooks.values():
            before(self)
        inner, own = self.optimizer.state_dict(), self._entry()
        first, *others = inner["param_groups"]
        found = {**inner, "param_groups": [{**first, "emul": own}, *others], "emul": own}
        for after in self._optimizer_state_dict_post_hooks.values():
            changed = after(self, found)
            found = found if changed is None else changed
        return found

    def _entry(self) -> dict[str, Any]:
        """What is in its state_dict beyond the other's."""
        inner = self.optimizer
        return {**self._kept(), **({"inside": inner._entry()} if isinstance(inner, Following) else {})}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Both parts. Errors: ValueError for the state of another optimizer."""
        state_dict = {**state_dict}
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            changed = before(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups = state_dict.get("param_groups", ())
        own = state_dict.get("emul", next((group["emul"] for group in groups if "emul" in group), None))
        if not isinstance(own, dict) or own.keys() != self._entry().keys():
            raise ValueError(
                f"state_dict has no entry 'emul' of a {self._title()}: give one that its state_dict() made, or load"
                " that of the optimizer inside into .optimizer"
            )
        inner = {name: value for name, value in state_dict.items() if name != "emul"}
        inner["param_groups"] = [{name: value for name, value in group.items() if name != "emul"} for group in groups]
        self.optimizer.load_state_dict({**inner, "emul": own["inside"]} if "inside" in own else inner)
        self._keep(own)
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def _title(self) -> str:
        inner = self.optimizer
        return type(self).__name__ + (f" around a {inner._title()}" if isinstance(inner, Following) else "")

    def _change(self, parameters: list[Tensor]) -> None:
        """What `_changed` makes of these; of all or of none."""
        wanted, made = set(map(id, parameters)), []
        for index, (parameter, _) in enumerate(parameters_of(self)):
            if id(parameter) in wanted:
                with naming(index):
                    made.append((parameter, self._changed(index, parameter.detach())))
        for parameter, values in made:
            parameter.copy_(values)

    def _changed(self, index: int, values: Tensor) -> Tensor:
        """A parameter's values after what follows a step."""
        raise NotImplementedError

    def _check(self) -> None:
        """Refuse a step before it is begun."""

    def _start(self, parameters: list[Tensor]) -> None:
        raise NotImplementedError

    def _follow(self, moved: list[Tensor]) -> None:
        """After a step of these parameters; the others had no gradient, and stay."""
        raise NotImplementedError

    def _kept(self) -> dict[str, Any]:
        raise NotImplementedError

    def _keep(self, kept: dict[str, Any]) -> None:
        raise NotImplementedError


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Every parameter, in the order of the groups, and its group."""
    groups: Iterable[dict[str, Any]] = optimizer.param_groups
    for group in groups:
        for parameter in group["params"]:
            yield parameter, group


@contextmanager
def naming(index: int) -> Iterator[None]:
    """Errors about a parameter begin with which it is."""
    label = f"parameter {index}"
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        said = str(error)
        if said.startswith(label):
            raise
        raise type(error)(f"{label}: {said}") from error
