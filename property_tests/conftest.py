"""The profile is emul-ci unless another is named, by --emul-profile or by hypothesis' own option."""

import pytest

from numerics.properties import profiles


def pytest_configure(config: pytest.Config) -> None:
    profiles.register()
    if not (config.getoption("hypothesis_profile", None) or config.getoption("emul_profile", None)):
        profiles.load("emul-ci")
