"""How fast a cold worker has its table back from the changelog: keys per second.

The changelog of the table `orders` is filled once, with orders as the tracker stores them. In
each round a worker starts whose folder is empty. Measured is the time from the moment at which
it begins to read the changelog, its partitions assigned, until all is in its store:

- `ours`         the `orders` worker; `seconds` of its line `table_restore_done`
- `stock_faust`  Faust 0.15 as it comes, `store="rocksdb://"` (on rocksdict, as ours), raw keys and
                 values; from its recovery's start to its end. It would take minutes for all
                 of them, so its changelog has a fifth of the keys: what counts is keys a second.

Afterwards the stores are opened, and every key and value is compared with what was written, by
count and checksum.
"""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.admin import NewTopic

from benchmarks.changelog import Content, Row, content_of, fill, stored
from benchmarks.harness import Plan, interleaved, outcome
from benchmarks.processes import Measured, Processes, processes
from connectors.kafka.admin import apply_topics
from connectors.kafka.client import admin
from connectors.kafka.controls import seed_controls
from streams.domain.build import make
from streams.domain.order_state import OrderState
from streams.errors import IncompleteError
from streams.models.orders import OrderTerms, Side
from streams.settings import Settings
from streams.transport.codec import encode
from streams.transport.store import OWN
from tables.orders import ORDERS
from tables.registry import TABLES

KEYS, QUICK_KEYS = 1_000_000, 20_000
STOCK_KEYS, QUICK_STOCK_KEYS = 200_000, 5_000
ORDERS_PER_ACCOUNT = 5
BOUND_S = 300.0

SOURCE, SHORT = "restore-source", "restore-short"
#: What Faust's store keeps beside the keys.
FAUST_OFFSET = b"__faust\0offset__"


class Filled(NamedTuple):
    """A changelog and what is in it."""

    topic: str
    content: Content


def run(plan: Plan) -> dict[str, Any]:
    """Restore with each contender in turn."""
    settings = plan.settings.model_copy(update={"data_dir": plan.settings.data_dir / "restore"})
    keys, stock_keys = (QUICK_KEYS, QUICK_STOCK_KEYS) if plan.quick else (KEYS, STOCK_KEYS)
    plan.say(f"writing {keys:,} orders to the changelog")
    whole, short = asyncio.run(_fill(settings, keys, stock_keys))
    with processes() as started:
        samples = interleaved(
            {
                "ours": lambda: _ours(started, settings, whole),
                "stock_faust": lambda: _stock(started, settings, short),
            },
            plan.repeats,
            plan.say,
        )
    extra = {"keys": keys, "stock_faust_keys": stock_keys, "bytes_per_value": len(_value(0))}
    return outcome("restore", "keys/s", samples, goals={"stock_faust": 10.0}, extra=extra)


# --- the changelogs ---------------------------------------------------------------------------

_ACCOUNT, _ORDER = b"bench-0000000", b"order-0000000"
_TERMS = {"symbol": "AIG", "side": "buy", "type": "limit", "qty": "100", "limit_price": "49.2"}
_TEMPLATE = encode(
    make(
        OrderState,
        account=_ACCOUNT.decode(),
        order_id=_ORDER.decode(),
        exists=True,
        symbol="AIG",
        side=Side.BUY,
        terms=OrderTerms.model_validate(_TERMS | {"time_in_force": "day"}),
        seen=("3a679ecb5f8cb322",),
        version=1,
        ts_updated_ns=1_795_015_800_000_000_000,
    )
)


def _value(number: int) -> bytes:
    account, order = _names(number)
    return _TEMPLATE.replace(_ACCOUNT, account).replace(_ORDER, order)


def _names(number: int) -> tuple[bytes, bytes]:
    return b"bench-%07d" % (number // ORDERS_PER_ACCOUNT), b"order-%07d" % number


def _rows(count: int) -> Iterator[Row]:
    for number in range(count):
        account, order = _names(number)
        yield Row(account, account + b"|" + order, _value(number))


async def _fill(settings: Settings, keys: int, stock_keys: int) -> tuple[Filled, Filled]:
    """Create the topics, write the long and the short changelog, and return what is in them."""
    await apply_topics(settings, TABLES)
    await seed_controls(settings)
    named = [_named(settings, name) for name in (SOURCE, SHORT)]
    async with admin(settings) as client:
        await client.create_topics([NewTopic(name, settings.partitions, 1) for name in named])
    filled = []
    for topic, count in ((ORDERS.changelog(settings.namespace), keys), (named[1], stock_keys)):
        await fill(settings, topic, _rows(count))
        filled.append(Filled(topic, content_of((row.key, row.value) for row in _rows(count))))
    return filled[0], filled[1]


def _named(settings: Settings, name: str) -> str:
    return f"{settings.namespace}.{name}" if settings.namespace else name


# --- the contenders ---------------------------------------------------------------------------


def _ours(started: Processes, settings: Settings, changelog: Filled) -> dict[str, Any]:
    shutil.rmtree(settings.data_dir / "workers", ignore_errors=True)
    worker = started.worker(settings, "orders")
    worker.ready(BOUND_S)
    (done,) = worker.events("table_restore_done")
    worker.stop()
    folder = settings.data_dir / "workers" / "orders-0" / "tables" / ORDERS.name
    return _sample(worker, changelog, done["seconds"], folder.iterdir())


def _stock(started: Processes, settings: Settings, changelog: Filled) -> dict[str, Any]:
    folder = settings.data_dir / "stock"
    shutil.rmtree(folder, ignore_errors=True)
    asked = {
        "group": _named(settings, f"stock-{changelog.topic}"),
        "broker": settings.kafka_bootstrap,
        "source": _named(settings, SOURCE),
        "changelog": changelog.topic,
        "partitions": settings.partitions,
        "store": "rocksdb://",
        "folder": str(folder),
    }
    argv = ("-m", "benchmarks.restore_stock", json.dumps(asked))
    worker = started.python("stock", argv, settings.data_dir, {})
    done = worker.wait("recovery", lambda: _first(worker.events("stock_restore_done")), BOUND_S)
    worker.stop()
    return _sample(worker, changelog, done["seconds"], folder.glob("**/*.db"))


def _first(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    return events[0] if events else None


def _sample(
    worker: Measured, changelog: Filled, seconds: float, stores: Iterator[Path]
) -> dict[str, Any]:
    """Return keys per second; raise unless the stores hold what the changelog does."""
    found = content_of(
        (key, value)
        for store in stores
        for key, value in stored(store)
        if not key.startswith((OWN, FAUST_OFFSET))
    )
    if found != changelog.content:
        raise IncompleteError(
            f"{worker.child.name} restored {found} from {changelog.topic},"
            f" which holds {changelog.content}"
        )
    return {"figure": found.keys / seconds, "seconds": seconds}
