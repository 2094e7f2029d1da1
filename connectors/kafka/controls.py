"""Read and write `controls.v1`: one reader to the end, one writer that gives out versions.

Versions grow by one over all controls. A short lock in Redis keeps two writers from taking the
same number; without Redis writing still works and says that it had no lock.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from aiokafka.errors import KafkaError
from pydantic import ValidationError

from connectors.kafka.client import partitions_of, producer
from connectors.kafka.reader import read_topic
from connectors.redis.cache import Cache
from streams.clock import now_ns
from streams.domain.controls import ControlSet
from streams.errors import OrderflowError, ServiceUnavailableError
from streams.models.controls import AnyControl, Instrument, Limits, Routing, control_key
from streams.settings import Settings
from streams.topics import CONTROLS, topic_name

LOCK = "controls"
LOCK_TTL_S = 10.0
LOCK_WAIT_S = 5.0
REDIS_S = 1.0  # an operator's command can wait longer for a busy Redis than a worker can

#: Near the first prices of the sample (2013-10-07, 09:30 New York), so that a first order by
#: hand has a price to be checked against before any tick has come.
SAMPLE_PRICES = {"AIG": Decimal("49.05"), "BAC": Decimal("13.91"), "IBM": Decimal("181.90")}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """Controls as they were written, versions included. `locked`: no other writer was at it."""

    controls: tuple[AnyControl, ...]
    locked: bool


async def read_controls(settings: Settings) -> ControlSet:
    """Return all controls that are on the topic now.

    A record that is no control is left out with a warning: one bad record of some other
    producer must not take everybody's limits away.
    """
    found: list[AnyControl] = []
    async for record in read_topic(settings, topic_name(CONTROLS, settings.namespace)):
        if record.value is None:
            continue
        try:
            found.append(CONTROLS.adapter.validate_json(record.value))
        except ValidationError as error:
            log.warning("control at offset %d is unreadable: %s", record.offset, error)
    return ControlSet().with_records(found)


async def publish_controls(settings: Settings, controls: Sequence[AnyControl]) -> Written:
    """Give the controls the next versions and the time, and write them with acknowledgement.

    Redis gets a copy if it is there. Raises OrderflowError if another writer holds the lock for
    longer than `LOCK_WAIT_S`.
    """
    async with (
        Cache(settings, timeout_s=REDIS_S) as cache,
        cache.lock(LOCK, LOCK_TTL_S, wait_s=LOCK_WAIT_S) as lock,
    ):
        if lock == "busy":
            raise OrderflowError(
                f"another writer of controls did not finish within {LOCK_WAIT_S:g} s; try again"
            )
        newest = (await read_controls(settings)).version
        numbered = _numbered(controls, newest)
        await _produce(settings, numbered)
        await cache.put_controls(numbered)
        return Written(numbered, lock == "held")


async def seed_controls(settings: Settings) -> ControlSet:
    """Write the default controls if there are none at all; return the controls as they are."""
    current = await read_controls(settings)
    if current.records:
        return current
    await publish_controls(settings, default_controls(settings.default_broker))
    return await read_controls(settings)


def default_controls(default_broker: str) -> tuple[AnyControl, ...]:
    """Return the first controls of a pipeline: limits, routing, and the sample's symbols."""
    first = {"by": "orderflow", "reason": "first start"}
    near = "first start; reference price near the first prices of the sample of 2013-10-07"
    return (
        Limits.model_validate(first),
        Routing.model_validate({**first, "default_broker": default_broker}),
        *(
            Instrument(
                scope=symbol, symbol=symbol, reference_price=price, by="orderflow", reason=near
            )
            for symbol, price in SAMPLE_PRICES.items()
        ),
    )


def _numbered(controls: Iterable[AnyControl], newest: int) -> tuple[AnyControl, ...]:
    ts = now_ns()
    return tuple(
        control.model_copy(update={"version": version, "ts_event_ns": ts})
        for version, control in enumerate(controls, start=newest + 1)
    )


async def _produce(settings: Settings, controls: Iterable[AnyControl]) -> None:
    topic = topic_name(CONTROLS, settings.namespace)
    async with producer(settings) as client:
        await partitions_of(client.client, topic)
        try:
            for control in controls:
                key, value = control_key(control).encode(), control.model_dump_json().encode()
                await client.send_and_wait(topic, value, key=key)
        except KafkaError as error:
            raise ServiceUnavailableError(f"the control was not acknowledged: {error}") from error
