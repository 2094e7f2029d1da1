"""Decoding answers with a message or with a reason; it never raises, whatever comes in."""

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from streams.models.orders import Submit
from streams.ports import Malformed
from streams.topics import MARKET_QUOTES, ORDERS_REQUESTED, TOPICS
from streams.transport.codec import MAX_VALUE_BYTES, Batch, decode, encode
from tests.builders import NOW_NS, submit, trade

GOOD = {
    "command": "submit",
    "order_id": "o1",
    "account": "A1",
    "symbol": "AIG",
    "side": "buy",
    "type": "limit",
    "qty": "10",
    "limit_price": "50.00",
}


def order(**fields: Any) -> bytes:
    """Return a good order with some fields changed; `...` leaves one out."""
    return json.dumps({k: v for k, v in (GOOD | fields).items() if v is not ...}).encode()


def bare(text: str) -> bytes:
    """Return an order whose quantity is this text, unquoted."""
    return order(qty="QTY").replace(b'"QTY"', text.encode())


BAD = [
    (b"", "BAD_JSON", "nothing at all"),
    (b"hello", "BAD_JSON", "no JSON"),
    (order()[:-5], "BAD_JSON", "truncated"),
    (b"\xef\xbb\xbf" + order(), "BAD_JSON", "a byte order mark"),
    (order().replace(b"AIG", b"\xff\xfe\xfd"), "BAD_JSON", "no UTF-8"),
    (order(order_id="ID").replace(b"ID", b"\\ud800"), "BAD_JSON", "half a surrogate pair"),
    (bare("9" * 5_000), "BAD_JSON", "a number of 5,000 digits"),
    (b"[" * 100_000, "TOO_COMPLEX", "nested 100,000 deep"),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "TOO_COMPLEX", "objects nested 5,000 deep"),
    (b" " * (MAX_VALUE_BYTES + 1), "TOO_LARGE", "a byte more than allowed"),
    (b"[1]", "BAD_SCHEMA", "a list"),
    (b"null", "BAD_SCHEMA", "null"),
    (b'"text"', "BAD_SCHEMA", "text"),
    (order(side=...), "BAD_SCHEMA", "a field is missing"),
    (order(colour="red"), "BAD_SCHEMA", "a field too many"),
    (order(command="repeat"), "BAD_SCHEMA", "an unknown command"),
    (order(command=...), "BAD_SCHEMA", "no command"),
    (order(schema_version="1"), "BAD_SCHEMA", "the version as text"),
    (order(schema_version=0), "BAD_SCHEMA", "a version before the first"),
    (order(schema_version=2), "SCHEMA_FUTURE", "a version to come"),
    (order(side="long"), "BAD_TYPE", "an unknown choice"),
    (order(side=1), "BAD_TYPE", "a number for a choice"),
    (order(qty=1.5), "BAD_TYPE", "a float has lost digits already"),
    (order(qty=True), "BAD_TYPE", "a boolean is no number"),
    (order(qty=[]), "BAD_TYPE", "a list is no number"),
    (order(ts_event_ns=1.5), "BAD_TYPE", "half a nanosecond"),
    (bare("NaN"), "BAD_TYPE", "NaN, which JSON does not have"),
    (bare("Infinity"), "BAD_TYPE", "Infinity likewise"),
    (bare("1e999"), "BAD_TYPE", "a float beyond floats"),
    (order(qty="NaN"), "BAD_NUMBER", "NaN as text"),
    (order(qty="-Infinity"), "BAD_NUMBER", "infinity as text"),
    (order(qty="1e999"), "BAD_NUMBER", "more than 28 digits"),
    (order(qty="ten"), "BAD_NUMBER", "a word"),
    (order(limit_price="50.0000000001"), "BAD_NUMBER", "10 places"),
    (order(ts_event_ns=-1), "BAD_NUMBER", "before 1970"),
    (order(ts_event_ns=2**63), "BAD_NUMBER", "after 2262"),
    (order(order_id=""), "BAD_ID", "an empty id"),
    (order(order_id="a" * 65), "BAD_ID", "an id of 65 characters"),
    (order(order_id="a\x00b"), "BAD_ID", "a control character"),
    (order(order_id="abc\n"), "BAD_ID", "a line feed at the end"),
    (order(order_id="a\u202eb"), "BAD_ID", "text direction reversed"),
    (order(order_id="a|b"), "BAD_ID", "our own separator"),
    (order(account="\u0410"), "BAD_ID", "a Cyrillic letter that looks like A"),
    (order(symbol="aig"), "BAD_ID", "a symbol in small letters"),
]


@pytest.mark.parametrize(("raw", "code", "reason"), BAD, ids=[row[2] for row in BAD])
def test_what_cannot_be_used_has_a_code(raw: bytes, code: str, reason: str) -> None:
    """Nothing is raised, coerced or guessed; the text is short enough for a header."""
    found = decode(ORDERS_REQUESTED.adapter, raw)
    assert isinstance(found, Malformed)
    assert found.code == code, found.error
    assert 0 < len(found.error) <= 300


GOOD_ROWS = [
    (order(), "as it should be"),
    (order(qty=10), "an integer is exact"),
    (order(qty="1e1"), "an exponent within 28 digits"),
    (b" \n" + order() + b"\t ", "white space around"),
    (order(schema_version=1), "the version said"),
    (order(side="buy").replace(b'"o1"', b'"o\\u0031"'), "an escape"),
]


@pytest.mark.parametrize(("raw", "reason"), GOOD_ROWS, ids=[row[1] for row in GOOD_ROWS])
def test_what_says_the_same_is_the_same(raw: bytes, reason: str) -> None:
    """Each is an order for ten."""
    found = decode(ORDERS_REQUESTED.adapter, raw)
    assert isinstance(found, Submit)
    assert (found.order_id, found.qty) == ("o1", 10)


def test_ticks_may_have_fields_of_their_source() -> None:
    """Orders are strict, ticks are not."""
    raw = b'{"symbol": "AIG", "ts_event_ns": 1, "bid": "49", "tape": "A"}'
    assert not isinstance(decode(MARKET_QUOTES.adapter, raw), Malformed)


@given(st.binary(max_size=200))
def test_random_bytes_never_raise(raw: bytes) -> None:
    """On every topic that has a message."""
    for topic in TOPICS:
        if topic.value is not None:
            assert isinstance(decode(topic.adapter, raw), Malformed | BaseModel)


def test_mutated_orders_never_raise() -> None:
    """Bytes of a good order changed, cut out and doubled, 5,000 times."""
    chance, good = random.Random(7), order()
    for _ in range(5_000):
        raw = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw))
            raw[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        assert isinstance(decode(ORDERS_REQUESTED.adapter, bytes(raw)), Malformed | BaseModel)


@pytest.mark.parametrize("message", [submit(), submit(qty="0.000000001"), trade()])
def test_what_is_encoded_is_decoded(message: BaseModel) -> None:
    """The same message comes back; fields that are None are not on the wire."""
    raw = encode(message)
    assert type(message).model_validate_json(raw) == message
    assert b"null" not in raw


class Careless(BaseModel):
    """A record whose None is not its default."""

    price: str | None
    note: str | None = None


class Around(BaseModel):
    """One with such a record in it."""

    parts: tuple[Careless, ...]


@pytest.mark.parametrize("message", [Careless(price=None), Around(parts=(Careless(price=None),))])
def test_a_none_that_is_no_default_is_on_the_wire(message: BaseModel) -> None:
    """Left out, it could not be read again: a table would lose the record at its next restore."""
    assert type(message).model_validate_json(encode(message)) == message


def test_a_batch_knows_its_ends_and_decodes_once() -> None:
    """Offsets may have holes, where compaction or transactions left them."""
    raw = [fetched(7, order()), fetched(9, b"?"), fetched(10, None)]
    batch = Batch("ns.orders", "orders", 3, raw, ORDERS_REQUESTED.adapter)
    assert (batch.first, batch.end) == (7, 11)
    good, bad, null = batch.records
    assert [record.offset for record in batch.records] == [7, 9, 10]
    assert isinstance(good.value, Submit)
    assert (bad.value.code, bad.raw) == ("BAD_JSON", b"?")
    assert (null.value, null.raw) == (None, None)
    assert batch.records[0] is good


def test_a_topic_without_a_message_keeps_its_bytes() -> None:
    """The dead letters are what they were."""
    batch = Batch("dead", "dead", 0, [fetched(0, b"\xff")], None)
    assert batch.records[0].value == b"\xff"


def fetched(offset: int, value: bytes | None) -> Any:
    """Return a record as the client fetched it."""
    return SimpleNamespace(
        offset=offset, key=b"A1", value=value, timestamp=NOW_NS // 1_000_000, headers=()
    )
