"""How `produce` moves times and how fast it goes: the options `--shift` and `--speed`."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streams.clock import monotonic, now_ns
from streams.errors import UsageError

UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
    "w": 7 * 86_400 * 10**9,
}
AHEAD_S = 0.02  # records due within this time go out at once, so that they share a batch


def parse_duration_ns(text: str) -> int:
    """Return a duration like `90s`, `-5m` or `2922d` in nanoseconds."""
    match = re.fullmatch(r"([+-]?\d{1,18})(ns|us|ms|s|m|h|d|w)", text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is no duration; write a whole number and one of "
            f"{', '.join(UNITS_NS)}, like 90s or -5m"
        )
    return int(match[1]) * UNITS_NS[match[2]]


def parse_shift(text: str) -> int | None:
    """Return the shift in nanoseconds, 0 for `none`, None for `now`: known at the first record."""
    if text == "now":
        return None
    return 0 if text == "none" else parse_duration_ns(text)


def parse_speed(text: str) -> float | None:
    """Return the factor of `10x`, or None for `max`: as fast as Kafka takes it."""
    if text == "max":
        return None
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)x", text)
    if match is None or float(match[1]) == 0:
        raise UsageError(f"{text!r} is no speed; write max, 1x, 10x or 0.5x")
    return float(match[1])


def shift_to_now(ts_event_ns: int) -> int:
    """Return the shift that makes this moment now."""
    return now_ns() - ts_event_ns


@dataclass(slots=True)
class Pace:
    """Holds records back until they are due: event time since the first one, over `factor`."""

    factor: float | None
    _first_ns: int | None = None
    _started: float = 0.0

    async def wait(self, ts_event_ns: int | None, flush: Callable[[], Awaitable[None]]) -> None:
        """Return when the record is due; `flush` is awaited before a wait, never without one."""
        if self.factor is None or ts_event_ns is None:
            return
        if self._first_ns is None:
            self._first_ns, self._started = ts_event_ns, monotonic()
            return
        due = self._started + (ts_event_ns - self._first_ns) / 1e9 / self.factor
        if due - monotonic() > AHEAD_S:
            await flush()
            await asyncio.sleep(max(0.0, due - monotonic()))
