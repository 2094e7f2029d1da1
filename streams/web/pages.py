"""How views answer: JSON, and lists in pages."""

from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel

from streams.transport.table import Table
from streams.web.problems import ProblemError

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 100


def respond(body: Any, status: int = 200) -> web.Response:
    """Return a JSON response; messages as on the wire."""
    return web.Response(
        body=orjson.dumps(body, default=_plain), status=status, content_type="application/json"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    raise TypeError(type(value).__name__)


def table_of(view: Any, name: str) -> Table:
    """Return a table of the worker."""
    table: Table = view.app.tables[name]
    return table


def limit_of(request: Any) -> int:
    """Return how many rows are asked for."""
    raw = request.query.get("limit", str(DEFAULT_LIMIT))
    if not raw.isdecimal() or not 1 <= int(raw) <= MAX_LIMIT:
        raise ProblemError(400, f"limit={raw!r}: give a whole number from 1 to {MAX_LIMIT}")
    return int(raw)


def page_of(rows: Iterable[tuple[str, Any]], request: Any) -> dict[str, Any]:
    """Return one page of rows that come in the order of their keys.

    `next` is what `after` takes to go on, null at the end.
    """
    limit, after = limit_of(request), request.query.get("after", "")
    items: list[Any] = []
    last = None
    for key, item in rows:
        if after and key <= after:
            continue
        if len(items) == limit:
            return {"items": items, "next": last}
        items.append(item)
        last = key
    return {"items": items, "next": None}
