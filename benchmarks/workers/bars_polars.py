"""polars: from a Parquet file of ticks in time order to one of bars, with all cores.

`python -m benchmarks.workers.bars_polars TICKS BARS` prints the seconds that it took. It does it
twice and tells the second time, when its threads are there.
"""

import sys
import time

import polars as pl  # type: ignore[import-not-found] # the rivals have it


def aggregate(ticks: str, bars: str) -> None:
    """Read the ticks, write the bars."""
    price, size = pl.col("price"), pl.col("size")
    minute = pl.col("ts_event").dt.truncate("1m").alias("ts_start")
    found = (
        pl.scan_parquet(ticks)
        .select("symbol", minute, price, size)
        .group_by("symbol", "ts_start")
        .agg(
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
            size.sum().alias("volume"),
            (price * size).sum().alias("notional"),
            pl.len().alias("trades"),
        )
    )
    found.collect().write_parquet(bars)


def main() -> None:
    """Aggregate the file twice; print how long the second time took."""
    ticks, bars = sys.argv[1:]
    aggregate(ticks, bars)
    began = time.monotonic()
    aggregate(ticks, bars)
    print(time.monotonic() - began)


if __name__ == "__main__":
    main()
