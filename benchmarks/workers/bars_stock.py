"""Stock Faust: an agent that keeps each symbol's open bar in a table, one event per tick."""

from typing import Any

import faust
import uvloop
from pydantic import TypeAdapter

from benchmarks import bars_job
from benchmarks.bars_job import Open
from benchmarks.job import PARTITIONS, Chain
from benchmarks.workers import faust_app
from streams.transport.codec import encode

_OPEN: TypeAdapter[Open] = TypeAdapter(Open)


def changelogs(chain: Chain) -> list[str]:
    """Return the changelog topics that the chain needs, as Faust names them."""
    return [f"{chain.group}-open-bars-changelog"]


def main() -> None:
    """Run until a signal ends it."""
    chain = Chain.from_environment()
    uvloop.install()
    app = faust.App(
        chain.group,
        broker=f"kafka://{chain.bootstrap}",
        store="rocksdb://",
        datadir=chain.folder,
        topic_partitions=PARTITIONS,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_acks=-1,
        web_enabled=False,
        autodiscover=False,
    )
    raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw"}
    kinds: dict[str, Any] = {"key_type": bytes, "value_type": bytes}
    source, target = (app.topic(name, **kinds, **raw) for name in chain.topics)
    table = app.Table("open-bars", partitions=PARTITIONS, **kinds)

    async def bars(stream: Any) -> None:
        async for key, value in stream.items():
            found = table.get(key)
            known = None if found is None else _OPEN.validate_json(found)
            opened, bar = bars_job.apply(bars_job.decode(value), known)
            table[key] = _OPEN.dump_json(opened)
            if bar is not None:
                await target.send(key=key, value=encode(bar))

    app.agent(source, name="bars")(bars)
    faust_app.run(app)


if __name__ == "__main__":
    main()
