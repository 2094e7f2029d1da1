"""An INSERT is parted from its data exactly where ClickHouse does it."""

import pytest

from streams.dev.bodies import decoded
from streams.dev.clickhouse_sql import (
    ClickHouseError,
    InsertData,
    changes_session,
    engine_error,
    is_select,
    quote,
    split_insert,
    tail_of_error,
    trailing_format,
)


@pytest.mark.parametrize(
    ("sql", "statement", "format_", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1\n", b"INSERT INTO t ", "CSV", b"1\n"),
        (b"insert into t format CSV  \r\n1\n", b"insert into t ", "CSV", b"1\n"),  # to line's end
        (b"INSERT INTO t FORMAT CSV 1\n", b"INSERT INTO t ", "CSV", b"1\n"),  # on the same line
        (b"INSERT INTO t FORMAT Native\n\n\x01", b"INSERT INTO t ", "Native", b"\n\x01"),  # one \n
        (b"INSERT INTO t VALUES (1)", b"INSERT INTO t ", "Values", b" (1)"),
        (b"INSERT INTO t (format, values) VALUES (1)", b"INSERT INTO t (format, values) ",
         "Values", b" (1)"),  # words inside brackets are names
        (b"INSERT INTO `a FORMAT b` FORMAT TSV\n1", b"INSERT INTO `a FORMAT b` ", "TSV", b"1"),
        (b"/* FORMAT x */ INSERT INTO t -- VALUES\n FORMAT TSV\n1",
         b"/* FORMAT x */ INSERT INTO t -- VALUES\n ", "TSV", b"1"),  # nor in comments
        (b"INSERT INTO t SETTINGS async_insert=0 FORMAT Arrow\nARROW1",
         b"INSERT INTO t SETTINGS async_insert=0 ", "Arrow", b"ARROW1"),
        (b"INSERT INTO t FORMAT Values (1)", b"INSERT INTO t ", "Values", b" (1)"),
        (b"INSERT INTO t FORMAT CSV", b"INSERT INTO t ", "CSV", b""),  # no row
    ],
)  # fmt: skip
def test_an_insert_is_parted_from_its_data(
    sql: bytes, statement: bytes, format_: str, data: bytes
) -> None:
    """Statement, format and data, byte for byte."""
    assert split_insert(sql) == InsertData(statement, format_, data)


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT 1 FORMAT CSV",
        b"INSERT INTO t SELECT 1",  # its rows come from a query
        b"INSERT INTO t WITH 1 AS a SELECT a FORMAT CSV",
        b"INSERT INTO t FROM INFILE 'x.csv' FORMAT CSV",  # and here from a file
        b"CREATE TABLE values (a UInt8) ENGINE = Memory",
        b"",
    ],
)
def test_what_carries_no_data_is_left_whole(sql: bytes) -> None:
    """The engine runs these as they are."""
    assert split_insert(sql) is None


@pytest.mark.parametrize(
    ("sql", "format_"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1\n FORMAT Native\n;\n", "Native"),
        (b"SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "CSV"),
        (b"SELECT 'FORMAT JSON'", None),
        (b"SELECT format FROM t", None),
    ],
)
def test_a_query_s_own_format_is_seen(sql: bytes, format_: str | None) -> None:
    """Only a FORMAT at the end counts."""
    assert trailing_format(sql) == format_


def test_kinds_of_statement() -> None:
    """Selects are streamed; what changes the connection costs it its place in the pool."""
    assert [is_select(sql) for sql in (b"/* a */ (SELECT 1)", b"with 1 as a select a")] == [
        True
    ] * 2
    assert [is_select(sql) for sql in (b"DESCRIBE TABLE t", b"SHOW TABLES", b"")] == [False] * 3
    assert changes_session(b" set max_threads = 1")
    assert not changes_session(b"SELECT 'SET x'")


def test_errors_are_numbered() -> None:
    """The number is read from chDB's text; what has none is an unknown exception."""
    known = engine_error(RuntimeError("Streaming failed: Code: 60. DB::Exception: no table"))
    assert (known.code, known.status, known.text) == (60, 404, "Code: 60. DB::Exception: no table")
    unknown = engine_error(RuntimeError("odd"))
    assert (unknown.code, unknown.text) == (1002, "Code: 1002. DB::Exception: odd")


def test_an_error_in_mid_answer_is_framed_by_its_tag() -> None:
    """The length counts the message with its line end, in bytes."""
    message = "Code: 395. DB::Exception: é\n".encode()
    expected = b"\r\n__exception__\r\nabc\r\n" + message + b"29 abc\r\n__exception__\r\n"
    assert tail_of_error(ClickHouseError(395, "é"), "abc") == expected


def test_text_is_quoted() -> None:
    """Neither a quote nor a backslash ends the literal."""
    assert quote("it's \\") == r"'it\'s \\'"


def test_an_unknown_or_broken_compression_is_an_error() -> None:
    """A body that cannot be read is not taken for a statement."""
    with pytest.raises(ClickHouseError, match="snappy"):
        decoded(b"x", "snappy")
    with pytest.raises(ClickHouseError, match="not gzip"):
        decoded(b"x", "gzip")
