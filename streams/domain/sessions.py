"""Trading sessions of a market, and which part of one a moment falls in."""

from dataclasses import dataclass
from typing import Literal, Protocol

Phase = Literal["pre", "regular", "post", "closed"]


@dataclass(frozen=True, slots=True)
class Session:
    """One day's session, in nanoseconds UTC; each bound belongs to the part that it opens."""

    date: str
    pre_ns: int
    open_ns: int
    close_ns: int
    post_ns: int

    def phase(self, ts_ns: int) -> Phase:
        """Return the part of the session that `ts_ns` falls in."""
        if self.pre_ns <= ts_ns < self.open_ns:
            return "pre"
        if self.open_ns <= ts_ns < self.close_ns:
            return "regular"
        if self.close_ns <= ts_ns < self.post_ns:
            return "post"
        return "closed"

    def shifted(self, shift_ns: int) -> "Session":
        """Return the same session in market time that is shifted against the calendar."""
        return Session(
            self.date,
            self.pre_ns + shift_ns,
            self.open_ns + shift_ns,
            self.close_ns + shift_ns,
            self.post_ns + shift_ns,
        )


class Calendar(Protocol):
    """The sessions of one market."""

    def session_at(self, ts_ns: int, shift_ns: int = 0) -> Session:
        """Return the session that `ts_ns` falls in, or else the next one.

        `shift_ns` is that of the `session-shift` control; times in and out are event times.
        """
