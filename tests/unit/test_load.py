"""The demo's load: the same for the same seed, and every record's fate is known."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from streams.load import (
    GARBAGE,
    MIX,
    RESTRICTED_SYMBOL,
    TYPES,
    UNKNOWN_SYMBOL,
    LoadCounts,
    LoadRecord,
    counts,
    mixed_orders,
)
from streams.models.controls import Limits
from streams.models.orders import Replace, Submit
from streams.topics import ORDERS_REQUESTED

ACCOUNTS = ("A1", "A2", "A3")
PRICES = {"AIG": Decimal("49.05"), "BAC": Decimal("13.91"), "IBM": Decimal("181.90")}
N = 4_000


def load(seed: int = 7, n: int = N) -> list[LoadRecord]:
    """Return a load of three accounts and symbols."""
    return mixed_orders(seed, n, ACCOUNTS, tuple(PRICES), PRICES)


def command(record: LoadRecord) -> Submit:
    """Return the record's command."""
    decoded: Submit = ORDERS_REQUESTED.adapter.validate_json(record.value)
    return decoded


def test_the_seed_decides_everything() -> None:
    """The same seed gives the same bytes; another seed other orders under other ids."""
    assert load(7) == load(7)
    ids = [{record.expected.order_id for record in load(seed)} for seed in (7, 8)]
    assert ids[0] & ids[1] == {None}


def test_a_longer_load_begins_with_the_kinds_it_should() -> None:
    """There is never a reference to an order that was not sent before, of the same account."""
    sent: set[tuple[str, str | None]] = set()
    for record in load():
        name = (record.expected.account, record.expected.order_id)
        if record.expected.new_order:
            assert name not in sent
            sent.add(name)
        elif record.expected.kind != "garbage":
            assert name in sent


def test_only_garbage_does_not_decode() -> None:
    """Every record but the garbage is a command of its account, and garbage is none."""
    for record in load():
        if record.expected.kind == "garbage":
            with pytest.raises(ValidationError):
                command(record)
        else:
            assert command(record).account.encode() == record.key
            assert command(record).order_id == record.expected.order_id


@pytest.mark.parametrize("spoil", GARBAGE)
def test_each_kind_of_garbage_is_garbage(spoil: object) -> None:
    """No way of spoiling a record leaves it an order."""
    whole = b'{"command": "submit", "order_id": "o", "account": "A", "symbol": "AIG", '
    whole += b'"side": "buy", "type": "market", "qty": "1"}'
    assert callable(spoil)
    with pytest.raises(ValidationError):
        ORDERS_REQUESTED.adapter.validate_json(spoil(whole))


def test_counts_add_up() -> None:
    """The counts are those of the records, and near the shares that the mix names."""
    records = load()
    found = counts(records)
    orders = {record.expected.order_id for record in records} - {None}
    assert found.orders == len(orders)
    assert found.records == N == (
        found.orders + found.duplicates + found.conflicts + found.cancels + found.replaces
        + found.garbage
    )  # fmt: skip
    shares = ((MIX["invalid"], found.invalid), (MIX["cancel"], found.cancels))
    for share, count in shares:
        assert abs(count - N * share / 1000) < N * 0.02
    assert counts([]) == LoadCounts(0, 0, 0, 0, 0, 0, 0, 0)


def test_a_duplicate_is_the_same_and_a_conflict_is_not() -> None:
    """A duplicate repeats its order byte by byte; a conflict has the id and another quantity."""
    first: dict[str | None, LoadRecord] = {}
    for record in load():
        order_id = record.expected.order_id
        if record.expected.new_order:
            first[order_id] = record
        elif record.expected.kind == "duplicate":
            assert record.value == first[order_id].value
        elif record.expected.kind == "conflict":
            assert record.value != first[order_id].value
            assert command(record).qty == (command(first[order_id]).qty or 0) + 1


def test_valid_orders_keep_the_default_limits_and_cents() -> None:
    """No valid order is refused for its size, its value, its collar or a fraction of a cent."""
    limits = Limits()
    for order in (command(r) for r in load() if r.expected.kind == "submit"):
        price = PRICES[order.symbol]
        assert order.qty is not None
        assert order.qty <= limits.max_order_qty
        assert order.qty * price * 2 < limits.max_order_value
        for given in (order.limit_price, order.stop_price):
            assert given is None or abs(given - price) / price < Decimal("0.0101")
            assert given is None or given == given.quantize(Decimal("0.01"))


def test_brackets_and_stops_lie_on_the_right_side() -> None:
    """Profit is better than the entry, the stop worse; a stop waits beyond the price."""
    for order in (command(r) for r in load() if r.expected.kind == "submit"):
        up = 1 if order.side == "buy" else -1
        if order.take_profit and order.stop_loss and order.limit_price:
            assert up * (order.take_profit.limit_price - order.limit_price) > 0
            assert up * (order.limit_price - order.stop_loss.stop_price) > 0
        if order.stop_price is not None:
            assert up * (order.stop_price - PRICES[order.symbol]) > 0
        if order.stop_price is not None and order.limit_price is not None:
            assert up * (order.limit_price - order.stop_price) >= 0


def test_every_type_and_every_mistake_comes_up() -> None:
    """The load has each order type, and each of the mistakes that the checks are for."""
    records = load()
    valid = [command(r) for r in records if r.expected.kind == "submit"]
    seen = {
        "bracket" if o.order_class == "bracket"
        else o.time_in_force.value if o.time_in_force in ("ioc", "fok")
        else o.type.value
        for o in valid
    }  # fmt: skip
    assert seen == set(TYPES)

    wrong = [command(r) for r in records if r.expected.kind == "invalid"]
    symbols = {order.symbol for order in wrong}
    assert {UNKNOWN_SYMBOL, RESTRICTED_SYMBOL} <= symbols
    assert any((order.qty or 0) > Limits().max_order_qty for order in wrong)
    assert any(order.type == "market" and order.limit_price for order in wrong)
    assert any(order.type == "limit" and order.limit_price is None for order in wrong)
    assert any(order.limit_price and order.limit_price * 100 % 1 for order in wrong)


def test_an_order_is_canceled_or_replaced_at_most_once() -> None:
    """Each cancel and replace is a request of its own, so each has an answer of its own."""
    changes = [r.expected.order_id for r in load() if r.expected.kind in ("cancel", "replace")]
    assert len(changes) == len(set(changes))
    replaces = [r for r in load() if r.expected.kind == "replace"]
    assert all(isinstance(command(record), Replace) for record in replaces)
