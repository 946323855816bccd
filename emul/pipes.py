"""Output that nobody can read: a pipe whose reader has gone, as behind `| head`, a full disk.

Behind a closed pipe a command ends as Unix tools do, quietly and by SIGPIPE, which a shell reports as status 141: it is
neither 0 nor taken for a broken claim. Only stdout and stderr count: a pipe that a user's own function writes into, to a
simulator for example, is its own affair.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, NoReturn, TextIO, cast

#: What a shell says of a process that SIGPIPE has ended; the exit status where there is no such signal.
STATUS = 128 + 13


class ClosedPipe(SystemExit):
    """Nobody reads what is written. What is half-written elsewhere is cleaned up on its way out."""

    def __init__(self) -> None:
        super().__init__(STATUS)


class Unwritten(SystemExit):
    """What was written is lost, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(2)
        self.reason = reason


class _Output:
    """A stream whose errors end the command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return cast(int, self._tried(lambda: self._stream.write(text)))

    def flush(self) -> None:
        self._tried(self._stream.flush)

    def _tried(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise ClosedPipe from None
            raise Unwritten(error.strerror or str(error)) from None


@contextmanager
def outputs() -> Iterator[None]:
    """What is written inside to a closed stdout or stderr ends the process, without a word, by SIGPIPE.

    Where it cannot be written for another reason, exit status 2 and one sentence on stderr.
    """
    before = sys.stdout, sys.stderr
    if any(stream is None for stream in before):
        if sys.stderr is not None:
            print("emul: stdout is closed: redirect it to a file, or to /dev/null", file=sys.stderr)
        raise SystemExit(2)
    sys.stdout, sys.stderr = (cast(TextIO, _Output(stream)) for stream in before)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except ClosedPipe:
        _end()
    except Unwritten as lost:
        with open(
            os.devnull, "w"
        ) as nowhere:  # for what the interpreter flushes at its end, and would complain of again
            os.dup2(nowhere.fileno(), before[0].fileno())
        print(f"emul: the output cannot be written: {lost.reason}", file=before[1])
        raise
    finally:
        sys.stdout, sys.stderr = before


def _end() -> NoReturn:
    """Ends the process as if it had not caught the signal: nothing is flushed any more."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
    raise SystemExit(STATUS)


@contextmanager
def printed_aside() -> Iterator[None]:
    """What is printed to stdout meanwhile goes to stderr, of programs that are started too: stdout is the result's alone."""
    sys.stdout.flush()
    kept = None
    with suppress(OSError):  # one of the two is closed
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
