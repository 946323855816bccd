"""State dicts of the optimizers that do something after another's step, as others than torch.save handle them."""

import pytest
import torch

from emul import optim
from numerics import Quantizer, Rounding, catalog

SR = Quantizer(catalog.BFLOAT16, Rounding.SR)


def rounded(parameters) -> optim.RoundedWeights:
    return optim.RoundedWeights(torch.optim.AdamW(parameters, 0.01), SR, seed=2)


def bounded(parameters) -> optim.BoundedNorm:
    return optim.BoundedNorm(torch.optim.SGD(parameters, 0.1, momentum=0.9))


def both_ways(parameters) -> optim.RoundedWeights:
    return optim.RoundedWeights(bounded(parameters), SR, seed=2)


def in_groups(parameters) -> optim.RoundedWeights:
    """And a schedule, which puts a name into the groups as well."""
    one, *others = parameters
    inner = torch.optim.AdamW([{"params": [one], "lr": 0.02}, {"params": others}], 0.01)
    optimizer = optim.RoundedWeights(inner, SR, seed=2)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    return optimizer


def net() -> torch.nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3, bias=False))


def run(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
            parameter.grad = noise + parameter.detach() / 4
        optimizer.step()


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")  # one process
@pytest.mark.parametrize("build", [rounded, bounded, both_ways, in_groups])
@pytest.mark.parametrize("flat", [False, True], ids=["by group", "flattened"])
def test_a_run_goes_on_from_what_torch_distributed_checkpoint_has_saved(build, flat, tmp_path):
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    both = pytest.importorskip("torch.distributed.checkpoint.state_dict")

    options = both.StateDictOptions(flatten_optimizer_state_dict=flat)
    first = net()
    optimizer = build(first.parameters())
    run(first, optimizer, range(1, 4))
    weights, state = both.get_state_dict(first, optimizer, options=options)
    checkpoint.save({"model": weights, "optimizer": state}, checkpoint_id=tmp_path, no_dist=True)
    later = net()
    with torch.no_grad():
        for parameter in later.parameters():
            parameter.mul_(3)  # of other norms
    other = build(later.parameters())
    other.optimizer.load_state_dict(other.optimizer.state_dict())  # which replaces the groups
    weights, state = both.get_state_dict(later, other, options=options)
    loaded = {"model": weights, "optimizer": state}
    checkpoint.load(loaded, checkpoint_id=tmp_path, no_dist=True)
    both.set_state_dict(
        later, other, model_state_dict=loaded["model"], optim_state_dict=loaded["optimizer"], options=options
    )
    assert other.state_dict()["emul"] == optimizer.state_dict()["emul"]
    run(first, optimizer, range(4, 6))
    run(later, other, range(4, 6))
    assert all(map(torch.equal, later.parameters(), first.parameters()))


def test_torchs_hooks_of_states_run():
    optimizer, seen = both_ways(net().parameters()), []
    optimizer.register_state_dict_pre_hook(lambda its: seen.append("before"))
    optimizer.register_state_dict_post_hook(lambda its, state: {**state, "mine": 5})
    optimizer.register_load_state_dict_pre_hook(lambda its, state: seen.append(state.pop("mine")))
    optimizer.register_load_state_dict_post_hook(lambda its: seen.append(its.steps))
    optimizer.steps = 3
    state = optimizer.state_dict()
    assert state["mine"] == 5
    assert state["emul"]["steps"] == 3
    optimizer.steps = 0
    optimizer.load_state_dict(state)
    assert seen == ["before", 5, 3]
    assert state["mine"] == 5  # the hook has a copy


def test_a_state_of_before_the_groups_had_it_is_loaded():
    optimizer, other = (both_ways(net().parameters()) for _ in range(2))
    optimizer.optimizer.rho = [2.0 * rho if rho else rho for rho in optimizer.optimizer.rho]
    optimizer.steps = 7
    state = optimizer.state_dict()
    del state["param_groups"][0]["emul"]
    other.load_state_dict(state)
    assert other.steps == 7
    assert other.optimizer.rho == optimizer.optimizer.rho
    assert other.param_groups[0]["emul"] is None
