"""When a worker is as good as dead: decided from what it offers, without clocks and threads.

A look is given the newest facts, the time, and how far the wall clock is ahead of the one that
never steps back. It answers with a verdict once something has been wrong for longer than its
limit. What is not working - a start, a rebalance, a restore - is judged by that alone: that it goes
on, and comes to an end. What waits for something far away says so and is not judged, for as long as
it says so.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

#: A step back of the wall clock that is none: slewing clocks move by milliseconds a second.
CLOCK_BACK_S = 1.0
#: A batch that waits behind others', while the worker works, has its turn within so many limits;
#: and so many limits may a restore or a rebalance block the event loop, or stand still.
PATIENT_TIMES = 10
#: How long an orderly end may take; the supervisor kills after 20 s.
STOP_S = 18.0


class Watch(StrEnum):
    """What a worker is watched for; the value names it in log lines and metrics."""

    NO_PROGRESS = "no-progress"
    FROZEN_COMMITS = "frozen-commits"
    DEAD_AGENT = "dead-agent"
    NOT_READY = "not-ready"
    BLOCKED_LOOP = "blocked-loop"
    CLOCK_BACK = "clock-back"
    SLOW_STOP = "slow-stop"


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """How far one input partition is; offsets are of the next record, None while unknown."""

    end: int  # of the log
    worked: int  # everything below is done
    floor: int | None = None  # what may be committed
    committed: int | None = None
    moved: int = 0  # grows while an agent works on its batch
    queued: bool = False  # its oldest batch is delivered, and not begun by every agent
    publishing: bool = False  # units of it are with Kafka, whose time-out is the publisher's
    waits_for: str = ""  # what one of its agents waits for, far away

    @property
    def lag(self) -> int:
        """Return how many offsets are not worked through."""
        return max(self.end - self.worked, 0)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a worker offers of itself; `at_s` is when its event loop last did so."""

    at_s: float
    working: bool = False
    partitions: Mapping[tuple[str, int], PartitionFacts] = field(default_factory=dict)
    dead: tuple[str, ...] = ()
    records: int = 0  # all that its agents have taken up
    taken_up: tuple[int, ...] = ()  # changes while partitions are taken and tables restored


@dataclass(frozen=True, slots=True)
class Limits:
    """For how many seconds something may be wrong."""

    no_progress_s: float
    commits_s: float
    dead_agent_s: float
    not_ready_s: float
    blocked_s: float
    publish_s: float
    stop_s: float = STOP_S


def limits(watchdog_s: float, commit_interval_s: float, publish_s: float) -> Limits:
    """Return the limits that follow from one setting.

    Commits may fail for twice as long as work may stand still, because Kafka's client tries them
    again by itself. A dead agent is looked for sooner: a living one is never seen dead but while
    Faust replaces it.
    """
    return Limits(
        no_progress_s=watchdog_s,
        commits_s=2 * watchdog_s + commit_interval_s,
        dead_agent_s=watchdog_s / 3,
        not_ready_s=PATIENT_TIMES * watchdog_s,
        blocked_s=watchdog_s,
        publish_s=publish_s,
    )


class Verdict(NamedTuple):
    """Why the process has to end."""

    watch: Watch
    reason: str


class Judge:
    """Looks at one worker again and again; `held_s` says for how long what is wrong has been."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._marks: dict[Hashable, tuple[object, float]] = {}
        self._seen: set[Hashable] = set()
        self._ahead_s: float | None = None
        self._forgiven_at_s = float("-inf")
        self._stopping_at_s: float | None = None
        self._held_s: dict[Watch, float] = dict.fromkeys(Watch, 0.0)
        self.held_s = self._held_s

    def forgive(self, now_s: float) -> None:
        """Count anew from now: the whole process stood still, which is the lease's business."""
        self._marks.clear()
        self._forgiven_at_s = now_s

    def stopping(self, now_s: float) -> None:
        """Note that an orderly end has begun; from here on only its length counts."""
        if self._stopping_at_s is None:
            self._stopping_at_s = now_s

    def look(self, facts: Facts | None, now_s: float, ahead_s: float | None) -> Verdict | None:
        """Return why the process has to end, if it has to.

        `ahead_s` is the wall clock minus the monotonic one; None if they could not be compared.
        """
        self._seen.clear()
        self._held_s = dict.fromkeys(Watch, 0.0)
        found = next(self._verdicts(facts, now_s, ahead_s), None)
        self.held_s = self._held_s
        self._marks = {key: mark for key, mark in self._marks.items() if key in self._seen}
        return found

    def _verdicts(
        self, facts: Facts | None, now_s: float, ahead_s: float | None
    ) -> Iterator[Verdict]:
        if self._stopping_at_s is not None:
            yield from self._stop(now_s - self._stopping_at_s)
            return
        yield from self._clock(ahead_s)
        if facts is None:
            return
        yield from self._loop(facts, now_s)
        if not facts.working:
            yield from self._not_ready(facts, now_s)
        else:
            for agent in facts.dead:
                yield from self._dead_agent(agent, now_s)
            for tp, partition in facts.partitions.items():
                yield from self._progress(tp, partition, facts.records, now_s)
                yield from self._commits(tp, partition, now_s)

    def _stop(self, taken_s: float) -> Iterator[Verdict]:
        self._hold(Watch.SLOW_STOP, taken_s)
        if taken_s > self.limits.stop_s:
            yield Verdict(
                Watch.SLOW_STOP,
                f"an orderly end took longer than {self.limits.stop_s:g} s; what was not finished"
                " is delivered again",
            )

    def _clock(self, ahead_s: float | None) -> Iterator[Verdict]:
        if ahead_s is None:
            return
        before, self._ahead_s = self._ahead_s, ahead_s
        back_s = 0.0 if before is None else before - ahead_s
        if back_s > CLOCK_BACK_S:
            self._hold(Watch.CLOCK_BACK, back_s)
            yield Verdict(Watch.CLOCK_BACK, f"the system's clock was set back by {back_s:.1f} s")

    def _loop(self, facts: Facts, now_s: float) -> Iterator[Verdict]:
        late_s = now_s - max(facts.at_s, self._forgiven_at_s)
        self._hold(Watch.BLOCKED_LOOP, late_s)
        if late_s > self.limits.blocked_s * (1 if facts.working else PATIENT_TIMES):
            yield Verdict(
                Watch.BLOCKED_LOOP, f"the event loop has not had a turn for {late_s:.0f} s"
            )

    def _not_ready(self, facts: Facts, now_s: float) -> Iterator[Verdict]:
        for_s = self._since(Watch.NOT_READY, facts.taken_up, now_s)
        self._hold(Watch.NOT_READY, for_s)
        if for_s > self.limits.not_ready_s:
            yield Verdict(
                Watch.NOT_READY,
                f"partitions were not taken and tables not restored, and nothing moved for"
                f" {for_s:.0f} s",
            )

    def _dead_agent(self, agent: str, now_s: float) -> Iterator[Verdict]:
        for_s = self._since((Watch.DEAD_AGENT, agent), None, now_s)
        self._hold(Watch.DEAD_AGENT, for_s)
        if for_s > self.limits.dead_agent_s:
            yield Verdict(Watch.DEAD_AGENT, f"agent {agent} has ended, and nobody took its place")

    def _progress(
        self, tp: tuple[str, int], partition: PartitionFacts, records: int, now_s: float
    ) -> Iterator[Verdict]:
        if partition.lag == 0 or partition.waits_for:
            return
        own = (partition.worked, partition.moved)
        for_s = idle_s = self._since((Watch.NO_PROGRESS, tp, "own"), own, now_s)
        if partition.queued:
            idle_s = self._since((Watch.NO_PROGRESS, tp, "all"), (*own, records), now_s)
        self._hold(Watch.NO_PROGRESS, idle_s)
        limit_s = self.limits.no_progress_s
        if partition.publishing:
            limit_s += self.limits.publish_s
        if idle_s > limit_s or for_s > PATIENT_TIMES * limit_s:
            yield Verdict(
                Watch.NO_PROGRESS,
                f"{tp[0]} partition {tp[1]}: nothing was done for {for_s:.0f} s, with"
                f" {partition.lag} records to do from offset {partition.worked}",
            )

    def _commits(
        self, tp: tuple[str, int], partition: PartitionFacts, now_s: float
    ) -> Iterator[Verdict]:
        floor, committed = partition.floor, partition.committed
        if floor is None or floor <= (committed or 0):
            return
        for_s = self._since((Watch.FROZEN_COMMITS, tp), committed, now_s)
        self._hold(Watch.FROZEN_COMMITS, for_s)
        if for_s > self.limits.commits_s:
            yield Verdict(
                Watch.FROZEN_COMMITS,
                f"{tp[0]} partition {tp[1]}: offset {floor} could be committed, and"
                f" {committed or 'nothing'} has been for {for_s:.0f} s",
            )

    def _since(self, key: Hashable, mark: object, now_s: float) -> float:
        """Return for how long a mark has been the same; without a look at it, it is forgotten."""
        self._seen.add(key)
        known = self._marks.get(key)
        if known is None or known[0] != mark:
            self._marks[key] = known = (mark, now_s)
        return now_s - known[1]

    def _hold(self, watch: Watch, for_s: float) -> None:
        self._held_s[watch] = max(self._held_s[watch], for_s)
