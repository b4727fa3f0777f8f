"""The API's own description: OpenAPI 3.1, a page that renders it, and a page behind every problem's `type`.

Everything is served from here; no page of ours loads anything from another host.
"""

import gzip
import html
import re
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from litestar import MediaType, Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from api.call import call_of
from api.casts.openapi import CAST_COMPONENTS, CAST_PATHS
from api.errors import KINDS
from api.web_safety import DOCS_POLICY, PAGE_POLICY
from api.weights import PAGES_RPM
from domain.model.errors import Code

_VENDOR: Final = Path(__file__).parent / "pages" / "vendor"
# RapiDoc 9.3.8 (MIT), one file, kept compressed; its licence lies beside it.
_RENDERER: Final = (_VENDOR / "rapidoc-min.js.gz").read_bytes()
_STYLE: Final = (Path(__file__).parent / "pages" / "page.css").read_bytes()
_CACHED_FOR_A_DAY: Final = {"cache-control": "public, max-age=86400"}

_PAGE: Final = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Spell Platform API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script type="module" src="/docs/vendor/rapidoc-min.js"></script></head>
<body><rapi-doc spec-url="/openapi.json" render-style="read" show-header="false" load-fonts="false"
 regular-font="system-ui, sans-serif" mono-font="ui-monospace, monospace" allow-spec-url-load="false"
 allow-spec-file-load="false" persist-auth="false"></rapi-doc></body></html>
"""


# What the page is ordered by, and which paths belong where.
_SECTIONS: Final = {
    "Casts": ("/v1/cast",),
    "Budgets": ("/v1/budgets", "/v1/holds"),
    "Usage": ("/v1/usage",),
    "Credits": ("/v1/credits",),
    "Invoices": ("/v1/invoices",),
    "Spells": ("/v1/spells",),
    "Keys": ("/v1/keys",),
    "Sessions": ("/v1/sessions", "/auth/"),
    "Operations": ("/healthz", "/readyz", "/metrics"),
    "Admin": ("/admin/",),
}
# Paths of a base product that answer like the ones above and would only repeat them.
_ALIASES: Final = ("/api/", "/subscription/")
_PROBLEM: Final = {
    "description": "Anything else: a problem (RFC 9457); `type` leads to a page that explains it.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def whole(schema: dict[str, Any]) -> dict[str, Any]:
    """Return Litestar's document with the cast routes in it, which read raw bodies and are declared by hand."""
    paths = {path: item for path, item in schema.get("paths", {}).items() if not path.startswith(_ALIASES)}
    for path, item in paths.items():
        paths[path] = {method: _told(operation) for method, operation in item.items()}
    for path, item in CAST_PATHS.items():
        paths[path] = {**paths.get(path, {}), **item}
    sections = list(_SECTIONS)
    for path, item in paths.items():
        section = next((name for name, prefixes in _SECTIONS.items() if path.startswith(prefixes)), sections[-1])
        paths[path] = {method: {**operation, "tags": [section]} for method, operation in item.items()}
    components = {**schema.get("components", {})}
    components["schemas"] = {**components.get("schemas", {}), **CAST_COMPONENTS}
    tags = [{"name": section} for section in sections]
    return {**schema, "tags": tags, "paths": dict(sorted(paths.items())), "components": components}


def _told(operation: Any) -> Any:
    """Return an operation headed by the first sentence of its handler's docstring, refused by problems alone."""
    if not isinstance(operation, dict):
        return operation
    told = cast("dict[str, Any]", operation)
    sentence, *rest = re.split(r"\.\s+", str(told.get("description", "")), maxsplit=1)
    responses = {status: answer for status, answer in told.get("responses", {}).items() if status != "400"}
    responses["default"] = _PROBLEM
    return {**told, "summary": sentence.rstrip(". "), "description": "".join(rest), "responses": responses}


class _WholeJson(JsonRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        del request
        return msgspec.json.encode(whole(openapi_schema))


class _Page(OpenAPIRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        del openapi_schema
        call_of(request.scope).answer_headers.append((b"content-security-policy", DOCS_POLICY.encode("ascii")))
        return _PAGE


def openapi_config(version: str) -> OpenAPIConfig:
    """Return the settings of the document; `/docs` is the page."""
    bearer = SecurityScheme(type="http", scheme="bearer", description="An API key or a session token.")
    return OpenAPIConfig(
        title="Spell Platform",
        version=version,
        openapi_router=Router("/docs", route_handlers=[], include_in_schema=False, opt={"rate": PAGES_RPM}),
        render_plugins=[_Page(path="/"), _WholeJson()],
        components=Components(security_schemes={"bearer": bearer}),
        security=[{"bearer": []}],
        use_handler_docstrings=True,
    )


@get("/openapi.json", include_in_schema=False, sync_to_thread=False, rate=PAGES_RPM)
def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answer the OpenAPI 3.1 document."""
    document = msgspec.json.encode(whole(request.app.openapi_schema.to_schema()))
    return Response(document, media_type=MediaType.JSON)


@get("/docs/vendor/rapidoc-min.js", include_in_schema=False, sync_to_thread=False, rate=PAGES_RPM)
def renderer(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answer the renderer, compressed where the browser takes it so."""
    headers = {**_CACHED_FOR_A_DAY, "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(_RENDERER, media_type="text/javascript", headers=headers)
    return Response(gzip.decompress(_RENDERER), media_type="text/javascript", headers=headers)


@get("/docs/errors/{code:str}", include_in_schema=False, sync_to_thread=False, rate=PAGES_RPM)
def error_page(code: str) -> Response[str]:
    """Answer the page behind the `type` of a problem."""
    if code not in {known.value for known in Code}:
        raise NotFoundException
    kind = KINDS[Code(code)]
    again = "Repeating the same request can help." if kind.retryable else "Repeating the same request does not help."
    advice = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(kind.advice))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(code)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="/docs/page.css"></head>'
        f"<body><h1>{html.escape(kind.title)}</h1><p><code>{html.escape(code)}</code>, HTTP status {kind.status}</p>"
        f'<p>{advice} {again}</p><p><a href="/docs">All requests and answers</a></p></body></html>'
    )
    headers = {**_CACHED_FOR_A_DAY, "content-security-policy": PAGE_POLICY}
    return Response(page, media_type=MediaType.HTML, headers=headers)


@get("/docs/page.css", include_in_schema=False, sync_to_thread=False, rate=PAGES_RPM)
def page_style() -> Response[bytes]:
    """Answer the style of the pages behind problems."""
    return Response(_STYLE, media_type="text/css", headers=_CACHED_FOR_A_DAY)


ROUTES: Final = [openapi_json, renderer, page_style, error_page]
