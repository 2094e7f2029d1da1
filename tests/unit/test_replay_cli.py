"""`replay` on files, without any service."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.cli.inputs import Item
from streams.cli.main import main
from streams.cli.replay_source import SAMPLE, file_ticks
from streams.cli.tick_source import TickSource
from streams.domain.tick_times import time_ns
from streams.models.market import Quote, Trade
from tests.builders import submit

Run = Callable[..., dict[str, Any]]
#: 2013-10-07, 09:30 in New York: the sample begins.
OPEN_NS = 1_381_152_600 * 10**9


@pytest.fixture
def orders(tmp_path: Path) -> str:
    """Return a file of recorded orders."""
    rows = [
        submit(
            order_id=f"o{number}",
            symbol=("AIG", "BAC", "IBM")[number % 3],
            side="sell" if number > 2 else "buy",
            type="market",
            ts_event_ns=OPEN_NS + (10 + number * 5) * 10**9,
        )
        for number in range(6)
    ]
    file = tmp_path / "orders.jsonl"
    file.write_text("".join(row.model_dump_json(exclude_none=True) + "\n" for row in rows))
    return str(file)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs `replay` with arguments, and gives its JSON and exit code."""
    monkeypatch.setenv("ORDERFLOW_DATA_DIR", str(tmp_path / "data"))

    def call(*arguments: str, code: int = 0) -> dict[str, Any]:
        with pytest.raises(SystemExit) as ended:
            main(["replay", *arguments])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == code, err
        return dict(json.loads(out)) if out.startswith("{") else {"err": err}

    return call


def short(tmp_path: Path) -> str:
    """Return a file with the sample's first ticks."""
    file = tmp_path / "short.parquet"
    pq.write_table(pq.read_table(SAMPLE).slice(0, 6_000), file)
    return str(file)


def files_of(folder: str) -> dict[str, bytes]:
    """Return the bytes of all that a run consists of but of how it ran."""
    root = Path(folder)
    paths = [path for path in root.rglob("*") if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_two_runs_are_equal_to_the_byte(run: Run, tmp_path: Path, orders: str) -> None:
    """Records, report and page; what was run gives the folder its name."""
    file = short(tmp_path)
    one = run(file, "--orders", orders, "--json")
    first = files_of(one["folder"])
    other = run("run", file, "--orders", orders, "--speed", "max", "--json")
    assert other["folder"] == one["folder"]
    assert files_of(other["folder"]) == first
    assert {"report.json", "report.html", "records/orders.events.v1.jsonl.zst"} <= set(first)
    assert one["fills"] == 6
    assert one["round_trips"] == 3


def test_the_pace_changes_nothing(run: Run, tmp_path: Path, orders: str) -> None:
    """A multiple of event time is waited for; the result is that of `max`."""
    file = short(tmp_path)
    first = files_of(run(file, "--orders", orders, "--json")["folder"])
    paced = run(file, "--orders", orders, "--speed", "60x", "--json")
    span = json.loads(first["report.json"])["span"]
    seconds = time_ns(span["to"], "iso") - time_ns(span["from"], "iso") - 65 * 10**9
    assert paced["seconds"] >= seconds / 10**9 / 60
    assert files_of(paced["folder"]) == first


def test_the_page_stands_alone(run: Run, tmp_path: Path, orders: str) -> None:
    """Charts are inside; nothing is loaded from anywhere."""
    found = run(short(tmp_path), "--orders", orders, "--json")
    page = (Path(found["folder"]) / "report.html").read_text()
    assert page.count("<svg") == 5  # equity, drawdown, three symbols
    assert not re.search(r"https?:|<script|<link|src=|@import|url\(", page)
    assert found["result_hash"] in page


def test_other_options_are_another_run(run: Run, tmp_path: Path, orders: str) -> None:
    """`compare` says what changed, and where the records part."""
    file = short(tmp_path)
    run(file, "--orders", orders, "--name", "a", "--json")
    run(file, "--orders", orders, "--name", "b", "--param", "slippage_bps=20", "--json")
    found = run("compare", "a", "b", "--json")
    assert not found["equal"]
    assert found["options"] == {"slippage_bps": {"a": "0", "b": "20"}}
    assert found["figures"]["pnl"]["change"] < 0
    assert "orders.events.v1" in found["first_differences"]
    assert "market.bars.v1" not in found["first_differences"]
    assert run("compare", "a", "a", "--json")["equal"]


def test_times_and_symbols_are_chosen(run: Run, tmp_path: Path) -> None:
    """From a time until before another, some symbols."""
    whole = run(short(tmp_path), "--json")
    first = "2013-10-07T13:30:10Z"
    end = "2013-10-07T13:30:40Z"
    part = run(short(tmp_path), "--from", first, "--to", end, "--symbols", "AIG,BAC", "--json")
    report = json.loads((Path(part["folder"]) / "report.json").read_text())
    wanted = [
        tick
        for tick in file_ticks(short(tmp_path))
        if 10 <= (tick.ts_event_ns - OPEN_NS) / 1e9 < 40 and tick.symbol in {"AIG", "BAC"}
    ]
    assert 0 < report["span"]["ticks"] == len(wanted) < whole["ticks"]


def test_a_check_finds_no_look_ahead_in_the_agents(run: Run, tmp_path: Path, orders: str) -> None:
    """Cut runs have written the same up to the cut."""
    found = run("check", short(tmp_path), "--orders", orders, "--cuts", "2", "--json")
    assert found["look_ahead"] is False
    assert [row["difference"] for row in found["cuts"]] == [None, None]
    assert found["cuts"][1]["equal_records"] > 20


def test_a_sweep_shows_the_best_first(run: Run, tmp_path: Path, orders: str) -> None:
    """Every combination, in processes."""
    given = (short(tmp_path), "--orders", orders, "--jobs", "2", "--sort", "pnl", "--json")
    found = run("sweep", *given, "--param", "slippage_bps=0,30", "--param", "latency_ms=1")
    assert [row["params"]["slippage_bps"] for row in found["runs"]] == ["0", "30"]
    assert float(found["runs"][0]["pnl"]) > float(found["runs"][1]["pnl"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("no.parquet",), 3, "there is no file"),
        (("--latency-ms", "0"), 2, "trade at the tick"),
        (("--param", "speed=3"), 2, "NAME one of"),
        (("--from", "yesterday", "--source", "kafka"), 2, "--from"),
        (("--name", "../x"), 2, "no name of a run"),
        (("compare", "none", "none"), 3, "there is no run"),
        (("--to", "2013-10-07T13:00:00Z"), 3, "no tick and no order"),
    ],
)
def test_wrong_use_is_told(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    """With the exit codes of all commands."""
    assert said in run(*arguments, code=code)["err"]


def test_a_row_that_is_no_tick_ends_a_replay(run: Run, tmp_path: Path) -> None:
    """It is named as FILE:LINE."""
    file = tmp_path / "bad.csv"
    file.write_text("symbol,ts_event_ns,price,size\nAIG,5,1.00,1\nAIG,6,one,1\n")
    assert "bad.csv:3: price" in run(str(file), code=2)["err"]


def test_columns_give_the_ticks_that_rows_give(tmp_path: Path) -> None:
    """The fast reader of the sample's layout, to the last field and its digits."""
    table = pq.read_table(SAMPLE).slice(0, 3_000)
    file = tmp_path / "part.parquet"
    pq.write_table(table, file)
    rows = [item.message for item in TickSource([str(file)]).items() if isinstance(item, Item)]
    columns = list(file_ticks(str(file)))
    assert len(rows) == 3_000
    assert columns == rows
    assert [vars(one) for one in columns] == [vars(one) for one in rows]
    assert {type(one) for one in columns} == {Trade, Quote}
    assert all(list(vars(one)) == list(type(one).model_fields) for one in columns)


def test_odd_columns_are_read_row_by_row(run: Run, tmp_path: Path) -> None:
    """A negative price in a known layout is named, not taken for none."""
    table = pq.read_table(SAMPLE).slice(0, 50)
    prices = table.column("price_e4").to_pylist()
    place = next(at for at, price in enumerate(prices) if price is not None)
    prices[place] = -5
    at = table.schema.get_field_index("symbol")
    symbols = ["AIG" if n != place else "no symbol" for n in range(50)]
    table = table.set_column(at, "symbol", pa.array(symbols))
    file = tmp_path / "odd.parquet"
    pq.write_table(table, file)
    assert f"odd.parquet:{place + 1}: symbol" in run(str(file), code=2)["err"]


def test_a_strategy_is_tried_with_parameters(run: Run) -> None:
    """`--strategy` with `--param`, and a sweep over them; the report says how it stood."""
    given = ("--strategy", "ma_cross", "--param", "frame=1m")
    one = run(*given, "--param", "fast=1", "--param", "slow=2", "--json")
    report = json.loads((Path(one["folder"]) / "report.json").read_text())
    assert one["fills"] > 0
    assert report["strategies"]["ma_cross|AIG"]["status"] == "running"
    assert report["run"]["strategies"]["ma_cross"]["fast"] == "1"
    found = run("sweep", *given[:2], "--param", "fast=1,2", "--param", "slow=3", "--json")
    assert sorted(row["params"]["fast"] for row in found["runs"]) == ["1", "2"]


def test_a_strategy_that_cannot_run_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A parameter that it does not take; and a name that nobody has."""
    assert "ma_cross" in run("--strategy", "none", code=2)["err"]
    both = ("--strategy", "ma_cross", "--strategy", "mean_reversion", "--json")
    found = run(short(tmp_path), *both, "--param", "ma_cross.fast=3")
    report = json.loads((Path(found["folder"]) / "report.json").read_text())
    assert {row["status"] for row in report["strategies"].values()} == {"running"}
    monkeypatch.setenv("ORDERFLOW_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(SystemExit):
        main(["replay", short(tmp_path), "--strategy", "ma_cross", "--param", "fats=3"])
    assert "warning: strategy ma_cross|AIG failed" in capsys.readouterr().err
