"""Name processes so that a reused pid is never taken for the process that had it before.

A pid alone names nothing for long: the system gives it to another process once the first has
ended. Everything here carries the pid together with the time at which the process started.
"""

import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

from streams.clock import monotonic

_START_TOLERANCE_S = 2.0  # psutil derives the start from the boot time, which NTP may correct
_KILL_WAIT_S = 5.0
_POLL_S = 0.05


@dataclass(frozen=True)
class ProcessId:
    """One process: its pid and when it started, in seconds since 1970."""

    pid: int
    started: float


def identify(pid: int) -> ProcessId | None:
    """Return the identity of the process that has `pid` now, None when there is none."""
    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def find(process: ProcessId) -> psutil.Process | None:
    """Return the process if it still runs; a zombie has ended, another with its pid is not it."""
    try:
        found = psutil.Process(process.pid)
        if abs(found.create_time() - process.started) > _START_TOLERANCE_S:
            return None
        return None if found.status() == psutil.STATUS_ZOMBIE else found
    except psutil.Error:
        return None


def is_alive(process: ProcessId) -> bool:
    """Tell whether the process still runs."""
    return find(process) is not None


def stop_all(processes: Sequence[ProcessId], *, grace_s: float) -> None:
    """End processes and their descendants: SIGTERM, and SIGKILL after `grace_s` seconds.

    The processes are told at the same time and waited for together. Descendants are looked up
    before, since a dead parent no longer names its children.
    """
    leaders = [found for process in processes if (found := find(process))]
    family = [*leaders, *_descendants(leaders)]
    _signal(leaders, signal.SIGTERM)
    _wait(leaders, grace_s)
    family = [process for process in family if _runs(process)]
    _signal(family, signal.SIGKILL)
    _wait(family, _KILL_WAIT_S)


def _descendants(leaders: Iterable[psutil.Process]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for leader in leaders:
        try:
            found += leader.children(recursive=True)
        except psutil.Error:
            continue  # it ended meanwhile, so it has none
    return found


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except (psutil.Error, ProcessLookupError):
            continue  # it ended meanwhile, which is what was asked


def _wait(processes: Iterable[psutil.Process], timeout_s: float) -> None:
    deadline = monotonic() + timeout_s
    waiting = list(processes)
    while waiting and monotonic() < deadline:
        waiting = [process for process in waiting if _runs(process)]
        time.sleep(_POLL_S if waiting else 0)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
