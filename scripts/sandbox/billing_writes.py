"""Creates, updates and ends subscriptions and invoices within Stripe's rules."""

from typing import Any

from scripts.sandbox import invoice_shapes, subscription_shapes
from scripts.sandbox.answers import Refused, no_such
from scripts.sandbox.fields import Field, fields_of, flag, integer, merge_metadata, one_of, read, text
from scripts.sandbox.forms import Params
from scripts.sandbox.kinds import INVOICE, SUBSCRIPTION
from scripts.sandbox.price_writes import create_price
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State

_MAX_ITEMS = 20
_PERIOD_S = {"day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400, "year": 365 * 86_400}


def items(value: Any, param: str) -> list[Json]:
    """A list of nested objects: subscription items, invoice lines."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Refused("Invalid array", param=param)
    return value


_SUBSCRIPTION_UPDATE: dict[str, Field] = {
    "cancel_at_period_end": flag,
    "collection_method": one_of("charge_automatically", "send_invoice"),
    "days_until_due": integer,
    "default_payment_method": text,
    "description": text,
    "items": items,
    "pause_collection": fields_of,
    "proration_behavior": one_of("always_invoice", "create_prorations", "none"),
    "trial_end": integer,
}
_INVOICE_UPDATE: dict[str, Field] = {
    "auto_advance": flag,
    "collection_method": one_of("charge_automatically", "send_invoice"),
    "days_until_due": integer,
    "description": text,
    "due_date": integer,
    "footer": text,
}
_LINE: dict[str, Field] = {
    "amount": integer,
    "description": text,
    "price": text,
    "pricing": fields_of,
    "quantity": integer,
}


def create_subscription(state: State, params: Params) -> Json:
    """Active, or trialing with a `trial_end`. An item's `price_data` creates an inline price. Creates no invoice."""
    given = read(params, {**_SUBSCRIPTION_UPDATE, "customer": text}, required=("customer", "items"))
    customer = state.named("customer", given["customer"], "customer")
    id = state.new_id(SUBSCRIPTION)
    children = [_new_item(state, id, item) for item in given.pop("items")]
    _check_items(children)
    subscription = subscription_shapes.subscription(
        id, state.now(), state.livemode, customer["id"], children[0]["price"]["currency"], children
    )
    _apply(state, subscription, given)
    if subscription["trial_end"]:
        subscription.update(status="trialing", trial_start=state.now())
    merge_metadata(subscription, params)
    return state.create("subscription", subscription, children)


def _new_item(state: State, subscription_id: str, given: Json) -> Json:
    """An item with a price's id, or with the data of a price of its own."""
    if "price_data" in given:
        price = create_price(state, given["price_data"], listed=False)
    else:
        price = state.named("price", given.get("price", ""), "items[0][price]")
    if price["recurring"] is None:
        raise Refused(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
        )
    start = state.now()
    period = (start, start + _PERIOD_S[price["recurring"]["interval"]])
    item = subscription_shapes.subscription_item("si_" + state.dice.token(14), start, price, subscription_id, period)
    item["quantity"] = integer(given.get("quantity", "1"), "items[0][quantity]")
    return item


def _check_items(children: list[Json]) -> None:
    if not children:
        raise Refused("A subscription must have at least one active plan.", param="items")
    if len(children) > _MAX_ITEMS:
        raise Refused(f"A subscription can have at most {_MAX_ITEMS} items.", param="items")
    if len({item["price"]["currency"] for item in children}) > 1:
        raise Refused("All prices on a subscription must have the same currency.", param="items")


def _apply(state: State, subscription: Json, given: Json) -> None:
    given.pop("proration_behavior", None)
    subscription.update(given)
    if "cancel_at_period_end" in given:
        ends = given["cancel_at_period_end"]
        subscription["canceled_at"] = state.now() if ends else None
        subscription["cancel_at"] = subscription["items"]["data"][0]["current_period_end"] if ends else None


def update_subscription(state: State, id: str, params: Params) -> Json:
    subscription = state.get("subscription", id)
    given = read(params, _SUBSCRIPTION_UPDATE)
    if subscription["status"] in ("canceled", "incomplete_expired") and given:
        raise Refused("A canceled subscription can only update its cancellation_details and metadata.")
    children = _changed_items(state, id, given.pop("items")) if "items" in given else None
    if children is not None:
        subscription["items"] = subscription_shapes.embedded_list(children, subscription["items"]["url"])
    _apply(state, subscription, given)
    merge_metadata(subscription, params)
    return state.change("subscription", subscription, children)


def _changed_items(state: State, id: str, given: list[Json]) -> list[Json]:
    """Changes or deletes items with an id, and adds those without. All others stay."""
    children = {item["id"]: item for item in state.children("subscription", id)}
    for item in given:
        known = item.get("id")
        if not isinstance(known, str):
            added = _new_item(state, id, item)
            children[added["id"]] = added
        elif known not in children:
            raise no_such("subscription item", known, param="items[0][id]", status=400)
        elif item.get("deleted") == "true":
            del children[known]
        else:
            changed = _new_item(state, id, {"price": children[known]["price"]["id"], **item})
            children[known] = {**changed, "id": known, "created": children[known]["created"]}
    _check_items(list(children.values()))
    return list(children.values())


def cancel_subscription(state: State, id: str) -> Json:
    """An ended subscription does not exist for this call, as at Stripe."""
    subscription = state.get("subscription", id)
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise no_such("subscription", id)
    return state.end_subscription(subscription, "cancellation_requested")


def create_invoice(state: State, params: Params) -> Json:
    """A draft without lines. `add_lines` adds them."""
    fields = {**_INVOICE_UPDATE, "currency": text, "customer": text, "subscription": text}
    given = read(params, fields, required=("customer",))
    customer = state.named("customer", given.pop("customer"), "customer")
    currency = (given.pop("currency", None) or "usd").lower()
    invoice = invoice_shapes.invoice(state.new_id(INVOICE), state.now(), state.livemode, customer, currency, [])
    if "subscription" in given:
        subscription = state.named("subscription", given.pop("subscription"), "subscription")
        invoice_shapes.bill_subscription(invoice, subscription["id"], "subscription_update")
    invoice.update(_dated(state, given))
    merge_metadata(invoice, params)
    return state.create("invoice", invoice, [])


def _dated(state: State, given: Json) -> Json:
    days = given.pop("days_until_due", None)
    return given if days is None else {**given, "due_date": state.now() + days * 86_400}


def update_invoice(state: State, id: str, params: Params) -> Json:
    invoice = state.get("invoice", id)
    invoice.update(_dated(state, read(params, _INVOICE_UPDATE)))
    merge_metadata(invoice, params)
    return state.change("invoice", invoice)


def add_lines(state: State, id: str, params: Params) -> Json:
    invoice = _in_status(state, id, "draft")
    given = read(params, {"lines": items}, required=("lines",))
    lines = state.children("invoice", id) + [_new_line(state, invoice, line) for line in given["lines"]]
    total = sum(line["amount"] for line in lines)
    for name in (
        "amount_due",
        "amount_remaining",
        "subtotal",
        "subtotal_excluding_tax",
        "total",
        "total_excluding_tax",
    ):
        invoice[name] = total
    invoice["lines"] = subscription_shapes.embedded_list(lines, invoice["lines"]["url"])
    return state.change("invoice", invoice, lines)


def _new_line(state: State, invoice: Json, given: Json) -> Json:
    asked = read(given, _LINE)
    price_id = asked.get("price") or (asked.get("pricing") or {}).get("price")
    now = state.now()
    id = "il_1" + state.dice.token(22)
    price = state.named("price", price_id, "lines[0][pricing][price]") if price_id else _sum_of(invoice, asked)
    line = invoice_shapes.line_item(id, invoice["id"], state.livemode, price, (now, now), asked.get("quantity", 1))
    if price_id is None:
        line["pricing"] = None
    if "description" in asked:
        line["description"] = asked["description"]
    invoice_shapes.item_by_hand(line, "ii_1" + state.dice.token(22))
    return line


def _sum_of(invoice: Json, asked: Json) -> Json:
    """Replaces a price if a line has only an amount."""
    if "amount" not in asked:
        raise Refused("Missing required param: lines[0][amount].", code="parameter_missing", param="lines[0][amount]")
    amount = asked["amount"]
    return {
        "id": None,
        "product": None,
        "currency": invoice["currency"],
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
        "nickname": None,
    }


def finalize_invoice(state: State, id: str) -> Json:
    """From draft to open, or directly to paid if nothing is due."""
    invoice = _in_status(state, id, "draft")
    number = f"{invoice['customer'][-8:].upper()}-{state.now()}"
    invoice_shapes.finalize(invoice, state.now(), number, state.dice.token(48))
    if invoice["amount_due"] == 0:
        invoice_shapes.settle(invoice, "paid", state.now())
        return state.change("invoice", invoice, also=("finalized", "paid"))
    return state.change("invoice", invoice, also=("finalized",))


def settle_invoice(state: State, id: str, status: str, event: str) -> Json:
    """From open to paid, void or uncollectible."""
    invoice = _in_status(state, id, "open")
    invoice_shapes.settle(invoice, status, state.now())
    return state.change("invoice", invoice, also=(event,))


def delete_invoice(state: State, id: str) -> Json:
    """Deletes only drafts that no subscription created (stripe-facts.md, section 9)."""
    invoice = _in_status(state, id, "draft")
    if invoice["parent"] is not None:
        raise Refused("You can only delete one-off invoices, not those of a subscription.")
    return state.remove("invoice", id)


def _in_status(state: State, id: str, status: str) -> Json:
    invoice = state.get("invoice", id)
    if invoice["status"] != status:
        raise Refused(
            f"This invoice is {invoice['status']}; only {status} invoices can do that.", code="invoice_not_editable"
        )
    return invoice
