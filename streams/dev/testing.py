"""Give tests a stack of their own: free ports, their data folder, and an end in any case."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streams.dev.children import Children
from streams.dev.lock import data_lock
from streams.dev.ports import HOST, free_ports
from streams.dev.stack import OnProgress, Progress, Stack, absolute
from streams.settings import Settings

_LOCK_WAIT_S = 30.0


@contextmanager
def embedded_stack(
    data_dir: Path, *, on_progress: OnProgress | None = None, **overrides: Any
) -> Iterator[Settings]:
    """Start the three services on free ports with their data in `data_dir`; yield settings.

    No role is started and no topic is created. The services are children of this process: they
    end with the context, and also when this process is killed. A second call with the same
    `data_dir` finds the data of the first. `overrides` are further settings.
    """
    settings = settings_on_free_ports(data_dir, **overrides)
    with data_lock(settings.data_dir, wait_s=_LOCK_WAIT_S) as lock, Children([lock]) as children:
        Stack(settings, children, on_progress or _silent).start()
        yield settings


def settings_on_free_ports(data_dir: Path, **overrides: Any) -> Settings:
    """Return settings with every port a free one."""
    kafka, clickhouse, valkey, web = free_ports(4)
    chosen: dict[str, Any] = {
        "data_dir": data_dir,
        "kafka_bootstrap": f"{HOST}:{kafka}",
        "clickhouse_port": clickhouse,
        "redis_url": f"redis://{HOST}:{valkey}/0",
        "web_port": web,
    }
    return absolute(Settings(**{**chosen, **overrides}))


def _silent(_progress: Progress) -> None:
    """Show nothing."""
