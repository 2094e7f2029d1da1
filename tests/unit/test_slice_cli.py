"""What `slice` makes of its words, and what it refuses."""

from decimal import Decimal
from typing import Any

import pytest

from streams.cli import producing
from streams.cli.slice import cancel, pov, twap
from streams.errors import UsageError

ORDER = {"symbol": "AIG", "side": "buy", "qty": "100", "account": "A1"}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the requests that commands produce."""
    found: list[Any] = []

    def keep(topic: Any, requests: Any, *_: Any, **__: Any) -> None:
        assert topic.name == "slices.requested.v1"
        found.extend(requests)

    monkeypatch.setattr(producing, "run_requests", keep)
    return found


def test_words_become_requests(sent: list[Any]) -> None:
    """Durations become times; a cancel names the parent."""
    twap(**ORDER, lasts="10m", interval="30s", start="5s", limit="50")
    pov(**ORDER, participation="0.25", id_="p1")
    cancel("p1", account="A1")
    first, second, third = sent
    assert first.end_ns - first.start_ns == 600 * 10**9
    assert (first.interval_s, first.limit_price) == (30, 50)
    assert first.parent_id == f"cli-{first.start_ns - 5 * 10**9}"
    assert (second.participation, second.parent_id, second.limit_price) == (
        Decimal("0.25"),
        "p1",
        None,
    )
    assert (third.command, third.parent_id) == ("cancel", "p1")


@pytest.mark.parametrize(
    "options",
    [
        {"side": "long"},
        {"qty": "0"},
        {"lasts": "soon"},
        {"interval": "1ms"},
        {"id_": "x" * 49},
        {"limit": "-1"},
    ],
)
def test_what_is_no_request_is_refused(sent: list[Any], options: dict[str, Any]) -> None:
    """With what is wrong, and nothing is sent."""
    with pytest.raises(UsageError):
        twap(**(ORDER | options))
    assert sent == []
