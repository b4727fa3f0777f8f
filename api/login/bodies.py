"""The two bodies of logins by mail, which are read as JSON or as a form: their shapes, and how OpenAPI is told."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from api.call import call_of
from api.login.finish import AnyRequest
from api.services import Services
from api.web_safety import RETURN_PATH_CHARACTERS_MAX
from domain.model.errors import Code, Fault, refuse

BODY_BYTES_MAX: Final = 8 * 1024

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_TEXT_CHARACTERS_MAX: Final = 320
_FIELDS_MAX: Final = 10
TOKEN_CHARACTERS_MAX: Final = 100
Body = TypeVar("Body")


class AskBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wants a link, and where it leads."""

    email: Annotated[str, msgspec.Meta(max_length=_TEXT_CHARACTERS_MAX)]
    return_to: Annotated[str, msgspec.Meta(max_length=RETURN_PATH_CHARACTERS_MAX)] | None = None


class AskedView(msgspec.Struct, frozen=True, kw_only=True):
    """The same for every address: whether somebody has it is nobody's business."""

    detail: str
    expires_in: int
    """Seconds."""


class FollowBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link that is followed."""

    token: Annotated[str, msgspec.Meta(max_length=TOKEN_CHARACTERS_MAX)]


class MailedSessionView(msgspec.Struct, frozen=True, kw_only=True):
    """The session of a program that followed a link, shown this once."""

    session_token: str
    token_type: str
    expires_at: datetime


async def read_body(request: AnyRequest, services: Services, shape: type[Body]) -> tuple[bool, Body]:
    """Return whether a form was sent, and what stands in it. A form is taken from pages of ours only.

    No page elsewhere can send JSON without asking first (CORS), and none may. Raises RefusedError.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {_FORM, _JSON}:
        raise refuse(Code.UNSUPPORTED_MEDIA_TYPE, f"Send {_JSON}, or the form of the page.")
    raw = await request.body()
    try:
        if kind == _JSON:
            return False, msgspec.json.decode(raw, type=shape)
        services.site.check(call_of(request.scope))
        fields = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
        return True, msgspec.convert(dict(fields), shape)
    except msgspec.ValidationError as error:
        fault = Fault(location="body", message=str(error), fix="Look the field up in /docs and send what it asks for.")
        raise refuse(Code.VALIDATION, f"The request does not fit: {error}.", faults=(fault,)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise refuse(Code.MALFORMED, "The body is neither JSON nor a form in UTF-8.") from None


@dataclass
class AskOperation(Operation):
    """The OpenAPI operation of a route that reads an AskBody by itself."""

    def __post_init__(self) -> None:
        """Declare both forms of the body."""
        fields = {
            "email": Schema(type=OpenAPIType.STRING, max_length=_TEXT_CHARACTERS_MAX),
            "return_to": Schema(type=OpenAPIType.STRING, max_length=RETURN_PATH_CHARACTERS_MAX),
        }
        self.request_body = _declared(fields, required="email")


@dataclass
class FollowOperation(Operation):
    """The OpenAPI operation of a route that reads a FollowBody by itself."""

    def __post_init__(self) -> None:
        """Declare both forms of the body."""
        fields = {"token": Schema(type=OpenAPIType.STRING, max_length=TOKEN_CHARACTERS_MAX)}
        self.request_body = _declared(fields, required="token")


def _declared(fields: dict[str, Schema], *, required: str) -> RequestBody:
    schema = Schema(type=OpenAPIType.OBJECT, properties={**fields}, required=[required], additional_properties=False)
    return RequestBody(required=True, content={kind: OpenAPIMediaType(schema=schema) for kind in (_JSON, _FORM)})
