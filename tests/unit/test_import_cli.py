"""`import` without Kafka: layouts, bad rows by file and line, previews, dry runs, compression."""

import gzip
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.cli.main import main
from streams.cli.producing import progress_text
from streams.cli.tick_source import TickSource

ROWS = [
    ("2013-10-07T13:30:00.019Z", "49.05", "100"),
    ("2013-10-07T13:30:00.020Z", "0", "100"),
    ("2013-10-07T13:30:01Z", "ninety", "100"),
    ("2013-10-07T13:30:02Z", "60.00", "100"),
    ("2013-10-07T13:30:03Z", "49.06", "10"),
]
CSV = "time,px,qty\n" + "".join(",".join(row) + "\n" for row in ROWS)
MAPPED = ("--map", "ts_event_ns=time", "--map", "price=px", "--map", "size=qty", "--symbol", "AIG")
OWN = b'{"symbol":"BAC","ts_event_ns":5,"price":"13.91","size":"1"}\n'


class Output(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Output]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs `import` with arguments."""

    def call(*arguments: str) -> Output:
        with pytest.raises(SystemExit) as ended:
            main(["import", *arguments])
        out, err = capsys.readouterr()
        return Output(int(ended.value.code or 0), out, err)

    return call


def zstd(data: bytes) -> bytes:
    """Return data as zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return bytes(sink.getvalue().to_pybytes())


def written(folder: Path, name: str, content: bytes) -> str:
    """Return the path of a file with this content."""
    path = folder / name
    path.write_bytes(content)
    return str(path)


def parquet(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> bytes:
    """Return rows as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue()


def test_bad_rows_are_named_by_file_and_line(run: Run, tmp_path: Path) -> None:
    """What is no tick and what a check refuses, counted by reason; the next file goes on."""
    first = written(tmp_path, "a.csv", CSV.encode())
    second = written(tmp_path, "b.csv", CSV.replace("49.0", "49.1").encode())
    done = run(first, second, *MAPPED, "--dry-run", "--json")
    summary = json.loads(done.out)
    named = [line.removeprefix(str(tmp_path) + "/") for line in done.err.splitlines()]
    assert done.code == 6
    assert [line.partition(": ")[0] for line in named] == [
        *("a.csv:3", "a.csv:4", "a.csv:5"),
        *("b.csv:2", "b.csv:3", "b.csv:4", "b.csv:5", "b.csv:6"),
    ]
    assert named[0] == (
        "a.csv:3: price: a price that is zero, negative or absurd; AIG size=100 seq=3"
    )
    assert named[1] == "a.csv:4: price: Input should be a valid decimal"
    assert named[2].startswith("a.csv:5: far_off: a print too far from the last one; AIG price=60")
    assert summary["refused"] == {"price": 1, "bad_row": 2, "far_off": 1, "duplicate": 4}
    assert (summary["records"], summary["bad_lines"]) == (2, 8)
    assert summary["last"] == {"file": first, "line": 6}
    assert summary["layouts"] == {first: "given", second: "given"}


def test_unchecked_leaves_out_only_what_is_no_tick(run: Run, tmp_path: Path) -> None:
    """The consumers will refuse the rest, and count it."""
    file = written(tmp_path, "a.csv", CSV.encode())
    summary = json.loads(run(file, *MAPPED, "--dry-run", "--json", "--unchecked").out)
    assert (summary["records"], summary["refused"]) == (4, {"bad_row": 1})


def test_layouts_are_told_per_file(run: Run, tmp_path: Path) -> None:
    """A file of an unknown one is named once, and the others are taken."""
    files = [
        written(tmp_path, "own.jsonl", OWN),
        written(tmp_path, "other.csv", b"a,b\n1,2\n3,4\n"),
        written(tmp_path, "alpaca.jsonl", b'{"S":"A","t":"2021-02-22T15:51:44Z","p":1.5,"s":1}\n'),
    ]
    done = run(*files, "--dry-run", "--json")
    summary = json.loads(done.out)
    assert summary["layouts"] == {files[0]: "orderflow", files[2]: "alpaca"}
    assert (summary["records"], summary["bad_lines"]) == (2, 1)
    assert f"{files[1]}:2: columns a, b are no known layout" in done.err


def test_a_preview_shows_rows_as_read(run: Run, tmp_path: Path) -> None:
    """Of each file the first ones: the ticks, and what would be refused and why."""
    file = written(tmp_path, "a.csv", CSV.encode())
    own = written(tmp_path, "own.jsonl", OWN * 9)
    rows = json.loads(run(file, *MAPPED, "--preview", "2", "--json").out)
    assert rows[0] == {
        "file": file, "line": 2, "kind": "trade", "time": "2013-10-07T13:30:00.019000000Z",
        "symbol": "AIG", "seq": 2, "exchange": "", "conditions": "", "price": "49.05",
        "size": "100", "suspicious": False, "canceled": False, "verdict": "ok",
    }  # fmt: skip
    assert (rows[1]["line"], rows[1]["verdict"][:6]) == (3, "price:")
    assert len(json.loads(run(own, own, "--preview", "2", "--json").out)) == 4
    shown = run(own, "--preview", "1").out
    assert "13.91" in shown
    assert "BAC" in shown


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.csv", bytes),
        ("a.csv.gz", gzip.compress),
        ("a.csv.zst", zstd),
        ("a.CSV.GZ", gzip.compress),
    ],
)
def test_compressed_files(
    run: Run, tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    """The suffix before the last one says the format."""
    done = run(written(tmp_path, name, pack(CSV.encode())), *MAPPED, "--dry-run", "--json")
    assert json.loads(done.out)["records"] == 2


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstd)])
def test_a_damaged_file_ends_where_it_is_damaged(
    run: Run, tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    """The rows before are taken, the place is named, the next file goes on."""
    lines = b"".join(OWN.replace(b":5,", b":%d," % n) for n in range(20_000))
    cut = written(tmp_path, f"cut.jsonl{suffix}", pack(lines)[:-3000])
    whole = written(tmp_path, "whole.jsonl", OWN.replace(b"BAC", b"IBM"))
    done = run(cut, whole, "--dry-run", "--json")
    summary = json.loads(done.out)
    assert done.code == 6
    assert 1_000 < summary["records"] < 20_001
    assert summary["last"]["file"] == whole
    assert "the file is damaged here" in done.err


def test_parquet_times_and_floats(run: Run, tmp_path: Path) -> None:
    """Timestamps keep their nanoseconds; without a zone, and as floats, the user has to say."""
    schema = pa.schema([
        ("time", pa.timestamp("ns", "America/New_York")), ("local", pa.timestamp("us")),
        ("exact", pa.decimal128(10, 4)), ("rough", pa.float64()), ("size", pa.int64()),
    ])  # fmt: skip
    row = {
        "time": 1_381_152_600_019_000_001, "local": 1_381_138_200_019_000,
        "exact": Decimal("49.0500"), "rough": 49.05, "size": 100,
    }  # fmt: skip
    file = written(tmp_path, "a.parquet", parquet([row], schema))

    def first(*options: str) -> dict[str, Any]:
        rows = json.loads(run(file, "--symbol", "AIG", "--preview", "1", "--json", *options).out)
        found: dict[str, Any] = rows[0]
        return found

    exact = first("--map", "ts_event_ns=time", "--map", "price=exact")
    assert (exact["time"], exact["price"]) == ("2013-10-07T13:30:00.019000001Z", "49.0500")
    local = ("--map", "ts_event_ns=local", "--map", "price=rough")
    assert "names no zone" in first(*local)["verdict"]
    zoned = (*local, "--zone", "America/New_York")
    assert "a float is not exact" in first(*zoned)["verdict"]
    rough = first(*zoned, "--decimals", "2")
    assert (rough["time"], rough["price"]) == ("2013-10-07T13:30:00.019000000Z", "49.05")


def test_going_on_where_an_import_ended(run: Run, tmp_path: Path) -> None:
    """Lines keep their numbers, and so the ticks theirs."""
    file = written(tmp_path, "a.csv", CSV.encode())
    rows = json.loads(run(file, *MAPPED, "--from-line", "6", "--preview", "9", "--json").out)
    assert [(row["line"], row["seq"]) for row in rows] == [(6, 6)]
    done = json.loads(run(file, *MAPPED, "--from-line", "6", "--dry-run", "--json").out)
    assert (done["records"], done["bad_lines"]) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no-such.csv"], 3, "there is no file no-such.csv"),
        (["{own}", "--map", "cost=px"], 2, "FIELD one of symbol, ts_event_ns"),
        (["{own}", "--map", "price"], 2, "write FIELD=COLUMN"),
        (["{own}", "--zone", "Nowhere/Land"], 2, "is no zone"),
        (["{own}", "--speed", "fast", "--dry-run"], 2, "is no speed"),
        (["{own}.txt"], 3, "there is no file"),
        (["synthetic", "--symbols", "aig"], 2, "is no symbol"),
        (["synthetic", "--symbols", ","], 2, "name one symbol or more"),
        (["synthetic", "--start", "2026-01-05"], 2, "--start"),
    ],
)
def test_wrong_options(
    run: Run, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    """Each is an error of its own with the exit code of its kind."""
    own = written(tmp_path, "own.jsonl", OWN)
    done = run(*(one.replace("{own}", own) for one in arguments))
    assert done.code == code
    assert message in done.err


def test_synthetic_ticks_hold_the_checks(run: Run) -> None:
    """As many as asked for, and a preview of the same ones."""
    options = ("synthetic", "--seconds", "2", "--rate", "50", "--symbols", "AIG,XYZ")
    done = run(*options, "--dry-run", "--json", "--shift", "none")
    summary = json.loads(done.out)
    assert (done.code, summary["records"], summary["bad_lines"]) == (0, 100, 0)
    rows = json.loads(run(*options, "--preview", "3", "--json").out)
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert rows[0]["time"].startswith("2026-01-05T14:30:00.")


def test_the_share_that_was_read(tmp_path: Path) -> None:
    """It grows from 0 to 1 over all files; of standard input nothing is known."""
    files = [written(tmp_path, f"{n}.jsonl", OWN * 20_000) for n in range(2)]
    source = TickSource(files)
    shares = [source.done() for _ in source.items()]
    assert all(share is not None for share in shares)
    assert shares == sorted(shares, key=lambda share: share or 0)
    assert source.done() == 1
    assert (shares[0] or 0) < 0.2
    assert 0.4 < (shares[20_000] or 0) < 0.7
    assert TickSource(["-"]).done() is None


@pytest.mark.parametrize(
    ("seconds", "done", "text"),
    [
        (0.5, 0.1, "1,000 records, 2 bad lines"),  # too early to say
        (10.0, None, "1,000 records, 2 bad lines, 100/s"),
        (10.0, 0.1, "1,000 records, 2 bad lines, 100/s, 10%, ETA 1:30"),
        (10.0, 1.0, "1,000 records, 2 bad lines, 100/s, 100%, ETA 0:00"),
    ],
)
def test_progress(seconds: float, done: float | None, text: str) -> None:
    """A count, a rate, and what is left."""
    assert progress_text(1000, 2, seconds, done) == text
