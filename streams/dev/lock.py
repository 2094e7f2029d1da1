"""Let one stack at a time use a data folder.

The lock is held by an open file, so it is free again once every process that has the file open
is gone; the reaper has it open too. Nothing is left behind by a crash.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.clock import monotonic
from streams.errors import DataInUseError

_RETRY_S = 0.1


@contextmanager
def data_lock(data_dir: Path, *, wait_s: float = 0.0) -> Iterator[int]:
    """Hold the folder and yield the lock's file descriptor; raises `DataInUseError`.

    `wait_s` is how long to wait for a stack that is just ending.
    """
    run = data_dir / "run"
    run.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(run / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _acquire(descriptor, wait_s):
            raise DataInUseError(f"{data_dir} is in use by another stack")
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(data_dir: Path) -> bool:
    """Tell whether a stack, or its reaper, uses the folder."""
    if not (data_dir / "run" / "lock").exists():
        return False
    try:
        with data_lock(data_dir):
            return False
    except DataInUseError:
        return True


def _acquire(descriptor: int, wait_s: float) -> bool:
    deadline = monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if monotonic() >= deadline:
                return False
            time.sleep(_RETRY_S)
