"""Which cases an ordinary run leaves to the nightly one.

Compiling is what tests take their time for, and each combination of modes, formats and orders is compiled for itself. So
a test that is marked `sampled` runs, in an ordinary run, on as few of its combinations as hold every value of every
parameter; one marked `nightly`, not at all. Both run in full under `--emul-profile emul-nightly` (`make nightly`) and
where a test is named by itself. What was left out is counted as deselected.
"""

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

MANY = 1000  # examples: a nightly profile


def covering(combinations):
    """Places of a few combinations, greedily chosen, that hold every value of every parameter, and as evenly as may be.

    combinations: for each case its parameters, name -> value (hashable), all with the same names.
    """
    seen: Counter = Counter({item: 0 for case in combinations for item in case.items()})
    chosen = []
    while not all(seen.values()):

        def gain(i):
            times = [seen[item] for item in combinations[i].items()]
            return times.count(0), -sum(times)

        best = max(range(len(combinations)), key=gain)
        seen.update(combinations[best].items())
        chosen.append(best)
    return sorted(chosen)


def but_at_night(cases: Iterable[Any], names: Iterable[Any], *, several: bool = False) -> list[Any]:
    """The cases for `parametrize`; those that are among `names` are for the nightly run alone.

    several: each case is a tuple, of the values of several parameters.
    """
    late = list(names)
    return [_late(case, several) if case in late else case for case in cases]


def one_in(few: int, cases: Iterable[Any], *, several: bool = False) -> list[Any]:
    """The cases for `parametrize`; all but every `few`-th are for the nightly run alone. several: as above."""
    return [case if i % few == 0 else _late(case, several) for i, case in enumerate(cases)]


def _late(case: Any, several: bool) -> Any:
    return pytest.param(*(case if several else (case,)), marks=pytest.mark.nightly)


def few(test: Callable[..., None]) -> Callable[..., None]:
    """By day, a third of the profile's examples: for a test of hypothesis each of whose examples is compiled for itself."""
    from hypothesis import settings

    drawn = settings().max_examples
    return settings(max_examples=drawn if drawn >= MANY else -(-drawn // 3))(test)


def collect_seldom() -> None:
    """Looks for unreachable cycles seven hundred times less often: a compiler makes much that is no garbage for long."""
    gc.set_threshold(500_000, 20, 50)


def values_of(item: pytest.Item) -> dict[str, tuple[int, ...]]:
    """What each `parametrize` gave the test; identities stand for the values, which need not be hashable."""
    found = {}
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0]
        each = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
        found[",".join(each)] = tuple(id(item.callspec.params[name]) for name in each)
    return found


def leave_to_the_night(config: pytest.Config, items: list[pytest.Item], folder: Path) -> None:
    """Deselects what lies in `folder` and an ordinary run has no time for."""
    if config.getoption("emul_profile", None) == "emul-nightly" or any("::" in given for given in config.args):
        return
    left = {item for item in items if item.get_closest_marker("nightly")}
    groups = defaultdict(list)
    for item in items:
        if item not in left and item.get_closest_marker("sampled"):
            groups[item.parent, item.originalname].append(item)
    for group in groups.values():
        kept = covering([values_of(item) for item in group])
        left.update(item for i, item in enumerate(group) if i not in kept)
    left = {item for item in left if folder in item.path.parents}
    if left:
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]
