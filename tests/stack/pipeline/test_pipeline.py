"""The pipeline from the outside: records in by a plain client, views, history, rules, kills."""

import asyncio
import json
import random
import socket
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.kafka.controls import publish_controls
from streams.models.controls import AnyControl, KillSwitch, Limits, TradingState
from streams.partitioner import partition_of
from streams.settings import Settings
from tests.stack.pipeline.running import (
    ACCOUNTS,
    APPROVED,
    DEAD,
    EVENTS,
    POSITIONS,
    REQUESTED,
    UPDATES,
    VENUE,
    Pipeline,
    command,
)
from tests.stack.plain import Answer, Raw, count, ends, produce, query, read, wait_until

PROBLEM = "application/problem+json"
#: Codes of records that could not be decoded; the history has no row for them.
UNREAD = (
    b"BAD_JSON",
    b"BAD_SCHEMA",
    b"BAD_TYPE",
    b"BAD_NUMBER",
    b"BAD_ID",
    b"TOO_LARGE",
    b"TOO_COMPLEX",
    b"SCHEMA_FUTURE",
    b"TOMBSTONE",
)

BY_HAND = (
    '{"command": "submit", "order_id": "o-1", "account": "A1", "symbol": "AIG", '
    '"side": "buy", "type": "limit", "qty": "100", "limit_price": "49.20"}'
)


# --- one order ------------------------------------------------------------------------------


async def test_a_first_order_by_hand(pipeline: Pipeline) -> None:
    """Ticks and one order of a plain client: views and history show all that became of it."""
    await pipeline.quote("AIG", "49.00", "49.10")
    await produce(pipeline.settings, REQUESTED, [Raw(BY_HAND.encode(), b"A1")])

    order = await pipeline.order_view("A1", "o-1", "filled")
    assert (order["cum_qty"], order["leaves_qty"], order["fills"]) == ("100", "0", 1)

    paid = 100 * Decimal(order["avg_px"]) + Decimal(order["commission"])
    position = await pipeline.position("A1", "AIG", "100")
    assert Decimal(position["avg_entry_px"]) == Decimal(order["avg_px"])
    account = (await pipeline.view("/accounts/A1")).body
    assert Decimal(account["cash"]) == Decimal(1_000_000) - paid

    hops = await wait_until(lambda: _hops(pipeline, "A1", "o-1"), lambda hops: hops == EVERY_HOP)
    assert hops == EVERY_HOP
    stood = "select qty from positions_now where account = 'A1' and symbol = 'AIG'"
    # Positions reach the history on a topic of their own, which may be written after the orders'.
    held = [(Decimal(100),)]
    found = await wait_until(lambda: query(pipeline.settings, stood), lambda rows: rows == held)
    assert found == held


#: What the history holds of an order that was filled at once: table, what, how often.
EVERY_HOP = {
    ("order_requests", "submit"): 1,
    ("approved_orders", "submit"): 1,
    ("venue_orders", "submit"): 1,
    ("order_events", "approved"): 1,
    ("order_events", "routed"): 1,
    ("order_events", "accepted"): 1,
    ("order_events", "fill"): 1,
    ("orders_now", "filled"): 1,
    ("fills", "buy"): 1,
}


async def _hops(pipeline: Pipeline, account: str, order_id: str) -> dict[tuple[str, str], int]:
    columns = {"order_events": "event", "orders_now": "status", "fills": "side"}
    found = {}
    for table in dict.fromkeys(table for table, _ in EVERY_HOP):
        rows = await query(
            pipeline.settings,
            """
            select toString({column:Identifier}) as what, count() from {table:Identifier}
            where account = {account:String} and order_id = {order_id:String} group by what
            """,
            column=columns.get(table, "command"),
            table=table,
            account=account,
            order_id=order_id,
        )
        found |= {(table, what): times for what, times in rows}
    return found


async def test_replace_and_cancel_go_round(pipeline: Pipeline) -> None:
    """A resting order takes new terms, then is canceled; a second cancel finds nothing to do."""
    await pipeline.instruments("CXL")
    await pipeline.quote("CXL", "49.00", "49.10")
    await pipeline.order(account="C1", order_id="c", symbol="CXL", limit_price="45.00")
    await pipeline.order_view("C1", "c", "accepted")

    change = {"account": "C1", "order_id": "c", "qty": "50", "limit_price": "46.00"}
    await pipeline.order(command="replace", **change)
    replaced = await pipeline.order_where("C1", "c", lambda order: order["revision"] == 1)
    assert (replaced["status"], replaced["leaves_qty"]) == ("accepted", "50")
    assert replaced["terms"]["limit_price"] == "46.00"

    await pipeline.order(command="cancel", account="C1", order_id="c")
    canceled = await pipeline.order_view("C1", "c", "canceled")
    assert (canceled["cum_qty"], canceled["leaves_qty"]) == ("0", "0")
    await pipeline.order(command="cancel", account="C1", order_id="c", request_id="again")
    await pipeline.order(command="cancel", account="C1", order_id="never")
    refused = await wait_until(lambda: _refused(pipeline, "C1"), lambda found: len(found) == 2)
    assert refused == {"c": "TOO_LATE", "never": "UNKNOWN_ORDER"}
    assert (await pipeline.view("/accounts/C1/orders?status=open")).body["items"] == []


async def _refused(pipeline: Pipeline, account: str) -> dict[str, str]:
    events = [json.loads(record.value) for record in await read(pipeline.settings, EVENTS)]
    refused = (e for e in events if e["account"] == account and e["event"] == "cancel_rejected")
    return {event["order_id"]: event["refusal"]["code"] for event in refused}


async def test_market_stop_and_bracket_orders(pipeline: Pipeline) -> None:
    """A market order fills at once, a stop when the market gets there, a bracket by one leg."""
    await pipeline.instruments("STP", "BRK")
    for symbol in ("STP", "BRK"):
        await pipeline.quote(symbol, "49.00", "49.10")

    ten = {"account": "M1", "symbol": "STP", "qty": "10"}
    await pipeline.order(order_id="market", type="market", **ten)
    await pipeline.order(order_id="stop", type="stop", stop_price="50.00", **ten)
    assert (await pipeline.order_view("M1", "market", "filled"))["avg_px"] == "49.1"
    await pipeline.order_view("M1", "stop", "accepted")
    await pipeline.quote("STP", "50.00", "50.10")
    assert (await pipeline.order_view("M1", "stop", "filled"))["avg_px"] == "50.1"

    legs = {"take_profit": {"limit_price": "55.00"}, "stop_loss": {"stop_price": "45.00"}}
    entry = {"account": "B1", "order_id": "b", "symbol": "BRK", "type": "market", "qty": "10"}
    await pipeline.order(order_class="bracket", **entry, **legs)
    await pipeline.order_view("B1", "b", "filled")
    await pipeline.order_view("B1", "b-TP", "accepted")
    await pipeline.quote("BRK", "55.10", "55.20")
    profit = await pipeline.order_view("B1", "b-TP", "filled")
    loss = await pipeline.order_view("B1", "b-SL", "canceled")
    assert [leg["parent_order_id"] for leg in (profit, loss)] == ["b", "b"]
    await pipeline.position("B1", "BRK", "0")


# --- rules ----------------------------------------------------------------------------------


async def test_a_refusal_names_the_limit_the_value_and_the_version(pipeline: Pipeline) -> None:
    """Code, limit, actual value and the version of the record that held the limit; also later."""
    await pipeline.order(account="R1", order_id="r", qty="5000")
    refusal = await pipeline.refusal("R1", "r")
    del refusal["text"]
    limits = (await pipeline.view("/accounts/R1")).body["limits_version"]
    assert refusal == {
        "code": "MAX_ORDER_QTY",
        "limit": "1000",
        "actual": "5000",
        "rules_version": limits,
    }
    kept = "select refusal_code, refusal_limit, refusal_actual, rules_version from orders_now"
    await wait_until(
        lambda: query(pipeline.settings, f"{kept} where account = 'R1'"),
        lambda rows: rows == [("MAX_ORDER_QTY", "1000", "5000", limits)],
    )


LIVE = (
    (Limits(scope="L1", max_order_qty=Decimal(10)), "MAX_ORDER_QTY", "an account's own limit"),
    (KillSwitch(scope="account:L1", engaged=True), "KILL_SWITCH", "one account is stopped"),
    (KillSwitch(scope="symbol:LIV", engaged=True), "KILL_SWITCH", "one symbol is stopped"),
    (TradingState(scope="L1", state="halted"), "TRADING_HALTED", "an account is halted"),
)


@pytest.mark.parametrize(("control", "code", "reason"), LIVE, ids=[row[2] for row in LIVE])
async def test_rules_take_effect_while_running(
    pipeline: Pipeline, control: AnyControl, code: str, reason: str
) -> None:
    """No restart: the next order is refused by the new version, and passes when it is undone."""
    await pipeline.instruments("LIV")
    (written,) = await pipeline.controls(control)
    await pipeline.order(account="L1", order_id=f"no-{written.version}", symbol="LIV")
    refusal = await pipeline.refusal("L1", f"no-{written.version}")
    assert (refusal["code"], refusal["rules_version"]) == (code, written.version)

    (undone,) = await pipeline.controls(type(control)(scope=control.scope))
    await pipeline.order(account="L1", order_id=f"ok-{undone.version}", symbol="LIV")
    await pipeline.order_view("L1", f"ok-{undone.version}", "accepted", "filled")


async def test_a_kill_switch_lets_cancels_pass(pipeline: Pipeline) -> None:
    """An open order can be canceled while the account is stopped."""
    await pipeline.instruments("KIL")
    await pipeline.order(account="K1", order_id="open", symbol="KIL", limit_price="45.00")
    await pipeline.order_view("K1", "open", "accepted")
    await pipeline.controls(KillSwitch(scope="account:K1", engaged=True))
    await pipeline.order(command="cancel", account="K1", order_id="open")
    await pipeline.order_view("K1", "open", "canceled")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Yield a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


async def test_without_redis_the_last_known_rules_hold(
    pipeline: Pipeline, silent_port: int
) -> None:
    """Redis refuses one worker and hangs for the other: old rules hold, new ones take effect."""
    await pipeline.instruments("RED")
    (old,) = await pipeline.controls(Limits(scope="RD", max_order_qty=Decimal(5)))
    dead, hanging = "redis://127.0.0.1:1/0", f"redis://127.0.0.1:{silent_port}/0"
    await pipeline.restart("orders", 0, {"ORDERFLOW_REDIS_URL": dead})
    await pipeline.workers.start("orders", 1, {"ORDERFLOW_REDIS_URL": hanging}).ready()
    for index in (0, 1):
        await wait_until(
            partial(pipeline.view, "/health/ready", index),
            lambda seen: seen.status == 200 and seen.body["redis"] == "away",
        )

    given = {"account": "RD", "symbol": "RED", "limit_price": "45.00"}
    for qty, expected in (("6", "rejected"), ("5", "accepted")):
        await pipeline.order(order_id=qty, qty=qty, **given)
        await pipeline.order_view("RD", qty, expected)
    assert (await pipeline.refusal("RD", "6"))["rules_version"] == old.version

    without = pipeline.settings.model_copy(update={"redis_url": SecretStr(dead)})
    written = await publish_controls(without, [Limits(scope="RD", max_order_qty=Decimal(2))])
    await pipeline.informed(written.controls[0].version)
    assert not written.locked
    await pipeline.order(order_id="3", qty="3", **given)
    assert (await pipeline.refusal("RD", "3"))["rules_version"] == written.controls[0].version


# --- several workers, and kills --------------------------------------------------------------


async def test_any_worker_answers_for_all(pipeline: Pipeline) -> None:
    """Two workers share the accounts; whichever is asked gives the owner's answer."""
    await pipeline.ensure("orders", 2)
    accounts = [f"W{number}" for number in range(8)]
    await produce(
        pipeline.settings, REQUESTED, [command(account=one, order_id="w") for one in accounts]
    )
    for account in accounts:
        await pipeline.order_view(account, "w", "accepted", "filled")

    owned = [await _partitions(pipeline, index) for index in (0, 1)]
    assert owned[0].isdisjoint(owned[1])
    assert owned[0] | owned[1] == {0, 1, 2, 3}
    for account in accounts:
        for path in (f"/accounts/{account}/orders/w", f"/accounts/{account}/orders?status=none"):
            first, second = [await pipeline.view(path, index) for index in (0, 1)]
            assert (first.status, first.body) == (200, second.body)
        for index in (0, 1):
            missing = await pipeline.view(f"/accounts/{account}/orders/none", index)
            assert (missing.status, missing.kind) == (404, PROBLEM)
            assert missing.body["detail"] == f"account {account} has no order none"


async def _partitions(pipeline: Pipeline, index: int) -> set[int]:
    tables = (await pipeline.view("/tables", index)).body
    (orders,) = (table for table in tables if table["name"] == "orders")
    return set(orders["partitions"])


ACCOUNTS_UNDER_LOAD = 16
ORDERS_UNDER_LOAD = 3_000


async def test_kills_under_load_lose_and_double_nothing(pipeline: Pipeline) -> None:
    """Killed with -9: an orders worker that another replaces, and the gateway. The books agree."""
    await pipeline.ensure("orders", 2)
    await pipeline.instruments("KLA", "KLB")
    for symbol in ("KLA", "KLB"):
        await pipeline.quote(symbol, "49.00", "49.10")
    wanted = orders_under_load(random.Random(20_131_007))
    before = await count(pipeline.settings, APPROVED)
    load = [command(**fields) for fields, _ in wanted]
    sending = asyncio.create_task(paced(pipeline.settings, load))

    await wait_until(partial(count, pipeline.settings, APPROVED), lambda n: n > before + 500)
    lost = await _partitions(pipeline, 1)
    pipeline.workers.running["orders-1"].kill()
    await assert_taken_over(pipeline, lost)
    pipeline.workers.running["gateway-0"].kill()
    await pipeline.workers.start("gateway").ready()
    await sending

    expected = {(fields["account"], fields["order_id"]): status for fields, status in wanted}
    await wait_until(partial(differences, pipeline, expected), lambda found: found == {})
    await assert_books_agree(pipeline)
    await assert_history_is_exact(pipeline)


def orders_under_load(chance: random.Random) -> list[tuple[dict[str, Any], str]]:
    """Return commands and what becomes of them: most fill, some rest, some are refused."""
    kinds = (
        ({}, "filled"),
        ({"limit_price": "45.00"}, "accepted"),
        ({"qty": "5000"}, "rejected"),
    )
    found = []
    for number in range(ORDERS_UNDER_LOAD):
        fields, status = chance.choices(kinds, (8, 1, 1))[0]
        given = {
            "account": f"kill{number % ACCOUNTS_UNDER_LOAD}",
            "order_id": f"k{number}",
            "symbol": chance.choice(("KLA", "KLB")),
            "qty": str(chance.randint(1, 9)),
            "limit_price": f"49.{chance.randint(11, 99)}",  # equal orders look like a loop
        }
        found.append((given | fields, status))
    return found


async def paced(settings: Settings, load: Sequence[Raw]) -> None:
    """Send orders over some seconds, so that kills hit in the middle of them."""
    for start in range(0, len(load), 100):
        await produce(settings, REQUESTED, load[start : start + 100])
        await asyncio.sleep(0.05)


async def assert_taken_over(pipeline: Pipeline, lost: set[int]) -> None:
    """The worker that is left says 503 for what was the other's, until it has taken it over."""
    accounts = [f"kill{number}" for number in range(ACCOUNTS_UNDER_LOAD)]
    account = next(one for one in accounts if partition_of(one.encode(), 4) in lost)
    seen: dict[int, Answer] = {}

    async def ask() -> Answer:
        answer = await pipeline.view(f"/accounts/{account}/orders?limit=1")
        return seen.setdefault(answer.status, answer)

    await wait_until(ask, lambda answer: answer.status == 503)
    await wait_until(ask, lambda answer: answer.status == 200)
    assert set(seen) <= {200, 503}
    assert (seen[503].kind, seen[503].headers["Retry-After"]) == (PROBLEM, "1")


async def newest(pipeline: Pipeline, name: str) -> dict[str, dict[str, Any]]:
    """Return the last record of each key of a topic; a key is on one partition only."""
    found: dict[str, dict[str, Any]] = {}
    homes: dict[str, set[int]] = defaultdict(set)
    for record in await read(pipeline.settings, name):
        assert record.key is not None
        homes[record.key.decode()].add(record.partition)
        found[record.key.decode()] = json.loads(record.value or b"null")
    assert all(len(partitions) == 1 for partitions in homes.values())
    return found


async def differences(
    pipeline: Pipeline, expected: dict[tuple[str, str], str]
) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Return the orders under load that do not stand as expected: (as they are, expected)."""
    orders = (await newest(pipeline, UPDATES)).values()
    found = {
        (order["account"], order["order_id"]): order["status"]
        for order in orders
        if order["account"].startswith("kill")
    }
    return {
        key: (found.get(key), expected.get(key))
        for key in found.keys() | expected.keys()
        if found.get(key) != expected.get(key)
    }


async def assert_books_agree(pipeline: Pipeline) -> None:
    """Orders, positions and cash are each the sum of the distinct fills, to the last digit."""
    fills: dict[tuple[str, str], dict[str, Any]] = {}
    for record in await read(pipeline.settings, EVENTS):
        event = json.loads(record.value or b"null")
        if event["event"] == "fill":
            fill = event["fill"] | {key: event[key] for key in ("account", "order_id", "symbol")}
            sign = 1 if event["side"] == "buy" else -1
            fill["signed"] = sign * Decimal(fill["last_qty"])
            before = fills.setdefault((event["account"], fill["exec_id"]), fill)
            assert before == fill
    filled: Counter[str] = Counter()
    held: Counter[str] = Counter()
    cash: Counter[str] = Counter()
    for fill in fills.values():
        account, px = fill["account"], Decimal(fill["last_px"])
        filled[f"{account}|{fill['order_id']}"] += Decimal(fill["last_qty"])
        held[f"{account}|{fill['symbol']}"] += fill["signed"]
        cash[account] -= fill["signed"] * px + Decimal(fill["commission"])
    orders, positions = await newest(pipeline, UPDATES), await newest(pipeline, POSITIONS)
    accounts = await newest(pipeline, ACCOUNTS)
    assert {k: Decimal(v["cum_qty"]) for k, v in orders.items() if v["fills"]} == filled
    assert {k: Decimal(v["qty"]) for k, v in positions.items()} == held
    assert {k: Decimal(v["cash"]) - 1_000_000 for k, v in accounts.items()} == cash


OFFSETS = "select distinct _partition, _offset from {table:Identifier}"

#: The history's table of each topic.
HISTORY = {
    REQUESTED: "order_requests_log",
    APPROVED: "approved_orders_log",
    VENUE: "venue_orders_log",
    EVENTS: "order_events_log",
    UPDATES: "orders_log",
    POSITIONS: "positions_log",
    ACCOUNTS: "accounts_log",
    DEAD: "dead_letters_log",
}


async def assert_history_is_exact(pipeline: Pipeline) -> None:
    """Each offset of each topic is in ClickHouse or in the dead letters; views hold no doubles."""
    settings = pipeline.settings
    for name, table in HISTORY.items():
        wanted = await offsets_of(settings, name)
        held = partial(query, settings, OFFSETS, table=table)
        await wait_until(held, lambda rows, wanted=wanted: set(rows) == wanted)
    orders = await newest(pipeline, UPDATES)
    stood = await query(settings, "select account, order_id, status from orders_now")
    assert {f"{account}|{name}": status for account, name, status in stood} == {
        key: order["status"] for key, order in orders.items()
    }
    assert len(stood) == len(orders)
    filled = "select account, symbol, sum(qty_signed) from fills group by account, symbol"
    held = "select account, symbol, qty from positions_now"
    assert set(await query(settings, filled)) == set(await query(settings, held))


async def offsets_of(settings: Settings, name: str) -> set[tuple[int, int]]:
    """Return the places of a topic's records that could be read."""
    unread: set[tuple[int, int]] = set()
    for record in await read(settings, DEAD):
        told = dict(record.headers)
        if told["__streams.errors.topic"].decode() == name and told["orderflow.code"] in UNREAD:
            place = told["__streams.errors.partition"], told["__streams.errors.offset"]
            unread.add((int(place[0]), int(place[1])))
    found = (await ends(settings, name))[name]
    return {(part, offset) for part, end in found.items() for offset in range(end)} - unread
