"""Processes are named beyond doubt, end in order, and cannot outlive their owner."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from streams.dev import logs, ports
from streams.dev import state as state_file
from streams.dev.children import Child, Children
from streams.dev.lock import data_lock, is_locked
from streams.dev.ports import check_free, free_ports
from streams.dev.processes import ProcessId, identify, is_alive, stop_all
from streams.dev.reaper import parse
from streams.dev.restarts import Restarts
from streams.dev.state import Failure, ProcessState, StackState
from streams.errors import DataInUseError

_SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
_STUBBORN = (
    "import signal, time, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
)
_WRITES_ITS_END = (
    "import signal, sys, time\n"
    "def end(*_):\n"
    "    open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit()\n"
    "signal.signal(signal.SIGTERM, end); open(sys.argv[1], 'a').close(); time.sleep(60)"
)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


def test_a_reused_pid_is_another_process() -> None:
    """A process that has our pid but started at another time is neither alive nor ended."""
    with subprocess.Popen(_SLEEP) as process:
        now = identify(process.pid)
        assert now
        before = ProcessId(process.pid, now.started - 60)
        assert (is_alive(now), is_alive(before)) == (True, False)
        stop_all([before], grace_s=0)
        assert process.poll() is None
        stop_all([now], grace_s=5)
        assert process.wait(5) == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    """SIGTERM is asked for first, SIGKILL is not waited for longer than the grace."""
    ready = tmp_path / "ready"
    with subprocess.Popen([sys.executable, "-c", _STUBBORN, str(ready)]) as process:
        _wait_for(ready)
        identity = identify(process.pid)
        assert identity
        stop_all([identity], grace_s=0.2)
        assert process.wait(5) == -signal.SIGKILL


def test_children_end_with_their_context_lower_ranks_first(tmp_path: Path) -> None:
    """A worker has ended before its service is asked to."""
    ends = tmp_path / "ends"
    with Children() as children:
        for name, rank in (("service", 1), ("role", 0)):
            argv = [sys.executable, "-c", _WRITES_ITS_END, str(ends), f"{name} "]
            children.start(name, argv, env={}, log=tmp_path / "log", rank=rank, grace_s=10)
            _wait_for(ends)
        time.sleep(0.3)  # both have their handler once the second has opened the file
    assert ends.read_text() == "role service "


def test_children_end_when_their_owner_is_killed(tmp_path: Path) -> None:
    """Also a SIGKILL of the owner leaves nothing, though it could do nothing about it."""
    code = (
        "import sys, time; from pathlib import Path; from streams.dev.children import Children\n"
        f"child = Children().start('a', {_SLEEP!r}, env={{}}, log=Path(sys.argv[1]) / 'log', "
        "rank=0, grace_s=5)\n"
        "Path(sys.argv[1], 'draft').write_text(str(child.identity.pid))\n"
        "Path(sys.argv[1], 'draft').rename(Path(sys.argv[1], 'pid')); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    _wait_for(tmp_path / "pid")
    child = identify(int((tmp_path / "pid").read_text()))
    assert child
    owner.kill()
    owner.wait(5)
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def _wait_until_registered(child: Child) -> None:
    """Wait until the child runs its program: it registers itself just before."""
    deadline = time.monotonic() + 20
    # During an exec a process has no command line for a moment.
    while psutil.Process(child.identity.pid).cmdline()[:1] in ([], ["/bin/sh"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_reaper_is_replaced(tmp_path: Path) -> None:
    """The next look finds the reaper gone, and its successor knows what runs."""
    with Children() as children:
        child = children.start("a", _SLEEP, env={}, log=tmp_path / "log", rank=0, grace_s=5)
        _wait_until_registered(child)
        children._reaper.kill()
        children._reaper.wait(5)
        children.ensure_reaper()
        assert children._reaper.poll() is None
    assert child.exit_code == -signal.SIGTERM


@pytest.mark.parametrize(
    ("line", "known"),
    [
        (f"add {os.getpid()} 0 5\n", True),
        (f"add {os.getpid()} 0\n", False),  # torn
        ("add 4194305 0 5\n", False),  # beyond any pid: ended before it was looked up
        ("\n", False),
    ],
)
def test_a_registration_names_a_process_that_runs(line: str, known: bool) -> None:
    """What cannot be identified is not registered, so it is never ended by mistake."""
    assert (parse(line) is not None) is known


def test_restarts_back_off_and_tell_a_crash_loop() -> None:
    """1, 2, 4, 8 s, then the fifth death within a minute is a loop; two quiet minutes forget."""
    one = Restarts()
    assert [one.died(second) for second in (0, 2, 5, 10)] == [1, 2, 4, 8]
    assert not one.in_crash_loop(10)
    assert one.died(19) == 30
    assert one.in_crash_loop(19)
    assert one.in_crash_loop(138)
    assert not one.in_crash_loop(139)  # it lives
    assert one.died(200) == 1
    assert one.count == 6


def test_five_short_lives_are_a_crash_loop_too() -> None:
    """A watchdog takes a minute to end a worker; nothing is won by waiting longer between."""
    one = Restarts()
    assert [one.died(second) for second in (0, 70, 140, 210, 280)] == [1, 1, 1, 1, 1]
    assert one.in_crash_loop(300)
    assert one.died(450) == 1  # it lived for nearly three minutes
    assert not one.in_crash_loop(450)


def test_the_state_survives_writing_and_reading(tmp_path: Path) -> None:
    """What is read is what was written; a torn or missing file reads as none."""
    state = StackState(
        phase="failed",
        pid=5,
        started=1.5,
        since_ns=7,
        processes={"kafka": ProcessState("kafka", "service", "ready", pid=6, started=2.5)},
        failure=Failure("port 9092 is taken", "choose another", 4),
    )
    assert state_file.read(tmp_path) is None
    state_file.write(tmp_path, state)
    assert state_file.read(tmp_path) == state
    state_file.path_of(tmp_path).write_text('{"phase": "rea')
    assert state_file.read(tmp_path) is None


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    """The second is refused while the first holds it, and served after."""
    with data_lock(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(DataInUseError), data_lock(tmp_path, wait_s=0.2):
            pass
    assert not is_locked(tmp_path)


def test_a_log_over_its_size_is_moved(tmp_path: Path) -> None:
    """Its writer goes on at the start of the emptied file; small logs stay."""
    small = tmp_path / "small.log"
    small.write_text("x")
    with (tmp_path / "big.log").open("ab") as writer:
        writer.write(b"old " * 100)
        writer.flush()
        moved = logs.rotate(tmp_path, max_bytes=100)
        writer.write(b"new")
    assert [log.name for log in moved] == ["big.log"]
    assert (tmp_path / "big.log").read_text() == "new"
    assert (tmp_path / "big.log.1").read_text() == "old " * 100
    assert small.read_text() == "x"


def test_free_ports_differ_and_are_free() -> None:
    """Asked for several at once, none is given twice."""
    found = free_ports(5)
    assert len(set(found)) == 5
    for port in found:
        check_free(port, setting="ANY", what="a test")


def test_a_port_that_was_given_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who got it may not listen on it yet, and another service would take it first."""
    monkeypatch.setattr(ports, "_FREE_RANGE", range(15_000, 15_040))
    monkeypatch.setattr(ports, "_given", set())
    found = [free_ports(4, besides={15_000, 15_001}) for _ in range(5)]
    assert len(set().union(*found)) == 20
    assert not {15_000, 15_001}.intersection(*found)
