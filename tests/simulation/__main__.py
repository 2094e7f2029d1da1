"""`python -m tests.simulation`: run seeds, and say what does not hold.

A seed that failed repeats exactly: `--seed N --runs 1`. With `--without` a defence is switched
off, and some seed is expected to fail.
"""

import argparse
import json
import sys

from streams.defences import Defence
from tests.simulation.many import Tally, explained, many


def main() -> int:
    """Run what was asked for; 0 if everything holds, 1 if not."""
    asked = _arguments()
    runs = asked.runs if asked.runs or asked.minutes else 10_000
    tally = many(
        asked.seed,
        runs,
        asked.minutes,
        asked.without,
        asked.processes,
        to_the_first=asked.to_the_first,
    )
    failure = tally.first_failure()
    story = explained(failure[1], failure[0], asked.without) if failure else ""
    print(_as_json(tally, story) if asked.json else _as_text(tally, story))
    return 1 if failure else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, help="how many seeds (10000 if nothing is said)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--without", default="", help=f"of {', '.join(Defence)}; with commas")
    parser.add_argument("--to-the-first", action="store_true", help="stop at the first failure")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _as_json(tally: Tally, story: str) -> str:
    facts = {
        "runs": tally.runs,
        "crashes": tally.crashes,
        "redelivered": tally.redelivered,
        "events": tally.events,
        "seconds": round(tally.seconds, 1),
        "cpu_seconds": round(tally.cpu_seconds, 1),
        "runs_per_minute": tally.per_minute,
        "failed": {name: sorted(seeds) for name, seeds in tally.failed.items()},
        "story": story,
    }
    return json.dumps(facts)


def _as_text(tally: Tally, story: str) -> str:
    failed = sum(len(seeds) for seeds in tally.failed.values())
    counted = f"{tally.runs} runs, {tally.crashes} crashes, {tally.redelivered} redelivered"
    lines = [
        f"{counted}, {tally.events} events",
        f"{tally.seconds:.1f} s, {tally.per_minute} runs a minute",
        f"{tally.ms_per_run} ms of a processor each",
        f"{failed} failed",
    ]
    for invariant, seeds in sorted(tally.failed.items()):
        shown = ", ".join(map(str, sorted(seeds)[:8]))
        lines.append(f"  {invariant}: {len(seeds)}, seeds {shown}")
    return "\n".join([*lines, story]).rstrip()


if __name__ == "__main__":
    sys.exit(main())
