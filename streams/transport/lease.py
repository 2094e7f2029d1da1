"""Whether a worker may still write for its partitions.

Kafka gives the partitions of a silent worker to another one, and fences no plain producer. A
worker that stood still for so long - frozen, suspended, starved - would go on where it stopped
and write state over what the other one has written since. So a worker that finds that it stood
still ends at once, before it writes anything; its partitions are restored by whoever has them.
"""

import asyncio

from streams import clock, defences
from streams.defences import Defence
from streams.transport.fatal import die

#: How often a worker notes that it runs.
TICK_S = 0.5


class Lease:
    """Notes that the event loop runs; ends the process when it has not, for `limit_s` seconds.

    Nothing is checked before the first `renew`, nor between `pause` and the next one: while
    partitions are taken up nothing is written, and restoring may well block the loop.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._seen_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to tick, in the running event loop."""
        # A timer's callback runs before any task that waits, so before anything can be sent.
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def stop(self) -> None:
        """Tick no longer."""
        self._seen_s = None
        if self._timer is not None:
            self._timer.cancel()

    def pause(self) -> None:
        """Check once more, and then nothing until `renew`."""
        self.check()
        self._seen_s = None

    def renew(self) -> None:
        """Count from now on."""
        self._seen_s = clock.monotonic()

    def check(self) -> None:
        """End the process if it stood still for too long."""
        if self._seen_s is None or not defences.on(Defence.FENCE):
            return
        gap_s = clock.monotonic() - self._seen_s
        if gap_s > self._limit_s:
            die(
                f"the worker stood still for {gap_s:.1f} s; others may have its partitions by now",
                cause="stood-still",
            )

    def _tick(self) -> None:
        self.check()
        if self._seen_s is not None:
            self.renew()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
