"""Files of orders and ticks as records to produce: JSON lines, CSV and Parquet.

A row that is no order or tick becomes a `BadRow` with its number and the reason, never an
exception, so that the rows after it go on. Files may be compressed: `.gz` and `.zst`.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from pydantic import ValidationError

from streams.domain.ticks import Tick, tick_of_row
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
COMPRESSED = (".gz", ".zst")
STDIN = "-"
#: What a compressed or damaged file raises while it is read.
_DAMAGED = (EOFError, OSError, zlib.error)
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
    """A row that cannot be produced. `number` counts lines (Parquet: rows) from 1.

    `code` is what it is counted under; `file` stands where there are several.
    """

    number: int
    reason: str
    code: str = "bad_row"
    file: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A record to produce. `raw` is what goes out unchanged, where there is such a thing.

    `note` is what a check found about it that keeps nobody from taking it.
    """

    number: int
    topic: TopicSpec
    key: str | None
    message: Message | None
    raw: bytes | None = None
    note: str = ""
    file: str = ""

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
    path = Path(file)
    suffix = Path(path.stem if path.suffix.lower() in COMPRESSED else path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"the format of {file} is not known; give --format jsonl, csv or parquet")
    return SUFFIXES[suffix]


def read_rows(
    file: str, source: Format, opened: Callable[[BinaryIO], None] | None = None
) -> Iterator[Row | BadRow]:
    """Yield the rows of a file, or of standard input for `-`; blank lines are left out.

    `opened` is given the file as it is on disk, so that somebody can ask how far it was read.
    A file that is damaged ends with a bad row.
    """
    number = 0
    with _opened(file) as stored:
        if opened is not None:
            opened(stored)
        stream = _decompressed(file, stored)
        readers = {"jsonl": _json_rows, "csv": _csv_rows, "parquet": _parquet_rows}
        try:
            for row in readers[source](stream):
                number = row.number
                yield row
        except _DAMAGED as error:
            yield BadRow(number + 1, f"the file is damaged here, its rest is lost: {error}")


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


def tick_item(
    row: Row,
    tick_of: Callable[[Mapping[str, Any], int], Tick] = tick_of_row,
    file: str = "",
) -> Item | BadRow:
    """Return a trade or quote of the row, keyed by its symbol; its number is its `seq`."""
    try:
        tick = tick_of(cells_of(row), row.number)
    except (ValueError, ArithmeticError, TypeError, RecursionError) as error:
        return BadRow(row.number, reason_of(error), file=file)
    return item_of(tick, row.number, file)


def item_of(tick: Tick, number: int, file: str = "") -> Item:
    """Return a tick as a record of its kind's topic."""
    topic = MARKET_TRADES if isinstance(tick, Trade) else MARKET_QUOTES
    return Item(number, topic, tick.symbol, tick, file=file)


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


def cells_of(row: Row) -> Mapping[str, Any]:
    """Return a row's cells by name; numbers of JSON keep their digits. Raises for other JSON."""
    cells = row.cells if row.cells is not None else json.loads(row.raw, parse_float=Decimal)
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


def _decompressed(file: str, stored: BinaryIO) -> BinaryIO:
    suffix = Path(file).suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(stored))
    if suffix == ".zst":
        import pyarrow as pa

        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(stored, "zstd")))
    return stored


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
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise UsageError(f"the first line is no head of CSV: {error}") from error
    if header is None:
        return
    names = [name.strip() for name in header]
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield BadRow(reader.line_num, f"no line of CSV: {error}")
            continue
        if cells is None:
            return
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
    for batch in _batches(file):
        for cells in _times_as_numbers(batch).to_pylist():
            number += 1
            yield Row(number, "parquet", cells=cells)


def _batches(file: Any) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from file.iter_batches(batch_size=10_000)
    except pa.ArrowException as error:
        raise OSError(str(error)) from error


def _times_as_numbers(batch: Any) -> Any:
    """Return a batch whose timestamps are nanoseconds UTC; as text where they name no zone."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type):
            column = batch.column(place)
            column = (
                column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
                if field.type.tz is not None
                else column.cast(pa.string())
            )
            batch = batch.set_column(place, field.name, column)
    return batch
