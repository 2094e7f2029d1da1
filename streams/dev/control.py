"""Start, stop and look at the pipeline of a data folder from another process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streams.clock import monotonic
from streams.dev import state as state_file
from streams.dev.lock import data_lock, is_locked
from streams.dev.processes import find, is_alive
from streams.dev.stack import absolute
from streams.dev.state import ProcessState, StackState
from streams.dev.supervisor import ROLES, end_leftovers
from streams.errors import ServiceFailedError
from streams.settings import Settings

_POLL_S = 0.1
_UP_TIMEOUT_S = 600.0  # a first start downloads
_DOWN_TIMEOUT_S = 90.0

OnChange = Callable[[ProcessState], None]


@dataclass(frozen=True)
class Outcome:
    """What `up` or `down` found: whether it had to do anything, and the processes it was about."""

    changed: bool
    processes: tuple[ProcessState, ...]


def running_state(settings: Settings) -> StackState | None:
    """Return the state of a pipeline whose supervisor is alive; None when there is none."""
    state = state_file.read(absolute(settings).data_dir)
    return state if state and is_alive(state.supervisor) else None


def up(settings: Settings, *, roles: Sequence[str] = ROLES, on_change: OnChange) -> Outcome:
    """Start the pipeline in the background and return once it is ready; raises why it is not.

    `on_change` is called for each step of each process. Interrupted, it ends what it started.
    """
    settings = absolute(settings)
    before = running_state(settings)
    if before is None:
        process = _spawn(settings, roles)
        try:
            return Outcome(True, _follow(settings, process, on_change))
        except BaseException:
            _end(process)
            raise
    return Outcome(False, tuple(before.processes.values()))


def down(settings: Settings) -> Outcome:
    """End the pipeline, also what a killed supervisor left; does nothing when there is none."""
    settings = absolute(settings)
    state = state_file.read(settings.data_dir)
    if state is None and not is_locked(settings.data_dir):
        return Outcome(False, ())
    supervisor = find(state.supervisor) if state else None
    if supervisor:
        supervisor.send_signal(signal.SIGTERM)
    with data_lock(settings.data_dir, wait_s=_DOWN_TIMEOUT_S):
        end_leftovers(settings)
    ended = state.processes.values() if state else ()
    return Outcome(True, tuple(one for one in ended if one.pid))


def _spawn(settings: Settings, roles: Sequence[str]) -> "subprocess.Popen[bytes]":
    log = settings.data_dir / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    state_file.remove(settings.data_dir) if not is_locked(settings.data_dir) else None
    options = [word for role in roles for word in ("--role", role)] or ["--no-roles"]
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "streams", "up", "--foreground", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **settings.environment()},
            start_new_session=True,
        )


def _follow(
    settings: Settings, process: "subprocess.Popen[bytes]", on_change: OnChange
) -> tuple[ProcessState, ...]:
    """Report the supervisor's steps until it is ready; raise its failure when it ends."""
    seen: dict[str, tuple[str, str]] = {}
    deadline = monotonic() + _UP_TIMEOUT_S
    while monotonic() < deadline:
        ended = process.poll() is not None
        state = state_file.read(settings.data_dir)
        ours = state if state and state.pid == process.pid else None
        for name, one in ours.processes.items() if ours else ():
            if seen.get(name) != (one.state, one.detail):
                seen[name] = (one.state, one.detail)
                on_change(one)
        if ours and ours.phase == "ready":
            return tuple(ours.processes.values())
        if ended:
            raise _failure(settings, ours)
        time.sleep(_POLL_S)
    raise ServiceFailedError(f"the pipeline was not ready within {_UP_TIMEOUT_S:.0f} s")


def _failure(settings: Settings, state: StackState | None) -> Exception:
    if state and state.failure:
        return ReportedError(state.failure.message, state.failure.advice, state.failure.exit_code)
    log = settings.data_dir / "logs" / "supervisor.log"
    return ServiceFailedError(f"the supervisor ended before it was ready; log: {log}")


class ReportedError(ServiceFailedError):
    """An error of the supervisor's process, with the advice and exit code it had there."""

    def __init__(self, message: str, advice: str, exit_code: int) -> None:
        super().__init__(message)
        self._advice = advice
        self.exit_code = exit_code

    @property
    def advice(self) -> str:
        """Return what to do about it."""
        return self._advice


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(_DOWN_TIMEOUT_S)
