"""Keep the logs of the stack's processes from filling the disk."""

import shutil
from pathlib import Path

MAX_LOG_BYTES = 20_000_000


def rotate(folder: Path, *, max_bytes: int = MAX_LOG_BYTES) -> list[Path]:
    """Move each log over `max_bytes` to `.1`, replacing the one before; return those moved.

    A log is copied and then emptied, since its writer keeps it open; the writer appends, so it
    goes on at the new end. Lines written between the copy and the emptying are lost.
    """
    moved = [log for log in sorted(folder.glob("*.log")) if log.stat().st_size > max_bytes]
    for log in moved:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        with log.open("r+b") as opened:
            opened.truncate(0)
    return moved
