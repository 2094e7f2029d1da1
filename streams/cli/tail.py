"""`tail`: print the records of a topic, one line each, without disturbing any worker."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from connectors.kafka.reader import Start, Stored

WhereOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="FIELD=VALUE",
        help="Only records whose field has this value; terms.symbol goes into a part. Repeatable.",
    ),
]


def tail(
    topic: Annotated[str, typer.Argument(help="orders.events, or any topic's full name.")],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="beginning, end, -10 (the newest ten), or a time: 2026-11-21T09:30:00Z. "
            "Default: -10; with --where the beginning, with --follow the end.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after N records that were printed.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new records until Ctrl-C.")
    ] = False,
    where: WhereOpt = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print records: time, partition:offset, key, and the value in short.

    Times are Kafka's, in UTC. Without --follow it stops at the end of the topic. A time without
    a zone is UTC. Exit code 3: no such topic.
    """
    import asyncio

    from streams.cli.summary import decoded, matches
    from streams.cli.topics import resolve
    from streams.settings import Settings

    settings = Settings()
    wanted = parse_where(where or [])
    start = parse_start(from_ or ("end" if follow else "beginning" if where else "-10"))
    show = json_line if as_json else text_line

    async def run() -> None:
        from contextlib import aclosing

        from connectors.kafka.reader import read_topic

        printed = 0
        name = resolve(topic, settings)
        async with aclosing(read_topic(settings, name, start=start, follow=follow)) as records:
            async for record in records:
                if wanted and not matches(decoded(record.value), wanted):
                    continue
                typer.echo(show(record))
                printed += 1
                if printed == limit:
                    return

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        if not follow:  # with --follow, Ctrl-C is how it ends
            raise


def parse_start(text: str) -> "Start":
    """Return where to begin: a word, `-N`, or a time of ISO 8601 (UTC where it names no zone)."""
    import re

    from connectors.kafka.reader import LastRecords, SinceTime

    if text == "beginning":
        return "beginning"
    if text == "end":
        return "end"
    if re.fullmatch(r"-\d{1,9}", text):
        return LastRecords(int(text[1:]))
    return SinceTime(parse_time("--from", text, "neither beginning, end, -N nor"))


def parse_time(option: str, text: str, is_what: str = "not") -> int:
    """Return a time of ISO 8601 in milliseconds (UTC where it names no zone)."""
    from datetime import UTC, datetime

    from streams.errors import UsageError

    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is {is_what} a time like 2026-11-21T09:30:00Z"
        ) from None
    zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
    return max(0, round(zoned.timestamp() * 1000))


def parse_where(conditions: list[str]) -> dict[str, str]:
    """Return `field=value` texts as a mapping."""
    from streams.errors import UsageError

    pairs = [condition.partition("=") for condition in conditions]
    for name, equals, _value in pairs:
        if not equals or not name:
            raise UsageError(f"--where {name!r} is no condition; write it as symbol=AIG")
    return {name: value for name, _equals, value in pairs}


def time_text(timestamp_ms: int) -> str:
    """Return a Kafka timestamp as UTC text to the millisecond."""
    from datetime import UTC, datetime

    time = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_line(record: "Stored") -> str:
    """Return the line people read."""
    from streams.cli.summary import safe_text, summary

    key = "-" if record.key is None else safe_text(record.key)
    place = f"{record.partition}:{record.offset}"
    return f"{time_text(record.timestamp_ms)}  {place:<10} {key:<16} {summary(record.value)}"


def json_line(record: "Stored") -> str:
    """Return the line programs read: the value as JSON, or else as safe text."""
    import json

    from streams.cli.summary import safe_text

    return json.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": None if record.key is None else safe_text(record.key),
            "headers": {name: safe_text(data) for name, data in record.headers},
            "value": json_value(record.value),
        }
    )


def json_value(value: bytes | None) -> Any:
    """Return the value to print as JSON; what is not JSON (NaN included) as safe text."""
    import json

    from streams.cli.summary import safe_text

    if value is None:
        return None
    try:
        return json.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return safe_text(value)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
