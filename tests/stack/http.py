"""Ask the embedded ClickHouse as curl does."""

import http.client
from typing import NamedTuple
from urllib.parse import urlencode

from streams.settings import Settings


class Answer(NamedTuple):
    """Status, body and headers of an answer."""

    status: int
    body: bytes
    headers: dict[str, str]


def ask(
    settings: Settings,
    body: bytes = b"",
    *,
    method: str = "POST",
    path: str = "/",
    headers: dict[str, str] | None = None,
    **params: str,
) -> Answer:
    """Send one request and return its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.clickhouse_port, timeout=60)
    try:
        connection.request(method, f"{path}?{urlencode(params)}", body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), dict(answer.getheaders()))
    finally:
        connection.close()


def query(settings: Settings, sql: str) -> str:
    """Run a statement that must succeed and return its result as tab-separated text."""
    answer = ask(settings, sql.encode())
    assert answer.status == 200, answer.body
    return answer.body.decode()
