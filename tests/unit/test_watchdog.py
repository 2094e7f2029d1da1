"""What the watchdog ends a process for, and what it lets be; no test waits for a clock."""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.history import History
from connectors.clickhouse import history as history_module
from connectors.clickhouse.history import ClickHouseHistory
from streams.errors import ServiceUnavailableError
from streams.settings import Settings
from streams.transport import ends, fatal
from streams.transport import watchdog as module
from streams.transport.backlog import Backlog
from streams.transport.judge import (
    CLOCK_BACK_S,
    PATIENT_TIMES,
    STOP_S,
    Facts,
    Judge,
    PartitionFacts,
    Verdict,
    Watch,
    limits,
)
from streams.transport.ledger import Ledger
from streams.transport.watchdog import Watchdog

TP = ("orders", 0)
WATCHDOG_S = 30.0
LIMITS = limits(WATCHDOG_S, commit_interval_s=0.5, publish_s=60.0)
#: Nothing is to do: everything is worked through and committed.
IDLE = PartitionFacts(end=100, worked=100, floor=100, committed=100)
STUCK = replace(IDLE, worked=90, floor=90, committed=90)
UNCOMMITTED = replace(IDLE, committed=90)


class Looks:
    """A judge that looks every second at what a test says."""

    def __init__(self) -> None:
        self.judge = Judge(LIMITS)
        self.now_s = 1_000.0
        self.ahead_s: float | None = 5_000.0

    def see(
        self,
        *partitions: PartitionFacts,
        for_s: float = 1.0,
        dead: tuple[str, ...] = (),
        working: bool = True,
        loop_runs: bool = True,
        records: int = 0,
        taken_up: tuple[int, ...] = (),
    ) -> Verdict | None:
        """Look every second for a while; return the first verdict."""
        began_s, until_s = self.now_s, self.now_s + for_s
        while self.now_s < until_s:
            self.now_s += 1.0
            at_s = self.now_s if loop_runs else began_s
            known = {(TP[0], number): one for number, one in enumerate(partitions)}
            facts = Facts(at_s, working, known, dead, records, taken_up)
            verdict = self.judge.look(facts, self.now_s, self.ahead_s)
            if verdict is not None:
                return verdict
        return None


@pytest.fixture
def looks() -> Looks:
    """Return a judge that has seen nothing yet."""
    return Looks()


@pytest.mark.parametrize(
    ("facts", "for_s", "ends_it", "reason"),
    [
        (STUCK, WATCHDOG_S, False, "as long as it may"),
        (STUCK, WATCHDOG_S + 2, True, "longer"),
        (IDLE, 1_000, False, "nothing is to do"),
        (replace(STUCK, waits_for="ClickHouse"), 1_000, False, "it says that it waits"),
        (replace(STUCK, publishing=True), 60, False, "the publisher has a time-out of its own"),
        (replace(STUCK, publishing=True), 92, True, "which has passed"),
        (replace(STUCK, queued=True), WATCHDOG_S + 2, True, "nobody works, so it is not a queue"),
        (replace(STUCK, floor=None, committed=None), 32, True, "nothing was ever done of it"),
    ],
)
def test_lag_without_progress(
    looks: Looks, facts: PartitionFacts, for_s: float, ends_it: bool, reason: str
) -> None:
    """Ends the process after its limit, unless there is a good reason to wait."""
    verdict = looks.see(facts, IDLE, for_s=for_s)
    assert (verdict is not None) is ends_it, reason
    if verdict is not None:
        assert verdict.watch is Watch.NO_PROGRESS
        assert "orders partition 0" in verdict.reason
        assert "10 records to do from offset 90" in verdict.reason


def test_progress_begins_the_wait_anew(looks: Looks) -> None:
    """Offsets that move, or an agent that is within a long batch; also what was caught up."""
    for number in range(20):
        assert looks.see(replace(STUCK, worked=70 + number), for_s=20) is None
    for number in range(20):
        assert looks.see(replace(STUCK, moved=number), for_s=20) is None
    assert looks.see(IDLE) is None
    assert looks.see(STUCK, for_s=WATCHDOG_S) is None


def test_a_queue_is_waited_for_while_others_are_worked_on(looks: Looks) -> None:
    """With hundreds of partitions its turn takes long, but not for ever."""
    queued = replace(STUCK, queued=True)
    for second in range(round(PATIENT_TIMES * WATCHDOG_S)):
        assert looks.see(queued, records=second) is None
    verdict = None
    for second in range(3):
        verdict = verdict or looks.see(queued, records=1_000 + second)
    assert verdict is not None


def test_what_others_do_is_no_progress(looks: Looks) -> None:
    """A batch that was begun and not finished stands still, however busy the worker is."""
    verdicts = [looks.see(STUCK, records=second) for second in range(round(WATCHDOG_S) + 2)]
    assert verdicts[-2:] != [None, None]


def test_what_does_not_get_ready(looks: Looks) -> None:
    """Ends the process when nothing moves; a restore that goes on may take any time."""
    patient_s = PATIENT_TIMES * WATCHDOG_S
    for number in range(10):
        assert looks.see(working=False, taken_up=(number, 1, 8), for_s=patient_s) is None
    verdict = looks.see(working=False, taken_up=(9, 1, 8), for_s=3)
    assert verdict is not None
    assert verdict.watch is Watch.NOT_READY


def test_a_worker_that_was_ready_in_between(looks: Looks) -> None:
    """The wait begins anew with each rebalance."""
    nearly_s = PATIENT_TIMES * WATCHDOG_S - 1
    for _ in range(3):
        assert looks.see(working=False, for_s=nearly_s) is None
        assert looks.see(IDLE) is None


def test_nothing_is_judged_while_partitions_are_taken(looks: Looks) -> None:
    """A restore takes its time; what was before counts no more after it."""
    assert (
        looks.see(
            STUCK,
            UNCOMMITTED,
            for_s=WATCHDOG_S - 1,
        )
        is None
    )
    assert looks.see(STUCK, UNCOMMITTED, dead=("counter",), for_s=200, working=False) is None
    assert looks.see(STUCK, UNCOMMITTED, for_s=WATCHDOG_S - 1) is None


@pytest.mark.parametrize(
    ("facts", "for_s", "ends_it", "reason"),
    [
        (UNCOMMITTED, LIMITS.commits_s - 1, False, "Kafka's client tries again by itself"),
        (UNCOMMITTED, LIMITS.commits_s + 2, True, "twice as long as work may stand still"),
        (replace(UNCOMMITTED, committed=None), LIMITS.commits_s + 2, True, "never committed"),
        (IDLE, 1_000, False, "all is committed"),
        (replace(IDLE, floor=None, committed=None), 1_000, False, "nothing is to commit"),
    ],
)
def test_commits_that_stand_still(
    looks: Looks, facts: PartitionFacts, for_s: float, ends_it: bool, reason: str
) -> None:
    """Ends the process when what is done is not committed for too long."""
    verdict = looks.see(facts, for_s=for_s)
    assert (verdict is not None) is ends_it, reason
    assert verdict is None or verdict.watch is Watch.FROZEN_COMMITS


def test_commits_that_follow_begin_the_wait_anew(looks: Looks) -> None:
    """Behind under load is not frozen."""
    for number in range(10):
        facts = replace(UNCOMMITTED, floor=200 + number, committed=100 + number)
        assert looks.see(facts, for_s=LIMITS.commits_s - 2) is None


@pytest.mark.parametrize(
    ("for_s", "ends_it", "reason"),
    [(LIMITS.dead_agent_s, False, "Faust may replace it"), (13, True, "it did not")],
)
def test_an_agent_that_has_ended(looks: Looks, for_s: float, ends_it: bool, reason: str) -> None:
    """Ends the process, also when nothing is to do: its stream would fill."""
    verdict = looks.see(IDLE, dead=("counter",), for_s=for_s)
    assert (verdict is not None) is ends_it, reason
    if verdict is not None:
        assert verdict.watch is Watch.DEAD_AGENT
        assert "agent counter" in verdict.reason


def test_an_agent_that_was_replaced(looks: Looks) -> None:
    """Dead for a moment, again and again, as rebalances make it."""
    for _ in range(10):
        assert looks.see(IDLE, dead=("counter",), for_s=LIMITS.dead_agent_s) is None
        assert looks.see(IDLE) is None


@pytest.mark.parametrize(
    ("working", "for_s", "ends_it", "reason"),
    [
        (True, WATCHDOG_S, False, "as long as it may be blocked"),
        (True, WATCHDOG_S + 2, True, "longer"),
        (False, WATCHDOG_S + 2, False, "a restore may block it for longer"),
        (False, PATIENT_TIMES * WATCHDOG_S + 2, True, "but not for ever"),
    ],
)
def test_a_loop_that_has_no_turn(
    looks: Looks, working: bool, for_s: float, ends_it: bool, reason: str
) -> None:
    """Ends the process: neither heartbeats nor commits nor views are served."""
    verdict = looks.see(IDLE, working=working, loop_runs=False, for_s=for_s)
    assert (verdict is not None) is ends_it, reason
    assert verdict is None or verdict.watch is Watch.BLOCKED_LOOP


@pytest.mark.parametrize(
    ("step_s", "ends_it", "reason"),
    [
        (-CLOCK_BACK_S - 0.1, True, "set back"),
        (-CLOCK_BACK_S + 0.1, False, "what slewing and the reading of two clocks may make"),
        (3_600.0, False, "forward: a machine that slept"),
    ],
)
def test_a_step_of_the_clock(looks: Looks, step_s: float, ends_it: bool, reason: str) -> None:
    """Measured against the clock that never steps back."""
    assert looks.see(IDLE) is None
    assert looks.ahead_s is not None
    looks.ahead_s += step_s
    verdict = looks.see(IDLE)
    assert (verdict is not None) is ends_it, reason
    assert verdict is None or verdict.watch is Watch.CLOCK_BACK


def test_a_step_is_seen_after_clocks_that_could_not_be_compared(looks: Looks) -> None:
    """Also before the loop has offered anything."""
    assert looks.judge.look(None, looks.now_s, 5_000.0) is None
    assert looks.judge.look(None, looks.now_s, None) is None
    verdict = looks.judge.look(None, looks.now_s, 4_990.0)
    assert verdict is not None
    assert "10.0 s" in verdict.reason


def test_a_process_that_stood_still_is_forgiven(looks: Looks) -> None:
    """Frozen and woken: whether it may go on is the lease's business."""
    assert looks.see(STUCK, UNCOMMITTED, for_s=WATCHDOG_S - 1) is None
    began_s = looks.now_s
    looks.now_s += 500
    looks.judge.forgive(looks.now_s)
    known = {TP: STUCK}
    facts = Facts(began_s, working=True, partitions=known)
    assert looks.judge.look(facts, looks.now_s + 1, looks.ahead_s) is None
    assert looks.see(STUCK, for_s=WATCHDOG_S - 2) is None
    assert looks.see(STUCK, for_s=5) is not None


def test_an_orderly_end_has_a_bound(looks: Looks) -> None:
    """Until then nothing else counts; it is not begun twice."""
    assert looks.see(STUCK, for_s=WATCHDOG_S - 1) is None
    looks.judge.stopping(looks.now_s)
    assert looks.see(STUCK, dead=("counter",), for_s=10, loop_runs=False) is None
    looks.judge.stopping(looks.now_s)
    verdict = looks.see(STUCK, for_s=STOP_S - 10 + 1)
    assert verdict is not None
    assert verdict.watch is Watch.SLOW_STOP


def test_what_is_held_is_told(looks: Looks) -> None:
    """For the metrics: the worst of each watchdog, zero while all is well."""
    looks.see(replace(STUCK, committed=80), IDLE, for_s=11)
    assert looks.judge.held_s[Watch.NO_PROGRESS] == 10
    assert looks.judge.held_s[Watch.FROZEN_COMMITS] == 10
    looks.see(IDLE)
    assert set(looks.judge.held_s.values()) == {0.0}


# --- the thread -----------------------------------------------------------------------------


class Clock:
    """The clocks that the watchdog sees; `between_s` passes after the wall clock's reading."""

    def __init__(self) -> None:
        self.now_s, self.wall_s, self.between_s = 100.0, 5_000.0, 0.0

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.now_s

    def now_ns(self) -> int:
        """Return the wall clock, and let some time pass."""
        now_s = self.now_s
        self.now_s += self.between_s
        return round((self.wall_s + now_s) * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clocks that the watchdog sees."""
    made = Clock()
    monkeypatch.setattr(module, "clock", made)
    return made


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return causes and reasons for which the process would have ended."""
    found: list[tuple[str, str]] = []

    def die(reason: str, error: Any = None, *, cause: str = "", by_record: bool = False) -> None:
        found.append((cause, reason))

    monkeypatch.setattr(module, "die", die)
    return found


def look_after(watchdog: Watchdog, clock: Clock, seconds: float) -> None:
    """Let time pass in steps of half a second, with a look after each."""
    for _ in range(round(seconds * 2)):
        clock.now_s += 0.5
        watchdog._look()


def watching(clock: Clock) -> Watchdog:
    """Return a watchdog that has begun to look."""
    watchdog = Watchdog(None, LIMITS)
    watchdog._looked_s = clock.now_s
    watchdog._look()
    return watchdog


def test_a_blocked_loop_is_named_with_its_call(clock: Clock, deaths: list[tuple[str, str]]) -> None:
    """Where the main thread is: what an operator needs."""
    watchdog = watching(clock)
    watchdog._facts = Facts(clock.now_s, working=True)
    looking = threading.Thread(target=look_after, args=(watchdog, clock, 31))
    looking.start()
    looking.join()
    assert deaths[0][0] == "blocked-loop"
    assert "it is in " in deaths[0][1]
    assert "threading.py" in deaths[0][1]


def test_a_loop_that_is_blocked_at_its_first_step(
    clock: Clock, deaths: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions were taken, and it has not said so yet: no restore is under way any more."""
    watchdog = watching(clock)
    watchdog._facts = Facts(clock.now_s, working=False)
    monkeypatch.setattr(module, "is_working", lambda _app: False)
    look_after(watchdog, clock, WATCHDOG_S + 2)
    assert deaths == []
    monkeypatch.setattr(module, "is_working", lambda _app: True)
    look_after(watchdog, clock, 1)
    assert deaths[0][0] == "blocked-loop"


def test_a_thread_that_stood_still_looks_anew(clock: Clock, deaths: list[tuple[str, str]]) -> None:
    """The process was frozen for a minute: no loop was blocked, no clock set back."""
    watchdog = watching(clock)
    watchdog._facts = Facts(clock.now_s, working=True, partitions={TP: STUCK})
    clock.now_s += 60
    watchdog._look()
    look_after(watchdog, clock, 20)
    assert deaths == []


def test_a_reading_that_was_interrupted_is_no_step(
    clock: Clock, deaths: list[tuple[str, str]]
) -> None:
    """The thread waits for the processor between the two clocks."""
    watchdog = watching(clock)
    clock.between_s = 2.0
    watchdog._look()
    clock.between_s = 0.0
    watchdog._look()
    assert deaths == []
    clock.wall_s -= 3
    watchdog._look()
    assert [cause for cause, _ in deaths] == ["clock-back"]


# --- the facts ------------------------------------------------------------------------------


def test_where_work_has_come_to() -> None:
    """What is delivered, then what waits to be, then what the client has taken."""
    ledger, backlog = Ledger(), Backlog()
    assert (ledger.open_from(TP), ledger.is_queued(TP)) == (None, False)
    ledger.opened(TP, 5, 8, 2)
    ledger.begun(TP, 5)
    assert (ledger.open_from(TP), ledger.is_queued(TP)) == (5, True)
    ledger.begun(TP, 5)
    assert ledger.is_queued(TP) is False
    for _ in range(2):
        ledger.done(TP, 5)
    assert (ledger.open_from(TP), ledger.is_queued(TP)) == (None, False)
    tp: Any = TP
    assert backlog.first_of(tp) is None
    backlog.add(tp, [SimpleNamespace(offset=n, key=b"", value=b"") for n in (8, 9)], due=8)
    assert backlog.first_of(tp) == 8
    backlog.take(tp, 1)
    assert backlog.first_of(tp) == 9


async def test_the_history_says_that_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """While ClickHouse is away, and while a request has yet to be answered."""
    monkeypatch.setattr(history_module, "FIRST_PAUSE_S", 0.01)
    history, reached, answered = _History(Settings()), asyncio.Event(), asyncio.Event()
    agent = History(history)

    async def ask(_client: Any) -> int:
        reached.set()
        await answered.wait()
        return 7

    assert agent.waits_for == ""
    asking = asyncio.create_task(history._until_answered(ask))
    await history.refused.wait()
    assert agent.waits_for == "ClickHouse"
    history.is_there = True
    await reached.wait()
    assert agent.waits_for == "ClickHouse"
    answered.set()
    assert await asking == 7
    assert agent.waits_for == ""


class _History(ClickHouseHistory):
    """A history whose ClickHouse is away at first."""

    is_there = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.refused = asyncio.Event()

    async def _connected(self) -> Any:
        if not self.is_there:
            self.refused.set()
            raise ServiceUnavailableError("away")
        return None


# --- what is kept of an end -----------------------------------------------------------------


#: It returns here, because the process does not end.
die: Callable[..., object] = fatal.die


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Return the exit codes; ends are kept in the test's folder."""
    found: list[int] = []
    monkeypatch.setattr(os, "_exit", found.append)
    monkeypatch.setattr(fatal, "_last", [])
    monkeypatch.setattr(fatal, "_folder", [tmp_path])
    return found


def test_an_end_is_kept_for_the_next_process(exits: list[int], tmp_path: Path) -> None:
    """Counted by cause; the last reason with the error it came from, and whose it is."""
    die("the loop", cause="blocked-loop")
    die("no disk", OSError("full"))
    die("the loop again", cause="blocked-loop")
    found = ends.read(tmp_path)
    assert dict(found.counts) == {"blocked-loop": 2, "failure": 1}
    assert (found.cause, found.reason, found.pid) == ("blocked-loop", "the loop again", os.getpid())
    assert exits == [70, 70, 70]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": 1}', json.dumps("text")])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    """Torn, or of another version: the next end writes it anew."""
    (tmp_path / ends.FILE).write_text(content)
    assert ends.read(tmp_path) == ends.Ends()
    ends.note(tmp_path, "failure", "why", 1, 2)
    assert dict(ends.read(tmp_path).counts) == {"failure": 1}


def test_a_folder_that_cannot_be_written_ends_the_process_all_the_same(
    exits: list[int], tmp_path: Path
) -> None:
    """A full disk may be the very reason."""
    (tmp_path / f"{ends.FILE}.new").mkdir()
    die("no disk")
    assert exits == [70]


def test_a_blocked_loop_leaves_the_record_named(exits: list[int]) -> None:
    """What tells which record was under way is cleared at every other end."""
    cleared: list[str] = []
    fatal.before_the_end(lambda: cleared.append("cleared"))
    die("a step never returns", by_record=True)
    assert cleared == []
    die("Kafka is away")
    assert cleared == ["cleared"]
