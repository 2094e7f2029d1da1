"""Named queries: how files are read, and that every file keeps the rules."""

import re

import pytest

from connectors.clickhouse.queries import SQL, USER_FOLDERS, NamedQuery, load, parse, user_query
from streams.cli.query import parameters, rows_of
from streams.errors import NotFoundError, UsageError

TWO = """-- About the file.

-- name: first
-- What it gives,
-- in two lines.
-- params: a b=1 c=
select {a:String};

-- name: second
select 1
-- a comment inside
;
"""


def test_a_file_is_its_blocks() -> None:
    """Each block has its name, documentation, parameters and statement without the semicolon."""
    assert parse(TWO) == [
        NamedQuery(
            "first",
            "What it gives, in two lines.",
            {"a": None, "b": "1", "c": ""},
            "select {a:String}",
        ),
        NamedQuery("second", "", {}, "select 1\n-- a comment inside\n"),
    ]


def test_a_file_without_blocks_has_no_queries() -> None:
    """A file comment alone, or nothing, gives no query."""
    assert [parse(""), parse("-- About the file.\n")] == [[], []]


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({"a": "x"}, {"a": "x", "b": "1", "c": ""}),  # defaults fill in
        ({"a": "x", "b": "2"}, {"a": "x", "b": "2", "c": ""}),  # a given value goes first
        ({"a": "", "c": "y"}, {"a": "", "b": "1", "c": "y"}),  # empty text is a value
    ],
)
def test_parameters_are_bound_by_name(given: dict[str, str], bound: dict[str, str]) -> None:
    """What is given replaces the default."""
    assert parse(TWO)[0].bind(given) == bound


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "query first: give a with --param a=…"),  # a has no default
        ({"a": "x", "z": "1"}, "query first: no parameter 'z'; it takes a, b, c"),  # unknown
    ],
)
def test_wrong_parameters_are_refused(given: dict[str, str], message: str) -> None:
    """The message says what the query takes."""
    with pytest.raises(UsageError) as caught:
        parse(TWO)[0].bind(given)
    assert str(caught.value) == message


def test_an_unknown_name_lists_what_there_is() -> None:
    """A mistyped name is answered with the names."""
    with pytest.raises(NotFoundError, match=r"no query 'fils'; there are .*fills"):
        user_query("fils")


def test_every_parameter_of_a_query_is_declared_and_used() -> None:
    """`{x:Type}` in the statement and `-- params:` name the same parameters."""
    for query in load(*USER_FOLDERS, "internal").values():
        used = set(re.findall(r"\{(\w+):\w+\}", query.sql))
        assert (query.name, used) == (query.name, set(query.params))


def test_every_user_query_says_what_it_gives() -> None:
    """The list of queries has a line of documentation for each."""
    assert [
        query.name for query in load(*USER_FOLDERS).values() if not query.doc.endswith(".")
    ] == []


def test_sql_keywords_are_lower_case() -> None:
    """One style in every file; comments are free."""
    words = re.compile(r"\b(SELECT|FROM|WHERE|CREATE|TABLE|ORDER BY|GROUP BY|INSERT|VIEW|AND|AS)\b")
    shouting = [
        f"{path.name}: {line}"
        for path in sorted(SQL.rglob("*.sql"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.startswith("--") and words.search(line)
    ]
    assert shouting == []


def test_param_words_of_the_command_line() -> None:
    """The first `=` divides; the value may hold more of them."""
    assert parameters(["a=1", "b=", "c=x=y"]) == {"a": "1", "b": "", "c": "x=y"}
    with pytest.raises(UsageError, match="--param a: write it as name=value"):
        parameters(["a"])


def test_rows_of_json_lines() -> None:
    """Each line is a row; no line is no row."""
    assert rows_of(b'{"a":"1.50"}\n{"a":null}\n') == [{"a": "1.50"}, {"a": None}]
    assert rows_of(b"") == []
