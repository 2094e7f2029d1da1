"""What processes share and may lose: current controls, last prices, locks, rate buckets.

Redis is never asked for what is not also in Kafka, so it may be away: every call then returns
at once with "nothing known" and raises nothing. A call takes at most `TIMEOUT_S`, or what its
cache was made with. After a failure the cache leaves Redis alone for `RETRY_S`, so an outage
costs one time-out per that time, and one log line. The keys:

- `orderflow:controls`: hash, `kind:scope` -> the control as JSON
- `orderflow:prices`: hash, symbol -> the last price as JSON
- `orderflow:rate:<account>`: hash, token bucket of an account
- `orderflow:lock:<name>`: string, who holds the lock

With a namespace they begin with `orderflow:<namespace>:`.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Literal, Self, TypeVar

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streams.clock import monotonic, now_ns
from streams.models.controls import AnyControl, control_key
from streams.models.market import LastPrice
from streams.settings import Settings
from streams.topics import CONTROLS

T = TypeVar("T")

TIMEOUT_S = 0.05
RETRY_S = 2.0
LOCK_POLL_S = 0.05

Lock = Literal["held", "busy", "away"]

log = logging.getLogger(__name__)

# KEYS[1] bucket; ARGV tokens per second, size of the bucket, tokens wanted. Redis's own clock,
# because the processes that share a bucket need not agree on the time.
TAKE = """
local now = redis.call('TIME')
local t = now[1] + now[2] / 1e6
local b = redis.call('HMGET', KEYS[1], 'tokens', 't')
local rate, size, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens = math.min(size, (tonumber(b[1]) or size) + (t - (tonumber(b[2]) or t)) * rate)
local ok = tokens >= n
if ok then tokens = tokens - n end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 't', string.format('%.6f', t))
redis.call('PEXPIRE', KEYS[1], math.ceil(size / rate * 1000) + 1000)
return ok and 1 or 0
"""

# Deletes the lock only while it is ours: it may have expired and be another's by now.
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"


class Cache:
    """The shared cache; one per process and event loop. Nothing here raises for a dead Redis."""

    def __init__(self, settings: Settings, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._redis: Any = Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        space = f"{settings.namespace}:" if settings.namespace else ""
        self._prefix = f"orderflow:{space}"
        self._closed_until = 0.0
        self._away = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    @property
    def away(self) -> bool:
        """Return whether the last call did not reach Redis."""
        return self._away

    async def ping(self) -> bool:
        """Return whether Redis answers."""
        return await self._call(self._redis.ping, default=False)

    async def put_controls(self, controls: Iterable[AnyControl]) -> None:
        """Write controls in place of those of the same kind and scope."""
        rows = {control_key(control): control.model_dump_json() for control in controls}
        await self._put("controls", rows)

    async def get_controls(self) -> list[AnyControl] | None:
        """Return all controls, or None if Redis is away; unreadable ones are left out."""
        return await self._get("controls", CONTROLS.adapter.validate_json)

    async def put_prices(self, prices: Iterable[LastPrice]) -> None:
        """Write last prices in place of those of the same symbol."""
        await self._put("prices", {price.symbol: price.model_dump_json() for price in prices})

    async def get_prices(self) -> list[LastPrice] | None:
        """Return all last prices, or None if Redis is away; unreadable ones are left out."""
        return await self._get("prices", LastPrice.model_validate_json)

    async def take(self, account: str, n: int = 1, *, per_s: Decimal, burst: Decimal) -> bool:
        """Take `n` tokens from the account's bucket; False: not enough there, none taken.

        True if Redis is away: the limit here is a courtesy, the validator's own is the law.
        """
        taken = await self._call(
            lambda: self._redis.eval(
                TAKE, 1, f"{self._prefix}rate:{account}", str(per_s), str(burst), n
            ),
            1,
        )
        return bool(taken)

    @asynccontextmanager
    async def lock(self, name: str, ttl_s: float, *, wait_s: float = 0.0) -> AsyncIterator[Lock]:
        """Hold a lock for the block, at most `ttl_s`; wait up to `wait_s` while another has it.

        Yields `held`, `busy` (another kept it), or `away` (no Redis, no lock): the caller
        decides what the last two mean.
        """
        key, owner = f"{self._prefix}lock:{name}", f"{os.getpid()}:{id(self)}:{now_ns()}"
        state = await self._acquire(key, owner, ttl_s, monotonic() + wait_s)
        try:
            yield state
        finally:
            if state == "held":
                await self._call(lambda: self._redis.eval(RELEASE, 1, key, owner), None)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _acquire(self, key: str, owner: str, ttl_s: float, deadline: float) -> Lock:
        ttl_ms = max(1, round(ttl_s * 1000))
        while True:
            got = await self._call(lambda: self._redis.set(key, owner, nx=True, px=ttl_ms), None)
            if self._away:
                return "away"
            if got:
                return "held"
            if monotonic() >= deadline:
                return "busy"
            await asyncio.sleep(LOCK_POLL_S)

    async def _put(self, name: str, rows: dict[str, str]) -> None:
        if rows:
            await self._call(lambda: self._redis.hset(self._prefix + name, mapping=rows), 0)

    async def _get(self, name: str, decode: Callable[[str], T]) -> list[T] | None:
        rows: dict[str, str] | None = await self._call(
            lambda: self._redis.hgetall(self._prefix + name), None
        )
        if rows is None:
            return None
        found = []
        for key, row in rows.items():
            try:
                found.append(decode(row))
            except ValidationError:
                log.warning("unreadable entry %s in Redis hash %s%s", key, self._prefix, name)
        return found

    async def _call(self, command: Callable[[], Awaitable[T]], default: T) -> T:
        """Run a command, or return `default` while Redis is away."""
        if monotonic() < self._closed_until:
            return default
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await command()
        except (RedisError, OSError, TimeoutError) as error:
            self._note_failure(error)
            return default
        if self._away:
            self._away = False
            log.info("Redis is back")
        return result

    def _note_failure(self, error: BaseException) -> None:
        self._closed_until = monotonic() + RETRY_S
        if not self._away:
            self._away = True
            why = str(error) or type(error).__name__
            log.warning("Redis is away, going on without it: %s", why)
