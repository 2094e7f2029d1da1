"""A stock Faust worker with one table over a given changelog: the rival of `restore`.

`python -m benchmarks.restore_stock JSON`, with `broker`, `source`, `changelog`, `store`, `folder`
in it. Faust as it comes: its transport, its recovery, its RocksDB store, its settings. Keys and
values are raw bytes, so that nothing is decoded. Once Faust says that the table is recovered, the
worker writes one line, `stock_restore_done`, and waits for its end.
"""

import json
import sys
from typing import Any, cast

import faust


def build(asked: dict[str, Any]) -> faust.App:
    """Return the app; its source topic exists for the sake of the table's partitions."""
    app = faust.App(
        asked["group"],
        broker=f"kafka://{asked['broker']}",
        store=asked["store"],
        datadir=asked["folder"],
        topic_partitions=asked["partitions"],
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        autodiscover=False,
    )
    source = app.topic(asked["source"], key_type=bytes, value_type=bytes)
    table = app.Table(
        "orders",
        key_type=bytes,
        value_type=bytes,
        partitions=asked["partitions"],
        changelog_topic=app.topic(asked["changelog"], key_type=bytes, value_type=bytes),
    )

    @app.agent(source)
    async def keep(stream: Any) -> None:
        async for key, value in stream.items():
            table[key] = value

    async def tell() -> None:
        """Say how long the recovery took; Faust starts tasks when it is over."""
        recovery = cast(Any, app.tables).recovery
        seconds = recovery._recovery_ended_at - recovery._recovery_started_at  # noqa: SLF001
        print(json.dumps({"event": "stock_restore_done", "seconds": seconds}), flush=True)

    app.task(tell)
    return app


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    sys.argv = sys.argv[:1]
    faust.Worker(
        build(given), loglevel="WARNING", redirect_stdouts=False
    ).execute_from_commandline()
