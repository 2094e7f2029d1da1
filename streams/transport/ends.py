"""Why a worker ended, kept in its folder for the process that comes after it.

`ends.json` counts the ends that had a reason, by cause, and has the last reason. A process that was
killed from outside writes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "ends.json"


@dataclass(frozen=True)
class Ends:
    """What is known of the ends of one worker; `pid` is the process that `reason` is about."""

    counts: Mapping[str, int] = field(default_factory=dict)
    cause: str = ""
    reason: str = ""
    ts_ns: int = 0
    pid: int = 0


def read(folder: Path) -> Ends:
    """Return how the worker of a folder ended so far; a file that cannot be read says nothing."""
    try:
        return Ends(**json.loads((folder / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return Ends()


def note(folder: Path, cause: str, reason: str, ts_ns: int, pid: int) -> None:
    """Add one end. Raises OSError when the folder cannot be written."""
    counts = dict(read(folder).counts)
    counts[cause] = counts.get(cause, 0) + 1
    draft = folder / f"{FILE}.new"
    draft.write_text(json.dumps(asdict(Ends(counts, cause, reason, ts_ns, pid))))
    draft.replace(folder / FILE)
