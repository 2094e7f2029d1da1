"""Files to produce: three formats, bad rows named by number, and what goes out as bytes."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.cli.inputs import (
    BadRow,
    Item,
    Row,
    format_of,
    order_item,
    raw_order_item,
    read_rows,
    tick_item,
)
from streams.errors import NotFoundError, UsageError
from streams.topics import MARKET_QUOTES, MARKET_TRADES, MAX_RECORD_BYTES
from tests.builders import cancel, submit

SUBMIT = (
    b'{"command":"submit","order_id":"o1","account":"A1","symbol":"AIG","side":"buy",'
    b'"type":"limit","qty":"10","limit_price":"50.00"}'
)
BRACKET = submit(
    order_class="bracket", take_profit={"limit_price": "51"}, stop_loss={"stop_price": "49"}
)


def orders(path: Path, content: bytes) -> list[Item | BadRow]:
    """Return the items of a file with this content."""
    path.write_bytes(content)
    rows = read_rows(str(path), format_of(str(path), None))
    return [order_item(row) if isinstance(row, Row) else row for row in rows]


def test_json_lines_go_out_as_they_came(tmp_path: Path) -> None:
    """The line's own bytes are produced, whatever its spaces; blank lines count but are none."""
    spaced = SUBMIT.replace(b":", b" : ")
    items = orders(tmp_path / "o.jsonl", SUBMIT + b"\r\n\n" + spaced + b"  \n")
    assert [(item.number, getattr(item, "raw", None)) for item in items] == [
        (1, SUBMIT),
        (3, spaced),
    ]
    assert all(isinstance(item, Item) and item.message == submit() for item in items)


def test_bad_lines_are_named_and_the_next_go_on(tmp_path: Path) -> None:
    """Every bad line has its number and a reason of one line; the good ones stay."""
    lines = [
        SUBMIT,
        b"nonsense",
        SUBMIT.replace(b'"10"', b"10.5"),
        b"\xff\xfe",
        SUBMIT.replace(b'"qty"', b'"quantity"'),
        b"[" * 100_000,
        SUBMIT.replace(b"{", b"{" + b" " * MAX_RECORD_BYTES),  # an order, and too large
        SUBMIT,
    ]
    items = orders(tmp_path / "o.ndjson", b"\n".join(lines))
    reasons = {item.number: item.reason for item in items if isinstance(item, BadRow)}
    assert [item.number for item in items if isinstance(item, Item)] == [1, 8]
    assert set(reasons) == {2, 3, 4, 5, 6, 7}
    assert reasons[3] == "submit.qty: write decimals as JSON strings; a float is not exact"
    assert reasons[5] == "submit.quantity: Extra inputs are not permitted"
    assert not any("\n" in reason for reason in reasons.values())


def test_csv_columns_are_fields(tmp_path: Path) -> None:
    """Empty cells are absent, a dot goes into a part, a BOM and CRLF do not matter."""
    items = orders(
        tmp_path / "o.csv",
        b"\xef\xbb\xbfcommand,order_id,account,symbol,side,type,qty,limit_price,order_class,"
        b"take_profit.limit_price,stop_loss.stop_price,ts_event_ns\r\n"
        b"submit,o1,A1,AIG,buy,limit,10,50.00,,,,\r\n"
        b"submit,o1,A1,AIG,buy,limit,10,50.00,bracket,51,49,\r\n"
        b"cancel,o1,A1,,,,,,,,,17\r\n"
        b"submit,o2,A1,AIG,buy,limit,ten,50.00,,,,\r\n"
        b"cancel,o3\r\n"
        b"cancel,\xff,A1,,,,,,,,,\r\n",
    )
    good = [item.message for item in items if isinstance(item, Item)]
    assert good == [submit(), BRACKET, cancel(ts_event_ns=17)]
    assert [item.number for item in items if isinstance(item, BadRow)] == [5, 6, 7]
    assert items[4] == BadRow(6, "2 cells under 12 columns")


def test_parquet_columns_are_fields(tmp_path: Path) -> None:
    """Decimals and text are taken, floats are refused, nulls are absent."""
    head = {"command": "submit", "account": "A1", "symbol": "AIG", "side": "buy", "type": "limit"}
    rows = [
        head | {"order_id": "o1", "qty": Decimal("10.00"), "limit_price": "50.00"},
        head | {"order_id": "o2", "qty": Decimal("10.00"), "limit_price": "5e999"},
        {"command": "cancel", "account": "A1", "order_id": "o1"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "o.parquet")
    items = [order_item(r) for r in read_rows(str(tmp_path / "o.parquet"), "parquet")
             if isinstance(r, Row)]  # fmt: skip
    assert [getattr(item, "message", None) for item in items] == [submit(), None, cancel()]
    assert isinstance(items[1], BadRow)


def test_raw_lines_are_not_checked_but_keyed(tmp_path: Path) -> None:
    """--raw sends anything; the account is the key where there is one."""
    path = tmp_path / "o.jsonl"
    path.write_bytes(b'{"account":"A7","x":1}\nnonsense\n{"account":5}\n')
    items = [raw_order_item(r) for r in read_rows(str(path), "jsonl") if isinstance(r, Row)]
    assert [(i.key, i.raw) for i in items if isinstance(i, Item)] == [
        ("A7", b'{"account":"A7","x":1}'),
        (None, b"nonsense"),
        (None, b'{"account":5}'),
    ]
    assert raw_order_item(Row(4, "csv", cells={})) == BadRow(4, "--raw takes JSON lines only")


def test_ticks_go_to_the_topic_of_their_kind() -> None:
    """A trade and a quote part ways; both are keyed by symbol."""
    trade = tick_item(Row(1, "jsonl", raw=b'{"symbol":"AIG","ts_event_ns":5,"price":"1","size":2}'))
    quote = tick_item(Row(2, "jsonl", raw=b'{"symbol":"AIG","ts_event_ns":5,"bid":"1"}'))
    assert isinstance(trade, Item)
    assert isinstance(quote, Item)
    assert (trade.topic, trade.key, trade.ts_event_ns) == (MARKET_TRADES, "AIG", 5)
    assert (quote.topic, quote.key, quote.ts_event_ns) == (MARKET_QUOTES, "AIG", 5)
    for raw in (b"[1]", b"7", b"{}", b'{"symbol":"AIG","ts_event_ns":5,"price":NaN,"size":1}'):
        assert isinstance(tick_item(Row(3, "jsonl", raw=raw)), BadRow)


@pytest.mark.parametrize(
    ("file", "given", "expected"),
    [
        ("a.jsonl", None, "jsonl"),
        ("a.JSON", None, "jsonl"),
        ("a.csv", None, "csv"),
        ("a.b/c.parquet", None, "parquet"),
        ("-", None, "jsonl"),
        ("a.csv", "jsonl", "jsonl"),  # what is given goes before the suffix
    ],
)
def test_format_follows_from_the_suffix(file: str, given: None, expected: str) -> None:
    """The suffix decides unless the format is given."""
    assert format_of(file, given) == expected


def test_files_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    """No such file, no known suffix, no Parquet: each says so before anything is produced."""
    (tmp_path / "x.parquet").write_bytes(b"not parquet")
    with pytest.raises(NotFoundError, match="there is no file"):
        list(read_rows(str(tmp_path / "absent.csv"), "csv"))
    with pytest.raises(UsageError, match="no Parquet"):
        list(read_rows(str(tmp_path / "x.parquet"), "parquet"))
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_rows(str(tmp_path), "csv"))
    with pytest.raises(UsageError, match="--format"):
        format_of("orders.txt", None)


def test_a_line_that_is_no_csv_is_named(tmp_path: Path) -> None:
    """A cell beyond what a CSV reader takes is a bad row, and the next one goes on."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"symbol,ts_event_ns,price,size\nAIG,5," + b"9" * 200_000 + b",1\nAIG,6,1,1\n")
    items = [tick_item(r) if isinstance(r, Row) else r for r in read_rows(str(path), "csv")]
    assert [(item.number, isinstance(item, Item)) for item in items] == [(2, False), (3, True)]
    assert isinstance(items[0], BadRow)
    assert items[0].reason.startswith("no line of CSV: field larger")


def test_json_numbers_of_ticks_keep_their_digits() -> None:
    """What is written is what counts, not the float nearest to it."""
    raw = b'{"symbol":"AIG","ts_event_ns":5,"price":0.1000000000,"size":3}'
    item = tick_item(Row(1, "jsonl", raw=raw.replace(b"0000,", b"0001,").replace(b"0.1", b"0.01")))
    assert isinstance(item, BadRow)  # more than nine places
    exact = tick_item(Row(1, "jsonl", raw=raw.replace(b"0.1000000000", b"0.100000001")))
    assert isinstance(exact, Item)
    assert getattr(exact.message, "price", None) == Decimal("0.100000001")
