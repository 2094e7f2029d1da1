"""Keep what runs in `data_dir/run/state.json`: for `status`, for `down`, and for after a crash.

The file is replaced as a whole, so a reader never sees a half, and names each process with its
start time, so a pid that was given to another process since is never taken for ours.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from streams.dev.processes import ProcessId


@dataclass(frozen=True)
class ProcessState:
    """One process as last seen; `pid` is 0 while it does not run."""

    name: str
    kind: str  # service, role or hook
    state: str
    detail: str = ""
    pid: int = 0
    started: float = 0.0
    port: int = 0
    restarts: int = 0
    log: str = ""

    @property
    def identity(self) -> ProcessId | None:
        """Return which process it is; None while it does not run."""
        return ProcessId(self.pid, self.started) if self.pid else None


@dataclass(frozen=True)
class Failure:
    """Why the stack did not start: the message and advice of an error, and its exit code."""

    message: str
    advice: str
    exit_code: int


@dataclass(frozen=True)
class StackState:
    """The whole stack: `phase` is starting, ready, stopping or failed."""

    phase: str
    pid: int
    started: float
    since_ns: int
    processes: dict[str, ProcessState] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def supervisor(self) -> ProcessId:
        """Return which process supervises."""
        return ProcessId(self.pid, self.started)


def path_of(data_dir: Path) -> Path:
    """Return where the state of a data folder is kept."""
    return data_dir / "run" / "state.json"


def write(data_dir: Path, state: StackState) -> None:
    """Replace the state file in one step."""
    path = path_of(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(state), indent=1))
    draft.replace(path)


def read(data_dir: Path) -> StackState | None:
    """Return the state as last written; None when there is none, or none that can be read."""
    try:
        raw: dict[str, Any] = json.loads(path_of(data_dir).read_text())
        processes = {name: ProcessState(**one) for name, one in raw.pop("processes").items()}
        failure = raw.pop("failure")
        return StackState(**raw, processes=processes, failure=failure and Failure(**failure))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remove(data_dir: Path) -> None:
    """Forget the state."""
    path_of(data_dir).unlink(missing_ok=True)
