"""Where a replay's ticks and orders come from: files, the history, the live topics."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from streams.cli.inputs import BadRow, Item, Row, format_of, order_item, read_rows, tick_item
from streams.cli.tick_source import TickSource
from streams.domain.ticks import Tick
from streams.errors import UsageError
from streams.replay.columns import Odd, is_known, ticks_of
from streams.replay.engine import Input
from streams.replay.stored import LATEST_NS, clickhouse_ticks, kafka_ticks
from streams.settings import Settings

Kind = Literal["file", "clickhouse", "kafka"]
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "ticks_sample.parquet"


@dataclass(frozen=True, slots=True)
class Source:
    """Ticks from `from_ns` until before `to_ns`; no symbols: all."""

    kind: Kind
    files: tuple[str, ...] = ()
    from_ns: int = 0
    to_ns: int = LATEST_NS
    symbols: tuple[str, ...] = ()

    def ticks(self, settings: Settings) -> Iterator[Tick]:
        """Yield the ticks, in the order of the market."""
        if self.kind == "clickhouse":
            return clickhouse_ticks(settings, self.from_ns, self.to_ns, self.symbols)
        if self.kind == "kafka":
            return kafka_ticks(settings, self.from_ns, self.to_ns, self.symbols)
        return self._of_files()

    def named(self) -> str:
        """Return the source in words: names of files without their folders."""
        return self.kind if self.kind != "file" else ", ".join(Path(one).name for one in self.files)

    def _of_files(self) -> Iterator[Tick]:
        each = [file_ticks(file) for file in self.files]
        ticks = each[0] if len(each) == 1 else heapq.merge(*each, key=lambda one: one.ts_event_ns)
        if self.from_ns == 0 and self.to_ns == LATEST_NS and not self.symbols:
            return ticks
        return self._wanted(ticks)

    def _wanted(self, ticks: Iterable[Tick]) -> Iterator[Tick]:
        first, end, symbols = self.from_ns, self.to_ns, self.symbols
        for tick in ticks:
            if first <= tick.ts_event_ns < end and (not symbols or tick.symbol in symbols):
                yield tick


def file_ticks(file: str) -> Iterator[Tick]:
    """Return a file's ticks as they stand in it; raises UsageError for a row that is none."""
    if format_of(file, None) == "parquet" and Path(file).is_file():
        import pyarrow.parquet as pq

        if is_known(pq.read_schema(file)):
            return chain.from_iterable(_batches(file))
    return _by_rows(TickSource([file]).items())


def _batches(file: str) -> Iterator[Iterable[Tick]]:
    """Yield the ticks of a Parquet file, many at once."""
    for batch in ticks_of(file):
        if isinstance(batch, Odd):
            rows = (Row(number, "parquet", cells=cells) for number, cells in batch.rows)
            yield _by_rows(tick_item(row, file=file) for row in rows)
        else:
            yield batch


def _by_rows(items: Iterable[Item | BadRow]) -> Iterator[Tick]:
    for item in items:
        if isinstance(item, BadRow):
            raise UsageError(
                f"{item.file}:{item.number}: {item.reason}; a replay takes no file with such rows,"
                " import it and replay the history"
            )
        yield item.message  # type: ignore[misc]


def orders_of(file: str) -> list[Input]:
    """Return the commands of a file; raises UsageError for a row that is none, or has no time."""
    found: list[Input] = []
    for row in read_rows(file, format_of(file, None)):
        item = row if isinstance(row, BadRow) else order_item(row)
        if isinstance(item, BadRow):
            raise UsageError(f"{file}:{item.number}: {item.reason}")
        ts, command = item.ts_event_ns, item.message
        if ts is None or command is None:
            raise UsageError(f"{file}:{item.number}: a recorded order needs `ts_event_ns`")
        found.append(Input(ts, item.topic, item.key or "", command))
    return found
