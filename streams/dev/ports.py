"""Tell which TCP ports of this machine are taken, by whom, and which are free."""

import random
import socket
from collections.abc import Collection
from contextlib import ExitStack

import psutil

from streams.errors import PortInUseError

HOST = "127.0.0.1"
_FREE_RANGE = range(15_000, 30_000)  # below what systems hand out for outgoing connections
_given: set[int] = set()  # by this process, which need not listen on them yet


def check_free(port: int, *, setting: str, what: str) -> None:
    """Raise `PortInUseError` when something listens on the port, with its name if readable."""
    if not _is_taken(port):
        return
    holder = _holder(port)
    raise PortInUseError(
        f"port {port}, wanted for {what}, is taken"
        + (f" by {holder}" if holder else "")
        + f"; the setting is {setting}"
    )


def free_ports(count: int, *, besides: Collection[int] = ()) -> list[int]:
    """Return `count` different ports on which nothing listens now.

    None is one of `besides`, nor one that an earlier call in this process returned: both may be
    wanted by a service that does not listen yet.
    """
    left_out = _given.union(besides)
    candidates = [port for port in _FREE_RANGE if port not in left_out]
    random.shuffle(candidates)
    with ExitStack() as held:
        found: list[int] = []
        for port in candidates:
            if len(found) == count:
                _given.update(found)
                return found
            listener = held.enter_context(socket.socket())
            try:
                listener.bind((HOST, port))
            except OSError:
                continue
            found.append(port)
    raise PortInUseError(
        f"fewer than {count} ports are free from {_FREE_RANGE.start} to {_FREE_RANGE.stop}"
    )


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((HOST, port)) == 0:
            return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return ""  # reading other users' connections needs rights that few have
    return ""
