"""What a replay wrote, on disk: a file per topic, and one hash over all of it.

A line is a record as JSON: offset, partition, time, key and value (of a dead letter its bytes as
text, and the reason). The hash is SHA-256 over topic, place, time, key and bytes of each record in
the order of writing, so two runs that have the same hash wrote the same, in the same order.
"""

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from streams.replay.engine import Written
from streams.topics import DEAD_LETTERS

SUFFIX = ".jsonl.zst"


class Hash:
    """The hash of records."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def add(self, what: Written) -> None:
        """Add a record."""
        self._sha.update(line_of(what))

    def with_text(self, text: bytes) -> str:
        """Return the hash of the records and a text."""
        sha = self._sha.copy()
        sha.update(text)
        return sha.hexdigest()


def line_of(what: Written) -> bytes:
    """Return a record as one line of bytes: all that makes it what it is."""
    one = what.record
    place = b"%s|%d|%d|%d|" % (one.topic.encode(), one.partition, one.offset, what.now_ns)
    return place + (one.key or b"") + b"|" + what.raw + b"|" + repr(tuple(what.headers)).encode()


class Journal:
    """Files of records in a folder that is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True)
        self._files: dict[str, Any] = {}
        self._lines: dict[str, list[bytes]] = {}

    def add(self, what: Written) -> None:
        """Write a record."""
        name = what.record.topic
        lines = self._lines.setdefault(name, [])
        lines.append(_json(what))
        if len(lines) >= 1_000:
            self._store(name, lines)

    def close(self) -> None:
        """Write what is left, and close the files."""
        for name, lines in self._lines.items():
            self._store(name, lines)
        for file in self._files.values():
            file.close()

    def _store(self, name: str, lines: list[bytes]) -> None:
        file = self._files.get(name)
        if file is None:
            path = str(self._folder / f"{name}{SUFFIX}")
            file = self._files[name] = pa.CompressedOutputStream(path, "zstd")
        file.write(b"".join(lines))
        lines.clear()


def _json(what: Written) -> bytes:
    one = what.record
    head = b'{"offset":%d,"partition":%d,"ts_ns":%d,"key":%s,"value":' % (
        *(one.offset, one.partition, what.now_ns),
        orjson.dumps((one.key or b"").decode()),
    )
    if what.spec is not DEAD_LETTERS:
        return head + what.raw + b"}\n"
    said = orjson.dumps(dict(what.headers))
    return head + orjson.dumps(what.raw.decode(errors="replace")) + b',"headers":' + said + b"}\n"
