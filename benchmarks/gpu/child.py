"""One process that runs the cases of a group, one JSON line when it begins one and one when it has ended it."""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

Case = tuple[str, Callable[[], dict[str, Any]]]
LOST = 17  # exit status of a process whose device no longer answers
ROOT = Path(__file__).resolve().parents[2]


def cases_of(group: str, options: argparse.Namespace) -> Iterator[Case]:
    """The cases of a group by name: always the same ones in the same order for the same options."""
    if group == "planted":
        return iter(
            [
                ("right", lambda: {"elements": 1}),
                ("wrong", partial(_raise, AssertionError("planted"))),
                ("dies", partial(os._exit, 3)),
                ("right again", lambda: {"figure": 2.0, "unit": "GB/s", "part of copy": 0.5, "target": 0.85}),
                ("hangs", partial(time.sleep, 3600)),
                ("never reached", dict),
            ]
        )
    if group == "torch":
        return iter([("tests/emul/test_cuda.py", _torch_tests)])
    from benchmarks.gpu.place import Place

    place = Place()
    if group == "recorded":
        from benchmarks.gpu import recorded

        return recorded.cases(place, options.vectors, options.tiny)
    if group == "speed":
        from benchmarks.gpu import speed

        return speed.cases(place, options.seed, options.tiny)
    if group == "description":
        return iter([("description", place.description)])
    from benchmarks.gpu import equality, published

    groups = {"elementwise": equality.elementwise, "products": equality.products, "published": published.cases}
    return groups[group](place, options.seed, options.tiny)


def _raise(error: Exception) -> dict[str, Any]:
    raise error


def _torch_tests() -> dict[str, Any]:
    """The tests of CUDA tensors, with pytest's own settings put aside: other versions of libraries warn of other things."""
    program = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "default",
        "tests/emul/test_cuda.py",
        "tests/emul/test_published_device.py",
    ]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=200)
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()[-300:]]
    if done.returncode:
        raise AssertionError(
            "; ".join(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  ")))
        )
    if " passed" not in last[0]:
        return {"skipped": last[0]}
    return {"note": last[0]}


def _device_answers() -> bool:
    """False once an error has taken the context with it: every later call would fail too."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def run(group: str, options: argparse.Namespace) -> None:
    """Cases number `first`, and every `shards`-th from there on, until `seconds` have passed."""
    end = time.monotonic() + options.seconds
    for number, (name, call) in enumerate(cases_of(group, options)):
        if number < options.first or number % options.shards != options.shard:
            continue
        if time.monotonic() > end:
            tell({"number": number, "name": name, "ok": None, "skipped": "not reached in time"})
            continue
        tell({"begins": number, "name": name})
        begin = time.perf_counter()
        line: dict[str, Any] = {"number": number, "name": name}
        try:
            line |= {"ok": True, **call()}
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            line |= {"ok": False, "error": f"{type(error).__name__}: {error}", "at": f"{where.filename}:{where.lineno}"}
        line["seconds"] = round(time.perf_counter() - begin, 3)
        if line.get("skipped"):
            line["ok"] = None
        tell(line)
        if not _device_answers():
            os._exit(LOST)
