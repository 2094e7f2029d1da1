"""What the fault suite is made of does what it says: its chance, its proxy, its steps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from streams.cli.test import fault_command
from streams.dev.ports import HOST
from tests.faults import worker
from tests.faults.faults import ALL, schedule
from tests.faults.load import GROUP, Load
from tests.faults.proxy import Proxy, is_refused
from tests.stack.plain import wait_until

ANSWER = b"answer" * 100


@asynccontextmanager
async def proxied() -> AsyncIterator[Proxy]:
    """Yield a proxy in front of a service that answers each question alike."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(100):
            writer.write(ANSWER)
        writer.close()

    service = await asyncio.start_server(serve, HOST, 0)
    async with service, Proxy(service.sockets[0].getsockname()[1]) as proxy:
        yield proxy


async def ask(proxy: Proxy) -> bytes:
    """Return what comes back until the line ends, or nothing more does for a moment."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(b"?")
    found = b""
    try:
        async with asyncio.timeout(0.5):
            while len(found) < len(ANSWER) and (data := await reader.read(10_000)):
                found += data
    except (TimeoutError, ConnectionResetError):
        pass
    finally:
        writer.transport.abort()
    return found


async def test_the_proxy_breaks_what_it_is_told_to() -> None:
    """Whole, half, not at all, nobody there; and whole again."""
    async with proxied() as proxy:
        assert await ask(proxy) == ANSWER
        await proxy.set("cut")
        assert len(await ask(proxy)) <= len(ANSWER) // 2
        await proxy.set("hole")
        assert await ask(proxy) == b""
        await proxy.set("slow")
        assert await ask(proxy) == b""  # it comes later than is waited for
        await proxy.set("refuse")
        assert is_refused(proxy.port)
        await proxy.set("pass")
        assert await ask(proxy) == ANSWER


async def test_lines_that_are_open_end_with_the_mode() -> None:
    """A client that was connected before notices as well."""
    async with proxied() as proxy:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        writer.write(b"?")
        assert await reader.readexactly(len(ANSWER)) == ANSWER
        await proxy.set("refuse")

        async def ended() -> bool:
            try:
                return await reader.read(1) == b""
            except ConnectionResetError:
                return True

        await wait_until(ended, bool, bound_s=5.0)
        writer.transport.abort()


def test_a_schedule_has_each_fault_before_any_comes_again() -> None:
    """The same seed gives the same order, another one another."""
    names = sorted(ALL)
    first = schedule(Random(1), names)
    once, again = ([next(first) for _ in names] for _ in range(2))
    assert sorted(once) == sorted(again) == names
    same = schedule(Random(1), names)
    assert [next(same) for _ in names] == once != again


def test_a_worker_ends_at_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of all kinds are numbered together."""
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    steps = worker.Steps(3)
    for name in ("before a", "after a"):
        steps.passed(name)
    assert ended == []
    steps.passed("before b")
    assert ended == [worker.EXIT_CRASH]


def test_a_load_never_uses_an_id_again() -> None:
    """Groups of one load, and loads of other seeds, share no order and no account."""
    from streams.settings import Settings

    loads = [Load(Settings(), seed, 1.0) for seed in (1, 2)]
    groups = [load._group() for load in loads for _ in range(3)]
    ids = [{r.expected.order_id for r in group if r.expected.new_order} for group in groups]
    assert sum(map(len, ids)) == len(set().union(*ids)) > 3 * GROUP // 2


def test_the_command_passes_on_what_is_asked() -> None:
    """Minutes and seed go to the run."""
    assert fault_command(0.5, 7)[-4:] == ["--minutes", "0.5", "--seed", "7"]
    assert "--seed" not in fault_command(10.0, None)
