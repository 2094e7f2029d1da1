"""The history sink against ClickHouse: every topic, twice, away, lost answers, bad rows."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient

from agents.history import History
from connectors.clickhouse import history as sink
from connectors.clickhouse.client import history_database
from connectors.clickhouse.history import ClickHouseHistory
from connectors.clickhouse.migrate import migrate, migrations
from connectors.clickhouse.rows import TABLES, arrow_table
from streams.dev import clickhouse
from streams.dev.ports import HOST, free_ports
from streams.dev.service import NotReadyError
from streams.errors import ServiceUnavailableError, UsageError
from streams.models.allocations import Allocation, CancelTargets, SetTargets
from streams.models.controls import KillSwitch
from streams.models.dead_letters import Action, HandledLetter
from streams.models.orders import ApprovedOrder, Order, OrderTerms, VenueOrder
from streams.models.positions import Account, Position
from streams.models.reconciliation import Reconciliation
from streams.models.signals import StrategyState
from streams.models.slices import CancelSlices, SlicedOrder, StartPov, StartTwap
from streams.models.statements import Statement
from streams.ports import Record
from streams.settings import Settings
from streams.topics import (
    ACCOUNTS_UPDATES,
    ALLOCATIONS_REQUESTED,
    ALLOCATIONS_UPDATES,
    CONTROLS,
    DEAD_LETTERS,
    DEAD_LETTERS_HANDLED,
    INDICATORS,
    MARKET_BARS,
    MARKET_LAST,
    MARKET_QUOTES,
    MARKET_REFUSED,
    MARKET_TRADES,
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    ORDERS_UPDATES,
    POSITIONS_UPDATES,
    RECONCILIATIONS,
    SIGNALS,
    SLICES_REQUESTED,
    SLICES_UPDATES,
    STATEMENTS,
    STRATEGIES_FILLS,
    STRATEGIES_UPDATES,
    TOPICS,
    VENUE_REST_ORDERS,
    VENUE_VIRTUAL_ORDERS,
    TopicSpec,
)
from tests.builders import (
    NOW_NS,
    bar,
    cancel,
    event,
    fill,
    indicator,
    last_price,
    quote,
    record,
    refused,
    replace,
    signal,
    submit,
    trade,
)
from tests.fakes import MemoryUnit
from tests.stack.history_support import (
    answer,
    new_database,
    records,
    rows,
    store,
    with_client,
)

COUNT = "select count() from {name:Identifier}"

TERMS = OrderTerms.model_validate(
    {
        "symbol": "AIG", "side": "sell", "type": "stop_limit", "qty": "10.5",
        "time_in_force": "gtc", "limit_price": "49.5", "stop_price": "49.75",
        "extended_hours": True, "order_class": "bracket", "take_profit": {"limit_price": "55"},
        "stop_loss": {"stop_price": "45", "limit_price": "44.9"},
        "position_intent": "sell_to_close", "reduce_only": True,
    }
)  # fmt: skip
_ORDER: dict[str, Any] = {"order_id": "o1", "account": "A1", "client_order_id": "c1"}
_TIMES = {"ts_requested_ns": NOW_NS + 1, "ts_event_ns": NOW_NS + 3}
_REFUSAL = {"code": "LIMIT", "text": "too big", "limit": "1", "actual": "2", "rules_version": 9}

SAMPLES: dict[str, list[Any]] = {
    ORDERS_REQUESTED.name: [
        submit(ts_event_ns=NOW_NS + 7, strategy="s", take_profit={"limit_price": "60"}),
        cancel(request_id="r1"),
        replace(qty="5", limit_price="1.000000001"),
    ],
    ORDERS_APPROVED.name: [
        ApprovedOrder.model_validate(
            {"command": "submit", "request_id": "submit", "terms": TERMS, "revision": 2,
             "position_qty": "-3.123456789012", "rules_version": 12, **_ORDER, **_TIMES}
        )
    ],
    VENUE_VIRTUAL_ORDERS.name: [
        VenueOrder.model_validate(
            {"command": "submit", "request_id": "submit", "terms": TERMS, "broker": "virtual",
             "leg": "close", "parent_qty": "20", "ts_approved_ns": NOW_NS + 2, **_ORDER, **_TIMES}
        )
    ],
    VENUE_REST_ORDERS.name: [
        VenueOrder.model_validate(
            {"command": "cancel", "request_id": "c1", "terms": TERMS, "broker": "rest",
             "ts_approved_ns": NOW_NS + 2, "valid_until_ns": NOW_NS + 4, **_ORDER, **_TIMES}
        )
    ],
    RECONCILIATIONS.name: [
        Reconciliation(
            finding="position", reconciliation_id="rest:position:A1", run_id="rest:0:1",
            broker="rest", partition=3, account="A1", symbol="AIG", ours="1", theirs="2.5",
            ts_event_ns=NOW_NS,
        ),
        Reconciliation(
            finding="summary", reconciliation_id="rest:summary:1", run_id="rest:0:1",
            broker="rest", partition=3, orders=4, positions=5, differences=1, unmended=1,
            ts_event_ns=NOW_NS,
        ),
    ],
    ORDERS_EVENTS.name: [
        event("approved", terms=TERMS, request_id="submit", parent_order_id="p1"),
        event("rejected", refusal=_REFUSAL, symbol=None, side=None, text="no"),
        event("fill", fill=fill("e1", "4", "50.125", commission="0.02"), leg="close"),
        event("fill_busted", fill=fill("e2", "4", "50.125", ref_exec_id="e1")),
    ],
    ORDERS_UPDATES.name: [
        Order.model_validate(
            {"status": "partially_filled", "terms": TERMS, "cum_qty": "4", "leaves_qty": "6.5",
             "avg_px": "50.333333333333", "commission": "0.02", "overfill_qty": "0", "fills": 1,
             "refusal": _REFUSAL, "version": 3, "ts_updated_ns": NOW_NS + 5, **_ORDER}
        ),
        Order.model_validate(
            {"status": "rejected", "terms": None, "cum_qty": "0", "leaves_qty": "0",
             "commission": "0", "overfill_qty": "0", "version": 1, "ts_updated_ns": NOW_NS,
             **_ORDER}
        ),
    ],
    POSITIONS_UPDATES.name: [
        Position.model_validate(
            {"account": "A1", "symbol": "AIG", "qty": "-10", "avg_entry_px": "50.333333333333",
             "realized_pl": "-1.5", "unrealized_pl": "2", "mark_px": "50", "ts_mark_ns": NOW_NS,
             "commission": "0.5", "buy_qty": "0", "sell_qty": "10", "fills": 2, "version": 2,
             "ts_updated_ns": NOW_NS + 1}
        )
    ],
    ACCOUNTS_UPDATES.name: [
        Account.model_validate(
            {"account": "A1", "cash": "999999.99", "realized_pl": "-1.5", "commission": "0.5",
             "fills": 2, "day": "2026-11-18", "realized_pl_day": "-1.5", "version": 2,
             "ts_updated_ns": NOW_NS}
        )
    ],
    MARKET_TRADES.name: [trade(seq=1, exchange="P", conditions="@F", suspicious=True), trade(),
                         trade(seq=9, correction_of=1, canceled=True)],
    MARKET_QUOTES.name: [quote(seq=1, exchange="Q"), quote().model_copy(update={"bid": None})],
    MARKET_LAST.name: [last_price(bid="49.99")],
    MARKET_REFUSED.name: [refused(), refused("locked", 3, refused=False, source_partition=2)],
    MARKET_BARS.name: [
        bar(),
        bar("100t", status="revised", rev=2, volume="0.000000001", notional="1E-9", trades=7),
        bar("5m", open=None, high=None, low=None, close=None, vwap=None, trades=0),
    ],
    STATEMENTS.name: [
        Statement.model_validate(
            {"broker": "virtual", "account": "A1", "symbol": "AIG", "ts_event_ns": NOW_NS,
             "orders": [{"order_id": "o1", "client_order_id": "c1", "state": "open",
                         "cum_qty": "0.5"}]}
        )
    ],
    INDICATORS.name: [
        indicator(), indicator("macd(12,26,9)", values={"macd": 0.1, "signal": -1e-9}),
        indicator("vwap", rev=3, values={}),
    ],
    SIGNALS.name: [
        signal("-0.5", price="50.01", reason="it fell", cause_topic="market.bars.v1",
               cause_partition=2, cause_offset=7),
        signal(),
    ],
    STRATEGIES_UPDATES.name: [
        StrategyState.model_validate(
            {"strategy": "ma1", "symbol": "AIG", "implementation": "ma_cross",
             "status": "failed", "text": "no", "version": 3, "controls_version": 9,
             "params": {"fast": "5"}, "signals": 4, "errors": 1, "strength": "0.25",
             "ts_signal_ns": NOW_NS, "ts_updated_ns": NOW_NS + 1}
        ),
        StrategyState(strategy="ma1", symbol="IBM", implementation="x", status="running",
                      version=1, ts_updated_ns=NOW_NS),
    ],
    STRATEGIES_FILLS.name: [
        event("fill", fill=fill("e1", "4", "50.125", commission="0.02"), strategy="ma1"),
        event("fill_busted", fill=fill("e2", "4", "50.125", ref_exec_id="e1"), strategy="ma1"),
    ],
    ALLOCATIONS_REQUESTED.name: [
        SetTargets.model_validate(
            {"command": "target", "allocation_id": "a1", "account": "A1", "strategy": "ma1",
             "targets": {"AIG": "-10.5"}, "ts_event_ns": NOW_NS}
        ),
        CancelTargets(command="cancel", allocation_id="a1", account="A1"),
    ],
    ALLOCATIONS_UPDATES.name: [
        Allocation.model_validate(
            {"allocation_id": "a1", "account": "A1", "parent_id": "p1", "status": "working",
             "version": 2, "ts_requested_ns": NOW_NS, "ts_updated_ns": NOW_NS + 1,
             "order_fill": [{"symbol": "AIG", "target_qty": "-10", "start_qty": "0",
                             "position_qty": "-4", "open_qty": "-6", "state": "working"}]}
        )
    ],
    SLICES_REQUESTED.name: [
        StartTwap.model_validate(
            {"command": "twap", "parent_id": "p1", "account": "A1", "symbol": "AIG",
             "side": "buy", "qty": "100", "end_ns": NOW_NS + 9, "limit_price": "50"}
        ),
        StartPov.model_validate(
            {"command": "pov", "parent_id": "p2", "account": "A1", "symbol": "AIG",
             "side": "sell", "qty": "100", "start_ns": NOW_NS, "end_ns": NOW_NS + 9,
             "participation": "0.1", "strategy": "ma1"}
        ),
        CancelSlices(command="cancel", parent_id="p1", account="A1", ts_event_ns=NOW_NS),
    ],
    SLICES_UPDATES.name: [
        SlicedOrder.model_validate(
            {"parent_id": "p1", "account": "A1", "symbol": "AIG", "side": "buy", "kind": "pov",
             "qty": "100", "status": "working", "version": 4, "sent_qty": "60",
             "cum_qty": "50.5", "avg_px": "50.333333333333", "leaves_qty": "9.5", "children": 3,
             "market_volume": "600", "text": "x", "start_ns": NOW_NS, "end_ns": NOW_NS + 9,
             "ts_updated_ns": NOW_NS}
        )
    ],
    CONTROLS.name: [KillSwitch(scope="account:A1", engaged=True, version=4, by="me", reason="x")],
    DEAD_LETTERS_HANDLED.name: [
        HandledLetter(letter="0:7", action=Action.RETRIED, attempt=2, by="me", ts_event_ns=NOW_NS)
    ],
}  # fmt: skip


def sample(topic: TopicSpec) -> list[Record]:
    """Return records of a topic with every kind of value it has."""
    if topic is not DEAD_LETTERS:
        return records(topic, SAMPLES[topic.name])
    headers = [("orderflow.code", b"BAD_JSON"), ("x", b"\xff\x00")]
    return [Record(topic.name, 0, 0, b"k", None, b"\x00\xff{", NOW_NS // 1_000_000, headers)]


def plain(table: pa.Table, names: list[str]) -> list[dict[str, Any]]:
    """Return rows with times as integers and text as bytes, to compare without a loss."""
    columns = {}
    for name in names:
        column = table.column(name).combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        if pa.types.is_string(column.type):
            column = column.cast(pa.binary())
        columns[name] = column
    found: list[dict[str, Any]] = pa.table(columns).to_pylist()
    for row in found:
        for name, value in row.items():
            if isinstance(value, list):  # a map: its keys are text here and bytes there
                row[name] = [
                    (key.encode() if isinstance(key, str) else key, one) for key, one in value
                ]
    return found


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_comes_back_as_it_went_in(stack: Settings, topic: TopicSpec) -> None:
    """Each column of each table holds what the record said, to the last digit."""

    async def scenario() -> None:
        settings = await new_database(stack)
        assert await store(settings, sample(topic)) == []
        sent = arrow_table(topic.name, sample(topic))
        names = [name for name in sent.column_names if name != "headers"]

        async def read(client: AsyncClient) -> pa.Table:
            return await client.query_arrow(
                "select * from {table:Identifier} order by _offset",
                parameters={"table": TABLES[topic.name].name},
                settings={"output_format_arrow_string_as_string": 0},
            )

        found = await with_client(settings, read)
        assert plain(found, names) == plain(sent, names)

    asyncio.run(scenario())


def test_tables_have_the_columns_that_rows_are_made_of(stack: Settings) -> None:
    """No column is left to its default but the time of the insert."""

    async def scenario() -> None:
        settings = await new_database(stack)
        found = await rows(
            settings,
            "select table, name from system.columns where database = currentDatabase()"
            " and table like '%_log' and name != '_inserted'",
        )
        made = {
            (TABLES[topic.name].name, name)
            for topic in TOPICS
            for name in arrow_table(topic.name, sample(topic)).column_names
        }
        assert set(found) == made

    asyncio.run(scenario())


def test_headers_of_dead_letters_are_told(stack: Settings) -> None:
    """The view gives the reason, the source and the bytes of a record that could not be used."""
    headers = [
        ("__streams.errors.message", b"not JSON"),
        ("__streams.errors.topic", b"orders.requested.v1"),
        ("__streams.errors.partition", b"3"),
        ("__streams.errors.offset", b"41"),
        ("orderflow.code", b"BAD_JSON"),
        ("orderflow.agent", b"validator"),
    ]
    letter = Record(DEAD_LETTERS.name, 0, 5, b"A1", None, b"{", NOW_NS // 1_000_000, headers)

    async def scenario() -> None:
        settings = await new_database(stack)
        await store(settings, [letter])
        query = (
            "select code, error, agent, source_topic, source_partition, source_offset, value"
            " from dead_letters"
        )
        assert await rows(settings, query) == [
            ("BAD_JSON", "not JSON", "validator", "orders.requested.v1", 3, 41, "{")
        ]

    asyncio.run(scenario())


def test_the_state_of_a_dead_letter_is_told(stack: Settings) -> None:
    """By the newest thing that was done with any letter of the same record, or by its attempts."""

    def letter(offset: int, source: int, attempt: int = 0, agent: str = "validator") -> Record:
        headers = [
            ("__streams.errors.topic", b"orders.requested.v1"),
            ("__streams.errors.partition", b"3"),
            ("__streams.errors.offset", b"%d" % source),
            ("orderflow.agent", agent.encode()),
            ("orderflow.attempt", b"%d" % attempt),
        ]
        return Record(DEAD_LETTERS.name, 1, offset, b"k", None, b"", NOW_NS // 1_000_000, headers)

    def mark(letter: str, action: Action) -> HandledLetter:
        return HandledLetter(letter=letter, action=action, attempt=1, ts_event_ns=NOW_NS)

    letters = [letter(0, 40), letter(1, 41), letter(2, 42), letter(3, 43, 3), letter(4, 44, 3)]
    letters += [letter(5, 41, agent="history"), letter(6, 45), letter(7, 45)]
    marks = [
        mark("1:1", Action.RETRYING),
        mark("1:1", Action.RETRIED),
        mark("1:2", Action.RETRYING),
        mark("1:4", Action.DISCARDED),
        mark("1:7", Action.DISCARDED),
    ]

    async def scenario() -> None:
        settings = await new_database(stack)
        await store(settings, letters, records(DEAD_LETTERS_HANDLED, marks))
        sql = "select source_offset, agent, state from dead_letters order by source_offset, agent"
        assert await rows(settings, sql) == [
            (40, "validator", "open"),
            (41, "history", "retried"),
            (41, "validator", "retried"),
            (42, "validator", "open"),
            (43, "validator", "gave up"),
            (44, "validator", "discarded"),
            (45, "validator", "discarded"),
        ]
        counted = await answer(settings, "dead_letters_by_code")
        found = {row["agent"]: (row["records"], row["unhandled"]) for row in counted}
        assert found == {"validator": (6, 3), "history": (1, 0)}

    asyncio.run(scenario())


def test_migrations_apply_once(stack: Settings) -> None:
    """A second run does nothing, a dry run changes nothing, two at once end the same."""

    async def scenario() -> None:
        settings = stack.model_copy(update={"clickhouse_database": "migrated", "namespace": "t-1"})
        assert history_database(settings) == "t_1_migrated"
        everything = migrations()
        assert await migrate(settings, dry_run=True) == everything
        await asyncio.gather(migrate(settings), migrate(settings))
        assert await migrate(settings) == []
        assert await migrate(settings, dry_run=True) == []
        ledger = "select version from schema_migrations final order by version"
        assert [row[0] for row in await rows(settings, ledger)] == [m.version for m in everything]

    asyncio.run(scenario())


def test_a_changed_migration_is_refused(stack: Settings) -> None:
    """What the ledger says was applied must be what the file says."""

    async def scenario() -> None:
        settings = await new_database(stack)
        forge = "insert into schema_migrations (version, name, checksum) values (1, 'orders', 'x')"
        await with_client(settings, lambda client: client.command(forge))
        with pytest.raises(UsageError, match="0001_orders was changed after it was applied"):
            await migrate(settings)

    asyncio.run(scenario())


def test_a_redelivered_batch_lands_once(stack: Settings) -> None:
    """Neither the same worker nor one that was started anew inserts an offset twice."""
    batch = records(MARKET_TRADES, [trade(seq=number) for number in range(1, 6)])

    async def scenario() -> None:
        settings = await new_database(stack)
        await store(settings, batch[:3], batch[:3], batch[1:4])
        await store(settings, batch)  # another worker: asks ClickHouse
        assert await rows(settings, "select _offset from trades_log order by _offset") == [
            (number,) for number in range(5)
        ]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("topic", "view"),
    [
        (ORDERS_REQUESTED, "order_requests"),
        (ORDERS_APPROVED, "approved_orders"),
        (VENUE_VIRTUAL_ORDERS, "venue_orders"),
        (ORDERS_EVENTS, "order_events"),
        (ORDERS_UPDATES, "order_updates"),
        (POSITIONS_UPDATES, "position_updates"),
        (POSITIONS_UPDATES, "positions_now"),
        (ACCOUNTS_UPDATES, "account_updates"),
        (ACCOUNTS_UPDATES, "accounts_now"),
        (MARKET_TRADES, "trades"),
        (MARKET_QUOTES, "quotes"),
        (MARKET_BARS, "bars"),
        (MARKET_BARS, "bar_revisions"),
        (MARKET_LAST, "last_prices_now"),
        (MARKET_REFUSED, "refused_ticks"),
        (CONTROLS, "control_updates"),
        (CONTROLS, "controls_now"),
        (DEAD_LETTERS, "dead_letters"),
        (DEAD_LETTERS_HANDLED, "dead_letters_handled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_views_show_each_record_once(stack: Settings, topic: TopicSpec, view: str) -> None:
    """Rows that were inserted twice in spite of all are one row in what users query."""

    async def scenario() -> None:
        settings = await new_database(stack)
        table = arrow_table(topic.name, sample(topic))

        async def twice(client: AsyncClient) -> None:
            for token in ("one", "two"):
                await client.insert_arrow(
                    TABLES[topic.name].name,
                    table,
                    settings={"insert_deduplication_token": token, "async_insert": 0},
                )

        await with_client(settings, twice)
        stored = await rows(settings, COUNT, name=TABLES[topic.name].name)
        seen = await rows(settings, COUNT, name=view)
        assert (stored, seen) == ([(2 * len(sample(topic)),)], [(len(sample(topic)),)])

    asyncio.run(scenario())


def test_views_show_each_fact_once(stack: Settings) -> None:
    """What an agent emitted again after a redelivery stands at two offsets and is one fact."""
    kinds = ((ORDERS_EVENTS, "order_events"), (ORDERS_UPDATES, "order_updates"))

    async def scenario() -> None:
        settings = await new_database(stack)
        for topic, view in kinds:
            values = SAMPLES[topic.name]
            await store(settings, records(topic, [*values, *values]))
            assert await rows(settings, COUNT, name=view) == [(len(values),)]
        assert await rows(settings, "select version, status from orders_now") == [
            (3, "partially_filled")
        ]

    asyncio.run(scenario())


def test_a_batch_of_two_months_lands(stack: Settings) -> None:
    """Rows of two months in one batch all land."""
    november, december = 1_796_083_199_000, 1_796_083_201_000  # around midnight, UTC
    batch = [
        record(trade(), MARKET_TRADES, offset, timestamp_ms=stamp)
        for offset, stamp in enumerate([november, december, december, november])
    ]

    async def scenario() -> None:
        settings = await new_database(stack)
        await store(settings, batch)
        query = "select toYYYYMM(_timestamp), _offset from trades_log order by _offset"
        assert await rows(settings, query) == [(202611, 0), (202612, 1), (202612, 2), (202611, 3)]

    asyncio.run(scenario())


def test_a_bad_row_goes_to_the_dead_letters_alone(stack: Settings) -> None:
    """ClickHouse refuses a block for one row: the others of it land, the reason is kept."""
    batch = records(MARKET_TRADES, [trade("BAD" if n in (7, 30) else "AIG") for n in range(40)])

    async def scenario() -> None:
        settings = await new_database(stack)
        forbid = "alter table trades_log add constraint odd check symbol != 'BAD'"
        await with_client(settings, lambda client: client.command(forbid))
        letters = await store(settings, batch)
        assert [(letter.record.offset, letter.code) for letter in letters] == [
            (7, "HISTORY_REFUSED"),
            (30, "HISTORY_REFUSED"),
        ]
        assert "Constraint `odd`" in letters[0].error
        assert await rows(settings, "select count(), max(_offset) from trades_log") == [(38, 39)]

    asyncio.run(scenario())


def test_a_number_too_wide_for_its_column_goes_to_the_dead_letters(stack: Settings) -> None:
    """A value that cannot be stored exactly is set aside, not rounded or wrapped."""
    position = SAMPLES[POSITIONS_UPDATES.name][0]
    batch = records(
        POSITIONS_UPDATES, [position, position.model_copy(update={"qty": Decimal(10**27)})]
    )

    async def scenario() -> None:
        settings = await new_database(stack)
        letters = await store(settings, batch)
        assert [letter.record.offset for letter in letters] == [1]
        assert await rows(settings, "select _offset from positions_log") == [(0,)]

    asyncio.run(scenario())


def test_rows_that_an_earlier_insert_lost_are_inserted(stack: Settings) -> None:
    """ClickHouse may know a token whose rows are gone; a new worker looks, and sends them again."""
    batch = records(MARKET_TRADES, [trade(seq=number) for number in range(1, 4)])

    async def scenario() -> None:
        settings = await new_database(stack)
        await store(settings, batch)
        lose = "delete from trades_log where 1 settings mutations_sync = 2"
        await with_client(settings, lambda client: client.command(lose))
        assert await rows(settings, "select count() from trades_log") == [(0,)]
        await store(settings, batch)
        assert await rows(settings, "select count() from trades_log") == [(3,)]

    asyncio.run(scenario())


class CuttingProxy:
    """Passes connections on to ClickHouse; the answers of the next `cuts` inserts never arrive."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.cuts = 0
        self.cut = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes both ways until a side ends."""
        there, back = await asyncio.open_connection(HOST, self._port)
        inserting = False

        async def ask() -> None:
            nonlocal inserting
            while data := await reader.read(65536):
                inserting = inserting or b"insert_deduplication_token" in data
                back.write(data)
                await back.drain()

        async def reply() -> None:
            while data := await there.read(65536):
                if inserting and self.cut < self.cuts:
                    self.cut += 1
                    break
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(ask()), asyncio.create_task(reply())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        back.close()


def test_an_insert_whose_answer_is_lost_lands_once(
    stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome is unknown, so ClickHouse is asked what it holds; nothing stands twice."""
    monkeypatch.setattr(sink, "FIRST_PAUSE_S", 0.05)
    batch = records(MARKET_TRADES, [trade(seq=number) for number in range(1, 4)])

    async def scenario() -> None:
        settings = await new_database(stack)
        proxy = CuttingProxy(stack.clickhouse_port)
        proxy.cuts = 5  # the client itself repeats an insert once
        server = await asyncio.start_server(proxy.serve, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        await store(settings.model_copy(update={"clickhouse_port": port}), batch)
        server.close()
        assert proxy.cut >= 2
        assert await rows(settings, "select count() from trades_log") == [(3,)]

    asyncio.run(scenario())


@contextmanager
def running_clickhouse(settings: Settings) -> Iterator[None]:
    """Run an embedded ClickHouse of the test's own with the data in `settings.data_dir`."""
    service = clickhouse.prepare(settings, lambda _line: None)
    service.log.parent.mkdir(parents=True, exist_ok=True)
    with service.log.open("ab") as log:
        process = subprocess.Popen(
            service.argv, env={**os.environ, **service.env}, stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + service.start_timeout_s
        while True:
            try:
                service.probe()
                break
            except NotReadyError:
                assert process.poll() is None, "ClickHouse ended"
                assert time.monotonic() < until, "ClickHouse does not answer"
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(service.stop_grace_s)


def test_while_clickhouse_is_away_the_sink_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that comes while ClickHouse is away is held, and lands when it is back."""
    monkeypatch.setattr(sink, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(sink, "LONGEST_PAUSE_S", 0.2)
    settings = Settings(data_dir=tmp_path, clickhouse_port=free_ports(1)[0])
    batch = records(MARKET_TRADES, [trade(seq=number) for number in range(1, 5)])

    async def scenario() -> None:
        here = ClickHouseHistory(settings)
        agent = History(here)
        unit: MemoryUnit[None] = MemoryUnit()
        with running_clickhouse(settings):
            await migrate(settings)
            await agent.handle(unit, batch[:2])
        waiting = asyncio.create_task(agent.handle(unit, batch[2:]))
        started_away = asyncio.create_task(store(settings, batch))
        await asyncio.sleep(1)
        assert (waiting.done(), started_away.done()) == (False, False)
        with running_clickhouse(settings):
            await asyncio.wait_for(asyncio.gather(waiting, started_away), 20)
            await here.close()
            assert await rows(settings, "select distinct _offset from trades order by 1") == [
                (number,) for number in range(4)
            ]
        assert unit.dead_letters == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"clickhouse_port": 1},
            r"no connection to ClickHouse at 127.0.0.1:1, database",
        ),
        ({"clickhouse_database": "not_there"}, "make the database with `./orderflow migrate`"),
    ],
)
def test_no_connection_says_what_to_do(
    stack: Settings, changed: dict[str, Any], message: str
) -> None:
    """The error names the address and the way out."""

    async def scenario() -> None:
        with pytest.raises(ServiceUnavailableError, match=message):
            await rows(stack.model_copy(update=changed), "select 1")

    asyncio.run(scenario())
