"""Makes `talib_golden.json`: what TA-Lib's batch functions say of bars of the sample ticks.

It needs TA-Lib, which the tests do not: `python -m tests.unit.talib_golden` adds the values of the
version that is installed. The bars are those of one second that the bars agent makes of AIG's
trades in `streams/data/ticks_sample.parquet`.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from streams.models.market import Bar, Trade
from tests.unit.bars_world import World

FILE = Path(__file__).with_suffix(".json")
SAMPLE = Path(__file__).parents[2] / "streams/data/ticks_sample.parquet"


def prints(symbol: str) -> list[Trade]:
    """Return the trades of a symbol in the sample, numbered as they come."""
    rows = [row for row in pq.read_table(SAMPLE).to_pylist() if row["kind"] == "trade"]
    return [
        Trade.model_validate(
            {
                "symbol": symbol,
                "price": str(row["price_e4"] / 10_000),
                "size": str(row["size"]),
                "ts_event_ns": row["ts_event_ns"],
                "seq": number + 1,
                "exchange": row["exchange"],
                "conditions": row["conditions"],
                "suspicious": row["suspicious"],
            }
        )
        for number, row in enumerate(rows)
        if row["symbol"] == symbol
    ]


def sample_bars(symbol: str = "AIG") -> list[Bar]:
    """Return the bars of one second of a symbol in the sample."""
    trades = prints(symbol)
    world = World("1s", now_ns=trades[0].ts_event_ns)
    world.take(*trades)
    world.wait(60)
    return sorted(world.newest("1s").values(), key=lambda bar: bar.ts_start_ns)


def golden() -> dict[str, Any]:
    """Return what the file says: values of each bar, of each version of TA-Lib."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


def _values(talib: Any, bars: list[Bar]) -> dict[str, list[Any]]:
    numpy = importlib.import_module("numpy")
    used = [bar for bar in bars if bar.close is not None]
    high, low, close, volume = (
        numpy.array([float(getattr(bar, name)) for bar in used])
        for name in ("high", "low", "close", "volume")
    )
    found = {
        "sma(20)": [talib.SMA(close, 20)],
        "sma(2)": [talib.SMA(close, 2)],
        "ema(12)": [talib.EMA(close, 12)],
        "rsi(14)": [talib.RSI(close, 14)],
        "macd(12,26,9)": talib.MACD(close, 12, 26, 9),
        "bbands(20,2)": talib.BBANDS(close, 20, 2, 2),
        "bbands(5,2.5)": talib.BBANDS(close, 5, 2.5, 2.5),
        "atr(14)": [talib.ATR(high, low, close, 14)],
        "obv": [talib.OBV(close, volume)],
    }
    return {
        name: [
            None if any(map(numpy.isnan, row)) else [float(one) for one in row]
            for row in zip(*columns, strict=True)
        ]
        for name, columns in found.items()
    }


def main() -> None:
    """Add the values of the installed version to the file."""
    talib = importlib.import_module("talib")
    known = golden() if FILE.exists() else {}
    known[talib.__version__] = _values(talib, sample_bars())
    FILE.write_text(json.dumps(known, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
