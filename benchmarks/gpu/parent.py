"""Runs groups of cases in child processes and gathers what they say, whatever becomes of them."""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.gpu.child import LOST, ROOT

GRACE = 60.0  # seconds that the case under way at the end of the time may still take, compiling included
Line = dict[str, Any]


def gather(groups: list[tuple[str, int]], seconds: float, options: argparse.Namespace) -> dict[str, list[Line]]:
    """The results of groups with their numbers of shards, all at once; by group, in the order of the cases."""
    with ThreadPoolExecutor(sum(shards for _, shards in groups)) as pool:
        parts = {
            group: [pool.submit(_shard, group, shard, shards, seconds, options) for shard in range(shards)]
            for group, shards in groups
        }
        found = {group: [line for part in futures for line in part.result()] for group, futures in parts.items()}
    return {group: sorted(lines, key=lambda line: line["number"]) for group, lines in found.items()}


def _shard(group: str, shard: int, shards: int, seconds: float, options: argparse.Namespace) -> list[Line]:
    """A shard's cases; a process that dies is followed by another that begins after the case it died in."""
    end, first, found = time.monotonic() + seconds, 0, []
    while True:
        begun, status, said = _process(group, shard, shards, first, end, options, found)
        if begun is not None:
            ended = "not ended in time" if status is None else f"the process ended with status {status}"
            found.append({**begun, "ok": False, "error": f"{ended}: {said}"})
        elif status == LOST:
            found[-1]["note"] = "the device stopped answering in this case"
        elif status and first == 0 and not found:
            found.append({"number": 0, "name": f"all of {group}", "ok": False, "error": f"status {status}: {said}"})
            return found
        elif status:
            found.append(
                {"number": first, "name": f"the rest of {group}", "ok": False, "error": f"status {status}: {said}"}
            )
        if status == 0 or not found or (begun is None and status != LOST):
            return found
        first = found[-1]["number"] + 1


def _process(
    group: str, shard: int, shards: int, first: int, end: float, options: argparse.Namespace, found: list[Line]
) -> tuple[Line | None, int | None, str]:
    """(case that was under way when the process ended, its exit status or None if it was killed, its last words)."""
    left = max(0.0, end - time.monotonic())  # 0: a process that only tells which cases were not reached
    program = [sys.executable, "-m", "benchmarks.gpu", "--child", group, "--seconds", str(left)]
    program += ["--first", str(first), "--shard", str(shard), "--shards", str(shards), "--seed", str(options.seed)]
    program += ["--tiny"] if options.tiny else []
    program += ["--vectors", str(options.vectors)] if options.vectors else []
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        killed = threading.Event()

        def stop() -> None:
            killed.set()
            child.kill()

        timer = threading.Timer(left + options.grace, stop)
        timer.start()
        begun: Line | None = None
        assert child.stdout is not None
        for text in child.stdout:
            try:
                line = json.loads(text)
            except ValueError:
                continue  # a library's own word
            if "begins" in line:
                begun = {"number": line["begins"], "name": line["name"]}
            else:
                begun = None
                found.append(line)
        status = child.wait()
        timer.cancel()
        errors.seek(0)
        said = " / ".join(errors.read().strip().splitlines()[-3:])[-600:]
    return begun, None if killed.is_set() else status, said
