"""Files of ticks as records to produce: layouts told per file, rows checked on the way.

What `produce ticks` and `import` share. A row that is no tick, and one that a check refuses,
becomes a `BadRow` of its file and line; the rows after it go on, in the files after it too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from streams.cli.inputs import (
    STDIN,
    BadRow,
    Format,
    Item,
    Row,
    cells_of,
    format_of,
    read_rows,
    reason_of,
    tick_item,
)
from streams.domain.tick_checks import NOTED, SAYS, TickChecks, TickLimits
from streams.domain.tick_layouts import AS_IS, Plan, Reading, plan_for
from streams.domain.ticks import Tick
from streams.errors import NotFoundError
from streams.models.market import Trade


class Checked:
    """The checks of all symbols of an import, in the order that the ticks come in."""

    def __init__(self) -> None:
        self._limits = TickLimits()
        self._symbols: dict[str, TickChecks] = {}

    def judge(self, item: Item) -> Item | BadRow:
        """Return the item, noted if there is something to note, or why it is refused."""
        tick: Tick = item.message  # type: ignore[assignment]
        checks = self._symbols.get(tick.symbol)
        if checks is None:
            checks = self._symbols[tick.symbol] = TickChecks(self._limits)
        found = checks.trade(tick) if isinstance(tick, Trade) else checks.quote(tick)
        if found is None:
            return item
        if found in NOTED:
            return replace(item, note=found.value)
        reason = f"{found}: {SAYS[found]}; {_said(tick)}"
        return BadRow(item.number, reason, found.value, item.file)


class TickSource:
    """The ticks of some files, and how much of the files has been read."""

    def __init__(
        self,
        files: Sequence[str],
        *,
        source: Format | None = None,
        reading: Reading = AS_IS,
        checked: bool = False,
        first_line: int = 1,
    ) -> None:
        """`first_line` is that of the first file; `checked`: leave out what a check refuses.

        Raises NotFoundError for a file that is not there, before anything is read.
        """
        missing = [file for file in files if file != STDIN and not Path(file).is_file()]
        if missing:
            raise NotFoundError(f"there is no file {', '.join(missing)}")
        self.layouts: dict[str, str] = {}
        self._formats = {file: format_of(file, source) for file in files}
        self._files = files
        self._reading = reading
        self._checked = Checked() if checked else None
        self._first_line = first_line
        self._sizes = [0 if file == STDIN else Path(file).stat().st_size for file in files]
        self._read = 0
        self._open: BinaryIO | None = None

    def done(self) -> float | None:
        """Return the share of the bytes that was read; None where that is not known.

        Parquet is read by columns, so its share is that of the files before.
        """
        if STDIN in self._files or not sum(self._sizes):
            return None
        here = self._open.tell() if self._open is not None and not self._open.closed else 0
        return min(1.0, (self._read + here) / sum(self._sizes))

    def items(self) -> Iterator[Item | BadRow]:
        """Yield what the rows of all files are."""
        for size, items in zip(self._sizes, self.by_file(), strict=True):
            yield from items
            self._read += size
            self._open = None

    def by_file(self) -> Iterator[Iterator[Item | BadRow]]:
        """Yield what the rows of each file are."""
        for number, file in enumerate(self._files):
            yield self._items_of(file, self._first_line if number == 0 else 1)

    def _items_of(self, file: str, first_line: int) -> Iterator[Item | BadRow]:
        plan: Plan | BadRow | None = None
        source = self._formats[file]
        for row in read_rows(file, source, None if source == "parquet" else self._opened):
            if row.number < first_line:
                continue
            if isinstance(row, BadRow):
                yield replace(row, file=file)
                continue
            if plan is None:
                plan = self._plan(file, row)
            if isinstance(plan, BadRow):
                yield plan
                if source != "jsonl":  # every row has the same columns
                    return
                plan = None
                continue
            item = tick_item(row, plan.tick, file)
            if self._checked is not None and isinstance(item, Item):
                item = self._checked.judge(item)
            yield item

    def _plan(self, file: str, row: Row) -> Plan | BadRow:
        try:
            plan = plan_for(cells_of(row), self._reading)
        except (ValueError, TypeError, RecursionError) as error:
            return BadRow(row.number, reason_of(error), file=file)
        self.layouts[file] = plan.layout
        return plan

    def _opened(self, stored: BinaryIO) -> None:
        self._open = stored


def _said(tick: Tick) -> str:
    """Return a tick's numbers in short."""
    names = ("price", "size", "bid", "bid_size", "ask", "ask_size", "seq")
    given = ((name, getattr(tick, name, None)) for name in names)
    return " ".join((tick.symbol, *(f"{name}={value}" for name, value in given if value)))
