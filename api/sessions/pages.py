"""Small pages for a person who signs in: a title, a text, perhaps a form. No script, no style but the one sheet."""

import html
from typing import Final

from litestar import MediaType, Response

from api.web_safety import PAGE_POLICY

_HEADERS: Final = {"content-security-policy": PAGE_POLICY}


def page(title: str, content: str, *, status: int = 200) -> Response[str]:
    """Return a whole page. `title` is text; `content` is HTML, in which whatever came from outside is escaped."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="/docs/page.css"></head>'
        f"<body><main><h1>{html.escape(title)}</h1>{content}</main></body></html>"
    )
    return Response(text, status_code=status, media_type=MediaType.HTML, headers=_HEADERS)
