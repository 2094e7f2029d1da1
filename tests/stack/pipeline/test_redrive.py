"""Dead letters that are sent again, and those that are given up, through the command line."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streams.domain.letters import MAX_ATTEMPTS, REDRIVE
from tests.stack.pipeline.running import DEAD, REQUESTED, Pipeline
from tests.stack.pipeline.test_bad_input import ELSEWHERE, keyed, letters, order, the_letter
from tests.stack.plain import Place, produce, query, read, wait_until

ROOT = Path(__file__).parents[3]
COMMAND = ("-m", "streams", "dead-letters")
DYING = ("-m", "tests.stack.pipeline.dying_retry")
HANDLED = "dead-letters.handled.v1"

_numbers = itertools.count(1)


class Done(NamedTuple):
    """What a command gave."""

    code: int
    rows: list[dict[str, Any]]
    errors: str


async def run(pipeline: Pipeline, *words: str, argv: tuple[str, ...] = COMMAND) -> Done:
    """Run a command of `dead-letters` with --json."""
    done = await asyncio.to_thread(
        subprocess.run,
        (sys.executable, *argv, *words, "--json"),
        cwd=ROOT,
        env={**os.environ, **pipeline.settings.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, json.loads(done.stdout or "[]"), done.stderr)


async def misplaced(pipeline: Pipeline) -> tuple[str, str, Place]:
    """Put an order on the wrong partition; return its id and its letter's place, and its own.

    What is wrong with it is mended by sending it again: then it goes by its key.
    """
    order_id = f"again{next(_numbers)}"
    raw = order(order_id=order_id, limit_price=f"45.{next(_numbers) % 100:02}")
    (place,) = await produce(pipeline.settings, REQUESTED, [keyed(raw, partition=ELSEWHERE)])
    letter = await the_letter(pipeline, REQUESTED, place)
    return order_id, f"{letter.partition}:{letter.offset}", place


async def sent(pipeline: Pipeline) -> Counter[str]:
    """Return how many records there are of each letter that was sent again."""
    found: Counter[str] = Counter()
    for record in await read(pipeline.settings, REQUESTED):
        found.update(value.decode() for name, value in record.headers if name == REDRIVE)
    return found


async def listed(pipeline: Pipeline, *words: str) -> dict[str, str]:
    """Return the state of each letter that `list` shows, by its place."""
    done = await run(pipeline, "list", "--limit", "10000", *words)
    return {row["at"]: row["state"] for row in done.rows}


async def test_a_letter_whose_cause_is_gone_goes_through(pipeline: Pipeline) -> None:
    """Its order is at the venue, once; the letter is handled, and is not sent again."""
    order_id, letter, _ = await misplaced(pipeline)
    assert (await listed(pipeline))[letter] == "open"
    plan = await run(pipeline, "retry", letter, "--dry-run")
    assert (plan.code, plan.rows[0]["result"]) == (0, "would be retried")
    assert (await sent(pipeline))[letter] == 0
    first = await run(pipeline, "retry", letter)
    assert (first.code, first.rows[0]["result"]) == (0, "retried"), first.errors
    await pipeline.order_view("X1", order_id, "accepted")
    again = await run(pipeline, "retry", letter)
    assert (again.code, again.rows[0]["result"]) == (0, "already retried")
    assert (await sent(pipeline))[letter] == 1
    assert letter not in await listed(pipeline)
    assert (await listed(pipeline, "--all"))[letter] == "retried"


async def test_a_letter_that_failed_three_redrives_stays(pipeline: Pipeline) -> None:
    """Each time it is a new letter with the next attempt; after the third it is refused."""
    (place,) = await produce(
        pipeline.settings, REQUESTED, [keyed(b"nonsense", headers=[("own", b"\xff")])]
    )
    for attempt in range(MAX_ATTEMPTS):
        letter = await the_letter(pipeline, REQUESTED, place)
        told = dict(letter.headers)
        assert (told["orderflow.attempt"], letter.key) == (b"%d" % attempt, b"X1")
        assert (letter.value, told["own"]) == (b"nonsense", b"\xff")
        at = f"{letter.partition}:{letter.offset}"
        assert (await run(pipeline, "retry", at)).code == 0
        place = await where(pipeline, at)
    last = await the_letter(pipeline, REQUESTED, place)
    assert dict(last.headers)["orderflow.attempt"] == b"%d" % MAX_ATTEMPTS
    assert dict(last.headers)["orderflow.redrive"] == at.encode()
    at = f"{last.partition}:{last.offset}"
    refused = await run(pipeline, "retry", at)
    assert (refused.code, refused.rows[0]["code"]) == (6, "TOO_MANY_REDRIVES")
    assert (await listed(pipeline))[at] == "gave up"
    assert (await sent(pipeline))[at] == 0


async def where(pipeline: Pipeline, letter: str) -> Place:
    """Return where the record of a letter lies that was sent again."""
    (found,) = [
        Place(record.partition, record.offset)
        for record in await read(pipeline.settings, REQUESTED)
        if (REDRIVE, letter.encode()) in record.headers
    ]
    return found


async def test_a_discarded_letter_is_shown_no_more_and_still_there(pipeline: Pipeline) -> None:
    """It is not sent again either; in the history its state is told."""
    _, letter, place = await misplaced(pipeline)
    done = await run(pipeline, "discard", letter, "--reason", "a test order")
    assert (done.code, done.rows[0]["result"]) == (0, "discarded"), done.errors
    again = await run(pipeline, "discard", letter, "--reason", "twice")
    assert again.rows[0]["result"] == "already discarded"
    assert letter not in await listed(pipeline)
    assert (await listed(pipeline, "--all"))[letter] == "discarded"
    refused = await run(pipeline, "retry", letter)
    assert (refused.code, refused.rows[0]["code"]) == (6, "DISCARDED")
    assert len(await letters(pipeline, REQUESTED, place)) == 1
    assert await state_in_history(pipeline, letter, "discarded") == "discarded"
    sql = "select by != '', reason from dead_letters_handled where letter = {at:String}"
    assert await query(pipeline.settings, sql, at=letter) == [(True, "a test order")]


async def state_in_history(pipeline: Pipeline, letter: str, expected: str) -> str:
    """Return a letter's state in the view `dead_letters`, when it is as expected."""
    sql = (
        "select state from dead_letters"
        " where concat(toString(_partition), ':', toString(_offset)) = {at:String}"
    )
    rows = await wait_until(
        partial(query, pipeline.settings, sql, at=letter), lambda rows: rows == [(expected,)]
    )
    return str(rows[0][0])


@pytest.mark.parametrize("where", ["announced", "sent", "marked"])
async def test_a_retry_that_is_killed_sends_nothing_twice(pipeline: Pipeline, where: str) -> None:
    """Wherever it dies: the next one sends what was not sent, and marks all of it."""
    orders = [await misplaced(pipeline) for _ in range(3)]
    places = [letter for _, letter, _ in orders]
    died = await run(pipeline, where, "retry", *places, argv=DYING)
    assert died.code == -9
    before = await sent(pipeline)
    assert [before[letter] for letter in places] == [0 if where == "announced" else 1] * 3
    done = await run(pipeline, "retry", *places)
    assert done.code == 0, done.errors
    after = await sent(pipeline)
    assert [after[letter] for letter in places] == [1, 1, 1]
    assert set(places).isdisjoint(await listed(pipeline))
    for order_id, letter, _ in orders:
        await pipeline.order_view("X1", order_id, "accepted")
        assert await state_in_history(pipeline, letter, "retried") == "retried"


async def test_retries_at_the_same_time_send_nothing_twice(pipeline: Pipeline) -> None:
    """One takes over from the other, which says so; whoever is last finishes."""
    places = [(await misplaced(pipeline))[1] for _ in range(6)]
    at_once = await asyncio.gather(
        *(run(pipeline, "retry", "--code", "WRONG_PARTITION") for _ in range(3))
    )
    assert {done.code for done in at_once} <= {0, 5}, [done.errors for done in at_once]
    done = await run(pipeline, "retry", *places)
    assert done.code == 0, done.errors
    found = await sent(pipeline)
    assert [found[place] for place in places] == [1] * len(places)


async def test_filters_say_which_letters_are_meant(pipeline: Pipeline) -> None:
    """By code, topic, agent and time; a retry without any is refused."""
    _, letter, _ = await misplaced(pipeline)
    assert (await run(pipeline, "retry")).code == 2
    assert (await run(pipeline, "retry", "99:1")).code == 3
    for words in (
        ("--code", "NO_SUCH_CODE"),
        ("--agent", "nobody"),
        ("--topic", "accounts.updates"),  # other tests break records of most topics
        ("--until", "2020-01-01"),
        ("--since", "2200-01-01"),
    ):
        assert (await run(pipeline, "list", *words)).rows == []
        assert (await run(pipeline, "retry", *words)).rows == []
    chosen = ("--code", "WRONG_PARTITION", "--agent", "validator", "--topic", "orders.requested")
    found = await run(pipeline, "retry", *chosen, "--since", "2020-01-01", "--dry-run")
    assert letter in {row["at"] for row in found.rows}


async def test_what_was_done_is_on_its_own_topic(pipeline: Pipeline) -> None:
    """Who, what, which attempt, when; keyed by the letter's place."""
    _, letter, _ = await misplaced(pipeline)
    await run(pipeline, "retry", letter)
    marks = [
        json.loads(record.value or b"")
        for record in await read(pipeline.settings, HANDLED)
        if record.key == letter.encode()
    ]
    assert [(mark["action"], mark["attempt"]) for mark in marks] == [
        ("retrying", 1),
        ("retried", 1),
    ]
    assert len(await read(pipeline.settings, DEAD)) >= 1
