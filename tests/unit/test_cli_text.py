"""What the commands print and take as text: summaries, places, times, durations, settings."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

import tables
from connectors.kafka.reader import LastRecords, SinceTime, Stored
from streams.cli.config import MASK, setting_rows, settings_markdown
from streams.cli.dead_letters import SHOWN_BYTES, parse_place, shown
from streams.cli.pace import Pace, parse_duration_ns, parse_shift, parse_speed
from streams.cli.summary import matches, safe_text, summary
from streams.cli.tail import json_line, json_value, parse_start, parse_where, text_line
from streams.clock import monotonic
from streams.errors import UsageError
from streams.partitioner import partition_of
from streams.settings import Settings
from tables.base import TableSpec
from tables.registry import TABLES
from tests.builders import submit


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "(null)"),
        (submit().model_dump_json(exclude_none=True).encode(),
         "submit o1 buy qty=10 AIG type=limit limit_price=50.00"),
        (b'{"event":"fill","order_id":"o1","fill":{"last_qty":"5","last_px":"49.05"}}',
         "fill o1 last_qty=5 last_px=49.05"),
        (b'{"some":"thing"}', '{"some":"thing"}'),  # no field we know: as it is
        (b"\xff\x00", "0xff00"),
        (b"a\x1b[31mred\n", "a\\x1b[31mred\\n"),  # must not steer the terminal
        (b'{"order_id":"\\u001b[2J"}', "\\x1b[2J"),
        (b'{"order_id":"\\ud800"}', "\\ud800"),  # a lone surrogate
        (b"x" * 500, "x" * 159 + "…"),
    ],
)  # fmt: skip
def test_summary_is_one_safe_line(value: bytes | None, text: str) -> None:
    """A record is said in one short line, whatever its bytes."""
    assert summary(value) == text


def test_where_compares_as_text() -> None:
    """Numbers, booleans and parts are compared with what the user typed."""
    message: Any = {"symbol": "AIG", "version": 3, "engaged": True, "terms": {"qty": "10"}}
    assert matches(message, {"symbol": "AIG", "version": "3", "engaged": "true", "terms.qty": "10"})
    assert not matches(message, {"symbol": "AIG", "version": "4"})
    assert not matches(message, {"symbol.x": "AIG"})
    assert not matches(None, {"symbol": "AIG"})
    assert parse_where(["symbol=AIG", "text=a=b"]) == {"symbol": "AIG", "text": "a=b"}
    with pytest.raises(UsageError, match="symbol=AIG"):
        parse_where(["symbol"])


@pytest.fixture
def new_york() -> Iterator[None]:
    """Let the machine be in New York."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("beginning", "beginning"),
        ("end", "end"),
        ("-10", LastRecords(10)),
        ("2026-11-21T09:30:00Z", SinceTime(1_795_253_400_000)),
        ("2026-11-21T09:30", SinceTime(1_795_253_400_000)),  # UTC where no zone is named
        ("2026-11-21T04:30:00.500-05:00", SinceTime(1_795_253_400_500)),
    ],
)
@pytest.mark.usefixtures("new_york")
def test_where_to_begin(text: str, start: object) -> None:
    """--from takes words, counts and times, whatever the machine's zone."""
    assert parse_start(text) == start


@pytest.mark.parametrize("text", ["", "10", "- 5", "yesterday", "-x"])
def test_where_not_to_begin(text: str) -> None:
    """Anything else is an error that names what is taken."""
    with pytest.raises(UsageError, match="neither beginning"):
        parse_start(text)


def test_lines_of_tail() -> None:
    """People get time, place, key and summary; programs a JSON object with the decoded value."""
    record = Stored("t", 2, 7, 1_795_253_400_000, b"A1", b'{"symbol":"AIG"}', (("h", b"\x00"),))
    assert text_line(record) == "2026-11-21T09:30:00.000Z  2:7        A1               AIG"
    assert json_line(record) == (
        '{"topic": "t", "partition": 2, "offset": 7, "timestamp_ms": 1795253400000, "key": "A1", '
        '"headers": {"h": "\\\\x00"}, "value": {"symbol": "AIG"}}'
    )
    assert json_value(b'{"x": NaN}') == '{"x": NaN}'  # not JSON, so text
    assert json_value(None) is None


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("90s", 90 * 10**9),
        ("-5m", -300 * 10**9),
        ("+1h", 3_600 * 10**9),
        ("4793d", 4793 * 86_400 * 10**9),
        ("250ms", 250 * 10**6),
    ],
)
def test_durations(text: str, ns: int) -> None:
    """A whole number and a unit."""
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "1.5s", "1y", "5 s"])
def test_no_durations(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(UsageError, match="is no duration"):
        parse_duration_ns(text)


def test_shift_and_speed() -> None:
    """`now` is known later, `none` is 0; `max` has no factor."""
    assert [parse_shift(text) for text in ("now", "none", "2s")] == [None, 0, 2 * 10**9]
    assert [parse_speed(text) for text in ("max", "1x", "0.5x", "10x")] == [None, 1.0, 0.5, 10.0]
    for text in ("fast", "0x", "-1x", "x", "1"):
        with pytest.raises(UsageError, match="is no speed"):
            parse_speed(text)


def test_pace_waits_for_event_time_and_flushes_before() -> None:
    """Half a second of events at 5x takes a tenth; near ones go without a wait or a flush."""
    flushes: list[float] = []

    async def flush() -> None:
        flushes.append(monotonic())

    async def run() -> float:
        pace, started = Pace(5.0), monotonic()
        for ts_ms in (1000, 1001, 1500):
            await pace.wait(ts_ms * 10**6, flush)
        await pace.wait(None, flush)
        return monotonic() - started

    assert 0.09 < asyncio.run(run()) < 0.5
    assert len(flushes) == 1


def test_config_names_the_origin_and_hides_secrets() -> None:
    """Each setting says where it came from; a secret that was set is never printed."""
    settings = Settings(
        namespace="x", partitions=8, clickhouse_password=SecretStr("p4ss"), web_port=7000
    )
    environment = {"ORDERFLOW_PARTITIONS": "8", "orderflow_clickhouse_password": "p4ss"}
    rows = {row["setting"]: row for row in setting_rows(settings, environment, {"web_port"})}
    assert {name: rows[name]["origin"] for name in
            ("namespace", "partitions", "web_port", "stack", "clickhouse_password")} == {
        "namespace": "option",
        "partitions": "environment",
        "web_port": "orderflow.toml",
        "stack": "default",
        "clickhouse_password": "environment",
    }  # fmt: skip
    assert rows["clickhouse_password"]["value"] == MASK
    assert "p4ss" not in str(rows)
    assert rows["redis_url"]["value"] == "redis://127.0.0.1:6379/0"  # the default is no secret


def test_settings_reference_has_every_setting() -> None:
    """The reference has a line for each setting, with its variable and meaning."""
    text = settings_markdown()
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` | `ORDERFLOW_{name.upper()}` |" in text
        assert field.description
    assert "`embedded`, `external`" in text
    assert "integer, ≥ 1, ≤ 512" in text


def test_dead_letter_places() -> None:
    """PARTITION:OFFSET, and nothing else."""
    assert parse_place("3:17") == (3, 17)
    for text in ("3", "3:", ":3", "a:b", "-1:5"):
        with pytest.raises(UsageError, match="PARTITION:OFFSET"):
            parse_place(text)


def test_dead_letter_bytes_are_safe_and_bounded() -> None:
    """Text stays text, bytes become hexadecimal, long values are cut with their size."""
    assert shown(None) is None
    assert shown(b'{"a": "\xc3\xa9"}') == '{"a": "é"}'
    assert shown(b"\xff\x01") == "0xff01"
    assert shown("é".encode() * SHOWN_BYTES) == "é" * (SHOWN_BYTES // 2) + "… (8192 bytes)"
    assert shown(b"a" + "é".encode() * SHOWN_BYTES) == "a" + "é" * 2047 + "… (8193 bytes)"
    long = shown(b"\xff" * 5000) or ""
    assert long == "0x" + "ff" * SHOWN_BYTES + "… (5000 bytes)"
    assert safe_text(b"tab\there") == "tab\\there"


@pytest.mark.parametrize(
    ("key", "hashed"),
    [  # from the Java client's UtilsTest.testMurmur2
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"abc", 479_470_107),
    ],
)
def test_partitions_are_those_of_the_java_client(key: bytes, hashed: int) -> None:
    """An account's partition is the same for every producer, in any language."""
    assert partition_of(key, 2**31) == hashed & 0x7FFFFFFF


def test_the_registry_has_every_table() -> None:
    """Each table that a module of `tables` defines gets its changelog created."""
    import importlib
    import pkgutil

    defined = {
        spec.name
        for module in pkgutil.iter_modules(tables.__path__, "tables.")
        for spec in vars(importlib.import_module(module.name)).values()
        if isinstance(spec, TableSpec)
    }
    assert defined == {table.name for table in TABLES}
