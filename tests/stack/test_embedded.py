"""The three services start, answer their own clients, keep their data, and always end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.dev import state as state_file
from streams.dev.control import down, running_state
from streams.dev.processes import ProcessId, is_alive
from streams.dev.supervisor import end_leftovers
from streams.dev.testing import embedded_stack, settings_on_free_ports
from streams.errors import DataInUseError, PortInUseError
from streams.settings import Settings
from tests.stack.http import query

_READY_S = 90.0


async def _write_to_kafka(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, compression_type="lz4", acks="all"
    )
    await producer.start()
    await producer.send_and_wait("kept", b"order 1")
    await producer.stop()


async def _read_from_kafka(settings: Settings) -> bytes:
    consumer = AIOKafkaConsumer(
        "kept", bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return (await consumer.getone()).value
    finally:
        await consumer.stop()


def _redis(settings: Settings) -> "redis.Redis":
    return redis.Redis.from_url(settings.redis_url.get_secret_value())


async def test_data_is_found_again_after_a_stop(tmp_path: Path) -> None:
    """A topic, a table and a key are there when the same folder is started on other ports."""
    with embedded_stack(tmp_path) as first:
        await _write_to_kafka(first)
        query(first, "CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a")
        query(first, "INSERT INTO kept VALUES (7)")
        with _redis(first) as client:
            client.set("kept", "value")
    with embedded_stack(tmp_path) as second:
        assert second.clickhouse_port != first.clickhouse_port
        assert await _read_from_kafka(second) == b"order 1"
        assert query(second, "SELECT a FROM kept") == "7\n"
        with _redis(second) as client:
            assert client.get("kept") == b"value"


def test_a_folder_serves_one_stack_at_a_time(
    stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second stack on a folder in use is refused before it starts anything."""
    monkeypatch.setattr("streams.dev.testing._LOCK_WAIT_S", 0.0)
    with pytest.raises(DataInUseError, match="in use"), embedded_stack(stack.data_dir):
        pass


def test_a_port_that_is_taken_is_named_with_its_holder(tmp_path: Path) -> None:
    """The error names the port, who has it and the setting that moves it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(PortInUseError, match=rf"{port}.*{os.getpid()}.*CLICKHOUSE_PORT"),
            embedded_stack(tmp_path, clickhouse_port=port),
        ):
            pass


def _supervisor(settings: Settings) -> "subprocess.Popen[bytes]":
    """Start a supervisor of the services alone and wait until it is ready."""
    code = (
        "from streams.dev.supervisor import Supervisor; from streams.settings import Settings\n"
        "one = Supervisor(Settings(), roles=(), hooks=()); one.handle_signals(); one.run()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **settings.environment()}
    )
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        state = running_state(settings)
        if state and state.phase == "ready":
            return process
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("the supervisor was not ready")


def _services(settings: Settings) -> list[ProcessId]:
    state = state_file.read(settings.data_dir)
    assert state
    found = [one.identity for one in state.processes.values() if one.identity]
    assert len(found) == 3
    assert all(is_alive(one) for one in found)
    return found


def _reaper(process: "subprocess.Popen[bytes]") -> psutil.Process:
    children = psutil.Process(process.pid).children()
    return next(one for one in children if "streams.dev.reaper" in one.cmdline())


def _alive_after(processes: list[ProcessId], timeout_s: float) -> list[ProcessId]:
    deadline = time.monotonic() + timeout_s
    while (left := [one for one in processes if is_alive(one)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    """Whether it is interrupted or killed, its services end soon after."""
    settings = settings_on_free_ports(tmp_path)
    process = _supervisor(settings)
    services = _services(settings)
    process.send_signal(number)
    process.wait(60)
    assert _alive_after(services, 30) == []


def test_a_killed_service_is_started_again_with_its_data(tmp_path: Path) -> None:
    """A kill -9 of ClickHouse's server costs no row; the restart is counted."""
    settings = settings_on_free_ports(tmp_path)
    process = _supervisor(settings)
    query(settings, "CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a")
    query(settings, "INSERT INTO kept VALUES (7)")
    state = running_state(settings)
    assert state
    killed = state.processes["clickhouse"]
    os.kill(killed.pid, signal.SIGKILL)
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        state = running_state(settings)
        again = state.processes["clickhouse"] if state else killed
        if again.state == "ready" and again.pid != killed.pid:
            break
        time.sleep(0.1)
    assert (again.state, again.restarts) == ("ready", 1)
    assert query(settings, "SELECT a FROM kept") == "7\n"
    outcome = down(settings)
    process.wait(60)
    assert sorted(one.name for one in outcome.processes) == ["clickhouse", "kafka", "valkey"]
    assert down(settings).changed is False


def test_down_ends_what_a_killed_supervisor_and_reaper_left(tmp_path: Path) -> None:
    """With nobody left to end them, the services are found by the state file."""
    settings = settings_on_free_ports(tmp_path)
    process = _supervisor(settings)
    services = _services(settings)
    _reaper(process).kill()
    process.kill()
    process.wait(10)
    down(settings)
    assert _alive_after(services, 1) == []
    assert end_leftovers(settings) == 0
