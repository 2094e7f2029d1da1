"""One page of HTML that needs nothing else: no script, no file, no address."""

from collections.abc import Sequence
from html import escape

from streams.charts.svg import STYLE

_LAYOUT = """
body { margin: 1.5rem; background: var(--paper); color: var(--ink); }
body { font: 14px system-ui, sans-serif; }
figure { margin: 0; overflow-x: auto; }
table { border-collapse: collapse; margin-top: 1rem; }
th, td { padding: 0.15rem 0.8rem 0.15rem 0; text-align: left; }
th, td { border-bottom: 1px solid var(--faint); }
"""


def page(title: str, note: str, chart: str, rows: Sequence[Sequence[str]] = ()) -> str:
    """Return a page with a title, a line below it, a chart (SVG) and a table; row 0 is its head."""
    table = ""
    if rows:
        head, *others = rows
        body = "".join(_row(one, "td") for one in others)
        table = f"<table><thead>{_row(head, 'th')}</thead><tbody>{body}</tbody></table>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}{_LAYOUT}</style></head>'
        f"<body><h1>{escape(title)}</h1><p>{escape(note)}</p><figure>{chart}</figure>{table}"
        "</body></html>\n"
    )


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
