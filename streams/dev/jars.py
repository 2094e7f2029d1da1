"""Fetch Kafka's jars from Maven Central once, and run them only if each is the one expected.

`kafka-jars.lock` names every jar with its checksum, as the lock files do for the wheels: nothing
is resolved at run time, and a jar that was cut short or altered is thrown away, never run.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from streams.dev.service import Report
from streams.errors import DiskFullError, DownloadError
from streams.settings import Settings

KAFKA_VERSION = "4.2.1"
_LOCK_FILE = Path(__file__).with_name("kafka-jars.lock")
_MEGABYTE = 1_000_000
_REPORT_EVERY_MB = 5
_DOWNLOADS = 4  # at a time
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Jar:
    """One locked jar: its Maven coordinates and the SHA-256 of its file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """Return the name it has in a repository and in our folder."""
        return f"{self.artifact}-{self.version}.jar"


def locked() -> list[Jar]:
    """Return the jars of the class path, as the lock file lists them."""
    rows = (line.replace(":", " ").split() for line in _LOCK_FILE.read_text().splitlines())
    return [Jar(group, artifact, version, sha256) for group, artifact, version, sha256 in rows]


def ensure(settings: Settings, report: Report) -> list[Path]:
    """Return the jars of the class path, downloading what is missing (46 MB at first).

    Several processes may call this at once: one downloads, the others wait for it.
    """
    folder = cache_folder(settings)
    if missing(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _download(missing(folder), folder, report)
        except OSError as error:  # those of the network are OSErrors as well
            raise _explained(error, folder) from None
    return [folder / jar.filename for jar in locked()]


def cache_folder(settings: Settings) -> Path:
    """Return where the jars are kept: beside the wheels, in `data_dir` if that is read-only."""
    beside_wheels = Path(sys.prefix)
    base = beside_wheels if os.access(beside_wheels, os.W_OK) else settings.data_dir.resolve()
    return base / "share" / "orderflow" / f"kafka-{KAFKA_VERSION}"


def missing(folder: Path) -> list[Jar]:
    """Return the jars that are not in the folder; one that is there has been verified."""
    return [jar for jar in locked() if not (folder / jar.filename).exists()]


def _download(jars: list[Jar], folder: Path, report: Report) -> None:
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    repository = folder / "incoming"
    shutil.rmtree(repository, ignore_errors=True)  # jgo would take a file cut short for whole
    context = MavenContext(
        repo_cache=repository,
        remote_repos={"central": MAVEN_CENTRAL_URL},
        resolver=PythonResolver(progress_callback=_counter(report)),
        timeout=_TIMEOUT_S,
    )
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        list(pool.map(partial(_fetch, context, folder), jars))
    shutil.rmtree(repository, ignore_errors=True)


def _fetch(context: Any, folder: Path, jar: Jar) -> None:
    """Download one jar and move it into place if it is the expected one."""
    project = context.project(jar.group, jar.artifact)
    try:
        arrived = Path(project.at_version(jar.version).artifact().resolve())
    except RuntimeError as error:  # jgo's word for any answer but 200
        raise DownloadError(f"{jar.filename} could not be fetched: {error}") from None
    if hashlib.sha256(arrived.read_bytes()).hexdigest() != jar.sha256:
        raise DownloadError(f"{jar.filename} did not arrive as published; it was thrown away")
    arrived.replace(folder / jar.filename)


def _explained(error: OSError, folder: Path) -> DownloadError | DiskFullError:
    if shutil.disk_usage(folder.anchor).free < _MEGABYTE:
        return DiskFullError(f"the disk is full, no room for Kafka's jars in {folder}")
    return DownloadError(f"Kafka's jars could not be fetched into {folder}: {error}")


def _counter(report: Report) -> Callable[[str, int], AbstractContextManager[Callable[[int], None]]]:
    """Return a progress callback in jgo's form that reports the megabytes of all files."""
    done = 0
    shown = -_REPORT_EVERY_MB

    def add(count: int) -> None:
        nonlocal done, shown
        done += count
        if done // _MEGABYTE >= shown + _REPORT_EVERY_MB:
            shown = done // _MEGABYTE
            report(f"downloading Kafka {KAFKA_VERSION}, {shown} of 46 MB")

    @contextmanager
    def one_file(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield add

    return one_file
