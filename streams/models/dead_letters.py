"""What was done with a dead letter."""

from enum import unique

from pydantic import Field

from streams.models.base import Message, Nanos, Word


@unique
class Action(Word):
    """What was done; `retrying` is the announcement that comes before `retried`."""

    RETRYING = "retrying"
    RETRIED = "retried"
    DISCARDED = "discarded"


class HandledLetter(Message):
    """A dead letter that was sent again or given up. Record key: `letter`.

    What holds for a letter holds for every letter of the same source record.
    """

    letter: str = Field(
        pattern=r"^\d{1,6}:\d{1,18}$", description="Where the letter lies: `partition:offset`."
    )
    action: Action
    attempt: int = Field(ge=0, description="Which attempt the sending was; 0 where none was made.")
    by: str = Field("", max_length=200)
    reason: str = Field("", max_length=1000)
    ts_event_ns: Nanos
