"""Allocations from the outside: targets in by a plain client or the CLI, until positions are so."""

import asyncio
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from streams.models.controls import Instrument
from tests.stack.pipeline.running import EVENTS, UPDATES, Pipeline
from tests.stack.plain import Raw, produce, query, read, wait_until

ROOT = Path(__file__).parents[3]
ASKED = "allocations.requested.v1"
TOLD = "allocations.updates.v1"
FILLS = "strategies.fills.v1"


async def ask(pipeline: Pipeline, account: str, allocation_id: str, **fields: Any) -> None:
    """Put a request on the topic as a plain client does."""
    given = {"command": "target", "allocation_id": allocation_id, "account": account, **fields}
    await produce(pipeline.settings, ASKED, [Raw(json.dumps(given).encode(), account.encode())])


async def newest(pipeline: Pipeline, account: str, allocation_id: str) -> dict[str, Any]:
    """Return an allocation as its topic tells it last."""
    found: dict[str, Any] = {}
    for one in await read(pipeline.settings, TOLD):
        if one.key == f"{account}|{allocation_id}".encode():
            found = json.loads(one.value or b"null")
    return found


async def until(pipeline: Pipeline, account: str, allocation_id: str, status: str) -> Any:
    """Return an allocation when it has a status."""
    ask_for = partial(newest, pipeline, account, allocation_id)
    return await wait_until(ask_for, lambda seen: seen.get("status") == status)


async def market(pipeline: Pipeline, *symbols: str) -> None:
    """Make symbols tradable, in lots of ten, with a quote."""
    await pipeline.controls(
        *(
            Instrument(scope=one, symbol=one, reference_price="49.05", lot_size=10, min_qty=10)
            for one in symbols
        )
    )
    for one in symbols:
        await pipeline.quote(one, "49.00", "49.10")


async def orders_of(pipeline: Pipeline, account: str) -> dict[str, dict[str, Any]]:
    """Return an account's orders by id, as their topic tells them last."""
    told = [json.loads(one.value or b"null") for one in await read(pipeline.settings, UPDATES)]
    return {one["order_id"]: one for one in told if one["account"] == account}


async def test_targets_are_reached_replaced_and_divided(pipeline: Pipeline) -> None:
    """Long and short; a new target over zero; a total among accounts, by the command line."""
    await pipeline.ensure("orders", 1)
    await market(pipeline, "ALA", "ALB")
    await ask(pipeline, "AL1", "first", targets={"ALA": "105", "ALB": "-50"}, strategy="mean")
    done = await until(pipeline, "AL1", "first", "done")
    assert {one["symbol"]: one["position_qty"] for one in done["order_fill"]} == {
        "ALA": "100",  # in lots of ten, toward zero
        "ALB": "-50",
    }
    await pipeline.position("AL1", "ALA", "100")
    await pipeline.position("AL1", "ALB", "-50")

    await ask(pipeline, "AL1", "second", targets={"ALA": "-40"})
    await until(pipeline, "AL1", "second", "done")
    await pipeline.position("AL1", "ALA", "-40")

    told = await asyncio.to_thread(
        cli, pipeline, "allocate", "ALA=100", "--accounts", "AL2=2,AL3=1", "--id", "both"
    )
    assert (told["allocation_id"], told["records"]) == ("both", 1)
    await pipeline.position("AL2", "ALA", "70")
    await pipeline.position("AL3", "ALA", "30")
    whole = await until(pipeline, "AL2", "both", "divided")
    parts = await pipeline.view("/accounts/AL3/allocations")
    assert [one["parent_id"] for one in parts.body["items"]] == [whole["allocation_id"]]

    fills = [json.loads(one.value or b"") for one in await read(pipeline.settings, FILLS)]
    assert {(one["symbol"], one["strategy"]) for one in fills} == {("ALA", "mean"), ("ALB", "mean")}
    rows = "select status from allocations_now where account = 'AL1' order by allocation_id"
    asked = partial(query, pipeline.settings, rows)
    await wait_until(asked, lambda found: [one[0] for one in found] == ["done", "done"])
    table = await asyncio.to_thread(cli, pipeline, "table", "allocator", "AL1", "first")
    assert table["status"] == "done"


async def test_a_new_target_over_an_open_order_and_a_kill(pipeline: Pipeline) -> None:
    """Limit orders that rest are canceled and replaced; nothing is sent twice, nothing lost."""
    await pipeline.ensure("orders", 1)
    await market(pipeline, "ALC")
    prices = {"type": "limit", "limit_prices": {"ALC": "45.00"}}
    await ask(pipeline, "AL5", "rests", targets={"ALC": "100"}, **prices)
    await pipeline.order_view("AL5", "al:rests:ALC:1", "accepted")
    pipeline.workers.running["orders-0"].kill()
    await ask(pipeline, "AL5", "rests", targets={"ALC": "100"}, **prices)  # a repetition
    await ask(pipeline, "AL5", "now", targets={"ALC": "60"})
    pipeline.workers.start("orders")
    await asyncio.sleep(2)
    pipeline.workers.running["orders-0"].kill()
    await pipeline.workers.start("orders").ready()
    await until(pipeline, "AL5", "now", "done")
    assert (await newest(pipeline, "AL5", "rests"))["status"] == "replaced"
    await pipeline.position("AL5", "ALC", "60")
    found = await orders_of(pipeline, "AL5")
    assert {name: (one["status"], one["cum_qty"]) for name, one in found.items()} == {
        "al:rests:ALC:1": ("canceled", "0"),
        "al:now:ALC:1": ("filled", "60"),
    }
    await pipeline.workers.running["orders-0"].ready()
    events = [json.loads(one.value or b"null") for one in await read(pipeline.settings, EVENTS)]
    filled = {one["event_id"] for one in events if one["account"] == "AL5" and "fill" in one}
    assert len(filled) == 1


async def test_what_the_gate_refuses_ends_the_symbol(pipeline: Pipeline) -> None:
    """An unknown symbol beside a good one; then a cancel of an order that rests."""
    await pipeline.ensure("orders", 1)
    await market(pipeline, "ALD")
    await ask(pipeline, "AL6", "half", targets={"ALD": "20", "NONE": "5"})
    found = await until(pipeline, "AL6", "half", "partly_refused")
    codes = {one["symbol"]: one["refusal_code"] for one in found["order_fill"]}
    assert codes == {"ALD": "", "NONE": "UNKNOWN_SYMBOL"}
    prices = {"type": "limit", "limit_prices": {"ALD": "45.00"}}
    await ask(pipeline, "AL6", "rests", targets={"ALD": "100"}, **prices)
    await pipeline.order_view("AL6", "al:rests:ALD:1", "accepted")
    await asyncio.to_thread(cli, pipeline, "allocate", "--account", "AL6", "--cancel", "rests")
    await until(pipeline, "AL6", "rests", "canceled")
    await pipeline.order_view("AL6", "al:rests:ALD:1", "canceled")


def cli(pipeline: Pipeline, *words: str) -> dict[str, Any]:
    """Run a command of the command line against the pipeline; return its JSON."""
    worker = pipeline.workers.running["orders-0"]
    env = pipeline.settings.model_copy(update={"web_port": worker.port}).environment()
    done = subprocess.run(
        [sys.executable, "-m", "streams", *words, "--json"],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
