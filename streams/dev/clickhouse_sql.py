"""Read as much of ClickHouse's SQL and of its errors as an HTTP server in front of it needs.

ClickHouse reads an INSERT's data straight behind its `FORMAT name` or `VALUES`, and over HTTP
takes the statement from the URL, from the body, or half from each. The two are told apart here.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""(?P<skip>--[^\n]*|/\*.*?\*/|\s+)
       | '(?:[^'\\]|\\.|'')*'
       | "(?:[^"\\]|\\.|"")*"
       | `(?:[^`\\]|\\.|``)*`
       | (?P<word>\w+)
       | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_FORMAT_END = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?")  # what ClickHouse skips before the data
_TRAILING_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b[^']*)?;?\s*$", re.IGNORECASE)
_NOT_DATA = frozenset({b"SELECT", b"WITH", b"FROM", b"EXPLAIN"})
_SESSION_STATE = re.compile(rb"\s*(SET|USE|CREATE\s+TEMPORARY|DROP\s+TEMPORARY)\b", re.IGNORECASE)
_ERROR = re.compile(r"Code: (\d+)\. .*", re.DOTALL)

DEFAULT_ERROR_CODE = 1002  # UNKNOWN_EXCEPTION

_STATUS_OF_CODE = {
    **dict.fromkeys((6, 26, 27, 33, 36, 38, 41, 42, 43, 53, 62, 69, 72, 117, 321, 349), 400),
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 73, 81, 115), 404),
    **dict.fromkeys((192, 193, 497, 516), 403),
    194: 401,  # REQUIRED_PASSWORD
    164: 403,  # READONLY
    48: 501,  # NOT_IMPLEMENTED
    159: 408,  # TIMEOUT_EXCEEDED
    241: 507,  # MEMORY_LIMIT_EXCEEDED
}


@dataclass(frozen=True)
class InsertData:
    """An INSERT that carries its data: the statement without `FORMAT`, the format, the data."""

    statement: bytes
    format: str
    data: bytes


class ClickHouseError(Exception):
    """An error of the engine or of the server, with ClickHouse's number for it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """Return the HTTP status that ClickHouse answers with."""
        return _STATUS_OF_CODE.get(self.code, 500)

    @property
    def text(self) -> str:
        """Return the body of the answer, in ClickHouse's words."""
        known = self.message.startswith("Code: ")
        return self.message if known else f"Code: {self.code}. DB::Exception: {self.message}"


def split_insert(sql: bytes) -> InsertData | None:
    r"""Part an INSERT from the data behind it; None for anything that carries none.

    >>> split_insert(b"INSERT INTO t (a) FORMAT CSV\n1\n")
    InsertData(statement=b'INSERT INTO t (a) ', format='CSV', data=b'1\n')
    """
    depth = 0
    words = 0
    for token in _TOKEN.finditer(sql):
        if token["mark"]:
            depth += {b"(": 1, b")": -1}.get(token["mark"], 0)
        if not token["word"] or depth:
            continue
        word = token["word"].upper()
        words += 1
        if (words == 1 and word != b"INSERT") or word in _NOT_DATA:
            return None
        if word == b"VALUES" and words > 2:
            return InsertData(sql[: token.start()], "Values", sql[token.end() :])
        if word == b"FORMAT":
            return _after_format(sql, token.start(), token.end())
    return None


def _after_format(sql: bytes, start: int, end: int) -> InsertData | None:
    name = re.compile(rb"\s+(\w+)").match(sql, end)
    if not name:
        return None
    if name[1].upper() == b"VALUES":
        return InsertData(sql[:start], "Values", sql[name.end() :])
    gap = _FORMAT_END.match(sql, name.end())
    data_start = gap.end() if gap else name.end()
    return InsertData(sql[:start], name[1].decode(), sql[data_start:])


def is_select(sql: bytes) -> bool:
    """Tell whether a statement is a SELECT, with or without a WITH before it."""
    first = next((token["word"] for token in _TOKEN.finditer(sql) if token["word"]), b"")
    return first.upper() in (b"SELECT", b"WITH")


def trailing_format(sql: bytes) -> str | None:
    """Return the format a query asks for itself, which goes before any other wish."""
    found = _TRAILING_FORMAT.search(sql[-400:])
    return found[1].decode() if found else None


def changes_session(sql: bytes) -> bool:
    """Tell whether the statement changes the connection it runs on."""
    return _SESSION_STATE.match(sql) is not None


def engine_error(error: Exception) -> ClickHouseError:
    """Return an exception of chDB as ClickHouse's error, with its number."""
    found = _ERROR.search(str(error))
    if not found:
        return ClickHouseError(DEFAULT_ERROR_CODE, str(error))
    return ClickHouseError(int(found[1]), found[0])


def tail_of_error(error: ClickHouseError, tag: str) -> bytes:
    """Return what ends an answer that had begun when the error came, as ClickHouse writes it."""
    text = error.text.rstrip() + "\n"
    size = len(text.encode())
    return f"\r\n__exception__\r\n{tag}\r\n{text}{size} {tag}\r\n__exception__\r\n".encode()


def quote(text: str) -> str:
    """Return a string literal of ClickHouse's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_name(name: str) -> str:
    """Return a quoted identifier of ClickHouse's SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
