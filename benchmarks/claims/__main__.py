"""`python -m benchmarks.claims`: trains every row of every claim, prints the verdicts and writes claims.json and claims.md.

Some twenty minutes on two cores. With --only, other claims in the files stay as they were.
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.gpu.child import ROOT

from . import lba, luq, norms, rounding, sparsity
from .claim import Claim, run
from .report import before, contrasts_table, record, write

CLAIMS: dict[str, Claim] = {
    claim.name: claim for claim in (lba.TWELVE, lba.EIGHT, luq.CLAIM, sparsity.CLAIM, rounding.CLAIM, norms.CLAIM)
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help=f"claims, separated by commas, of {', '.join(CLAIMS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="where the files go")
    options = parser.parse_args(arguments)
    wanted = list(CLAIMS) if options.only is None else options.only.split(",")
    if unknown := [name for name in wanted if name not in CLAIMS]:
        parser.error(f"there is no claim {unknown[0]!r}: give some of {', '.join(CLAIMS)}")
    found = {} if options.only is None else {record["name"]: record for record in before(options.out)}
    for name in wanted:
        begin = time.monotonic()
        found[name] = record(CLAIMS[name], run(CLAIMS[name]))
        print(f"{name}: {found[name]['reproduced']}, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(contrasts_table([found[name] for name in wanted])))
    try:
        files = write([found[name] for name in CLAIMS if name in found], options.out)
    except OSError as error:
        print(f"nothing was written: {error}", file=sys.stderr)
        return 1
    print(f"written: {', '.join(map(str, files))}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
