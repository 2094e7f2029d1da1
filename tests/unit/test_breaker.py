"""The circuit breaker, the bucket of calls, and the pauses between attempts."""

import pytest

from streams.domain.breaker import FAILURES, MINUTE_NS, OPEN_NS, Breaker, Bucket, backoff_s

S = 1_000_000_000


def opened(at_ns: int = 0) -> Breaker:
    """Return a breaker that has just opened."""
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(at_ns)
    return breaker


def test_five_failures_in_a_row_open_it() -> None:
    """An answer in between, whatever it says, begins the count anew."""
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0)
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed(0)
    assert breaker.allows(0)
    breaker.failed(0)
    assert not breaker.allows(0)


def test_half_open_lets_one_call_through_at_a_time() -> None:
    """Its success closes the breaker, its failure opens it for as long again."""
    breaker = opened()
    assert not breaker.allows(OPEN_NS - 1)
    assert breaker.allows(OPEN_NS)
    breaker.begin(OPEN_NS)
    assert not breaker.allows(OPEN_NS + 1)
    breaker.failed(OPEN_NS + S)
    assert not breaker.allows(OPEN_NS + S + OPEN_NS - 1)
    assert breaker.allows(2 * OPEN_NS + S)
    breaker.begin(2 * OPEN_NS + S)
    breaker.succeeded()
    assert breaker.allows(2 * OPEN_NS + S)
    breaker.begin(2 * OPEN_NS + S)
    assert breaker.allows(2 * OPEN_NS + S)


def test_a_probe_that_was_never_reported_on_is_not_waited_for_for_ever() -> None:
    """Its task may have been cancelled."""
    breaker = opened()
    breaker.begin(OPEN_NS)
    assert not breaker.allows(2 * OPEN_NS - 1)
    assert breaker.allows(2 * OPEN_NS)


def test_the_bucket_keeps_the_rate() -> None:
    """A tenth of a minute's calls at once, then as many a minute as there may be."""
    bucket, now_ns, sent = Bucket(200), 5 * S, 0
    while now_ns <= 5 * S + MINUTE_NS:
        wait_ns = bucket.wait_ns(now_ns)
        if wait_ns:
            now_ns += wait_ns
            continue
        bucket.take(now_ns)
        sent += 1
        if sent == 20:
            assert now_ns == 5 * S
            assert bucket.wait_ns(now_ns) > 0
    assert sent == pytest.approx(220, abs=1)


def test_a_pause_empties_the_bucket() -> None:
    """For the seconds that were asked for, and no burst after it."""
    bucket = Bucket(600)
    bucket.pause(0, 2.0)
    assert bucket.wait_ns(0) == 2 * S
    assert bucket.wait_ns(2 * S) == 0
    bucket.take(2 * S)
    assert bucket.wait_ns(2 * S) > 0


def test_pauses_double_and_differ_by_key() -> None:
    """Up to the most; never more than the doubled one, never less than half of it."""
    waits = [backoff_s("a", attempt, 0.2, 10.0) for attempt in range(10)]
    for attempt, wait_s in enumerate(waits):
        most = min(10.0, 0.2 * 2**attempt)
        assert most / 2 <= wait_s <= most
    assert waits != [backoff_s("b", attempt, 0.2, 10.0) for attempt in range(10)]
    assert waits == [backoff_s("a", attempt, 0.2, 10.0) for attempt in range(10)]
