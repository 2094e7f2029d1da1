"""What leaves a table, when, and what stays of it.

A table finds what is due by records that sort first, `~day|…`: days are New York dates, so a
sweep reads the oldest and stops at today. What left is in the history (ClickHouse has every
record of every topic); a `Gone` stays under its key for a while, so that what comes for it later
is known for what it is.
"""

from datetime import date, timedelta
from functools import lru_cache
from typing import Literal

from streams.models.base import Message, Part

DAY_NS = 86_400 * 1_000_000_000
#: Closed orders stay at least this long.
KEEP_DAYS = 7
#: What left is known for this long: longer than any topic keeps its records.
GONE_DAYS = 120
#: Executions are known for this long by their own time.
EXECUTION_DAYS = 30
#: Begins the keys of what says when something is due.
DUE = "~"


class Expiry(Message):
    """Says that an order's records go when the day of its key has come. Key `~day|order key`."""

    kind: Literal["expiry"] = "expiry"
    order: str


class Leaving(Part):
    """Says the same of the records that one batch wrote. Key `~day|time of the batch`."""

    kind: Literal["leaving"] = "leaving"
    keys: tuple[str, ...]


class Gone(Part):
    """Stands where an order was: the day it left, and the digest of what it asked for."""

    kind: Literal["gone"] = "gone"
    day: str
    content: str = ""


@lru_cache(maxsize=64)
def day_after(day: str, days: int) -> str:
    """Return the date so many days after one."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def due_key(day: str, name: str) -> str:
    """Return the key of what says that something is due after a day."""
    return f"{DUE}{day}|{name}"
