"""Two runs side by side: their figures, and the first record of each topic that differs."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from streams.errors import NotFoundError
from streams.replay.journal import SUFFIX

FIGURES = (
    "pnl",
    "equity",
    "commission",
    "turnover",
    "risk.sharpe",
    "risk.sortino",
    "risk.max_drawdown",
    "orders.orders",
    "orders.fills",
    "orders.fill_ratio",
    "slippage.bps",
    "round_trips.count",
    "round_trips.win_rate",
)


def report_at(folder: Path) -> dict[str, Any]:
    """Return the report of a run; raises NotFoundError."""
    path = folder / "report.json"
    if not path.is_file():
        raise NotFoundError(f"there is no run {folder.name}: no file {path}")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def compare(one: Path, other: Path) -> dict[str, Any]:
    """Return figures of both with what changed, and where their records part."""
    first, second = report_at(one), report_at(other)
    figures = {name: _figure(first, second, name) for name in FIGURES}
    return {
        "equal": first["result_hash"] == second["result_hash"],
        "records_equal": first["records_hash"] == second["records_hash"],
        "figures": figures,
        "options": _changed(first["run"], second["run"]),
        "first_differences": _differences(one / "records", other / "records"),
    }


def value_at(report: dict[str, Any], name: str) -> Any:
    """Return a figure of a report by its path, `risk.sharpe`."""
    found: Any = report
    for part in name.split("."):
        found = found[part]
    return found


def _figure(first: dict[str, Any], second: dict[str, Any], name: str) -> dict[str, Any]:
    a, b = value_at(first, name), value_at(second, name)
    change = None if a is None or b is None else round(float(b) - float(a), 9)
    return {"a": a, "b": b, "change": change}


def _changed(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    names = sorted(first.keys() | second.keys())
    both = {name: (first.get(name), second.get(name)) for name in names}
    return {name: {"a": a, "b": b} for name, (a, b) in both.items() if a != b}


def _differences(one: Path, other: Path) -> dict[str, Any]:
    """Return, by topic, the first line that is not the same in both."""
    names = sorted({path.name for folder in (one, other) for path in folder.glob(f"*{SUFFIX}")})
    found: dict[str, Any] = {}
    for name in names:
        lines = zip_longest(_lines(one / name), _lines(other / name))
        for number, (a, b) in enumerate(lines, start=1):
            if a != b:
                found[name.removesuffix(SUFFIX)] = {"record": number, "a": _at(a), "b": _at(b)}
                break
    return found


def _lines(path: Path) -> list[bytes]:
    if not path.is_file():
        return []
    with pa.input_stream(str(path), compression="zstd") as stream:
        return list(stream.read().splitlines())


def _at(line: bytes | None) -> Any:
    return None if line is None else json.loads(line)
