"""Collect what a run left behind, with plain clients: all topics, the history, the views."""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Any

from connectors.clickhouse.rows import TABLES as HISTORY
from streams.settings import Settings
from streams.topics import TOPICS
from tables.registry import TABLES
from tests.faults.facts import Name, Row, Seen
from tests.stack.plain import get, query, read

#: Accounts whose positions the views are asked for.
VIEWED = 25
#: Comparisons with brokers go on while everything else rests; the history has them by then.
HISTORY_LATER_S = 2.0


async def collect(settings: Settings, ports: Iterable[int], seed: int) -> Seen:
    """Return what is there now. `ports` are those of the views of the orders role."""
    seen = Seen()
    for name in (*(spec.name for spec in TOPICS), *(table.changelog() for table in TABLES)):
        seen.topics[name] = [
            Row(one.partition, one.offset, one.key, one.value, tuple(one.headers), one.timestamp)
            for one in await read(settings, name)
        ]
    await asyncio.sleep(HISTORY_LATER_S)
    for name, table in HISTORY.items():
        sql = f"select _partition, _offset from {table.name} final where _topic = %(topic)s"  # noqa: S608 - a name of ours
        found = await query(settings, sql, topic=name)
        last = {row.partition: row.offset for row in seen.topics[name]}
        seen.history[name] = [
            (int(partition), int(offset))
            for partition, offset in found
            if offset <= last.get(partition, -1)  # what came since is not what is judged
        ]
    seen.history_positions = _by_name(
        await query(settings, "select account, symbol, qty from positions_now")
    )
    seen.history_fills = _by_name(
        await query(settings, "select account, symbol, sum(qty_signed) from fills group by all")
    )
    seen.viewed = await _viewed(list(ports), sorted(seen.history_positions), Random(seed))
    return seen


def _by_name(rows: Iterable[tuple[Any, ...]]) -> dict[Name, Decimal]:
    return {(account, symbol): Decimal(qty) for account, symbol, qty in rows}


async def _viewed(ports: list[int], names: list[Name], random: Random) -> dict[Name, Decimal]:
    """Return the positions that the views show, for some accounts."""
    accounts = sorted({account for account, _ in names})
    chosen = random.sample(accounts, min(VIEWED, len(accounts)))
    answers = await asyncio.gather(
        *(get(random.choice(ports), f"/accounts/{account}/positions") for account in chosen)
    )
    return {
        (account, one["symbol"]): Decimal(one["qty"])
        for account, answer in zip(chosen, answers, strict=True)
        if answer.status == 200
        for one in answer.body["items"]
    }
