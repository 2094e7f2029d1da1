"""Migrations without a server: order, checksums, and statements that may run twice."""

from pathlib import Path

import pytest

from connectors.clickhouse.migrate import Migration, check_repeatable, migrations, pending
from streams.errors import UsageError

FIRST = Migration(1, "one", "-- One.\ncreate table if not exists a (x Int8);\n")
SECOND = Migration(2, "two", "create or replace view b as\nselect 1;\n-- End.\nselect 2;")


def test_the_files_are_in_order_and_may_run_twice() -> None:
    """Every statement of every file is safe to run again after a crash."""
    found = migrations()
    for migration in found:
        check_repeatable(migration)
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    """Comment lines go; a statement may span lines."""
    assert SECOND.statements == ["create or replace view b as\nselect 1", "select 2"]


@pytest.mark.parametrize(
    ("statement", "ok"),
    [
        ("create table if not exists a (x Int8)", True),
        ("create table a (x Int8)", False),  # fails the second time
        ("CREATE OR REPLACE VIEW a AS SELECT 1", True),
        ("alter table a add column if not exists b Int8", True),
        ("alter table a add column b Int8", False),  # fails the second time
        ("alter table a modify setting x = 1", True),
        ("drop view if exists a", True),
        ("insert into a select 1", False),  # would stand twice
    ],
)
def test_only_repeatable_statements_pass(statement: str, ok: bool) -> None:
    """A statement that cannot run twice is refused."""
    migration = Migration(1, "one", statement + ";")
    if ok:
        check_repeatable(migration)
    else:
        with pytest.raises(ValueError, match="not safe to run twice"):
            check_repeatable(migration)


@pytest.mark.parametrize(
    ("applied", "names"),
    [
        ({}, ["one", "two"]),  # a new database
        ({1: FIRST.checksum}, ["two"]),
        ({1: FIRST.checksum, 2: SECOND.checksum}, []),  # up to date
    ],
)
def test_pending_is_what_is_not_applied(applied: dict[int, str], names: list[str]) -> None:
    """The ledger decides, not the order of the calls."""
    assert [migration.name for migration in pending([FIRST, SECOND], applied)] == names


@pytest.mark.parametrize(
    ("applied", "message"),
    [
        ({1: "0" * 64}, "migration 0001_one was changed after it was applied"),
        ({1: FIRST.checksum, 3: "0" * 64}, "migration 0003 is applied but not in sql/migrations"),
    ],
)
def test_a_ledger_that_does_not_fit_is_refused(applied: dict[int, str], message: str) -> None:
    """A changed file, or a database of a newer Orderflow, stops before anything runs."""
    with pytest.raises(UsageError, match=message):
        pending([FIRST, SECOND], applied)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a.sql", "0003_c.sql"], r"numbered \[1, 3\]"),  # a gap
        (["0001_a.sql", "0001_b.sql"], r"numbered \[1, 1\]"),  # a number twice
        (["1_a.sql"], "name a migration 0001_what_it_does.sql"),
    ],
)
def test_wrong_file_names_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    """Numbers run 1, 2, 3 without gaps."""
    for name in names:
        (tmp_path / name).write_text("select 1;")
    with pytest.raises(ValueError, match=message):
        migrations(tmp_path)
