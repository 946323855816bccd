"""`python -m benchmarks.claims`: trains every row of every claim, prints the verdicts and writes claims.json and claims.md.

Some ten minutes of one core. With --only, other claims in the files stay as they were.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu.child import ROOT

from . import lba, luq, norms, rounding, sparsity
from .claim import Claim, run
from .report import Record, before, contrasts_table, record, write

RESULTS = ROOT / "benchmarks" / "results"
CLAIMS: dict[str, Claim] = {
    claim.name: claim for claim in (lba.TWELVE, lba.EIGHT, luq.CLAIM, sparsity.CLAIM, rounding.CLAIM, norms.CLAIM)
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help=f"claims, separated by commas, of {', '.join(CLAIMS)}")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the files go")
    parser.add_argument("--seeds", type=int, help="instead of each claim's own, for a look; needs --out")
    parser.add_argument(
        "--steps", type=int, help="of a training from scratch, instead of each claim's own; needs --out"
    )
    options = parser.parse_args(arguments)
    wanted = list(CLAIMS) if options.only is None else options.only.split(",")
    if unknown := [name for name in wanted if name not in CLAIMS]:
        parser.error(f"there is no claim {unknown[0]!r}: give some of {', '.join(CLAIMS)}")
    if (options.seeds or options.steps) and options.out.resolve() == RESULTS:
        parser.error("--seeds and --steps are for a look, and the results are of the claims' own: give another --out")
    found = {} if options.only is None else {record["name"]: record for record in before(options.out)}
    for name in wanted:
        begin = time.monotonic()
        found[name] = _tried(_shortened(CLAIMS[name], options.seeds, options.steps))
        print(f"{name}: {found[name]['reproduced']}, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(contrasts_table([found[name] for name in wanted])))
    try:
        files = write([found[name] for name in CLAIMS if name in found], options.out)
    except OSError as error:
        print(f"nothing was written: {error}", file=sys.stderr)
        return 1
    print(f"written: {', '.join(map(str, files))}", file=sys.stderr)
    return 0


def _shortened(claim: Claim, seeds: int | None, steps: int | None) -> Claim:
    settings = claim.settings if steps is None else replace(claim.settings, steps=steps)
    return replace(claim, seeds=claim.seeds if seeds is None else seeds, settings=settings)


def _tried(claim: Claim) -> Record:
    return record(claim, run(claim))


if __name__ == "__main__":
    sys.exit(main())
