"""The one place that makes a ClickHouse client: HTTP, async, with time-outs, without sessions.

The same client speaks to a real server and to the embedded one. A session would make ClickHouse
refuse concurrent queries of one client, so none is generated.
"""

import aiohttp
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from streams.errors import ServiceUnavailableError
from streams.settings import Settings

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 60

#: What a client raises when ClickHouse refuses, does not answer or is not there.
CLICKHOUSE_ERRORS = (ClickHouseError, aiohttp.ClientError, OSError, TimeoutError)


def history_database(settings: Settings) -> str:
    """Return the database of the history; a namespace goes in front, with `_` for its `-`."""
    if not settings.namespace:
        return settings.clickhouse_database
    return f"{settings.namespace.replace('-', '_')}_{settings.clickhouse_database}"


async def connect(settings: Settings, database: str | None = None) -> AsyncClient:
    """Return a client of the history's database, or of another one that exists.

    The caller closes it: `await client.close()`. Raises ServiceUnavailableError when ClickHouse
    does not answer, or refuses the user or the database.
    """
    name = history_database(settings) if database is None else database
    try:
        return await create_async_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            database=name,
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=ANSWER_TIMEOUT_S,
            autogenerate_session_id=False,
        )
    except CLICKHOUSE_ERRORS as error:
        raise ServiceUnavailableError(
            f"no connection to ClickHouse at {settings.clickhouse_host}:{settings.clickhouse_port},"
            f" database {name!r} ({first_line(error)}); start it, or make the database with"
            " `./orderflow migrate`"
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most 500 characters of it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:500]
