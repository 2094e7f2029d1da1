"""The counting worker as one writes it on stock Faust: no code of the transport's is in it.

Started as `python -m tests.stack.guarantees.stock_worker ROLE`. It counts the orders of each
account in a table and publishes each, as `tests.stack.counting_worker` does, and takes the same
wishes in an order's `strategy`:

    raise, end   the agent raises, after it has changed the table
    large        it publishes a record that its topic refuses
    once         it passes over an order that its table has counted already
    state        it changes the table, to a large value, and publishes nothing

With ORDERFLOW_TEST_HOLD set to a file, the agent is held up on partition 0 while the file exists.
"""

import asyncio
import sys
from typing import Any

import faust
from faust.web import Request, View

from streams.settings import Settings
from streams.topics import ORDERS_APPROVED, ORDERS_REQUESTED, topic_name
from streams.wiring import ROLES
from tests.stack.guarantees import faults
from tests.stack.guarantees.faults import FAT, LARGE, wait_while_held


def build_app(settings: Settings) -> faust.App:
    """Return a stock app: Faust's own transport, consumer, producer and tables.

    What is set is what an operator sets: addresses, times, sizes, and that records are JSON.
    """
    folder = settings.data_dir / f"stock-{settings.worker_index}"
    folder.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        f"{settings.namespace}.orderflow.orders.v1",
        broker=f"kafka://{settings.kafka_bootstrap}",
        store="memory://",
        datadir=str(folder),
        topic_partitions=settings.partitions,
        topic_disable_leader=True,
        table_standby_replicas=0,
        value_serializer="json",
        producer_max_request_size=8 * 1024 * 1024,
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 3,
        consumer_group_instance_id=folder.name,
        web_host=settings.web_host,
        web_bind=settings.web_host,
        web_port=settings.web_port + ROLES.index("orders") + len(ROLES) * settings.worker_index,
        autodiscover=False,
    )
    _count(app, settings)
    _report(app, topic_name(ORDERS_REQUESTED, settings.namespace))
    return app


def _count(app: faust.App, settings: Settings) -> None:
    source = app.topic(topic_name(ORDERS_REQUESTED, settings.namespace))
    output = app.topic(topic_name(ORDERS_APPROVED, settings.namespace))
    counts = app.Table("counts", default=lambda: {"n": 0, "total": 0, "last": -1})

    @app.agent(source)
    async def counter(stream: Any) -> None:
        async for event in stream.events():
            order = event.value
            if event.message.partition == 0:
                await asyncio.to_thread(wait_while_held)
            number = int(order["order_id"].rpartition("-")[2])
            account, wish = order["account"], order["strategy"]
            before = counts[account]
            if wish == "once" and number <= before["last"]:
                continue
            text = FAT if wish == "state" else ""
            total = before["total"] + number
            counts[account] = {"n": before["n"] + 1, "total": total, "last": number, "text": text}
            if wish in ("raise", "end"):
                raise ArithmeticError("as the order asked")
            if wish != "state":
                counted = {"order_id": order["order_id"], "text": LARGE if wish == "large" else ""}
                await output.send(key=account, value=counted)


def _report(app: faust.App, source: str) -> None:
    async def ready(view: View, request: Request) -> Any:
        tables: Any = app.tables
        is_ready = (
            tables.recovery.completed.is_set()  # before that there may be no consumer to ask
            and not app.rebalancing
            and any(tp.topic == source for tp in app.consumer.assignment())
        )
        return view.json({"is_ready": is_ready}, status=200 if is_ready else 503)

    app.page("/health/ready", name="ready")(ready)


def main() -> None:
    """Run the worker until a signal ends it."""
    faults.install()
    app = build_app(Settings())
    sys.argv = sys.argv[:1]
    faust.Worker(
        app, loglevel="WARNING", quiet=True, redirect_stdouts=False
    ).execute_from_commandline()


if __name__ == "__main__":
    main()
