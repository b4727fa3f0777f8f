"""The body of a publication: a module alone, or a form with the module and its `spell.json`."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.datastructures import UploadFile
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from api.errors import invalid
from domain.model.errors import Code, Fault, Refusal, RefusedError, refuse
from domain.model.limits import KIB, MODULE_BYTES_MAX
from domain.model.manifest import MANIFEST_BYTES_MAX

WASM: Final = "application/wasm"
_FORM: Final = "multipart/form-data"
# What a form adds around its two parts.
_FORM_BYTES_MAX: Final = 16 * KIB
BODY_BYTES_MAX: Final = MODULE_BYTES_MAX + MANIFEST_BYTES_MAX + _FORM_BYTES_MAX
# 16 MiB at 2 Mbit/s take about a minute; a caller slower than that holds a place others wait for.
UPLOAD_SECONDS_MAX: Final = 90.0


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent."""

    module: bytes
    manifest: bytes | None


async def read_package(request: Request[Any, Any, Any]) -> Package:
    """Read the body. RefusedError: unsupported media type, payload too large (unread when announced), validation."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {WASM, _FORM}:
        raise refuse(
            Code.UNSUPPORTED_MEDIA_TYPE,
            f"Send the module as {WASM}, or as {_FORM} with the parts `module` and `spell.json`.",
        )
    try:
        async with asyncio.timeout(UPLOAD_SECONDS_MAX):
            if kind == WASM:
                return Package(module=await _read_module(request), manifest=None)
            return await _read_form(request)
    except TimeoutError as error:
        raise refuse(Code.MALFORMED, f"The body was not here after {UPLOAD_SECONDS_MAX:.0f} seconds.") from error


async def _read_module(request: Request[Any, Any, Any]) -> bytes:
    if (request.content_length or 0) > MODULE_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MODULE_BYTES_MAX:
            raise _too_large()
    return bytes(body)


async def _read_form(request: Request[Any, Any, Any]) -> Package:
    parts: dict[str, bytes] = {}
    async for name, value in _parts(request):
        if name not in {"module", "spell.json"}:
            fault = Fault(
                location=name[:100], message="this part cannot be used yet", fix="Send `module` and `spell.json`."
            )
            detail = "The form has a part that cannot be used yet."
            raise RefusedError(Refusal(code=Code.NOT_AVAILABLE, detail=detail, faults=(fault,)))
        if name in parts:
            raise RefusedError(invalid([Fault(location=name, message="it stands twice", fix="Send it once.")]))
        parts[name] = value
    if "module" not in parts:
        raise RefusedError(invalid([Fault(location="module", message="it is missing", fix="Add the part.")]))
    if len(parts["module"]) > MODULE_BYTES_MAX:
        raise _too_large()
    return Package(module=parts["module"], manifest=parts.get("spell.json"))


async def _parts(request: Request[Any, Any, Any]) -> AsyncGenerator[tuple[str, bytes]]:
    for name, value in (await request.form()).multi_items():
        content = await value.read() if isinstance(value, UploadFile) else value
        yield name, content.encode() if isinstance(content, str) else bytes(content)


def _too_large() -> RefusedError:
    return refuse(Code.PAYLOAD_TOO_LARGE, f"A module has at most {MODULE_BYTES_MAX} bytes. Strip debug information.")


@dataclass
class PublishOperation(Operation):
    """The OpenAPI operation of a route that reads its body by `read_package`, which Litestar cannot see."""

    def __post_init__(self) -> None:
        """Declare both forms of the body."""
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        manifest = Schema(type=OpenAPIType.STRING, description="The manifest: JSON, instead of the embedded one.")
        form = Schema(
            type=OpenAPIType.OBJECT, properties={"module": binary, "spell.json": manifest}, required=["module"]
        )
        self.request_body = RequestBody(
            description="The module, its manifest in the custom section `spell.manifest` or beside it.",
            content={WASM: OpenAPIMediaType(schema=binary), _FORM: OpenAPIMediaType(schema=form)},
            required=True,
        )
