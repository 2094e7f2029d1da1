"""Processes that a benchmark measures: started, waited for, ended with the run."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from streams.dev.children import ROLE_RANK, Child, Children
from streams.dev.ports import HOST, free_ports
from streams.dev.roles import probe
from streams.dev.service import NotReadyError
from streams.errors import IncompleteError
from streams.settings import Settings
from streams.wiring import ROLES, Role

T = TypeVar("T")

GRACE_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True)
class Measured:
    """One process and where it writes its log."""

    child: Child
    log: Path
    port: int

    @property
    def pid(self) -> int:
        """Return its process id."""
        return int(self.child.process.pid)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of an event, in order."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and name in line]
        return [line for line in found if line.get("event") == name]

    def wait(self, what: str, ask: Callable[[], T | None], bound_s: float) -> T:
        """Return the first answer that is not None; raise if the process ends or time is over."""
        deadline = time.monotonic() + bound_s
        while True:
            answer = ask()
            if answer is not None:
                return answer
            if self.child.exit_code is not None or time.monotonic() > deadline:
                last = "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
                raise IncompleteError(f"no {what} from {self.child.name} in {bound_s:g} s:\n{last}")
            time.sleep(POLL_S)

    def ready(self, bound_s: float = 60.0) -> None:
        """Return when the worker says that it does its work."""
        self.wait("readiness", lambda: _is_ready(self.port), bound_s)

    def stop(self) -> None:
        """Let it finish what is under way, and return when it has ended."""
        self.child.process.send_signal(signal.SIGTERM)
        self.child.process.wait(GRACE_S)


def _is_ready(port: int) -> bool | None:
    try:
        probe(HOST, port)
    except NotReadyError:
        return None
    return True


class Processes:
    """Starts the processes of one benchmark; a role keeps its port, as a member of its group."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._ports: dict[str, int] = {}

    def worker(
        self,
        settings: Settings,
        role: Role,
        argv: Sequence[str] = ("-m", "streams", "worker"),
        env: Mapping[str, str] | None = None,
    ) -> Measured:
        """Start a worker of a role, or another module that takes the role as its argument."""
        port = self._ports.setdefault(role, free_ports(1)[0])
        # A worker derives its port from its role; the setting is chosen to fit.
        chosen = settings.model_copy(update={"web_port": port - ROLES.index(role)})
        return self.python(
            role, (*argv, role), settings.data_dir, {**chosen.environment(), **(env or {})}, port
        )

    def python(
        self, name: str, argv: Sequence[str], folder: Path, env: Mapping[str, str], port: int = 0
    ) -> Measured:
        """Start a Python program; its output goes to a log of its name in the folder."""
        log = folder / f"{name}.log"
        log.unlink(missing_ok=True)
        child = self._children.start(
            name, (sys.executable, *argv), env=env, log=log, rank=ROLE_RANK, grace_s=GRACE_S
        )
        return Measured(child, log, port)


@contextmanager
def processes() -> Iterator[Processes]:
    """Yield what starts processes; end them all."""
    with Children() as children:
        yield Processes(children)
