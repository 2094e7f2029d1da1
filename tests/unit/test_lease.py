"""The lease: a worker that stood still too long writes no more."""

import asyncio

import pytest

from streams import defences
from streams.transport import lease as module
from streams.transport.lease import TICK_S, Lease

LIMIT_S = 4.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that the lease sees."""
    made = Clock()
    monkeypatch.setattr(module, "clock", made)
    return made


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the reasons for which the process would have ended."""
    found: list[str] = []
    monkeypatch.setattr(module, "die", lambda reason, **_: found.append(reason))
    return found


@pytest.mark.parametrize(
    ("gap_s", "ends", "reason"),
    [
        (0.0, False, "it runs"),
        (LIMIT_S, False, "as long as it may stand still"),
        (LIMIT_S + 0.1, True, "longer: another worker may have its partitions"),
    ],
)
def test_standing_still_ends_the_process(
    clock: Clock, deaths: list[str], gap_s: float, ends: bool, reason: str
) -> None:
    """Measured from when it was last seen to run."""
    lease = Lease(LIMIT_S)
    lease.renew()
    clock.now_s += gap_s
    lease.check()
    assert bool(deaths) is ends, reason


def test_nothing_is_checked_while_partitions_are_taken(clock: Clock, deaths: list[str]) -> None:
    """Before the first renewal, and between a pause and the next one."""
    lease = Lease(LIMIT_S)
    clock.now_s += 100
    lease.check()
    lease.renew()
    lease.pause()
    clock.now_s += 100
    lease.check()
    lease.renew()
    lease.check()
    assert deaths == []


def test_a_pause_does_not_hide_that_it_stood_still(clock: Clock, deaths: list[str]) -> None:
    """It wakes up in the middle of a rebalance."""
    lease = Lease(LIMIT_S)
    lease.renew()
    clock.now_s += 100
    lease.pause()
    assert deaths == ["the worker stood still for 100.0 s; others may have its partitions by now"]


def test_without_the_fence_nothing_is_checked(clock: Clock, deaths: list[str]) -> None:
    """A test of the tests switches it off."""
    lease = Lease(LIMIT_S)
    lease.renew()
    clock.now_s += 100
    defences.switch_off("fence")
    try:
        lease.check()
    finally:
        defences.switch_off("")
    assert deaths == []
    lease.check()
    assert len(deaths) == 1


async def test_ticking_is_enough(deaths: list[str]) -> None:
    """A worker that runs and has nothing to write may have nothing to write for ever."""
    lease = Lease(TICK_S * 1.9)
    lease.start()
    lease.renew()
    await asyncio.sleep(TICK_S * 3)
    lease.check()
    lease.stop()
    assert deaths == []
