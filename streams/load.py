"""A mixed load of order commands, the same for the same seed: what the demo sends.

Most orders are limits near the price; some are of every other type, some are wrong on purpose,
some come twice, some are canceled or replaced, and a few records are no orders at all. Each
record says what must become of it, so that every one can be accounted for afterwards.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NamedTuple

Kind = Literal["submit", "invalid", "duplicate", "conflict", "cancel", "replace", "garbage"]

#: Shares of the kinds, in parts of 1,000.
MIX: dict[Kind, int] = {
    "submit": 785,
    "invalid": 80,
    "duplicate": 20,
    "conflict": 10,
    "cancel": 60,
    "replace": 40,
    "garbage": 5,
}
#: Shares of the order types among the valid orders, in parts of 100.
TYPES: dict[str, int] = {
    "limit": 70,
    "market": 8,
    "ioc": 5,
    "fok": 3,
    "stop": 4,
    "stop_limit": 3,
    "trailing_stop": 3,
    "bracket": 4,
}
#: Refused as unknown, or as restricted where a `restricted` control and an instrument name it.
RESTRICTED_SYMBOL = "GME"
UNKNOWN_SYMBOL = "ZZZZ"
MAX_QTY = 200
TOO_LARGE_QTY = 1_000_000

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Expected:
    """What must become of a record.

    `submit` and `invalid` bring a new order id (an invalid one ends rejected, a valid one may:
    limits and prices decide). `duplicate` and `conflict` name a known id and change nothing;
    `cancel` and `replace` are answered, whatever the answer. `garbage` is one dead letter.
    """

    kind: Kind
    account: str
    order_id: str | None

    @property
    def new_order(self) -> bool:
        """Return whether a unique order must exist because of this record."""
        return self.kind in ("submit", "invalid")


class LoadRecord(NamedTuple):
    """One record for `orders.requested`."""

    key: bytes
    value: bytes
    expected: Expected


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """How many records of each kind there are; `orders` counts unique order ids."""

    records: int
    orders: int
    invalid: int
    duplicates: int
    conflicts: int
    cancels: int
    replaces: int
    garbage: int


def mixed_orders(
    seed: int,
    n: int,
    accounts: Sequence[str],
    symbols: Sequence[str],
    prices: Mapping[str, Decimal],
) -> list[LoadRecord]:
    """Return `n` records. Prices of orders are within 1 % of `prices`, which must be above 1.

    Order ids begin with the seed, so loads of different seeds can follow each other. What refers
    to an earlier order is for the same account, so it comes after it on the same partition.
    """
    load = _Load(random.Random(seed), f"m{seed}", accounts, symbols, prices)  # noqa: S311 - no secret
    kinds, shares = list(MIX), list(MIX.values())
    return [load.record(kind) for kind in load.rng.choices(kinds, shares, k=n)]


def counts(records: Iterable[LoadRecord]) -> LoadCounts:
    """Count a load, or any part of it from its beginning."""
    found = Counter(record.expected.kind for record in records)
    return LoadCounts(
        records=found.total(),
        orders=found["submit"] + found["invalid"],
        invalid=found["invalid"],
        duplicates=found["duplicate"],
        conflicts=found["conflict"],
        cancels=found["cancel"],
        replaces=found["replace"],
        garbage=found["garbage"],
    )


@dataclass(slots=True)
class _Load:
    """A load being made: the orders so far, and which of them can still be referred to."""

    rng: random.Random
    prefix: str
    accounts: Sequence[str]
    symbols: Sequence[str]
    prices: Mapping[str, Decimal]
    sent: list[dict[str, Any]] = field(default_factory=list)
    working: list[dict[str, Any]] = field(default_factory=list)

    def record(self, kind: Kind) -> LoadRecord:
        """Return the next record; before there is an order to refer to, a new one instead."""
        if kind == "garbage":
            return self._garbage()
        if kind in ("duplicate", "conflict") and self.sent:
            return self._again(kind)
        if kind in ("cancel", "replace") and self.working:
            return self._change(kind)
        return self._new(invalid=kind == "invalid")

    def _new(self, *, invalid: bool) -> LoadRecord:
        order = self._valid()
        if invalid:
            order = self._spoiled(order)
        elif order["type"] == "limit" and order["time_in_force"] in ("day", "gtc"):
            self.working.append(order)
        self.sent.append(order)
        return _record("invalid" if invalid else "submit", order)

    def _again(self, kind: Kind) -> LoadRecord:
        order = self.rng.choice(self.sent)
        if kind == "conflict":
            order = {**order, "qty": str(int(order["qty"]) + 1)}
        return _record(kind, order)

    def _change(self, kind: Kind) -> LoadRecord:
        """Cancel or replace an order, each at most once, so that every request is answered."""
        order = self.working.pop(self.rng.randrange(len(self.working)))
        command = {key: order[key] for key in ("order_id", "account")} | {"command": kind}
        if kind == "replace":
            command["qty"] = str(int(order["qty"]) + self.rng.randint(1, 50))
            if self.rng.random() < 0.5:
                command["limit_price"] = str(Decimal(order["limit_price"]) + CENT)
        return _record(kind, command)

    def _garbage(self) -> LoadRecord:
        account = self.rng.choice(self.accounts)
        whole = json.dumps(self._order(f"{self.prefix}-garbage")).encode()
        value = self.rng.choice(GARBAGE)(whole)
        return LoadRecord(account.encode(), value, Expected("garbage", account, None))

    def _order(self, order_id: str) -> dict[str, Any]:
        symbol = self.rng.choice(self.symbols)
        return {
            "command": "submit",
            "order_id": order_id,
            "account": self.rng.choice(self.accounts),
            "symbol": symbol,
            "side": self.rng.choice(("buy", "sell")),
            "type": "limit",
            "qty": str(self.rng.randint(1, MAX_QTY)),
            "time_in_force": "day",
            "strategy": "demo",
        }

    def _valid(self) -> dict[str, Any]:
        order = self._order(f"{self.prefix}-{len(self.sent):07d}")
        kind = self.rng.choices(list(TYPES), list(TYPES.values()))[0]
        up = 1 if order["side"] == "buy" else -1
        price = self.prices[order["symbol"]]

        def near(bps_low: int, bps_high: int) -> str:
            """Return a price so many basis points from the last; positive: pays more."""
            bps = up * self.rng.randint(bps_low, bps_high)
            return str((price * (10_000 + bps) / 10_000).quantize(CENT))

        match kind:
            case "limit":
                # About half of them cross the spread, the others rest near it.
                order |= {"limit_price": near(-30, 30)}
                order["time_in_force"] = self.rng.choices(("day", "gtc"), (9, 1))[0]
            case "market":
                order |= {"type": "market"}
            case "ioc" | "fok":
                order |= {"time_in_force": kind, "limit_price": near(0, 30)}
            case "stop":
                order |= {"type": "stop", "stop_price": near(10, 60)}
            case "stop_limit":
                order |= {"type": kind, "stop_price": near(10, 40), "limit_price": near(50, 90)}
            case "trailing_stop":
                order |= {"type": kind} | self._trail(price)
            case "bracket":
                # Profit lies above the entry of a buy and below that of a sale.
                order |= {
                    "order_class": "bracket",
                    "limit_price": near(0, 20),
                    "take_profit": {"limit_price": near(40, 90)},
                    "stop_loss": {"stop_price": near(-90, -40)},
                }
        return order

    def _trail(self, price: Decimal) -> dict[str, str]:
        if self.rng.random() < 0.5:
            return {"trail_percent": str(Decimal(self.rng.randint(1, 20)) / 10)}
        return {"trail_price": str((price / 200).quantize(CENT) + CENT)}

    def _spoiled(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the order with one thing in it that a check must refuse."""
        plain = {key: order[key] for key in _PLAIN}
        price = self.prices[order["symbol"]].quantize(CENT)
        spoilt: tuple[dict[str, Any], ...] = (
            {"limit_price": str(price), "qty": str(TOO_LARGE_QTY)},
            {"limit_price": str(price), "symbol": UNKNOWN_SYMBOL},
            {"limit_price": str(price), "symbol": RESTRICTED_SYMBOL},
            {"limit_price": str(price + Decimal("0.005"))},  # a fraction of a cent
            {},  # a limit order without a limit price
            {"type": "market", "limit_price": str(price)},
        )
        return plain | {"type": "limit", "time_in_force": "day"} | self.rng.choice(spoilt)


_PLAIN = ("command", "order_id", "account", "symbol", "side", "qty", "strategy")

#: What arrives when a producer is broken; each takes a good order's bytes.
GARBAGE: tuple[Callable[[bytes], bytes], ...] = (
    lambda whole: whole[: len(whole) // 2],
    lambda whole: b"\xff\xfe" + whole,
    lambda _whole: b"\x00\x01\x02\x03\x04",
    lambda _whole: b"buy 100 AIG",
    lambda whole: b"[" + whole + b"]",
    lambda whole: whole.replace(b'"command": "submit"', b'"command": "sumbit"'),
    lambda whole: whole.replace(b'"side"', b'"seid"'),
)


def _record(kind: Kind, message: Mapping[str, Any]) -> LoadRecord:
    account, order_id = message["account"], message["order_id"]
    value = json.dumps(message, separators=(",", ":")).encode()
    return LoadRecord(account.encode(), value, Expected(kind, account, order_id))
