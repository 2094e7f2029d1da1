"""When a broker is left alone: a circuit breaker, and a bucket of calls per minute.

Both are pure: they are told what time it is, in nanoseconds, and what became of each call.
"""

from dataclasses import dataclass
from hashlib import blake2b

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS

#: So many calls in a row without an answer open the breaker, for so long.
FAILURES = 5
OPEN_NS = 30 * SECOND_NS


@dataclass(slots=True)
class Breaker:
    """Closed: all calls pass. Open: none. Half open, after a while: one at a time, as a probe.

    The probe's success closes it, its failure opens it for as long again.
    """

    failures: int = 0
    opened_ns: int | None = None
    probing_ns: int | None = None

    def allows(self, now_ns: int) -> bool:
        """Say whether a call may go out now; changes nothing."""
        if self.opened_ns is None:
            return True
        if now_ns < self.opened_ns + OPEN_NS:
            return False
        # A probe that nobody reported on must not keep the breaker half open for ever.
        return self.probing_ns is None or now_ns >= self.probing_ns + OPEN_NS

    def begin(self, now_ns: int) -> None:
        """Note that a call that was allowed goes out."""
        if self.opened_ns is not None:
            self.probing_ns = now_ns

    def succeeded(self) -> None:
        """Note that the broker answered, whatever it said."""
        self.failures, self.opened_ns, self.probing_ns = 0, None, None

    def failed(self, now_ns: int) -> None:
        """Note that the broker did not answer."""
        self.failures += 1
        if self.opened_ns is not None or self.failures >= FAILURES:
            self.opened_ns, self.probing_ns = now_ns, None


@dataclass(slots=True)
class Bucket:
    """At most `per_minute` calls a minute, up to a tenth of them at once.

    The state is the time at which the bucket will have been full again: a call moves it by the
    time that one call is worth, and there is room while it is not too far ahead.
    """

    per_minute: int
    full_ns: int = 0

    @property
    def _each_ns(self) -> int:
        return MINUTE_NS // self.per_minute

    @property
    def _burst_ns(self) -> int:
        return self._each_ns * max(1, self.per_minute // 10)

    def wait_ns(self, now_ns: int) -> int:
        """Return how long it takes until there is room for a call; 0: there is."""
        return max(0, max(self.full_ns, now_ns) + self._each_ns - self._burst_ns - now_ns)

    def take(self, now_ns: int) -> None:
        """Count a call that goes out now."""
        self.full_ns = max(self.full_ns, now_ns) + self._each_ns

    def pause(self, now_ns: int, seconds: float) -> None:
        """Leave no room for some seconds: the broker said that it gets too many calls."""
        until = now_ns + int(seconds * SECOND_NS) + self._burst_ns - self._each_ns
        self.full_ns = max(self.full_ns, until)


def backoff_s(key: str, attempt: int, first_s: float, most_s: float) -> float:
    """Return how long to wait before an attempt, counted from 0: doubled each time, with jitter.

    The jitter, up to half of it less, is a function of the key: many that wait for the same
    broker do not all come back at once, and a run can be repeated.
    """
    wait_s = min(most_s, first_s * 2.0 ** min(attempt, 30))
    digest = blake2b(f"{key}:{attempt}".encode(), digest_size=2).digest()
    return wait_s * (1 - int.from_bytes(digest) / 2**17)
