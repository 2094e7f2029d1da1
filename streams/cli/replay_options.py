"""What the commands of `replay` share: options to a job, folders, progress, pace, summaries."""

import asyncio
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

from streams.cli.pace import parse_speed
from streams.cli.replay_job import Job, controls_in, with_params
from streams.cli.replay_source import SAMPLE, Source
from streams.clock import monotonic, now_ns
from streams.domain.tick_times import time_ns
from streams.errors import NotFoundError, UsageError
from streams.models.controls import StrategyControl
from streams.replay.compare import value_at
from streams.replay.engine import Engine
from streams.replay.report import iso
from streams.replay.run import Result
from streams.replay.stored import LATEST_NS
from streams.replay.world import Rules
from streams.settings import Settings

_ROOT = Path(__file__).resolve().parents[2]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AHEAD_S = 0.02
#: Figures that are printed: their names there, and where they stand in the report.
_SHOWN = {
    "ticks": "span.ticks",
    "pnl": "pnl",
    "equity": "equity",
    "turnover": "turnover",
    "sharpe": "risk.sharpe",
    "sortino": "risk.sortino",
    "max_drawdown": "risk.max_drawdown",
    "orders": "orders.orders",
    "fills": "orders.fills",
    "fill_ratio": "orders.fill_ratio",
    "slippage_bps": "slippage.bps",
    "round_trips": "round_trips.count",
    "win_rate": "round_trips.win_rate",
    "result_hash": "result_hash",
}


class Options(NamedTuple):
    """The options that say what is replayed, as they were written."""

    files: Sequence[str]
    source: str
    from_: str | None
    to: str | None
    symbols: str
    orders: str | None
    controls: str | None
    latency_ms: float
    params: Sequence[str]
    strategies: Sequence[str] = ()


def job_of(options: Options, settings: Settings) -> Job:
    """Return the job of options; raises UsageError and NotFoundError."""
    rules = Rules(
        latency_ms=options.latency_ms,
        bars=settings.bars,
        bars_keep_s=settings.bars_keep_s,
        indicators=settings.indicators,
        strategies=_strategies(options.strategies, settings),
        signal_max_age_s=settings.signal_max_age_s,
        seed=settings.virtual_seed,
        controls=tuple(
            one
            for one in _controls(options.controls, settings)
            if not (options.strategies and isinstance(one, StrategyControl))
        ),
    )
    source = Source(
        "file",
        from_ns=_time("--from", options.from_, 0),
        to_ns=_time("--to", options.to, LATEST_NS),
        symbols=tuple(word.strip() for word in options.symbols.split(",") if word.strip()),
    )
    job = Job(_placed(source, options), with_params(rules, options.params), options.orders or "")
    if options.orders and not Path(options.orders).is_file():
        raise NotFoundError(f"there is no file {options.orders}")
    return job


def _placed(source: Source, options: Options) -> Source:
    """Return the source with where its ticks are."""
    files = tuple(options.files)
    if options.source != "auto" and files:
        raise UsageError(f"--source {options.source} and files exclude each other")
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise NotFoundError(f"there is no file {', '.join(missing)}")
    if options.source == "kafka":
        return replace(source, kind="kafka")
    if options.source == "clickhouse" or (not files and options.from_ is not None):
        return replace(source, kind="clickhouse")
    return replace(source, files=files or (str(SAMPLE),))


def _time(name: str, text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        return time_ns(text, "auto")
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error


def _strategies(named: Sequence[str], settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the strategies that run: those of the settings, or of them the named ones.

    A name that is none of theirs is that of an implementation, which then has a size and an
    account that `--param` can change.
    """
    if not named:
        return dict(settings.strategies)
    from connectors.strategies import known_strategies

    known = known_strategies()
    found: dict[str, dict[str, Any]] = {}
    for name in named:
        if name in settings.strategies:
            found[name] = dict(settings.strategies[name])
        elif name in known:
            found[name] = {"implementation": name, "account": "S1", "qty": "100"}
        else:
            there = ", ".join(sorted({*settings.strategies, *known}))
            raise UsageError(f"--strategy {name!r} is none; there are {there}")
    return found


def warn_of(report: dict[str, Any]) -> None:
    """Name the strategies that do not run any more, on standard error."""
    for name, row in report["strategies"].items():
        if row["status"] == "failed":
            sys.stderr.write(f"warning: strategy {name} failed: {row['text']}\n")


def _controls(given: str | None, settings: Settings) -> Any:
    if given is None:
        return ()
    if given != "live":
        return controls_in(given)
    from connectors.kafka.controls import read_controls

    return tuple(asyncio.run(read_controls(settings)).records.values())


def runs_folder(settings: Settings) -> Path:
    """Return the folder of all runs."""
    return settings.data_dir.absolute() / "replays"


def folder_of(settings: Settings, name: str) -> Path:
    """Return the folder of a run; raises UsageError for a name that is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a run: letters, digits, `.`, `_` and `-`")
    return runs_folder(settings) / name


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that are printed."""
    return {name: value_at(report, place) for name, place in _SHOWN.items()}


def speed_of(result: Result) -> dict[str, Any]:
    """Return how fast a run was, its reading included."""
    rate = round(result.ticks / result.seconds) if result.seconds else None
    return {"seconds": round(result.seconds, 3), "ticks_per_s": rate}


def note(folder: Path, result: Result, speed: str) -> None:
    """Write when, where and how fast it ran: what is no part of the result."""
    said = {
        "at": iso(now_ns()),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "speed": speed,
        "ticks": result.ticks,
        **speed_of(result),
    }
    (folder / "run.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _commit() -> str | None:
    command = ["git", "-C", str(_ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def pacer_of(speed: str) -> Callable[[int], int] | None:
    """Return what waits until ticks are due at a multiple of event time; None: no wait at all."""
    factor = parse_speed(speed)
    if factor is None:
        return None
    first: list[tuple[int, float]] = []
    waiting = Event()  # never set: waiting for it is a sleep that Ctrl-C ends

    def wait(ts_ns: int) -> int:
        if not first:
            first.append((ts_ns, monotonic()))
        first_ns, started = first[0]
        left = started + (ts_ns - first_ns) / 1e9 / factor - monotonic()
        if left > 0:
            waiting.wait(left)
        passed = max(monotonic() - started, 0.0) + _AHEAD_S
        return max(ts_ns + 1, first_ns + int(passed * factor * 1e9))

    return wait


@contextmanager
def progress() -> Iterator[Callable[[Engine], None] | None]:
    """Give what tells on standard error how far a run is, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    began = monotonic()

    def tell(engine: Engine) -> None:
        rate = engine.ticks / max(monotonic() - began, 1e-9)
        where = iso(engine.now_ns)[:19] if engine.now_ns else "start"
        sys.stderr.write(f"\r{where}  {engine.ticks:,} ticks, {rate:,.0f}/s ")
        sys.stderr.flush()

    yield tell
    sys.stderr.write("\r\033[K")
