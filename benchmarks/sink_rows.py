"""What `sink` sends: trades and order events as they are on the wire, one for each number."""

from benchmarks.changelog import Row
from streams.models.orders import OrderEvent
from streams.transport.codec import encode

FIRST_NS = 1_795_015_800_000_000_000


def trade(number: int) -> Row:
    """Return a trade of one of fifty symbols."""
    symbol = b"SYM%02d" % (number % 50)
    value = (
        b'{"symbol":"%s","ts_event_ns":%d,"seq":%d,"exchange":"Q","price":"%d.%02d","size":"%d"}'
    )
    fields = (symbol, FIRST_NS + number * 1_000, number, 20 + number % 30, number % 100, number % 9)
    return Row(symbol, symbol, value % fields)


_ACCOUNT, _ORDER = b"bench-0000000", b"order-0000000"
_EVENT = encode(
    OrderEvent.model_validate(
        {
            "event": "fill",
            "event_id": f"{_ACCOUNT.decode()}.{_ORDER.decode()}:fill:1",
            "order_id": _ORDER.decode(),
            "account": _ACCOUNT.decode(),
            "client_order_id": f"{_ACCOUNT.decode()}.{_ORDER.decode()}",
            "symbol": "AIG",
            "side": "buy",
            "broker": "virtual",
            "fill": {
                "exec_id": f"{_ACCOUNT.decode()}.{_ORDER.decode()}:1",
                "last_qty": "100",
                "last_px": "49.05",
                "cum_qty": "100",
                "commission": "0.35",
            },
            "ts_requested_ns": FIRST_NS,
            "ts_event_ns": FIRST_NS + 1,
            "ts_init_ns": FIRST_NS + 2,
        }
    )
)


def order_event(number: int) -> Row:
    """Return a fill of an order of its own, five orders an account."""
    account, order = b"bench-%07d" % (number // 5), b"order-%07d" % number
    return Row(account, account, _EVENT.replace(_ACCOUNT, account).replace(_ORDER, order))
