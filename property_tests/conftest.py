"""Profiles: `ci` unless `--hypothesis-profile` names another. No deadlines: the first example of a kind compiles."""

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("dev", deadline=None, max_examples=200)
settings.register_profile("nightly", deadline=None, max_examples=20_000)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("hypothesis_profile", None):
        settings.load_profile("ci")
