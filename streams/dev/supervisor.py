"""Run the whole pipeline on one machine: the embedded stack, then a process for each role.

Promises: roles start only after the topics and the tables exist; a process that ends is started
again (`restarts`); what runs is in `data_dir/run/state.json`; and when this process ends, by
SIGTERM, Ctrl-C or SIGKILL, everything it started ends too, roles before services (`reaper`).
"""

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import getpid

from streams.clock import monotonic, now_ns
from streams.dev import logs
from streams.dev import state as state_file
from streams.dev.children import ROLE_RANK, SERVICE_RANK, Child, Children
from streams.dev.lock import data_lock
from streams.dev.ports import check_free
from streams.dev.processes import identify, stop_all
from streams.dev.restarts import Restarts
from streams.dev.roles import probe as probe_role
from streams.dev.service import NotReadyError
from streams.dev.stack import MODULES, Progress, Stack, State, absolute
from streams.dev.state import Failure, ProcessState, StackState
from streams.errors import OrderflowError, ServiceFailedError
from streams.settings import Settings
from streams.transport import ends

ROLES = ("orders", "gateway", "market", "history")
HOOKS = (("setup",),)

_LOCK_WAIT_S = 45.0  # the reaper of a stack that was killed may still be ending it
_ROLE_GRACE_S = 20.0
_POLL_S = 0.2
_ROTATE_EVERY_S = 10.0


@dataclass
class Managed:
    """A process that is kept running."""

    name: str
    kind: str
    argv: tuple[str, ...]
    env: dict[str, str]
    port: int
    grace_s: float
    child: Child | None = None
    probe: Callable[[], str] | None = None
    state: State = State.STARTING
    detail: str = ""
    restarts: Restarts = field(default_factory=Restarts)
    start_at_s: float = 0.0
    ended: str = ""


class Supervisor:
    """One run of the pipeline; `run` returns once it has been stopped and all has ended."""

    def __init__(
        self,
        settings: Settings,
        *,
        roles: Sequence[str] = ROLES,
        hooks: Sequence[Sequence[str]] = HOOKS,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._settings = absolute(settings)
        self._roles = tuple(roles)
        self._hooks = tuple(tuple(hook) for hook in hooks)
        self._show = on_progress
        self._began = monotonic()
        self._stop = threading.Event()
        self._lock = threading.RLock()  # progress comes from the threads that start services
        self._managed: dict[str, Managed] = {}
        self._stack: Stack | None = None
        identity = identify(getpid())
        self._state = StackState(
            "starting", getpid(), identity.started if identity else 0.0, now_ns()
        )

    def stop(self) -> None:
        """Make `run` end everything and return; may be called from a signal handler."""
        self._stop.set()
        if self._stack:
            self._stack.cancel()

    def handle_signals(self) -> None:
        """Stop on SIGTERM, on Ctrl-C and when the terminal is closed."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop())

    def run(self) -> None:
        """Start everything, keep it running until stopped, end it; raises what kept it from it."""
        folder = self._settings.data_dir
        with data_lock(folder, wait_s=_LOCK_WAIT_S) as lock:
            end_leftovers(self._settings)
            try:
                with Children([lock]) as children:
                    self._start(children)
                    self._watch(children)
                    self._phase("stopping")
                state_file.remove(folder)
            except OrderflowError as error:
                if self._stop.is_set():  # given up because somebody asked for it
                    state_file.remove(folder)
                    return
                self._fail(error)
                raise

    def _start(self, children: Children) -> None:
        self._phase("starting")
        for index, role in enumerate(self._roles):
            port = self._settings.web_port + ROLES.index(role) if role in ROLES else index
            check_free(port, setting="ORDERFLOW_WEB_PORT", what=f"the web views of {role}")
        if self._settings.stack == "embedded":
            self._stack = Stack(self._settings, children, self._progress)
            for name, one in self._stack.start().items():
                self._managed[name] = Managed(
                    name=name,
                    kind="service",
                    argv=one.service.argv,
                    env=dict(one.service.env),
                    port=MODULES[name].port_of(self._settings),
                    grace_s=one.service.stop_grace_s,
                    child=one.child,
                    probe=one.service.probe,
                    state=State.READY,
                    detail=one.version,
                )
        for hook in self._hooks:
            self._run_hook(children, hook)
        for role in self._roles:
            self._managed[role] = self._role(role)
            self._launch(children, self._managed[role])
        self._wait_for_roles(children)
        self._phase("ready")

    def _wait_for_roles(self, children: Children) -> None:
        """Return once every role does its work; a role that keeps ending fails the start."""
        waiting = [self._managed[role] for role in self._roles]
        while any(one.state is not State.READY for one in waiting):
            if self._stop.wait(_POLL_S):
                raise ServiceFailedError("the start was interrupted")
            for one in waiting:
                self._check(children, one)
                if one.restarts.in_crash_loop(monotonic()):
                    log = self._settings.data_dir / "logs" / f"{one.name}.log"
                    raise ServiceFailedError(
                        f"role {one.name} keeps ending: {one.detail}; log: {log}"
                    )

    def _role(self, role: str) -> Managed:
        host = self._settings.web_host
        port = self._settings.web_port + ROLES.index(role) if role in ROLES else 0
        return Managed(
            name=role,
            kind="role",
            argv=(sys.executable, "-m", "streams", "worker", role),
            env=self._settings.environment(),
            port=port,
            grace_s=_ROLE_GRACE_S,
            probe=partial(probe_role, host, port) if port else None,
        )

    def _run_hook(self, children: Children, hook: tuple[str, ...]) -> None:
        name = " ".join(hook)
        log = self._settings.data_dir / "logs" / f"{hook[0]}.log"
        child = children.start(
            name,
            (sys.executable, "-m", "streams", *hook),
            env=self._settings.environment(),
            log=log,
            rank=ROLE_RANK,
            grace_s=_ROLE_GRACE_S,
        )
        self._progress(self._step(name, State.STARTING, "running"))
        while child.exit_code is None:
            if self._stop.wait(_POLL_S / 4):
                raise ServiceFailedError(f"`{name}` was interrupted")
        if child.exit_code != 0:
            raise ServiceFailedError(f"`{name}` ended with status {child.exit_code}; log: {log}")
        self._progress(self._step(name, State.READY, "done"))

    def _launch(self, children: Children, one: Managed) -> None:
        one.child = children.start(
            one.name,
            one.argv,
            env=one.env,
            log=self._settings.data_dir / "logs" / f"{one.name}.log",
            rank=SERVICE_RANK if one.kind == "service" else ROLE_RANK,
            grace_s=one.grace_s,
        )
        one.state = State.STARTING if one.probe else State.READY
        one.detail = "started" if one.restarts.count == 0 else "started again"
        one.detail += self._looping(one)
        self._progress(self._step(one.name, one.state, one.detail))

    def _watch(self, children: Children) -> None:
        """Keep everything running until stopped."""
        rotate_at = monotonic()
        while not self._stop.wait(_POLL_S):
            children.ensure_reaper()
            for one in self._managed.values():
                self._check(children, one)
            if monotonic() >= rotate_at:
                logs.rotate(self._settings.data_dir / "logs")
                rotate_at = monotonic() + _ROTATE_EVERY_S

    def _check(self, children: Children, one: Managed) -> None:
        now = monotonic()
        if one.child is None:
            if now >= one.start_at_s:
                self._launch(children, one)
        elif (code := one.child.exit_code) is not None:
            delay = one.restarts.died(now)
            one.ended = f"status {code}{self._reason(one)}"
            one.child, one.start_at_s = None, now + delay
            one.state = State.RESTARTING
            looping = "crash loop: " if one.restarts.in_crash_loop(now) else ""
            one.detail = f"{looping}ended with {one.ended}, starts again in {delay:.0f} s"
            self._progress(self._step(one.name, one.state, one.detail))
        elif one.state is State.STARTING and one.probe:
            try:
                one.detail = one.probe() + self._looping(one)
            except NotReadyError:
                return
            one.state = State.READY
            self._progress(self._step(one.name, one.state, one.detail))

    def _looping(self, one: Managed) -> str:
        """Return the reason of the last end of what runs, but ends again and again."""
        looping = one.restarts.in_crash_loop(monotonic())
        return f"; crash loop, last ended with {one.ended}" if looping else ""

    def _reason(self, one: Managed) -> str:
        """Return why a role's process ended, as it wrote down itself; nothing if it did not."""
        if one.kind != "role" or one.child is None:
            return ""
        last = ends.read(self._settings.worker_dir(one.name))
        if last.pid != one.child.identity.pid:
            return ""
        return f" ({last.cause}: {last.reason})"

    def _step(self, name: str, state: State, detail: str) -> Progress:
        return Progress(name, state, detail, monotonic() - self._began)

    def _progress(self, step: Progress) -> None:
        """Write one step into the state file, and show it."""
        with self._lock:
            processes = dict(self._state.processes)
            processes[step.name] = self._process_state(step)
            self._write(StackState(**{**vars(self._state), "processes": processes}))
            if self._show:
                self._show(step)

    def _process_state(self, step: Progress) -> ProcessState:
        one = self._managed.get(step.name)
        log = self._settings.data_dir / "logs" / f"{step.name.split()[0]}.log"
        if one is None:
            kind = "service" if step.name in MODULES else "hook"
            port = MODULES[step.name].port_of(self._settings) if kind == "service" else 0
            return ProcessState(step.name, kind, step.state, step.detail, port=port, log=str(log))
        return ProcessState(
            name=one.name,
            kind=one.kind,
            state=step.state,
            detail=step.detail,
            pid=one.child.identity.pid if one.child else 0,
            started=one.child.identity.started if one.child else 0.0,
            port=one.port,
            restarts=one.restarts.count,
            log=str(log),
        )

    def _phase(self, phase: str) -> None:
        with self._lock:
            known = {
                name: self._process_state(self._step(name, one.state, one.detail))
                for name, one in self._managed.items()
            }
            processes = {**self._state.processes, **known}
            self._write(StackState(**{**vars(self._state), "phase": phase, "processes": processes}))

    def _fail(self, error: OrderflowError) -> None:
        failure = Failure(str(error), error.advice, error.exit_code)
        with self._lock:
            self._write(StackState(**{**vars(self._state), "phase": "failed", "failure": failure}))

    def _write(self, state: StackState) -> None:
        self._state = state
        state_file.write(self._settings.data_dir, state)


def end_leftovers(settings: Settings) -> int:
    """End what a stack left of which supervisor and reaper were both killed; return how many.

    Call it only while no stack uses the folder.
    """
    state = state_file.read(settings.data_dir)
    left = [one.identity for one in state.processes.values() if one.identity] if state else []
    stop_all(left, grace_s=_ROLE_GRACE_S)
    state_file.remove(settings.data_dir)
    return len(left)
