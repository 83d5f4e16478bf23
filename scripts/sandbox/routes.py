"""Stripe's operations: for each, the permission that it needs and the function that answers it."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from urllib.parse import quote

from scripts.sandbox import billing_writes, payments, plans, price_writes, sales, searching, shapes, writes
from scripts.sandbox.answers import Answer, Refused, no_such, ok
from scripts.sandbox.expanding import expanded
from scripts.sandbox.forms import Params
from scripts.sandbox.kinds import CUSTOMER, FURTHER_KINDS, INVOICE, KINDS, SUBSCRIPTION, Kind
from scripts.sandbox.listing import list_children, list_objects, refuse_unknown
from scripts.sandbox.operations import Handler, Operation, add, find, patterns
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import EVENT_RETENTION_S, State
from scripts.sandbox.types import payouts
from scripts.sandbox.types import writes as type_writes

__all__ = ["Operation", "find", "patterns"]

_MAX_EVENT_TYPES = 20  # stripe-facts.md, section 6


def _with_expansion(state: State, answer: Answer, params: Params) -> Answer:
    return expanded(state, answer, params["expand"]) if "expand" in params else answer


def _lister(kind: Kind) -> Handler:
    return lambda state, _, params: _with_expansion(state, list_objects(state.shelves[kind.name], params), params)


def _retriever(kind: Kind) -> Handler:
    def retrieve(state: State, id: str, params: Params) -> Answer:
        refuse_unknown(params, frozenset(("expand",)))
        return _with_expansion(state, Answer(200, state.record(kind.name, id).body), params)

    return retrieve


def _lister_under_customer(kind: Kind) -> Handler:
    def list_them(state: State, customer_id: str, params: Params) -> Answer:
        state.record("customer", customer_id)
        url = f"/v1/customers/{quote(customer_id, safe='')}/{kind.under}"
        answer = list_objects(state.shelves[kind.name], {**params, "customer": customer_id}, url=url)
        return _with_expansion(state, answer, params)

    return list_them


def _list_of_one_customer(state: State, _: str, params: Params) -> Answer:
    if "customer" not in params:
        raise Refused("Missing required param: customer.", code="parameter_missing", param="customer")
    return list_objects(state.shelves["payment_method"], params)


def _list_balance_transactions(state: State, _: str, params: Params) -> Answer:
    return _with_expansion(state, payouts.list_transactions(state, params), params)


def _list_of_account(state: State, _: str, params: Params) -> Answer:
    """The account's own: none."""
    return list_children([], params, "tax id", "/v1/tax_ids")


def _retrieve_customer(state: State, id: str, params: Params) -> Answer:
    """The only type that can still be retrieved after its deletion (stripe-facts.md, section 9)."""
    if id in state.shelves["customer"].deleted:
        return ok({"id": id, "object": "customer", "deleted": True})
    return _RETRIEVE_LIVE_CUSTOMER(state, id, params)


_RETRIEVE_LIVE_CUSTOMER = _retriever(CUSTOMER)


def _creator(write: Callable[[State, Params], Json]) -> Handler:
    return lambda state, _, params: _with_expansion(state, ok(write(state, params)), params)


def _updater(write: Callable[[State, str, Params], Json]) -> Handler:
    return lambda state, id, params: _with_expansion(state, ok(write(state, id, params)), params)


def _doer(write: Callable[[State, str], Json]) -> Handler:
    """An action or a deletion. Further parameters (`prorate`, `paid_out_of_band`, ...) have no effect here."""
    return lambda state, id, _: ok(write(state, id))


def _account(state: State, _: str, params: Params) -> Answer:
    return ok(shapes.account(state.id, state.name, state.created))


def _balance(state: State, _: str, params: Params) -> Answer:
    return ok(shapes.balance(state.livemode))


def _searcher(type: str) -> Handler:
    find = partial(searching.search, type=type)
    return lambda state, id, params: _with_expansion(state, find(state, id, params), _but_total(params))


def _but_total(params: Params) -> Params:
    """`total_count` is no property of an object."""
    paths = [path for path in params.get("expand", ()) if path != "total_count"]
    return {"expand": paths} if paths else {}


def _told_or_made_up(type: str, create: Callable[[State, Params], Json], mark: str) -> Callable[[State, Params], Json]:
    """As Stripe does where a caller says what it shall be; the changes of a sandbox's business say nothing."""
    make_up = partial(type_writes.create, type=type)
    return lambda state, params: create(state, params) if mark in params else make_up(state, params)


def _list_lines(state: State, id: str, params: Params) -> Answer:
    children = state.children("invoice", id)
    return list_children(children, params, "line item", f"/v1/invoices/{id}/lines")


def _child_lister(kind: Kind) -> Handler:
    def list_them(state: State, id: str, params: Params) -> Answer:
        children = state.children(kind.name, id)
        return list_children(children, params, "line item", f"{kind.path}/{id}/{kind.children}")

    return list_them


def _list_items(state: State, _: str, params: Params) -> Answer:
    params = dict(params)
    id = params.pop("subscription", None)
    if not id:
        raise Refused("Missing required param: subscription.", code="parameter_missing", param="subscription")
    state.named("subscription", id, "subscription")
    children = state.children("subscription", id)
    return list_children(children, params, "subscription item", "/v1/subscription_items")


def _list_events(state: State, _: str, params: Params) -> Answer:
    """Events of the last 30 days; `type` may be a group such as `customer.*`."""
    params = dict(params)
    if "type" in params and "types" in params:
        raise Refused("You may only specify one of these parameters: type, types.", param="types")
    if len(params.get("types", ())) > _MAX_EVENT_TYPES:
        raise Refused(f"You may pass at most {_MAX_EVENT_TYPES} types.", param="types")
    if "*" in params.get("type", ""):
        at = state.events.facet_at("type")
        pattern = params.pop("type")
        params["types"] = [name for name in _facets(state, at) if fnmatchcase(name, pattern)]
    return list_objects(state.events, params, not_before=state.now() - EVENT_RETENTION_S)


def _facets(state: State, at: int) -> set[str]:
    return {str(record.facets[at]) for record in state.events.timeline}


def _retrieve_event(state: State, id: str, params: Params) -> Answer:
    record = state.events.get(id)
    if record is None or record.created < state.now() - EVENT_RETENTION_S:
        raise no_such("event", id)
    return Answer(200, record.body)


def _list_endpoints(state: State, _: str, params: Params) -> Answer:
    return list_objects(state.endpoints, params)


def _retrieve_endpoint(state: State, id: str, params: Params) -> Answer:
    return ok(writes.get_endpoint(state, id))


def _settle(status: str, event: str) -> Handler:
    return _doer(lambda state, id: billing_writes.settle_invoice(state, id, status, event))


def _add_writes(
    kind: Kind,
    create: Callable[[State, Params], Json],
    update: Callable[[State, str, Params], Json],
    delete: Callable[[State, str], Json] | None = None,
) -> None:
    permission = f"rak_{kind.permission}_write"
    add("POST", kind.path, permission, _creator(create))
    add("POST", f"{kind.path}/:id", permission, _updater(update))
    if delete is not None:
        add("DELETE", f"{kind.path}/:id", permission, _doer(delete))


for _kind in KINDS.values():
    _permission = f"rak_{_kind.permission}_read"
    if _kind.parent:
        add("GET", _kind.parent_path, _permission, _lister_under_customer(_kind))
        add("GET", f"{_kind.parent_path}/:id", _permission, _retriever(_kind))
    else:
        add("GET", _kind.path, _permission, _lister(_kind))
    if "{id}" not in _kind.path:
        add("GET", f"{_kind.path}/:id", _permission, _retriever(_kind))
add("GET", "/v1/payment_methods", "rak_payment_method_read", _list_of_one_customer)
add("GET", "/v1/tax_ids", "rak_tax_id_read", _list_of_account)
add("GET", "/v1/balance_transactions", "rak_balance_read", _list_balance_transactions)
add("GET", f"{CUSTOMER.path}/:id", "rak_customer_read", _retrieve_customer)
add("GET", "/v1/account", "rak_accounts_kyc_basic_read", _account)
add("GET", f"{INVOICE.path}/:id/lines", "rak_invoice_read", _list_lines)
add("GET", "/v1/subscription_items", f"rak_{SUBSCRIPTION.permission}_read", _list_items)
add("GET", "/v1/plans", "rak_plan_read", plans.list_plans)
add("GET", "/v1/plans/:id", "rak_plan_read", plans.retrieve_plan)
add("POST", "/v1/plans", "rak_plan_write", _creator(plans.create_plan))
add("POST", "/v1/plans/:id", "rak_plan_write", _updater(plans.update_plan))
add("DELETE", "/v1/plans/:id", "rak_plan_write", _doer(plans.delete_plan))
add("GET", "/v1/events", "rak_event_read", _list_events)
add("GET", "/v1/events/:id", "rak_event_read", _retrieve_event)
add("GET", "/v1/webhook_endpoints", "rak_webhook_read", _list_endpoints)
add("GET", "/v1/webhook_endpoints/:id", "rak_webhook_read", _retrieve_endpoint)

_add_writes(CUSTOMER, writes.create_customer, writes.update_customer, writes.delete_customer)
_add_writes(KINDS["product"], writes.create_product, writes.update_product, writes.delete_product)
_add_writes(KINDS["price"], price_writes.create_price, price_writes.update_price)
_add_writes(KINDS["charge"], writes.create_charge, writes.update_charge)
_add_writes(
    SUBSCRIPTION,
    billing_writes.create_subscription,
    billing_writes.update_subscription,
    billing_writes.cancel_subscription,
)
_add_writes(INVOICE, billing_writes.create_invoice, billing_writes.update_invoice, billing_writes.delete_invoice)
add("POST", f"{INVOICE.path}/:id/add_lines", "rak_invoice_write", _updater(billing_writes.add_lines))
add("POST", f"{INVOICE.path}/:id/finalize", "rak_invoice_write", _doer(billing_writes.finalize_invoice))
add("POST", f"{INVOICE.path}/:id/pay", "rak_invoice_write", _settle("paid", "paid"))
add("POST", f"{INVOICE.path}/:id/void", "rak_invoice_write", _settle("void", "voided"))
add(
    "POST",
    f"{INVOICE.path}/:id/mark_uncollectible",
    "rak_invoice_write",
    _settle("uncollectible", "marked_uncollectible"),
)
for _kind in FURTHER_KINDS.values():
    if "{id}" in _kind.path:
        continue
    _add_writes(
        _kind,
        partial(type_writes.create, type=_kind.name),
        partial(type_writes.update, type=_kind.name),
        partial(type_writes.delete, type=_kind.name) if _kind.deletable else None,
    )
    if _kind.children:
        add("GET", f"{_kind.path}/:id/{_kind.children}", f"rak_{_kind.permission}_read", _child_lister(_kind))
_add_writes(KINDS["payout"], payouts.create, payouts.update)
for _type in searching.FIELDS:
    add("GET", f"{KINDS[_type].path}/search", f"rak_{KINDS[_type].permission}_read", _searcher(_type))
for _name, _create, _mark in (
    ("payment_intent", payments.create_intent, "amount"),
    ("setup_intent", payments.create_setup, "customer"),
    ("checkout_session", sales.create_session, "mode"),
):
    _kind = KINDS[_name]
    add("POST", _kind.path, f"rak_{_kind.permission}_write", _creator(_told_or_made_up(_name, _create, _mark)))
_INTENTS = KINDS["payment_intent"].path
for _action, _act in (
    ("confirm", payments.confirm_intent),
    ("capture", payments.capture_intent),
    ("cancel", payments.cancel_intent),
):
    add("POST", f"{_INTENTS}/:id/{_action}", "rak_payment_intent_write", _updater(_act))
add("POST", f"{_INTENTS}/:id", "rak_payment_intent_write", _updater(payments.update_intent))
add(
    "POST",
    f"{KINDS['setup_intent'].path}/:id/cancel",
    "rak_setup_intent_write",
    _updater(partial(payments.cancel_intent, type="setup_intent")),
)
add("POST", "/v1/checkout/sessions/:id/expire", "rak_checkout_session_write", _doer(sales.expire_session))
add("POST", "/v1/billing_portal/sessions", "rak_customer_portal_write", _creator(sales.create_portal_session))
add("POST", f"{INVOICE.path}/create_preview", "rak_invoice_write", _creator(sales.preview_invoice))
add("GET", f"{INVOICE.path}/upcoming", "rak_invoice_read", _creator(sales.preview_invoice))
add("GET", "/v1/balance", "rak_balance_read", _balance)
add(
    "POST",
    "/v1/payment_methods/:id/detach",
    "rak_payment_method_write",
    _doer(partial(type_writes.detach, type="payment_method")),
)
add("POST", "/v1/customers/:id/balance_transactions", "rak_customer_write", _updater(type_writes.adjust_balance))
add("POST", "/v1/refunds", "rak_charge_write", _creator(writes.create_refund))
# Not Stripe's own addresses: in reality, a card holder or a bank does these.
add("POST", f"{KINDS['charge'].path}/:id/dispute", "rak_charge_write", _doer(writes.dispute_charge))
add("POST", f"{KINDS['charge'].path}/:id/fail_refund", "rak_charge_write", _doer(writes.fail_refund))
add("POST", "/v1/webhook_endpoints", "rak_webhook_write", _creator(writes.create_endpoint))
add("POST", "/v1/webhook_endpoints/:id", "rak_webhook_write", _updater(writes.update_endpoint))
add("DELETE", "/v1/webhook_endpoints/:id", "rak_webhook_write", _doer(writes.delete_endpoint))
