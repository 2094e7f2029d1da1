"""Serve ClickHouse's HTTP interface over chDB, so that every client works in embedded mode too.

`python -m streams.dev.clickhouse_server` listens on `clickhouse_port` of the loopback address
with the data in `data_dir/clickhouse`, until SIGTERM or SIGINT. It takes the statement from the
URL or the body, insert bodies of any format, compressed or not, `param_` values and settings in
the URL, and answers errors with ClickHouse's numbers.

Not as ClickHouse does it: answers are never compressed (both ends are on one machine), a session
keeps nothing from one request to the next, and external tables are refused.

Who reaches the port runs SQL as this user, and `file()` and `url()` read what this user can read.
So it binds to loopback alone, asks for the password when one is set, and refuses what a web page
in a browser sends.
"""

import asyncio
import hmac
import json
import secrets
import signal
import sys
from base64 import b64decode
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from streams.dev.bodies import decoded
from streams.dev.clickhouse_engine import STREAMED_FORMATS, Connection, Engine
from streams.dev.clickhouse_sql import (
    ClickHouseError,
    is_select,
    split_insert,
    tail_of_error,
    trailing_format,
)
from streams.dev.ports import HOST
from streams.settings import Settings

_MAX_BODY = 2**31
_DEFAULT_FORMAT = "TabSeparated"
_CLOSE_TIMEOUT_S = 5.0

_NOT_SETTINGS = frozenset(
    {
        *("query", "database", "default_format", "user", "password", "query_id", "quota_key"),
        *("session_id", "session_timeout", "session_check", "close_session", "role"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
        *("wait_end_of_query", "buffer_size", "stacktrace", "client_protocol_version"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
    }
)


@dataclass(frozen=True)
class Request:
    """One request, read: what to run, on what, and how to answer."""

    sql: bytes
    database: str
    format: str
    params: Mapping[str, str]
    settings: Mapping[str, str]
    query_id: str
    read_only: bool


class Server:
    """The HTTP handlers over one engine."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._user = settings.clickhouse_user
        self._password = settings.clickhouse_password.get_secret_value()
        self._engine = engine

    def application(self) -> web.Application:
        """Return the routes of the interface."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_get("/ping", self._ping)
        app.router.add_get("/replicas_status", self._ping)
        app.router.add_route("*", "/", self._handle)
        return app

    async def _ping(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        try:
            self._check_origin(http)
            self._check_credentials(http)
            request = await _read(http)
            if not request.sql.strip():
                return web.Response(text="Ok.\n")
            async with self._engine.connection() as connection:
                await connection.configure(request.database, request.settings)
                return await _answer(http, request, connection)
        except ClickHouseError as error:
            return web.Response(
                status=error.status,
                text=error.text.rstrip() + "\n",
                headers={"X-ClickHouse-Exception-Code": str(error.code)},
            )

    def _check_origin(self, http: web.Request) -> None:
        """Refuse a web page's request, also one whose name was made to lead to this machine."""
        for sender in (http.headers.get("Origin"), f"http://{http.host}"):
            if sender and not _is_local(urlsplit(sender).hostname or ""):
                raise ClickHouseError(497, f"requests from {sender} are refused: not this machine")

    def _check_credentials(self, http: web.Request) -> None:
        user, password = _credentials(http)
        same_password = hmac.compare_digest(password.encode(), self._password.encode())
        if user != self._user or not same_password:
            raise ClickHouseError(
                516,
                f"{user}: Authentication failed: password is incorrect, or there is no such user",
            )


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _credentials(http: web.Request) -> tuple[str, str]:
    """Return user and password from wherever ClickHouse takes them."""
    scheme, _, encoded = http.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = b64decode(encoded).decode().partition(":")
        except ValueError:
            raise ClickHouseError(516, "the Authorization header cannot be read") from None
        return user or "default", password
    user = http.headers.get("X-ClickHouse-User") or http.query.get("user", "default")
    return user, http.headers.get("X-ClickHouse-Key") or http.query.get("password", "")


async def _read(http: web.Request) -> Request:
    """Collect the parts of a request from URL, headers, form and body."""
    values = dict(http.query)
    if http.content_type == "multipart/form-data":
        values |= await _form_values(http)
        body = b""
    else:
        body = await asyncio.to_thread(
            decoded, await http.read(), http.headers.get("Content-Encoding", "")
        )
    for name in ("compress", "decompress"):
        if values.get(name, "0") not in ("0", ""):
            raise ClickHouseError(48, f"{name}=1, ClickHouse's own compression, is not served here")
    headers = http.headers
    statement = values.get("query", "").encode()
    sql = statement + b"\n" + body if statement and body else statement or body
    return Request(
        sql=sql,
        database=values.get("database") or headers.get("X-ClickHouse-Database") or "",
        format=values.get("default_format")
        or headers.get("X-ClickHouse-Format")
        or _DEFAULT_FORMAT,
        params={key[6:]: value for key, value in values.items() if key.startswith("param_")},
        settings={
            key: value
            for key, value in values.items()
            if key not in _NOT_SETTINGS and not key.startswith("param_") and key.isidentifier()
        },
        query_id=values.get("query_id", ""),
        read_only=http.method in ("GET", "HEAD"),
    )


async def _form_values(http: web.Request) -> dict[str, str]:
    form = await http.post()
    if any(isinstance(value, web.FileField) for value in form.values()):
        raise ClickHouseError(48, "external tables are not served here; insert into a table first")
    return {key: str(value) for key, value in form.items()}


async def _answer(
    http: web.Request, request: Request, connection: Connection
) -> web.StreamResponse:
    insert = split_insert(request.sql)
    if request.read_only and (insert or not connection.is_read_only(request.sql)):
        raise ClickHouseError(
            164, "Cannot execute query in readonly mode: method GET implies readonly, use POST"
        )
    format_ = trailing_format(request.sql) or request.format
    if insert:
        result = await connection.insert(insert)
        written = {
            "written_rows": result.rows_written(),
            "written_bytes": result.bytes_written(),
        }
        return web.Response(headers=_headers(request, format_, written))
    if format_ in STREAMED_FORMATS and is_select(request.sql):
        return await _stream(http, request, format_, connection)
    result = await connection.query(request.sql, format_, request.params)
    counts = {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
        "result_rows": result.rows_read(),
    }
    return web.Response(body=result.bytes(), headers=_headers(request, format_, counts))


async def _stream(
    http: web.Request, request: Request, format_: str, connection: Connection
) -> web.StreamResponse:
    """Send a result block by block; the status is known once the first block is there."""
    tag = secrets.token_hex(8)
    async with aclosing(connection.stream(request.sql, format_, request.params)) as blocks:
        first = await anext(blocks, None)
        headers = {**_headers(request, format_, {}), "X-ClickHouse-Exception-Tag": tag}
        response = web.StreamResponse(headers=headers)
        await response.prepare(http)
        if first is not None:
            await response.write(first.bytes())
        try:
            async for block in blocks:
                await response.write(block.bytes())
        except ClickHouseError as error:
            await response.write(tail_of_error(error, tag))
            if http.transport:
                http.transport.close()  # cut short on purpose: the answer must not look complete
            return response
        await response.write_eof()
        return response


def _headers(request: Request, format_: str, counts: Mapping[str, Any]) -> dict[str, str]:
    summary = {key: str(value) for key, value in counts.items()}
    content_type = "application/json" if format_.startswith("JSON") else "text/plain"
    return {
        "Content-Type": f"{content_type}; charset=UTF-8",
        "X-ClickHouse-Server-Display-Name": "orderflow",
        "X-ClickHouse-Query-Id": request.query_id,
        "X-ClickHouse-Format": format_,
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Summary": json.dumps(summary),
    }


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs and close the data."""
    folder = settings.data_dir / "clickhouse"
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder)
    async with engine.connection() as connection:  # opens the data before the port
        await connection.query(b"SELECT 1", "Null", {})
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = web.AppRunner(
        Server(settings, engine).application(),
        access_log=None,
        auto_decompress=False,  # aiohttp knows fewer encodings than ClickHouse
        shutdown_timeout=_CLOSE_TIMEOUT_S,
    )
    await runner.setup()
    await web.TCPSite(runner, HOST, settings.clickhouse_port).start()
    await stopped.wait()
    await runner.cleanup()
    await engine.close()


if __name__ == "__main__":
    try:
        asyncio.run(serve(Settings()))
    except ClickHouseError as failure:
        sys.exit(failure.text)
