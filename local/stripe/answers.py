"""How objects are shown: lists in pages, and what `expand` asks for."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from local.stripe.api import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from local.stripe.errors import invalid, refuse, refuse_unknown
from local.stripe.shapes import Params
from local.stripe.store import Body
from local.stripe.world import World

EXPAND_DEPTH_MAX: Final = 4
Included = Callable[[World, Body], Body | None]

# Where an answer has an id that `expand` turns into the object; each is an ExpandableField of stripe-python's classes.
EXPANDABLE: Final[Mapping[str, frozenset[str]]] = {
    "balance_transaction": frozenset({"source"}),
    "billing_portal.session": frozenset({"configuration"}),
    "charge": frozenset({"balance_transaction", "customer", "payment_intent"}),
    "checkout.session": frozenset({"customer", "invoice", "payment_intent", "setup_intent", "subscription"}),
    "credit_note": frozenset({"customer", "invoice", "refunds.refund"}),
    "customer": frozenset({"invoice_settings.default_payment_method"}),
    "dispute": frozenset({"charge", "payment_intent"}),
    "invoice": frozenset({"customer", "default_payment_method", "parent.subscription_details.subscription"}),
    "invoice_payment": frozenset({"invoice", "payment.charge", "payment.payment_intent"}),
    "invoiceitem": frozenset({"customer", "invoice"}),
    "line_item": frozenset({"subscription"}),
    "payment_intent": frozenset({"customer", "latest_charge", "payment_method"}),
    "payment_method": frozenset({"customer"}),
    "price": frozenset({"product"}),
    "product": frozenset({"default_price"}),
    "refund": frozenset({"balance_transaction", "charge", "payment_intent", "payment_method"}),
    "setup_intent": frozenset({"customer", "payment_method"}),
    "subscription": frozenset({"customer", "default_payment_method", "latest_invoice", "pending_setup_intent"}),
    "transfer": frozenset({"balance_transaction", "destination", "source_transaction"}),
    "transfer_reversal": frozenset({"balance_transaction", "transfer"}),
}


def listing(url: str, data: list[Body], *, has_more: bool = False) -> Body:
    """Return a list as answers have them."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def page_of(bodies: Iterable[Body], params: Params, url: str) -> Body:
    """Return one page of objects that come newest first."""
    limit = params.get("limit") or PAGE_SIZE_DEFAULT
    if not 1 <= limit <= PAGE_SIZE_MAX:
        message = f"This value must be {'greater' if limit < 1 else 'less'} than or equal to "
        refuse(f"{message}{1 if limit < 1 else PAGE_SIZE_MAX}.", code="parameter_invalid_integer", param="limit")
    after, before = params.get("starting_after"), params.get("ending_before")
    if after and before:
        refuse("You may only specify one of these parameters: starting_after, ending_before.")
    found = (body for body in bodies if _within(body.get("created", body.get("date", 0)), params.get("created")))
    if before:
        newer = list(_until(found, before))
        return listing(url, newer[-limit:], has_more=len(newer) > limit)
    if after:
        for _ in _until(found, after, "starting_after"):
            pass
    page = list(itertools.islice(found, limit + 1))
    return listing(url, page[:limit], has_more=len(page) > limit)


def _until(found: Iterator[Body], identifier: str, param: str = "ending_before") -> Iterator[Body]:
    """Yield what comes before an object, which is taken too. Raises StripeError when it does not come."""
    for body in found:
        if body["id"] == identifier:
            return
        yield body
    refuse_unknown("object in this list", identifier, param)


def _within(at: int, asked: Any) -> bool:  # an integer, or a tree of borders
    if asked is None:
        return True
    if isinstance(asked, int):
        return at == asked
    holds = {"gt": at.__gt__, "gte": at.__ge__, "lt": at.__lt__, "lte": at.__le__}
    return all(holds[name](border) for name, border in asked.items())


class Renderer:
    """Shows an object: what is ours is left out, what is expanded is put in."""

    def __init__(self, world: World, included: Mapping[tuple[str, str], Included]) -> None:
        """`included` makes the fields that are absent unless they are expanded, by object and field."""
        self._world: Final = world
        self._included: Final = included

    def shown(self, body: Body, expand: Iterable[str] = ()) -> Body:
        """Return an object as an answer has it. Raises StripeError for what cannot be expanded."""
        answer = visible(body)
        for path in expand:
            steps = path.split(".")
            if len(steps) - steps.count("data") > EXPAND_DEPTH_MAX:
                refuse(f"You cannot expand more than {EXPAND_DEPTH_MAX} levels of a property.", param="expand")
            self._expand(answer, steps, str(answer.get("object", "")), "", path)
        return answer

    def _expand(self, node: Body, steps: list[str], kind: str, at: str, path: str) -> None:
        """Expand the first step in `node`, which lies at `at` inside an object of `kind`."""
        step, rest = steps[0], steps[1:]
        where = f"{at}.{step}" if at else step
        if kind == "list" and step == "data":
            for each in node["data"]:
                if rest:
                    self._expand(each, rest, str(each["object"]), "", path)
            return
        if step not in node:
            node[step] = self._include(node, kind, step, path)
        elif not isinstance(node[step], dict | list):
            node[step] = self._looked_up(node[step], step, kind, where, path)
        if rest:
            self._expand_below(node[step], rest, kind, where, path)

    def _expand_below(self, value: Any, rest: list[str], kind: str, where: str, path: str) -> None:  # of any field
        for each in cast("list[Any]", value) if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                inner = cast("Body", each).get("object")
                self._expand(cast("Body", each), rest, str(inner or kind), "" if inner else where, path)

    def _looked_up(self, value: Any, step: str, kind: str, where: str, path: str) -> Body | None:  # an id, or null
        if where not in EXPANDABLE.get(kind, ()):
            raise _cannot(step, path)
        if value is None:
            return None
        found = self._world.store.find(value)
        assert found is not None, f"{value} is spoken of, so it exists"
        return visible(found)

    def _include(self, node: Body, kind: str, step: str, path: str) -> Any:  # whatever the field holds
        make = self._included.get((kind, step))
        if make is None:
            raise _cannot(step, path)
        stored = self._world.store.find(str(node["id"]))
        assert stored is not None, f"{node['id']} is being shown"
        made = make(self._world, stored)
        return None if made is None else visible(made)


def visible(value: Any) -> Any:  # any part of a tree of JSON
    """Return a copy without the names that are ours."""
    if isinstance(value, dict):
        tree = cast("Body", value)
        return {name: visible(each) for name, each in tree.items() if not name.startswith("_")}
    if isinstance(value, list):
        return [visible(each) for each in cast("list[Any]", value)]
    return value


def _cannot(step: str, path: str) -> Exception:
    return invalid(f"This property cannot be expanded ({step}).", param=f"expand[{path}]")
