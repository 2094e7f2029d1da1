"""A TCP proxy in front of a service, which can be slow, refuse, break off, or swallow everything.

Runs in the event loop that started it, on loopback.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Literal, Self

from streams.dev.ports import HOST, free_ports

Mode = Literal["pass", "slow", "refuse", "cut", "hole"]
CHUNK_BYTES = 64 * 1024
#: How much later each piece of an answer comes while the service is slow.
SLOW_S = 2.0


class Proxy:
    """Passes connections on to `target`, a port of this machine, as its mode says.

    `slow`: answers come late. `refuse`: nobody listens. `cut`: a connection ends in the middle
    of an answer. `hole`: questions are taken and never answered.
    """

    def __init__(self, target: int) -> None:
        self.port = free_ports(1)[0]
        self.mode: Mode = "pass"
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._shut()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def set(self, mode: Mode) -> None:
        """Change the mode; connections there are now end, as the new mode would have it."""
        self.mode = mode
        if mode == "refuse":
            await self._shut()
        elif self._server is None:
            await self._listen()
        if mode != "slow":
            self._drop()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._begin, HOST, self.port)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._drop()
            await self._server.wait_closed()
            self._server = None

    def _drop(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        away: asyncio.StreamWriter | None = None
        try:
            if self.mode == "hole":
                while await reader.read(CHUNK_BYTES):
                    pass
                return
            from_service, away = await asyncio.open_connection(HOST, self._target)
            self._open.add(away)
            pumps = (self._questions(reader, away), self._answers(from_service, writer))
            await asyncio.gather(*pumps)
        except (OSError, asyncio.IncompleteReadError):
            return  # either side has gone, so the other goes as well
        finally:
            for one in (writer, away):
                if one is not None:
                    self._open.discard(one)
                    one.transport.abort()

    async def _questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.mode != "hole":
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.mode == "slow":
                await asyncio.sleep(SLOW_S)
            if self.mode == "cut":
                writer.write(data[: len(data) // 2])
                with suppress(OSError, asyncio.TimeoutError):
                    await asyncio.wait_for(writer.drain(), 1.0)
                raise ConnectionResetError("cut in the middle of an answer")
            writer.write(data)
            await writer.drain()


def is_refused(port: int) -> bool:
    """Return whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0
