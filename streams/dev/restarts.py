"""Decide when a process that ended is started again: soon at first, seldom in a crash loop."""

from dataclasses import dataclass, field

FIRST_DELAY_S = 1.0
MAX_DELAY_S = 30.0
LOOP_DEATHS = 5
LOOP_WINDOW_S = 60.0


@dataclass
class Restarts:
    """The deaths of one process; times are seconds of a clock that never steps back."""

    deaths: list[float] = field(default_factory=list)
    count: int = 0

    def died(self, now_s: float) -> float:
        """Record a death and return the seconds to wait before the next start.

        The wait doubles from `FIRST_DELAY_S` up to `MAX_DELAY_S` with each death of the last
        `LOOP_WINDOW_S` seconds, and is `MAX_DELAY_S` in a crash loop.
        """
        self.count += 1
        self.deaths = [one for one in self.deaths if now_s - one < LOOP_WINDOW_S] + [now_s]
        if self.in_crash_loop(now_s):
            return MAX_DELAY_S
        return float(min(FIRST_DELAY_S * 2 ** (len(self.deaths) - 1), MAX_DELAY_S))

    def in_crash_loop(self, now_s: float) -> bool:
        """Tell whether it died `LOOP_DEATHS` times within `LOOP_WINDOW_S` seconds."""
        recent = [one for one in self.deaths if now_s - one < LOOP_WINDOW_S]
        return len(recent) >= LOOP_DEATHS
