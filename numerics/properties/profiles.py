"""Settings of hypothesis by name: how many cases are drawn, and whether a run repeats the one before."""

from hypothesis import settings

#: Names of the profiles, and how many examples each draws for a test.
PROFILES = {"emul-dev": 100, "emul-ci": 25, "emul-nightly": 2000}


def register() -> None:
    """Makes the profiles known to hypothesis; none is loaded. No deadlines: the first call of a kind compiles.

    emul-ci draws the same cases in every run and keeps no database; emul-dev and emul-nightly draw new ones.
    """
    for name, examples in PROFILES.items():
        # Said outright: where the environment has the sign of a CI, hypothesis starts from settings that repeat cases.
        profile = settings(deadline=None, max_examples=examples, derandomize=False)
        if name == "emul-ci":
            profile = settings(profile, derandomize=True, database=None)
        settings.register_profile(name, profile)


def load(name: str) -> None:
    """Registers the profiles and loads one. Errors: ValueError for another name."""
    if name not in PROFILES:
        raise ValueError(f"profile {name!r} is not known: known are {', '.join(PROFILES)}")
    register()
    settings.load_profile(name)
