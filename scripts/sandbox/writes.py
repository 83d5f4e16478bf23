"""Creates, updates and deletes customers, products, prices, charges and webhook endpoints within Stripe's rules."""

from scripts.sandbox import charge_shapes, shapes
from scripts.sandbox.answers import Refused, decode, encode, no_such
from scripts.sandbox.fields import Field, fields_of, flag, integer, merge_metadata, one_of, read, text, texts
from scripts.sandbox.forms import Params
from scripts.sandbox.kinds import CHARGE, CUSTOMER, PRODUCT, WEBHOOK_ENDPOINT, Kind
from scripts.sandbox.payments import charge_to_refund
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State

_CUSTOMER: dict[str, Field] = {
    "address": fields_of,
    "balance": integer,
    "business_name": text,
    "description": text,
    "email": text,
    "individual_name": text,
    "invoice_prefix": text,
    "name": text,
    "phone": text,
    "preferred_locales": texts,
    "shipping": fields_of,
    "tax_exempt": one_of("none", "exempt", "reverse"),
}
_PRODUCT: dict[str, Field] = {
    "active": flag,
    "default_price": text,
    "description": text,
    "images": texts,
    "name": text,
    "shippable": flag,
    "statement_descriptor": text,
    "tax_code": text,
    "unit_label": text,
    "url": text,
}
_CHARGE_UPDATE: dict[str, Field] = {
    "description": text,
    "fraud_details": fields_of,
    "receipt_email": text,
    "transfer_group": text,
}
_ENDPOINT_UPDATE: dict[str, Field] = {
    "description": text,
    "disabled": flag,
    "enabled_events": texts,
    "url": text,
}


def create_customer(state: State, params: Params) -> Json:
    given = read(params, {**_CUSTOMER, "id": text})
    id = chosen_id(state, CUSTOMER, given)
    prefix = state.dice.token(8).upper()
    customer = shapes.customer(id, state.now(), state.livemode, prefix)
    customer.update(given)
    merge_metadata(customer, params)
    return state.create("customer", customer)


def chosen_id(state: State, kind: Kind, given: Json) -> str:
    """The caller's id, which may be a deleted object's, or a new one."""
    id = str(given.pop("id", None) or state.new_id(kind))
    if state.shelves[kind.name].get(id) is not None:
        raise Refused(f"{kind.words.capitalize()} already exists.", code="resource_already_exists", param="id")
    return id


def update_customer(state: State, id: str, params: Params) -> Json:
    customer = state.get("customer", id)
    customer.update(read(params, _CUSTOMER))
    merge_metadata(customer, params)
    return state.change("customer", customer)


def delete_customer(state: State, id: str) -> Json:
    """Permanent. Its subscriptions are canceled at once (stripe-facts.md, section 9)."""
    state.record("customer", id)
    for record in list(state.shelves["subscription"].indexed("customer", id)):
        subscription = state.get("subscription", record.id)
        if subscription["status"] not in ("canceled", "incomplete_expired"):
            state.end_subscription(subscription, "cancellation_requested")
    state.lose_customer(id)
    return state.remove("customer", id)


def create_product(state: State, params: Params) -> Json:
    given = read(params, {**_PRODUCT, "id": text, "type": one_of("good", "service")}, required=("name",))
    id = chosen_id(state, PRODUCT, given)
    product = shapes.product(id, state.now(), state.livemode, given["name"])
    product.update(given)
    merge_metadata(product, params)
    return state.create("product", product)


def update_product(state: State, id: str, params: Params) -> Json:
    """Archiving a product leaves its prices active (stripe-facts.md, section 2)."""
    old = state.get("product", id)
    product = {**old, **read(params, _PRODUCT)}
    if product["default_price"] is not None:
        state.named("price", product["default_price"], "default_price")
    merge_metadata(product, params)
    if product != old:
        product["updated"] = state.now()
    return state.change("product", product)


def delete_product(state: State, id: str) -> Json:
    """Allowed only without prices, including inline ones (stripe-facts.md, section 9)."""
    state.record("product", id)
    at = state.shelves["price"].facet_at("product")
    if any(record.facets[at] == id for record in state.shelves["price"].by_id.values()):
        raise Refused("This product cannot be deleted because it has one or more user-created prices.")
    return state.remove("product", id)


def create_charge(state: State, params: Params) -> Json:
    """A succeeded card charge with a made-up card."""
    fields = {**_CHARGE_UPDATE, "amount": integer, "currency": text, "customer": text, "source": text}
    given = read(params, fields, required=("amount", "currency"))
    customer = state.named("customer", given["customer"], "customer") if "customer" in given else _nobody()
    card = charge_shapes.card("visa", "4242", state.dice.token(16), state.dice.number(0, 99))
    currency = given["currency"].lower()
    charge = charge_shapes.charge(
        state.new_id(CHARGE), state.now(), state.livemode, customer, currency, given["amount"], card
    )
    charge.update({name: value for name, value in given.items() if name in _CHARGE_UPDATE})
    merge_metadata(charge, params)
    state.shelves["charge"].put(charge)
    state.emit("charge.succeeded", state.record("charge", charge["id"]).body)
    return charge


def _nobody() -> Json:
    return {"id": None, "address": None, "email": None, "name": None, "phone": None}


def update_charge(state: State, id: str, params: Params) -> Json:
    charge = state.get("charge", id)
    charge.update(read(params, _CHARGE_UPDATE))
    merge_metadata(charge, params)
    return state.change("charge", charge)


def create_refund(state: State, params: Params) -> Json:
    """Refunds a charge fully or in part: `refund.created` and `charge.refunded`."""
    given = read(params, {"amount": integer, "charge": text, "payment_intent": text, "reason": text})
    charge = charge_to_refund(state, given)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = given.get("amount", left)
    if left <= 0:
        raise Refused(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if not 0 < amount <= left:
        raise Refused(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount")
    refund = charge_shapes.refund("re_3" + state.dice.token(22), state.now(), charge, amount)
    refund["reason"] = given.get("reason")
    merge_metadata(refund, params)
    state.create("refund", refund)
    old = charge["amount_refunded"]
    charge.update(amount_refunded=old + amount, refunded=amount == left)
    record = state.shelves["charge"].put(charge)
    state.emit("charge.refunded", record.body, {"amount_refunded": old, "refunded": False})
    return refund


def fail_refund(state: State, id: str) -> Json:
    """The bank sends back what was refunded of a charge: `refund.failed` and `charge.refund.updated`, and no charge.* event."""
    charge = state.get("charge", id)
    if not charge["amount_refunded"]:
        raise Refused(f"Charge {id} has no refund that could fail.")
    refund = _refund_of(state, charge)
    refund.update(status="failed", failure_reason="expired_or_canceled_card")
    state.shelves["refund"].put(refund)
    charge.update(amount_refunded=0, refunded=False)
    state.shelves["charge"].put(charge)
    for type in ("refund.failed", "charge.refund.updated"):
        state.emit(type, encode(refund), {"status": "succeeded"})
    return refund


def _refund_of(state: State, charge: Json) -> Json:
    """Its newest one; a new one where an account has charges that were refunded and no refunds."""
    shelf = state.shelves["refund"]
    at = shelf.facet_at("charge")
    for record in reversed(list(shelf.timeline)):
        if record.facets[at] == charge["id"]:
            return state.get("refund", record.id)
    return charge_shapes.refund("re_3" + state.dice.token(22), state.now(), charge, charge["amount_refunded"])


def dispute_charge(state: State, id: str) -> Json:
    """`charge.dispute.created`, and no charge.* event although the charge is disputed now."""
    charge = state.get("charge", id)
    if charge["disputed"]:
        raise Refused(f"Charge {id} is disputed already.")
    dispute = charge_shapes.dispute("dp_1" + state.dice.token(22), state.now(), state.livemode, charge)
    charge["disputed"] = True
    state.shelves["charge"].put(charge)
    return state.create("dispute", dispute)


def create_endpoint(state: State, params: Params) -> Json:
    fields = {**_ENDPOINT_UPDATE, "api_version": text}
    given = read(params, fields, required=("url", "enabled_events"))
    _check_url(given["url"])
    id = state.new_id(WEBHOOK_ENDPOINT)
    endpoint = shapes.webhook_endpoint(id, state.now(), state.livemode, given["url"], given["enabled_events"])
    endpoint.update({name: given[name] for name in ("api_version", "description") if name in given})
    merge_metadata(endpoint, params)
    return {**endpoint, "secret": state.add_endpoint(endpoint)}


def get_endpoint(state: State, id: str) -> Json:
    record = state.endpoints.get(id)
    if record is None:
        raise no_such("webhook endpoint", id)
    found: Json = decode(record.body)
    return found


def delete_endpoint(state: State, id: str) -> Json:
    get_endpoint(state, id)
    state.endpoints.delete(id, state.now())
    del state.secrets[id]
    return {"id": id, "object": "webhook_endpoint", "deleted": True}


def update_endpoint(state: State, id: str, params: Params) -> Json:
    endpoint = get_endpoint(state, id)
    given = read(params, _ENDPOINT_UPDATE)
    if "url" in given:
        _check_url(given["url"])
    if "disabled" in given:
        endpoint["status"] = "disabled" if given.pop("disabled") else "enabled"
    endpoint.update(given)
    merge_metadata(endpoint, params)
    state.endpoints.put(endpoint)
    return endpoint


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise Refused(
            "Invalid URL: An explicit scheme (such as https) must be provided.", code="url_invalid", param="url"
        )
