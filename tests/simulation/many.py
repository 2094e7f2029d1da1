"""Many runs, over several processes: how many, how fast, and the first failure of each kind."""

import gc
import logging
import multiprocessing
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import structlog

from streams import clock, defences
from tests.simulation.run import Outcome, explain, plan_of, play, reduced

#: Runs that a process does before it reports.
PORTION = 100


@dataclass(slots=True)
class Tally:
    """What some runs came to. `failed`: seeds by the invariant that does not hold.

    `seconds` are of a clock on the wall, `cpu_seconds` those that the runs took of processors,
    without the start of the processes.
    """

    runs: int = 0
    crashes: int = 0
    redelivered: int = 0
    events: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    failed: dict[str, list[int]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count a run."""
        self.runs += 1
        self.crashes += outcome.crashes
        self.redelivered += outcome.redelivered
        self.events += outcome.events
        if outcome.found:
            self.failed.setdefault(outcome.invariant, []).append(outcome.plan.seed)

    def take(self, other: "Tally") -> None:
        """Count what another tally counted."""
        self.runs += other.runs
        self.crashes += other.crashes
        self.redelivered += other.redelivered
        self.events += other.events
        self.cpu_seconds += other.cpu_seconds
        for invariant, seeds in other.failed.items():
            self.failed.setdefault(invariant, []).extend(seeds)

    @property
    def per_minute(self) -> int:
        """Return how many runs a minute held."""
        return round(60 * self.runs / self.seconds) if self.seconds else 0

    @property
    def ms_per_run(self) -> float:
        """Return how many milliseconds of a processor a run takes."""
        return round(1_000 * self.cpu_seconds / self.runs, 2) if self.runs else 0.0

    def first_failure(self) -> tuple[str, int] | None:
        """Return the lowest seed that failed, and the invariant."""
        found = [(min(seeds), invariant) for invariant, seeds in self.failed.items()]
        return min(found)[::-1] if found else None


def portion(seeds: Iterable[int], without: str = "") -> Tally:
    """Run some seeds, without some defences."""
    tally, began = Tally(), time.process_time()
    with _switched(without):
        gc.freeze()
        gc.disable()  # runs leave little behind; it is collected after each portion
        try:
            for seed in seeds:
                tally.add(play(plan_of(seed)))
        finally:
            gc.enable()
            gc.collect()
            gc.unfreeze()
    tally.cpu_seconds = time.process_time() - began
    return tally


@contextmanager
def _switched(without: str) -> Iterator[None]:
    """Do without some defences for a while, and without what desks write to the log."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    defences.switch_off(without)
    try:
        yield
    finally:
        defences.switch_off("")
        structlog.configure(**before)


def portions(first: int, runs: int | None) -> Iterator[range]:
    """Yield the seeds in portions; without end if `runs` is None."""
    for number in count():
        start = number * PORTION
        if runs is not None and start >= runs:
            return
        end = start + PORTION if runs is None else min(start + PORTION, runs)
        yield range(first + start, first + end)


def many(
    first: int,
    runs: int | None,
    minutes: float | None = None,
    without: str = "",
    processes: int = 2,
    *,
    to_the_first: bool = False,
) -> Tally:
    """Run seeds from `first` on; `to_the_first`: stop after the portion that failed."""
    tally, began = Tally(), clock.monotonic()
    work = portions(first, runs)
    waiting: deque[Future[Tally]] = deque()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        while True:
            over = minutes is not None and clock.monotonic() - began > 60 * minutes
            over = over or (to_the_first and bool(tally.failed))
            while not over and len(waiting) < 2 * processes and (seeds := next(work, None)):
                waiting.append(pool.submit(portion, seeds, without))
            if not waiting:
                break
            tally.take(waiting.popleft().result())
    tally.seconds = clock.monotonic() - began
    return tally


def explained(seed: int, invariant: str, without: str) -> str:
    """Return the smallest part of a failing run that still fails, and what it does."""
    with _switched(without):
        return explain(reduced(plan_of(seed), invariant))


def first_failing(seeds: Iterable[int], without: str, invariant: str) -> int | None:
    """Return the first seed in which an invariant does not hold without some defences."""
    with _switched(without):
        for seed in seeds:
            if any(text.startswith(f"{invariant}:") for text in play(plan_of(seed)).found):
                return seed
    return None
