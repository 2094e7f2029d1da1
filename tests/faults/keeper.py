"""Keeps workers running, as a supervisor does: one that ends is started again a moment later."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from streams.transport.fatal import EXIT_INFRASTRUCTURE
from streams.wiring import Role
from tests.faults.worker import EXIT_CRASH
from tests.stack.workers import Worker, Workers

LOOK_EVERY_S = 0.1
PAUSE_S = 0.5
READY_S = 120.0
KILLED, ASKED_TOO_EARLY = -9, -15
#: How a worker may end here: as asked, before it could listen, given up, killed, at its last step.
KNOWN_ENDS = frozenset({0, ASKED_TOO_EARLY, EXIT_INFRASTRUCTURE, KILLED, EXIT_CRASH})

Key = tuple[Role, int]
Env = Callable[[], Mapping[str, str]]


class Keeper:
    """The workers that shall run, by role and number. `ends` counts how they ended."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.ends: Counter[int] = Counter()
        self.starts = 0
        self._wanted: set[Key] = set()
        self._env: dict[Key, Env] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look after them."""
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Look after them no more; they go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def want(self, role: Role, index: int, env: Env | None = None) -> None:
        """Have a worker run from now on; `env` is asked at each start."""
        self._wanted.add((role, index))
        if env is None:
            self._env.pop((role, index), None)
        else:
            self._env[role, index] = env

    async def leave(self, role: Role, index: int) -> int:
        """Let a worker finish and leave its group; return its exit status."""
        self._wanted.discard((role, index))
        worker = self.workers.running.pop(f"{role}-{index}")
        worker.terminate()
        code = await worker.exit_code()
        self.ends[code] += 1
        return code

    def running(self, role: Role | None = None) -> list[Worker]:
        """Return the workers, of a role or all, that run now."""
        return [
            worker
            for one, index in sorted(self._wanted)
            if role in (None, one)
            and (worker := self.workers.running.get(f"{one}-{index}")) is not None
            and worker.child.exit_code is None
        ]

    async def ready(self) -> list[str]:
        """Return when all that are wanted do their work; else say what they do instead."""
        waiting = {f"{role}-{index}" for role, index in self._wanted}
        deadline = asyncio.get_running_loop().time() + READY_S
        while waiting and asyncio.get_running_loop().time() < deadline:
            for name in sorted(waiting):
                if await _is_ready(self.workers.running.get(name)):
                    waiting.discard(name)
            await asyncio.sleep(LOOK_EVERY_S if waiting else 0)
        return [
            f"worker {name} is not ready: {self.workers.running[name].last_lines()[-500:]}"
            for name in sorted(waiting)
        ]

    def strange_ends(self) -> list[str]:
        """Return a line for each way to end that has no reason here."""
        return [
            f"{count} workers ended with status {code}"
            for code, count in self.ends.items()
            if code not in KNOWN_ENDS
        ]

    async def _keep(self) -> None:
        while True:
            for role, index in sorted(self._wanted):
                worker = self.workers.running.get(f"{role}-{index}")
                if worker is None or worker.child.exit_code is not None:
                    if worker is not None:
                        self.ends[worker.child.exit_code or 0] += 1
                        await asyncio.sleep(PAUSE_S)
                    env = self._env.get((role, index), dict)
                    if (role, index) in self._wanted:
                        self.workers.start(role, index, env())
                        self.starts += 1
            await asyncio.sleep(LOOK_EVERY_S)


async def _is_ready(worker: Worker | None) -> bool:
    from tests.stack.plain import get

    return worker is not None and (await get(worker.port, "/health/ready")).status == 200
