"""Decide when a process that ended is started again: soon at first, seldom in a crash loop."""

from dataclasses import dataclass, field
from itertools import pairwise

FIRST_DELAY_S = 1.0
MAX_DELAY_S = 30.0
LOOP_DEATHS = 5
LOOP_WINDOW_S = 60.0
#: A worker that a watchdog ends lives for a minute each time; five such lives in a row are a crash
#: loop as well, though there is no need to wait longer between them.
SHORT_LIFE_S = 120.0


@dataclass
class Restarts:
    """The deaths of one process; times are seconds of a clock that never steps back."""

    deaths: list[float] = field(default_factory=list)
    count: int = 0

    def died(self, now_s: float) -> float:
        """Record a death and return the seconds to wait before the next start.

        The wait doubles from `FIRST_DELAY_S` up to `MAX_DELAY_S` with each death of the last
        `LOOP_WINDOW_S` seconds, and is `MAX_DELAY_S` after the `LOOP_DEATHS`th of them.
        """
        self.count += 1
        self.deaths = [*self.deaths[1 - LOOP_DEATHS :], now_s]
        recent = sum(now_s - one < LOOP_WINDOW_S for one in self.deaths)
        if recent >= LOOP_DEATHS:
            return MAX_DELAY_S
        return float(min(FIRST_DELAY_S * 2 ** (recent - 1), MAX_DELAY_S))

    def in_crash_loop(self, now_s: float) -> bool:
        """Tell whether it died `LOOP_DEATHS` times in a row, each after a short life."""
        ends = [*self.deaths, now_s]
        short = all(after - before < SHORT_LIFE_S for before, after in pairwise(ends))
        return short and len(self.deaths) >= LOOP_DEATHS
