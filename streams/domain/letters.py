"""A dead letter: where its record came from, what became of it, and how it is sent again.

Header names are those of KIP-1034 (Kafka Streams) for what and where, ours (`orderflow.*`) for
the code, the agent, the attempt and the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from streams.models.dead_letters import Action, HandledLetter

MESSAGE = "__streams.errors.message"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
CODE = "orderflow.code"
AGENT = "orderflow.agent"
ATTEMPT = "orderflow.attempt"
REDRIVE = "orderflow.redrive"
CUT = "orderflow.cut"
OURS = ("__streams.errors.", "orderflow.")

#: A record that failed after so many redrives is not sent again.
MAX_ATTEMPTS = 3

Headers = list[tuple[str, bytes]]
#: Topic (registry name), partition and offset of the record that a letter holds.
Source = tuple[str, int, int]


class State(StrEnum):
    """What became of a dead letter."""

    OPEN = "open"
    RETRIED = "retried"
    DISCARDED = "discarded"
    GAVE_UP = "gave up"


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of the dead letters, as it lies there."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def place(self) -> str:
        """Return where it lies: `partition:offset`."""
        return f"{self.partition}:{self.offset}"

    def text(self, name: str) -> str:
        """Return a header as text; of a repeated name the last one."""
        return next((v or b"" for n, v in reversed(self.headers) if n == name), b"").decode(
            errors="replace"
        )

    def number(self, name: str) -> int | None:
        """Return a header that is a whole number, or None."""
        text = self.text(name)
        return int(text) if text.isdecimal() and len(text) < 20 else None

    @property
    def source(self) -> Source:
        """Return where its record came from; a letter that does not say stands for itself."""
        topic, partition, offset = self.text(TOPIC), self.number(PARTITION), self.number(OFFSET)
        if not topic or partition is None or offset is None:
            return "", self.partition, self.offset
        return topic, partition, offset

    @property
    def attempt(self) -> int:
        """Return after how many redrives this letter was written."""
        return self.number(ATTEMPT) or 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A dead letter's record as it goes out again."""

    letter: Letter
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    def partition(self, count: int) -> int | None:
        """Return the partition it came from, of `count`; None if that was wrong: its key decides.

        The key would not always do: some topics go by a part of it.
        """
        _, partition, _ = self.letter.source
        wrong = self.letter.text(CODE) == "WRONG_PARTITION" or partition >= count
        return None if wrong else partition


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; an absent condition holds for all. Times are Kafka's, in ms."""

    places: frozenset[str] = field(default_factory=frozenset)
    topic: str | None = None
    code: str | None = None
    agent: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Return whether a letter is meant; `since_ms` counts, `until_ms` does not any more."""
        return (
            (not self.places or letter.place in self.places)
            and self.topic in (None, letter.text(TOPIC))
            and self.code in (None, letter.text(CODE))
            and self.agent in (None, letter.text(AGENT))
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
            and (self.until_ms is None or letter.timestamp_ms < self.until_ms)
        )


def state_of(letter: Letter, marks: Mapping[Source, HandledLetter]) -> State:
    """Return what became of a letter; `marks` holds the newest mark of each source record."""
    mark = marks.get(letter.source)
    if mark is not None and mark.action is Action.RETRIED:
        return State.RETRIED
    if mark is not None and mark.action is Action.DISCARDED:
        return State.DISCARDED
    return State.GAVE_UP if letter.attempt >= MAX_ATTEMPTS else State.OPEN


def refusal(letter: Letter, state: State, topics: Mapping[str, object]) -> tuple[str, str] | None:
    """Return why a letter cannot be sent again, as code and text; None if it can."""
    if state is State.GAVE_UP:
        return "TOO_MANY_REDRIVES", f"it failed again after {letter.attempt} redrives; it stays"
    if state is State.DISCARDED:
        return "DISCARDED", "it was discarded"
    if letter.source[0] not in topics:
        return "UNKNOWN_SOURCE", f"it does not say which topic of ours it is from: {letter.source}"
    if letter.text(CUT):
        return "CUT", f"the letter holds a part of {letter.text(CUT)} bytes; send the record anew"
    return None


def outgoing(letter: Letter) -> Outgoing:
    """Return a letter's record as it came, with the number of its attempt and the letter."""
    own = [header for header in letter.headers if not header[0].startswith(OURS)]
    ours = [(ATTEMPT, b"%d" % (letter.attempt + 1)), (REDRIVE, letter.place.encode())]
    # A letter cannot tell a null value from an empty one; the code can.
    value = None if letter.text(CODE) == "TOMBSTONE" else letter.value
    return Outgoing(letter, letter.source[0], letter.key, value, own + ours)
