"""The one way a worker gives up."""

import os
import sys
from typing import NoReturn

import structlog

EXIT_INFRASTRUCTURE = 70

log = structlog.get_logger(__name__)


def die(reason: str, error: BaseException | None = None) -> NoReturn:
    """Log and end the process at once with exit code 70; the supervisor starts it again.

    An orderly stop would commit and acknowledge on its way out; here something is wrong with
    what would be acknowledged, so nothing more is said to Kafka.
    """
    log.critical("worker_gives_up", reason=reason, error=repr(error), exc_info=error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_INFRASTRUCTURE)
