"""The virtual venue is compared with what the pipeline has, in a pipeline that does so often."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from streams import clock
from streams.models.statements import Statement
from streams.settings import Settings
from streams.topics import STATEMENTS
from tests.stack.pipeline.running import Pipeline, set_up, settings_of
from tests.stack.plain import Raw, produce, read, wait_until
from tests.stack.workers import workers_of

RESTS = {"type": "limit", "limit_price": "45.00", "qty": "10"}


@pytest.fixture(scope="module")
def compared(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Yield a pipeline whose venue states what it has every two seconds."""
    folder = tmp_path_factory.mktemp("compared")
    often = {"reconcile_every_s": 2.0}
    settings = settings_of(stack, folder, "compared").model_copy(update=often)
    with workers_of(settings) as workers:
        asyncio.run(set_up(settings))
        for role in ("orders", "gateway"):
            workers.start(role)
        asyncio.run(workers.ready())
        yield Pipeline(settings, workers)


async def found(pipeline: Pipeline, finding: str) -> list[dict[str, Any]]:
    """Return what comparisons found, each as often as it was told."""
    records = await read(pipeline.settings, "reconciliations.v1")
    said = [json.loads(record.value or b"") for record in records]
    return [one for one in said if one["finding"] == finding]


async def test_a_sound_venue_has_no_difference(compared: Pipeline) -> None:
    """Orders rest, fill and are canceled; comparisons count them all and find nothing."""
    await compared.instruments("AIG", price="50.00")
    for number in range(5):
        await compared.order(account="V1", order_id=f"rests-{number}", symbol="AIG", **RESTS)
    await compared.order_view("V1", "rests-4", "accepted")

    async def enough() -> bool:
        said = await found(compared, "summary")
        return sum(int(one["orders"]) for one in said) >= 15

    await wait_until(enough, bool)
    said = await found(compared, "summary")
    assert sum(one["differences"] for one in said) == 0
    assert {one["broker"] for one in said} == {"virtual"}


async def test_what_the_venue_has_otherwise_is_reported(compared: Pipeline) -> None:
    """A venue that states a fill which nobody was told of; the same difference, the same id."""
    await compared.order(account="V2", order_id="odd", symbol="AIG", **RESTS)
    await compared.order_view("V2", "odd", "accepted")
    stated = {"order_id": "odd", "client_order_id": "V2.odd", "state": "open", "cum_qty": "3"}

    async def states_it_again() -> list[dict[str, Any]]:
        told = {"broker": "virtual", "account": "V2", "symbol": "AIG", "orders": (stated,)}
        value = Statement.model_validate(told | {"ts_event_ns": clock.now_ns()})
        one = Raw(value.model_dump_json().encode(), key=b"V2")
        await produce(compared.settings, STATEMENTS.name, [one])
        await asyncio.sleep(0.3)
        return await found(compared, "missing_fill")

    seen = await wait_until(states_it_again, lambda seen: len(seen) >= 2)
    assert {(one["account"], one["order_id"], one["ours"], one["theirs"]) for one in seen} == {
        ("V2", "odd", "0", "3")
    }
    assert len({one["reconciliation_id"] for one in seen}) == 1
    assert not any(one["mended"] for one in seen)
    order = await compared.order_view("V2", "odd", "accepted")
    assert order["cum_qty"] == "0"  # a difference is told; nothing is edited
