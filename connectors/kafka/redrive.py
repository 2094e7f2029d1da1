"""Find dead letters, send their records again, mark what was done with them.

No letter is sent twice, whenever a sender dies and however many are at it:

1. All who handle letters write under one transactional id. Opening the second such producer ends
   what the first had under way, for good: Kafka refuses whatever that still sends (it fails with
   ServiceUnavailableError). So from there on what was read stays true.
2. A transaction announces what is about to be sent: a mark `retrying` for each letter.
3. Another one sends the records, waits until Kafka has them, and then marks them `retried`.

The workers read uncommitted records, because one open transaction would hold up everything else
on its partition. So a record whose transaction was broken off has been sent all the same. That is
why its mark is written after it, and why a letter that was announced and not marked is looked for:
its record, with the letter's place in its headers, is on its topic behind the announcement or
nowhere. Found, it is only marked.

What is handled is a source record: its letters, when there are several (two agents failed on it,
or a worker was killed and wrote its letter again), have one state, and it is sent once.
"""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from connectors.kafka.client import partitions_of, producer
from connectors.kafka.reader import SinceTime, read_topic
from streams.clock import now_ns
from streams.domain.letters import (
    REDRIVE,
    Filter,
    Letter,
    Outgoing,
    Source,
    State,
    outgoing,
    refusal,
    state_of,
)
from streams.errors import NotFoundError, ServiceUnavailableError
from streams.models.dead_letters import Action, HandledLetter
from streams.partitioner import partition_of
from streams.settings import Settings
from streams.topics import BY_NAME, DEAD_LETTERS, DEAD_LETTERS_HANDLED, topic_name

#: Letters in one pair of transactions.
CHUNK = 200
#: Opening the transactions of another sender may have to end its own first.
OPEN_S = 30.0
#: How far the clocks of two machines that send letters may be apart.
CLOCKS_APART_MS = 60_000

Marks = dict[Source, HandledLetter]


@dataclass(frozen=True, slots=True)
class Found:
    """Letters, oldest first, and the newest mark of each source record that has one."""

    letters: Sequence[Letter]
    marks: Marks

    def state(self, letter: Letter) -> State:
        """Return what became of a letter."""
        return state_of(letter, self.marks)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a letter in a call of `retry` or `discard`."""

    letter: Letter
    result: str
    code: str = ""
    reason: str = ""


async def find(
    settings: Settings, wanted: Filter, limit: int, *, newest: bool, handled: bool
) -> Found:
    """Return at most `limit` letters, the newest or the oldest that match.

    Those that were sent again or discarded come only with `handled`.
    """
    marks = await _read_marks(settings)
    by_source: Marks = {}
    kept: list[tuple[tuple[int, ...], Letter]] = []
    sign = 1 if newest else -1
    name = topic_name(DEAD_LETTERS, settings.namespace)
    async for stored in read_topic(settings, name):
        letter = Letter(
            stored.partition,
            stored.offset,
            stored.timestamp_ms,
            stored.key,
            stored.value or b"",
            stored.headers,
        )
        mark = marks.get(letter.place)
        if mark is not None:
            before = by_source.get(letter.source)
            by_source[letter.source] = max(before or mark, mark, key=lambda m: m.ts_event_ns)
        if not wanted.takes(letter) or (not handled and _is_handled(mark)):
            continue
        order = tuple(sign * n for n in (letter.timestamp_ms, letter.partition, letter.offset))
        heapq.heappush(kept, (order, letter))
        if len(kept) > limit:
            heapq.heappop(kept)
    letters = [letter for order, letter in sorted(kept, reverse=not newest)]
    if not handled:
        letters = [one for one in letters if not _is_handled(by_source.get(one.source))]
    return Found(letters, by_source)


def _is_handled(mark: HandledLetter | None) -> bool:
    return mark is not None and mark.action is not Action.RETRYING


async def _read_marks(settings: Settings) -> dict[str, HandledLetter]:
    """Return the newest mark of each letter; one that cannot be read is passed over.

    Where topics were made by an earlier version, there is no topic of marks, and so no mark.
    """
    marks: dict[str, HandledLetter] = {}
    name = topic_name(DEAD_LETTERS_HANDLED, settings.namespace)
    with suppress(NotFoundError):
        async for stored in read_topic(settings, name):
            with suppress(ValidationError):
                mark = DEAD_LETTERS_HANDLED.adapter.validate_json(stored.value or b"")
                marks[mark.letter] = mark
    return marks


async def plan(settings: Settings, wanted: Filter, limit: int) -> list[Outcome]:
    """Return what `retry` would do now; nothing is changed."""
    found = await _chosen(settings, wanted, limit)
    return [one if one.result else Outcome(one.letter, "would be retried") for one in _sort(found)]


async def retry(settings: Settings, wanted: Filter, limit: int, by: str) -> list[Outcome]:
    """Send the letters that are meant again, at most `limit`, oldest first; return each outcome.

    Letters that are named are all answered for; of others those that were handled are left out.
    Raises NotFoundError if a named letter does not exist, before anything is sent.
    """
    async with _only_sender(settings) as client:
        found = await _chosen(settings, wanted, limit)
        outcomes = _sort(found)
        todo = [one.letter for one in outcomes if not one.result]
        announced = [one for one in todo if one.source in found.marks]
        sent = await _sent_before(settings, announced, found.marks)
        for start in range(0, len(todo), CHUNK):
            await _send(client, settings, todo[start : start + CHUNK], sent, by)
    return [one if one.result else Outcome(one.letter, "retried") for one in outcomes]


async def discard(settings: Settings, places: Sequence[str], by: str, reason: str) -> list[Outcome]:
    """Mark letters as given up; nothing is deleted. Those that were sent again stay so."""
    async with _only_sender(settings) as client:
        found = await _chosen(settings, Filter(places=frozenset(places)), len(places))
        outcomes = []
        for letter in found.letters:
            state = found.state(letter)
            already = state in (State.RETRIED, State.DISCARDED)
            outcomes.append(Outcome(letter, f"already {state}" if already else "discarded"))
        todo = [one.letter for one in outcomes if one.result == "discarded"]
        async with client.transaction():
            await _mark(client, settings, todo, Action.DISCARDED, by, reason)
    return outcomes


async def _chosen(settings: Settings, wanted: Filter, limit: int) -> Found:
    named = bool(wanted.places)
    limit = len(wanted.places) if named else limit
    found = await find(settings, wanted, limit, newest=False, handled=named)
    if missing := wanted.places - {letter.place for letter in found.letters}:
        raise NotFoundError(
            f"there is no dead letter at {', '.join(sorted(missing))}; see `dead-letters list`"
        )
    return found


def _sort(found: Found) -> list[Outcome]:
    """Return the outcomes that are plain already; an empty result says: to be sent."""
    outcomes = []
    seen: set[Source] = set()
    for letter in found.letters:
        state = found.state(letter)
        refused = refusal(letter, state, BY_NAME)
        if state is State.RETRIED or letter.source in seen:
            outcomes.append(Outcome(letter, "already retried"))
        elif refused is not None:
            outcomes.append(Outcome(letter, "refused", *refused))
        else:
            seen.add(letter.source)
            outcomes.append(Outcome(letter, ""))
    return outcomes


@asynccontextmanager
async def _only_sender(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Open the producer of which there is one at a time; what others had under way is over."""
    name = topic_name(DEAD_LETTERS_HANDLED, settings.namespace)
    try:
        async with producer(settings, f"{name}.writer") as client:
            await partitions_of(client.client, name)
            async with asyncio.timeout(OPEN_S):
                await client.begin_transaction()
            await client.commit_transaction()
            yield client
    except (KafkaError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise ServiceUnavailableError(
            f"the letters were not all handled ({why}); if another `dead-letters` command ran at"
            " the same time, it took over: run this one again, nothing is sent twice"
        ) from error


async def _send(
    client: AIOKafkaProducer,
    settings: Settings,
    letters: Sequence[Letter],
    sent: set[Source],
    by: str,
) -> None:
    """Announce letters, send those that were not, and mark them all."""
    fresh = [letter for letter in letters if letter.source not in sent]
    async with client.transaction():
        await _mark(client, settings, fresh, Action.RETRYING, by)
    async with client.transaction():
        await _produce(client, settings, [outgoing(letter) for letter in fresh])
        await _mark(client, settings, letters, Action.RETRIED, by)


async def _produce(
    client: AIOKafkaProducer, settings: Settings, records: Sequence[Outgoing]
) -> None:
    """Send records; return when Kafka has them all."""
    counts: dict[str, int] = {}
    futures = []
    for record in records:
        topic = topic_name(BY_NAME[record.topic], settings.namespace)
        if topic not in counts:
            counts[topic] = len(await partitions_of(client.client, topic))
        count = counts[topic]
        own = record.partition(count)
        futures.append(
            await client.send(
                topic,
                record.value,
                key=record.key,
                partition=partition_of(record.key or b"", count) if own is None else own,
                headers=record.headers,
            )
        )
    await asyncio.gather(*futures)


async def _mark(
    client: AIOKafkaProducer,
    settings: Settings,
    letters: Sequence[Letter],
    action: Action,
    by: str,
    reason: str = "",
) -> None:
    """Write a mark for each letter; return when Kafka has them all."""
    topic = topic_name(DEAD_LETTERS_HANDLED, settings.namespace)
    futures = []
    for letter in letters:
        mark = HandledLetter(
            letter=letter.place,
            action=action,
            attempt=letter.attempt + (action is not Action.DISCARDED),
            by=by,
            reason=reason,
            ts_event_ns=now_ns(),
        )
        value = mark.model_dump_json().encode()
        futures.append(await client.send(topic, value, key=letter.place.encode()))
    await asyncio.gather(*futures)


async def _sent_before(
    settings: Settings, announced: Sequence[Letter], marks: Marks
) -> set[Source]:
    """Return those of the announced letters' sources whose record is on its topic."""
    by_topic: dict[str, dict[str, Source]] = defaultdict(dict)
    for letter in announced:
        by_topic[letter.source[0]][marks[letter.source].letter] = letter.source
    sent: set[Source] = set()
    for topic, sources in by_topic.items():
        oldest_ns = min(marks[source].ts_event_ns for source in sources.values())
        start = SinceTime(max(0, oldest_ns // 1_000_000 - CLOCKS_APART_MS))
        name = topic_name(BY_NAME[topic], settings.namespace)
        async for stored in read_topic(settings, name, start=start):
            for header, value in stored.headers:
                if header == REDRIVE and (value or b"").decode(errors="replace") in sources:
                    sent.add(sources[value.decode()])
    return sent
