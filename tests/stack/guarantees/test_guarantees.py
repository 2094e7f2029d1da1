"""What the transport promises, and what the same work comes to on stock Faust.

The codes (P1, …) are those of docs/stock-faust.md. Each test runs twice, and says of both sides
what Kafka has in the end: the committed offsets, the outputs, the dead letters, the changelog.
An order is lost when its offset is committed and nothing was ever made of it.
"""

from contextlib import suppress
from pathlib import Path

from streams.transport.fatal import EXIT_INFRASTRUCTURE
from tests.stack.guarantees.faults import HOLD, MUTED, SLOW
from tests.stack.guarantees.side import OUTPUT, Side, order
from tests.stack.plain import Raw, topic_of, wait_until


async def test_an_exception_in_an_agent_loses_nothing(side: Side) -> None:
    """P1. One order raises, later another: stock acknowledges both, and half its work stays."""
    worker = await side.start()
    await side.send(10)
    await side.send(1, "raise")
    await side.send(10)
    await side.settled()
    assert await side.dead() == side.expected(ours={"o-10"}, stock=set())
    assert await side.lost() == side.expected(ours=set(), stock={"o-10"})
    assert await side.counted() == side.expected(ours=20, stock=21)

    await side.send(1, "end")  # here the exception is not one record's fault
    await side.either_ends_or_commits(worker, 22)
    assert worker.child.exit_code == side.expected(ours=EXIT_INFRASTRUCTURE, stock=None)
    assert await side.floor() == side.expected(ours=21, stock=22)
    assert await side.lost() == side.expected(ours=set(), stock={"o-10", "o-21"})


async def test_a_bad_record_commits_nothing_that_is_in_flight(side: Side, tmp_path: Path) -> None:
    """P3. Behind an order in flight comes one that is no JSON: stock commits past both."""
    hold = tmp_path / "hold"
    worker = await side.start(env={HOLD: str(hold)})
    await side.send(10)
    await side.settled()
    hold.touch()
    await side.send(1)
    await side.put(Raw(b"?", b"A1", partition=0))
    if side.kind == "stock":
        await wait_until(side.floor, (12).__eq__)
    else:
        await two_commits_elsewhere(side)
    worker.kill()
    assert await side.floor() == side.expected(ours=10, stock=12)
    assert "o-10" not in await side.published()
    assert ("o-10" in await side.lost()) is side.expected(ours=False, stock=True)


async def two_commits_elsewhere(side: Side) -> None:
    """Return when another partition was committed twice, so that partition 0 might have been."""
    for end in (1, 2):
        await side.put(order(100 + end, partition=1))
        await wait_until(side.committed, {0: 10, 1: end}.__eq__)


async def test_a_commit_never_overtakes_the_changelog(side: Side) -> None:
    """P4. The broker takes its time: stock commits orders that the changelog does not have.

    The changelog is also where stock writes a record per order, ours one per batch.
    """
    worker = await side.start(env={SLOW: "0.5", "ORDERFLOW_COMMIT_INTERVAL_S": "0.05"})
    await side.send(200, "state")

    async def reached() -> tuple[int, int]:
        return await side.floor(), await side.counted()  # in this order: a lead cannot be a delay

    lead = side.expected(ours=0, stock=40)  # on stock, enough to be there still when it is killed
    await wait_until(reached, lambda found: found[0] - found[1] > lead or found[0] == 200)
    worker.kill()
    floor, counted = await reached()
    assert (floor > counted) is side.expected(ours=False, stock=True)
    one_per_order = await side.counts() == list(range(1, counted + 1))
    assert one_per_order is side.expected(ours=False, stock=True)


async def test_a_refused_record_is_not_committed(side: Side) -> None:
    """P5. Kafka refuses an output for its size: stock logs a warning and commits its order."""
    worker = await side.start()
    await side.send(10)
    await side.settled()
    await side.send(1, "large")
    await side.either_ends_or_commits(worker, 11)
    assert worker.child.exit_code == side.expected(ours=EXIT_INFRASTRUCTURE, stock=None)
    assert await side.floor() == side.expected(ours=10, stock=11)
    assert await side.lost() == side.expected(ours=set(), stock={"o-10"})
    assert ("_on_published error" in worker.log.read_text()) is (side.kind == "stock")


async def test_what_is_known_is_published_again(side: Side, tmp_path: Path) -> None:
    """P6. Killed with the state durable, the output not: who skips what it knows, loses it."""
    muted = tmp_path / "muted"
    worker = await side.start(env={MUTED: str(muted)})
    await side.send(10, "once")
    await side.settled()
    muted.write_text(topic_of(side.settings, OUTPUT))
    await side.send(10, "once")
    await wait_until(side.counted, (20).__eq__)
    worker.kill()
    assert (await side.floor(), await side.outputs()) == (10, 10)

    await side.start()
    if side.kind == "stock":  # seen once in four runs: it commits a few, and then no more
        await wait_until(side.floor, (10).__lt__)
    else:
        await side.settled()
    assert await side.counted() == 20
    assert (await side.lost() == set()) is side.expected(ours=True, stock=False)


async def test_a_rebalance_begins_with_a_commit(side: Side) -> None:
    """P7. A second worker comes before the first commit: stock drops its acks, and starts over."""
    never = {"ORDERFLOW_COMMIT_INTERVAL_S": "60"}
    await side.start(env=never)
    await side.send(100)
    await wait_until(side.outputs, (100).__eq__)
    assert await side.committed() == {}
    side.workers.start("orders", 1, never)

    if side.kind == "ours":
        await wait_until(side.floor, (100).__eq__)
        assert await side.outputs() == 100
    else:
        with suppress(AssertionError):  # a busy machine may keep it from doing even that
            await wait_until(side.outputs, lambda outputs: outputs > 100, bound_s=30)
        assert await side.floor() != 100
