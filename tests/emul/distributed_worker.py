"""One rank of the run that test_distributed.py launches: `python -m tests.emul.distributed_worker RANK FOLDER`."""

import os
import sys
from pathlib import Path

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import emul
from emul import Product, Recipe, Rule
from emul.operands import LUQ, Scaled
from numerics import Accumulator, Quantizer, Rounding, catalog

STEPS, WORLD = 4, 2
SR = Quantizer(catalog.E4M3, Rounding.SR)
#: Words in everything that draws any, an amax history of activations, a hindsight maximum of gradients.
RULE = Rule(
    ".*",
    forward=Product(
        accumulator=Accumulator(catalog.BINARY16, Rounding.SR, random_bits=8),
        activation=Scaled(SR, history=2),
        weight=SR,
    ),
    grad_input=Product(gradient=LUQ(eta=0.5), weight=SR),
    grad_weight=Product(gradient=LUQ(eta=0.5), activation=SR),
)


class Attend(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ x.mT, -1) @ x


def build(rule: Rule = RULE, replica: int | None = None) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Attend(), nn.Linear(8, 3))
    return emul.swap_(model, Recipe((rule,), 7), replica=replica)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return emul.optim.RoundedWeights(sgd, Quantizer(catalog.BFLOAT16, Rounding.SR), seed=1)


def batch(step: int, rank: int) -> torch.Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(10 * step + rank)) * (rank + 1)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def train(model: nn.Module, steps: range, rank: int, *, synchronized: bool) -> list[list[torch.Tensor]]:
    ddp, optimizer, found = DistributedDataParallel(model), optimizer_of(model), []
    for step in steps:
        optimizer.zero_grad()
        ddp(batch(step, rank)).square().mean().backward()
        optimizer.step()
        if synchronized:
            emul.synchronize_(model)
        found.append(weights(model))
    return found


def train_sharded(model: nn.Module, steps: range, rank: int) -> list[torch.Tensor]:
    """The weights after steps in which each rank holds a part of every layer, and gathers a layer for its products."""
    for layer in (model[0], model[3], model):
        fully_shard(layer)
    sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for step in steps:
        sgd.zero_grad()
        model(batch(step, rank)).square().mean().backward()
        sgd.step()
    return [parameter.full_tensor().detach() for parameter in model.parameters()]


def train_by(kind: type[torch.optim.Optimizer], model: nn.Module, rank: int) -> None:
    """A step of an optimizer."""
    optimizer = kind(model.parameters())
    model(batch(0, rank)).square().mean().backward()
    optimizer.step()


def train_whole(model: nn.Module, steps: range, rank: int) -> list[torch.Tensor]:
    """The same where each rank holds all."""
    ddp, sgd = DistributedDataParallel(model), torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for step in steps:
        sgd.zero_grad()
        ddp(batch(step, rank)).square().mean().backward()
        sgd.step()
    return weights(model)


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    apart = build()
    result = {
        "same input": build()(batch(0, 0)).detach(),
        "apart": train(apart, range(STEPS), rank, synchronized=False),
    }
    result["sharded"] = train_sharded(build(), range(2), rank)
    for name, call in (
        ("optimizer", lambda: optimizer_of(fully_shard(build()))),
        ("step", lambda: train_by(emul.optim.FP8Adam, fully_shard(build()), rank)),
        ("group", lambda: emul.synchronize_(build(), distributed.new_group([0]))),
    ):
        try:
            call()
        except (TypeError, ValueError) as error:
            result[f"refused {name}"] = str(error)
    result["whole"] = train_whole(build(), range(2), rank)
    result["before"] = apart.state_dict()
    emul.synchronize_(apart)
    result["after"] = apart.state_dict()
    together = build()
    result["together"] = train(together, range(2), rank, synchronized=True)
    states = [together.state_dict() if rank == 0 else None]
    distributed.broadcast_object_list(states, src=0)  # one rank's state is that of all
    resumed = build()
    resumed.load_state_dict(states[0])
    result["through"] = train(together, range(2, STEPS), rank, synchronized=True)
    result["resumed"] = train(resumed, range(2, STEPS), rank, synchronized=True)
    if rank == 1:
        together[0].emulation.step += 1
    try:
        emul.synchronize_(together)
    except ValueError as error:
        result["refused"] = str(error)
    torch.save(result, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
