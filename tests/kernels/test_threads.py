"""Threads: any number gives the same bits; calls from several threads and after a fork are safe."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from numerics import Quantizer, Rounding, catalog, get_num_threads, matmul, set_num_threads
from numerics.accumulator import Accumulator
from numerics.kernels import threads

ROOT = Path(__file__).resolve().parents[2]
QUANTIZER = Quantizer(catalog.E5M2, Rounding.SR, random_bits=16)
SUMS = Accumulator(catalog.E4M3)
WORTH = threads.WORTH


@pytest.fixture(autouse=True)
def spread(on_threads):
    """In all tests of this file."""


def array(size=600_017):
    return np.random.default_rng(size).standard_normal(size).astype(np.float32)


def operands():
    rng = np.random.default_rng(1)
    return (Quantizer(catalog.E4M3).quantize(rng.standard_normal((150, 150)).astype(np.float32)) for _ in range(2))


def test_the_default_is_the_cpus_of_this_process():
    code = "import numerics; print(numerics.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("count", "error", "sentence"),
    [
        (0, ValueError, "0 threads: give at least 1"),
        (-2, ValueError, "-2 threads"),
        (1.5, TypeError, "1.5 threads: give an integer"),
        ("2", TypeError, "'2' threads"),
        (True, TypeError, "True threads"),
        (None, TypeError, "None threads"),
    ],
)
def test_refusals(count, error, sentence):
    before = get_num_threads()
    with pytest.raises(error, match=sentence):
        set_num_threads(count)
    assert get_num_threads() == before


def test_the_same_bits_for_any_number():
    x, (a, b) = array(), operands()
    results = []
    for count in (1, 2, np.int64(5)):
        set_num_threads(count)
        assert get_num_threads() == count
        results.append([QUANTIZER.quantize(x, seed=1).tobytes(), QUANTIZER.encode(x, seed=1).tobytes()])
        results[-1].append(matmul(a, b, SUMS).tobytes())
    assert results[0] == results[1] == results[2]


def test_a_part_that_fails_is_told_after_all_have_stopped():
    set_num_threads(3)
    caller, running, lock = threading.get_ident(), [0], threading.Lock()
    for fails_in_caller in (True, False):
        met = threading.Event()

        def part(start, stop, fails_in_caller=fails_in_caller, met=met):
            with lock:
                running[0] += 1
            try:
                if (threading.get_ident() == caller) == fails_in_caller:
                    met.set()
                    raise ArithmeticError(f"piece {start}")
                met.wait(10)
            finally:
                with lock:
                    running[0] -= 1

        with pytest.raises(ArithmeticError, match="piece"):
            threads.run(part, 12, 1)
        assert running == [0]


def test_pieces_cover_everything_once_and_in_order(monkeypatch):
    monkeypatch.setattr(threads, "WORTH", WORTH)
    for count in (1, 2, np.int64(5)):
        set_num_threads(count)
        for total, cost in ((0, 1.0), (1, 1.0), (7, 3e4), (100, 1e5), (1000, 1e4), (1000, 50.0), (5, 0.0)):
            pieces = threads.run(lambda start, stop: (start, stop), total, cost)
            assert [start for start, _ in pieces] == [0, *(stop for _, stop in pieces[:-1])]
            assert pieces[-1][1] == total
            assert len(pieces) <= count * threads.PARTS_PER_THREAD
            assert len(pieces) == 1 or total * cost / len(pieces) >= WORTH  # as long as a thread takes to wake
            assert len(pieces) <= count or total * cost / len(pieces) >= threads.LONG * WORTH
            assert len(pieces) <= count or len(pieces) % count == 0 or len(pieces) == total  # none waits for a last one


def test_several_threads_are_at_work():
    set_num_threads(3)
    meet = threading.Barrier(3, timeout=30)

    def part(start, stop):
        if start < 3:  # three pieces wait for each other: one thread alone would wait for ever
            meet.wait()
        return threading.get_ident()

    assert len(set(threads.run(part, 12, 1)[:3])) == 3


def test_an_error_in_a_piece_is_raised():
    set_num_threads(2)

    def part(start, stop):
        raise KeyError(start)

    with pytest.raises(KeyError):
        threads.run(part, 8, 1)
    assert threads.run(lambda start, stop: stop - start, 8, 1) == [1] * 8


def test_calls_from_several_threads():
    x, (a, b) = array(200_000), operands()
    set_num_threads(2)
    wanted = [QUANTIZER.quantize(x, seed=i) for i in range(6)], matmul(a, b, SUMS)
    failures = []

    def work(i):
        try:
            for _ in range(5):
                assert (QUANTIZER.quantize(x, seed=i) == wanted[0][i]).all()
                assert (matmul(a, b, SUMS) == wanted[1]).all()
                set_num_threads(2 + i % 2)  # takes the pool from under the others
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


FORKING = """
import os, signal, sys
import numpy as np
from numerics import Accumulator, Quantizer, catalog, matmul, set_num_threads
set_num_threads(2)
x = np.random.default_rng(0).standard_normal((600, 600)).astype(np.float32)
q = Quantizer(catalog.E4M3)
def work():
    y = q.quantize(x)
    return y.tobytes() + matmul(y[:80], y, Accumulator(catalog.E4M3)).tobytes()
wanted = work()
child = os.fork()
if child == 0:
    signal.alarm(60)  # a pool whose threads stayed with the parent would wait for ever
    os._exit(0 if work() == wanted else 3)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert work() == wanted
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_fork():
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_a_processor_that_flushes_subnormals_is_refused():
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals")
    try:
        for call in (lambda: QUANTIZER.quantize(np.ones(3, np.float32), seed=0), lambda: matmul(*operands(), SUMS)):
            with pytest.raises(RuntimeError, match=re.escape("torch.set_flush_denormal(False)")):
                call()
    finally:
        torch.set_flush_denormal(False)
    assert matmul(*operands(), SUMS).shape == (150, 150)
