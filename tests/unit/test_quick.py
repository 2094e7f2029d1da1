"""Trades decoded many at once are what their model makes of each; what it refuses is refused."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.models.market import Trade
from streams.ports import Malformed
from streams.topics import MARKET_TRADES
from streams.transport import codec, quick
from streams.transport.codec import Batch, decode, encode
from streams.transport.journal import DECODER, MAX_DEATHS, Journal
from tests.builders import NOW_NS, trade

GOOD: dict[str, Any] = {
    "symbol": "AIG",
    "ts_event_ns": NOW_NS,
    "seq": 7,
    "exchange": "N",
    "conditions": "@ TI",
    "price": "50.01",
    "size": "100",
    "suspicious": False,
}


def tick(**fields: Any) -> bytes:
    """Return a trade with some fields changed; `...` leaves one out."""
    return json.dumps({k: v for k, v in (GOOD | fields).items() if v is not ...}).encode()


def batch_of(*raw: bytes | None) -> Batch:
    """Return a batch of these records."""
    records: list[Any] = [
        SimpleNamespace(offset=n, key=b"AIG", value=value, timestamp=1, headers=())
        for n, value in enumerate(raw)
    ]
    return Batch("t", MARKET_TRADES.name, 0, records, MARKET_TRADES.adapter)


def decoded(*raw: bytes | None) -> list[Any]:
    """Return what a batch makes of these records."""
    return [record.value for record in batch_of(*raw).records]


def judged(raw: bytes | None) -> Any:
    """Return what the model makes of one."""
    return None if raw is None else decode(MARKET_TRADES.adapter, raw)


def test_a_plain_trade_needs_no_model() -> None:
    """All the usual ones are decoded at once, each field of the right type."""
    (found,) = quick.trades([tick()])
    assert found == judged(tick())
    assert encode(found) == encode(judged(tick()))
    assert {type(v) for v in vars(found).values()} == {
        type(v) for v in vars(judged(tick())).values()
    }


ODD = [
    (tick(price=5), "an integer price"),
    (tick(price=5.5), "a float price"),
    (tick(price="1_000"), "an underscore"),
    (tick(price=" 5 "), "spaces"),
    (tick(price="1E3"), "an exponent"),
    (tick(price="NaN"), "no number"),
    (tick(price="0.0000000001"), "ten places"),
    (tick(price=True), "a boolean"),
    (tick(price=None), "null"),
    (tick(price=...), "no price"),
    (tick(size={"a": 1}), "an object"),
    (tick(size=["1"]), "a list"),
    (tick(symbol="aig"), "a small symbol"),
    (tick(symbol=7), "a number as symbol"),
    (tick(ts_event_ns="1"), "a time as text"),
    (tick(ts_event_ns=-1), "a negative time"),
    (tick(ts_event_ns=2**63), "a time past 2262"),
    (tick(ts_event_ns=2**70), "a time past everything"),
    (tick(ts_event_ns=1.0), "a float time"),
    (tick(ts_event_ns=True), "a boolean time"),
    (tick(seq="7"), "a number as text"),
    (tick(seq=-1), "a negative number"),
    (tick(seq=...), "no number"),
    (tick(exchange="123456789"), "a long exchange"),
    (tick(exchange=...), "no exchange"),
    (tick(conditions=None), "null conditions"),
    (tick(suspicious="yes"), "a boolean as text"),
    (tick(suspicious=1), "a boolean as number"),
    (tick(schema_version=1), "the version"),
    (tick(schema_version=True), "the version as boolean"),
    (tick(schema_version=2), "a version of the future"),
    (tick(colour="red"), "a field of the source's own"),
    (tick(correction_of=3), "a correction"),
    (tick(correction_of=3, canceled=True), "a cancel"),
    (tick(canceled=1), "canceled as a number"),
    (tick()[:-1], "truncated"),
    (tick() + b",0," + tick(), "two in one"),
    (tick() + b",\n0,\n" + tick(), "two in one, as they are joined"),
    (b"{}", "an empty object"),
    (b"0", "a number"),
    (b"", "nothing"),
    (None, "a null value"),
    (b" " * 300_000 + tick(), "too large"),
    (tick(exchange="]"), "a bracket"),
    (tick().replace(b"AIG", b"\xff"), "no UTF-8"),
]


@pytest.mark.parametrize(("raw", "reason"), ODD, ids=[row[1] for row in ODD])
def test_whatever_is_odd_goes_to_the_model(raw: bytes | None, reason: str) -> None:
    """Alone, and between others, which are none the worse for it."""
    assert reason
    wanted = judged(raw)
    assert decoded(raw) == [wanted]
    assert decoded(tick(), raw, tick(seq=8)) == [judged(tick()), wanted, judged(tick(seq=8))]


MERGING = [
    (b'{"symbol":"AIG","k":', tick()[:-1] + b"}}", "an object across two records"),
    (b'{"k":"', b'",' + tick()[1:], "a text across two records"),
    (b'{"k":[{}', b"{}]," + tick()[1:], "a list across two records"),
    (tick()[:-1], tick()[1:], "members across two records"),
]


@pytest.mark.parametrize(
    ("one", "two"), [row[:2] for row in MERGING], ids=[row[2] for row in MERGING]
)
def test_no_record_reaches_into_the_next(one: bytes, two: bytes) -> None:
    """Though the joined text be JSON, and a third record make up the number."""
    both = tick() + b",\n0,\n" + tick()
    for raws in ((one, two), (one, two, both), (both, one, two)):
        assert decoded(*raws) == [judged(raw) for raw in raws]
        assert all(isinstance(value, Malformed) for value in decoded(one, two, both)[:2])


@settings(deadline=None)
@given(st.lists(st.sampled_from([raw for raw, _ in ODD] + [tick()] * 40), min_size=1, max_size=30))
def test_batches_are_judged_record_by_record(raws: list[bytes | None]) -> None:
    """Any mixture."""
    assert decoded(*raws) == [judged(raw) for raw in raws]


def test_words_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of ever new prices fills no memory."""
    monkeypatch.setattr(quick, "MAX_WORDS", 50)
    chance = random.Random(7)
    ticks = [trade(price=str(chance.randrange(1, 10**9)), seq=n) for n in range(500)]
    assert quick.trades([encode(one) for one in ticks]) == ticks
    assert len(quick._decimals.known) <= 50
    assert all(isinstance(one, Trade) for one in ticks)


def test_a_record_that_ends_the_process_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are named while they are decoded at once; after a death each is looked at by itself."""
    poison = tick(exchange="X")

    def ending(value: Any, decide: Any, *before: Any) -> Any:
        if value == poison or (isinstance(value, list) and poison in value):
            raise KeyboardInterrupt  # as if the process ended: nothing is tidied up
        return decide(*before, value)

    at_once = quick.trades
    monkeypatch.setitem(codec.QUICK, MARKET_TRADES.name, lambda raw: ending(raw, at_once))
    monkeypatch.setattr(codec, "decode", lambda adapter, raw: ending(raw, decode, adapter))
    raws, named = [tick(), tick(seq=8), poison, tick(seq=9)], []
    for _ in range(MAX_DEATHS):
        journal = Journal()
        journal.attach(tmp_path)
        named.append([(one.agent, one.first, one.end) for one in journal.suspects])
        with pytest.raises(KeyboardInterrupt):
            batch_of(*raws).decoded(journal)
    assert named == [[], [(DECODER, 0, 4)], [(DECODER, 2, 3)]]
    journal = Journal()
    journal.attach(tmp_path)
    found = [record.value for record in batch_of(*raws).decoded(journal)]
    assert [isinstance(value, Malformed) for value in found] == [False, False, True, False]
    assert found[2].code == "CRASHED_WORKER"
