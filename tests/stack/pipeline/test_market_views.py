"""Last prices, bars and strategies on the web, and the chart of them: from the outside."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from streams.models.controls import Limits, StrategyControl
from streams.models.market import Bar
from streams.partitioner import partition_of
from tests.builders import SECOND
from tests.stack.pipeline.running import TRADES, Pipeline, tick_of
from tests.stack.plain import Answer, Raw, get, produce, query, read, wait_until

PROBLEM = "application/problem+json"
#: On three of four partitions, so that neither of two workers has all of them.
SYMBOLS = ("MVA", "MV/A", "MV/C")


async def prints(pipeline: Pipeline, symbol: str, *pairs: tuple[int, str]) -> None:
    """Publish prints: how many seconds from now, and the price."""
    now = time.time_ns()
    await produce(
        pipeline.settings,
        TRADES,
        [
            tick_of(symbol, price=price, size="100", ts_event_ns=now + at_s * SECOND)
            for at_s, price in pairs
        ],
    )


async def ask(pipeline: Pipeline, path: str, index: int = 0, role: str = "market") -> Answer:
    """Ask a view of a worker."""
    return await get(pipeline.workers.running[f"{role}-{index}"].port, path)


def path_of(symbol: str, *parts: str) -> str:
    """Return the path of a symbol's view."""
    return "/".join(("/symbols", quote(symbol, safe=""), *parts))


async def newest_bars(pipeline: Pipeline, symbol: str, frame: str) -> list[dict[str, Any]]:
    """Return the newest revision of each bar on the topic, the newest bar first."""
    found: dict[int, dict[str, Any]] = {}
    for record in await read(pipeline.settings, "market.bars.v1"):
        bar = Bar.model_validate_json(record.value or b"")
        if (bar.symbol, bar.frame) == (symbol, frame):
            found[bar.ts_start_ns] = bar.model_dump(mode="json", exclude_none=True)
    return [found[start] for start in sorted(found, reverse=True)]


async def test_recent_bars_of_any_symbol_from_any_worker(pipeline: Pipeline) -> None:
    """What is on the topic, newest first; the worker that owns the symbol answers for the other."""
    assert len({partition_of(symbol.encode(), 4) for symbol in SYMBOLS}) == 3
    await pipeline.ensure("market", 2)
    steps = [(20 * number - 400, f"49.{number:02}") for number in range(18)]
    for symbol in SYMBOLS:
        await prints(pipeline, symbol, *steps)
    owned = [await _bars_partitions(pipeline, index) for index in (0, 1)]
    assert owned[0].isdisjoint(owned[1])
    assert owned[0] | owned[1] == {0, 1, 2, 3}
    for symbol in SYMBOLS:
        wanted = await wait_until(
            partial(newest_bars, pipeline, symbol, "1m"), lambda bars: len(bars) >= 4
        )
        for index in (0, 1):
            view = partial(ask, pipeline, path_of(symbol, "bars", "1m"), index)
            seen = await wait_until(view, lambda answer: answer.status == 200)
            assert seen.body["items"] == wanted
            older = f"./orderflow query bars_as_of -p symbol={symbol} -p frame=1m"
            assert seen.body["older"] == older
            two = await ask(pipeline, path_of(symbol, "bars", "1m?limit=2"), index)
            assert two.body["items"] == wanted[:2]
    await _what_is_not_there(pipeline)


async def _bars_partitions(pipeline: Pipeline, index: int) -> set[int]:
    (table,) = [
        one for one in (await ask(pipeline, "/tables", index)).body if one["name"] == "bars"
    ]
    return set(table["partitions"])


async def _what_is_not_there(pipeline: Pipeline) -> None:
    """Unknown symbols and frames are 404 with what is known, no frames at all 400."""
    for index in (0, 1):
        for path, status, text in (
            ("/symbols/NONE/bars/1m", 404, "no trade of NONE has come"),
            ("/symbols/NONE/last", 404, "MVA"),
            ("/symbols/MVA/bars/7m", 404, "there are 1m, 5m, 1h, 1d"),
            ("/symbols/MVA/bars/minute", 400, "'minute' is no frame; write 1s, 5m"),
            ("/symbols/MVA/bars/1m?limit=0", 400, "from 1 to 1000"),
            ("/strategies?limit=x", 400, "from 1 to 1000"),
        ):
            seen = await ask(pipeline, path, index)
            assert (path, seen.status, seen.kind) == (path, status, PROBLEM)
            assert text in seen.body["detail"]


async def test_last_prices_say_how_old_they_are(pipeline: Pipeline) -> None:
    """The print and the quote each have an age; past the limit it says stale, in every role."""
    await prints(pipeline, "MVS", (-1000, "49.00"))
    await prints(pipeline, "MVQ", (-1000, "48.00"))
    await pipeline.quote("MVQ", "49.00", "49.20")
    for role in ("market", "orders"):
        view = partial(ask, pipeline, "/symbols/MVQ/last", 0, role)
        seen = await wait_until(view, lambda one: one.status == 200 and "mid" in one.body)
        body = seen.body
        assert [body[name] for name in ("last", "bid", "ask", "mid")] == [
            "48.00", "49.00", "49.20", "49.10",
        ]  # fmt: skip
        assert (body["price"], body["stale"]) == ("49.10", False)
        assert 1000 <= body["last_age_s"] < 1100
        assert 0 <= body["quote_age_s"] == body["age_s"] < 100

        view = partial(ask, pipeline, "/symbols/MVS/last", 0, role)
        body = (await wait_until(view, lambda one: one.status == 200)).body
        assert (body["price"], body["stale"], body["max_price_age_s"]) == ("49.00", True, "900")

        listed = (await ask(pipeline, "/symbols?limit=1&after=MVP", 0, role)).body
        assert [(one["symbol"], one["stale"]) for one in listed["items"]] == [("MVQ", False)]
        assert listed["next"] == "MVQ"
    await _known_after_a_restart(pipeline)


async def _known_after_a_restart(pipeline: Pipeline) -> None:
    """A worker that starts goes on from what was published: a quote does not end the print."""
    for name in [name for name in pipeline.workers.running if name.startswith("market")]:
        await pipeline.restart("market", int(name.rpartition("-")[2]), {})
    await pipeline.quote("MVQ", "49.02", "49.22")
    view = partial(ask, pipeline, "/symbols/MVQ/last")
    seen = await wait_until(view, lambda one: one.status == 200 and one.body["mid"] == "49.12")
    assert (seen.body["last"], seen.body["stale"]) == ("48.00", False)
    assert seen.body["last_age_s"] >= 1000


async def test_strategies_on_every_worker(pipeline: Pipeline) -> None:
    """Each market worker knows all of them, as they stand."""
    await pipeline.ensure("market", 2)
    states = [
        {
            "strategy": strategy, "symbol": symbol, "implementation": "ma_cross",
            "version": version, "status": status, "ts_updated_ns": time.time_ns(),
        }
        for strategy, symbol, version, status in (
            ("fast", "MVA", 1, "running"),
            ("fast", "MVB", 1, "running"),
            ("slow", "MVA", 1, "running"),
            ("slow", "MVA", 2, "failed"),
        )
    ]  # fmt: skip
    keys = [f"{state['strategy']}|{state['symbol']}".encode() for state in states]
    records = [Raw(json.dumps(one).encode(), key) for one, key in zip(states, keys, strict=True)]
    await produce(pipeline.settings, "strategies.updates.v1", records)
    for index in (0, 1):
        view = partial(ask, pipeline, "/strategies", index)
        found = (await wait_until(view, lambda one: len(one.body["items"]) == 3)).body["items"]
        assert [(one["strategy"], one["symbol"], one["status"]) for one in found] == [
            ("fast", "MVA", "running"), ("fast", "MVB", "running"), ("slow", "MVA", "failed"),
        ]  # fmt: skip
        some = (await ask(pipeline, "/strategies?symbol=MVA", index)).body["items"]
        assert [one["strategy"] for one in some] == ["fast", "slow"]
        page = (await ask(pipeline, "/strategies?limit=2", index)).body
        rest = (await ask(pipeline, f"/strategies?after={quote(page['next'])}", index)).body
        assert [one["strategy"] for one in rest["items"]] == ["slow"]


async def test_a_stale_mark_is_said_to_be_stale(pipeline: Pipeline) -> None:
    """By the account's own limit; quotes that go on do not make the print younger."""
    await pipeline.instruments("MVP")
    await pipeline.controls(Limits(scope="MV1", max_price_age_s="60"), Limits(scope="MV2"))
    await prints(pipeline, "MVP", (-70, "49.05"))
    await pipeline.quote("MVP", "49.00", "49.10")
    for account in ("MV1", "MV2"):
        await pipeline.order(order_id="o", account=account, symbol="MVP")
        await pipeline.position(account, "MVP", "100")
    views = [(await pipeline.view(f"/accounts/{one}/positions/MVP")).body for one in ("MV1", "MV2")]
    assert [(one["mark_px"], one["mid"], one["stale"]) for one in views] == [
        ("49.05", "49.05", True), ("49.05", "49.05", False),
    ]  # fmt: skip
    assert all(70 <= one["mark_age_s"] < 170 for one in views)
    money = [(await pipeline.view(f"/accounts/{one}")).body for one in ("MV1", "MV2")]
    assert [one["stale_marks"] for one in money] == [1, 0]

    await pipeline.order(order_id="high", account="MV2", symbol="MVP", limit_price="59.00")
    text = (await pipeline.refusal("MV2", "high"))["text"]
    assert re.fullmatch(r"limit_price .* than the last price 49\.05 \([0-9.]+ s old\)", text)
    await pipeline.order(order_id="high", account="MV1", symbol="MVP", limit_price="59.00")
    text = (await pipeline.refusal("MV1", "high"))["text"]  # its print is too old, the quote is not
    assert re.fullmatch(r"limit_price .* and ask's middle 49\.05 \([0-9.]+ s old\)", text)


async def run(pipeline: Pipeline, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command where there is no terminal."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "streams", *arguments],
        env=os.environ | pipeline.settings.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


async def test_the_chart_of_bars_and_fills(pipeline: Pipeline, tmp_path: Path) -> None:
    """Bars of the history and the fill on its bar: as text, as a page, as JSON."""
    await pipeline.instruments("MVC")
    await prints(pipeline, "MVC", (-180, "49.00"), (-120, "49.40"), (-60, "49.20"))
    await pipeline.quote("MVC", "49.00", "49.10")
    await pipeline.order(order_id="o", account="MV3", symbol="MVC")
    await pipeline.position("MV3", "MVC", "100")
    await prints(pipeline, "MVC", (0, "49.10"), (90, "49.10"))
    count = "select (select count() from bars where symbol = 'MVC' and frame = '1m'),"
    count += " (select count() from fills where symbol = 'MVC')"
    await wait_until(
        lambda: query(pipeline.settings, count), lambda rows: rows[0][0] >= 4 and rows[0][1] == 1
    )

    text = await run(pipeline, "chart", "MVC", "--width", "60")
    assert (text.returncode, text.stderr) == (0, "")
    assert re.match(r"MVC 1m: [45] bars from .* UTC; ▲ bought 100 in 1 fill\n", text.stdout)
    assert len(text.stdout.splitlines()) == 1 + 20 + 3 + 1
    assert "\x1b" not in text.stdout
    assert text.stdout.count("▲") == 2  # above the chart, and in it

    file = tmp_path / "mvc.html"
    page = await run(pipeline, "chart", "MVC", "--account", "MV3", "--html", str(file))
    assert (page.returncode, page.stderr) == (0, "")
    written = file.read_text()
    assert written.count("<polygon") == 1
    assert "buy 100 at 49.1" in written
    assert "http" not in written

    other = await run(pipeline, "chart", "MVC", "--account", "NOBODY", "--json")
    found = json.loads(other.stdout)
    assert (len(found["bars"]) >= 4, found["fills"]) == (True, [])
    assert {bar["close"] for bar in found["bars"]} >= {"49", "49.4", "49.2", "49.1"}

    for arguments, code, said in (
        (("MVC", "--frame", "2m"), 3, "no 2m bars of MVC in that span; there are "),
        (("NOPE",), 3, "the history has no bars of NOPE; it has those of "),
        (("MVC", "--to", "2020-01-01"), 3, "no 1m bars of MVC in that span; there are "),
        (("MVC", "--frame", "x"), 2, "--frame: 'x' is no frame"),
        (("MVC", "--html", str(tmp_path)), 2, "cannot be written: Is a directory"),
    ):
        failed = await run(pipeline, "chart", *arguments)
        assert (arguments, failed.returncode, failed.stdout) == (arguments, code, "")
        assert said in failed.stderr


async def decisions(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the rows of the query for the strategy `mvd`."""
    asked = await run(pipeline, "query", "decisions", "-p", "strategy=mvd", "--json")
    assert asked.stderr == ""
    return list(json.loads(asked.stdout))


async def test_a_decision_with_its_cause_and_its_fills(pipeline: Pipeline) -> None:
    """A program's signal on a print: allocated, ordered, filled, and told as one row."""
    await pipeline.instruments("MVD")
    control = StrategyControl(scope="mvd", account="MV5", qty=Decimal(50))
    (written,) = await pipeline.controls(control)
    for worker in pipeline.running("market"):
        ready = partial(get, worker.port, "/health/ready")
        await wait_until(
            ready, lambda seen: seen.body.get("controls_version", 0) >= written.version
        )
    await pipeline.quote("MVD", "49.00", "49.10")
    (cause,) = await produce(pipeline.settings, TRADES, [tick_of("MVD", price="49.05", size="7")])
    now = time.time_ns()
    signal = {
        "signal_id": "mvd-1", "strategy": "mvd", "symbol": "MVD", "strength": "1",
        "cause_topic": TRADES, "cause_partition": cause.partition, "cause_offset": cause.offset,
        "ts_event_ns": now - 2 * SECOND, "ts_init_ns": now,
    }  # fmt: skip
    await produce(pipeline.settings, "signals.v1", [Raw(json.dumps(signal).encode(), b"MVD")])
    (row,) = await wait_until(
        partial(decisions, pipeline),
        lambda rows: rows and rows[0]["filled_qty"] == "50" and rows[0]["allocations"],
    )
    assert (row["signal_id"], row["strength"], row["refusals"]) == ("mvd-1", "1", [])
    assert re.fullmatch(r"print 2.* 7 at 49\.05", row["cause"])
    (allocation,) = row["allocations"]
    account, _, allocation_id = allocation.partition("|")
    assert account == "MV5"
    assert row["orders"] == [f"MV5|al:{allocation_id}:MVD:1"]
    assert row["avg_px"] == "49.1"
