"""Spells over HTTP: the store's lists and details for all, publishing and changing for their owner."""

from typing import Annotated, Any, Final
from uuid import uuid4

from litestar import Request, Response, delete, get, patch, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.response import Stream

from api import weights
from api.access import needs
from api.auth import Principal
from api.creation import REPLAYED, idempotent_call
from api.errors import invalid
from api.internal import pieces
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.services import Services
from api.spells.catalog import find_version
from api.spells.owners import check_owner
from api.spells.prices import ROUTES as PRICES
from api.spells.publishing import Upload
from api.spells.upload import BODY_BYTES_MAX, WASM, PublishOperation, read_package
from api.spells.views import (
    SpellBody,
    SpellChange,
    SpellDetail,
    SpellList,
    SpellView,
    VersionChange,
    VersionList,
    VersionView,
    spell_detail,
    spell_view,
    version_view,
)
from domain.flow.create_spell import NewSpell, create_spell
from domain.flow.edit_spell import edit_spell
from domain.flow.edit_version import edit_version
from domain.flow.retire_spell import retire_spell
from domain.flow.unyank_version import unyank_version
from domain.flow.yank_version import yank_version
from domain.model.audit import Actor
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.key_rules import KeyScope
from domain.model.spell_ref import SpellReference, is_spell_name, parse_selector
from domain.model.versions import Version, VersionRange, parse
from domain.store import spells
from domain.store.connection import Connection, statement, transaction
from domain.store.spell_prices import prices_latest
from domain.store.spells import Spell, SpellVersion

_Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MAX)]
_Text = Annotated[str | None, Parameter(max_length=100)]


@get("/v1/spells")
async def list_spells(
    *,
    request: Request[Any, Any, Any],
    services: Services,
    visitor: Principal | None,
    q: _Text = None,
    tag: _Text = None,
    limit: _Limit = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response[SpellList]:
    """List the spells there are: public ones, and the caller's own. `q` is looked for in owner, name, description."""
    async with transaction(services.engine_pool) as connection:
        rows = await spells.spells_list(
            connection,
            viewer=None if visitor is None else visitor.account_id,
            text=_searchable("q", q),
            tag=_searchable("tag", tag),
            before=parse_cursor(cursor),
            limit=limit + 1,
        )
    page, following = page_of(rows, limit, lambda spell: (spell.created_at, spell.id))
    view = SpellList(data=[spell_view(spell) for spell in page], next_cursor=following, has_more=following is not None)
    return Response(view, headers=link_headers(request.url.path, {"q": q, "tag": tag, "limit": limit}, following))


@get("/v1/spells/{owner:str}/{name:str}")
async def show_spell(services: Services, visitor: Principal | None, owner: str, name: str) -> SpellDetail:
    """Show a spell and the version that `@latest` means."""
    async with transaction(services.engine_pool) as connection:
        spell = await _seen(connection, visitor, owner, name)
        reference = SpellReference(owner=owner, name=name, wanted=VersionRange())
        latest = await find_version(connection, spell.id, reference)
        return spell_detail(spell, None if latest is None else await _shown(services, connection, owner, name, latest))


@get("/v1/spells/{owner:str}/{name:str}/versions")
async def list_versions(services: Services, visitor: Principal | None, owner: str, name: str) -> VersionList:
    """List every version of a spell, yanked ones too."""
    async with transaction(services.engine_pool) as connection:
        spell = await _seen(connection, visitor, owner, name)
        rows = await spells.versions_list(connection, spell_id=spell.id)
        prices = await prices_latest(connection, [row.id for row in rows])
    now = services.now()
    return VersionList(data=[version_view(owner, name, row, prices.get(row.id), now) for row in rows])


@get("/v1/spells/{owner:str}/{name:str}/versions/{version:str}")
async def show_version(
    services: Services, visitor: Principal | None, owner: str, name: str, version: str
) -> VersionView:
    """Show a version, named as after the `@` of a reference: `1.2.0`, `1.2`, `1`, `latest`, `sha256:...`."""
    async with transaction(services.engine_pool) as connection:
        spell = await _seen(connection, visitor, owner, name)
        return await _shown(services, connection, owner, name, await _version(connection, spell, version))


@get(
    "/v1/spells/{owner:str}/{name:str}/versions/{version:str}/module",
    access=needs(KeyScope.SPELLS_WRITE),
    weight=weights.DOWNLOAD,
)
async def download_module(services: Services, principal: Principal, owner: str, name: str, version: str) -> Stream:
    """Download the module of one's own spell as it was published."""
    check_owner(principal, owner)
    async with transaction(services.engine_pool) as connection:
        spell = await _seen(connection, principal, owner, name)
        found = await _version(connection, spell, version)
    return Stream(
        pieces(services.engine_pool, found.digest),
        media_type=WASM,
        headers={"content-length": str(found.size_bytes), "etag": f'"sha256:{found.digest.hex()}"'},
    )


@post("/v1/spells", status_code=201, access=needs(KeyScope.SPELLS_WRITE))
async def make_spell(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, data: SpellBody
) -> Response[SpellView]:
    """Make a spell under one's own handle; versions are published into it. Needs the scope `spells:write`."""
    call = await idempotent_call(request)
    new = NewSpell(
        id=uuid4(),
        account_id=principal.account_id,
        owner=principal.handle,
        name=data.name,
        description=data.description,
        visibility=data.visibility,
    )
    async with transaction(services.engine_pool) as connection:
        created = await create_spell(connection, new, actor=actor, call=call, now=services.now())
    services.catalog.forget(principal.handle, data.name)
    headers = {"location": f"/v1/spells/{principal.handle}/{data.name}"}
    return Response(spell_view(created.spell), headers={**headers, **REPLAYED} if created.replayed else headers)


@patch("/v1/spells/{owner:str}/{name:str}", access=needs(KeyScope.SPELLS_WRITE))
async def change_spell(
    *, services: Services, principal: Principal, actor: Actor, owner: str, name: str, data: SpellChange
) -> SpellView:
    """Change the description of one's own spell, who sees it, or deprecate it with a message."""
    check_owner(principal, owner)
    async with transaction(services.engine_pool) as connection:
        changed = await edit_spell(
            connection,
            account_id=principal.account_id,
            owner=owner,
            name=name,
            description=data.description,
            visibility=data.visibility,
            deprecation=data.deprecation,
            actor=actor,
            now=services.now(),
        )
    services.catalog.forget(owner, name)
    return spell_view(changed)


@patch("/v1/spells/{owner:str}/{name:str}/versions/{version:str}", access=needs(KeyScope.SPELLS_WRITE))
async def change_version(
    *, services: Services, principal: Principal, actor: Actor, owner: str, name: str, version: str, data: VersionChange
) -> VersionView:
    """Deprecate a version of one's own spell with a message, or take that back: whoever casts it is told."""
    check_owner(principal, owner)
    async with transaction(services.engine_pool) as connection:
        changed = await edit_version(
            connection,
            account_id=principal.account_id,
            owner=owner,
            name=name,
            version=version,
            deprecation=data.deprecation,
            actor=actor,
            now=services.now(),
        )
        view = await _shown(services, connection, owner, name, changed)
    services.catalog.forget(owner, name)
    return view


@delete("/v1/spells/{owner:str}/{name:str}", status_code=204, access=needs(KeyScope.SPELLS_WRITE))
async def end_spell(services: Services, principal: Principal, actor: Actor, owner: str, name: str) -> None:
    """Retire one's own spell: lists and ranges lose it, exact versions and digests can still be cast."""
    check_owner(principal, owner)
    async with transaction(services.engine_pool) as connection:
        await retire_spell(
            connection,
            account_id=principal.account_id,
            owner=owner,
            name=name,
            actor=actor,
            now=services.now(),
        )
    services.catalog.forget(owner, name)


@put(
    "/v1/spells/{owner:str}/{name:str}/versions/{version:str}",
    status_code=201,
    request_max_body_size=BODY_BYTES_MAX,
    operation_class=PublishOperation,
    access=needs(KeyScope.SPELLS_WRITE),
    weight=weights.PUBLISH,
    responses={200: ResponseSpec(VersionView, description="The version was there, with the same module.")},
)
async def publish_version(
    *,
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    actor: Actor,
    owner: str,
    name: str,
    version: str,
) -> Response[VersionView]:
    """Publish a version: 201 when it is new, 200 when it is there with the same module, 409 with another.

    The body is the module (`application/wasm`, its manifest in the custom section `spell.manifest`), or a form with
    the parts `module` and `spell.json`.
    """
    check_owner(principal, owner)
    parsed = _check_names(name, version)
    with services.publisher.place(principal.account_id):
        package = await read_package(request)
        published = await services.publisher.publish(
            Upload(
                account_id=principal.account_id,
                owner=owner,
                name=name,
                version=parsed,
                module=package.module,
                manifest=package.manifest,
                actor=actor,
            )
        )
    async with statement(services.engine_pool) as connection:
        view = await _shown(services, connection, owner, name, published.version)
    services.catalog.forget(owner, name)
    location = {"location": f"/v1/spells/{owner}/{name}/versions/{parsed}"}
    return Response(view, status_code=201 if published.made else 200, headers=location)


@post(
    "/v1/spells/{owner:str}/{name:str}/versions/{version:str}/yank",
    status_code=200,
    access=needs(KeyScope.SPELLS_WRITE),
)
async def take_back_version(
    *, services: Services, principal: Principal, actor: Actor, owner: str, name: str, version: str
) -> VersionView:
    """Yank a version of one's own spell: ranges pass it by, its exact name and its digest still mean it."""
    check_owner(principal, owner)
    async with transaction(services.engine_pool) as connection:
        yanked = await yank_version(
            connection,
            account_id=principal.account_id,
            owner=owner,
            name=name,
            version=version,
            actor=actor,
            now=services.now(),
        )
        view = await _shown(services, connection, owner, name, yanked)
    services.catalog.forget(owner, name)
    return view


@delete(
    "/v1/spells/{owner:str}/{name:str}/versions/{version:str}/yank",
    status_code=200,
    access=needs(KeyScope.SPELLS_WRITE),
)
async def put_back_version(
    *, services: Services, principal: Principal, actor: Actor, owner: str, name: str, version: str
) -> VersionView:
    """Take back a yank: ranges mean the version again."""
    check_owner(principal, owner)
    async with transaction(services.engine_pool) as connection:
        back = await unyank_version(
            connection,
            account_id=principal.account_id,
            owner=owner,
            name=name,
            version=version,
            actor=actor,
            now=services.now(),
        )
        view = await _shown(services, connection, owner, name, back)
    services.catalog.forget(owner, name)
    return view


async def _shown(
    services: Services, connection: Connection, owner: str, name: str, version: SpellVersion
) -> VersionView:
    price = (await prices_latest(connection, [version.id])).get(version.id)
    return version_view(owner, name, version, price, services.now())


def _check_names(name: str, version: str) -> Version:
    parsed = parse(version)
    faults: list[Fault] = []
    if not is_spell_name(name):
        fix = "Use 1 to 64 lower case letters, digits and inner hyphens."
        faults.append(Fault(location="name", message=f"{name[:70]!r} is no name for a spell", fix=fix))
    if parsed is None:
        fix = "Use MAJOR.MINOR.PATCH, like 1.2.0 or 1.2.0-beta.1, without build metadata."
        faults.append(Fault(location="version", message=f"{version[:70]!r} is no semantic version", fix=fix))
    if faults or parsed is None:
        raise RefusedError(invalid(faults))
    return parsed


async def _seen(connection: Connection, visitor: Principal | None, owner: str, name: str) -> Spell:
    spell = None
    if "\0" not in owner + name:
        spell = await spells.spell_get(connection, owner=owner, name=name)
    if spell is None or not spell.seen_by(None if visitor is None else visitor.account_id):
        raise refuse(Code.NOT_FOUND, f"There is no spell {owner[:50]}/{name[:70]}.")
    return spell


async def _version(connection: Connection, spell: Spell, selector: str) -> SpellVersion:
    wanted = parse_selector(selector)
    found = None
    if wanted is not None:
        reference = SpellReference(owner=spell.owner, name=spell.name, wanted=wanted)
        found = await find_version(connection, spell.id, reference)
    if found is None:
        raise refuse(Code.NOT_FOUND, f"The spell {spell.owner}/{spell.name} has no version {selector[:80]}.")
    return found


def _searchable(name: str, text: str | None) -> str | None:
    """Refuse what Postgres cannot hold in a text, rather than fail in it."""
    if text is not None and "\0" in text:
        raise RefusedError(invalid([Fault(location=name, message="it has a NUL character", fix="Take it out.")]))
    return text


ROUTES: Final = [
    list_spells,
    show_spell,
    list_versions,
    show_version,
    download_module,
    make_spell,
    change_spell,
    end_spell,
    publish_version,
    take_back_version,
    put_back_version,
    change_version,
    *PRICES,
]
