"""One replay as values that can be sent to another process, and its folder."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streams.cli.replay_source import Source, orders_of
from streams.errors import NotFoundError, UsageError
from streams.models.controls import AnyControl
from streams.replay.charts import page_of
from streams.replay.report import iso
from streams.replay.run import Going, Result, canonical, replay
from streams.replay.stored import LATEST_NS
from streams.replay.world import Rules
from streams.settings import Settings
from streams.topics import CONTROLS

#: The rules that `--param` sets by name.
OWN: dict[str, Callable[[str], Any]] = {
    "latency_ms": float,
    "slippage_bps": lambda text: str(Decimal(text)),
    "bars": str,
    "bars_keep_s": int,
    "indicators": str,
    "signal_max_age_s": float,
    "seed": int,
}


@dataclass(frozen=True, slots=True)
class Job:
    """What is replayed, under which rules; equal jobs give equal results."""

    source: Source
    rules: Rules
    orders: str = ""

    def named(self) -> dict[str, Any]:
        """Return the job as the report has it: without folders, so that it is no machine's."""
        source, rules = self.source, self.rules
        options = {field.name: getattr(rules, field.name) for field in fields(rules)}
        options["controls"] = [json.loads(one.model_dump_json()) for one in rules.controls]
        return {
            "source": source.named(),
            "from": iso(source.from_ns) if source.from_ns else None,
            "to": iso(source.to_ns) if source.to_ns < LATEST_NS else None,
            "symbols": list(source.symbols),
            "orders": _digest(self.orders) if self.orders else None,
            **options,
        }

    def run_id(self) -> str:
        """Return an id that follows from the job."""
        return hashlib.sha256(canonical(self.named())).hexdigest()[:12]


def run_job(job: Job, settings: Settings, going: Going, folder: Path | None = None) -> Result:
    """Run a job, into a folder if one is given: it appears when all of it is written."""
    building = None if folder is None else folder.with_name(f".{folder.name}.part")
    if building is not None:
        shutil.rmtree(building, ignore_errors=True)
    result = replay(
        job.source.ticks(settings),
        job.rules,
        settings,
        inputs=orders_of(job.orders) if job.orders else (),
        folder=building,
        named=job.named(),
        going=going,
    )
    if building is not None and folder is not None:
        report = json.dumps(result.report, indent=1, sort_keys=True) + "\n"
        (building / "report.json").write_text(report, encoding="utf-8")
        page = page_of(result.report, result.observer)
        (building / "report.html").write_text(page, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    return result


def with_params(rules: Rules, pairs: Sequence[str]) -> Rules:
    """Return the rules with `name=value` pairs in them.

    What is no name of the rules is a word of the strategies: of their size, account and symbols,
    or a parameter; `NAME.word` is one's alone. Raises UsageError where there is no strategy.
    """
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or (name not in OWN and not rules.strategies):
            raise UsageError(
                f"--param {pair!r}: write NAME=VALUE, NAME one of {', '.join(OWN)}, or with"
                " --strategy a parameter of it"
            )
        if name not in OWN:
            rules = replace(rules, strategies=_told(rules.strategies, name, value))
            continue
        try:
            given: dict[str, Any] = {name: OWN[name](value)}
        except (ValueError, ArithmeticError) as error:
            raise UsageError(f"--param {pair!r}: {str(error) or 'no number'}") from error
        rules = replace(rules, **given)
    if rules.latency_ms < 0.001:
        raise UsageError(
            f"a latency of {rules.latency_ms} ms is none; at least 0.001, or an order would trade"
            " at the tick that it was decided on"
        )
    return rules


def _told(
    strategies: dict[str, dict[str, Any]], word: str, value: str
) -> dict[str, dict[str, Any]]:
    """Return the strategies with a word for all of them, or for the one that it names."""
    for one, words in strategies.items():
        if word.startswith(f"{one}."):
            own = word.removeprefix(f"{one}.")
            return {**strategies, one: {**words, own: value}}
    return {one: {**words, word: value} for one, words in strategies.items()}


def controls_in(file: str) -> tuple[AnyControl, ...]:
    """Return the controls of a file of JSON lines; raises UsageError for a line that is none."""
    if not Path(file).is_file():
        raise NotFoundError(f"there is no file {file}")
    found: list[AnyControl] = []
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            found += [CONTROLS.adapter.validate_json(line)] if line.strip() else []
        except ValidationError as error:
            raise UsageError(f"{file}:{number}: no control: {error.errors()[0]['msg']}") from error
    return tuple(found)


def _digest(file: str) -> str:
    path = Path(file)
    if not path.is_file():
        raise NotFoundError(f"there is no file {file}")
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
