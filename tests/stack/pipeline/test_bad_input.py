"""What a plain client can put on a topic, and where each of it ends. Nothing stops the pipeline.

Two exits only: a `rejected` event, where the sender can be told, or one dead letter, where the
bytes cannot be trusted. Each row is produced to the running pipeline, and a good order after it.
"""

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import MessageSizeTooLargeError

from streams.models.controls import Limits
from streams.transport.codec import MAX_VALUE_BYTES
from tests.stack.pipeline.running import (
    CONTROLS,
    DEAD,
    EVENTS,
    LAST,
    QUOTES,
    REQUESTED,
    TRADES,
    Pipeline,
    command,
    tick_of,
)
from tests.stack.plain import Place, Raw, produce, read, wait_until

ROOT = Path(__file__).parents[3]
_numbers = itertools.count(1)
_bytes = random.Random(5).randbytes

#: Account `X1` lies on partition 3 of 4, as every Kafka client finds.
HOME, ELSEWHERE = 3, 1


def order(**fields: Any) -> bytes:
    """Return an order of account X1 with some fields changed; `...` leaves one out."""
    given = {"account": "X1", "order_id": f"x{next(_numbers)}", "qty": "1"}
    whole = json.loads(command(**given).value or b"") | fields
    return json.dumps({key: value for key, value in whole.items() if value is not ...}).encode()


def unquoted(text: str) -> bytes:
    """Return an order whose quantity is this text, not in quotes."""
    return order(qty="QTY").replace(b'"QTY"', text.encode())


def keyed(value: bytes | None, key: bytes | None = b"X1", **rest: Any) -> Raw:
    """Return a record keyed by the account."""
    return Raw(value, key, **rest)


TO_DEAD_LETTERS = [
    (keyed(b"hello"), "BAD_JSON", "no JSON"),
    (keyed(b""), "BAD_JSON", "an empty value"),
    (keyed(order()[:-7]), "BAD_JSON", "truncated JSON"),
    (keyed(order().replace(b"AIG", b"\xff\xfe\xfd")), "BAD_JSON", "no UTF-8"),
    (keyed(order(order_id="ID").replace(b"ID", b"\\ud800")), "BAD_JSON", "half a surrogate pair"),
    (keyed(unquoted("9" * 5_000)), "BAD_JSON", "a number of 5,000 digits"),
    (keyed(b"[1, 2]"), "BAD_SCHEMA", "a list for a root"),
    (keyed(order(side=...)), "BAD_SCHEMA", "a missing field"),
    (keyed(order(colour="red")), "BAD_SCHEMA", "an unknown field"),
    (keyed(order(command="repeat")), "BAD_SCHEMA", "an unknown command"),
    (keyed(order(side="long")), "BAD_TYPE", "an unknown side"),
    (keyed(order(side=1)), "BAD_TYPE", "a number for a side"),
    (keyed(order(qty=1.5)), "BAD_TYPE", "a float for a quantity"),
    (keyed(order(qty=True)), "BAD_TYPE", "a boolean for a quantity"),
    (keyed(unquoted("NaN")), "BAD_TYPE", "a bare NaN"),
    (keyed(unquoted("Infinity")), "BAD_TYPE", "a bare Infinity"),
    (keyed(unquoted("1e999")), "BAD_TYPE", "a bare 1e999"),
    (keyed(order(qty="NaN")), "BAD_NUMBER", "NaN"),
    (keyed(order(qty="Infinity")), "BAD_NUMBER", "Infinity"),
    (keyed(order(qty="1e999")), "BAD_NUMBER", "1e999"),
    (keyed(order(qty="9" * 40)), "BAD_NUMBER", "40 digits"),
    (keyed(order(order_id="a" * 10_000)), "BAD_ID", "an id of 10,000 characters"),
    (keyed(order(order_id="a\x1b[2J\nb")), "BAD_ID", "an id with control characters"),
    (keyed(order(order_id="a\u202eb")), "BAD_ID", "an id that reverses text"),
    (keyed(order(symbol="no such")), "BAD_ID", "a symbol with a space"),
    (keyed(b"[" * 100_000), "TOO_COMPLEX", "nested 100,000 deep"),
    (keyed(b'{"a":' * 5_000 + b"1" + b"}" * 5_000), "TOO_COMPLEX", "objects nested 5,000 deep"),
    (keyed(_bytes(300_000)), "TOO_LARGE", "300 kB"),
    (keyed(_bytes(999_800)), "TOO_LARGE", "as much as the topic takes"),
    (keyed(order(schema_version=2)), "SCHEMA_FUTURE", "a version to come"),
    (keyed(None), "TOMBSTONE", "a null value"),
    (keyed(order(), None, partition=HOME), "NO_KEY", "no key"),
    (keyed(order(), b""), "KEY_MISMATCH", "an empty key"),
    (keyed(order(), b"A1"), "KEY_MISMATCH", "the key of another account"),
    (keyed(order(), b"\xff\xfe"), "KEY_MISMATCH", "a key that is no text"),
    (keyed(order(), partition=ELSEWHERE), "WRONG_PARTITION", "another partition than the key's"),
    (
        keyed(b"?", headers=[("orderflow.code", b"FAKE"), ("own", b"\xff"), ("nothing", b"")]),
        "BAD_JSON",
        "headers that pose as ours",
    ),
]


@pytest.mark.parametrize(
    ("bad", "code", "reason"), TO_DEAD_LETTERS, ids=[row[2] for row in TO_DEAD_LETTERS]
)
async def test_what_cannot_be_trusted_is_one_dead_letter(
    pipeline: Pipeline, bad: Raw, code: str, reason: str
) -> None:
    """Its bytes as they came, the reason in the headers; a good order after it goes through."""
    (place,) = await produce(pipeline.settings, REQUESTED, [bad])
    await goes_through(pipeline, "X1")
    letter = await the_letter(pipeline, REQUESTED, place)
    told = dict(letter.headers)
    assert told["orderflow.code"] == told["__streams.errors.exception"] == code.encode()
    assert told["orderflow.agent"] == b"validator"
    assert 0 < len(told["__streams.errors.message"]) <= 1_000
    own = [header for header in bad.headers if header[0] != "orderflow.code"]
    if len(bad.value or b"") < 900_000:
        assert (letter.key, letter.value) == (bad.key, bad.value or b"")
        assert list(letter.headers[: len(own)]) == own
    else:
        assert (bad.value or b"").startswith(letter.value or b"?")
        assert int(told["orderflow.cut"]) > len(bad.value or b"")


TO_REJECTIONS = [
    ({"qty": "-5"}, "INVALID_QTY", "a negative quantity"),
    ({"qty": "0"}, "INVALID_QTY", "a quantity of nothing"),
    ({"qty": "-0"}, "INVALID_QTY", "a negative nothing"),
    ({"limit_price": "-1"}, "INVALID_PRICE", "a negative price"),
    ({"limit_price": "49.001"}, "TICK_SIZE", "a price between two ticks"),
    ({"symbol": "NOPE"}, "UNKNOWN_SYMBOL", "an unknown symbol"),
    ({"ts_event_ns": 4_000_000_000_000_000_000}, "CLOCK_SKEW", "an order from the future"),
    ({"type": "market"}, "PRICE_NOT_ALLOWED", "a market order with a limit"),
    ({"qty": "1" + "0" * 18}, "MAX_ORDER_QTY", "a quintillion shares"),
]


@pytest.mark.parametrize(
    ("fields", "code", "reason"), TO_REJECTIONS, ids=[row[2] for row in TO_REJECTIONS]
)
async def test_what_can_be_answered_is_rejected(
    pipeline: Pipeline, fields: dict[str, Any], code: str, reason: str
) -> None:
    """The id can be read, so the sender is told; no dead letter."""
    raw = order(**fields)
    (place,) = await produce(pipeline.settings, REQUESTED, [keyed(raw)])
    await goes_through(pipeline, "X1")
    order_id = json.loads(raw)["order_id"]
    assert (await pipeline.refusal("X1", order_id))["code"] == code
    assert await letters(pipeline, REQUESTED, place) == []


async def test_a_known_id_is_a_duplicate_and_other_content_a_conflict(pipeline: Pipeline) -> None:
    """The first order stands; nothing is executed twice."""
    raw = order(order_id="twice")
    await produce(pipeline.settings, REQUESTED, [keyed(raw), keyed(raw)])
    await produce(pipeline.settings, REQUESTED, [keyed(order(order_id="twice", qty="7"))])
    await goes_through(pipeline, "X1")
    events = [json.loads(record.value or b"") for record in await read(pipeline.settings, EVENTS)]
    said = [event for event in events if event["order_id"] == "twice"]
    again = [
        event.get("refusal", {}).get("code") for event in said if event["event"] == "duplicate"
    ]
    assert again == [None, "CONFLICT"]
    assert [event["event"] for event in said].count("approved") == 1
    assert (await pipeline.view("/accounts/X1/orders/twice")).body["terms"]["qty"] == "1"


async def test_ten_megabytes_are_refused_by_kafka(pipeline: Pipeline) -> None:
    """The sender hears of it; nothing comes to the pipeline."""
    with pytest.raises(MessageSizeTooLargeError):
        await produce(pipeline.settings, REQUESTED, [keyed(_bytes(10_000_000))])
    await goes_through(pipeline, "X1")


async def test_a_burst_of_large_records_does_not_stop_the_pipeline(pipeline: Pipeline) -> None:
    """Together they are more than a record batch of the dead letters may be."""
    burst = [keyed(_bytes(333_000)) for _ in range(9)]
    assert all(len(bad.value or b"") > MAX_VALUE_BYTES for bad in burst)
    places = await produce(pipeline.settings, REQUESTED, burst)
    await goes_through(pipeline, "X1")
    for place, bad in zip(places, burst, strict=True):
        assert (await the_letter(pipeline, REQUESTED, place)).value == bad.value


async def test_bad_ticks_move_no_price(pipeline: Pipeline) -> None:
    """Impossible prices, crossed sides, times to come: the next good tick counts."""
    await pipeline.instruments("TCK")
    await pipeline.quote("TCK", "49.00", "49.10")
    far = time.time_ns() + 10 * 86_400 * 10**9
    bad = (
        (TRADES, tick_of("TCK", price="-1", size="100")),
        (TRADES, tick_of("TCK", price="0", size="100")),
        (TRADES, tick_of("TCK", price="49", size="0")),
        (TRADES, tick_of("TCK", price="1", size="100", suspicious=True)),
        (TRADES, tick_of("TCK", price="1", size="100", ts_event_ns=far)),
        (QUOTES, tick_of("TCK", bid="1", ask="2", ts_event_ns=far)),
        (QUOTES, tick_of("TCK", bid="-1", bid_size="1")),
    )
    for name, tick in bad:
        (place,) = await produce(pipeline.settings, name, [tick])
        assert await letters(pipeline, name, place) == []
    await produce(pipeline.settings, TRADES, [tick_of("TCK", price="49.05", size="100")])
    last = await wait_until(
        partial(newest_price, pipeline, "TCK"), lambda price: price.get("last") == "49.05"
    )
    assert (last.get("bid"), last.get("ask")) in (("49.00", "49.10"), (None, "49.10"))
    await goes_through(pipeline, "X2", symbol="TCK")


@pytest.mark.parametrize(
    ("tick", "code"),
    [
        (Raw(b"{", b"AIG"), "BAD_JSON"),
        (Raw(b'{"symbol": "AIG"}', b"AIG"), "BAD_SCHEMA"),
        (tick_of("AIG", price=49.05, size="1"), "BAD_TYPE"),
        (tick_of("AIG", price="NaN", size="1"), "BAD_NUMBER"),
    ],
)
async def test_a_tick_that_cannot_be_read_is_one_dead_letter(
    pipeline: Pipeline, tick: Raw, code: str
) -> None:
    """Two agents read ticks; one reports."""
    (place,) = await produce(pipeline.settings, TRADES, [tick])
    letter = await the_letter(pipeline, TRADES, place)
    assert dict(letter.headers)["orderflow.code"] == code.encode()


async def newest_price(pipeline: Pipeline, symbol: str) -> dict[str, Any]:
    """Return the newest price of a symbol as it was published."""
    found = [record.value for record in await read(pipeline.settings, LAST) if record.value]
    prices = [price for price in map(json.loads, found) if price["symbol"] == symbol]
    return dict(prices[-1]) if prices else {}


@pytest.mark.parametrize("value", [b"{}", b"hello", None, b'{"kind": "limits", "version": "x"}'])
async def test_bad_controls_leave_the_last_good_ones_in_force(
    pipeline: Pipeline, value: bytes | None
) -> None:
    """A record nobody can read under the key of an account's limits: they still hold."""
    (good,) = await pipeline.controls(Limits(scope="X3", max_order_qty=3))
    (place,) = await produce(pipeline.settings, CONTROLS, [Raw(value, b"limits:X3")])
    assert (await the_letter(pipeline, CONTROLS, place)).value == (value or b"")
    (later,) = await pipeline.controls(Limits(scope="X4"))
    order_id = f"c{later.version}"
    await pipeline.order(account="X3", order_id=order_id, qty="4")
    refusal = await pipeline.refusal("X3", order_id)
    assert (refusal["limit"], refusal["rules_version"]) == ("3", good.version)


async def test_the_command_line_lists_every_dead_letter(pipeline: Pipeline) -> None:
    """As many as there are on the topic, with code and place; in ClickHouse as well."""
    (place,) = await produce(pipeline.settings, REQUESTED, [keyed(b"for the list")])
    await the_letter(pipeline, REQUESTED, place)
    stored = await read(pipeline.settings, DEAD)
    command_line = (sys.executable, "-m", "streams", "dead-letters", "list", "--json")
    done = await asyncio.to_thread(
        subprocess.run,
        (*command_line, "--all", "--limit", "10000"),
        cwd=ROOT,
        env={**os.environ, **pipeline.settings.environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = {row["at"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {f"{one.partition}:{one.offset}" for one in stored}
    for record in stored:
        told, row = dict(record.headers), rows[f"{record.partition}:{record.offset}"]
        assert row["code"] == told["orderflow.code"].decode()
        assert row["source"] == (
            f"{told['__streams.errors.topic'].decode()} "
            f"{told['__streams.errors.partition'].decode()}:"
            f"{told['__streams.errors.offset'].decode()}"
        )


async def goes_through(pipeline: Pipeline, account: str, **fields: Any) -> None:
    """Send a good order, and return when it is at the venue."""
    order_id = f"good{next(_numbers)}"
    resting = {"limit_price": f"45.{next(_numbers) % 100:02}"}
    await pipeline.order(account=account, order_id=order_id, **resting | fields)
    await pipeline.order_view(account, order_id, "accepted")


async def letters(
    pipeline: Pipeline, name: str, place: Place
) -> "list[ConsumerRecord[bytes, bytes]]":
    """Return the dead letters of one record."""
    source = (name.encode(), b"%d" % place.partition, b"%d" % place.offset)
    keys = ("topic", "partition", "offset")
    found = []
    for record in await read(pipeline.settings, DEAD):
        told = dict(record.headers)
        if tuple(told[f"__streams.errors.{key}"] for key in keys) == source:
            found.append(record)
    return found


async def the_letter(pipeline: Pipeline, name: str, place: Place) -> "ConsumerRecord[bytes, bytes]":
    """Return the one dead letter of a record."""
    (letter,) = await wait_until(partial(letters, pipeline, name, place), lambda found: found)
    return letter
