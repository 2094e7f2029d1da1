"""The short form of the fault suite: a few faults of each kind, under load, and the verdict.

The long form is `./orderflow test --faults`. The chance is seeded; the seed is printed when a
test fails, and `--faults --seed` takes it.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from tests.faults.cluster import FAULTS as CLUSTER_FAULTS
from tests.faults.cluster import Cluster, cluster_settings
from tests.faults.facts import Facts, Seen
from tests.faults.faults import ALL, Fault, crash, inflict
from tests.faults.harness import Harness, harness

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="module")]

SEED = 20261121
RATE = 40.0
#: Longer than a commit interval, so that there is something to be redelivered.
AT_WORK_S = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harness]:
    """Yield a pipeline on one Kafka node that may be broken."""
    folder = tmp_path_factory.mktemp("faults")
    async with harness(folder, seed=SEED, rate=RATE, say=print) as h:
        yield h


async def survives(h: Harness, *faults: Fault) -> Seen:
    """Do these faults under load; return what is left, in which nothing may be wrong."""
    print(f"seed {SEED}")
    random, before = Random(SEED), h.load.orders
    await h.load.start()
    for fault in faults:
        assert await h.keeper.ready() == []
        await asyncio.sleep(AT_WORK_S)
        await inflict(h, fault, random)
    seen, verdict = await h.verdict()
    assert verdict.explanations() == []
    assert h.load.orders > before + 20  # without a load nothing was at stake
    return seen


async def test_workers_may_be_killed_at_any_moment(broken: Harness) -> None:
    """Kill each role at random, and the order path at one step after another."""
    kills = [ALL[f"kill {role}"] for role in ("orders", "gateway", "market", "history")]
    seen = await survives(broken, *kills, crash("orders", 2), crash("gateway", 2))
    assert broken.counts["crash_steps"] >= 4
    assert Facts(seen).repeated() > 0  # else nothing was redelivered, and nothing was tried


async def test_kafka_may_be_killed(broken: Harness) -> None:
    """Kill Kafka with records on their way, then a worker that has just found it again."""
    await survives(broken, ALL["kill kafka"], ALL["kill orders"])


async def test_workers_come_and_go(broken: Harness) -> None:
    """Workers join and leave under load; one stands still past its session, then wakes up."""
    await survives(broken, ALL["rebalance squall"], ALL["gateway stands still"])
    assert broken.counts["rebalances"] >= 3


async def test_what_is_around_may_be_away(broken: Harness) -> None:
    """ClickHouse, Valkey, a broker break off or do not answer; disks are full; some is poison."""
    names = ("clickhouse cut", "valkey hole", "kill clickhouse")
    more = ("orders disk full", "poison a little", "broker timeout_after")
    await survives(broken, *(ALL[name] for name in (*names, *more)))
    assert broken.keeper.ends[70] > 0  # a worker gave up for want of room


async def test_any_node_of_three_may_be_lost(tmp_path: Path) -> None:
    """Kill one node of a cluster with records on their way; the long form kills each."""
    async with harness(
        tmp_path,
        seed=SEED,
        rate=RATE,
        say=print,
        make_services=Cluster,
        **cluster_settings(),
    ) as h:
        await survives(h, CLUSTER_FAULTS["lose a node"])
        assert h.counts["broker_restarts"] == 1
