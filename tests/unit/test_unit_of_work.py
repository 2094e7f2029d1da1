"""The unit of work: whole records go in, a record that is taken back leaves nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.ports import Record
from streams.topics import DEAD_LETTERS, ORDERS_EVENTS, ORDERS_REQUESTED
from streams.transport.sender import size_of
from streams.transport.store import TablePartition
from streams.transport.unit import (
    MAX_CHANGES,
    MAX_DEAD_LETTER_BYTES,
    MAX_OUTPUTS,
    UnitOfWork,
    describe,
)
from tests.builders import NOW_NS, event, record, submit
from tests.transport import COUNTS, Count


@pytest.fixture
def state(tmp_path: Path) -> Iterator[TablePartition]:
    """Yield a table partition without keys."""
    partition = TablePartition(tmp_path / "0", COUNTS.adapter())
    yield partition
    partition.close()


def unit_on(state: TablePartition | None) -> UnitOfWork:
    """Return an empty unit."""
    return UnitOfWork("counter", 0, NOW_NS, state)


def test_a_step_sees_what_came_before_it(state: TablePartition) -> None:
    """Puts are visible at once, also in scans; deletions too."""
    unit = unit_on(state)
    unit.put("a", Count(n=1))
    unit.put("b", Count(n=2))
    unit.put("a", Count(n=3))
    unit.delete("b")
    assert (unit.get("a"), unit.get("b")) == (Count(n=3), None)
    assert list(unit.scan()) == [("a", Count(n=3))]


def test_a_record_that_is_taken_back_leaves_nothing(state: TablePartition) -> None:
    """Puts, deletions, outputs and dead letters of it alone are gone."""
    unit = unit_on(state)
    unit.begin()
    unit.put("kept", Count(n=1))
    unit.put("gone", Count(n=1))
    unit.emit(ORDERS_EVENTS, "A1", event("routed"))
    unit.finish(record(submit(), offset=4))

    unit.begin()
    unit.put("kept", Count(n=2))
    unit.put("kept", Count(n=3))
    unit.delete("gone")
    unit.put("new", Count(n=9))
    unit.emit(ORDERS_EVENTS, "A1", event("accepted"))
    unit.dead_letter(record(submit(), offset=5), "CODE", "text")
    unit.roll_back()

    assert list(unit.scan()) == [("gone", Count(n=1)), ("kept", Count(n=1))]
    assert sorted(unit.changed) == ["gone", "kept"]
    assert [topic.name for topic, _, _ in unit.outputs] == [ORDERS_EVENTS.name]
    assert unit.applied == {ORDERS_REQUESTED.name: 5}


def test_taking_back_restores_what_an_unpublished_unit_had(state: TablePartition) -> None:
    """The value before may be one that is still on its way to Kafka."""
    earlier = unit_on(state)
    earlier.put("a", Count(n=1))
    unit = unit_on(state)
    unit.begin()
    unit.delete("a")
    unit.roll_back()
    assert unit.get("a") == Count(n=1)


def test_an_output_goes_by_its_own_key_or_another() -> None:
    """The partition key decides the partition, the record keeps its key."""
    unit = unit_on(None)
    unit.emit(ORDERS_EVENTS, "A1", event("routed"))
    unit.emit(ORDERS_EVENTS, "A1|o1", event("routed"), partition_key="A1")
    assert [(by, out.key) for _, by, out in unit.outputs] == [(b"A1", b"A1"), (b"A1", b"A1|o1")]


def test_an_agent_without_a_table_is_told_so() -> None:
    """A clear error, not an attribute of None."""
    with pytest.raises(LookupError, match="agent counter has no table"):
        unit_on(None).get("a")


@pytest.mark.parametrize(
    ("changes", "outputs", "full", "reason"),
    [
        (MAX_CHANGES - 1, 0, False, "one key below the bound"),
        (MAX_CHANGES, 0, True, "as many keys as allowed"),
        (0, MAX_OUTPUTS - 1, False, "one output below the bound"),
        (0, MAX_OUTPUTS, True, "as many outputs as allowed"),
    ],
)
def test_a_large_unit_is_published_early(
    state: TablePartition, changes: int, outputs: int, full: bool, reason: str
) -> None:
    """Distinct keys count, and outputs."""
    unit = unit_on(state)
    for number in range(changes):
        unit.put(str(number), Count(n=1))
        unit.put(str(number), Count(n=2))
    for _ in range(outputs):
        unit.emit(ORDERS_EVENTS, "A1", event("routed"))
    assert unit.is_full() is full


# --- dead letters ---------------------------------------------------------------------------


def bad(**fields: Any) -> Record:
    """Return a record that no one can use."""
    given = {"key": b"A1", "value": None, "raw": b"\xff?", "headers": ()} | fields
    return Record("orders.requested.v1", 3, 17, timestamp_ms=5, **given)


def letter(source: Record) -> Any:
    """Return the dead letter of a record."""
    unit = unit_on(None)
    unit.dead_letter(source, "BAD_JSON", "no JSON")
    ((topic, by, out),) = unit.outputs
    assert (topic, by) == (DEAD_LETTERS, out.key or b"")
    return out


def test_a_dead_letter_is_the_record_and_the_reason() -> None:
    """Bytes as they came; KIP-1034's header names and ours."""
    out = letter(bad())
    assert (out.key, out.value) == (b"A1", b"\xff?")
    assert dict(out.headers) == {
        "__streams.errors.exception": b"BAD_JSON",
        "__streams.errors.message": b"no JSON",
        "__streams.errors.topic": b"orders.requested.v1",
        "__streams.errors.partition": b"3",
        "__streams.errors.offset": b"17",
        "orderflow.code": b"BAD_JSON",
        "orderflow.agent": b"counter",
        "orderflow.attempt": b"0",
        "orderflow.timestamp": b"5",
    }


def test_a_dead_letter_keeps_the_records_own_headers_but_none_that_pose_as_ours() -> None:
    """Each of our names stands once, so every reader takes the same value."""
    own = [("trace", b"\xff"), ("empty", b""), ("trace", b"2")]
    posing = [("orderflow.code", b"FAKE"), ("__streams.errors.topic", b"fake")]
    headers = letter(bad(headers=(*own, *posing))).headers
    assert headers[: len(own)] == own
    names = [name for name, _ in headers[len(own) :]]
    assert len(names) == len(set(names))
    assert dict(headers)["orderflow.code"] == b"BAD_JSON"


HUGE = b"x" * 999_900


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (bad(raw=HUGE), "a value that fills its topic"),
        (bad(key=HUGE), "a key that does"),
        (bad(headers=[("h", HUGE)]), "a header that does"),
        (bad(headers=[("h", HUGE)], key=None), "the same without a key"),
    ],
)
def test_a_record_without_room_for_the_reason_is_cut(source: Record, reason: str) -> None:
    """It still fits the topic; the header tells how large it was."""
    out = letter(source)
    assert size_of(*out) < 1_000_000 - 2_000
    assert int(dict(out.headers)["orderflow.cut"]) > MAX_DEAD_LETTER_BYTES
    assert (source.key or b"").startswith(out.key or b"")
    assert (source.raw or b"").startswith(out.value)


def test_a_large_record_that_fits_is_not_cut() -> None:
    """300 kB, a value that is refused before it is parsed."""
    out = letter(bad(raw=b"x" * 300_000))
    assert (out.value, "orderflow.cut" in dict(out.headers)) == (b"x" * 300_000, False)


def test_an_error_is_described_in_a_line() -> None:
    """Its kind, its text and where it was raised."""
    with pytest.raises(KeyError) as caught:
        _raise()
    assert describe(caught.value).startswith("KeyError: 'x' at test_unit_of_work.py:")


def _raise() -> None:
    raise KeyError("x")
