"""Some combinations are left to `make nightly`: see `sampling`; calls on several threads, however short they are."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from numerics import get_num_threads, set_num_threads
from numerics.kernels import threads
from tests.sampling import collect_seldom, leave_to_the_night


def pytest_configure() -> None:
    collect_seldom()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_to_the_night(config, items, Path(__file__).parent)


@pytest.fixture
def on_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets how many threads there are; every call of two items or more is spread over them, until the test ends."""
    before = get_num_threads()
    monkeypatch.setattr(threads, "WORTH", 1e-3)
    yield set_num_threads
    set_num_threads(before)
