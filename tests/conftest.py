"""Some combinations are left to `make nightly`: see `sampling`."""

from pathlib import Path

import pytest

from tests.sampling import collect_seldom, leave_to_the_night


def pytest_configure() -> None:
    collect_seldom()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_to_the_night(config, items, Path(__file__).parent)
