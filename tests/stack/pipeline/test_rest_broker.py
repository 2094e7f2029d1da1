"""A broker across a network, from the order on Kafka to the position: one order, fills once.

The broker is a process of its own (`tests/faults/scripted_broker.py`), so that it outlives the
workers that are killed here. What it received is in its journal.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streams.dev.ports import free_ports
from streams.models.controls import KillSwitch, Routing
from streams.settings import Settings
from tests.stack.pipeline.running import EVENTS, Pipeline, set_up, settings_of
from tests.stack.plain import get, read, wait_until
from tests.stack.workers import workers_of

FILLS = {"limit_price": "50.01"}
RESTS = {"limit_price": "49.00"}


@dataclass
class Broker:
    """The scripted broker: its knobs, what it has, what it received."""

    port: int
    journal: Path

    async def fault(self, fault: str, **fields: Any) -> None:
        """Arm a fault, or let one happen."""
        await self.post("faults", {"fault": fault, **fields})

    async def market(self, symbol: str, bid: str, ask: str, size: str | None = None) -> None:
        """Set a market that fills so many shares at once, or any quantity."""
        await self.post("market", {"symbol": symbol, "bid": bid, "ask": ask, "size": size})

    async def post(self, path: str, body: dict[str, Any], status: int = 200) -> None:
        """Make a call; it has to be answered by this status."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{self.port}/{path}", json=body) as answer,
        ):
            assert answer.status == status, await answer.text()

    async def orders(self) -> dict[str, dict[str, Any]]:
        """Return the orders it has, by client order id."""
        found: dict[str, dict[str, Any]] = (await get(self.port, "/state")).body["orders"]
        return found

    def received(self, client_order_id: str, method: str = "POST") -> list[dict[str, Any]]:
        """Return the calls of an order that it received."""
        if not self.journal.exists():
            return []
        calls = [json.loads(line) for line in self.journal.read_text().splitlines()]
        return [
            one
            for one in calls
            if (one["client_order_id"], one["method"]) == (client_order_id, method)
        ]

    async def until_received(self, client_order_id: str, count: int = 1) -> None:
        """Return when so many POSTs of an order have come."""

        async def ask() -> int:
            return len(self.received(client_order_id))

        await wait_until(ask, lambda seen: seen >= count)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Yield a running broker."""
    port, journal = free_ports(1)[0], tmp_path_factory.mktemp("broker") / "journal"
    argv = (sys.executable, "-m", "tests.faults.scripted_broker", "--port", str(port))
    process = subprocess.Popen((*argv, "--seed", "3", "--journal", str(journal)))
    asyncio.run(wait_until(partial(get, port, "/state"), lambda seen: seen.status == 200))
    yield Broker(port, journal)
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def traded(
    stack: Settings, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """Yield a pipeline whose orders all go to the broker."""
    settings = settings_of(stack, tmp_path_factory.mktemp("rest"), "rest").model_copy(
        update={
            "rest_broker_url": f"http://127.0.0.1:{broker.port}",
            "broker_timeout_s": 2.0,
            "broker_calls_per_minute": 6_000,
            "send_within_s": 60.0,
            "reconcile_every_s": 2.0,
        }
    )
    with workers_of(settings) as workers:
        asyncio.run(set_up(settings))
        pipeline = Pipeline(settings, workers)
        for role in ("orders", "gateway"):
            workers.start(role)
        asyncio.run(_informed(pipeline))
        yield pipeline


async def _informed(pipeline: Pipeline) -> None:
    await pipeline.workers.ready()
    await pipeline.controls(Routing(default_broker="rest"))
    await pipeline.instruments("AIG", price="50.00")


@pytest.fixture
async def gateway(traded: Pipeline) -> Pipeline:
    """Return the pipeline with its gateway running, whatever the test before did to it."""
    await traded.ensure("gateway", 1)
    return traded


async def events_of(pipeline: Pipeline, order_id: str) -> list[dict[str, Any]]:
    """Return the events of an order, each once."""
    found = [json.loads(record.value or b"") for record in await read(pipeline.settings, EVENTS)]
    return list({one["event_id"]: one for one in found if one["order_id"] == order_id}.values())


async def test_an_order_goes_round(gateway: Pipeline, broker: Broker) -> None:
    """It is accepted and filled at the broker, and the position is what was filled."""
    await gateway.order(account="R1", order_id="a", **FILLS)
    order = await gateway.order_view("R1", "a", "filled")
    assert (order["cum_qty"], order["broker"]) == ("100", "rest")
    await gateway.position("R1", "AIG", "100")
    at_broker = (await broker.orders())["R1.a"]
    assert (at_broker["status"], at_broker["cum_qty"], at_broker["submits"]) == ("filled", "100", 1)
    kinds = [one["event"] for one in await events_of(gateway, "a")]
    assert kinds[:3] == ["approved", "routed", "accepted"]
    assert set(kinds[3:]) == {"fill"}


async def test_replace_and_cancel_go_round(gateway: Pipeline, broker: Broker) -> None:
    """A resting order takes new terms and is canceled, at the broker and here."""
    await gateway.order(account="R2", order_id="b", **RESTS)
    await gateway.order_view("R2", "b", "accepted")
    await gateway.order(command="replace", account="R2", order_id="b", qty="60")
    replaced = await gateway.order_where("R2", "b", lambda order: order["revision"] == 1)
    assert (replaced["status"], replaced["leaves_qty"]) == ("accepted", "60")
    await gateway.order(command="cancel", account="R2", order_id="b")
    await gateway.order_view("R2", "b", "canceled")
    assert (await broker.orders())["R2.b"]["status"] == "canceled"


async def test_fills_come_twice_and_late_and_count_once(gateway: Pipeline, broker: Broker) -> None:
    """Whatever the stream does with them, the position is what was executed."""
    await broker.fault("duplicate", count=20)
    await broker.fault("reorder", count=3)
    for number in range(6):
        await gateway.order(account="R3", order_id=f"c{number}", **FILLS)
    await broker.fault("drop_stream")
    for number in range(6):
        await gateway.order_view("R3", f"c{number}", "filled")
    await gateway.position("R3", "AIG", "600")
    await broker.fault("drop_stream")
    await asyncio.sleep(1.0)
    assert (await gateway.position("R3", "AIG", "600"))["qty"] == "600"


@pytest.mark.parametrize("fault", ["timeout_after", "error_after", "reset_after"])
async def test_a_call_without_an_answer_is_one_order(
    gateway: Pipeline, broker: Broker, fault: str
) -> None:
    """The broker took it and did not say so, nor does its stream: it is asked, not sent again."""
    order_id = fault.replace("_", "-")
    await broker.fault("mute", count=1_000)
    await broker.market("AIG", "49.99", "50.01", size="100")
    await broker.fault(fault, method="POST")
    await gateway.order(account="R4", order_id=order_id, **FILLS)
    order = await gateway.order_view("R4", order_id, "filled")
    assert (order["cum_qty"], order["fills"], order["avg_px"]) == ("100", 1, "50.01")
    assert len(broker.received(f"R4.{order_id}")) == 1
    assert len(broker.received(f"R4.{order_id}", "GET")) >= 1
    await broker.fault("mute", count=0)
    await broker.market("AIG", "49.99", "50.01")


async def test_a_call_that_never_arrived_is_made_again(gateway: Pipeline, broker: Broker) -> None:
    """After two definite answers that there is no such order, under the same id."""
    await broker.fault("error_before", method="POST")
    await gateway.order(account="R5", order_id="e", **FILLS)
    await gateway.order_view("R5", "e", "filled")
    assert len(broker.received("R5.e")) == 2
    assert len(broker.received("R5.e", "GET")) >= 2
    assert (await broker.orders())["R5.e"]["submits"] == 1


async def test_a_kill_switch_stops_what_is_on_its_way(gateway: Pipeline, broker: Broker) -> None:
    """Engaged after the router saw the order, it is seen by the sender."""
    await broker.fault("throttle", method="POST", count=1_000)
    await gateway.order(account="R6", order_id="k", **FILLS)
    await broker.until_received("R6.k", 1)
    await gateway.controls(KillSwitch(scope="account:R6", engaged=True))
    assert (await gateway.refusal("R6", "k"))["code"] == "KILL_SWITCH"
    assert "R6.k" not in await broker.orders()
    await broker.fault("disarm")


@pytest.mark.parametrize("fault", ["timeout_after", "slow"])
async def test_a_gateway_killed_between_call_and_result_is_one_order(
    gateway: Pipeline, broker: Broker, fault: str
) -> None:
    """The next one asks the broker first."""
    await broker.fault(fault, method="POST", seconds=1.5)
    await gateway.order(account="R7", order_id=f"kill-{fault}", **FILLS)
    name = f"R7.kill-{fault}"
    await broker.until_received(name)
    gateway.workers.running["gateway-0"].kill()
    await gateway.ensure("gateway", 1)
    order = await gateway.order_view("R7", f"kill-{fault}", "filled")
    assert order["cum_qty"] == "100"
    assert len(broker.received(name)) == 1
    assert (await broker.orders())[name]["cum_qty"] == "100"


async def found_by(pipeline: Pipeline, broker: str, account: str) -> list[dict[str, Any]]:
    """Return the differences of an account that were reported, each once."""
    records = await read(pipeline.settings, "reconciliations.v1")
    found = [json.loads(record.value or b"") for record in records]
    ours = [one for one in found if (one["broker"], one["account"]) == (broker, account)]
    return list({one["reconciliation_id"]: one for one in ours}.values())


async def test_what_the_stream_never_told_is_found_by_comparing(
    gateway: Pipeline, broker: Broker
) -> None:
    """Fills count once, an order that is over here too is over; both are reported as mended."""
    await gateway.order(account="R9", order_id="open", **RESTS)
    await gateway.order_view("R9", "open", "accepted")
    await broker.fault("forget_open", client_order_id="R9.open")
    await gateway.order(account="R9", order_id="part", **RESTS)
    await gateway.order_view("R9", "part", "accepted")
    await broker.fault("mute", count=1)
    await broker.market("AIG", "48.90", "49.00", size="40")
    await broker.market("AIG", "49.99", "50.01")
    await gateway.order_view("R9", "open", "canceled")
    part = await gateway.order_where("R9", "part", lambda order: order["cum_qty"] == "40")
    assert (part["status"], part["fills"], part["avg_px"]) == ("partially_filled", 1, "49")
    await gateway.position("R9", "AIG", "40")
    found = await wait_until(partial(found_by, gateway, "rest", "R9"), lambda seen: len(seen) >= 2)
    assert {(one["finding"], one["client_order_id"], one["mended"]) for one in found} == {
        ("over_at_broker", "R9.open", True),
        ("missing_fill", "R9.part", True),
    }


async def test_what_did_not_come_from_here_is_reported(gateway: Pipeline, broker: Broker) -> None:
    """An order somebody sent by other means, and the position it made: no event, a difference."""
    terms = {"symbol": "AIG", "side": "buy", "type": "market", "qty": "7", "time_in_force": "day"}
    await broker.market("AIG", "49.99", "50.01", size="7")
    body = {"client_order_id": "R10.hand", "order_id": "hand", "account": "R10", "terms": terms}
    await broker.post("orders", body, status=201)
    await broker.market("AIG", "49.99", "50.01")
    found = await wait_until(partial(found_by, gateway, "rest", "R10"), lambda seen: len(seen) >= 2)
    said = {(one["finding"], one["ours"], one["theirs"], one["mended"]) for one in found}
    assert said == {("unknown_order", "unknown", "there", False), ("position", "0", "7", False)}
    assert await events_of(gateway, "hand") == []
    await gateway.ensure("history", 1)
    code, rows = await wait_until(partial(_reconcile, gateway), lambda seen: seen[0] == 6)
    assert code == 6
    assert {row["finding"] for row in rows if row["account"] == "R10"} == {
        "unknown_order",
        "position",
    }


async def _reconcile(pipeline: Pipeline) -> tuple[int, list[dict[str, Any]]]:
    """Return what `./orderflow reconcile --json` returns and prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "streams", "reconcile", "--json"),
        env={**os.environ, **pipeline.settings.environment()},
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, json.loads(out)


async def test_a_gateway_that_was_stopped_does_not_send(gateway: Pipeline, broker: Broker) -> None:
    """It stands still with a call to make until another one has its partitions, and goes on."""
    await broker.fault("throttle", method="POST", count=1_000)
    await gateway.order(account="R8", order_id="s", **FILLS)
    await broker.until_received("R8.s", 2)
    stopped = gateway.workers.running["gateway-0"]
    stopped.child.process.send_signal(signal.SIGSTOP)
    await broker.fault("disarm")
    sent = len(broker.received("R8.s"))
    await gateway.workers.start("gateway", 1).ready()
    await gateway.order_view("R8", "s", "filled")
    assert len(broker.received("R8.s")) == sent + 1
    stopped.child.process.send_signal(signal.SIGCONT)
    assert await stopped.exit_code() == 70
    assert len(broker.received("R8.s")) == sent + 1
    assert (await broker.orders())["R8.s"]["cum_qty"] == "100"
