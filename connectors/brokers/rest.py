"""A broker behind HTTP, by the protocol of docs/brokers.md. Implements `BrokerAcrossNetwork`.

Every request has a time-out. What a call came to follows from the answer alone: 2xx accepted, 409
`DUPLICATE` duplicate, another refusal with a code rejected, and everything else unknown, unless
it is certain that the broker did nothing (no connection, 401, 403, 429). Nothing is sent twice
here; who calls decides that.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from streams import clock
from streams.broker import Ack, BrokerEvent, BrokerOrder, BrokerPosition, Outcome
from streams.domain.breaker import backoff_s
from streams.domain.capabilities import REST, Capabilities
from streams.domain.decimals import shown
from streams.domain.refusals import Code
from streams.domain.sending import event_id
from streams.models.base import Dec
from streams.models.orders import EventType, OrderEvent, OrderStatus, VenueOrder

log = structlog.get_logger(__name__)

_DECIMAL: TypeAdapter[Decimal] = TypeAdapter(Dec)

#: A stream in which nothing comes for so long, heartbeats included, is given up.
SILENCE_S = 20.0
RECONNECT_FIRST_S = 0.2
RECONNECT_MOST_S = 10.0
#: Events that wait to be taken; the connection is not read further meanwhile.
MAX_WAITING = 1_000

_NOT_LOOKED_AT = {401, 403, 429}
#: Events that happen once to an order; of the others what they answer, or their place, is told.
_ONCE = {EventType.ACCEPTED, EventType.REJECTED, EventType.CANCELED, EventType.EXPIRED}
_OWN_CODES = {code.value for code in Code}
_EVENT_FIELDS = set(OrderEvent.model_fields) - {"event_id", "broker", "refusal", "ts_init_ns"}


class RestBroker:
    """The adapter: one session for the calls, one long answer for the stream."""

    caps: Capabilities = REST

    def __init__(
        self, url: str, token: str, timeout_s: float, now_ns: Callable[[], int] = clock.now_ns
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s
        self._now_ns = now_ns
        self._session: aiohttp.ClientSession | None = None
        self._following: asyncio.Task[None] | None = None
        self._live = asyncio.Event()
        self._told: asyncio.Queue[BrokerEvent] = asyncio.Queue(MAX_WAITING)

    # The broker port.

    async def start(self, cursor: str | None) -> None:
        """Follow the stream from `cursor`; return when it is there, or after one time-out.

        A broker that is away is tried again in the background, for ever.
        """
        self._following = asyncio.get_running_loop().create_task(self._follow(cursor or ""))
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._live.wait()
        except TimeoutError:
            log.warning("broker_not_reached", broker=self.caps.broker)

    async def stop(self) -> None:
        """Disconnect; orders go on working."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def submit(self, order: VenueOrder) -> Ack:
        """Send a new order."""
        body = _terms(order) | {
            name: getattr(order, name)
            for name in ("client_order_id", "order_id", "account", "leg", "strategy")
        }
        body["valid_until_ns"] = order.valid_until_ns
        return await self._call("POST", "/orders", order, body)

    async def cancel(self, order: VenueOrder) -> Ack:
        """Ask to cancel."""
        path = f"/orders/{_quoted(order)}?request_id={quote(order.request_id, safe='')}"
        return await self._call("DELETE", path, order)

    async def replace(self, order: VenueOrder) -> Ack:
        """Ask to change."""
        body = _terms(order) | {"request_id": order.request_id}
        return await self._call("PATCH", f"/orders/{_quoted(order)}", order, body)

    async def find(self, order: VenueOrder) -> BrokerOrder | None:
        """Return the order; None if the broker says that it has none of this id."""
        status, body = await self._ask(f"/orders/{_quoted(order)}")
        if status == 404 and body.get("code") == Code.UNKNOWN_ORDER:
            return None
        return _order(self._fine(status, body))

    async def open_orders(self) -> list[BrokerOrder]:
        """Return the orders that are not over."""
        body = self._fine(*await self._ask("/orders?open=true"))
        return [_order(one) for one in _list(body, "orders")]

    async def events(self) -> AsyncIterator[BrokerEvent]:
        """Yield what happens, from the cursor given to `start` on."""
        while True:
            yield await self._told.get()

    async def fills_since(self, ts_ns: int) -> list[OrderEvent]:
        """Return the executions since a time."""
        body = self._fine(*await self._ask(f"/fills?since={ts_ns}"))
        try:
            return [self._event(one) for one in _list(body, "fills")]
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionError(f"the broker described a fill wrongly: {error}") from error

    async def positions(self) -> list[BrokerPosition]:
        """Return the positions of all accounts."""
        body = self._fine(*await self._ask("/positions"))
        try:
            return [
                BrokerPosition(str(one["account"]), str(one["symbol"]), _exact(one["qty"]))
                for one in _list(body, "positions")
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionError(f"the broker described a position wrongly: {error}") from error

    # Calls.

    async def _call(
        self, method: str, path: str, order: VenueOrder, body: dict[str, Any] | None = None
    ) -> Ack:
        name = order.client_order_id
        try:
            status, answer = await self._request(method, path, body)
        except aiohttp.ClientConnectorError as error:
            return Ack(Outcome.UNKNOWN, name, text=str(error), sent=False)
        except (aiohttp.ClientError, OSError) as error:
            return Ack(Outcome.UNKNOWN, name, text=repr(error))
        return _ack(name, status, answer)

    async def _ask(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            return await self._request("GET", path)
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionError(f"{self.caps.broker} did not answer: {error!r}") from error

    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        async with self._http().request(method, self._url + path, json=body) as answer:
            raw = await answer.read()
        return answer.status, _parsed(raw)

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._timeout_s)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self._session

    def _fine(self, status: int, body: dict[str, Any]) -> dict[str, Any]:
        if status != 200:
            raise ConnectionError(f"{self.caps.broker} answered {status} {body}")
        return body

    # The stream.

    async def _follow(self, cursor: str) -> None:
        attempt = 0
        while True:
            before = cursor
            try:
                async for one in self._stream(cursor):
                    cursor = one.cursor
                    await self._told.put(one)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                log.warning("broker_stream_lost", broker=self.caps.broker, error=repr(error))
            # Only what came shows that the broker is well; a stream that opens may close at once.
            attempt = 0 if cursor != before else attempt + 1
            wait_s = backoff_s(self._url, attempt, RECONNECT_FIRST_S, RECONNECT_MOST_S)
            await asyncio.sleep(wait_s)

    async def _stream(self, cursor: str) -> AsyncIterator[BrokerEvent]:
        timeout = aiohttp.ClientTimeout(sock_connect=self._timeout_s, sock_read=SILENCE_S)
        url = f"{self._url}/events?since={quote(cursor, safe='')}"
        async with self._http().get(url, timeout=timeout) as answer:
            if answer.status != 200:
                raise ConnectionError(f"the stream was answered by {answer.status}")
            self._live.set()
            async for line in answer.content:
                if line.strip():
                    told = self._told_in(line)
                    if told is not None:
                        yield told

    def _told_in(self, line: bytes) -> BrokerEvent | None:
        """Return the event of a line; one that cannot be read is left to reconciliation."""
        try:
            body = orjson.loads(line)
            return BrokerEvent(self._event(body), str(body["cursor"]))
        except (ValidationError, ValueError, KeyError, TypeError):
            log.exception("broker_event_unreadable", line=line[:500])
            return None

    def _event(self, body: dict[str, Any]) -> OrderEvent:
        kind = EventType(body["event"])
        given = {name: body[name] for name in _EVENT_FIELDS if body.get(name) is not None}
        name = str(body["client_order_id"])
        if body.get("code"):
            given["refusal"] = _refusal(str(body["code"]), str(body.get("text", "")))
        given["event_id"] = event_id(name, kind, *_suffix(kind, body))
        given |= {"broker": self.caps.broker, "ts_init_ns": self._now_ns()}
        return OrderEvent.model_validate(given)


def _parsed(raw: bytes) -> dict[str, Any]:
    """Return an answer's JSON object; an empty one for what a proxy or a crash may answer."""
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _ack(name: str, status: int, answer: dict[str, Any]) -> Ack:
    code, text = str(answer.get("code", "")), str(answer.get("text", ""))
    if status in (200, 201, 202):
        return Ack(Outcome.ACCEPTED, name)
    if status in _NOT_LOOKED_AT:
        said = f"the broker answered {status} {text}"
        return Ack(Outcome.UNKNOWN, name, text=said, sent=False, throttled=status == 429)
    if 400 <= status < 500 and status != 408 and code:
        if code == "DUPLICATE":
            return Ack(Outcome.DUPLICATE, name, text=text)
        refusal = _refusal(code, text)
        return Ack(Outcome.REJECTED, name, refusal["code"], refusal["text"])
    return Ack(Outcome.UNKNOWN, name, text=f"the broker answered {status}")


def _refusal(code: str, text: str) -> dict[str, str]:
    """Return a refusal of the broker's: a code of ours as it is, another one in the text."""
    if code in _OWN_CODES:
        return {"code": code, "text": text}
    return {"code": Code.BROKER_REFUSED.value, "text": f"{code}: {text}"}


def _suffix(kind: EventType, body: dict[str, Any]) -> Iterable[object]:
    """Return what tells an event from others of its kind of the same order."""
    if body.get("fill"):
        return (body["fill"]["exec_id"],)
    if kind in _ONCE:
        return ()
    return (body.get("request_id") or body.get("seq") or body["cursor"],)


def _terms(order: VenueOrder) -> dict[str, Any]:
    terms = order.terms.model_dump(mode="json", exclude_none=True)
    return {"terms": terms, "revision": order.revision}


def _quoted(order: VenueOrder) -> str:
    return quote(order.client_order_id, safe="")


def _list(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = body.get(name)
    if not isinstance(found, list):
        raise ConnectionError(f"the broker answered without {name}")
    return found


def _order(body: dict[str, Any]) -> BrokerOrder:
    try:
        qty, avg = body.get("qty"), body.get("avg_px")
        return BrokerOrder(
            str(body["client_order_id"]),
            str(body["order_id"]),
            str(body["account"]),
            OrderStatus(body["status"]),
            None if qty is None else _exact(qty),
            _exact(body["cum_qty"]),
            None if avg is None else _average(avg),
            str(body["symbol"]),
        )
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise ConnectionError(f"the broker described an order as {body}") from error


def _exact(value: object) -> Decimal:
    """Return a decimal that was written as a string: finite, 28 digits at most."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no decimal in a string")
    found: Decimal = _DECIMAL.validate_python(value)
    return found


def _average(value: object) -> Decimal:
    """Return an average, which may have more places than a price."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no decimal in a string")
    found = Decimal(value)
    if not found.is_finite() or found < 0 or found.adjusted() > 18:
        raise ValueError(f"{value} is no price")
    return shown(found)
