"""Replays with every combination of parameters, in processes beside each other."""

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from typing import Any

from streams.cli.replay_job import Job, run_job, with_params
from streams.cli.replay_options import summary
from streams.errors import UsageError
from streams.replay.run import Going
from streams.settings import Settings


def combinations(params: Iterable[str]) -> list[tuple[str, ...]]:
    """Return every combination of `name=a,b` and `name=c,d`, as pairs of name and value."""
    each: list[list[str]] = []
    for text in params:
        name, equals, values = text.partition("=")
        found = [value.strip() for value in values.split(",") if value.strip()]
        if not equals or not found:
            raise UsageError(f"--param {text!r}: write NAME=VALUE,VALUE")
        each.append([f"{name}={value}" for value in dict.fromkeys(found)])
    if not each:
        raise UsageError("name the values to try, as in --param latency_ms=1,5,20")
    return list(product(*each))


def sweep_of(
    job: Job,
    tries: Sequence[tuple[str, ...]],
    settings: Settings,
    sort: str,
    processes: int | None,
) -> list[dict[str, Any]]:
    """Return a row per combination, the best first; one without such a figure is last."""
    made = [(pairs, replace(job, rules=with_params(job.rules, pairs))) for pairs in tries]
    count = min(processes or os.cpu_count() or 1, len(made))
    # Started anew, not forked: a fork would copy the threads of libraries half.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        rows = list(pool.map(_row, [(pairs, each, settings) for pairs, each in made]))
    return sorted(rows, key=lambda row: _rank(row[sort]))


def _row(given: tuple[tuple[str, ...], Job, Settings]) -> dict[str, Any]:
    """Run one; this is called in a process of its own."""
    pairs, job, settings = given
    result = run_job(job, settings, Going())
    tried = dict(pair.split("=", 1) for pair in pairs)
    return {"params": tried} | summary(result.report)


def _rank(figure: Any) -> tuple[bool, float]:
    return figure is None, 0.0 if figure is None else -float(figure)
