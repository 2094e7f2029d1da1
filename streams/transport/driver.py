"""Faust's plug-in point: `batched://` brokers are served by this transport."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import aiokafka
from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver

from streams.transport.consumer import Consumer
from streams.transport.options import Options
from streams.transport.sender import CHANGES_BATCH_BYTES, Sender

SCHEME = "batched"


class Producer(driver.Producer):
    """Idempotent, acknowledged by all replicas; `sender` takes whole record batches."""

    _sender: Sender | None = None

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def _settings_default(self) -> Mapping[str, Any]:
        return {
            **super()._settings_default(),
            "max_batch_size": CHANGES_BATCH_BYTES,
            "max_request_size": CHANGES_BATCH_BYTES,
        }

    @property
    def sender(self) -> Sender:
        """Return the sender over this producer's client."""
        if self._sender is None:
            lease = cast(Consumer, self.app.consumer).lease
            self._sender = Sender(self._ensure_producer(), lease.check)
        return self._sender

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Leave topics to `topics apply`, which knows their settings."""


class Transport(driver.Transport):
    """The batched transport."""

    Consumer: ClassVar[type[Any]] = Consumer
    Producer: ClassVar[type[Any]] = Producer
    driver_version = f"orderflow batched on aiokafka={aiokafka.__version__}"

    @property
    def options(self) -> Options:
        """Return the root's options, which it keeps on the app."""
        return cast(Options, self.app.batched)  # type: ignore[attr-defined]


def register() -> None:
    """Enter the transport in Faust's registry, for a checkout that is not installed."""
    drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
