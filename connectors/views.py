"""Ask the web views of the workers: the tables of the pipeline as they are this moment."""

import http.client
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from streams.errors import (
    NotFoundError,
    OrderflowError,
    ServiceUnavailableError,
    UsageError,
)
from streams.settings import Settings

TIMEOUT_S = 10.0
PAGE = 1_000
#: An address to bind to that stands for all addresses of a machine; one asks the machine itself.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told from others, never bound to

_ERRORS: Mapping[int, type[OrderflowError]] = {
    HTTPStatus.BAD_REQUEST: UsageError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.SERVICE_UNAVAILABLE: ServiceUnavailableError,
}


def view(
    settings: Settings,
    *parts: str,
    port: int | None = None,
    query: Mapping[str, str] | None = None,
) -> Any:
    """Return the JSON at `/part/part?query` of a worker; `port` by default the orders role's.

    Raises the error that fits the worker's answer, and ServiceUnavailableError when nothing
    listens or no JSON comes back.
    """
    host = _ANY.get(settings.web_host, settings.web_host)
    port = settings.web_port if port is None else port
    path = "".join(f"/{quote(part, safe='')}" for part in parts)
    status, body = _get(host, port, f"{path}?{urlencode(query)}" if query else path)
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise ServiceUnavailableError(
            f"what listens on {host}:{port} is no worker of Orderflow: {path} gave {status} and"
            " no JSON; the setting is ORDERFLOW_WEB_PORT"
        ) from error
    if status == HTTPStatus.OK:
        return answer
    detail = answer.get("detail") if isinstance(answer, Mapping) else None
    raise _ERRORS.get(status, OrderflowError)(detail or f"{path} gave HTTP {status}")


def items(
    settings: Settings, *parts: str, limit: int, query: Mapping[str, str] | None = None
) -> list[Any]:
    """Return the first `limit` items of a view that comes in pages."""
    found: list[Any] = []
    asked = dict(query or {})
    while len(found) < limit:
        asked["limit"] = str(min(limit - len(found), PAGE))
        page = view(settings, *parts, query=asked)
        found += page["items"]
        if page["next"] is None:
            break
        asked["after"] = page["next"]
    return found


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServiceUnavailableError(
            f"the web views at {host}:{port} do not answer ({str(error) or type(error).__name__})"
        ) from error
    finally:
        connection.close()
