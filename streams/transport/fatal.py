"""The one way a worker gives up."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import structlog

from streams import clock
from streams.transport import ends

EXIT_INFRASTRUCTURE = 70

#: The cause of an end that has no watchdog or defence to name.
FAILURE = "failure"

log = structlog.get_logger(__name__)

_folder: list[Path] = []
_last: list[Callable[[], None]] = []


def before_the_end(do: Callable[[], None]) -> None:
    """Have this done first when the process gives up; what it raises is passed over."""
    _last.append(do)


def note_ends_in(folder: Path) -> None:
    """Keep the reason in this folder from now on, for the next process to tell."""
    _folder[:] = [folder]


def die(
    reason: str,
    error: BaseException | None = None,
    *,
    cause: str = FAILURE,
    by_record: bool = False,
) -> NoReturn:
    """Log and end the process at once with exit code 70; the supervisor starts it again.

    `cause` is the short name under which ends are counted. With `by_record` the record under way
    is to blame, as in a crash, and nothing that tells which one it was is cleared. An orderly stop
    would commit and acknowledge on its way out; here something is wrong with what would be
    acknowledged, so nothing more is said to Kafka.
    """
    for do in () if by_record else _last:
        with suppress(Exception):
            do()
    log.critical("worker_gives_up", cause=cause, reason=reason, error=repr(error), exc_info=error)
    said = f"{reason}: {error!r}" if error is not None else reason
    for folder in _folder:
        with suppress(OSError):
            ends.note(folder, cause, said, clock.now_ns(), os.getpid())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_INFRASTRUCTURE)
