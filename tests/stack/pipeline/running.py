"""The whole pipeline for a test: topics, rules, migrations, a worker process per role.

It lives in a namespace of its own on the stack that all tests share. Market time is shifted so
that now is the middle of a regular session, whatever the day and the hour of the run.
"""

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from connectors.clickhouse.migrate import migrate
from connectors.kafka.admin import apply_topics
from connectors.kafka.controls import publish_controls, seed_controls
from streams.models.controls import AnyControl, Instrument, SessionShift
from streams.settings import Settings
from streams.wiring import Role
from tables.registry import TABLES
from tests.builders import NOW_NS
from tests.stack.plain import Answer, Place, Raw, get, produce, wait_until
from tests.stack.workers import Worker, Workers

REQUESTED = "orders.requested.v1"
APPROVED = "orders.approved.v1"
VENUE = "venue.virtual.orders.v1"
EVENTS = "orders.events.v1"
UPDATES = "orders.updates.v1"
POSITIONS = "positions.updates.v1"
ACCOUNTS = "accounts.updates.v1"
QUOTES = "market.quotes.v1"
TRADES = "market.trades.v1"
LAST = "market.last.v1"
CONTROLS = "controls.v1"
DEAD = "dead-letters.v1"

#: A worker that was killed is given up after this long; Kafka takes no less than 6.
SESSION_TIMEOUT_S = 8.0
BUYS = {"side": "buy", "type": "limit", "qty": "100", "limit_price": "49.20"}

_seq = itertools.count(1)


@dataclass
class Pipeline:
    """A running pipeline, spoken to with plain clients."""

    settings: Settings
    workers: Workers

    async def order(self, **fields: Any) -> Place:
        """Put one command on the topic, keyed by its account; absent fields stay absent."""
        return (await produce(self.settings, REQUESTED, [command(**fields)]))[0]

    async def quote(self, symbol: str, bid: str, ask: str) -> None:
        """Publish a quote of this moment, of more than any test trades."""
        sizes = {"bid_size": "1000000", "ask_size": "1000000"}
        await produce(self.settings, QUOTES, [tick_of(symbol, bid=bid, ask=ask, **sizes)])

    async def instruments(self, *symbols: str, price: str = "49.05") -> None:
        """Make symbols tradable, and wait until the orders role knows them."""
        reference = Decimal(price)
        await self.controls(
            *(Instrument(scope=one, symbol=one, reference_price=reference) for one in symbols)
        )

    async def controls(self, *controls: AnyControl) -> tuple[AnyControl, ...]:
        """Set controls while everything runs; return them when every orders worker has them."""
        written = (await publish_controls(self.settings, controls)).controls
        await self.informed(written[-1].version)
        return written

    async def informed(self, version: int) -> None:
        """Return when every orders worker knows the controls up to a version."""
        for worker in self.running("orders"):
            await wait_until(
                partial(get, worker.port, "/health/ready"),
                lambda seen: seen.status == 200 and seen.body["controls_version"] >= version,
            )

    def running(self, role: Role) -> list[Worker]:
        """Return the workers of a role that have not ended."""
        found = (one for name, one in self.workers.running.items() if name.startswith(role))
        return [worker for worker in found if worker.child.exit_code is None]

    async def ensure(self, role: Role, count: int) -> None:
        """Return when so many workers of a role are ready; start those that are missing."""
        for index in range(count):
            worker = self.workers.running.get(f"{role}-{index}")
            if worker is None or worker.child.exit_code is not None:
                self.workers.start(role, index)
        await self.workers.ready(*self.running(role))

    async def restart(self, role: Role, index: int, env: Mapping[str, str]) -> None:
        """Stop a worker in order and start it again with other settings."""
        assert await self.workers.running[f"{role}-{index}"].stop() == 0
        await self.workers.start(role, index, env).ready()

    async def view(self, path: str, index: int = 0) -> Answer:
        """Ask a view of an orders worker."""
        return await get(self.workers.running[f"orders-{index}"].port, path)

    async def order_where(
        self, account: str, order_id: str, holds: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Return an order when it is as wanted."""
        ask = partial(self.view, f"/accounts/{account}/orders/{order_id}")
        answer = await wait_until(ask, lambda seen: seen.status == 200 and holds(seen.body))
        return dict(answer.body)

    async def order_view(self, account: str, order_id: str, *statuses: str) -> dict[str, Any]:
        """Return an order when its status is one of these."""
        return await self.order_where(account, order_id, lambda seen: seen["status"] in statuses)

    async def position(self, account: str, symbol: str, qty: str) -> dict[str, Any]:
        """Return a position when it is of this quantity."""
        ask = partial(self.view, f"/accounts/{account}/positions/{symbol}")
        answer = await wait_until(ask, lambda seen: seen.status == 200 and seen.body["qty"] == qty)
        return dict(answer.body)

    async def refusal(self, account: str, order_id: str) -> dict[str, Any]:
        """Return why an order was rejected, when it is."""
        return dict((await self.order_view(account, order_id, "rejected"))["refusal"])


def command(**fields: Any) -> Raw:
    """Return a command as a plain client writes it: by default a limit order to buy 100 AIG."""
    given = {"command": "submit", "account": "A1", "symbol": "AIG"}
    if fields.get("command", "submit") == "submit":
        given |= BUYS if fields.get("type", "limit") == "limit" else {"side": "buy", "qty": "100"}
    else:
        del given["symbol"]
    given |= fields
    return Raw(json.dumps(given).encode(), given["account"].encode())


def tick_of(symbol: str, **fields: Any) -> Raw:
    """Return a tick of this moment, numbered."""
    tick = {"symbol": symbol, "ts_event_ns": time.time_ns(), "seq": next(_seq), **fields}
    return Raw(json.dumps(tick).encode(), symbol.encode())


async def set_up(settings: Settings) -> None:
    """Make topics, rules and tables, and shift the session."""
    await apply_topics(settings, TABLES)
    await seed_controls(settings)
    await publish_controls(settings, [SessionShift(shift_ns=time.time_ns() - NOW_NS)])
    await migrate(settings)


def settings_of(stack: Settings, folder: Path, namespace: str) -> Settings:
    """Return the settings of a pipeline of its own on the stack."""
    return stack.model_copy(
        update={
            "namespace": namespace,
            "data_dir": folder,
            "session_timeout_s": SESSION_TIMEOUT_S,
        }
    )
