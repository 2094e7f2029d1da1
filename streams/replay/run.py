"""One replay from options to a folder: records, report, page, and how it was run."""

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from streams import clock
from streams.domain.ticks import Tick
from streams.errors import NotFoundError
from streams.models.market import LastPrice
from streams.replay.engine import CHUNK, Engine, Input, Written
from streams.replay.journal import Hash, Journal
from streams.replay.observer import Observer
from streams.replay.report import report_of
from streams.replay.world import Rules, World
from streams.settings import Settings

#: Progress is told of every so many ticks.
TELL_EVERY = 20_000


@dataclass(frozen=True, slots=True)
class Result:
    """What a replay came to: the report, what the charts show, and how long it took."""

    report: dict[str, Any]
    observer: Observer
    seconds: float
    ticks: int


@dataclass(frozen=True, slots=True)
class Going:
    """How a run goes on; none of it changes what comes out.

    `pace`: see `Engine.run`. `progress` is told now and then how far the engine is.
    """

    chunk: int = CHUNK
    pace: Callable[[int], int] | None = None
    progress: Callable[[Engine], None] | None = None


class _Watchers:
    """Everybody who looks at a run."""

    def __init__(self, world: World, journal: Journal | None) -> None:
        self.observer = Observer(world.services.prices.get, world.services.calendar)
        self.hash = Hash()
        self._world = world
        self._journal = journal

    def symbol(self, name: str) -> None:
        """Let a symbol be traded."""
        self._world.symbol(name)

    def priced(self, price: LastPrice) -> None:
        """Let the agents know a price."""
        self._world.priced(price)
        self.observer.priced(price)

    def written(self, what: Written) -> None:
        """Take a record."""
        self.hash.add(what)
        self.observer.written(what)
        if self._journal is not None:
            self._journal.add(what)

    def minute(self, now_ns: int) -> None:
        """Take a sample."""
        self.observer.minute(now_ns)


def replay(
    ticks: Iterable[Tick],
    rules: Rules,
    settings: Settings,
    *,
    inputs: Iterable[Input] = (),
    folder: Path | None = None,
    named: dict[str, Any] | None = None,
    going: "Going | None" = None,
) -> Result:
    """Run a replay; its records go to a folder if there is one.

    `named` says in the report what was run: the source, the rules.

    `result_hash` of the report is SHA-256 over all records in their order and over the report.
    """
    going = going or Going()
    world = World(rules, settings)
    journal = None if folder is None else Journal(folder / "records")
    watchers = _Watchers(world, journal)
    engine = world.engine(watchers, going.chunk)
    began = clock.monotonic()
    with _few_collections():
        engine.run(_told(ticks, engine, going.progress), inputs, pace=going.pace)
    seconds = clock.monotonic() - began
    if journal is not None:
        journal.close()
    if not engine.first_ns:
        raise NotFoundError(
            "there is no tick and no order in that span; try another --from or --to"
        )
    return _result(world, watchers, engine, seconds, named or {})


def _result(
    world: World, watchers: _Watchers, engine: Engine, seconds: float, named: dict[str, Any]
) -> Result:
    observer = watchers.observer
    observer.end(engine.now_ns)
    report = report_of(observer, _cash(world, observer), engine.span, engine.ticks)
    report = {"run": named, **report, "records_hash": watchers.hash.with_text(b"")}
    report["result_hash"] = watchers.hash.with_text(canonical(report))
    return Result(report, observer, seconds, engine.ticks)


def canonical(report: dict[str, Any]) -> bytes:
    """Return the report as bytes that are the same for the same report."""
    return json.dumps(report, sort_keys=True, separators=(",", ":")).encode()


def _cash(world: World, observer: Observer) -> Decimal:
    """Return the starting cash of the accounts that sent orders; of one if none did."""
    accounts = sorted({order.account for order in observer.orders.values()}) or ["default"]
    controls = world.services.controls
    return sum((controls.limits(account).starting_cash for account in accounts), Decimal(0))


def _told(
    ticks: Iterable[Tick], engine: Engine, progress: Callable[[Engine], None] | None
) -> Iterable[Tick]:
    return ticks if progress is None else _telling(ticks, engine, progress)


def _telling(
    ticks: Iterable[Tick], engine: Engine, progress: Callable[[Engine], None]
) -> Iterator[Tick]:
    for number, tick in enumerate(ticks):
        if not number % TELL_EVERY:
            progress(engine)
        yield tick


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the collector of cycles run rarely: ticks and messages make none."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
