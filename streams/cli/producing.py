"""One run of `produce` or `import`: takes items, moves and paces them, sends them, and counts."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import typer

from connectors.kafka.controls import publish_controls
from connectors.kafka.producer import BatchProducer, batch_producer
from streams.cli.inputs import BadRow, Item, reason_of
from streams.cli.output import emit
from streams.cli.pace import Pace, parse_shift, parse_speed
from streams.clock import monotonic, now_ns
from streams.domain.ticks import shifted
from streams.errors import IncompleteError
from streams.models.base import Message
from streams.models.controls import SessionShift
from streams.settings import Settings
from streams.topics import TopicSpec, topic_name

SHOWN_BAD = 100


class Run:
    """What a run does with its items, and what it has counted so far.

    `shift_ns` None: the first item that has a time is moved to now, the others with it.
    `moved_by`: a shift is also published as `session-shift` control, by this name, before the
    items.
    """

    def __init__(
        self,
        settings: Settings,
        items: Iterator[Item | BadRow],
        *,
        pace: Pace,
        shift_ns: int | None,
        moved_by: str | None,
    ) -> None:
        self.produced: dict[str, int] = {}
        self.bad = 0
        self.left_out: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.last: tuple[str, int] | None = None
        self._settings = settings
        self._items = items
        self._pace = pace
        self._shift_ns = shift_ns
        self._moved_by = moved_by
        self._session_version: int | None = None
        self._interrupted = False
        self._started = monotonic()

    @property
    def seconds(self) -> float:
        """Return how long the run has been going."""
        return max(monotonic() - self._started, 1e-3)

    def check(self) -> None:
        """Count what would be produced, and name the bad rows."""
        for item, _value in self._encoded():
            self._count(item)

    async def produce(self) -> None:
        """Produce everything; Ctrl-C ends it with what was counted acknowledged."""
        async with batch_producer(self._settings) as out:
            try:
                await self._send_all(out)
            except asyncio.CancelledError:
                self._interrupted = True

    def summary(self) -> dict[str, object]:
        """Return what happened, for people and programs."""
        if self.bad > SHOWN_BAD:
            typer.echo(f"… and {self.bad - SHOWN_BAD} more lines were left out", err=True)
        seconds = self.seconds
        records = sum(self.produced.values())
        return {
            "records": records,
            "topics": dict(self.produced),
            "bad_lines": self.bad,
            "seconds": round(seconds, 3),
            "records_per_s": round(records / seconds),
            "shift_ns": self._shift_ns or 0,
            "session_shift_version": self._session_version,
            "interrupted": self._interrupted,
        }

    async def _send_all(self, out: BatchProducer) -> None:
        for item, value in self._encoded():
            if self._moved_by and self._shift_ns and self._session_version is None:
                await self._publish_session_shift(self._shift_ns, self._moved_by)
            await self._pace.wait(item.ts_event_ns, out.flush)
            key = item.key.encode() if item.key is not None else None
            await out.send(topic_name(item.topic, self._settings.namespace), key, value)
            self._count(item)

    def _encoded(self) -> Iterator[tuple[Item, bytes]]:
        """Yield the good items with the bytes to send; name the others on standard error."""
        for item in self._items:
            if isinstance(item, BadRow):
                self._refuse(item)
                continue
            if self._shift_ns is None and item.ts_event_ns is not None:
                self._shift_ns = now_ns() - item.ts_event_ns
            try:
                yield item, self._value(item)
            except ValueError as error:
                self._refuse(BadRow(item.number, reason_of(error), file=item.file))

    def _value(self, item: Item) -> bytes:
        moves = bool(self._shift_ns) and item.ts_event_ns is not None
        if item.raw is not None and not moves:
            return item.raw
        if item.message is None:
            raise ValueError("there is neither a message nor its bytes")
        return (
            shifted(item.message, self._shift_ns or 0).model_dump_json(exclude_none=True).encode()
        )

    def _refuse(self, row: BadRow) -> None:
        self.bad += 1
        self.left_out[row.code] += 1
        if self.bad <= SHOWN_BAD:
            where = f"{row.file}:" if row.file else "line "
            typer.echo(f"{where}{row.number}: {row.reason}", err=True)

    def _count(self, item: Item) -> None:
        self.last = item.file, item.number
        if item.note:
            self.noted[item.note] += 1
        self.produced[item.topic.name] = self.produced.get(item.topic.name, 0) + 1

    async def _publish_session_shift(self, shift_ns: int, by: str) -> None:
        control = SessionShift(shift_ns=shift_ns, by=by, reason="ticks were moved in time")
        written = await publish_controls(self._settings, [control])
        self._session_version = written.controls[0].version


def run_items(
    items: Iterator[Item | BadRow],
    *,
    shift: str,
    speed: str,
    dry_run: bool,
    as_json: bool,
    moved_by: str | None = None,
    done: Callable[[Run], float | None] = lambda _: None,
    more: Callable[[Run], dict[str, object]] = lambda _: {},
) -> None:
    """Produce the items, print the summary with `more`, and exit with the code that fits it."""
    run = Run(
        Settings(),
        items,
        pace=Pace(parse_speed(speed)),
        shift_ns=parse_shift(shift),
        moved_by=moved_by,
    )
    with progress(run, done):
        if dry_run:
            run.check()
        else:
            asyncio.run(run.produce())
    emit(run.summary() | more(run), as_json)
    if run.bad:
        raise typer.Exit(IncompleteError.exit_code)


def run_requests(
    topic: TopicSpec,
    requests: Sequence[Message],
    found: Mapping[str, object],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Produce requests keyed by account, and print the summary with what they are known by."""
    items = [
        Item(number, topic, getattr(request, "account", None), request)
        for number, request in enumerate(requests, start=1)
    ]
    run_items(
        iter(items),
        shift="none",
        speed="max",
        dry_run=dry_run,
        as_json=as_json,
        more=lambda _: dict(found),
    )


def progress_text(records: int, bad: int, seconds: float, done: float | None) -> str:
    """Return a running count with its rate and, where the share that is done is known, the ETA."""
    text = f"{records:,} records, {bad:,} bad lines"
    if seconds >= 1:
        text += f", {records / seconds:,.0f}/s"
    if done is not None and done > 0 and seconds >= 1:
        left = round(seconds * (1 - done) / done)
        text += f", {done:.0%}, ETA {left // 60}:{left % 60:02d}"
    return text


@contextmanager
def progress(run: Run, done: Callable[[Run], float | None]) -> Iterator[None]:
    """Show the running count on standard error, if that is a terminal.

    `done` gives the share of the input that was read, if it is known.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TimeElapsedColumn
    from rich.text import Text

    class Count(ProgressColumn):
        """The number of records so far; rich asks for it some times a second."""

        def render(self, _task: Task) -> Text:
            records = sum(run.produced.values())
            return Text(progress_text(records, run.bad, run.seconds, done(run)))

    columns = (SpinnerColumn(), Count(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task("produce")
        yield
