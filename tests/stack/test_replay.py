"""`replay` from the history and from live topics: as from the file; results in their namespace."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from connectors.clickhouse.migrate import migrate
from connectors.kafka.admin import apply_topics
from connectors.kafka.controls import seed_controls
from streams.cli.main import main
from streams.cli.replay_source import SAMPLE
from streams.settings import Settings
from tables.registry import TABLES
from tests.builders import submit
from tests.stack.pipeline.running import EVENTS, QUOTES, TRADES, settings_of
from tests.stack.plain import count, query, wait_until
from tests.stack.workers import workers_of

pytestmark = pytest.mark.stack

Run = Callable[..., dict[str, Any]]
OPEN_NS = 1_381_152_600 * 10**9
FROM, TO = "2013-10-07T13:30:05Z", "2013-10-07T13:31:30Z"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file with the sample's first ticks."""
    path = tmp_path_factory.mktemp("ticks") / "ticks.parquet"
    pq.write_table(pq.read_table(SAMPLE).slice(0, 8_000), path)
    return str(path)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file of two orders."""
    path = tmp_path_factory.mktemp("orders") / "orders.jsonl"
    rows = [
        submit(order_id=f"o{n}", type="market", ts_event_ns=OPEN_NS + (20 + 9 * n) * 10**9)
        for n in range(2)
    ]
    path.write_text("".join(row.model_dump_json(exclude_none=True) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def settings(
    stack: Settings, tmp_path_factory: pytest.TempPathFactory, file: str
) -> Iterator[Settings]:
    """Yield the settings of a pipeline whose topics and history hold the file's ticks."""
    found = settings_of(stack, tmp_path_factory.mktemp("replay"), "replayed")
    with workers_of(found) as workers, pytest.MonkeyPatch.context() as patch:

        async def begin() -> None:
            await apply_topics(found, TABLES)
            await seed_controls(found)
            await migrate(found)
            workers.start("history")
            await workers.ready()

        asyncio.run(begin())
        for name, value in found.environment().items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(["import", file, "--unchecked"])
        assert not ended.value.code

        async def stored() -> int:
            sql = "select (select count() from trades_log) + (select count() from quotes_log)"
            return int((await query(found, sql))[0][0])

        asyncio.run(wait_until(stored, lambda rows: rows == 8_000))
        yield found


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return what runs `replay`, and gives the report."""

    def call(*arguments: str, code: int = 0) -> dict[str, Any]:
        for name, value in settings.environment().items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(["replay", *arguments, "--json"])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == code, err
        if code:
            return {"err": err}
        folder = Path(json.loads(out)["folder"])
        return dict(json.loads((folder / "report.json").read_text()))

    return call


def test_history_and_topics_give_what_the_file_gives(run: Run, file: str, orders: str) -> None:
    """The same records, bytes and order, wherever the ticks come from."""
    span = ("--from", FROM, "--to", TO, "--orders", orders)
    of_file = run(file, *span)
    assert of_file["orders"]["fills"] == 2
    for source in ("clickhouse", "kafka"):
        found = run("--source", source, *span)
        assert found["span"] == of_file["span"], source
        assert found["records_hash"] == of_file["records_hash"], source
    assert run(*span)["run"]["source"] == "clickhouse"  # a --from, and no file


def test_symbols_are_chosen_by_the_store(run: Run, file: str) -> None:
    """One symbol, from both stores."""
    given = ("--from", FROM, "--to", TO, "--symbols", "BAC")
    wanted = run(file, *given)["records_hash"]
    assert run("--source", "clickhouse", *given)["records_hash"] == wanted
    assert run("--source", "kafka", *given)["records_hash"] == wanted


def test_a_published_run_stands_in_its_namespace(
    run: Run, settings: Settings, file: str, orders: str
) -> None:
    """All records in ClickHouse and on Kafka; what is live has none more."""

    async def live() -> list[int]:
        return [await count(settings, name) for name in (EVENTS, TRADES, QUOTES)]

    before = asyncio.run(live())
    report = run(file, "--orders", orders, "--name", "one", "--publish")
    assert asyncio.run(live()) == before
    own = settings.model_copy(update={"namespace": "replay-one"})
    wanted = report["records"]["orders.events.v1"]

    async def held() -> tuple[int, int]:
        rows = await query(own, "select count() from order_events_log")
        return int(rows[0][0]), await count(own, EVENTS)

    assert asyncio.run(held()) == (wanted, wanted)
    assert "holds records already" in run(file, "--name", "one", "--publish", code=2)["err"]
