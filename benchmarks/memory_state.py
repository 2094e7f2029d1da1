"""State as the pipeline makes it, many times over: what `memory` fills the changelogs with.

A few accounts trade for real. What the four agents of the orders role then remember of them is
read from their changelogs and written again under other accounts' names, key and value, as often
as it takes. Names have the same length, so every record is as large as its original.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.changelog import Row, fill
from benchmarks.memory_load import PRICES
from connectors.kafka.reader import read_topic
from streams.load import Expected, LoadRecord, mixed_orders
from streams.settings import Settings
from streams.transport.store import OWN
from tables.base import TableSpec
from tables.orders import ORDERS
from tables.positions import POSITIONS
from tables.risk import RISK
from tables.routes import ROUTES

STATE = (ORDERS, RISK, ROUTES, POSITIONS)
_ORIGINAL = b"bench-00000-"
_ACCOUNT = re.compile(rb"bench-\d{5}-\d{4}")


def accounts(clone: int, count: int) -> list[str]:
    """Return the accounts of a clone; clone 0 is the original."""
    return [f"bench-{clone:05d}-{number:04d}" for number in range(count)]


def orders(seed: int, count: int, among: list[str]) -> list[LoadRecord]:
    """Return so many commands; of each seed once, since their ids follow from it."""
    return mixed_orders(seed, count, among, tuple(PRICES), PRICES)


def is_order(key: bytes) -> bool:
    """Return whether a key of the table `orders` is an order's, nothing else that is kept there."""
    return b"|" in key and b"#" not in key and not key.startswith(b"~")


def is_placed(key: bytes) -> bool:
    """Return whether it is the key of an order that was sent, not of a bracket's leg."""
    return is_order(key) and not key.endswith((b"-TP", b"-SL"))


@dataclass(frozen=True)
class Original:
    """What the tables hold of the accounts that traded, by table name."""

    rows: dict[str, dict[bytes, bytes]]

    @property
    def orders(self) -> int:
        """Return how many orders there are, legs of brackets included."""
        return sum(map(is_order, self.rows[ORDERS.name]))

    @property
    def placed(self) -> int:
        """Return how many orders were sent as such: legs of brackets are not."""
        return sum(map(is_placed, self.rows[ORDERS.name]))

    @property
    def resting(self) -> int:
        """Return how many orders the validator has as open."""
        return sum(b'"live":true' in value for value in self.rows[RISK.name].values())

    def cancels(self, leave: int) -> list[LoadRecord]:
        """Return cancels of the open orders, but of every `leave`-th none."""
        found = []
        for key, value in self.rows[RISK.name].items():
            if b'"live":true' in value and is_placed(key):
                account, _, order_id = key.decode().partition("|")
                command = {"command": "cancel", "account": account, "order_id": order_id}
                expected = Expected("cancel", account, order_id)
                found.append(LoadRecord(account.encode(), json.dumps(command).encode(), expected))
        return [record for number, record in enumerate(found) if number % leave]

    @property
    def keys(self) -> int:
        """Return how many keys there are in all tables."""
        return sum(len(rows) for rows in self.rows.values())

    @property
    def size(self) -> int:
        """Return the bytes of all keys and values."""
        pairs = (pair for rows in self.rows.values() for pair in rows.items())
        return sum(len(key) + len(value) for key, value in pairs)

    async def clone(self, settings: Settings, copies: int) -> None:
        """Write the state of `copies` further sets of accounts to the changelogs."""
        for table in STATE:
            await fill(settings, table.changelog(settings.namespace), self._clones(table, copies))

    def _clones(self, table: TableSpec, copies: int) -> Iterator[Row]:
        rows = self.rows[table.name]
        for number in range(1, copies + 1):
            name = b"bench-%05d-" % number
            for key, value in rows.items():
                copied = key.replace(_ORIGINAL, name)
                found = _ACCOUNT.search(copied)
                assert found is not None, key
                yield Row(found[0], copied, value.replace(_ORIGINAL, name))


async def read_original(settings: Settings) -> Original:
    """Return what the changelogs hold, without what the transport keeps for itself.

    Nor with what says which orders of a batch leave when: it is of several accounts, and small.
    """
    rows: dict[str, dict[bytes, bytes]] = {}
    for table in STATE:
        held = rows[table.name] = {}
        async for record in read_topic(settings, table.changelog(settings.namespace)):
            key = record.key or b""
            if record.value is None:
                held.pop(key, None)
            elif not key.startswith(OWN) and b'"kind":"leaving"' not in record.value:
                held[key] = record.value
    return Original(rows)
