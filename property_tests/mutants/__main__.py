"""`python -m property_tests.mutants`: what catches each mutant, how often right functions are accused, what is found.

Exit code 1 if a mutant is missed, a right function is accused, a rate is exceeded, or a shift is found too rarely.
"""

import sys
import time
import warnings
from itertools import chain
from typing import Any

from numerics.properties import checks, claims_of, verify
from numerics.properties.verify import Verdict, judge

from . import calibration
from .catalogue import MUTANTS, RIGHT, seeds_of
from .published import Law
from .record import Mutant
from .variants import LAWS, VARIANTS

POWER = ((1 << 13, 200), (1 << 15, 100), (1 << 17, 40))


def caught(mutant: Mutant) -> tuple[int, list[Verdict]]:
    """(with how many seeds it was caught, the verdicts of the claim that it names)."""
    found = []
    for seed in seeds_of(mutant):
        subject = mutant.make(seed)
        found.append(judge(next(c for c in claims_of(subject) if c.name == mutant.caught_by), subject))
    return sum(v.status == "broken" and " raised " not in v.note.partition("\n")[0] for v in found), found


def drawn(verdict: Verdict) -> str:
    """After how many draws, where the counter-example says so."""
    lines = [line.split() for line in verdict.note.splitlines() if line.strip().startswith("after ")]
    return lines[0][1] if lines else "-"


def main() -> int:
    warnings.simplefilter("error")
    failures = 0
    print(f"{'mutant':36}{'caught by':22}{'seeds':>7}{'draws':>8}{'s':>7}  where")
    for mutant in MUTANTS:
        times, found = caught(mutant)
        missed = times < len(found)
        failures += missed
        most = max((drawn(v) for v in found), key=lambda text: int(text) if text.isdigit() else 0)
        seconds = sum(v.seconds for v in found) / len(found)
        print(
            f"{mutant.name:36}{mutant.caught_by:22}{times:>4}/{len(found):<2}{most:>8}{seconds:7.2f}  "
            f"{'MISSED ' if missed else ''}{mutant.where}",
            flush=True,
        )
    print(f"\n{len(MUTANTS)} mutants, {failures} missed\n\nright functions: every claim must hold")
    for right in RIGHT:
        for seed in seeds_of(right):
            report = verify(right.make(seed))
            failures += not report.ok
            if seed == 0 or not report.ok:
                held = sum(v.status == "held" for v in report.verdicts)
                skipped = sum(v.status == "skipped" for v in report.verdicts)
                print(f"{right.name:36}{held} held, {skipped} skipped{'' if report.ok else ', ACCUSED'}", flush=True)
    failures += published()
    failures += calibrate()
    return 1 if failures else 0


def published() -> int:
    """Prints which law finds each wrong variant of a published function; the number missed, and of laws that ours break."""
    print(f"\n{'wrong variant':36}{'law':38}  where")
    failures = 0
    for variant in VARIANTS:
        missed = _keeps(variant.law, variant.fn)
        failures += missed
        print(f"{variant.name:36}{variant.law.name:38}  {'MISSED ' if missed else ''}{variant.where}", flush=True)
    accused = [law.name for law in LAWS if not _keeps(law, law.right)]
    print(f"\n{len(VARIANTS)} wrong variants; laws that ours break: {', '.join(accused) or 'none'}")
    return failures + len(accused)


def _keeps(law: Law, fn: Any) -> bool:
    try:
        law.holds(fn)
    except AssertionError:
        return False
    return True


def calibrate() -> int:
    """Prints alarms and power; the number of promises not kept."""
    failures = 0
    print("\nalarms about right functions, at most (by chance alone, 1e-9)")
    head = "".join(f"{f'at {alpha:g}':>16}" for alpha in calibration.ALPHAS)
    print(f"{'':28}{'runs':>7}{head}{'s':>8}")
    begin = time.perf_counter()
    for alarms in chain(calibration.calibrate_draws(10_000), map(calibration.calibrate_masks, [1_000])):
        failures += not alarms.kept
        counts = "".join(f"{f'{s} ({m})':>16}" for s, m in zip(alarms.seen, (*alarms.most[:-1], 0), strict=True))
        seconds = time.perf_counter() - begin
        print(
            f"{alarms.subject:28}{alarms.runs:>7}{counts}{seconds:8.1f}{'' if alarms.kept else '  EXCEEDED'}",
            flush=True,
        )
    print("\nties shifted by what is to be found with power 0.9, false alarms 1e-9")
    for draws, runs in POWER:
        power = calibration.measure_power(draws, runs)
        failures += not power.kept
        told = f"shift {power.shift:.4f}, {draws} draws: found in {power.found} of {runs} runs, at least {power.least}"
        print(f"{told}{'' if power.kept else '  TOO RARELY'}", flush=True)
    print("\nsmallest shift of a probability of 1/2 found with power 0.9")
    print("".join(f"{draws:>10}" for draws, _ in checks.power_table()))
    print("".join(f"{shift:>10.4f}" for _, shift in checks.power_table()))
    return failures


if __name__ == "__main__":
    sys.exit(main())
