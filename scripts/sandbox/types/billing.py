"""The kinds and shapes of what bills a customer."""

from collections.abc import Mapping

from scripts.sandbox.rows import Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.subscription_shapes import embedded_list
from scripts.sandbox.types.kind import kind
from scripts.sandbox.types.maker import DAY, Made, Maker, Shape, without

KINDS: tuple[Kind, ...] = (
    kind(
        "checkout_session",
        "checkout/sessions",
        "cs_test_",
        length=58,
        filters={
            "customer": "customer",
            "payment_intent": "payment_intent",
            "payment_link": "payment_link",
            "subscription": "subscription",
        },
        statuses=("open", "complete", "expired"),
        events=("completed", "expired"),
        unsupported=("customer_account", "customer_details"),
        children="line_items",
        hides_children=True,
        event_prefix="checkout.session",
        object="checkout.session",
    ),
    kind(
        "credit_note",
        "credit_notes",
        "cn_1",
        filters={"customer": "customer", "invoice": "invoice"},
        unsupported=("customer_account",),
        children="lines",
        event_prefix="credit_note",
    ),
    kind(
        "invoiceitem",
        "invoiceitems",
        "ii_1",
        permission="invoice",
        filters={"customer": "customer", "invoice": "invoice"},
        events=("created", "deleted"),
        deletable=True,
        unsupported=("customer_account", "pending"),
        created="date",
        event_prefix="invoiceitem",
    ),
    kind(
        "invoice_payment",
        "invoice_payments",
        "inpay_1",
        permission="invoice",
        filters={"invoice": "invoice"},
        statuses=("open", "paid", "canceled"),
        events=("paid",),
        unsupported=("payment",),
        event_prefix="invoice_payment",
    ),
    kind(
        "subscription_schedule",
        "subscription_schedules",
        "sub_sched_1",
        permission="subscription",
        filters={"customer": "customer"},
        events=("created", "updated", "canceled", "released"),
        unsupported=("canceled_at", "completed_at", "customer_account", "released_at", "scheduled"),
        event_prefix="subscription_schedule",
    ),
    kind(
        "quote",
        "quotes",
        "qt_1",
        filters={"customer": "customer"},
        statuses=("draft", "open", "accepted", "canceled"),
        events=("created", "accepted", "canceled", "finalized"),
        unsupported=("customer_account", "test_clock"),
        lists_by_time=False,
        event_prefix="quote",
    ),
)


def _checkout_session(make: Maker, head: Json, about: Json | None) -> Made:
    """Its `line_items` appear only if they are expanded."""
    charge, count = make.charge(about), make.many()
    items = [make.line("li_1", "item", charge["currency"]) for _ in range(count)]
    is_done = make.dice.chance(0.7)
    return {
        **head,
        "amount_subtotal": charge["amount"],
        "amount_total": charge["amount"],
        "cancel_url": None,
        "client_reference_id": make.dice.token(8),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_details": {"email": "buyer@example.com", "name": "Zoë Buyer"},
        "customer_email": None,
        "expires_at": head["created"] + DAY,
        "invoice": None,
        "mode": "payment",
        "payment_intent": charge["payment_intent"] if is_done else None,
        "payment_link": None,
        "payment_method_types": ["card"],
        "payment_status": "paid" if is_done else "unpaid",
        "setup_intent": None,
        "status": "complete" if is_done else make.dice.pick(("open", "expired")),
        "subscription": None,
        "success_url": "https://example.com/thanks",
        "ui_mode": "hosted",
        "url": None,
    }, items


def _credit_note(make: Maker, head: Json, about: Json | None) -> Made:
    invoice = about or make.some("invoice") or {"id": None, "customer": None, "currency": "usd"}
    lines = [make.line("cnli_1", "credit_note_line_item", invoice["currency"]) for _ in range(make.many())]
    total = sum(line["amount"] for line in lines)
    return {
        **head,
        "amount": total,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": head["created"],
        "invoice": invoice["id"],
        "lines": embedded_list(lines, f"/v1/credit_notes/{head['id']}/lines"),
        "memo": make.dice.pick((None, "Gutschrift")),
        "number": f"CN-{make.dice.number(1, 99999):05}",
        "pdf": f"https://pay.stripe.com/credit_notes/{head['id']}/pdf",
        "reason": make.dice.pick(("duplicate", "order_change", "product_unsatisfactory", None)),
        "refunds": [],
        "status": "issued",
        "subtotal": total,
        "total": total,
        "type": "post_payment",
        "voided_at": None,
    }, lines


def _invoiceitem(make: Maker, head: Json, about: Json | None) -> Made:
    price = make.some("price") or {"id": None, "product": None, "currency": "usd", "unit_amount": 900}
    return {
        **head,
        "amount": price["unit_amount"],
        "currency": price["currency"],
        "customer": make.id_of("customer"),
        "description": "Added by hand",
        "discountable": True,
        "discounts": [],
        "invoice": make.id_of("invoice") if make.dice.chance(0.5) else None,
        "parent": None,
        "period": {"end": head["date"], "start": head["date"]},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": str(price["unit_amount"]),
        },
        "proration": False,
        "quantity": 1,
        "tax_rates": [],
        "test_clock": None,
    }, None


def _invoice_payment(make: Maker, head: Json, about: Json | None) -> Made:
    """`about` is the charge, and the invoice that it is for under `invoice`."""
    charge = make.charge(about)
    invoice = charge.get("invoice") or make.some("invoice") or {"id": None}
    is_paid = charge["status"] == "succeeded"
    return {
        **without(head, "metadata"),
        "amount_paid": charge["amount"] if is_paid else None,
        "amount_requested": charge["amount"],
        "currency": charge["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "payment": {"payment_intent": charge["payment_intent"], "type": "payment_intent"},
        "status": "paid" if is_paid else "open",
        "status_transitions": {"canceled_at": None, "paid_at": head["created"] if is_paid else None},
    }, None


def _subscription_schedule(make: Maker, head: Json, about: Json | None) -> Made:
    subscription = make.some("subscription") or {"id": None, "customer": None}
    status = make.dice.pick(("active", "not_started", "completed", "released"))
    start, end = head["created"], head["created"] + 365 * DAY
    return {
        **head,
        "canceled_at": None,
        "completed_at": end if status == "completed" else None,
        "current_phase": {"end_date": end, "start_date": start} if status == "active" else None,
        "customer": subscription["customer"],
        "end_behavior": "release",
        "phases": [{"end_date": end, "items": [], "metadata": {}, "start_date": start}],
        "released_at": start if status == "released" else None,
        "released_subscription": subscription["id"] if status == "released" else None,
        "status": status,
        "subscription": None if status == "released" else subscription["id"],
        "test_clock": None,
    }, None


def _quote(make: Maker, head: Json, about: Json | None) -> Made:
    amount = make.dice.number(1_000, 900_000)
    return {
        **head,
        "amount_subtotal": amount,
        "amount_total": amount,
        "collection_method": "charge_automatically",
        "currency": "usd",
        "customer": make.id_of("customer"),
        "description": None,
        "expires_at": head["created"] + 30 * DAY,
        "invoice": None,
        "number": f"QT-{make.dice.number(1, 99999):05}",
        "status": make.dice.pick(("draft", "open", "accepted", "canceled")),
        "subscription": None,
        "subscription_schedule": None,
        "test_clock": None,
    }, None


SHAPES: Mapping[str, Shape] = {
    "checkout_session": _checkout_session,
    "credit_note": _credit_note,
    "invoiceitem": _invoiceitem,
    "invoice_payment": _invoice_payment,
    "subscription_schedule": _subscription_schedule,
    "quote": _quote,
}
