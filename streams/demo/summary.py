"""The summary of a run, taken from ClickHouse once the history has caught up.

`latency_ms` is from the Kafka timestamp of an order's record (whole milliseconds) until the
moment at which the broker's first answer was written down: validator, router and venue.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.asyncclient import AsyncClient

from connectors.clickhouse.client import connect
from connectors.clickhouse.queries import load, run
from connectors.clickhouse.rows import TABLES
from connectors.views import view
from streams.clock import monotonic
from streams.demo.follow import Places, behind, committed, ends_of
from streams.errors import IncompleteError, NotFoundError
from streams.models.orders import TERMINAL, OrderStatus
from streams.settings import Settings
from streams.topics import ORDERS_REQUESTED, TOPICS

#: The history is given up when it comes no further for so long.
STUCK_S = 60.0
POLL_S = 0.25
#: Positions that are also asked of the web views.
VIEWED = 10

#: Account, symbol, sum of the fills, position.
Held = tuple[str, str, Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Summary:
    """What ClickHouse holds of a run. `missing` says what it should hold and does not."""

    statuses: dict[str, int]
    fills: int
    dead_letters: int
    rejected_by_code: dict[str, int]
    positions_match_fills: bool
    history_rows: dict[str, int]
    latency_ms: dict[str, float | None]
    missing: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the counts; `canceled` has the expired ones in it."""
        by = self.statuses
        return {
            "orders": sum(by.values()),
            "filled": by.get(OrderStatus.FILLED.value, 0),
            "canceled": by.get(OrderStatus.CANCELED.value, 0)
            + by.get(OrderStatus.EXPIRED.value, 0),
            "rejected": by.get(OrderStatus.REJECTED.value, 0),
            "open": sum(count for status, count in by.items() if status not in TERMINAL),
            "fills": self.fills,
            "dead_letters": self.dead_letters,
            "rejected_by_code": self.rejected_by_code,
            "positions_match_fills": self.positions_match_fills,
            "history_rows": self.history_rows,
            "latency_ms": self.latency_ms,
        }


async def wait_for_history(settings: Settings, show: Callable[[str], None]) -> Places:
    """Return where the topics ended when called, once the history is through with all of that."""
    from streams.app import group_id  # brings Faust, a second that the first fill need not wait for

    ends, group = await ends_of(settings, TOPICS), group_id(settings, "history")
    least, since = None, monotonic()
    while left := behind(await committed(settings, group, TOPICS), ends):
        if least is None or left < least:
            least, since = left, monotonic()
        elif monotonic() - since > STUCK_S:
            raise IncompleteError(
                f"the history is {left} records behind and came no further for {STUCK_S:.0f} s;"
                f" its log: {settings.data_dir / 'logs' / 'history.log'}"
            )
        show(f"{left} records to go")
        await asyncio.sleep(POLL_S)
    return ends


async def summarize(settings: Settings, run_: str, starts: Places, ends: Places) -> Summary:
    """Ask ClickHouse about the records between two places, of the accounts of a run."""
    client = await connect(settings)
    try:
        asked = _Asked(client, run_)
        held = [_held(row) for row in await asked.rows("demo_positions")]
        differ = [one for one in held if one[2] != one[3]]
        differ += await asyncio.to_thread(_view_differs, settings, held)
        undecodable, own = (await asked.rows("demo_dead_letters", **_span(starts, ends)))[0]
        rows = await _history_rows(asked, starts, ends)
        return Summary(
            statuses=dict(await asked.rows("demo_orders")),
            fills=(await asked.rows("demo_fills"))[0][0],
            dead_letters=own,
            rejected_by_code=dict(await asked.rows("demo_rejected")),
            positions_match_fills=not differ,
            history_rows=_by_table(rows),
            latency_ms=_latency((await asked.rows("demo_latency"))[0]),
            missing=(
                *(
                    f"position {symbol} of {account}: fills come to {fills}, the position is {qty}"
                    for account, symbol, fills, qty in differ
                ),
                *_rows_missing(rows, starts, ends, undecodable),
            ),
        )
    finally:
        await client.close()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A connection and the run that is asked about."""

    client: AsyncClient
    run: str

    async def rows(self, name: str, **params: str) -> Sequence[Any]:
        query = load("demo")[name]
        own = {"run": self.run} if "run" in query.params else {}
        return (await run(self.client, query, own | params)).result_rows


async def _history_rows(asked: _Asked, starts: Places, ends: Places) -> dict[str, int]:
    found = {}
    for name, table in TABLES.items():
        span = _span(starts, ends, name)
        found[name] = int((await asked.rows("demo_rows", table=table.name, **span))[0][0])
    return found


def _by_table(rows: dict[str, int]) -> dict[str, int]:
    """Return the rows of each table; the topics of all brokers share one."""
    found: Counter[str] = Counter()
    for name, count in rows.items():
        found[TABLES[name].name] += count
    return dict(found)


def _span(starts: Places, ends: Places, topic: str = ORDERS_REQUESTED.name) -> dict[str, str]:
    """Return the parameters that name a topic's records between two places."""
    return {"topic": topic, "starts": str(list(starts[topic])), "ends": str(list(ends[topic]))}


def _rows_missing(
    rows: dict[str, int], starts: Places, ends: Places, undecodable: int
) -> list[str]:
    """Return a line for each table that does not hold every record of its topic."""
    lines = []
    for name, held in rows.items():
        wanted = sum(ends[name]) - sum(starts[name])
        wanted -= undecodable if name == ORDERS_REQUESTED.name else 0
        if held != wanted:
            lines.append(f"{TABLES[name].name} holds {held} of {wanted} records of {name}")
    return lines


def _held(row: Sequence[Any]) -> Held:
    account, symbol, fills, position = row
    return account, symbol, Decimal(fills), Decimal(position)


def _view_differs(settings: Settings, held: Sequence[Held]) -> list[Held]:
    """Return those of the largest positions that the web view gives another quantity for."""
    largest = sorted(held, key=lambda one: -abs(one[3]))[:VIEWED]
    differ = []
    for account, symbol, fills, _ in largest:
        try:
            qty = Decimal(view(settings, "accounts", account, "positions", symbol)["qty"])
        except NotFoundError:
            qty = Decimal(0)
        if qty != fills:
            differ.append((account, symbol, fills, qty))
    return differ


def _latency(row: Sequence[Any]) -> dict[str, float | None]:
    orders, p50, p99 = row
    if not orders:
        return {"p50": None, "p99": None}
    return {"p50": round(p50, 3), "p99": round(p99, 3)}
