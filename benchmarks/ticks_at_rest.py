"""The rivals of `ticks` that find the ticks at rest, and see all of them at once.

- `clickhouse`  the embedded server: `insert into … select … group by` over a copy of `trades_log`
- `polars`      a Parquet file with the same columns; another Parquet file is the answer

Their rate is ticks divided by the time of that statement, or of that run. Not in it is how the
ticks got there: nothing is read from Kafka, nothing is decoded, and no bar is there before the
last tick is. Both may use all cores. Their bars must be the ones that the others made.
"""

import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pyarrow.parquet as pq
from clickhouse_connect.driver.client import Client

from benchmarks import bars_job, contenders
from benchmarks.bars_job import Input, Said
from benchmarks.harness import ROOT, Sample
from connectors.clickhouse.client import history_database
from connectors.clickhouse.rows import arrow_table
from streams.domain.decimals import ratio
from streams.errors import IncompleteError, ServiceFailedError
from streams.ports import Record
from streams.settings import Settings
from streams.topics import MARKET_TRADES

BOUND_S = 120.0
PRICES = ("open", "high", "low", "close")
TICKS = "create table ticks_at_rest as trades_log"
BARS = """create table bars_at_rest (
    symbol LowCardinality(String),
    ts_start DateTime64(9, 'UTC'),
    open Decimal(38, 9),
    high Decimal(38, 9),
    low Decimal(38, 9),
    close Decimal(38, 9),
    volume Decimal(38, 12),
    notional Decimal(38, 12),
    trades UInt64
) engine = MergeTree order by (symbol, ts_start)"""
AGGREGATE = """insert into bars_at_rest
select
    symbol,
    toStartOfInterval(ts_event, interval 1 minute) as ts_start,
    argMin(price, (ts_event, seq)) as open,
    max(price) as high,
    min(price) as low,
    argMax(price, (ts_event, seq)) as close,
    sum(size) as volume,
    sum(price * size) as notional,
    count() as trades
from ticks_at_rest
group by symbol, ts_start"""
MADE = """select symbol, toUnixTimestamp64Nano(ts_start), open, high, low, close, volume, notional,
trades from {table:Identifier} order by symbol, ts_start"""

Wanted = Mapping[tuple[str, int], Said]
Row = Sequence[Any]


def rows_of(given: Input) -> pa.Table:
    """Return the ticks as rows of `trades_log`, in order, without what closes the last bars."""
    trades = enumerate(islice(bars_job.ticks(given), given.ticks))
    place = MARKET_TRADES.name, 0
    records = [
        Record(*place, number, one.symbol.encode(), one, b"", one.ts_event_ns // 1_000_000, ())
        for number, one in trades
    ]
    return arrow_table(MARKET_TRADES.name, records)


def check(name: str, rows: Iterable[Row], wanted: Wanted) -> None:
    """Raise unless rows of symbol, start, figures, notional and count are the bars wanted."""
    found: dict[tuple[str, int], Said] = {}
    for symbol, start_ns, *prices, volume, notional, trades in rows:
        said = *prices, volume, ratio(notional, volume), Decimal(trades)
        if wanted.get((symbol, start_ns)) != said or (symbol, start_ns) in found:
            raise IncompleteError(f"{name}: twice or wrong: {symbol} {start_ns} {said!r}")
        found[symbol, start_ns] = said
    if len(found) != len(wanted):
        raise IncompleteError(f"{name}: {len(found)} of {len(wanted)} bars")


@contextmanager
def client_of(settings: Settings) -> Iterator[Client]:
    """Yield a client of the history's database."""
    with clickhouse_connect.get_client(
        host=settings.clickhouse_host,
        port=settings.clickhouse_port,
        username=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
        database=history_database(settings),
        autogenerate_session_id=False,
    ) as client:
        yield client


@dataclass(frozen=True)
class ClickHouse:
    """Ticks in a table of a database that is migrated."""

    client: Client
    given: Input
    wanted: Wanted

    def prepare(self, ticks: pa.Table) -> None:
        """Create the tables and insert the ticks."""
        self.client.command(TICKS)
        self.client.command(BARS)
        self.client.insert_arrow("ticks_at_rest", ticks)

    def measure(self) -> Sample:
        """Make the bars once; return ticks per second."""
        self.client.command("truncate table bars_at_rest")
        began = time.monotonic()
        self.client.command(AGGREGATE)
        seconds = time.monotonic() - began
        made = self.client.query(MADE, parameters={"table": "bars_at_rest"})
        check("clickhouse", made.result_rows, self.wanted)
        return self.given.ticks / seconds


@dataclass(frozen=True)
class Polars:
    """Ticks in a Parquet file of a folder; `python` has polars."""

    python: Path
    folder: Path
    given: Input
    wanted: Wanted

    def prepare(self, ticks: pa.Table) -> None:
        """Write the file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(ticks, self.folder / "ticks.parquet")

    def measure(self) -> Sample:
        """Make the bars in a process of its own; return ticks per second."""
        bars = self.folder / "bars.parquet"
        bars.unlink(missing_ok=True)
        done = subprocess.run(
            [self.python, "-m", "benchmarks.workers.bars_polars", bars.with_stem("ticks"), bars],
            cwd=ROOT,
            env=contenders.environment(),
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
        if done.returncode != 0:
            raise ServiceFailedError(
                f"polars ended with {done.returncode}:\n{done.stderr[-2_000:]}"
            )
        check("polars", _rows(pq.read_table(bars)), self.wanted)
        return self.given.ticks / float(done.stdout)


def _rows(bars: pa.Table) -> list[Row]:
    names = ("symbol", "ts_start", *PRICES, "volume", "notional", "trades")
    columns = [bars[name] for name in names]
    columns[1] = columns[1].cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
    return list(zip(*(column.to_pylist() for column in columns), strict=True))
