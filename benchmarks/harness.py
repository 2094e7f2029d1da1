"""What every benchmark shares: interleaved repeats, medians and spreads, ratios, the record.

A benchmark measures contenders, of which one is called `ours`. A sample is a figure, or a dict
with the figure under `figure` and whatever else the contender has to tell. Figures are compared
by their medians; a ratio above 1 means that ours is better, whichever way the unit counts.
"""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil

from streams.settings import Settings

OURS = "ours"
#: The name under which a goal that is a figure, not a rival, stands among the ratios.
GOAL = "goal"
ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results")

Sample = float | dict[str, Any]
Better = Literal["more", "less"]


@dataclass(frozen=True)
class Plan:
    """How a benchmark is to run: on which stack, how often, and where its progress goes.

    `settings` are those of an embedded stack that was started for this run and is empty.
    `quick` asks for the smoke form: seconds, one round, its figures mean nothing.
    """

    settings: Settings
    quick: bool
    repeats: int
    say: Callable[[str], None]


def interleaved(
    contenders: Mapping[str, Callable[[], Sample]], repeats: int, say: Callable[[str], None]
) -> dict[str, list[Sample]]:
    """Run every contender once per round and return all samples of each.

    The order is rotated from round to round, so that none is always the first or always follows
    the same one. What a contender raises ends the run.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(repeats):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            sample = contenders[name]()
            samples[name].append(sample)
            say(f"round {number + 1} of {repeats}: {name} {figure(sample):,.6g}")
    return samples


def figure(sample: Sample) -> float:
    """Return the figure of a sample."""
    return float(sample["figure"] if isinstance(sample, dict) else sample)


def spread(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the median, the lowest and the highest figure, and all of them in order."""
    figures = [figure(sample) for sample in samples]
    return {
        "median": statistics.median(figures),
        "low": min(figures),
        "high": max(figures),
        "samples": figures,
    }


def outcome(
    name: str,
    unit: str,
    samples: Mapping[str, Sequence[Sample]],
    *,
    better: Better = "more",
    goals: Mapping[str, float],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a run found, as it is printed and recorded.

    `goals` maps a rival to the least ratio that is wanted against it. Under `goal` it holds a
    figure instead, which ours should reach; the ratio `goal` is then how far that is so, and 1
    is wanted. A rival that was not measured has neither ratio nor verdict.
    """
    spreads = {contender: spread(found) for contender, found in samples.items()}
    medians = {contender: found["median"] for contender, found in spreads.items()}
    ours = medians[OURS]
    rivals = {contender: median for contender, median in medians.items() if contender != OURS}
    against = rivals | ({GOAL: goals[GOAL]} if GOAL in goals else {})
    ratios = {rival: ratio(ours, theirs, better) for rival, theirs in against.items()}
    wanted = {rival: 1.0 if rival == GOAL else goals[rival] for rival in goals}
    return {
        "benchmark": name,
        "ours": ours,
        "rivals": rivals,
        "ratios": ratios,
        "goals": dict(goals),
        "met": {rival: ratios[rival] >= wanted[rival] for rival in ratios if rival in wanted},
        "unit": unit,
        "better": better,
        "spread": spreads,
        "machine": machine(),
        "commit": commit(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **(extra or {}),
    }


def ratio(ours: float, theirs: float, better: Better) -> float:
    """Return how many times as good as theirs our figure is, to four digits."""
    over, under = (ours, theirs) if better == "more" else (theirs, ours)
    return float(f"{over / under:.4g}") if under else 0.0


def record(found: Mapping[str, Any]) -> Path:
    """Write what a run found to `results/<name>.json`, where it replaces the run before."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{found['benchmark']}.json"
    path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return path


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, memory, kernel, Python."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit that was measured, with `+changes` where the tree differs from it."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return f"{head}+changes" if changed else head


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - wherever it is
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
