"""`dead-letters`: the records that could not be used, with the reason. Reads only.

Header names are those of KIP-1034 (Kafka Streams) for what and where, ours (`orderflow.*`) for
the code, the agent, the attempt and the time.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from connectors.kafka.reader import Stored

app = typer.Typer(no_args_is_help=True, help="Records that could not be used: list, show one.")

JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]

MESSAGE = "__streams.errors.message"
EXCEPTION = "__streams.errors.exception"
TOPIC = "__streams.errors.topic"
PARTITION = "__streams.errors.partition"
OFFSET = "__streams.errors.offset"
CODE = "orderflow.code"
AGENT = "orderflow.agent"
ATTEMPT = "orderflow.attempt"

SHOWN_BYTES = 4_096
REASON_WIDTH = 100


@app.command("list")
def list_letters(
    topic: Annotated[str | None, typer.Option(help="Only those that came from this topic.")] = None,
    code: Annotated[str | None, typer.Option(help="Only this code, like BAD_JSON.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest N.")] = 50,
    as_json: JsonOpt = False,
) -> None:
    """List dead letters, oldest first: where each lies, where it came from, and why."""
    import asyncio

    from streams.cli.output import emit
    from streams.cli.topics import resolve
    from streams.settings import Settings

    settings = Settings()
    # The header has the registry's name, without the namespace.
    source = resolve(topic, settings).removeprefix(f"{settings.namespace}.") if topic else None
    letters = asyncio.run(_newest(source, code, limit))
    emit([_row(letter) for letter in letters], as_json)


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `list` shows it.")],
    as_json: JsonOpt = False,
) -> None:
    """Show one dead letter: every header, the key, and the value as it came.

    What is not printable text is shown as 0x… hexadecimal; long values are cut, with their size.
    """
    import asyncio

    from streams.cli.output import emit
    from streams.errors import NotFoundError

    partition, offset = parse_place(place)
    letter = asyncio.run(_at(partition, offset))
    if letter is None:
        raise NotFoundError(f"there is no dead letter at {place}; see `dead-letters list`")
    emit(_details(letter), as_json)


def parse_place(text: str) -> tuple[int, int]:
    """Return partition and offset of `PARTITION:OFFSET`."""
    import re

    from streams.errors import UsageError

    match = re.fullmatch(r"(\d{1,6}):(\d{1,18})", text)
    if match is None:
        raise UsageError(f"{text!r} is no place; write PARTITION:OFFSET, like 0:17")
    return int(match[1]), int(match[2])


async def _newest(source: str | None, code: str | None, limit: int) -> "list[Stored]":
    """Return the newest matching letters, oldest first."""
    import heapq

    from connectors.kafka.reader import read_topic
    from streams.settings import Settings
    from streams.topics import DEAD_LETTERS, topic_name

    settings = Settings()
    newest: list[tuple[int, int, int, Stored]] = []
    async for letter in read_topic(settings, topic_name(DEAD_LETTERS, settings.namespace)):
        headers = headers_of(letter.headers)
        if source not in (None, headers.get(TOPIC)) or code not in (None, headers.get(CODE)):
            continue
        entry = (letter.timestamp_ms, letter.partition, letter.offset, letter)
        if len(newest) < limit:
            heapq.heappush(newest, entry)
        else:
            heapq.heappushpop(newest, entry)
    return [letter for *_order, letter in sorted(newest, key=lambda entry: entry[:3])]


async def _at(partition: int, offset: int) -> "Stored | None":
    from connectors.kafka.reader import AtOffsets, read_topic
    from streams.settings import Settings
    from streams.topics import DEAD_LETTERS, topic_name

    settings = Settings()
    name = topic_name(DEAD_LETTERS, settings.namespace)
    start = AtOffsets({partition: offset})
    found = [letter async for letter in read_topic(settings, name, start=start, limit=1)]
    return found[0] if found and found[0].offset == offset else None


def headers_of(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Return headers as printable text; of a repeated name the last one."""
    from streams.cli.summary import safe_text

    return {name: safe_text(value or b"") for name, value in headers}


def shown(data: bytes | None) -> str | None:
    """Return bytes fit to print, cut to `SHOWN_BYTES` with the size named."""
    from streams.cli.summary import safe_text

    if data is None or len(data) <= SHOWN_BYTES:
        return None if data is None else safe_text(data)
    # A character may be cut in two; the rest of it would make all of it hexadecimal.
    head = data[:SHOWN_BYTES].decode(errors="ignore").encode()
    text = safe_text(head) if len(head) > SHOWN_BYTES - 4 else safe_text(data[:SHOWN_BYTES])
    return f"{text}… ({len(data)} bytes)"


def _row(letter: "Stored") -> dict[str, Any]:
    from streams.cli.summary import cut
    from streams.cli.tail import time_text

    headers = headers_of(letter.headers)
    return {
        "at": f"{letter.partition}:{letter.offset}",
        "time": time_text(letter.timestamp_ms),
        "code": headers.get(CODE, ""),
        "agent": headers.get(AGENT, ""),
        "attempt": headers.get(ATTEMPT, ""),
        "source": f"{headers.get(TOPIC, '')} "
        f"{headers.get(PARTITION, '?')}:{headers.get(OFFSET, '?')}",
        "reason": cut(headers.get(MESSAGE, ""), REASON_WIDTH),
    }


def _details(letter: "Stored") -> dict[str, Any]:
    from streams.cli.tail import time_text

    return {
        "at": f"{letter.partition}:{letter.offset}",
        "time": time_text(letter.timestamp_ms),
        **headers_of(letter.headers),
        "key": shown(letter.key),
        "value": shown(letter.value),
        "value_bytes": len(letter.value or b""),
    }
