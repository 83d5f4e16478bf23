"""Stripe objects and events as tests need them: small, in today's shape, any field as the test says."""

import itertools
from typing import Any

import msgspec

from sync.stripe.sdk import API_VERSION

Json = dict[str, Any]

# A second on Stripe's clock, and the day on which most of what factories make was created.
NOW = 1_767_225_600  # 2026-01-01
DAY = 86_400
CREATED = NOW - 30 * DAY

ACCOUNT_ID = "acct_1Test"

_numbers = itertools.count(1)


def customer(id: str = "cus_1", **fields: Any) -> Json:
    return {"id": id, "object": "customer", "created": CREATED, "email": "ada@example.com", "metadata": {}, **fields}


def product(id: str = "prod_1", **fields: Any) -> Json:
    return {"id": id, "object": "product", "created": CREATED, "active": True, "name": "Team", "metadata": {}, **fields}


def price(id: str = "price_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "price",
        "created": CREATED,
        "active": True,
        "currency": "usd",
        "product": "prod_1",
        "type": "recurring",
        "unit_amount": 4900,
        "unit_amount_decimal": "4900",
        "recurring": {"interval": "month", "interval_count": 1},
        "metadata": {},
        **fields,
    }


def subscription(id: str = "sub_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "subscription",
        "created": CREATED,
        "customer": "cus_1",
        "status": "active",
        "currency": "usd",
        "items": listed(subscription_item()),
        "metadata": {},
        **fields,
    }


def subscription_item(id: str = "si_1", **fields: Any) -> Json:
    period = {"current_period_start": CREATED, "current_period_end": CREATED + 30 * DAY}
    return {"id": id, "object": "subscription_item", "price": price(), "quantity": 1, **period, **fields}


def invoice(id: str = "in_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "invoice",
        "created": CREATED,
        "customer": "cus_1",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
        "status": "paid",
        "currency": "usd",
        "total": 4900,
        "lines": listed(invoice_line()),
        "metadata": {},
        **fields,
    }


def invoice_line(id: str = "il_1", price_id: str = "price_1", **fields: Any) -> Json:
    pricing = {"type": "price_details", "price_details": {"price": price_id, "product": "prod_1"}}
    return {"id": id, "object": "line_item", "amount": 4900, "currency": "usd", "pricing": pricing, **fields}


def charge(id: str = "ch_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "charge",
        "created": CREATED,
        "customer": "cus_1",
        "amount": 4900,
        "currency": "usd",
        "status": "succeeded",
        "paid": True,
        "metadata": {},
        **fields,
    }


def refund(id: str = "re_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "refund",
        "created": CREATED,
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "amount": 4900,
        "currency": "usd",
        "status": "succeeded",
        "reason": None,
        "metadata": {},
        **fields,
    }


def dispute(id: str = "dp_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "dispute",
        "created": CREATED,
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "amount": 4900,
        "currency": "usd",
        "status": "needs_response",
        "reason": "fraudulent",
        "evidence_details": {"due_by": CREATED + 14 * DAY},
        "balance_transactions": [{"id": "txn_1"}],
        "metadata": {},
        **fields,
    }


def payment_intent(id: str = "pi_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "payment_intent",
        "created": CREATED,
        "customer": "cus_1",
        "latest_charge": "ch_1",
        "amount": 4900,
        "currency": "usd",
        "amount_received": 4900,
        "status": "succeeded",
        "metadata": {},
        **fields,
    }


def setup_intent(id: str = "seti_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "setup_intent",
        "created": CREATED,
        "customer": "cus_1",
        "payment_method": "pm_1",
        "status": "succeeded",
        "usage": "off_session",
        "metadata": {},
        **fields,
    }


def payout(id: str = "po_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "payout",
        "created": CREATED,
        "amount": 4900,
        "currency": "usd",
        "status": "paid",
        "arrival_date": CREATED + 2 * DAY,
        "destination": "ba_1",
        "balance_transaction": "txn_1",
        "metadata": {},
        **fields,
    }


def balance_transaction(id: str = "txn_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "balance_transaction",
        "created": CREATED,
        "source": "ch_1",
        "type": "charge",
        "amount": 4900,
        "currency": "usd",
        "fee": 172,
        "net": 4728,
        "status": "available",
        "available_on": CREATED + 2 * DAY,
        **fields,
    }


def transfer(id: str = "tr_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "transfer",
        "created": CREATED,
        "destination": "acct_2",
        "source_transaction": "ch_1",
        "amount": 4900,
        "currency": "usd",
        "reversals": listed(),
        "metadata": {},
        **fields,
    }


def early_fraud_warning(id: str = "issfr_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "radar.early_fraud_warning",
        "created": CREATED,
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "fraud_type": "misc",
        "actionable": True,
        **fields,
    }


def coupon(id: str = "SUMMER_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "coupon",
        "created": CREATED,
        "name": "Summer",
        "percent_off": 12.5,
        "duration": "once",
        "valid": True,
        "metadata": {},
        **fields,
    }


def promotion_code(id: str = "promo_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "promotion_code",
        "created": CREATED,
        "code": "SUN",
        "promotion": {"type": "coupon", "coupon": "SUMMER_1"},
        "active": True,
        "metadata": {},
        **fields,
    }


def tax_rate(id: str = "txr_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "tax_rate",
        "created": CREATED,
        "display_name": "VAT",
        "percentage": 8.875,
        "inclusive": False,
        "active": True,
        "metadata": {},
        **fields,
    }


def checkout_session(id: str = "cs_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "checkout.session",
        "created": CREATED,
        "customer": "cus_1",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "currency": "usd",
        "amount_total": 4900,
        "line_items": listed({"id": "li_1", "object": "item"}),
        "metadata": {},
        **fields,
    }


def credit_note(id: str = "cn_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "credit_note",
        "created": CREATED,
        "customer": "cus_1",
        "invoice": "in_1",
        "number": "CN-1",
        "status": "issued",
        "currency": "usd",
        "total": 900,
        "refunds": [{"refund": "re_1"}],
        "lines": listed({"id": "cnli_1", "object": "credit_note_line_item"}),
        "metadata": {},
        **fields,
    }


def invoiceitem(id: str = "ii_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "invoiceitem",
        "date": fields.pop("created", CREATED),
        "customer": "cus_1",
        "invoice": "in_1",
        "amount": 4900,
        "currency": "usd",
        "pricing": {"type": "price_details", "price_details": {"price": "price_1", "product": "prod_1"}},
        "period": {"start": CREATED, "end": CREATED + DAY},
        "metadata": {},
        **fields,
    }


def invoice_payment(id: str = "inpay_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "invoice_payment",
        "created": CREATED,
        "invoice": "in_1",
        "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
        "currency": "usd",
        "amount_paid": 4900,
        "status": "paid",
        "status_transitions": {"paid_at": CREATED + 60},
        **fields,
    }


def subscription_schedule(id: str = "sub_sched_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "subscription_schedule",
        "created": CREATED,
        "customer": "cus_1",
        "subscription": "sub_1",
        "status": "active",
        "current_phase": {"start_date": CREATED, "end_date": CREATED + 30 * DAY},
        "metadata": {},
        **fields,
    }


def quote(id: str = "qt_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "quote",
        "created": CREATED,
        "customer": "cus_1",
        "number": "QT-1",
        "status": "open",
        "currency": "usd",
        "amount_total": 4900,
        "metadata": {},
        **fields,
    }


def payment_link(id: str = "plink_1", **fields: Any) -> Json:
    return {"id": id, "object": "payment_link", "active": True, "url": "https://buy.example", "metadata": {}, **fields}


def meter(id: str = "mtr_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "billing.meter",
        "created": CREATED,
        "display_name": "Requests",
        "event_name": "requests",
        "status": "active",
        **fields,
    }


def feature(id: str = "feat_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "entitlements.feature",
        "active": True,
        "lookup_key": "export",
        "name": "Export",
        "metadata": {},
        **fields,
    }


def payment_method(id: str = "pm_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"email": "ada@example.com", "name": "Ada"},
        "card": {
            "brand": "visa",
            "country": "DE",
            "exp_month": 4,
            "exp_year": 2031,
            "fingerprint": "f1",
            "funding": "credit",
            "last4": "4242",
        },
        "created": NOW,
        "customer": "cus_1",
        "type": "card",
        "metadata": {},
        **fields,
    }


def customer_balance_transaction(id: str = "cbtxn_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "customer_balance_transaction",
        "amount": -500,
        "checkout_session": None,
        "created": NOW,
        "credit_note": "cn_1",
        "currency": "usd",
        "customer": "cus_1",
        "description": "Goodwill",
        "ending_balance": -500,
        "invoice": "in_1",
        "type": "adjustment",
        "metadata": {},
        **fields,
    }


def tax_id(id: str = "txi_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "tax_id",
        "country": "DE",
        "created": NOW,
        "customer": "cus_1",
        "owner": {"customer": "cus_1", "type": "customer"},
        "type": "eu_vat",
        "value": "DE123456789",
        "verification": {"status": "verified", "verified_address": None, "verified_name": "Ada GmbH"},
        **fields,
    }


FACTORIES = {
    "customer": customer,
    "product": product,
    "price": price,
    "subscription": subscription,
    "invoice": invoice,
    "charge": charge,
    "refund": refund,
    "dispute": dispute,
    "payment_intent": payment_intent,
    "setup_intent": setup_intent,
    "payout": payout,
    "balance_transaction": balance_transaction,
    "transfer": transfer,
    "early_fraud_warning": early_fraud_warning,
    "coupon": coupon,
    "promotion_code": promotion_code,
    "tax_rate": tax_rate,
    "checkout_session": checkout_session,
    "credit_note": credit_note,
    "invoiceitem": invoiceitem,
    "invoice_payment": invoice_payment,
    "subscription_schedule": subscription_schedule,
    "quote": quote,
    "payment_link": payment_link,
    "meter": meter,
    "feature": feature,
    "payment_method": payment_method,
    "customer_balance_transaction": customer_balance_transaction,
    "tax_id": tax_id,
}


def listed(*objects: Json, has_more: bool = False) -> Json:
    """A list as Stripe embeds it or answers with it."""
    return {"object": "list", "data": list(objects), "has_more": has_more}


def event(about: Json, type: str | None = None, *, created: int = NOW, **fields: Any) -> Json:
    """By default `<type>.updated`, with an id of its own."""
    return {
        "id": f"evt_{next(_numbers)}",
        "object": "event",
        "type": type or f"{about['object']}.updated",
        "created": created,
        "livemode": False,
        "api_version": API_VERSION,
        "data": {"object": about},
        **fields,
    }


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
