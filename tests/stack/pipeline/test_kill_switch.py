"""The kill switch on the running pipeline: what it stops, cancels and closes, and that it holds."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from streams.models.controls import KillSwitch
from streams.models.orders import OrderEvent
from streams.settings import Settings
from streams.topics import CONTROLS, ORDERS_EVENTS
from tests.builders import event
from tests.stack.history_support import answer, new_database, records, store
from tests.stack.pipeline.running import EVENTS, Pipeline
from tests.stack.plain import get, query, read, wait_until

QUERY = "sent_after_kill_switch"


@asynccontextmanager
async def engaged(pipeline: Pipeline, scope: str, **fields: Any) -> AsyncIterator[int]:
    """Engage a switch of a scope that no other test uses; yield its version; release it."""
    on = KillSwitch(scope=scope, engaged=True, reason="test", **fields)
    (written,) = await pipeline.controls(on)
    try:
        yield written.version
    finally:
        await pipeline.controls(KillSwitch(scope=scope))


async def events_of(pipeline: Pipeline, account: str) -> list[dict[str, Any]]:
    """Return the events of an account, in order."""
    found = [
        json.loads(record.value or b"null") for record in await read(pipeline.settings, EVENTS)
    ]
    return [each for each in found if each["account"] == account]


async def known_to_gateway(pipeline: Pipeline, version: int) -> None:
    """Return when the gateway has read the controls up to a version."""
    (worker,) = pipeline.running("gateway")
    await wait_until(
        partial(get, worker.port, "/health/ready"),
        lambda seen: seen.status == 200 and seen.body["controls_version"] >= version,
    )


async def stored(pipeline: Pipeline, account: str, order_id: str, kind: str) -> int:
    """Return the stamp of an event when the history has it."""
    sql = "select controls_version from order_events where account = {account:String}"
    sql += " and order_id = {order_id:String} and event = {kind:String}"
    asked = partial(query, pipeline.settings, sql, account=account, order_id=order_id, kind=kind)
    ((version,),) = await wait_until(asked, lambda rows: len(rows) == 1)
    return int(version)


async def test_an_order_on_its_way_is_stopped_at_the_venue(pipeline: Pipeline) -> None:
    """It passed the gate before the switch; the gateway comes to it afterwards, and refuses."""
    await pipeline.instruments("KSA")
    await pipeline.quote("KSA", "49.00", "49.10")
    given = {"account": "KS1", "symbol": "KSA"}
    await pipeline.order(order_id="before", **given)
    await pipeline.order_view("KS1", "before", "filled")
    assert await pipeline.workers.running["gateway-0"].stop() == 0
    await pipeline.order(order_id="late", **given)

    async def kinds() -> list[str]:
        found = await events_of(pipeline, "KS1")
        return [each["event"] for each in found if each["order_id"] == "late"]

    await wait_until(kinds, lambda seen: {"approved", "routed"} <= set(seen))
    async with engaged(pipeline, "account:KS1") as version:
        await pipeline.order(order_id="refused", **given)
        assert (await pipeline.refusal("KS1", "refused"))["code"] == "KILL_SWITCH"
        await pipeline.workers.start("gateway").ready()
        refusal = await pipeline.refusal("KS1", "late")
        assert (refusal["code"], refusal["rules_version"]) == ("KILL_SWITCH", version)
        assert "accepted" not in await kinds()
    await pipeline.order(order_id="after", **given)
    await pipeline.order_view("KS1", "after", "accepted", "filled")

    assert 0 < await stored(pipeline, "KS1", "before", "accepted") < version
    assert await stored(pipeline, "KS1", "late", "rejected") >= version
    assert await stored(pipeline, "KS1", "after", "accepted") > version
    assert await answer(pipeline.settings, QUERY, account="KS1") == []


async def test_it_cancels_closes_and_holds_over_a_kill(pipeline: Pipeline) -> None:
    """A long and a short position, open orders, a bracket; the worker is killed meanwhile."""
    await pipeline.ensure("orders", 1)
    await pipeline.instruments("KFA", "KFB")
    for symbol in ("KFA", "KFB"):
        await pipeline.quote(symbol, "49.00", "49.10")
    legs = {
        "order_class": "bracket",
        "take_profit": {"limit_price": "60.00"},
        "stop_loss": {"stop_price": "40.00"},
    }
    await pipeline.order(account="KF1", order_id="long", symbol="KFA", **legs)
    short = {"side": "sell", "limit_price": "48.90", "qty": "50"}
    await pipeline.order(account="KF1", order_id="short", symbol="KFB", **short)
    for number in range(5):
        rests = {"symbol": "KFB", "limit_price": f"45.0{number}"}
        await pipeline.order(account="KF1", order_id=f"rests-{number}", **rests)
    for order_id in ("long", "short"):
        await pipeline.order_view("KF1", order_id, "filled")
    for order_id in ("long-TP", "long-SL", *(f"rests-{number}" for number in range(5))):
        await pipeline.order_view("KF1", order_id, "accepted")

    async with engaged(pipeline, "account:KF1", cancel_open=True, flatten=True) as version:
        pipeline.workers.running["orders-0"].kill()
        await pipeline.workers.start("orders").ready()
        for symbol in ("KFA", "KFB"):
            await pipeline.position("KF1", symbol, "0")
        ask = partial(pipeline.view, "/accounts/KF1/orders?status=open")
        await wait_until(ask, lambda seen: seen.status == 200 and seen.body["items"] == [])
        await pipeline.order(account="KF1", order_id="more", symbol="KFA")
        assert (await pipeline.refusal("KF1", "more"))["code"] == "KILL_SWITCH"
        await known_to_gateway(pipeline, version)

    told = await events_of(pipeline, "KF1")
    ours = {each["event_id"]: each for each in told if each["order_id"].startswith("kill:")}
    ends = Counter((each["order_id"], each["event"]) for each in ours.values())
    assert {name for name, kind in ends if kind == "fill"} == {
        f"kill:{version}:KFA",
        f"kill:{version}:KFB",
    }
    closed = {each["order_id"] for each in told if each["event"] == "canceled"}
    assert closed >= {f"rests-{number}" for number in range(5)}
    for symbol in ("KFA", "KFB"):
        assert await stored(pipeline, "KF1", f"kill:{version}:{symbol}", "accepted") >= version
    assert await answer(pipeline.settings, QUERY, account="KF1") == []


def sent(order_id: str, version: int, **fields: Any) -> OrderEvent:
    """Return an order's acceptance under these controls."""
    return event("accepted", order_id=order_id, controls_version=version, **fields)


HISTORY = [
    sent("before", 9),
    sent("at", 10),
    sent("within", 14),
    sent("off", 15),
    sent("other-account", 12, account="A2"),
    sent("symbol", 16, account="A3"),
    sent("other-symbol", 16, account="A3", symbol="IBM"),
    sent("strategy", 21, account="A3", symbol="IBM", strategy="s"),
    sent("no-strategy", 21, account="A3", symbol="IBM"),
    sent("broker", 21, account="A4", symbol="IBM", broker="rest"),
    sent("opens", 31, account="A5", symbol="IBM"),
    sent("closes", 31, account="A5", symbol="IBM"),
]
SWITCHES = [
    KillSwitch(scope="account:A1", version=10, engaged=True, reason="r"),
    KillSwitch(scope="account:A1", version=15),
    KillSwitch(scope="symbol:AIG", version=16, engaged=True),
    KillSwitch(scope="strategy:s", version=20, engaged=True),
    KillSwitch(scope="broker:rest", version=21, engaged=True),
    KillSwitch(scope="account:A5", version=30, engaged=True, flatten=True),
]
VIOLATIONS = {"at", "within", "symbol", "strategy", "broker", "opens"}


async def test_the_query_finds_what_should_not_have_been_sent(stack: Settings) -> None:
    """On a history made by hand; on one without switches it finds nothing."""
    settings = await new_database(stack)
    await store(settings, records(ORDERS_EVENTS, HISTORY))
    assert await answer(settings, QUERY) == []
    terms = {
        "symbol": "IBM", "side": "sell", "type": "market", "qty": "1", "time_in_force": "day",
        "reduce_only": True,
    }  # fmt: skip
    closes = {"account": "A5", "symbol": "IBM", "side": "sell", "terms": terms}
    approved = event("approved", order_id="closes", broker="", **closes)
    await store(settings, records(ORDERS_EVENTS, [*HISTORY, approved]))
    await store(settings, records(CONTROLS, SWITCHES))
    found = await answer(settings, QUERY)
    assert {row["order_id"] for row in found} == VIOLATIONS
    assert len(found) == len(VIOLATIONS)
    own = await answer(settings, QUERY, account="A1")
    assert [(row["order_id"], row["scope"], row["reason"]) for row in own] == [
        ("at", "account:A1", "r"),
        ("within", "account:A1", "r"),
    ]
