"""What became of a dead letter, and what goes out when it is sent again."""

from typing import Any

import pytest

from streams.domain.letters import (
    MAX_ATTEMPTS,
    Filter,
    Letter,
    State,
    outgoing,
    refusal,
    state_of,
)
from streams.models.dead_letters import Action, HandledLetter
from streams.ports import Record
from streams.topics import BY_NAME
from streams.transport.unit import UnitOfWork

SOURCE = ("orders.requested.v1", 3, 17)
OWN = (("trace", b"\xff"), ("trace", b"2"), ("empty", b""))


def letter(code: str = "BAD_JSON", attempt: str = "0", **changes: Any) -> Letter:
    """Return a letter of the record at `SOURCE`."""
    headers = {
        "__streams.errors.topic": SOURCE[0],
        "__streams.errors.partition": str(SOURCE[1]),
        "__streams.errors.offset": str(SOURCE[2]),
        "orderflow.code": code,
        "orderflow.agent": "validator",
        "orderflow.attempt": attempt,
    } | changes.pop("headers", {})
    told = tuple((name, value.encode()) for name, value in headers.items())
    given = {"partition": 1, "offset": 9, "timestamp_ms": 50, "key": b"A1", "value": b"?"}
    return Letter(**{**given, **changes}, headers=OWN + told)


def mark(action: Action) -> HandledLetter:
    """Return what was done with a letter."""
    return HandledLetter(letter="1:9", action=action, attempt=1, ts_event_ns=1)


@pytest.mark.parametrize(
    ("action", "attempt", "state", "reason"),
    [
        (None, "0", State.OPEN, "nothing was done"),
        (Action.RETRYING, "0", State.OPEN, "a sender died before it sent"),
        (Action.RETRIED, "0", State.RETRIED, "sent again"),
        (Action.DISCARDED, "3", State.DISCARDED, "given up by a person"),
        (None, "2", State.OPEN, "one attempt is left"),
        (None, "3", State.GAVE_UP, "none is left"),
        (Action.RETRYING, "3", State.GAVE_UP, "nor is one begun"),
        (None, "many", State.OPEN, "a header that is no number"),
    ],
)
def test_the_state_of_a_letter(
    action: Action | None, attempt: str, state: State, reason: str
) -> None:
    """It follows from the newest mark of its source record, and from the attempts."""
    marks = {} if action is None else {SOURCE: mark(action)}
    assert state_of(letter(attempt=attempt), marks) is state


@pytest.mark.parametrize(
    ("given", "state", "code"),
    [
        (letter(), State.OPEN, None),
        (letter(attempt="3"), State.GAVE_UP, "TOO_MANY_REDRIVES"),
        (letter(), State.DISCARDED, "DISCARDED"),
        (letter(headers={"__streams.errors.topic": "elsewhere"}), State.OPEN, "UNKNOWN_SOURCE"),
        (letter(headers={"__streams.errors.offset": "x"}), State.OPEN, "UNKNOWN_SOURCE"),
        (letter(headers={"orderflow.cut": "999999"}), State.OPEN, "CUT"),
    ],
)
def test_what_cannot_be_sent_again(given: Letter, state: State, code: str | None) -> None:
    """With the reason, as a code."""
    found = refusal(given, state, BY_NAME)
    assert (found[0] if found else None) == code


def test_a_record_goes_out_as_it_came_with_its_attempt_and_its_letter() -> None:
    """Its own headers in order; of ours the two that tell the next letter about this one."""
    out = outgoing(letter(attempt="1"))
    assert (out.topic, out.key, out.value) == (SOURCE[0], b"A1", b"?")
    assert out.headers == [
        *OWN,
        ("orderflow.attempt", b"2"),
        ("orderflow.redrive", b"1:9"),
    ]
    assert outgoing(letter("TOMBSTONE", value=b"")).value is None
    assert outgoing(letter("BAD_JSON", value=b"")).value == b""


def test_it_goes_to_its_partition_or_its_keys_if_that_was_wrong() -> None:
    """Topics of accounts' parts go by a part of the key, so the key alone would not do."""
    assert outgoing(letter()).partition(4) == 3
    assert outgoing(letter("WRONG_PARTITION")).partition(4) is None
    assert outgoing(letter()).partition(2) is None


def test_a_redriven_record_that_fails_again_says_so() -> None:
    """The next letter counts on; who is no number of ours counts from nothing."""
    out = outgoing(letter(attempt="1"))

    def told(headers: Any) -> dict[str, bytes]:
        unit = UnitOfWork("validator", 0, 0, None)
        source = Record(SOURCE[0], 3, 40, b"A1", None, b"?", 0, headers)
        unit.dead_letter(source, "BAD_JSON", "no JSON")
        return dict(unit.outputs[0][2].headers)

    again = told(out.headers)
    assert (again["orderflow.attempt"], again["orderflow.redrive"]) == (b"2", b"1:9")
    assert again["trace"] == b"2"
    for attempt, place in ((b"-1", b"1:9"), (b"2", b"x"), (b"9999", b"1:9"), (b"", b"")):
        headers = [("orderflow.attempt", attempt), ("orderflow.redrive", place)]
        forged = told(headers)
        assert (forged["orderflow.attempt"], "orderflow.redrive" in forged) == (b"0", False)


def test_filters_take_what_fulfils_all_conditions() -> None:
    """From `since` on, before `until`."""
    assert Filter().takes(letter())
    assert Filter(frozenset({"1:9"}), SOURCE[0], "BAD_JSON", "validator", 50, 51).takes(letter())
    assert not Filter(frozenset({"1:8"})).takes(letter())
    assert not Filter(topic="x").takes(letter())
    assert not Filter(code="x").takes(letter())
    assert not Filter(agent="x").takes(letter())
    assert not Filter(since_ms=51).takes(letter())
    assert not Filter(until_ms=50).takes(letter())


def test_a_letter_without_a_source_stands_for_itself() -> None:
    """Somebody else's record on the topic."""
    assert letter(headers={"__streams.errors.topic": ""}).source == ("", 1, 9)
    assert letter().source == SOURCE
    assert letter(attempt=str(MAX_ATTEMPTS)).attempt == MAX_ATTEMPTS
