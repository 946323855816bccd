"""Several processes that train one model: whose words are whose, and how what the layers keep stays one.

Under torch's DistributedDataParallel all ranks hold the same weights and each has its own samples. So a weight draws the
same random words on every rank, and activations, gradients and sums draw words of the rank: the noise of their mean
over the ranks falls as it should, and replicas stay equal to the bit. What has the role of the weight in attention,
in a matmul and its like is one where it is a parameter or a view of one: keys and values are activations.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

if TYPE_CHECKING:
    from .nn.base import Emulation


def replica_of(given: int | None) -> int:
    """The replica that was given; None: the rank in torch's default process group, 0 where there is none."""
    if given is not None:
        return given
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def synchronize_(model: torch.nn.Module, group: Any = None) -> torch.nn.Module:
    """Make what the emulated layers remember (amax histories, hindsight maxima) the same on all ranks; returns the model.

    Each number becomes its maximum over the ranks, which is that of the maximum over all samples: histories hold maxima,
    and the hindsight maximum grows with the step's own. Called on all ranks after each backward pass, every rank scales
    by the same numbers as its peers, and one rank's state_dict is that of all; not called, each rank scales by its own
    samples. group: a process group of torch's, None for the default one.

    Errors: RuntimeError without a process group; ValueError on a rank that is not in the group, and, on all ranks and with
    the numbers as they were, where ranks are at different steps or remember different numbers.
    """
    if not distributed.is_available() or not distributed.is_initialized():
        raise RuntimeError("there is no process group: call torch.distributed.init_process_group first")
    if distributed.get_rank(group) < 0:
        raise ValueError(
            f"rank {distributed.get_rank()} is not in the group given: call it on the ranks of the group alone"
        )
    states = states_of(model)
    own = [[(name, state.step, slot, len(state.kept[slot])) for slot in sorted(state.kept)] for name, state in states]
    outline = repr([(name, state.step) for name, state in states] + own)
    found: list[Any] = [None] * distributed.get_world_size(group)
    numbers = [number for _, state in states for slot in sorted(state.kept) for number in state.kept[slot]]
    distributed.all_gather_object(found, (outline, numbers), group=group)
    for rank, (other, _) in enumerate(found):
        if other != outline:
            raise ValueError(
                f"rank {rank} and rank {distributed.get_rank(group)} are not at the same steps of the same layers: load one"
                " state_dict on all ranks, and run as many batches on each"
            )
    largest = iter([max(column) for column in zip(*(values for _, values in found), strict=True)])
    for _, state in states:
        for slot in sorted(state.kept):
            state.kept[slot] = tuple(next(largest) for _ in state.kept[slot])
    return model


def states_of(model: torch.nn.Module) -> "list[tuple[str, Emulation]]":
    """What remembers in a model, by name: its emulated layers, and the calls that its other modules make."""
    from .functional.watch import watches
    from .nn.base import Emulated

    layers = [(name, module.emulation) for name, module in model.named_modules() if isinstance(module, Emulated)]
    calls = [state for watch in watches(model) for sites in watch.sites.values() for state in sites.values()]
    return layers + sorted(((state.name, state) for state in calls), key=lambda named: named[0])
