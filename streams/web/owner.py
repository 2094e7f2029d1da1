"""Which worker owns an account or a symbol, and how another one passes the question on.

The owner is the worker of the role that has the key's partition of the role's tables. A
request is passed on once at most: a worker that gets one passed on and does not own the key
says so, because then a rebalance is under way.
"""

from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from streams.partitioner import partition_of
from streams.transport.table import Table
from streams.web.problems import ProblemError

FORWARDED = "X-Orderflow-Forwarded"
TIMEOUT = aiohttp.ClientTimeout(total=5.0)


def ready(app: Any) -> bool:
    """Return whether the worker's tables are restored and nobody is moving partitions."""
    return bool(
        app.services.started
        and not app.rebalancing
        and app.tables.recovery.completed.is_set()
        and app.consumer.assignment()
    )


def partition_of_key(app: Any, table: Table, key: str) -> int:
    """Return the partition of a key."""
    count = app.consumer.topic_partitions(table.changelog_topic_name)
    if not count:
        raise ProblemError(503, "the worker does not know the cluster yet; ask again in a second")
    return partition_of(key.encode(), count)


def owner_of(app: Any, table: Table, key: str) -> URL | None:
    """Return the URL of the worker that owns a key, None if it is this one."""
    partition = partition_of_key(app, table, key)
    if ready(app) and partition in table.local.partitions:
        return None
    topic = table.changelog_topic_name
    for host, topics in app.assignor.tables_metadata().items():
        if partition in topics.get(topic, ()) and URL(host) != URL(str(app.conf.canonical_url)):
            return URL(host)
    raise ProblemError(503, f"no worker is ready for {key}; ask again in a second")


async def answered_by_owner(app: Any, table: Table, key: str, request: Any) -> Any:
    """Return the owner's answer to a request, or None if this worker is the owner."""
    owner = owner_of(app, table, key)
    if owner is None:
        return None
    if FORWARDED in request.headers:
        raise ProblemError(503, f"{key} is moving between workers; ask again in a second")
    url = owner.join(request.rel_url)  # encoded as it came: symbols may hold a slash
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.get(url, headers={FORWARDED: "1"}) as answer,
        ):
            return web.Response(
                body=await answer.read(),
                status=answer.status,
                content_type=answer.content_type,
            )
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ProblemError(
            503, f"the worker at {owner} owns {key} and does not answer: {error}"
        ) from error
