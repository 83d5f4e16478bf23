"""Which request is which of Stripe's operations: their names, permissions, and the code that answers them."""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.sandbox import shapes
from scripts.sandbox.account import Account
from scripts.sandbox.answers import Answer, encode, no_such, ok, unrecognized
from scripts.sandbox.forms import Params
from scripts.sandbox.kinds import INVOICE, KINDS, SUBSCRIPTION, Kind
from scripts.sandbox.listing import join_bodies, list_objects, paging, refuse_unknown

Handler = Callable[[Account, list[str], Params], Answer]


@dataclass(frozen=True, slots=True)
class Operation:
    """One named operation of the API; Stripe's limit per endpoint counts each apart (stripe-facts.md, section 5)."""

    name: str
    permission: str
    run: Handler


_OPERATIONS: dict[tuple[str, str], Operation] = {}


def add(method: str, pattern: str, permission: str, run: Handler) -> None:
    """A pattern is a path with `:id` where an id stands."""
    _OPERATIONS[method, pattern] = Operation(f"{method} {pattern}", permission, run)


def find(method: str, path: str) -> tuple[Operation, list[str]]:
    """The operation and the ids in its path, or Stripe's answer to an address that it does not know."""
    operation = _OPERATIONS.get((method, path))
    if operation is not None:
        return operation, []
    parts = path.split("/")
    if len(parts) in (4, 5):
        id = parts[3]
        parts[3] = ":id"
        operation = _OPERATIONS.get((method, "/".join(parts)))
        if operation is not None and id:
            return operation, [id]
    raise unrecognized(method, path)


def _lister(kind: Kind) -> Handler:
    return lambda account, ids, params: list_objects(account.shelves[kind.name], params)


def _retriever(kind: Kind) -> Handler:
    def retrieve(account: Account, ids: list[str], params: Params) -> Answer:
        refuse_unknown(params, frozenset(("expand",)))
        shelf = account.shelves[kind.name]
        if kind.name == "customer" and ids[0] in shelf.deleted:
            # The one type that stays retrievable (stripe-facts.md, section 9).
            return ok({"id": ids[0], "object": "customer", "deleted": True})
        return Answer(200, account.record(kind.name, ids[0]).body)

    return retrieve


def _account(account: Account, ids: list[str], params: Params) -> Answer:
    return ok(shapes.account(account.id, account.name, account.created))


def _lines(account: Account, ids: list[str], params: Params) -> Answer:
    return _children(account, "invoice", ids[0], params, "line item", f"/v1/invoices/{ids[0]}/lines")


def _subscription_items(account: Account, ids: list[str], params: Params) -> Answer:
    subscription = params.pop("subscription", None)
    if subscription is None:
        raise no_such("subscription", "", param="subscription", status=400)
    return _children(account, "subscription", subscription, params, "subscription item", "/v1/subscription_items")


def _children(account: Account, type: str, id: str, params: Params, noun: str, url: str) -> Answer:
    """A page of a nested list, in the order in which the parent embeds it."""
    refuse_unknown(params, frozenset(("limit", "starting_after", "ending_before", "expand")))
    children = account.children(type, id)
    at = {child["id"]: position for position, child in enumerate(children)}
    ask = paging(params)
    for param, cursor in (("starting_after", ask.starting_after), ("ending_before", ask.ending_before)):
        if cursor is not None and cursor not in at:
            raise no_such(noun, cursor, param=param, status=400)
    if ask.ending_before is not None:
        end = at[ask.ending_before]
        start = max(0, end - ask.limit)
        has_more = start > 0
    else:
        start = at[ask.starting_after] + 1 if ask.starting_after is not None else 0
        end = start + ask.limit
        has_more = end < len(children)
    return join_bodies([encode(child) for child in children[start:end]], has_more, url)


for _kind in KINDS.values():
    add("GET", _kind.path, f"rak_{_kind.permission}_read", _lister(_kind))
    add("GET", f"{_kind.path}/:id", f"rak_{_kind.permission}_read", _retriever(_kind))
add("GET", "/v1/account", "rak_accounts_kyc_basic_read", _account)
add("GET", f"{INVOICE.path}/:id/lines", "rak_invoice_read", _lines)
add("GET", "/v1/subscription_items", f"rak_{SUBSCRIPTION.permission}_read", _subscription_items)
