"""Look-ahead: whether a run that is cut at a time wrote the same up to there as the whole run.

An agent that knows what is yet to come decides otherwise when that is not there. So each cut reads
its ticks anew, and nothing after the cut is even read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streams.domain.ticks import Tick
from streams.models.market import LastPrice
from streams.replay.engine import Engine, Input, Written
from streams.replay.journal import line_of
from streams.replay.world import Rules, World
from streams.settings import Settings

#: Gives the ticks before a time; None: all.
Open = Callable[[int | None], Iterable[Tick]]
#: Gives the engine of a run.
Make = Callable[["Recorder"], Engine]


@dataclass(frozen=True, slots=True)
class Cut:
    """What one cut showed. `difference` is the first record that differs, None if none does."""

    at_ns: int
    records: int
    difference: dict[str, Any] | None


class Recorder:
    """Keeps all that is written, as lines with their times."""

    def __init__(self, world: World | None = None) -> None:
        self.lines: list[tuple[int, bytes]] = []
        self._world = world

    def symbol(self, name: str) -> None:
        """Let a symbol be traded."""
        if self._world is not None:
            self._world.symbol(name)

    def priced(self, price: LastPrice) -> None:
        """Let the agents know a price."""
        if self._world is not None:
            self._world.priced(price)

    def written(self, what: Written) -> None:
        """Keep a record."""
        self.lines.append((what.now_ns, line_of(what)))

    def minute(self, now_ns: int) -> None:
        """Take no samples."""


def look_ahead(
    rules: Rules, settings: Settings, ticks: Open, inputs: Sequence[Input], cuts: Sequence[float]
) -> Iterator[Cut]:
    """Yield what each cut shows; cuts are shares of the run's time, between 0 and 1."""

    def run(until_ns: int | None) -> tuple[list[tuple[int, bytes]], tuple[int, int]]:
        world = World(rules, settings)
        recorder = Recorder(world)
        engine = world.engine(recorder)
        known = [one for one in inputs if until_ns is None or one.ts_ns < until_ns]
        engine.run(ticks(until_ns), known, until_ns=until_ns)
        return recorder.lines, engine.span

    whole, (first_ns, last_ns) = run(None)
    for share in cuts:
        at_ns = first_ns + round((last_ns - first_ns) * share)
        yield compared(whole, run(at_ns)[0], at_ns)


def compared(
    whole: Sequence[tuple[int, bytes]], cut: Sequence[tuple[int, bytes]], at_ns: int
) -> Cut:
    """Compare what two runs wrote before a time."""
    before = [line for ts, line in whole if ts < at_ns]
    after = [line for ts, line in cut if ts < at_ns]
    for place, (one, other) in enumerate(zip(before, after, strict=False)):
        if one != other:
            return Cut(at_ns, place, _shown(one, other))
    if len(before) != len(after):
        place = min(len(before), len(after))
        rest = (before[place:] or [b""])[0], (after[place:] or [b""])[0]
        return Cut(at_ns, place, _shown(*rest))
    return Cut(at_ns, len(before), None)


def _shown(whole: bytes, cut: bytes) -> dict[str, Any]:
    texts = whole.decode(errors="replace")[:600], cut.decode(errors="replace")[:600]
    return {"whole": texts[0] or "nothing", "cut": texts[1] or "nothing"}
