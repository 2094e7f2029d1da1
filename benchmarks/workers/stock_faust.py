"""Stock Faust: the `kafka://` transport, one event per record, tables in RocksDB.

The same faust-streaming, codec and RocksDB binding as ours, and in its favour uvloop, and none of
the debug lines that its default logging has aiokafka make and throws away. Otherwise its
defaults, with acks of all replicas; it offers no idempotent producer outside transactions.
"""

from typing import Any

import faust
import uvloop

from benchmarks import job
from benchmarks.job import PARTITIONS, Chain
from benchmarks.workers import faust_app


def changelogs(chain: Chain) -> list[str]:
    """Return the changelog topics that the chain needs, as Faust names them."""
    return [f"{chain.group}-{_table(source)}-changelog" for source, _ in chain.hops if chain.state]


def _table(source: str) -> str:
    return f"totals-{source}"


def _attach(app: Any, source: str, target: str, *, state: bool) -> None:
    """Add the agent of one hop."""
    raw = {"key_serializer": "raw", "value_serializer": "raw"}
    kinds = {"key_type": bytes, "value_type": bytes}
    topic, out = app.topic(source, **kinds, **raw), app.topic(target, **kinds, **raw)
    table = app.Table(_table(source), partitions=PARTITIONS, **kinds) if state else None

    async def hop(stream: Any) -> None:
        async for key, value in stream.items():
            order = job.decode(value)
            known = job.NOTHING if table is None else job.decode_totals(table.get(key))
            checked, totals = job.apply(order, known)
            if table is not None and totals is not known:
                table[key] = job.encode(totals)
            await out.send(key=key, value=job.encode(checked))

    app.agent(topic, name=f"hop-{source}")(hop)


def main() -> None:
    """Run the chain until a signal ends it."""
    chain = Chain.from_environment()
    uvloop.install()
    app = faust.App(
        chain.group,
        broker=f"kafka://{chain.bootstrap}",
        store="rocksdb://",
        datadir=chain.folder,
        topic_partitions=PARTITIONS,
        topic_allow_declare=False,  # they are there
        topic_disable_leader=True,
        producer_acks=-1,
        web_enabled=False,
        autodiscover=False,
    )
    if chain.session_s:
        app.conf.broker_session_timeout = chain.session_s
    for source, target in chain.hops:
        _attach(app, source, target, state=chain.state)
    faust_app.run(app)


if __name__ == "__main__":
    main()
