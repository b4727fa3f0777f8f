"""How pages look: plain HTML, one style, nothing from elsewhere."""

import html
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, NamedTuple

STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem}time{white-space:nowrap}"
    "table{border-collapse:collapse;width:100%;font-size:.94rem}"
    "th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #8884;vertical-align:top}"
    "td.sum,th.sum{text-align:right;font-variant-numeric:tabular-nums}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere}form{display:inline}button{font:inherit;padding:.4rem 1rem;"
    "margin:.2rem .4rem .2rem 0;cursor:pointer}button.first{font-weight:600}.wide button{display:block;width:100%}"
    ".card{max-width:28rem;margin:0 auto;border:1px solid #8886;border-radius:.6rem;padding:1rem 1.5rem}"
    ".note{color:#777}.bad{color:#c22}input,select{font:inherit;padding:.2rem .4rem;margin:.2rem .6rem .2rem 0}"
)


class Page(NamedTuple):
    """What a browser is answered."""

    status: HTTPStatus
    body: bytes
    kind: str = "text/html"
    location: str | None = None


def page(title: str, content: str, *, status: HTTPStatus = HTTPStatus.OK) -> Page:
    """Return a page; `content` is HTML."""
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>{content}"
    )
    return Page(status, text.encode())


def told(status: HTTPStatus, title: str, words: str) -> Page:
    """Return a page that says one thing."""
    return page(title, f"<h1>{html.escape(title)}</h1><p>{html.escape(words)}</p>", status=status)


def sent(location: str) -> Page:
    """Send the browser elsewhere."""
    return Page(HTTPStatus.SEE_OTHER, b"", "text/plain", location)


def dollars(cents: int) -> str:
    """Return a sum as people write it."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def day(seconds: int) -> str:
    """Return a day as people write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %Y")


def moment(seconds: int) -> str:
    """Return a moment in UTC, as HTML."""
    return f"<time>{datetime.fromtimestamp(seconds, UTC):%d %b %Y %H:%M:%S}</time>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; cells are HTML, those that begin with a sum stand to the right."""
    if not rows:
        return "<p>Nothing yet.</p>"
    kinds = ['<{0} class="sum">' if cell.startswith(("$", "-$")) else "<{0}>" for cell in rows[-1]]
    top = "".join(f"{kind.format('th')}{html.escape(head)}</th>" for head, kind in zip(heads, kinds, strict=True))
    return f"<table><tr>{top}</tr>{''.join(_row(row, kinds) for row in rows)}</table>"


def _row(cells: Sequence[str], kinds: Sequence[str]) -> str:
    shown = (kind.format("td") + cell + "</td>" for cell, kind in zip(cells, kinds, strict=True))
    return f"<tr>{''.join(shown)}</tr>"


def field(label: str, name: str, value: str) -> str:
    """Return a labelled field of a form."""
    return f'<label>{html.escape(label)} <input name="{name}" value="{html.escape(value)}" size="8"></label>'


def choice(name: str, options: Mapping[str, str], chosen: str = "") -> str:
    """Return a choice among words, each with what it means."""
    items = "".join(
        f'<option value="{html.escape(value)}"{" selected" if value == chosen else ""}>{html.escape(words)}</option>'
        for value, words in options.items()
    )
    return f'<select name="{name}" aria-label="{name}">{items}</select>'


def button(label: str, name: str, value: str, *, first: bool = False) -> str:
    """Return a button of a form."""
    kind = ' class="first"' if first else ""
    return f'<button{kind} name="{html.escape(name)}" value="{html.escape(value)}">{html.escape(label)}</button>'


def form(action: str, content: str, *, kind: str = "") -> str:
    """Return a form that is sent to `action`."""
    style = f' class="{kind}"' if kind else ""
    return f'<form{style} method="post" action="{html.escape(action)}">{content}</form>'
