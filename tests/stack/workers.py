"""Worker processes of a test: each on a free port of its own, all ended when the test ends.

A worker is a process of its own, as in real use, so that it can be killed at any moment. Should
the test run itself be killed, the reaper of `streams.dev` ends them.
"""

import asyncio
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streams.dev.children import ROLE_RANK, Child, Children
from streams.dev.ports import free_ports
from streams.settings import Settings
from streams.wiring import ROLES, Role
from tests.stack.plain import Answer, get, wait_until

GRACE_S = 20.0
WORKER = ("-m", "streams", "worker")


@dataclass
class Worker:
    """One worker process."""

    name: str
    port: int
    log: Path
    child: Child

    async def ready(self) -> Answer:
        """Return when it does its work; fail if it ended instead."""

        async def ask() -> Answer:
            assert self.child.exit_code is None, self.last_lines()
            return await get(self.port, "/health/ready")

        return await wait_until(ask, lambda answer: answer.status == 200)

    def kill(self) -> None:
        """End it at once, as a power cut does to a process."""
        self.child.process.kill()
        self.child.process.wait()

    def terminate(self) -> None:
        """Ask it to end in order."""
        self.child.process.send_signal(signal.SIGTERM)

    async def exit_code(self) -> int:
        """Return its exit status when it has ended."""

        async def ask() -> int | None:
            return self.child.exit_code

        code = await wait_until(ask, lambda code: code is not None)
        assert code is not None
        return code

    async def stop(self) -> int:
        """Let it finish, and return its exit status."""
        self.terminate()
        return await self.exit_code()

    def last_lines(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


@dataclass
class Workers:
    """Starts workers of one pipeline."""

    settings: Settings
    children: Children
    argv: tuple[str, ...] = WORKER
    running: dict[str, Worker] = field(default_factory=dict)

    def start(self, role: Role, index: int = 0, env: Mapping[str, str] | None = None) -> Worker:
        """Start a worker of a role; `env` is added to what the settings say."""
        name = f"{role}-{index}"
        before = self.running.get(name)
        port = before.port if before else free_ports(1)[0]
        # A worker derives its port from its role and number; the setting is chosen to fit.
        base = port - ROLES.index(role) - len(ROLES) * index
        chosen = self.settings.model_copy(update={"worker_index": index, "web_port": base})
        log = self.settings.data_dir / f"{name}.log"
        child = self.children.start(
            name,
            (sys.executable, *self.argv, role),
            env={**chosen.environment(), **(env or {})},
            log=log,
            rank=ROLE_RANK,
            grace_s=GRACE_S,
        )
        self.running[name] = Worker(name, port, log, child)
        return self.running[name]

    async def ready(self, *workers: Worker) -> None:
        """Return when these are ready, by default all that run."""
        chosen = workers or tuple(self.running.values())
        await asyncio.gather(*(worker.ready() for worker in chosen))


@contextmanager
def workers_of(settings: Settings, argv: tuple[str, ...] = WORKER) -> Iterator[Workers]:
    """Yield what starts workers of a pipeline; end them all."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with Children() as children:
        yield Workers(settings, children, argv)
