"""The pytest plugin: hypothesis profiles by `--emul-profile`, and a summary of the claims that suites put to the proof.

It is loaded with every pytest of an environment that has emul, so it imports nothing of it before it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PROFILES = ("emul-dev", "emul-ci", "emul-nightly")
PROPERTY = "emul-claim"  # the key that numerics.properties.suite uses


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.getgroup("emul").addoption(
        "--emul-profile",
        choices=PROFILES,
        help="load this hypothesis profile, and sum up the claims proved (numerics.properties): emul-ci draws the same"
        " cases in every run and keeps no database",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Loads the profile that was asked for."""
    name = config.getoption("--emul-profile")
    if name is not None:
        from numerics.properties import profiles

        profiles.load(name)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """How many claims were proved and how, in how many cases, in what time; which were broken, which did not apply."""
    if config.getoption("--emul-profile") is None:
        return
    held: dict[str, list[tuple[int, float]]] = {}
    skipped = broken = 0
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            claim = dict(getattr(report, "user_properties", ())).get(PROPERTY)
            if claim is None:
                continue
            if claim["status"] == "skipped":
                skipped += 1
            elif claim["status"] == "held" and outcome == "passed":
                held.setdefault(claim["kind"], []).append((claim["cases"], report.duration))
            else:
                broken += 1
    if not (held or skipped or broken):
        return
    terminalreporter.section("claims")
    for kind, found in sorted(held.items()):
        cases, seconds = sum(c for c, _ in found), sum(s for _, s in found)
        terminalreporter.line(f"{len(found)} proved, {kind}: {cases:,} cases in {seconds:.1f} s")
    if broken:
        terminalreporter.line(f"{broken} broken")
    if skipped:
        terminalreporter.line(f"{skipped} do not apply")
