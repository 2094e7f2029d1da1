"""Which worker owns an account, and how another one passes the question on.

The owner of an account is the worker that has its partition of the orders role's tables. A
request is passed on once at most: a worker that gets one passed on and does not own the account
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


def partition_of_account(app: Any, table: Table, account: str) -> int:
    """Return the partition of an account."""
    count = app.consumer.topic_partitions(table.changelog_topic_name)
    if not count:
        raise ProblemError(503, "the worker does not know the cluster yet; ask again in a second")
    return partition_of(account.encode(), count)


def owner_of(app: Any, table: Table, account: str) -> URL | None:
    """Return the URL of the worker that owns an account, None if it is this one."""
    partition = partition_of_account(app, table, account)
    if ready(app) and partition in table.local.partitions:
        return None
    topic = table.changelog_topic_name
    for host, topics in app.assignor.tables_metadata().items():
        if partition in topics.get(topic, ()) and URL(host) != URL(str(app.conf.canonical_url)):
            return URL(host)
    raise ProblemError(503, f"no worker is ready for account {account}; ask again in a second")


async def answered_by_owner(app: Any, table: Table, account: str, request: Any) -> Any:
    """Return the owner's answer to a request, or None if this worker is the owner."""
    owner = owner_of(app, table, account)
    if owner is None:
        return None
    if FORWARDED in request.headers:
        raise ProblemError(
            503, f"account {account} is moving between workers; ask again in a second"
        )
    url = owner.with_path(request.path).with_query(request.query)
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
            503, f"the worker at {owner} owns account {account} and does not answer: {error}"
        ) from error
