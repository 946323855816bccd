"""`python -m benchmarks.gpu`: equality, recorded vectors, speed; one report. Exit status 1 if anything was wrong.

Without a card it refuses, unless NUMBA_ENABLE_CUDASIM=1 asks for the simulator, which wants --tiny.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu.child import ROOT, run
from benchmarks.gpu.parent import GRACE, gather
from benchmarks.gpu.report import commit, markdown, write

TOTAL = 450.0  # seconds
SHARDS = {"elementwise": 6, "products": 5, "published": 3}  # compiling is what takes the time of these


def main() -> int:
    options = _options()
    if options.child:
        run(options.child, options)
        return 0
    begin = time.monotonic()
    if options.groups == ["planted"]:
        description: dict[str, Any] = {"device": "planted"}
    else:
        (first,) = gather([("description", 1)], 60.0, options)["description"]
        if not first["ok"]:
            print(f"no device: {first['error']}", file=sys.stderr)
            return 2
        description = {name: value for name, value in first.items() if name not in ("number", "name", "ok", "seconds")}
    found: dict[str, list[dict[str, Any]]] = {}
    together = [(name, 1 if options.tiny else SHARDS.get(name, 1)) for name in options.groups if name != "speed"]
    if together:
        share = 0.6 if "speed" in options.groups else 1.0
        found |= gather(together, share * options.seconds, options)
    if "speed" in options.groups:
        left = options.seconds - (time.monotonic() - begin)
        found |= gather([("speed", 1)], max(left - options.grace / 2, 30.0), options)
    report = {
        "description": description,
        "commit": commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - begin, 1),
        "tiny": options.tiny,
        "groups": {name: found[name] for name in options.groups},
    }
    print(markdown(report))
    try:
        files = write(report, options.out)
    except OSError as error:
        print(f"no report was written: {error}", file=sys.stderr)
        return 1
    print(f"written: {', '.join(map(str, files))}", file=sys.stderr)
    return int(any(line["ok"] is False for lines in found.values() for line in lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a case or two of each kind, on a few elements")
    parser.add_argument("--vectors", type=Path, help="the folder of recorded vectors")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="where the report goes")
    parser.add_argument("--seconds", type=float, default=TOTAL, help="what it may take")
    parser.add_argument("--grace", type=float, default=GRACE, help="more seconds for the case under way at the end")
    parser.add_argument("--seed", type=int, default=1, help="of the drawn cases")
    parser.add_argument("--groups", nargs="+", help="only these; planted: cases that fail, for a test")
    for name in ("--child",):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name, value in (("--first", 0), ("--shard", 0), ("--shards", 1)):
        parser.add_argument(name, type=int, default=value, help=argparse.SUPPRESS)
    options = parser.parse_args()
    every = ["elementwise", "products", "published", "torch", "recorded", "speed"]
    options.groups = options.groups or [name for name in every if name != "recorded" or options.vectors]
    if unknown := set(options.groups) - {*every, "planted"}:
        parser.error(f"no group {', '.join(sorted(unknown))}: there are {', '.join(every)}")
    if "recorded" in options.groups and not options.vectors:
        parser.error("the group recorded needs --vectors")
    return options


if __name__ == "__main__":
    sys.exit(main())
