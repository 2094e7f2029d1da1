"""The embedded ClickHouse answers ClickHouse's own client and plain HTTP as a server does."""

import asyncio
import base64
import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import clickhouse_connect
import cramjam
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from streams.settings import Settings
from tests.stack.http import ask, query

_COLUMNS = (
    "(id UInt64, price Decimal(38, 9), ts DateTime64(9, 'UTC'), note String, more Nullable(Int8))"
)
_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def client(stack: Settings) -> Iterator[Client]:
    """Yield ClickHouse's own client with an empty table `fills` in the database `shop`."""
    with clickhouse_connect.get_client(
        host=stack.clickhouse_host, port=stack.clickhouse_port, tz_mode="aware"
    ) as found:
        found.command("CREATE DATABASE IF NOT EXISTS shop")
        found.command(f"CREATE OR REPLACE TABLE shop.fills {_COLUMNS} ENGINE MergeTree ORDER BY id")
        yield found


def test_rows_keep_their_types(client: Client) -> None:
    """Decimals, nanosecond times, text beyond ASCII and nulls come back as they went in."""
    row = (1, Decimal("0.000000001"), _NOON, "é\t'", None)
    client.insert("shop.fills", [row])
    assert client.query("SELECT * FROM shop.fills").result_rows == [row]


def test_an_arrow_insert_is_one_block(client: Client) -> None:
    """A table of Arrow arrives as one part, with the nanoseconds of its times."""
    count = 100_000
    table = pa.table(
        {
            "id": pa.array(range(count), pa.uint64()),
            "price": pa.array([Decimal("1.5")] * count, pa.decimal128(38, 9)),
            "ts": pa.array([1_772_452_800_123_456_789] * count, pa.timestamp("ns", "UTC")),
        }
    )
    summary = client.insert_arrow("shop.fills", table, settings={"async_insert": 0})
    assert summary.written_rows == count
    found = client.query("SELECT count(), sum(price), toString(max(ts)) FROM shop.fills")
    assert found.result_rows == [(count, Decimal(150_000), "2026-03-02 12:00:00.123456789")]
    parts = "SELECT count() FROM system.parts WHERE database = 'shop' AND active"
    assert client.command(parts) == 1


def test_a_block_with_a_known_token_is_not_inserted_twice(client: Client) -> None:
    """`insert_deduplication_token` counts, as the history's sink relies on."""
    client.command("ALTER TABLE shop.fills MODIFY SETTING non_replicated_deduplication_window = 9")
    for note in ("first", "again"):
        client.insert(
            "shop.fills",
            [(1, note)],
            column_names=["id", "note"],
            settings={"insert_deduplication_token": "orders-0-0-9", "async_insert": 0},
        )
    assert client.query("SELECT note FROM shop.fills").result_rows == [("first",)]


def test_parameters_settings_and_database_hold_for_one_request(stack: Settings) -> None:
    """What one request sets is not there for the next, on whichever connection it runs."""
    sql = b"SELECT {x:UInt8}, getSetting('max_block_size'), currentDatabase()"
    set_here = {"param_x": "7", "max_block_size": "1000", "database": "system"}
    for _ in range(10):
        assert ask(stack, sql, **set_here).body == b"7\t1000\tsystem\n"
        assert ask(stack, sql, param_x="8").body == b"8\t65409\tdefault\n"
    assert ask(stack, b"SET max_block_size = 5").status == 200
    for _ in range(10):
        assert ask(stack, sql, param_x="9").body == b"9\t65409\tdefault\n"


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT * FROM nowhere", 60, 404),  # UNKNOWN_TABLE
        ("SELECTED 1", 62, 400),  # SYNTAX_ERROR
        ("SELECT nothing FROM system.one", 47, 404),  # UNKNOWN_IDENTIFIER
        ("SELECT 1 SETTINGS no_such = 1", 115, 404),  # UNKNOWN_SETTING
        ("INSERT INTO nowhere FORMAT CSV\n1\n", 60, 404),  # also with data behind it
        ("SELECT throwIf(1)", 395, 500),  # anything without a status of its own
    ],
)
def test_errors_carry_clickhouse_s_code(stack: Settings, sql: str, code: int, status: int) -> None:
    """Status, header and text are what ClickHouse answers."""
    answer = ask(stack, sql.encode())
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert answer.body.startswith(f"Code: {code}. DB::Exception: ".encode())


def test_the_client_gets_the_code_of_an_error(client: Client) -> None:
    """ClickHouse's own client reads it, also where the answer had begun."""
    with pytest.raises(DatabaseError) as early:
        client.query("SELECT * FROM nowhere")
    assert early.value.code == 60
    with pytest.raises(StreamFailureError, match="395"):
        _ = client.query("SELECT throwIf(number = 3000000) FROM numbers(4000000)").result_rows


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("lz4", lambda body: bytes(cramjam.lz4.compress(body))),
        ("zstd", lambda body: bytes(cramjam.zstd.compress(body))),
        ("br", lambda body: bytes(cramjam.brotli.compress(body))),
    ],
)
def test_a_body_may_be_compressed(
    stack: Settings, client: Client, encoding: str, compress: object
) -> None:
    """Statement and data may both be in a compressed body, or the statement in the URL."""
    assert callable(compress)
    headers = {"Content-Encoding": encoding}
    whole = b'INSERT INTO shop.fills FORMAT JSONEachRow\n{"id": 1, "price": "0.1"}\n'
    assert ask(stack, compress(whole), headers=headers).status == 200
    statement = "INSERT INTO shop.fills (id) FORMAT CSV"
    assert ask(stack, compress(b"2\n3\n"), headers=headers, query=statement).status == 200
    assert client.command("SELECT count() FROM shop.fills") == 3
    assert ask(stack, b"not compressed", headers=headers).status == 500


def test_formats_are_chosen_as_in_clickhouse(stack: Settings) -> None:
    """FORMAT in the query goes before the URL's default_format, that before tab separation."""
    assert ask(stack, b"SELECT 1 AS a").body == b"1\n"
    assert ask(stack, b"SELECT 1 AS a", default_format="JSONEachRow").body == b'{"a":1}\n'
    chosen = ask(stack, b"SELECT 1 AS a FORMAT CSV", default_format="JSONEachRow")
    assert (chosen.body, chosen.headers["X-ClickHouse-Format"]) == (b"1\n", "CSV")
    assert ask(stack, b"SELECT 1 FORMAT Arrow").body.startswith(b"ARROW1")


def test_get_reads_and_does_not_write(stack: Settings, client: Client) -> None:
    """A link in a page must not change data: GET runs what only reads."""
    assert ask(stack, method="GET", query="SELECT 1").body == b"1\n"
    for sql in ("INSERT INTO shop.fills (id) VALUES (1)", "DROP TABLE shop.fills"):
        assert ask(stack, method="GET", query=sql).status == 403
    assert client.command("SELECT count() FROM shop.fills") == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},  # a page of another site
        {"Host": "example.org"},  # a name that was made to lead here
    ],
)
def test_web_pages_are_refused(stack: Settings, headers: dict[str, str]) -> None:
    """A browser on this machine cannot be made to run SQL by a page it shows."""
    assert ask(stack, b"SELECT 1", headers=headers).status == 403


def test_credentials_are_checked(stack: Settings) -> None:
    """A wrong password is refused however it comes; the right user passes each way."""
    basic = base64.b64encode(b"default:wrong").decode()
    assert ask(stack, b"SELECT 1", headers={"Authorization": f"Basic {basic}"}).status == 403
    assert ask(stack, b"SELECT 1", headers={"X-ClickHouse-Key": "wrong"}).status == 403
    assert ask(stack, b"SELECT 1", user="nobody").status == 403
    assert ask(stack, b"SELECT 1", user="default").status == 200


def test_ping_and_an_empty_request_answer_ok(stack: Settings) -> None:
    """Health checks ask these."""
    assert ask(stack, method="GET", path="/ping").body == b"Ok.\n"
    assert ask(stack, method="GET").body == b"Ok.\n"


def test_a_large_result_arrives_whole(client: Client) -> None:
    """Block by block, in order, none missing."""
    found = client.query("SELECT number FROM numbers(1000000)")
    assert list(found.result_columns[0]) == list(range(1_000_000))


async def test_queries_run_side_by_side(stack: Settings) -> None:
    """More queries at a time than there are connections are all answered, each with its own."""
    async with await clickhouse_connect.get_async_client(
        host=stack.clickhouse_host, port=stack.clickhouse_port
    ) as client:
        answers = await asyncio.gather(
            *(client.query("SELECT {i:UInt8}", parameters={"i": i}) for i in range(40))
        )
    assert [one.result_rows[0][0] for one in answers] == list(range(40))


def test_values_and_selects_are_inserted(stack: Settings, client: Client) -> None:
    """VALUES with expressions, and INSERT SELECT, which carries no data."""
    query(stack, "INSERT INTO shop.fills (id, price) VALUES (1, 2.5), (1 + 1, '0.1')")
    query(stack, "INSERT INTO shop.fills (id) SELECT number + 10 FROM numbers(2)")
    found = query(stack, "SELECT id, price FROM shop.fills ORDER BY id")
    assert found == "1\t2.5\n2\t0.1\n10\t0\n11\t0\n"
