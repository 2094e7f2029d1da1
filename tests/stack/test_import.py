"""`import` into real topics: each format, twice, and what workers and history make of it."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.clickhouse.migrate import migrate
from connectors.kafka.admin import apply_topics
from connectors.kafka.controls import seed_controls
from streams.cli.main import main
from streams.settings import Settings
from tables.registry import TABLES
from tests.stack.pipeline.running import LAST, QUOTES, TRADES, settings_of
from tests.stack.plain import count, query, read, wait_until
from tests.stack.workers import workers_of

pytestmark = pytest.mark.stack

T = 1_381_152_600_000_000_000  # 2013-10-07 09:30 in New York
N = 50
REFUSED = (
    "select reason, sum(ticks) from refused_ticks where symbol = {symbol:String} group by reason"
)


class Output(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Output]


@pytest.fixture(scope="module")
def settings(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Yield the settings of a pipeline of market data alone: prices and history."""
    found = settings_of(stack, tmp_path_factory.mktemp("import"), "import")
    with workers_of(found) as workers:

        async def begin() -> None:
            await apply_topics(found, TABLES)
            await seed_controls(found)
            await migrate(found)
            workers.start("market")
            workers.start("history")
            await workers.ready()

        asyncio.run(begin())
        yield found


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return what runs a command line with the pipeline's settings."""

    def call(*arguments: str) -> Output:
        for name, value in settings.environment().items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        return Output(int(ended.value.code or 0), out, err)

    return call


def csv_gz(folder: Path) -> list[str]:
    """Return an import of prints in columns of their own, the third without a price."""
    rows = [f"{T // 10**6 + n},{'' if n == 2 else '49.05'},100" for n in range(N + 1)]
    path = folder / "a.csv.gz"
    path.write_bytes(gzip.compress("\n".join(["time,px,qty", *rows]).encode()))
    maps = ("ts_event_ns=time", "price=px", "size=qty")
    return [str(path), "--symbol", "CSVGZ", *(word for one in maps for word in ("--map", one))]


def json_zst(folder: Path) -> list[str]:
    """Return an import of Alpaca's prints and quotes, the third no JSON."""
    rows = [
        {"S": "JSONL", "t": f"2013-10-07T13:30:{n:02d}Z", "p": 49.05, "s": 1} for n in range(N // 2)
    ] + [
        {"S": "JSONL", "t": f"2013-10-07T13:30:{n:02d}Z", "bp": 49.0, "bs": 1, "ap": 49.1, "as": 2}
        for n in range(N // 2)
    ]
    lines = [json.dumps(row) for row in rows]
    lines.insert(2, "nonsense")
    path = folder / "b.jsonl.zst"
    with path.open("wb") as file, pa.CompressedOutputStream(file, "zstd") as out:
        out.write("\n".join(lines).encode())
    return [str(path)]


def parquet(folder: Path) -> list[str]:
    """Return an import of the sample's layout, the third with a price of 0."""
    rows = [
        {"ts_event_ns": T + n, "symbol": "PARQ", "kind": "trade", "size": 1, "exchange": "Q",
         "price_e4": 0 if n == 2 else 490_500}
        for n in range(N + 1)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "c.parquet")
    return [str(folder / "c.parquet")]


def ticks_of(settings: Settings) -> int:
    """Return how many ticks are on Kafka."""

    async def ask() -> int:
        return await count(settings, TRADES) + await count(settings, QUOTES)

    return asyncio.run(ask())


def refused_of(settings: Settings, symbol: str, expected: dict[str, int]) -> dict[str, int]:
    """Return the counts of a symbol's refused ticks, when they are as expected."""

    async def ask() -> dict[str, int]:
        return {reason: int(n) for reason, n in await query(settings, REFUSED, symbol=symbol)}

    return asyncio.run(wait_until(ask, lambda found: found == expected))


FORMATS = [
    (csv_gz, "CSVGZ", "4: ", {"duplicate": N}),
    (json_zst, "JSONL", "3: ", {"duplicate": N}),
    (parquet, "PARQ", "3: ", {"duplicate": N}),
]


@pytest.mark.parametrize(("made", "symbol", "bad", "refused"), FORMATS, ids=["csv", "json", "pq"])
def test_a_file_imported_twice_is_the_same_ticks(
    settings: Settings,
    run: Run,
    tmp_path: Path,
    made: Callable[[Path], list[str]],
    symbol: str,
    bad: str,
    refused: dict[str, int],
) -> None:
    """All but the bad row reach Kafka, each time; history folds them, prices refuse the second."""
    arguments = made(tmp_path)
    before = ticks_of(settings)
    assert run("import", *arguments, "--preview", "5").code == 0
    dry = run("import", *arguments, "--dry-run", "--json")
    assert (dry.code, json.loads(dry.out)["records"]) == (6, N)
    assert ticks_of(settings) == before  # neither wrote a thing
    for times in (1, 2):
        done = run("import", *arguments, "--json")
        assert (done.code, json.loads(done.out)["records"]) == (6, N)
        assert done.err.startswith(f"{arguments[0]}:{bad}")
        assert len(done.err.splitlines()) == 1
        assert ticks_of(settings) == before + times * N
    assert refused_of(settings, symbol, refused) == refused

    async def kept() -> tuple[int, ...]:
        of_both = "select count() from {table:Identifier} where symbol = {symbol:String}"
        tables = ("trades_log", "quotes_log", "trades", "quotes")
        found = [await query(settings, of_both, table=one, symbol=symbol) for one in tables]
        return tuple(int(rows[0][0]) for rows in found)

    logged, logged_quotes, trades, quotes = asyncio.run(
        wait_until(kept, lambda found: found[0] + found[1] >= 2 * N)
    )
    assert (logged + logged_quotes, trades + quotes) == (2 * N, N)


def test_refused_ticks_move_no_price_and_are_counted(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    """Whoever produces them: here an import without checks, and one of made-up ticks."""
    rows: list[dict[str, Any]] = [
        {"price": "50.00", "size": "1"},
        *({"price": "0", "size": "1"} for _ in range(7)),
        {"price": "60.00", "size": "1"},
        {"price": "50.01", "size": "1", "conditions": "what?"},
        {"bid": "50.02", "bid_size": "1", "ask": "50.01", "ask_size": "1"},
        {"bid": "50.00", "bid_size": "1", "ask": "50.00", "ask_size": "1"},
    ]
    lines = [json.dumps({"symbol": "LIVE", "ts_event_ns": T + n, **r}) for n, r in enumerate(rows)]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(lines))
    checked = json.loads(run("import", str(path), "--dry-run", "--json").out)
    expected = {"price": 7, "far_off": 1, "crossed": 1}
    assert checked["refused"] == expected
    assert checked["noted"] == {"unknown_condition": 1, "locked": 1}
    assert run("import", str(path), "--unchecked").code == 0
    refused_of(settings, "LIVE", expected | checked["noted"])

    shown = json.loads(run("query", "refused_ticks", "-p", "symbol=LIVE", "--json").out)
    assert (shown[0]["reason"], int(shown[0]["ticks"])) == ("price", 7)
    assert {row["reason"]: row["refused"] for row in shown}["locked"] is False
    assert json.loads(shown[0]["sample"]) == {
        "symbol": "LIVE", "ts_event_ns": T + 1, "seq": 2, "price": "0", "size": "1",
    }  # fmt: skip

    last = [record for record in asyncio.run(read(settings, LAST)) if record.key == b"LIVE"]
    assert json.loads(last[-1].value or b"")["last"] == "50.01"

    done = run("import", "synthetic", "--symbols", "MADE", "--seconds", "2", "--shift", "none")
    assert done.code == 0
    again = run("import", "synthetic", "--symbols", "MADE", "--seconds", "2", "--shift", "none")
    assert again.code == 0
    assert refused_of(settings, "MADE", {"duplicate": 2000}) == {"duplicate": 2000}
