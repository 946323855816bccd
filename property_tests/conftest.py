"""The profile is emul-ci unless another is named, by --emul-profile or by hypothesis' own option."""

from pathlib import Path

import pytest

from numerics.properties import profiles
from tests.sampling import collect_seldom, leave_to_the_night


def pytest_configure(config: pytest.Config) -> None:
    collect_seldom()
    profiles.register()
    if not (config.getoption("hypothesis_profile", None) or config.getoption("emul_profile", None)):
        profiles.load("emul-ci")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    leave_to_the_night(config, items, Path(__file__).parent)
