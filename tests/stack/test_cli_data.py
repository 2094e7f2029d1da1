"""The data commands against real Kafka and Valkey: topics, produce, tail, rules, dead letters.

Every test has a namespace of its own, so none sees another's topics.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka.admin import NewTopic
from pydantic import SecretStr
from redis import Redis

from connectors.kafka.admin import apply_topics, describe_topics
from connectors.kafka.client import admin
from connectors.kafka.controls import (
    SAMPLE_PRICES,
    publish_controls,
    read_controls,
    seed_controls,
)
from connectors.kafka.producer import batch_producer
from connectors.kafka.reader import AtOffsets, LastRecords, SinceTime, Start, Stored, read_topic
from connectors.redis.cache import Cache
from streams.cli.main import main
from streams.clock import monotonic, now_ns
from streams.errors import NotFoundError, OrderflowError, ServiceUnavailableError, UsageError
from streams.models.controls import Limits, SessionShift
from streams.models.market import LastPrice
from streams.partitioner import partition_of
from streams.settings import Settings
from streams.topics import (
    CONTROLS,
    DEAD_LETTERS,
    MARKET_QUOTES,
    MARKET_TRADES,
    ORDERS_REQUESTED,
    TOPICS,
    TopicSpec,
    topic_name,
)
from tables.registry import TABLES
from tests.builders import submit

pytestmark = pytest.mark.stack

PATIENT_S = 2.0  # a busy machine is not an outage
NOBODY = "127.0.0.1:1"  # nothing listens there


class Output(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return standard output as JSON."""
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        """Return standard output as one JSON value a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Output]


@pytest.fixture
def settings(stack: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with a namespace made of the test's name."""
    name = request.node.name.lower().replace("_", "-").translate(str.maketrans("", "", "[]. :"))
    return stack.model_copy(update={"namespace": name[:60], "partitions": 2})


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return what runs a command line with the test's settings."""

    def call(*arguments: str, **changed: Any) -> Output:
        chosen = settings.model_copy(update=changed)
        for name, value in chosen.environment().items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        return Output(int(ended.value.code or 0), out, err)

    return call


def create(settings: Settings, *specs: TopicSpec) -> None:
    """Create these topics alone: all of them would take Kafka a second in every test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connectors.kafka.admin.TOPICS", specs)
        asyncio.run(apply_topics(settings))


def records(settings: Settings, name: str, start: Start = "beginning") -> list[Stored]:
    """Return the records of a topic of the test's namespace."""

    async def read() -> list[Stored]:
        topic = f"{settings.namespace}.{name}"
        return [record async for record in read_topic(settings, topic, start=start)]

    return asyncio.run(read())


def write(
    settings: Settings, name: str, *values: bytes, key: bytes = b"A1", **options: Any
) -> None:
    """Produce values of one key."""

    async def produce() -> None:
        async with batch_producer(settings) as out:
            for value in values:
                await out.send(f"{settings.namespace}.{name}", key, value, **options)

    asyncio.run(produce())


# topics -----------------------------------------------------------------------------------


def test_topics_are_created_once_and_then_left_alone(run: Run) -> None:
    """A second apply changes nothing; list and describe agree with the registry."""
    assert {row["state"] for row in run("topics", "list", "--json").json} == {"missing"}
    first, second = (run("topics", "apply", "--json").json for _ in range(2))
    assert len(first) == len(TOPICS) + len(TABLES)
    assert {row["state"] for row in first} == {"created"}
    assert {row["state"] for row in second} == {"unchanged"}
    controls = run("topics", "describe", "controls", "--json").json
    assert (controls["partitions"], controls["cleanup"]) == (1, "compact")
    assert controls["config"] == CONTROLS.kafka_config()
    assert run("topics", "describe", "table.orders", "--json").json["cleanup"] == "compact"
    assert run("topics", "describe", "nonsense").code == NotFoundError.exit_code


def test_new_topics_get_the_partitions_of_the_old_ones(settings: Settings) -> None:
    """A changed setting does not tear co-partitioned topics apart."""
    asyncio.run(apply_topics(settings.model_copy(update={"partitions": 3})))
    states = asyncio.run(apply_topics(settings.model_copy(update={"partitions": 8}), TABLES))
    single = {topic_name(spec, settings.namespace) for spec in TOPICS if spec.single_partition}
    assert {state.partitions for state in states if state.name not in single} == {3}


def test_unequal_partitions_are_refused(settings: Settings) -> None:
    """Topics that must agree and do not are named, and nothing is created."""

    async def break_apart() -> None:
        async with admin(settings) as client:
            names = {"orders.requested.v1": 2, "orders.events.v1": 3}
            await client.create_topics(
                [NewTopic(f"{settings.namespace}.{name}", n, 1) for name, n in names.items()]
            )

    def missing() -> int:
        states = asyncio.run(describe_topics(settings))
        return sum(state.action == "missing" for state in states)

    absent = len(TOPICS) - 2
    asyncio.run(break_apart())
    while missing() > absent:  # the metadata follows a moment later
        time.sleep(0.05)
    with pytest.raises(UsageError, match=r"orders\.events\.v1 3.*orders\.requested\.v1 2"):
        asyncio.run(apply_topics(settings))
    assert missing() == absent


def test_a_topic_that_differs_is_named_and_stays(settings: Settings, run: Run) -> None:
    """Settings that someone changed are reported on standard error."""

    async def create() -> None:
        async with admin(settings) as client:
            name = f"{settings.namespace}.{ORDERS_REQUESTED.name}"
            config = ORDERS_REQUESTED.kafka_config() | {"retention.ms": "1000"}
            await client.create_topics([NewTopic(name, 4, 1, topic_configs=config)])

    asyncio.run(create())
    applied = run("topics", "apply", "--json")
    states = {row["topic"].rpartition(settings.namespace + ".")[2]: row for row in applied.json}
    assert states[ORDERS_REQUESTED.name]["state"] == "differs"
    assert "retention.ms: 1000, registry: 2592000000; left as it is" in applied.err
    assert applied.code == 0


# produce ----------------------------------------------------------------------------------


def test_bad_lines_are_named_and_the_rest_is_produced(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    """Good lines arrive byte by byte, keyed by account; bad ones cost exit code 6."""
    create(settings, ORDERS_REQUESTED)
    good = [submit(order_id=f"o{n}", account=f"A{n}").model_dump_json().encode() for n in range(9)]
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b"\n".join([*good[:5], b"nonsense", b'{"command":"submit"}', *good[5:]]))

    done = run("produce", "orders", str(path), "--json")
    assert done.code == 6
    assert done.json["records"] == 9
    assert done.json["bad_lines"] == 2
    assert [line.split(":")[0] for line in done.err.splitlines()] == ["line 6", "line 7"]

    found = records(settings, ORDERS_REQUESTED.name)
    assert {record.value for record in found} == set(good)
    for record in found:
        assert record.key is not None
        assert json.loads(record.value or b"")["account"].encode() == record.key
        assert record.partition == partition_of(record.key, settings.partitions)


def test_dry_run_and_raw(settings: Settings, run: Run, tmp_path: Path) -> None:
    """--dry-run produces nothing, --raw everything."""
    create(settings, ORDERS_REQUESTED)
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b'{"account":"A1"}\nnonsense\n')
    assert run("produce", "orders", str(path), "--dry-run", "--json").json["bad_lines"] == 2
    assert records(settings, ORDERS_REQUESTED.name) == []
    assert run("produce", "orders", str(path), "--raw").code == 0
    found = {(record.key, record.value) for record in records(settings, ORDERS_REQUESTED.name)}
    assert found == {(b"A1", b'{"account":"A1"}'), (None, b"nonsense")}
    refused = run("produce", "orders", str(path), "--raw", "--shift", "now")
    assert refused.code == UsageError.exit_code


def test_the_sample_becomes_a_session_of_now(settings: Settings, run: Run) -> None:
    """The first tick is moved to now, and the session-shift control says by how much."""
    create(settings, MARKET_TRADES, MARKET_QUOTES, CONTROLS)
    before = now_ns()
    done = run("produce", "ticks", "--sample", "--limit", "500", "--json").json
    assert done["records"] == sum(done["topics"].values()) == 500
    times = [
        json.loads(record.value or b"")["ts_event_ns"]
        for name in done["topics"]
        for record in records(settings, name)
    ]
    assert len(times) == 500
    assert before <= min(times) <= now_ns()
    assert min(times) - done["shift_ns"] == 1_381_152_600_019_000_000  # its time in the sample
    shift = asyncio.run(read_controls(settings)).records["session-shift:default"]
    assert isinstance(shift, SessionShift)
    assert (shift.shift_ns, shift.version) == (done["shift_ns"], done["session_shift_version"])
    assert run("produce", "ticks", "--sample", "--limit", "5", "--shift", "none").code == 0
    assert asyncio.run(read_controls(settings)).version == shift.version  # no shift, no control


def test_many_records_keep_their_order(settings: Settings, run: Run) -> None:
    """Full batches follow each other: no record is lost, doubled or out of order."""
    create(settings, MARKET_TRADES)
    values = [b"%08d" % n + b"x" * 100 for n in range(30_000)]
    write(settings, MARKET_TRADES.name, *values)
    found = records(settings, MARKET_TRADES.name)
    assert [record.value for record in found] == values
    assert [record.offset for record in found] == list(range(30_000))


def test_a_record_near_the_limit_passes_and_a_larger_one_does_not(
    settings: Settings, run: Run
) -> None:
    """A batch holds one large record; what no topic takes is refused before it is sent."""
    create(settings, ORDERS_REQUESTED)
    write(settings, ORDERS_REQUESTED.name, b"x" * 900_000, b"y" * 900_000, b"z")
    assert [len(record.value or b"") for record in records(settings, ORDERS_REQUESTED.name)] == [
        900_000,
        900_000,
        1,
    ]
    with pytest.raises(UsageError, match="too large"):
        write(settings, ORDERS_REQUESTED.name, b"x" * 1_000_000)


# reading ----------------------------------------------------------------------------------


def test_reading_begins_where_it_is_told(settings: Settings, run: Run) -> None:
    """Beginning, end, the newest N, a time and offsets each give the records they name."""
    create(settings, ORDERS_REQUESTED)
    for second in range(5):
        write(settings, ORDERS_REQUESTED.name, b"%d" % second, timestamp_ms=1000 * (second + 1))
    first = records(settings, ORDERS_REQUESTED.name)[0]

    def values(start: Start) -> list[bytes | None]:
        return [record.value for record in records(settings, ORDERS_REQUESTED.name, start)]

    assert values("beginning") == [b"0", b"1", b"2", b"3", b"4"]
    assert values("end") == []
    assert values(LastRecords(2)) == [b"3", b"4"]
    assert values(LastRecords(99)) == [b"0", b"1", b"2", b"3", b"4"]
    assert values(SinceTime(2500)) == [b"2", b"3", b"4"]
    assert values(SinceTime(9000)) == []
    assert values(AtOffsets({first.partition: 3})) == [b"3", b"4"]
    assert values(AtOffsets({first.partition: 99})) == []

    # Two accounts that lie on different partitions: only the newest ones are put in order.
    assert partition_of(b"A1", 2) != partition_of(b"A2", 2)
    write(settings, ORDERS_REQUESTED.name, b"between", key=b"A2", timestamp_ms=3500)
    assert values(LastRecords(3)) == [b"between", b"3", b"4"]


def test_following_gets_what_comes_later(settings: Settings, run: Run) -> None:
    """With follow, the reader first has what is there, then what is produced."""
    create(settings, ORDERS_REQUESTED)
    write(settings, ORDERS_REQUESTED.name, b"old", b"newest")
    topic = f"{settings.namespace}.{ORDERS_REQUESTED.name}"

    async def follow() -> list[bytes | None]:
        found: list[bytes | None] = []
        reading = read_topic(settings, topic, start=LastRecords(1), follow=True, limit=3)
        async for record in reading:
            found.append(record.value)
            if record.value == b"newest":
                async with batch_producer(settings) as out:
                    await out.send(topic, b"A1", b"later")
                    await out.send(topic, b"A2", b"last")
        return found

    found = asyncio.run(asyncio.wait_for(follow(), 20))
    assert found[0] == b"newest"
    assert set(found[1:]) == {b"later", b"last"}


def test_tail_prints_lines(settings: Settings, run: Run) -> None:
    """The newest ones by default; filtered, limited, or as JSON where asked."""
    create(settings, ORDERS_REQUESTED)
    orders = [submit(order_id=f"o{n}", symbol="AIG" if n % 2 else "BAC") for n in range(20)]
    write(settings, ORDERS_REQUESTED.name, *(o.model_dump_json().encode() for o in orders))

    plain = run("tail", "orders.requested").out.splitlines()
    assert len(plain) == 10
    assert (
        plain[-1]
        .split("  ")[-1]
        .strip()
        .endswith("submit o19 buy qty=10 AIG type=limit limit_price=50.00")
    )
    bac = run("tail", "orders.requested", "--where", "symbol=BAC", "--limit", "3", "--json")
    assert [line["value"]["order_id"] for line in bac.json_lines] == ["o0", "o2", "o4"]
    assert len(run("tail", "orders.requested", "--from", "-3").out.splitlines()) == 3
    assert run("tail", "no.such.topic").code == NotFoundError.exit_code
    assert run("tail", "orders.requested", "--from", "later").code == UsageError.exit_code


# controls ---------------------------------------------------------------------------------


def test_every_change_raises_the_version(settings: Settings, run: Run) -> None:
    """Versions go up by one over all kinds; a change keeps what it does not name."""
    create(settings, CONTROLS)
    first = run("limits", "set", "A1", "max_order_qty=500", "--reason", "trial", "--json").json
    run("rules", "set", "restricted", "default", "symbols=GME")
    third = run("limits", "set", "A1", "max_open_orders=3", "--by", "ops", "--json").json
    run("kill-switch", "on", "symbol:AIG")
    run("trading-state", "A2", "halted")
    assert (first["version"], third["version"]) == (1, 3)
    assert (third["max_order_qty"], third["max_open_orders"], third["by"]) == ("500", 3, "ops")

    listed = run("rules", "list", "--json").json
    assert [(row["kind"], row["scope"], row["version"]) for row in listed] == [
        ("restricted", "default", 2),
        ("limits", "A1", 3),
        ("kill-switch", "symbol:AIG", 4),
        ("trading-state", "A2", 5),
    ]
    assert [row["scope"] for row in run("limits", "list", "--json").json] == ["A1"]
    controls = asyncio.run(read_controls(settings))
    assert controls.version == 5
    assert controls.kill_switch("A9", "AIG") is not None
    assert run("limits", "set", "A1", "max_order_qty=lots").code == UsageError.exit_code
    assert asyncio.run(read_controls(settings)).version == 5


def test_writers_at_the_same_time_get_different_versions(settings: Settings) -> None:
    """The lock in Redis lets one in after the other."""
    create(settings, CONTROLS)

    async def write_all() -> list[int]:
        changes = (publish_controls(settings, [Limits(scope=f"A{n}")]) for n in range(5))
        return [written.controls[0].version for written in await asyncio.gather(*changes)]

    assert sorted(asyncio.run(write_all())) == [1, 2, 3, 4, 5]


def test_without_redis_controls_are_set_with_a_warning(settings: Settings, run: Run) -> None:
    """Redis is no condition for stopping trading."""
    create(settings, CONTROLS)
    done = run("kill-switch", "on", redis_url=SecretStr(f"redis://{NOBODY}/0"))
    assert done.code == 0
    assert "there was no lock" in done.err
    assert asyncio.run(read_controls(settings)).kill_switch("A1", "AIG") is not None


def test_a_held_lock_stops_a_writer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that does not get the lock writes nothing and says so."""
    create(settings, CONTROLS)
    monkeypatch.setattr("connectors.kafka.controls.LOCK_WAIT_S", 0.1)

    async def write_against_a_lock() -> None:
        async with Cache(settings, timeout_s=PATIENT_S) as cache, cache.lock("controls", 10):
            await publish_controls(settings, [Limits()])

    with pytest.raises(OrderflowError, match="another writer"):
        asyncio.run(write_against_a_lock())
    assert asyncio.run(read_controls(settings)).version == 0


def test_seeding_happens_once(settings: Settings) -> None:
    """An empty topic gets the defaults; one that has any control stays as it is."""
    create(settings, CONTROLS)
    seeded = asyncio.run(seed_controls(settings))
    assert set(seeded.records) == {
        "limits:default", "routing:default", "instrument:AIG", "instrument:BAC", "instrument:IBM",
    }  # fmt: skip
    assert seeded.version == 5
    for symbol, price in SAMPLE_PRICES.items():
        instrument = seeded.instrument(symbol)
        assert instrument is not None
        assert instrument.reference_price == price
    assert asyncio.run(seed_controls(settings)) == seeded


def test_an_unreadable_control_takes_no_other_away(settings: Settings, run: Run) -> None:
    """Garbage on the controls topic is left out, with a warning."""
    create(settings, CONTROLS)
    run("limits", "set", "A1", "max_order_qty=500")
    write(settings, CONTROLS.name, b"nonsense", b'{"kind":"limits","scope":"A1","version":"x"}')
    controls = asyncio.run(read_controls(settings))
    assert controls.limits("A1").max_order_qty == Decimal(500)
    assert run("limits", "set", "A1", "max_order_qty=400", "--json").json["version"] == 2


# dead letters -----------------------------------------------------------------------------


def letter(code: str, offset: int, topic: str = "orders.requested.v1") -> list[tuple[str, bytes]]:
    """Return the headers of a dead letter."""
    return [
        ("__streams.errors.exception", b"ValidationError"),
        ("__streams.errors.message", b"qty: a float is not exact"),
        ("__streams.errors.topic", topic.encode()),
        ("__streams.errors.partition", b"3"),
        ("__streams.errors.offset", b"%d" % offset),
        ("orderflow.code", code.encode()),
        ("orderflow.agent", b"validator"),
        ("orderflow.attempt", b"0"),
        ("orderflow.timestamp", b"1795253400000"),
    ]


def test_dead_letters_are_listed_and_shown(settings: Settings, run: Run) -> None:
    """The list has place, source and reason; show has every header and the bytes, safely."""
    create(settings, DEAD_LETTERS)
    assert run("dead-letters", "list", "--json").json == []
    values = (b"\xff\xfe\x00", b'{"qty":1.5}', b"\x1b[2J")
    codes = ("BAD_JSON", "BAD_TYPE", "BAD_JSON")
    for number, (code, value) in enumerate(zip(codes, values, strict=True)):
        write(settings, DEAD_LETTERS.name, value, headers=letter(code, 40 + number))
    write(settings, DEAD_LETTERS.name, b"x", headers=letter("BAD_JSON", 50, "controls.v1"))

    listed = run("dead-letters", "list", "--json").json
    assert [(row["code"], row["source"]) for row in listed] == [
        ("BAD_JSON", "orders.requested.v1 3:40"),
        ("BAD_TYPE", "orders.requested.v1 3:41"),
        ("BAD_JSON", "orders.requested.v1 3:42"),
        ("BAD_JSON", "controls.v1 3:50"),
    ]
    assert {row["reason"] for row in listed} == {"qty: a float is not exact"}
    chosen = run(
        "dead-letters", "list", "--topic", "orders.requested", "--code", "BAD_JSON",
        "--limit", "1", "--json",
    ).json  # fmt: skip
    assert [row["at"] for row in chosen] == [listed[2]["at"]]

    typed = run("dead-letters", "list", "--code", "BAD_TYPE", "--json").json
    assert [row["at"] for row in typed] == [listed[1]["at"]]

    shown = run("dead-letters", "show", listed[0]["at"], "--json").json
    assert (shown["value"], shown["value_bytes"], shown["key"]) == ("0xfffe00", 3, "A1")
    assert shown["__streams.errors.offset"] == "40"
    assert run("dead-letters", "show", listed[2]["at"], "--json").json["value"] == "\\x1b[2J"
    assert "\x1b[2J" not in run("dead-letters", "show", listed[2]["at"]).out
    assert run("dead-letters", "show", "0:99").code == NotFoundError.exit_code
    assert run("dead-letters", "show", "0-9").code == UsageError.exit_code


# outages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("topics", "list"),
        ("topics", "apply"),
        ("produce", "ticks", "--sample"),
        ("tail", "orders.events"),
        ("limits", "list"),
        ("dead-letters", "list"),
    ],
)
def test_without_kafka_a_command_says_so_at_once(run: Run, arguments: tuple[str, ...]) -> None:
    """One message with advice in a moment, and none of the client library's own lines."""
    started = monotonic()
    failed = run(*arguments, kafka_bootstrap=NOBODY)
    assert failed.code == ServiceUnavailableError.exit_code
    assert monotonic() - started < 6
    first, advice = failed.err.splitlines()
    assert first == f"error: Kafka at {NOBODY} is not reachable: nothing answers there"
    assert "./orderflow up" in advice


def test_the_client_library_is_silent_on_standard_error(settings: Settings) -> None:
    """Where nothing set logging up, its lines do not reach the terminal (pytest would hide it)."""
    environment = os.environ | settings.model_copy(update={"kafka_bootstrap": NOBODY}).environment()
    failed = subprocess.run(
        [sys.executable, "-m", "streams", "limits", "list"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == ServiceUnavailableError.exit_code
    assert [line.split(":")[0] for line in failed.stderr.splitlines()][:1] == ["error"]
    assert len(failed.stderr.splitlines()) == 2


def test_the_cache_keeps_controls_and_prices(settings: Settings) -> None:
    """What was put comes back as models; a later value replaces the earlier one."""

    async def use() -> tuple[Any, Any]:
        async with Cache(settings, timeout_s=PATIENT_S) as cache:
            assert await cache.ping()
            assert await cache.get_controls() == []
            await cache.put_controls([Limits(scope="A1", version=1), Limits(version=2)])
            await cache.put_controls([Limits(scope="A1", version=3)])
            price = LastPrice(symbol="AIG", last=Decimal("49.05"), ts_event_ns=1, ts_init_ns=2)
            await cache.put_prices([price])
            await cache.put_prices([])
            return await cache.get_controls(), await cache.get_prices()

    controls, prices = asyncio.run(use())
    assert {(control.scope, control.version) for control in controls} == {("A1", 3), ("default", 2)}
    assert [price.last for price in prices] == [Decimal("49.05")]


def test_the_rate_bucket_refills(settings: Settings) -> None:
    """A full bucket gives its burst, then what flows in; one account does not take another's."""

    async def use() -> tuple[list[bool], bool, bool]:
        async with Cache(settings, timeout_s=PATIENT_S) as cache:
            limit: dict[str, Any] = {"per_s": Decimal(5), "burst": Decimal(3)}
            burst = [await cache.take("A1", **limit) for _ in range(4)]
            other = await cache.take("A2", 3, **limit)
            await asyncio.sleep(0.3)  # 1.5 tokens
            again = await cache.take("A1", **limit)
        return burst, other, again

    burst, other, again = asyncio.run(use())
    assert burst == [True, True, True, False]
    assert other
    assert again


def test_a_lock_is_held_by_one_and_ends(settings: Settings) -> None:
    """The second waits, and gets it when the first leaves or its time is over."""

    async def use() -> list[str]:
        async with Cache(settings, timeout_s=PATIENT_S) as cache:
            states: list[str] = []
            async with cache.lock("x", 5) as first, cache.lock("x", 5) as second:
                states += [first, second]
            async with cache.lock("x", 0.2) as third, cache.lock("x", 5, wait_s=1) as fourth:
                states += [third, fourth]
            async with cache.lock("x", 5) as fifth:
                states.append(fifth)
        return states

    assert asyncio.run(use()) == ["held", "busy", "held", "held", "held"]


def test_a_dead_redis_costs_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A thousand calls take no time, raise nothing and log one line."""
    away = settings.model_copy(update={"redis_url": SecretStr(f"redis://{NOBODY}/0")})

    async def use() -> list[Any]:
        async with Cache(away) as cache:
            answers: list[Any] = [await cache.get_controls(), await cache.get_prices()]
            answers.append(await cache.take("A1", per_s=Decimal(1), burst=Decimal(1)))
            async with cache.lock("x", 1, wait_s=1) as state:
                answers.append(state)
            for _ in range(1000):
                await cache.put_controls([Limits()])
        return answers

    started = monotonic()
    assert asyncio.run(use()) == [None, None, True, "away"]
    assert monotonic() - started < 1
    assert [r.name for r in caplog.records if "Redis" in r.message] == ["connectors.redis.cache"]


def test_a_silent_redis_costs_one_time_out(settings: Settings) -> None:
    """A server that accepts and never answers is given up after 50 ms."""

    async def use(port: int) -> float:
        url = SecretStr(f"redis://127.0.0.1:{port}/0")
        async with Cache(settings.model_copy(update={"redis_url": url})) as cache:
            started = monotonic()
            for _ in range(100):
                assert await cache.get_prices() is None
            return monotonic() - started

    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asyncio.run(use(silent.getsockname()[1])) < 0.5


def test_the_cache_finds_its_way_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After an outage the next call past `RETRY_S` reaches Redis again; it is one log line."""
    monkeypatch.setattr("connectors.redis.cache.RETRY_S", 0.05)

    async def use() -> list[tuple[bool, bool]]:
        async with Cache(settings, timeout_s=0.3) as cache:
            seen = [(await cache.ping(), cache.away)]
            with Redis.from_url(settings.redis_url.get_secret_value()) as operator:
                operator.client_pause(1200)  # milliseconds without an answer to anyone
            for _ in range(2):
                seen.append((await cache.ping(), cache.away))
                await asyncio.sleep(0.1)
            await asyncio.sleep(1)
            return [*seen, (await cache.ping(), cache.away)]

    assert asyncio.run(use()) == [(True, False), (False, True), (False, True), (True, False)]
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "Redis is away, going on without it: TimeoutError"
    ]
