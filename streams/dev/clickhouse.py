"""Run ClickHouse's engine in a server of ours; see `clickhouse_server` for what it speaks."""

import http.client
import sys
from functools import partial

from streams.dev.ports import HOST
from streams.dev.service import NotReadyError, Report, Service
from streams.settings import Settings

NAME = "clickhouse"


def port_of(settings: Settings) -> int:
    """Return the port of the HTTP interface."""
    return settings.clickhouse_port


def prepare(settings: Settings, report: Report) -> Service:
    """Return the server ready to start; there is nothing to fetch or format."""
    report("preparing")
    return Service(
        name=NAME,
        argv=(sys.executable, "-m", "streams.dev.clickhouse_server"),
        env={**settings.environment(), "TZ": "UTC"},  # as a server in a container has it
        log=settings.data_dir / "logs" / "clickhouse.log",
        probe=partial(probe, settings),
        start_timeout_s=120.0,
        stop_grace_s=20.0,
    )


def probe(settings: Settings) -> str:
    """Return the engine's version; raise `NotReadyError` while it does not answer."""
    headers = {
        "X-ClickHouse-User": settings.clickhouse_user,
        "X-ClickHouse-Key": settings.clickhouse_password.get_secret_value(),
    }
    connection = http.client.HTTPConnection(HOST, settings.clickhouse_port, timeout=10.0)
    try:
        connection.request("GET", "/?query=SELECT+version()", headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode().strip()
    except OSError as error:
        raise NotReadyError(str(error)) from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise NotReadyError(text)
    return text
