"""Sliced orders from the outside: by a plain client or the CLI, on ticks, until they are filled."""

import asyncio
import json
import time
from functools import partial
from typing import Any

from streams.models.controls import Instrument
from tests.stack.pipeline.running import LAST, TRADES, Pipeline, tick_of
from tests.stack.pipeline.test_allocations import cli, orders_of
from tests.stack.plain import Raw, produce, query, read, wait_until

ASKED = "slices.requested.v1"
TOLD = "slices.updates.v1"
SECOND = 1_000_000_000


async def ask(pipeline: Pipeline, account: str, parent_id: str, **fields: Any) -> None:
    """Put a request on the topic as a plain client does: 90 shares, from now on."""
    given = {"account": account, "parent_id": parent_id, "side": "buy", "qty": "90", **fields}
    await produce(pipeline.settings, ASKED, [Raw(json.dumps(given).encode(), account.encode())])


async def told(pipeline: Pipeline, account: str, parent_id: str) -> list[dict[str, Any]]:
    """Return what the topic says of a parent, in order."""
    key = f"{account}|{parent_id}".encode()
    found = await read(pipeline.settings, TOLD)
    return [json.loads(one.value or b"null") for one in found if one.key == key]


async def until(pipeline: Pipeline, account: str, parent_id: str, status: str) -> Any:
    """Return a parent when it has a status."""
    ask_for = partial(told, pipeline, account, parent_id)
    found = await wait_until(ask_for, lambda seen: seen and seen[-1]["status"] == status)
    return found[-1]


async def tradable(pipeline: Pipeline, symbol: str) -> None:
    """Make a symbol tradable, with a quote."""
    await pipeline.controls(Instrument(scope=symbol, symbol=symbol, reference_price="49.05"))
    await pipeline.quote(symbol, "49.00", "49.10")


async def test_a_twap_is_filled_in_slices_over_a_kill(pipeline: Pipeline) -> None:
    """Each slice once, although the worker dies in between; the position is the quantity."""
    await pipeline.ensure("orders", 1)
    await tradable(pipeline, "SLA")
    end_ns = time.time_ns() + 18 * SECOND
    given = {"command": "twap", "symbol": "SLA", "interval_s": "3", "end_ns": end_ns}
    await ask(pipeline, "SL1", "t", **given)
    await pipeline.order_view("SL1", "t-E1", "filled")
    pipeline.workers.running["orders-0"].kill()
    await pipeline.workers.start("orders").ready()
    done = await until(pipeline, "SL1", "t", "filled")
    assert (done["cum_qty"], done["leaves_qty"], done["avg_px"]) == ("90", "0", "49.1")
    await pipeline.position("SL1", "SLA", "90")
    found = await orders_of(pipeline, "SL1")
    assert set(found) == {f"t-E{number}" for number in range(1, done["children"] + 1)}
    assert sum(int(one["terms"]["qty"]) for one in found.values()) == 90
    assert done["children"] >= 3
    rows = "select status, cum_qty from slices_now where account = 'SL1'"
    asked = partial(query, pipeline.settings, rows)
    await wait_until(
        asked, lambda seen: [(one[0], int(one[1])) for one in seen] == [("filled", 90)]
    )


async def test_a_share_of_the_volume_and_a_cancel(pipeline: Pipeline) -> None:
    """Prints are counted by the prices agent; what rests is canceled with the parent."""
    await pipeline.ensure("orders", 1)
    await tradable(pipeline, "SLB")
    await pipeline.ensure("market", 1)
    await prints(pipeline, "SLB", 1_000)
    words = ["pov", "SLB", "buy", "90", "--account", "SL2", "--id", "p"]
    words += ["--participation", "0.1", "--interval", "1s", "--for", "10m"]
    await asyncio.to_thread(cli, pipeline, "slice", *words)
    await until(pipeline, "SL2", "p", "working")
    await asyncio.sleep(2)  # it looks at the volume before more is printed
    await prints(pipeline, "SLB", 500)
    await pipeline.position("SL2", "SLB", "50")
    await prints(pipeline, "SLB", 5_000)
    done = await until(pipeline, "SL2", "p", "filled")
    assert (done["cum_qty"], done["children"]) == ("90", 2)
    await pipeline.position("SL2", "SLB", "90")

    end_ns = time.time_ns() + 600 * SECOND
    given = {"command": "twap", "symbol": "SLB", "end_ns": end_ns, "limit_price": "45"}
    await ask(pipeline, "SL2", "rests", **given)
    await pipeline.order_view("SL2", "rests-E1", "accepted")
    await asyncio.to_thread(cli, pipeline, "slice", "cancel", "rests", "--account", "SL2")
    assert (await until(pipeline, "SL2", "rests", "canceled"))["cum_qty"] == "0"
    await pipeline.order_view("SL2", "rests-E1", "canceled")
    table = await asyncio.to_thread(cli, pipeline, "table", "slices", "SL2", "rests")
    assert table["status"] == "canceled"


async def prints(pipeline: Pipeline, symbol: str, size: int) -> None:
    """Let a symbol print so many shares, and return when the last price says so."""
    before = await volume(pipeline, symbol)
    tick = tick_of(symbol, price="49.05", size=str(size))
    await produce(pipeline.settings, TRADES, [tick])
    await wait_until(partial(volume, pipeline, symbol), lambda seen: seen == before + size)


async def volume(pipeline: Pipeline, symbol: str) -> int:
    """Return a symbol's volume as the topic of last prices has it."""
    found = 0
    for one in await read(pipeline.settings, LAST):
        if one.key == symbol.encode():
            found = int(json.loads(one.value or b"null").get("volume", 0))
    return found
