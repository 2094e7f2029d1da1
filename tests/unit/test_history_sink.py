"""How the sink cuts records into blocks and names them; the rest needs ClickHouse."""

from connectors.clickhouse.history import _months, _token
from streams.ports import Record
from streams.topics import MARKET_TRADES
from tests.builders import record, trade

NOVEMBER, DECEMBER = 1_796_083_199_999, 1_796_083_200_000  # the last and the first millisecond


def made(*stamps: int, partition: int = 0, first: int = 0) -> list[Record]:
    """Return records with these timestamps."""
    return [
        record(trade(), MARKET_TRADES, first + number, partition=partition, timestamp_ms=stamp)
        for number, stamp in enumerate(stamps)
    ]


def test_blocks_are_runs_of_one_month() -> None:
    """The order is kept, so no block holds a later offset before an earlier one is stored."""
    mixed = made(NOVEMBER, DECEMBER, DECEMBER, NOVEMBER)
    assert [[each.offset for each in run] for run in _months(mixed)] == [[0], [1, 2], [3]]


def test_a_block_of_one_month_is_not_cut() -> None:
    """Timestamps within the month may go back and forth."""
    same = made(NOVEMBER, NOVEMBER - 5, NOVEMBER)
    assert (list(_months(same)), list(_months([]))) == ([same], [])


def test_a_token_names_the_offset_ranges_of_its_rows() -> None:
    """Equal tokens mean equal rows; what is left, or is sent again, has a token of its own."""
    block = made(NOVEMBER, NOVEMBER, NOVEMBER, first=5) + made(NOVEMBER, partition=2, first=9)
    assert _token(block[:3], block[:3], 0) == "market.trades.v1-0-5-7"
    assert _token(block, block, 0) == "market.trades.v1-0-5-7+2-9-9"
    left = [block[0], block[2]]  # 6 is held: the same range, other rows
    assert _token(block[:3], left, 0) == "market.trades.v1-0-5-7-left-2"
    assert _token(block[:3], block[:3], 2) == "market.trades.v1-0-5-7-again-2"
