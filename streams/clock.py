"""The one place that reads a clock; everywhere else "now" is an argument."""

import time


def now_ns() -> int:
    """Return the time as nanoseconds since 1970-01-01 UTC."""
    return time.time_ns()


def monotonic() -> float:
    """Return seconds of a clock that never steps back, for durations and time-outs."""
    return time.monotonic()
