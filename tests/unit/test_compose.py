"""The compose file names what there is: images, profiles, roles, settings, ports, health checks.

Where a client of Docker Compose is on PATH it has the last word on the syntax; the rest is read
from the text, so that it holds everywhere.
"""

import re
import shutil
import subprocess

import pytest

from streams.cli.main import COMMANDS
from streams.dev.jars import KAFKA_VERSION
from streams.dev.reference import ROOT
from streams.settings import ENV_PREFIX, Settings
from streams.wiring import ROLES

TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
DEFAULTS = Settings.model_construct()


def blocks(section: str) -> dict[str, str]:
    """Return the entries of a top-level section, with what they merge in from `x-worker`."""
    body = re.search(rf"^{section}:.*\n((?:(?:  .*)?\n)*)", TEXT, re.MULTILINE)
    assert body is not None, section
    parts = re.split(r"^  ([\w-]+):(?: .*)?$", body[1], flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {name: text + merged(text) for name, text in found.items()}


def merged(text: str) -> str:
    """Return the block that `<<: *worker` stands for."""
    worker = re.search(r"^x-worker:.*\n((?:(?:  .*)?\n)*)", TEXT, re.MULTILINE)
    return worker[1] if worker is not None and "<<: *worker" in text else ""


SERVICES = blocks("services")
#: Runs once and ends; the others wait for that.
ONCE = {"setup"}


def profile_of(name: str) -> str:
    """Return the one profile of a service."""
    found = re.findall(r"^ +profiles: \[([a-z]+)\]$", SERVICES[name], re.MULTILINE)
    return found[0] if len(found) == 1 else f"{len(found)} profiles"


def test_the_parts_are_there() -> None:
    """Three services, the set-up, the roles, and two programs to look at them."""
    core = {name for name in SERVICES if profile_of(name) == "core"}
    others = {name: profile_of(name) for name in SERVICES if name not in core}
    assert core == {"kafka", "clickhouse", "valkey", *ONCE, *ROLES}
    assert others == {"kafka-ui": "observability", "grafana": "observability"}


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("kafka", f"apache/kafka:{KAFKA_VERSION}"),  # the version of the embedded one
        ("clickhouse", "clickhouse/clickhouse-server:"),
        ("valkey", "valkey/valkey:"),
        *((role, "orderflow:local") for role in ROLES),
    ],
)
def test_images(name: str, image: str) -> None:
    """Each has a version, and none is `latest`."""
    images = re.findall(r"^ +image: (\S+)$", SERVICES[name], re.MULTILINE)
    assert [one.startswith(image) for one in images] == [True]
    assert re.search(r":[\w.-]+$", images[0])
    assert "latest" not in images[0]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_of_the_core_have_a_health_check(name: str) -> None:
    """What others wait for says when it is ready; what runs once ends instead."""
    wanted = profile_of(name) == "core" and name not in ONCE
    assert (not wanted) or bool(re.search(r"^    healthcheck:", SERVICES[name], re.MULTILINE))


@pytest.mark.parametrize("role", ROLES)
def test_roles_run_their_commands(role: str) -> None:
    """The worker, and the check that asks whether it is ready."""
    assert f"command: [worker, {role}]" in SERVICES[role]
    assert f"test: [CMD, python, -m, streams, ready, {role}]" in SERVICES[role]
    assert {"worker", "ready", "setup"} <= {row.name for row in COMMANDS}
    assert f"volumes: [{role}:/var/lib/orderflow]" in SERVICES[role]


@pytest.mark.parametrize("name", [*ROLES, *ONCE])
def test_nothing_of_ours_runs_as_root(name: str) -> None:
    """Neither by the compose file nor by the image, and the root file system is read-only."""
    assert re.search(r'^  user: "[1-9]\d*:[1-9]\d*"$', SERVICES[name], re.MULTILINE)
    assert "  read_only: true" in SERVICES[name]
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1] == "10001"


def test_settings_are_real() -> None:
    """Every ORDERFLOW_ variable is the name of a setting."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"\bORDERFLOW_[A-Z_]+\b", TEXT)) - known == set()


@pytest.mark.parametrize(
    ("variable", "port"),
    [
        ("KAFKA_PORT", DEFAULTS.kafka_bootstrap.rpartition(":")[2]),
        ("CLICKHOUSE_PORT", str(DEFAULTS.clickhouse_port)),
        ("VALKEY_PORT", re.findall(r":(\d+)/", DEFAULTS.redis_url.get_secret_value())[0]),
        ("WEB_PORT", str(DEFAULTS.web_port)),
    ],
)
def test_ports_are_those_of_the_embedded_stack(variable: str, port: str) -> None:
    """The same commands work against both."""
    assert set(re.findall(rf"\$\{{{variable}:-(\d+)\}}", TEXT)) == {port}


def test_ports_are_open_to_this_machine_alone() -> None:
    """Nothing here asks for a password that is worth the name."""
    published = re.findall(r"^    ports: \[(.*)\]$", TEXT, re.MULTILINE)
    assert len(published) > 0
    assert [one for one in published if not one.startswith('"127.0.0.1:')] == []


def test_volumes_are_declared() -> None:
    """A volume that is not is an error when it is too late."""
    used = set(re.findall(r"^    volumes: \[([a-z]+):/", TEXT, re.MULTILINE))
    assert used == set(blocks("volumes"))


def test_the_image_holds_what_a_worker_needs() -> None:
    """Every folder of the product, and nothing of the tests."""
    copied = set(re.findall(r"^COPY (\w+) \w+$", DOCKERFILE, re.MULTILINE))
    assert copied == {"streams", "agents", "tables", "connectors", "sql"}


def clients() -> list[list[str]]:
    """Return the clients of Docker Compose that answer here."""
    found = []
    for client in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(client[0]) is None:
            continue
        asked = subprocess.run([*client, "version"], capture_output=True, check=False)
        found += [client] if asked.returncode == 0 else []
    return found


def test_compose_takes_the_file() -> None:
    """Every client on this machine reads it without a complaint; there may be none."""
    for client in clients():
        command = [*client, "-f", "docker-compose.yml", "--profile", "*", "config", "-q"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
