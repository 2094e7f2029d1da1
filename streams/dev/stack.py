"""Start Kafka, Valkey and ClickHouse side by side and say when each answers.

Promises: what can be known to fail is told before anything starts (a port that is taken, a disk
or a memory too small); a service counts as ready once it has answered a real request; one that
ends while it starts is told at once, with the end of its log.
"""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event
from types import ModuleType

import psutil

from streams.clock import monotonic
from streams.dev import clickhouse, kafka, valkey
from streams.dev.children import SERVICE_RANK, Child, Children
from streams.dev.ports import check_free
from streams.dev.service import NotReadyError, Service
from streams.errors import DiskFullError, LowMemoryError, ServiceFailedError
from streams.settings import Settings

GIGABYTE = 1_000_000_000
MIN_DISK_BYTES = 1 * GIGABYTE
MIN_MEMORY_BYTES = 3 * GIGABYTE // 2
_PROBE_EVERY_S = 0.05
_LOG_LINES = 5

MODULES: Mapping[str, ModuleType] = {one.NAME: one for one in (kafka, valkey, clickhouse)}
PORT_SETTINGS = {
    kafka.NAME: "ORDERFLOW_KAFKA_BOOTSTRAP",
    valkey.NAME: "ORDERFLOW_REDIS_URL",
    clickhouse.NAME: "ORDERFLOW_CLICKHOUSE_PORT",
}


class State(StrEnum):
    """How far a process of the stack is."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """One step of one service: its state, a word on it, and the seconds since the start."""

    name: str
    state: State
    detail: str
    seconds: float


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Running:
    """A service that answered: how it was prepared, its process, its version."""

    service: Service
    child: Child
    version: str


def check_machine(settings: Settings) -> None:
    """Raise the error of whatever keeps the stack from starting on this machine."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data_dir).free
    if free < MIN_DISK_BYTES:
        raise DiskFullError(
            f"{settings.data_dir} has {_gb(free)} free, the stack wants {_gb(MIN_DISK_BYTES)}"
        )
    memory = available_memory()
    if memory < MIN_MEMORY_BYTES:
        raise LowMemoryError(
            f"{_gb(memory)} of memory are available, the stack wants {_gb(MIN_MEMORY_BYTES)}"
        )
    for name, module in MODULES.items():
        check_free(module.port_of(settings), setting=PORT_SETTINGS[name], what=name)


def available_memory() -> int:
    """Return the bytes of memory this process may still take, a container's limit included."""
    available = int(psutil.virtual_memory().available)
    limit = Path("/sys/fs/cgroup/memory.max")
    used = Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdigit():
        available = min(available, int(text) - int(used.read_text()))
    return available


class Stack:
    """The three services of one data folder, as children of this process."""

    def __init__(self, settings: Settings, children: Children, on_progress: OnProgress) -> None:
        self._settings = settings
        self._children = children
        self._on_progress = on_progress
        self._began = monotonic()
        self._cancelled = Event()

    def start(self) -> dict[str, Running]:
        """Start all services at the same time; returns once each is ready, or raises."""
        check_machine(self._settings)
        with ThreadPoolExecutor(len(MODULES)) as pool:
            started = {name: pool.submit(self._start_or_cancel, name) for name in MODULES}
        return {name: future.result() for name, future in started.items()}

    def cancel(self) -> None:
        """Make `start`, in another thread, give up."""
        self._cancelled.set()

    def start_one(self, name: str) -> Running:
        """Prepare and start one service and wait until it answers."""
        service: Service = MODULES[name].prepare(
            self._settings, lambda detail: self._report(name, State.STARTING, detail)
        )
        if self._cancelled.is_set():
            raise ServiceFailedError(f"{name} was not started: another service failed before it")
        child = self._children.start(
            name,
            service.argv,
            env=service.env,
            log=service.log,
            rank=SERVICE_RANK,
            grace_s=service.stop_grace_s,
        )
        self._report(name, State.STARTING, "starting")
        version = self._await_ready(service, child)
        self._report(name, State.READY, version)
        return Running(service, child, version)

    def _start_or_cancel(self, name: str) -> Running:
        try:
            return self.start_one(name)
        except BaseException:
            self._cancelled.set()
            self._report(name, State.FAILED, "given up")
            raise

    def _await_ready(self, service: Service, child: Child) -> str:
        deadline = monotonic() + service.start_timeout_s
        reason = "no answer"
        while monotonic() < deadline:
            if child.exit_code is not None:
                raise ServiceFailedError(
                    f"{service.name} ended with status {child.exit_code} while it started; "
                    f"log: {service.log}{_last_lines(service.log)}"
                )
            try:
                return service.probe()
            except NotReadyError as error:
                reason = str(error)
            if self._cancelled.wait(_PROBE_EVERY_S):
                raise ServiceFailedError(f"{service.name} was given up: another service failed")
        raise ServiceFailedError(
            f"{service.name} did not answer within {service.start_timeout_s:.0f} s ({reason}); "
            f"log: {service.log}{_last_lines(service.log)}"
        )

    def _report(self, name: str, state: State, detail: str) -> None:
        self._on_progress(Progress(name, state, detail, monotonic() - self._began))


def absolute(settings: Settings) -> Settings:
    """Return the settings with `data_dir` absolute, as processes in other folders need it."""
    return settings.model_copy(update={"data_dir": settings.data_dir.resolve()})


def _last_lines(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "".join(f"\n    {line}" for line in lines)


def _gb(count: int) -> str:
    return f"{count / GIGABYTE:.1f} GB"
