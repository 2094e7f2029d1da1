"""Start processes that cannot outlive the one that started them.

A child registers itself with the reaper before it becomes its program: it is started as a line
of shell that writes its own pid to the reaper's pipe and then `exec`s. The pipe stays open in
the child until that line is written, so there is no moment at which the owner can be killed and
a child be left that the reaper does not know.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.dev.processes import ProcessId, identify
from streams.dev.reaper import Registered, stop_ranked

ROLE_RANK = 0  # workers end before the services they write to
SERVICE_RANK = 1

_ROOT = Path(__file__).resolve().parents[2]
_PYTHON = {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}  # `-m streams` from any folder
_REGISTER = 'echo "add $$ $0 $1" >&0; shift; exec "$@" </dev/null'  # $0 is the rank


@dataclass
class Child:
    """A started process; `process.poll()` tells whether it has ended."""

    name: str
    process: "subprocess.Popen[bytes]"
    identity: ProcessId
    rank: int
    grace_s: float

    @property
    def exit_code(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        return self.process.poll()


class Children:
    """The processes of one owner; leaving the context, or dying, ends them all.

    `inherit` are file descriptors the reaper keeps open until the last child has ended: with a
    lock's descriptor among them, the lock is held as long as anything is left.
    """

    def __init__(self, inherit: Sequence[int] = ()) -> None:
        self._inherit = tuple(inherit)
        self._children: list[Child] = []
        self._reaper = self._start_reaper()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        rank: int,
        grace_s: float,
    ) -> Child:
        """Start `argv` with `env` added to this environment and its output appended to `log`."""
        self.ensure_reaper()
        log.parent.mkdir(parents=True, exist_ok=True)
        assert self._reaper.stdin is not None
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _REGISTER, str(rank), str(grace_s), *argv],
                stdin=self._reaper.stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_PYTHON, **env},
                start_new_session=True,  # Ctrl-C goes to the owner, which ends them in order
            )
        identity = identify(process.pid) or ProcessId(process.pid, 0.0)
        child = Child(name, process, identity, rank, grace_s)
        self._children = [one for one in self._children if one.exit_code is None] + [child]
        return child

    def ensure_reaper(self) -> None:
        """Start the reaper again if it was killed, with all that still runs."""
        if self._reaper.poll() is None:
            return
        assert self._reaper.stdin is not None
        self._reaper.stdin.close()
        self._reaper = self._start_reaper()
        assert self._reaper.stdin is not None
        for one in self._children:
            line = f"add {one.identity.pid} {one.rank} {one.grace_s}\n"
            self._reaper.stdin.write(line.encode())
        self._reaper.stdin.flush()

    def stop(self) -> None:
        """End every child, workers before services, and wait until they are gone; idempotent."""
        assert self._reaper.stdin is not None
        if not self._reaper.stdin.closed:
            self._reaper.stdin.close()
        self._reaper.wait()
        stop_ranked(Registered(one.identity, one.rank, one.grace_s) for one in self._children)
        for one in self._children:
            one.process.wait()
        self._children = []

    def _start_reaper(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "streams.dev.reaper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **_PYTHON},
            pass_fds=self._inherit,
            start_new_session=True,
        )
