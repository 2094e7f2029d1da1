"""Ends a worker at an await: each start of it at one where none has ended before.

A task is watched from one suspension to the next. Where it is suspended, or is about to go on, is
the innermost line of the order path that awaits. A place that the file does not have yet is
written there, and the process killed, at once: `in` an await, whose call is on its way, or
`after` it, with the answer there and nothing done about it. So restart after restart goes through
all awaits that a role meets.
"""

import ast
import asyncio
import os
import signal
from collections.abc import Coroutine, Generator
from pathlib import Path
from types import FrameType
from typing import Any

from streams.app import App

#: The file with the places; without it nothing is watched.
PLACES = "ORDERFLOW_TEST_CRASH_PLACES"
ROOT = Path(__file__).resolve().parents[2]
#: What an order, its events and its way into the history go through.
ORDER_PATH = (
    "agents/",
    "streams/transport/",
    "connectors/brokers/",
    "connectors/clickhouse/history.py",
    "connectors/kafka/mirror.py",
)


def places(file: Path) -> set[str]:
    """Return what a file has: `in file:line`, `after file:line`."""
    return set(file.read_text().splitlines()) if file.exists() else set()


class Places:
    """The places where a worker has ended."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = places(file)

    def at(self, when: str, place: str | None) -> None:
        """End the process if it has never ended here."""
        if place is None or (name := f"{when} {place}") in self._known:
            return
        with self._file.open("a") as file:
            file.write(f"{name}\n")
        os.kill(os.getpid(), signal.SIGKILL)


def place_of(coroutine: Any) -> str | None:
    """Return the innermost line of the order path that a suspended coroutine awaits in."""
    found = None
    while coroutine is not None:
        frame: FrameType | None = _first(coroutine, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            file = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
            if file.startswith(ORDER_PATH):
                found = f"{file}:{frame.f_lineno}"
        coroutine = _first(coroutine, "cr_await", "gi_yieldfrom", "ag_await")
    return found


def _first(owner: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(owner, name, None))), None)


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine that tells where it is suspended."""

    def __init__(self, inner: Coroutine[Any, Any, Any], places: Places) -> None:
        self._inner = inner
        self._places = places
        self._place: str | None = None

    def send(self, value: Any) -> Any:
        """Go on to the next suspension."""
        self._places.at("after", self._place)
        return self._suspended(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        """Go on with an error, such as that the task was cancelled."""
        return self._suspended(self._inner.throw(*error))

    def _suspended(self, waited_for: Any) -> Any:
        self._place = place_of(self._inner)
        self._places.at("in", self._place)
        return waited_for

    def close(self) -> None:
        """End it."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await what is inside."""
        return self._inner.__await__()


def watch(file: Path) -> None:
    """Watch all tasks that are begun from when the worker starts."""
    places, start = Places(file), App.on_first_start

    def task(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        watched = Watched(coroutine, places) if asyncio.iscoroutine(coroutine) else coroutine
        return asyncio.Task(watched, loop=loop, **kwargs)

    async def watched_start(self: App) -> None:
        asyncio.get_running_loop().set_task_factory(task)
        await start(self)

    App.on_first_start = watched_start  # type: ignore[method-assign]


def written() -> set[str]:
    """Return the lines of the order path on which an await begins."""
    files = [path for part in ORDER_PATH for path in sorted((ROOT / part).rglob("*.py"))]
    files += [ROOT / part for part in ORDER_PATH if part.endswith(".py")]
    return {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Await)
    }
