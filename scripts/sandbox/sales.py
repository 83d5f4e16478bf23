"""Checkout and portal sessions, and previews of invoices."""

from typing import Any

from scripts.sandbox import invoice_shapes
from scripts.sandbox.answers import Refused
from scripts.sandbox.billing_writes import items
from scripts.sandbox.fields import Field, fields_of, flag, integer, merge_metadata, one_of, read, text, texts
from scripts.sandbox.forms import Params
from scripts.sandbox.price_writes import create_price
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State
from scripts.sandbox.types.making import make_up

_SESSION: dict[str, Field] = {
    "allow_promotion_codes": flag,
    "automatic_tax": fields_of,
    "billing_address_collection": one_of("auto", "required"),
    "cancel_url": text,
    "client_reference_id": text,
    "customer": text,
    "customer_email": text,
    "discounts": items,
    "expires_at": integer,
    "line_items": items,
    "mode": one_of("payment", "setup", "subscription"),
    "payment_intent_data": fields_of,
    "payment_method_types": texts,
    "subscription_data": fields_of,
    "success_url": text,
}
_PORTAL: dict[str, Field] = {
    "configuration": text,
    "customer": text,
    "flow_data": fields_of,
    "locale": text,
    "on_behalf_of": text,
    "return_url": text,
}
_PREVIEW: dict[str, Field] = {
    "coupon": text,
    "currency": text,
    "customer": text,
    "invoice_items": items,
    "preview_mode": text,
    "schedule": text,
    "subscription": text,
    "subscription_details": fields_of,
}


def create_session(state: State, params: Params) -> Json:
    """Open until it is expired; nobody pays here. Its `line_items` appear only if they are expanded."""
    given = read(params, _SESSION, required=("mode",))
    if given["mode"] != "setup" and not given.get("line_items"):
        raise Refused(
            f"You must provide line_items in {given['mode']} mode.", code="parameter_missing", param="line_items"
        )
    if given.get("customer"):
        state.named("customer", given["customer"], "customer")
    session, _ = make_up(state, "checkout_session")
    children = [_line(state, line) for line in given.pop("line_items", [])]
    total = sum(line["amount_total"] for line in children)
    session.update(
        amount_subtotal=total,
        amount_total=total,
        client_reference_id=None,
        currency=children[0]["currency"] if children else None,
        customer=None,
        customer_details=None,
        metadata={},
        payment_intent=None,
        payment_status="unpaid",
        status="open",
        url=f"https://checkout.stripe.com/c/pay/{session['id']}",
    )
    session.update({name: value for name, value in given.items() if name in session})
    merge_metadata(session, params)
    return state.create("checkout_session", session, children)


def _line(state: State, given: Json) -> Json:
    asked = read(given, {"price": text, "price_data": fields_of, "quantity": integer, "adjustable_quantity": fields_of})
    if asked.get("price_data"):
        price = create_price(state, asked["price_data"], listed=False)
    else:
        price = state.named("price", asked.get("price", ""), "line_items[0][price]")
    quantity = asked.get("quantity", 1)
    amount = price["unit_amount"] * quantity
    return {
        "id": "li_1" + state.dice.token(22),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": price["nickname"] or "Seat",
        "price": price,
        "quantity": quantity,
    }


def expire_session(state: State, id: str) -> Json:
    session = state.get("checkout_session", id)
    if session["status"] != "open":
        raise Refused(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"{session['status']}."
        )
    session.update(status="expired", url=None)
    return state.change("checkout_session", session, also=("expired",))


def create_portal_session(state: State, params: Params) -> Json:
    """Lives for some minutes, in no list."""
    given = read(params, _PORTAL, required=("customer",))
    customer = state.named("customer", given["customer"], "customer")
    return {
        "id": "bps_1" + state.dice.token(22),
        "object": "billing_portal.session",
        "configuration": given.get("configuration") or "bpc_1" + state.dice.token(22),
        "created": state.now(),
        "customer": customer["id"],
        "flow": None,
        "livemode": state.livemode,
        "locale": given.get("locale"),
        "on_behalf_of": None,
        "return_url": given.get("return_url"),
        "url": f"https://billing.stripe.com/p/session/test_{state.dice.token(40)}",
    }


def preview_invoice(state: State, params: Params) -> Json:
    """What a subscription's next invoice would be. It is kept nowhere."""
    given = read(params, _PREVIEW)
    subscription = _subscription_of(state, given)
    customer = state.get("customer", subscription["customer"])
    id = "upcoming_in_1" + state.dice.token(22)
    lines = [_previewed(state, id, item) for item in state.children("subscription", subscription["id"])]
    invoice = invoice_shapes.invoice(id, state.now(), state.livemode, customer, subscription["currency"], lines)
    invoice_shapes.bill_subscription(invoice, subscription["id"], "upcoming")
    return invoice


def _subscription_of(state: State, given: Json) -> Json:
    if given.get("subscription"):
        return state.named("subscription", given["subscription"], "subscription")
    if not given.get("customer"):
        raise Refused("You must provide at least one of: customer, subscription.", code="parameter_missing")
    state.named("customer", given["customer"], "customer")
    for record in state.shelves["subscription"].indexed("customer", given["customer"]):
        found: Json = state.get("subscription", record.id)
        if found["status"] in ("active", "past_due", "trialing"):
            return found
    raise Refused(f"No upcoming invoices for customer: {given['customer']}", status=404, code="invoice_upcoming_none")


def _previewed(state: State, invoice_id: str, item: Any) -> Json:
    period = (item["current_period_end"], item["current_period_end"] + 30 * 86_400)
    id = "il_tmp_1" + state.dice.token(22)
    line = invoice_shapes.line_item(id, invoice_id, state.livemode, item["price"], period, item["quantity"])
    invoice_shapes.item_of_subscription(line, item["subscription"], item["id"])
    return line
