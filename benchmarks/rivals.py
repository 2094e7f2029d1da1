"""The rivals' own environment: their packages, their jars, and Kafka Streams' program compiled.

Each is made once, from a lock file, beside the product's environment and never inside its
packages: `rivals.lock` (wheels with hashes, as `requirements.lock`) and `rivals-jars.lock` (as
`streams/dev/kafka-jars.lock`). Raw aiokafka and stock Faust need neither: they run on the
product's own pins, which is what makes them comparable.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.dev import jars, kafka
from streams.dev.jars import Jar
from streams.errors import DownloadError, ServiceFailedError
from streams.settings import Settings

_HERE = Path(__file__).parent
_PACKAGES = _HERE / "rivals.lock"
_JARS = _HERE / "rivals-jars.lock"
_SOURCE = _HERE / "kafka_streams" / "Hop.java"
_RELEASE = "17"

Say = Callable[[str], None]


def python(settings: Settings, say: Say) -> Path:
    """Return the Python that has the rivals' packages; installs them at first (340 MB)."""
    folder = _folder(settings) / f"python-{_digest(_PACKAGES)}"
    program = folder / "bin" / "python"
    with _alone(settings):
        if not (folder / "installed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            say("installing the rivals' packages (340 MB, once)")
            _call(sys.executable, "-m", "venv", str(folder))
            options = ("--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:")
            _call(str(program), "-m", "pip", "install", *options, "-r", str(_PACKAGES))
            (folder / "installed").touch()
    return program


def kafka_streams(settings: Settings, say: Say) -> list[str]:
    """Return the command of the Kafka Streams program; fetches and compiles at first (78 MB)."""
    paths = jars.ensure(settings, say) + _ensure_jars(settings, say)
    classes = _folder(settings) / f"classes-{_digest(_SOURCE, _JARS)}"
    java = kafka.java_home(settings) / "bin" / "java"
    class_path = os.pathsep.join(map(str, paths))
    with _alone(settings):
        if not (classes / "compiled").exists():
            shutil.rmtree(classes, ignore_errors=True)
            say("compiling the Kafka Streams program")
            options = ("-cp", class_path, "-d", str(classes), str(_SOURCE))
            _call(*_compiler(java, paths), *options)
            (classes / "compiled").touch()
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    return [str(java), "-Xmx1g", quiet, "-cp", f"{classes}{os.pathsep}{class_path}", "Hop"]


def _compiler(java: Path, paths: list[Path]) -> list[str]:
    """Return the JDK's compiler where there is one, otherwise Eclipse's, run by the JRE."""
    javac = shutil.which("javac", path=f"{java.parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if javac is not None:
        return [javac, "--release", _RELEASE]
    ecj = next(path for path in paths if path.name.startswith("ecj-"))
    return [str(java), "-jar", str(ecj), "-nowarn", "-source", _RELEASE, "-target", _RELEASE]


def _ensure_jars(settings: Settings, say: Say) -> list[Path]:
    folder = _folder(settings)
    rows = (line.replace(":", " ").split() for line in _JARS.read_text().splitlines())
    wanted = [Jar(group, artifact, version, sha256) for group, artifact, version, sha256 in rows]
    with _alone(settings):
        for jar in wanted:
            if not (folder / jar.filename).exists():
                say(f"downloading {jar.filename}")
                _fetch(jar, folder)
    return [folder / jar.filename for jar in wanted]


def _fetch(jar: Jar, folder: Path) -> None:
    """Download one jar, as `streams/dev/jars.py` does, and keep it if it is the expected one."""
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    incoming = folder / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    context = MavenContext(
        repo_cache=incoming,
        remote_repos={"central": MAVEN_CENTRAL_URL},
        resolver=PythonResolver(),
        timeout=30,
    )
    try:
        project = context.project(jar.group, jar.artifact)
        arrived = Path(project.at_version(jar.version).artifact().resolve())
    except (RuntimeError, OSError) as error:
        raise DownloadError(f"{jar.filename} could not be fetched: {error}") from None
    if hashlib.sha256(arrived.read_bytes()).hexdigest() != jar.sha256:
        raise DownloadError(f"{jar.filename} did not arrive as published; it was thrown away")
    arrived.replace(folder / jar.filename)
    shutil.rmtree(incoming, ignore_errors=True)


def _folder(settings: Settings) -> Path:
    """Return where all of it is kept: where Kafka's jars are, which git ignores."""
    folder = jars.cache_folder(settings).with_name("rivals")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Keep other processes from making the same thing meanwhile."""
    with (_folder(settings) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _call(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-2_000:]
        raise ServiceFailedError(f"{' '.join(command[:4])} … failed: {said}")
