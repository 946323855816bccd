"""The verifier is verified: bugs as they really occur are found by the claim they name, and no right function is accused."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from numerics import Rounding
from numerics.properties import (
    AccumulatorUnderTest,
    ClaimError,
    MaskUnderTest,
    accumulator_suite,
    as_quantizer,
    checks,
    claims_of,
    mask_suite,
    profiles,
    quantizer_suite,
    verify,
)
from numerics.properties.claims import Claim, Subject
from numerics.properties.verify import judge
from property_tests.mutants import calibration, samplers
from property_tests.mutants.catalogue import MUTANTS, RIGHT, Mutant, Right, seeds_of
from tests.sampling import one_in

RAISED = " raised "  # by the function or by the check: not what catches a bug


@pytest.fixture
def emul_ci() -> Iterator[None]:
    settings.register_profile("before", settings())
    profiles.load("emul-ci")
    yield
    settings.load_profile("before")


def claim_of(subject: Subject, name: str) -> Claim:
    return next(claim for claim in claims_of(subject) if claim.name == name)


def suite_of(subject: Subject) -> type:
    if isinstance(subject, AccumulatorUnderTest):
        return accumulator_suite(subject)
    return mask_suite(subject) if isinstance(subject, MaskUnderTest) else quantizer_suite(subject)


def test_the_catalogue_is_large_and_each_bug_has_a_source_and_a_right_twin():
    assert sum(mutant.cited for mutant in MUTANTS) >= 45
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert all(len(mutant.where) > 20 for mutant in MUTANTS)
    assert {type(mutant.make(0)) for mutant in MUTANTS} == {type(right.make(0)) for right in RIGHT}


# All are caught in the suite, below, with one seed.
@pytest.mark.parametrize("mutant", one_in(3, MUTANTS), ids=lambda mutant: mutant.name)
def test_caught_by_the_claim_it_names_with_every_seed(mutant: Mutant):
    for seed in seeds_of(mutant):
        subject = mutant.make(seed)
        verdict = judge(claim_of(subject, mutant.caught_by), subject)
        assert verdict.status == "broken", f"seed {seed}"
        assert RAISED not in verdict.note  # it is found, it does not stumble


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_caught_by_the_suite_under_the_ci_profile(mutant: Mutant, emul_ci: None):
    suite: Any = suite_of(mutant.make(0))
    with pytest.raises(ClaimError):
        getattr(suite(), f"test_{mutant.caught_by}")(SimpleNamespace(node=SimpleNamespace(user_properties=[])))


#: Of the mutants that draw for themselves: those whose lanes, calls or blocks depend, and those that draw nothing.
DEPENDENT = {
    "lanes_in_pairs": "elements of one call do not draw independently",
    "lanes_in_quads": "elements of one call do not draw independently",
    "lanes_of_a_warp": "elements of one call do not draw independently",
    "antithetic_lanes": "elements of one call do not draw independently",
    "lanes_stick": "elements of one call do not draw independently",
    "words_by_position": "elements of one call do not draw independently",
    "low_bits_of_an_lcg": "elements of one call do not draw independently",
    "same_words_in_every_call": "calls do not draw independently",
    "words_used_twice": "calls do not draw independently",
    "never_up": "it draws nothing",
    "words_by_value": "it draws nothing",
    "noise_then_nearest": "a result is neither neighbour",
    "one_start_for_all": "blocks do not draw independently",
    "blocks_share_in_pairs": "blocks do not draw independently",
}


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m.caught_by in ("draws", "mask_draws")], ids=lambda mutant: mutant.name
)
def test_the_fault_of_a_sampler_is_told_by_its_name(mutant: Mutant):
    biased = "it is biased" if mutant.caught_by == "draws" else "is not kept as often as claimed"
    for seed in range(3):
        with pytest.raises(ClaimError, match=DEPENDENT.get(mutant.name, biased)):
            getattr(checks, mutant.caught_by)(mutant.make(seed))


@pytest.mark.parametrize("right", one_in(5, RIGHT), ids=lambda right: right.name)
def test_no_claim_about_a_right_function_is_broken(right: Right):
    report = verify(right.make(0))
    assert report.ok, next(v.note for v in report.verdicts if v.status == "broken")
    assert any(verdict.status == "held" for verdict in report.verdicts)


def test_alarms_about_right_samplers_stay_within_their_rates():
    """1,000 runs; `make mutants` has 10,000."""
    for alarms in calibration.calibrate_draws(1000):
        assert alarms.kept, alarms


def test_alarms_about_a_right_mask_stay_within_their_rates():
    alarms = calibration.calibrate_masks(50)
    assert alarms.kept, alarms


@pytest.mark.parametrize(("draws", "runs"), [(1 << 13, 60), (1 << 15, 20)])
def test_the_smallest_shift_is_found_with_the_power_that_is_stated(draws: int, runs: int):
    power = calibration.measure_power(draws, runs)
    assert power.kept, power


def test_a_plain_bias_is_always_found_within_ten_thousand_draws():
    make = next(mutant for mutant in samplers.MUTANTS if mutant.name == "biased_by_half_a_probability").make
    for seed in range(20):
        subject = make(seed)
        drawn = [0]

        def counted(x: Any, subject: Any = subject, drawn: list[int] = drawn) -> Any:
            drawn[0] += np.size(x)
            return subject.fn(x)

        with pytest.raises(ClaimError):
            checks.draws(as_quantizer(counted, fmt=subject.fmt, rounding=Rounding.SR))
        assert drawn[0] <= 10_000
