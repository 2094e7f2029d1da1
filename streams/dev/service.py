"""What the stack needs to know of a service to start it, watch it and tell when it is ready."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Report = Callable[[str], None]
"""Takes one line of progress, such as `downloading, 12 MB`."""


class NotReadyError(Exception):
    """The service does not answer yet; ask again."""


@dataclass(frozen=True)
class Service:
    """A prepared service: nothing is left to download or format.

    `probe` returns the service's version once it answers a real request and raises
    `NotReadyError` before that.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    probe: Callable[[], str]
    env: Mapping[str, str] = field(default_factory=dict)
    start_timeout_s: float = 60.0
    stop_grace_s: float = 20.0
