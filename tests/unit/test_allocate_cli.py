"""What `allocate` makes of its words, and what it refuses."""

from typing import Any

import pytest

from streams.cli import producing
from streams.cli.allocate import allocate, pairs
from streams.errors import UsageError


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the requests that commands produce."""
    found: list[Any] = []

    def keep(topic: Any, requests: Any, *_: Any, **__: Any) -> None:
        found.extend((topic.name, one) for one in requests)

    monkeypatch.setattr(producing, "run_requests", keep)
    return found


def call(**options: Any) -> None:
    """Call the command as the command line does."""
    given = {
        "targets": ["AIG=100", "IBM=-50"],
        "account": "A1",
        "accounts": None,
        "strategy": "",
        "id_": "t1",
        "limit": None,
        "time_in_force": "day",
        "cancel": None,
        "dry_run": False,
        "as_json": False,
    }
    allocate(**(given | options))


def test_words_become_a_request(sent: list[Any]) -> None:
    """Targets are signed, prices make limit orders, weights divide; the first account is home."""
    call(accounts="A2=2,A1=1", account=None, limit="AIG=50,IBM=180")
    ((topic, request),) = sent
    assert topic == "allocations.requested.v1"
    assert (request.account, request.type, request.targets) == (
        "A2",
        "limit",
        {"AIG": 100, "IBM": -50},
    )
    assert request.shares == {"A2": 2, "A1": 1}


def test_an_id_comes_from_the_time(sent: list[Any]) -> None:
    """It fits, and a cancel names one."""
    call(id_=None)
    call(targets=None, cancel=sent[0][1].allocation_id)
    assert sent[0][1].allocation_id.startswith("cli-")
    assert (sent[1][1].command, sent[1][1].allocation_id) == ("cancel", sent[0][1].allocation_id)


@pytest.mark.parametrize(
    "options",
    [
        {"account": None},
        {"targets": None},
        {"targets": ["AIG"]},
        {"targets": ["AIG=1", "AIG=2"]},
        {"targets": ["AIG=x"]},
        {"accounts": "A1=0"},
        {"cancel": "t1"},
        {"id_": "x" * 33},
        {"time_in_force": "never"},
    ],
)
def test_what_is_no_request_is_refused(sent: list[Any], options: dict[str, Any]) -> None:
    """With what is wrong, and nothing is sent."""
    with pytest.raises(UsageError):
        call(**options)
    assert sent == []


def test_pairs() -> None:
    """Spaces around are taken off."""
    assert pairs("A=1, B=-2", "x") == {"A": "1", "B": "-2"}
