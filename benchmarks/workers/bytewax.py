"""Bytewax where it can: `stateful_map` with snapshots in its own recovery store.

It has no changelog topics: state goes to SQLite files, with the source offsets, at the end of
each epoch (0.5 s here, as ours commits). It does not join a consumer group either. So its hop
writes one topic where the others write two. Its producer is librdkafka's, idempotent, with acks
of all replicas; an epoch ends when what it produced is flushed.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource  # type: ignore[import-not-found]
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]
from bytewax.recovery import RecoveryConfig, init_db_dir  # type: ignore[import-not-found]
from bytewax.run import cli_main  # type: ignore[import-not-found]

from benchmarks import job
from benchmarks.job import Chain, Totals

EPOCH = timedelta(seconds=0.5)


def _flow(chain: Chain) -> Dataflow:
    flow = Dataflow("hop")
    brokers = [chain.bootstrap]
    ((source, target),) = chain.hops
    safe = {"enable.idempotence": "true", "acks": "all"}
    records = op.input("in", flow, KafkaSource(brokers, [source]))
    keyed = op.map("decode", records, _decoded)
    counted = op.stateful_map("count", keyed, _count)
    messages = op.map("encode", counted, _message)
    op.output("out", messages, KafkaSink(brokers, target, add_config=safe))
    return flow


def _decoded(record: Any) -> tuple[str, job.Order]:
    order = job.decode(record.value)
    return order.account, order


def _count(known: Totals | None, order: job.Order) -> tuple[Totals, job.Order]:
    checked, totals = job.apply(order, known or job.NOTHING)
    return totals, checked


def _message(counted: tuple[str, job.Order]) -> Any:
    account, checked = counted
    return KafkaSinkMessage(account.encode(), job.encode(checked))


def main() -> None:
    """Run the chain until a signal ends it."""
    chain = Chain.from_environment()
    folder = Path(chain.folder)
    folder.mkdir(parents=True, exist_ok=True)
    init_db_dir(folder, 1)
    recovery = RecoveryConfig(folder)
    cli_main(_flow(chain), epoch_interval=EPOCH, recovery_config=recovery)


if __name__ == "__main__":
    main()
