"""`dead-letters`: the records that could not be used; see them, send them again, give them up."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from connectors.kafka.reader import Stored
    from connectors.kafka.redrive import Outcome
    from streams.domain.letters import Filter, Letter
    from streams.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="Records that could not be used: list, show, retry, discard."
)

JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TopicOpt = Annotated[str | None, typer.Option(help="Only those that came from this topic.")]
CodeOpt = Annotated[str | None, typer.Option(help="Only this code, like BAD_JSON.")]
AgentOpt = Annotated[str | None, typer.Option(help="Only those of this agent.")]
SinceOpt = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only from then on: 2026-11-21T09:30:00Z.")
]
UntilOpt = Annotated[str | None, typer.Option(metavar="TIME", help="Only before then.")]

SHOWN_BYTES = 4_096
REASON_WIDTH = 100


@app.command("list")
def list_letters(
    topic: TopicOpt = None,
    code: CodeOpt = None,
    agent: AgentOpt = None,
    since: SinceOpt = None,
    until: UntilOpt = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest N.")] = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were sent again or discarded.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """List dead letters, oldest first: where each lies, where it came from, why, and its state.

    `open`: nothing was done with it. `gave up`: it failed after three retries, and is not sent
    again. With --all also `retried` and `discarded`.
    """
    import asyncio

    from connectors.kafka.redrive import find
    from streams.cli.output import emit
    from streams.settings import Settings

    settings = Settings()
    wanted = _wanted(settings, (), topic, code, agent, since, until)
    found = asyncio.run(find(settings, wanted, limit, newest=True, handled=everything))
    emit([_row(letter) | {"state": str(found.state(letter))} for letter in found.letters], as_json)


@app.command()
def retry(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET]...", help="These letters.")
    ] = None,
    topic: TopicOpt = None,
    code: CodeOpt = None,
    agent: AgentOpt = None,
    since: SinceOpt = None,
    until: UntilOpt = None,
    limit: Annotated[int, typer.Option(min=1, help="At most N, the oldest first.")] = 1_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, do nothing.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Send records of dead letters again: to the topic they came from, as they came.

    Name the letters, or say with options which. A letter that was sent is not sent twice. One that
    failed after three retries is refused, TOO_MANY_REDRIVES. Exit code 6: some were refused.
    """
    import asyncio

    from connectors.kafka import redrive
    from streams.cli.rules import user
    from streams.errors import UsageError
    from streams.settings import Settings

    settings = Settings()
    if not places and not any((topic, code, agent, since, until)):
        raise UsageError(
            "say which letters: name places, or give --topic, --code, --agent, --since"
        )
    wanted = _wanted(settings, places or (), topic, code, agent, since, until)
    doing = (
        redrive.plan(settings, wanted, limit)
        if dry_run
        else redrive.retry(settings, wanted, limit, user())
    )
    _report(asyncio.run(doing), as_json)


@app.command()
def discard(
    places: Annotated[list[str], typer.Argument(metavar="PARTITION:OFFSET...")],
    reason: Annotated[str, typer.Option(help="Why they need not be sent again.")],
    as_json: JsonOpt = False,
) -> None:
    """Mark dead letters as given up: `list` shows them no more. Nothing is deleted."""
    import asyncio

    from connectors.kafka import redrive
    from streams.cli.rules import user
    from streams.settings import Settings

    named = list(dict.fromkeys(map(_canonical, places)))
    _report(asyncio.run(redrive.discard(Settings(), named, user(), reason)), as_json)


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


def _canonical(place: str) -> str:
    partition, offset = parse_place(place)
    return f"{partition}:{offset}"


def _wanted(
    settings: "Settings",
    places: Sequence[str],
    topic: str | None,
    code: str | None,
    agent: str | None,
    since: str | None,
    until: str | None,
) -> "Filter":
    """Return the filter that the options of a command describe."""
    from streams.cli.tail import parse_time
    from streams.cli.topics import resolve
    from streams.domain.letters import Filter

    # The header has the registry's name, without the namespace.
    source = resolve(topic, settings).removeprefix(f"{settings.namespace}.") if topic else None
    return Filter(
        frozenset(map(_canonical, places)),
        source,
        code,
        agent,
        parse_time("--since", since) if since else None,
        parse_time("--until", until) if until else None,
    )


def _report(outcomes: "Sequence[Outcome]", as_json: bool) -> None:
    """Print what became of letters; raise IncompleteError if some were refused."""
    from collections import Counter

    from streams.cli.output import emit
    from streams.errors import IncompleteError

    emit([_outcome(one) for one in outcomes], as_json)
    refused = Counter(one.code for one in outcomes if one.code)
    if refused:
        codes = ", ".join(f"{count} {code}" for code, count in sorted(refused.items()))
        raise IncompleteError(f"{refused.total()} of {len(outcomes)} were not sent again: {codes}")


def _outcome(one: "Outcome") -> dict[str, Any]:
    row = {key: _row(one.letter)[key] for key in ("at", "source", "attempt")}
    return {**row, "result": one.result, "code": one.code, "reason": one.reason}


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


def _row(letter: "Letter") -> dict[str, Any]:
    from streams.cli.summary import cut
    from streams.cli.tail import time_text
    from streams.domain.letters import AGENT, ATTEMPT, CODE, MESSAGE, OFFSET, PARTITION, TOPIC

    headers = headers_of(letter.headers)
    return {
        "at": letter.place,
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
