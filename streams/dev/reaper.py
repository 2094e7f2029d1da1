"""End every registered process once the process that started them is gone, however it went.

The reaper is a small process of its own that reads its standard input. Each line registers a
process: `add PID RANK GRACE`. When the input ends - because the owner closed it to stop
everything, or because the owner died, even by SIGKILL - it ends what was registered, ranks in
ascending order (0 before 1), each with SIGTERM and, GRACE seconds later, SIGKILL. There is one
way of stopping, so a crash stops the stack as `down` does.

A pipe works alike on Linux and macOS; a parent-death signal exists on Linux alone.
"""

import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from streams.dev.processes import ProcessId, identify, stop_all


@dataclass(frozen=True)
class Registered:
    """A process to end: lower ranks first, `grace_s` seconds between SIGTERM and SIGKILL."""

    process: ProcessId
    rank: int
    grace_s: float


def parse(line: str) -> Registered | None:
    """Return what a line registers; None for a process that has ended and for a torn line."""
    words = line.split()
    if len(words) != 4 or words[0] != "add":
        return None
    process = identify(int(words[1]))
    return Registered(process, int(words[2]), float(words[3])) if process else None


def stop_ranked(registered: Iterable[Registered]) -> None:
    """End processes rank by rank; those of one rank together, with their longest grace."""
    ranks: dict[int, list[Registered]] = {}
    for one in registered:
        ranks.setdefault(one.rank, []).append(one)
    for _, members in sorted(ranks.items()):
        stop_all([one.process for one in members], grace_s=max(one.grace_s for one in members))


def main() -> None:
    """Collect registrations until the input ends, then end what was registered."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a signal to all must not take the last resort
    registered = [found for line in sys.stdin if (found := parse(line))]
    stop_ranked(registered)


if __name__ == "__main__":
    main()
