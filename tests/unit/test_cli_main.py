"""The command line imports one command, prints results on stdout and errors on stderr."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from streams.cli.main import COMMANDS, main
from streams.cli.output import cell, emit
from streams.cli.test import steps

_HEAVY = ("faust", "chdb", "pyarrow", "pandas", "aiokafka", "clickhouse_connect", "pydantic")


def test_help_lists_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` stays fast whatever the commands need."""
    code = (
        "import sys; from streams.cli import main; "
        f"print([name for name in {_HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert [one.name for one in COMMANDS if one.name not in text] == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_every_command_of_the_table_exists(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that names a module or function wrongly is found here, not by a user."""
    with pytest.raises(SystemExit) as ended:
        main([getattr(command, "name", ""), "--help"])
    assert ended.value.code == 0
    assert "Usage" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as for any wrong use."""
    with pytest.raises(SystemExit) as ended:
        main(["no-such"])
    assert ended.value.code == 2
    assert "no-such" in capsys.readouterr().err


def test_an_error_has_message_advice_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` with nothing running: JSON on stdout, the advice on stderr, code 5."""
    monkeypatch.setenv("ORDERFLOW_DATA_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["status", "--json"])
    printed = capsys.readouterr()
    assert ended.value.code == 5
    assert json.loads(printed.out) == {"phase": "down", "processes": []}
    assert printed.err.startswith("error: the pipeline is not running\n       Start the pipeline")


def test_emit_prints_one_line_of_json_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON keeps a Decimal's digits; a table shows every column that any row has."""
    emit([{"a": Decimal("1.50")}, {"b": None}], True)
    assert capsys.readouterr().out == '[{"a": "1.50"}, {"b": null}]\n'
    emit([{"a": Decimal("1.50")}, {"b": True}], False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert (lines[0], lines[2], lines[3]) == (["a", "b"], ["1.50"], ["yes"])
    emit({"orders": 3}, False)
    assert capsys.readouterr().out.split() == ["orders", "3"]
    emit([], False)
    assert capsys.readouterr().out == "none\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (False, "no"), ([1, "a"], '[1, "a"]'), ("[red]", "[red]"), (0, "0")],
)
def test_cells(value: object, text: str) -> None:
    """Text stands as it is, also where it looks like markup."""
    assert cell(value) == text


def test_the_fast_checks_leave_out_the_stack() -> None:
    """`--fast` is the same list without its last step; arguments reach every pytest."""
    fast = steps(fast=True, extra=["-k", "risk"])
    full = steps(fast=False, extra=["-k", "risk"])
    assert full[:-1] == fast
    assert [one.name for one in full if one.arguments[-2:] == ("-k", "risk")] == [
        "tests",
        "tests on the stack",
    ]
