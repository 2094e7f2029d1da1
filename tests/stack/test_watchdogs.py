"""A worker that goes wrong without a word is seen, named, ended, and works again after that.

Each test has a namespace of its own and a worker that can be made to fail (`failing_worker`).
"""

import asyncio
import itertools
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from connectors.kafka.admin import apply_topics
from connectors.kafka.client import producer
from streams.dev import control, restarts
from streams.dev.service import NotReadyError
from streams.dev.state import ProcessState
from streams.dev.supervisor import Managed, Supervisor
from streams.dev.testing import settings_on_free_ports
from streams.errors import ServiceFailedError
from streams.partitioner import partition_of
from streams.settings import Settings
from streams.topics import BY_NAME, topic_name
from streams.transport import ends as ends_file
from streams.transport.fatal import EXIT_INFRASTRUCTURE
from streams.transport.journal import MAX_DEATHS
from tests.stack.counting_worker import HOLD
from tests.stack.failing_worker import FAIL, NOT_READY_S, STOP_S
from tests.stack.plain import committed, count, ends, read, wait_until
from tests.stack.test_transport import (
    ACCOUNTS,
    DEAD,
    GROUP,
    OUTPUT,
    PARTITIONS,
    REQUESTED,
    Stream,
    agent_of,
    under_load,
)
from tests.stack.workers import Worker, workers_of
from tests.transport import COUNTS

#: Above what a busy machine keeps a worker waiting, below the lease's limit.
WATCHDOG_S = 4.0
SESSION_TIMEOUT_S = 8.0
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'\w+="([^"]*)"')

#: What dashboards and alerts rest on: the name, and how many labels it has.
METRICS = {
    "orderflow_agent_records_total": 1,
    "orderflow_agent_redelivered_total": 1,
    "orderflow_agent_dead_letters_total": 1,
    "orderflow_agent_waits": 1,
    "orderflow_units_in_flight": 1,
    "orderflow_partition_lag": 2,
    "orderflow_partition_floor": 2,
    "orderflow_partition_committed": 2,
    "orderflow_event_loop_late_seconds": 0,
    "orderflow_worker_ready": 0,
    "orderflow_watchdog_seconds": 1,
    "orderflow_worker_ends_total": 1,
}

READY = ("orderflow_worker_ready",)

_namespaces = itertools.count(1)

Metrics = dict[tuple[str, ...], float]


@pytest.fixture
async def stream(stack: Settings, tmp_path: Path) -> AsyncIterator[Stream]:
    """Yield a namespace with topics and without workers."""
    settings = stack.model_copy(
        update={
            "namespace": f"watched-{next(_namespaces)}",
            "data_dir": tmp_path,
            "session_timeout_s": SESSION_TIMEOUT_S,
            "watchdog_s": WATCHDOG_S,
        }
    )
    await apply_topics(settings, (COUNTS,))
    with workers_of(settings, ("-m", "tests.stack.failing_worker")) as workers:
        yield Stream(settings, workers)


@pytest.fixture
def failure(tmp_path: Path) -> Path:
    """Return the file in which a test says how the worker shall fail."""
    return tmp_path / "fail"


def fail(failure: Path, how: str) -> None:
    """Have the worker fail from now on."""
    failure.write_text(how)


def mend(failure: Path) -> None:
    """Have the worker fail no longer."""
    failure.unlink()


def start(stream: Stream, failure: Path, **env: str) -> Worker:
    """Start a worker that fails when the file says so."""
    return stream.workers.start("orders", env={FAIL: str(failure), **env})


async def metrics(worker: Worker) -> Metrics:
    """Return what a worker measures: (name, label values...) and the value."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{worker.port}/metrics") as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    return {
        (name, *LABEL.findall(labels)): float(value) for name, labels, value in SAMPLE.findall(text)
    }


def ended(cause: str) -> tuple[str, ...]:
    """Return the metric that counts ends of a cause."""
    return ("orderflow_worker_ends_total", cause)


async def exit_code(worker: Worker) -> int | None:
    """Return how a worker has ended, or None."""
    return worker.child.exit_code


async def until_it_ends(stream: Stream, worker: Worker) -> None:
    """Send a few orders now and then, until the worker has given up."""

    async def send() -> int | None:
        await stream.send(20)
        await asyncio.sleep(0.4)
        return worker.child.exit_code

    assert await wait_until(send, lambda code: code is not None) == EXIT_INFRASTRUCTURE


# --- watchdogs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "cause", "said"),
    [
        ("await", "no-progress", r"orders\.requested\.v1 partition \d: nothing was done for"),
        ("fetch", "no-progress", r"orders\.requested\.v1 partition \d: nothing was done for"),
        ("leave", "dead-agent", "agent counter has ended"),
        ("block", "blocked-loop", r"it is in step_or_block \(failing_worker.py:"),
        ("commit", "frozen-commits", r"offset \d+ could be committed, and"),
        ("clock", "clock-back", r"the system's clock was set back by 5\.0 s"),
    ],
)
async def test_a_silent_failure_ends_the_process(
    stream: Stream, failure: Path, how: str, cause: str, said: str
) -> None:
    """Named in the log and in the next one's metrics; after the restart nothing is missing."""
    worker = start(stream, failure)
    await worker.ready()
    await stream.send(100)
    await stream.settled()
    assert ended(cause) not in await metrics(worker)

    fail(failure, how)
    await until_it_ends(stream, worker)
    assert f'"cause": "{cause}"' in worker.last_lines()
    assert re.search(said, worker.last_lines())

    mend(failure)
    again = start(stream, failure)
    await again.ready()
    assert (await metrics(again))[ended(cause)] == 1
    await stream.send(100)
    await stream.counted()


async def test_a_restore_that_does_not_go_on_ends_the_process(
    stream: Stream, failure: Path
) -> None:
    """A worker that never gets ready would hold its partitions for ever."""
    fail(failure, "restore")
    worker = start(stream, failure)
    assert await wait_until(partial(exit_code, worker), bool) == EXIT_INFRASTRUCTURE
    assert '"cause": "not-ready"' in worker.last_lines()

    mend(failure)
    again = start(stream, failure)
    await again.ready()
    assert (await metrics(again))[ended("not-ready")] == 1
    await stream.send(100)
    await stream.counted()


async def test_a_worker_without_partitions_is_well(stream: Stream, failure: Path) -> None:
    """There are more workers than partitions: who has none waits to take over, and does not end."""
    env = {FAIL: str(failure)}
    workers = [stream.workers.start("orders", index, env) for index in range(PARTITIONS + 1)]

    async def with_partitions() -> int:
        asked = await asyncio.gather(*map(metrics, workers), return_exceptions=True)
        return sum(isinstance(one, dict) and one[READY] == 1 for one in asked)

    await wait_until(with_partitions, PARTITIONS.__eq__)
    await asyncio.sleep(NOT_READY_S + 2)
    assert [worker.child.exit_code for worker in workers] == [None] * len(workers)


async def test_one_partition_that_stands_still_is_enough(stream: Stream, failure: Path) -> None:
    """An agent never returns from one batch, while it works on all others."""
    hold = failure.with_name("hold")
    hold.touch()
    worker = start(stream, failure, **{HOLD: str(hold)})
    await worker.ready()
    await until_it_ends(stream, worker)
    assert "orders.requested.v1 partition 0: nothing was done" in worker.last_lines()
    hold.unlink()
    start(stream, failure, **{HOLD: str(hold)})
    sent = (await ends(stream.settings, REQUESTED))[REQUESTED]
    await wait_until(partial(committed, stream.settings, GROUP, REQUESTED), sent.__eq__)
    assert await count(stream.settings, OUTPUT) >= sum(sent.values())


async def test_a_record_whose_step_never_returns_is_set_aside(
    stream: Stream, failure: Path
) -> None:
    """It blocks the loop each time; after the third end it is a dead letter, and all goes on."""
    await stream.send(50)
    await stream.send(1, what="block")
    await stream.send(50)
    for _ in range(MAX_DEATHS):
        assert await start(stream, failure).exit_code() == EXIT_INFRASTRUCTURE
    worker = start(stream, failure)
    await stream.counted()
    assert (await metrics(worker))[ended("blocked-loop")] == MAX_DEATHS
    letters = [dict(record.headers) for record in await read(stream.settings, DEAD)]
    assert [letter["orderflow.code"] for letter in letters] == [b"CRASHED_WORKER"]


async def test_load_and_idleness_end_nothing(stream: Stream, failure: Path) -> None:
    """More than the limit of each, and a record a worker cannot decode: it goes on."""
    worker = start(stream, failure)
    await worker.ready()
    began = time.monotonic()
    async with under_load(stream):
        await wait_until(lambda: agent_of(worker), lambda _: time.monotonic() > began + 6)
    await stream.counted()
    quiet = time.monotonic()
    await wait_until(lambda: metrics(worker), lambda _: time.monotonic() > quiet + 6)
    found = await metrics(worker)
    assert worker.child.exit_code is None
    held = {key[1]: value for key, value in found.items() if key[0].endswith("watchdog_seconds")}
    assert held.pop("blocked-loop") < WATCHDOG_S
    assert set(held.values()) == {0.0}


async def test_the_end_of_a_transaction_is_no_lag(stream: Stream, failure: Path) -> None:
    """Its marker takes an offset of the topic, and nobody ever gets it as a record."""
    worker = start(stream, failure)
    await worker.ready()
    await stream.send(20)
    topic = topic_name(BY_NAME[REQUESTED], stream.settings.namespace)
    async with (
        producer(stream.settings, f"{stream.settings.namespace}-tester") as client,
        client.transaction(),
    ):
        await client.send_and_wait(topic, b"not an order", b"ACC1")
    await asyncio.sleep(2 * WATCHDOG_S)
    assert worker.child.exit_code is None, worker.last_lines()


async def test_the_metrics(stream: Stream, failure: Path) -> None:
    """Their names are promised; their values are those of the work that was done."""
    (stream.settings.worker_dir("orders")).mkdir(parents=True)
    ends_file.note(stream.settings.worker_dir("orders"), "failure", "before", 1, 1)
    worker = start(stream, failure)
    await worker.ready()
    await stream.send(90)
    await stream.send(10, what="raise")
    await stream.settled()
    found = await wait_until(
        lambda: metrics(worker),
        lambda found: found["orderflow_units_in_flight", "counter"] == 0,
    )
    assert {key[0]: len(key) - 1 for key in found} == METRICS
    assert found["orderflow_agent_records_total", "counter"] == 100
    assert found["orderflow_agent_dead_letters_total", "counter"] == 10
    assert found["orderflow_worker_ready",] == 1
    assert found[ended("failure")] == 1
    sent = (await ends(stream.settings, REQUESTED))[REQUESTED]
    topic = f"{stream.settings.namespace}.{REQUESTED}"
    for partition, end in sent.items():
        place = (str(partition), topic)  # labels come in the order of their names
        assert found["orderflow_partition_lag", *place] == 0
        assert found["orderflow_partition_floor", *place] == end
        assert found["orderflow_partition_committed", *place] == end


# --- orderly ends ---------------------------------------------------------------------------


async def test_a_stop_while_idle_redelivers_nothing(stream: Stream, failure: Path) -> None:
    """It ends soon, with 0, and the next one begins where it was."""
    worker = start(stream, failure)
    await worker.ready()
    await stream.send(100)
    await stream.settled()
    began = time.monotonic()
    assert await worker.stop() == 0
    assert time.monotonic() - began < STOP_S
    again = start(stream, failure)
    await again.ready()
    await stream.send(100)
    await stream.counted()
    agent = await agent_of(again)
    assert (agent["records"], agent["redelivered"]) == (100, 0)
    assert not any(key[0] == ended("")[0] for key in await metrics(again))


async def test_a_stop_under_load_finishes_what_it_took(stream: Stream, failure: Path) -> None:
    """Within the bound, with 0; nothing is lost and nothing comes again."""
    worker = start(stream, failure)
    await worker.ready()
    async with under_load(stream):
        await wait_until(partial(count, stream.settings, OUTPUT), lambda outputs: outputs > 500)
        began = time.monotonic()
        assert await worker.stop() == 0
        assert time.monotonic() - began < STOP_S
    again = start(stream, failure)
    await stream.counted()
    assert (await agent_of(again))["redelivered"] == 0


@pytest.mark.parametrize("how", ["await", "thread"])
async def test_a_stop_that_cannot_finish_has_a_bound(
    stream: Stream, failure: Path, how: str
) -> None:
    """An agent that never comes back, or whose thread does not: 70, named; nothing is lost."""
    hold = failure.with_name("hold")
    env = {"ORDERFLOW_WATCHDOG_S": "600"} | ({HOLD: str(hold)} if how == "thread" else {})
    worker = start(stream, failure, **env)
    await worker.ready()
    hold.touch()
    fail(failure, how)
    home = next(one for one in ACCOUNTS if partition_of(one.encode(), PARTITIONS) == 0)
    await stream.send(10, [home])
    await wait_until(lambda: metrics(worker), lambda found: max(_lags(found)) > 0)
    began = time.monotonic()
    worker.terminate()
    assert await worker.exit_code() == EXIT_INFRASTRUCTURE
    assert STOP_S - 1 < time.monotonic() - began < STOP_S + 3
    assert '"cause": "slow-stop"' in worker.last_lines()
    hold.unlink()
    mend(failure)
    again = start(stream, failure, **env)
    await again.ready()
    assert (await metrics(again))[ended("slow-stop")] == 1
    await stream.settled()
    assert await count(stream.settings, OUTPUT) == 10


def _lags(found: Metrics) -> list[float]:
    return [value for key, value in found.items() if key[0] == "orderflow_partition_lag"]


# --- crash loops ----------------------------------------------------------------------------

#: Ends at once, and says why, as a worker does.
DIES = (
    "import pathlib, sys; from streams.transport import fatal\n"
    "folder = pathlib.Path(sys.argv[1]); folder.mkdir(parents=True, exist_ok=True)\n"
    "fatal.note_ends_in(folder)\n"
    "if (folder / 'well').exists():\n    import time; time.sleep(600)\n"
    "fatal.die('no such broker', cause='settings')"
)


class TwoRoles(Supervisor):
    """A supervisor whose `orders` runs `DIES`, and whose `market` sleeps."""

    def _role(self, role: str) -> Managed:
        folder = str(self._settings.worker_dir(role))
        code = DIES if role == "orders" else "import time; time.sleep(600)"
        argv = (sys.executable, "-c", code, folder)
        return Managed(role, "role", argv, {}, 0, 5.0, probe=partial(_probe, role, Path(folder)))


def _probe(role: str, folder: Path) -> str:
    if role == "orders" and not (folder / "well").exists():
        raise NotReadyError("not yet")
    return "ready"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings of a pipeline without services, that is restarted without delay."""
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 0.01)
    return settings_on_free_ports(tmp_path).model_copy(update={"stack": "external"})


def test_a_crash_loop_is_reported_with_its_reason(settings: Settings) -> None:
    """In `status`: how often, why, and when it is tried again; the other role runs on."""
    well = settings.worker_dir("orders") / "well"
    well.parent.mkdir(parents=True)
    well.touch()
    supervisor = TwoRoles(settings, roles=("orders", "market"), hooks=())
    running = threading.Thread(target=supervisor.run)
    running.start()
    try:
        market = seen(settings, "market", lambda one: one.state == "ready")
        orders = seen(settings, "orders", lambda one: one.state == "ready")
        well.unlink()
        assert supervisor._managed["orders"].child is not None
        supervisor._managed["orders"].child.process.kill()
        orders = seen(settings, "orders", lambda one: "crash loop" in one.detail)
        assert orders.state == "restarting"
        assert orders.restarts == restarts.LOOP_DEATHS
        assert orders.detail == (
            "crash loop: ended with status 70 (settings: no such broker), starts again in 30 s"
        )
        assert seen(settings, "market", lambda _: True) == market
        well.touch()
        supervisor._managed["orders"].start_at_s = 0.0
        orders = seen(settings, "orders", lambda one: one.state == "ready")
        assert orders.detail.endswith(
            "; crash loop, last ended with status 70 (settings: no such broker)"
        )
    finally:
        supervisor.stop()
        running.join(30)
    assert not running.is_alive()


def test_a_crash_loop_at_the_start_fails_it_with_the_reason(settings: Settings) -> None:
    """`up` says why, instead of waiting for ever."""
    supervisor = TwoRoles(settings, roles=("orders", "market"), hooks=())
    with pytest.raises(ServiceFailedError, match=r"orders keeps ending: .*no such broker.*log:"):
        supervisor.run()


def seen(settings: Settings, name: str, holds: Callable[[ProcessState], bool]) -> ProcessState:
    """Return a process's state as `status` shows it, once it is as wanted."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state = control.running_state(settings)
        one = state.processes.get(name) if state else None
        if one is not None and holds(one):
            return one
        time.sleep(0.05)
    raise AssertionError(f"{name} was not as wanted; last: {state}")
