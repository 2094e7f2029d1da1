"""The long form of the fault suite: faults under load for some minutes, then the verdict.

`./orderflow test --faults`, or `python -m tests.faults.run`. Progress goes to standard error, a
line per fault; the last line of standard output is the result as JSON. The same seed gives the
same faults in the same order; what else happens on the machine is not the same, so neither is
every record. Exit code 0: nothing was lost, sent twice, counted twice or unaccounted for; else 6.
The folder with all data is kept when something was, and named.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from streams.errors import IncompleteError
from tests.faults.awaits import places, written
from tests.faults.cluster import FAULTS as CLUSTER_FAULTS
from tests.faults.cluster import Cluster, cluster_settings
from tests.faults.facts import Facts
from tests.faults.faults import ALL, Fault, inflict, schedule
from tests.faults.findings import Verdict
from tests.faults.harness import Harness, harness

RATE = 50.0
#: Between two faults, so that some are met at work and some while the last one is mended.
PAUSE_S = (0.0, 3.0)
#: How often a fault meets workers that all do their work, not some that have yet to start.
WELL_FIRST = 0.7
#: After so long everything is brought to rest and judged, so that a finding is near its cause.
JUDGE_EVERY_S = 150.0
#: The part of the time that a cluster of three nodes gets; below a minute it gets none.
CLUSTER_SHARE = 0.25
CLUSTER_LEAST_S = 45.0
POISON = 100_000
POISON_STEP = 5_000
FOUND = ("lost", "sent_twice", "counted_twice", "unaccounted")


class Run:
    """One run: its chance, its counts, what it found."""

    def __init__(self, seed: int, folder: Path, without: str) -> None:
        self.seed = seed
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.explanations: list[str] = []
        self._without = without
        self._places: set[str] = set()
        self._repeated = 0
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Write a line of progress."""
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", file=sys.stderr, flush=True)

    async def single(self, seconds: float, faults: list[Fault], poison: int) -> None:
        """Break a pipeline on one Kafka node for so long."""
        self.say(f"seed {self.seed}; one Kafka node, {len(faults)} kinds of faults")
        async with harness(
            self.folder / "single",
            seed=self.seed,
            rate=RATE,
            say=self.say,
            without=self._without,
        ) as h:
            await self._break(h, seconds, faults, poison)

    async def cluster(self, seconds: float, faults: list[Fault]) -> None:
        """Break a pipeline on three Kafka nodes for so long."""
        self.say("three Kafka nodes")
        async with harness(
            self.folder / "cluster",
            seed=self.seed + 1,
            rate=RATE,
            say=self.say,
            without=self._without,
            make_services=Cluster,
            **cluster_settings(),
        ) as h:
            await self._break(h, seconds, faults, 0)

    async def _break(self, h: Harness, seconds: float, faults: list[Fault], poison: int) -> None:
        random, end = Random(self.seed), time.monotonic() + seconds
        by_name = {fault.name: fault for fault in faults}
        names = schedule(random, list(by_name))
        judged = time.monotonic()
        await h.load.start()
        try:
            while time.monotonic() < end and not self.found.total():
                await asyncio.sleep(random.uniform(*PAUSE_S))
                if random.random() < WELL_FIRST:
                    await h.keeper.ready()
                name = next(names)
                self.say(f"{name} ({h.load.orders} orders)")
                await inflict(h, by_name[name], random)
                if poison > 0:
                    await h.load.poison(min(poison, POISON_STEP))
                    poison -= POISON_STEP
                if time.monotonic() - judged > JUDGE_EVERY_S and time.monotonic() < end:
                    await self._judge(h)
                    judged = time.monotonic()
                    await h.load.start()
            if not self.found.total():
                await self._judge(h)
        finally:
            self._places |= {
                place for file in h.settings.data_dir.glob("places-*") for place in places(file)
            }
            self.counts += h.counts
            self.counts["orders"] += h.load.orders
            self.counts["redelivered_events"] += self._repeated
            self.counts["duplicates_injected"] += h.load.kinds["duplicate"]
            self.counts["poisoned"] += h.load.kinds["poison"]
            self.counts["worker_starts"] += h.keeper.starts
            self.counts["gave_up"] += h.keeper.ends[70]

    async def _judge(self, h: Harness) -> None:
        began = time.monotonic()
        seen, verdict = await h.verdict()
        self._note(verdict)
        self._repeated = Facts(seen).repeated()
        self.say(f"at rest and judged in {time.monotonic() - began:.1f} s: {verdict.counts()}")

    def _note(self, verdict: Verdict) -> None:
        self.found.update(verdict.counts())
        self.explanations += verdict.explanations()
        for line in verdict.explanations():
            self.say(line)

    def result(self) -> dict[str, Any]:
        """Return what is printed."""
        named = ("orders", "kills", "broker_restarts", "rebalances", "duplicates_injected")
        rest = {name: count for name, count in self.counts.items() if name not in named}
        return {
            **{name: self.counts[name] for name in named},
            **{kind: self.found[kind] for kind in FOUND},
            "seed": self.seed,
            "awaits": self._awaits(),
            "faults": dict(sorted(rest.items())),
            "explanations": self.explanations,
        }

    def _awaits(self) -> dict[str, int]:
        """Return at how many awaits a worker was killed, of how many that are written."""
        lines = {place.partition(" ")[2] for place in self._places}
        for line in sorted(written() - lines) if lines else ():
            self.say(f"no worker was killed at {line}")
        return {"killed_at": len(self._places), "lines": len(lines), "written": len(written())}


async def run(minutes: float, seed: int, only: str = "", without: str = "") -> int:
    """Run for about so many minutes; print the result and return the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="orderflow-faults-"))
    one = Run(seed, folder, without)
    seconds = minutes * 60
    single = [fault for name, fault in ALL.items() if only in name]
    cluster = [fault for name, fault in CLUSTER_FAULTS.items() if only in name]
    share = seconds * CLUSTER_SHARE if single else seconds
    if share < CLUSTER_LEAST_S and single:
        cluster, share = [], 0.0
    poison = min(POISON, int(minutes * POISON / 10)) if not only else 0
    if single:
        await one.single(seconds - (share if cluster else 0.0), single, poison)
    if cluster and not one.found.total():
        await one.cluster(share, cluster)
    print(json.dumps(one.result()), flush=True)
    if one.found.total():
        one.say(f"the data is kept in {folder}")
        return IncompleteError.exit_code
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Faults under load, and what must hold after.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock; printed")
    parser.add_argument("--only", default="", help="faults with this in their names")
    parser.add_argument("--without", default="", help="defences to do without; see defences.py")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else int(time.time()) % 100_000
    sys.exit(asyncio.run(run(given.minutes, seed, given.only, given.without)))


if __name__ == "__main__":
    main()
