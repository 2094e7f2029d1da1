"""Files of orders and ticks as records to produce: JSON lines, CSV and Parquet.

A row that is no order or tick becomes a `BadRow` with its number and the reason, never an
exception, so that the rows after it go on.
"""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import ValidationError

from streams.domain.ticks import tick_of_row
from streams.errors import NotFoundError, UsageError
from streams.models.base import Message
from streams.models.market import Trade
from streams.topics import (
    MARKET_QUOTES,
    MARKET_TRADES,
    MAX_RECORD_BYTES,
    ORDERS_REQUESTED,
    TopicSpec,
)

Format = Literal["jsonl", "csv", "parquet"]

SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
STDIN = "-"
LINE_BYTES = MAX_RECORD_BYTES - 1_000  # room for the key and Kafka's own framing


@dataclass(frozen=True, slots=True)
class Row:
    """One row as read: a JSON line's bytes, or the named cells of CSV (text) or Parquet."""

    number: int
    source: Format
    raw: bytes = b""
    cells: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be produced. `number` counts lines (Parquet: rows) from 1."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Item:
    """A record to produce. `raw` is what goes out unchanged, where there is such a thing."""

    number: int
    topic: TopicSpec
    key: str | None
    message: Message | None
    raw: bytes | None = None

    @property
    def ts_event_ns(self) -> int | None:
        """Return the record's event time, if it has one."""
        return getattr(self.message, "ts_event_ns", None)


def format_of(file: str, given: Format | None) -> Format:
    """Return the format: the given one, or that of the suffix; standard input is JSON lines."""
    if given is not None:
        return given
    if file == STDIN:
        return "jsonl"
    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"the format of {file} is not known; give --format jsonl, csv or parquet")
    return SUFFIXES[suffix]


def read_rows(file: str, source: Format) -> Iterator[Row | BadRow]:
    """Yield the rows of a file, or of standard input for `-`; blank lines are left out."""
    with _opened(file) as stream:
        if source == "jsonl":
            yield from _json_rows(stream)
        elif source == "csv":
            yield from _csv_rows(stream)
        else:
            yield from _parquet_rows(stream)


def order_item(row: Row) -> Item | BadRow:
    """Return a command of the row, keyed by its account."""
    try:
        command = _command(row)
    except ValueError as error:
        return BadRow(row.number, reason_of(error))
    raw = row.raw if row.source == "jsonl" else None
    return Item(row.number, ORDERS_REQUESTED, command.account, command, raw)


def raw_order_item(row: Row) -> Item | BadRow:
    """Return the row unchecked, keyed by its account if one can be read."""
    if row.source != "jsonl":
        return BadRow(row.number, "--raw takes JSON lines only")
    try:
        account = json.loads(row.raw)["account"]
    except (ValueError, KeyError, TypeError, RecursionError):
        account = None
    key = account if isinstance(account, str) else None
    return Item(row.number, ORDERS_REQUESTED, key, None, row.raw)


def tick_item(row: Row) -> Item | BadRow:
    """Return a trade or quote of the row, keyed by its symbol."""
    try:
        tick = tick_of_row(_cells(row), row.number)
    except (ValueError, ArithmeticError, TypeError, RecursionError) as error:
        return BadRow(row.number, reason_of(error))
    topic = MARKET_TRADES if isinstance(tick, Trade) else MARKET_QUOTES
    return Item(row.number, topic, tick.symbol, tick)


def reason_of(error: Exception) -> str:
    """Return an error as one line: `qty: write decimals as JSON strings …`."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split()) or type(error).__name__
    parts = []
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in found["loc"])
        what = found["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {what}" if where else what)
    return "; ".join(parts)


def _cells(row: Row) -> Mapping[str, Any]:
    cells = row.cells if row.cells is not None else json.loads(row.raw)
    if not isinstance(cells, Mapping):
        raise TypeError("not a JSON object")
    return cells


def _command(row: Row) -> Any:
    """Return the validated command; CSV cells are text, so numbers are read from text there."""
    adapter = ORDERS_REQUESTED.adapter
    if row.source == "jsonl":
        return adapter.validate_json(row.raw)
    cells = _nested(row.cells or {})
    return (
        adapter.validate_strings(cells) if row.source == "csv" else adapter.validate_python(cells)
    )


def _nested(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return cells without absent ones; a column `take_profit.limit_price` goes a level down."""
    nested: dict[str, Any] = {}
    for name, value in cells.items():
        if value is None or value == "":
            continue
        outer, dot, inner = name.partition(".")
        if dot:
            nested.setdefault(outer, {})[inner] = value
        else:
            nested[name] = value
    return nested


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == STDIN:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - closed by the with below
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {file}") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    with stream:
        yield stream


def _json_rows(stream: BinaryIO) -> Iterator[Row | BadRow]:
    for number, line in enumerate(stream, start=1):
        raw = line.strip()
        if len(raw) > LINE_BYTES:
            yield BadRow(number, f"{len(raw)} bytes are more than a record can hold")
        elif raw:
            yield Row(number, "jsonl", raw=raw)


def _csv_rows(stream: BinaryIO) -> Iterator[Row | BadRow]:
    # Bytes that are no UTF-8 are kept as lone surrogates, which the models then refuse by field.
    text = (line.decode("utf-8", "surrogateescape") for line in stream)
    reader = csv.reader(line.removeprefix("\ufeff") for line in text)
    header = next(reader, None)
    if header is None:
        return
    names = [name.strip() for name in header]
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(names):
            yield BadRow(reader.line_num, f"{len(cells)} cells under {len(names)} columns")
            continue
        yield Row(
            reader.line_num,
            "csv",
            cells={name: cell.strip() for name, cell in zip(names, cells, strict=True)},
        )


def _parquet_rows(stream: BinaryIO) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A Parquet file is read from its end, which a pipe has not.
        file = pq.ParquetFile(stream if stream.seekable() else pa.BufferReader(stream.read()))
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"this is no Parquet file: {error}") from error
    number = 0
    for batch in file.iter_batches(batch_size=10_000):
        for cells in batch.to_pylist():
            number += 1
            yield Row(number, "parquet", cells=cells)
