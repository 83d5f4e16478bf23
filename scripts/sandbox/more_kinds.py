"""The object types beyond the first six: the address of each list, its filters, and the type's events.

Some have few events: Stripe sends none for a balance transaction or for a change of an invoice item.
"""

from collections.abc import Mapping
from typing import Any

from scripts.sandbox.rows import Facet, Filter, Kind
from scripts.sandbox.shapes import Json


def _facet(name: str) -> Any:
    def read(obj: Json) -> Facet:
        value = obj
        for part in name.split("."):
            value = (value or {}).get(part)  # type: ignore[assignment]
        if isinstance(value, bool):
            return "true" if value else "false"
        return value  # type: ignore[return-value]

    return read


def _kind(
    name: str,
    plural: str,
    prefix: str,
    *,
    length: int = 22,
    permission: str = "",
    filters: Mapping[str, str] | None = None,
    statuses: tuple[str, ...] = (),
    events: tuple[str, ...] = ("created", "updated"),
    **fields: Any,
) -> Kind:
    """`filters`: parameter -> where its value is in the object. `statuses` are those of a `status` parameter."""
    narrowed = {param: Filter(param, ("true", "false") if param in _FLAGS else ()) for param in filters or {}}
    facets = {param: _facet(place) for param, place in (filters or {}).items()}
    if statuses:
        narrowed["status"] = Filter("status", statuses)
        facets["status"] = _facet("status")
    return Kind(name, plural, prefix, length, permission or name, facets, filters=narrowed, events=events, **fields)


_FLAGS = ("active", "inclusive")
_CHARGE = {"charge": "charge", "payment_intent": "payment_intent"}

_ROWS = (
    _kind(
        "refund",
        "refunds",
        "re_3",
        permission="charge",
        filters=_CHARGE,
        events=("created", "failed", "updated"),
        event_prefix="refund",
    ),
    _kind("dispute", "disputes", "dp_1", filters=_CHARGE, event_prefix="charge.dispute"),
    _kind(
        "payment_intent",
        "payment_intents",
        "pi_3",
        filters={"customer": "customer"},
        events=("created", "succeeded", "canceled", "payment_failed"),
        unsupported=("customer_account",),
        event_prefix="payment_intent",
    ),
    _kind(
        "setup_intent",
        "setup_intents",
        "seti_1",
        filters={"customer": "customer", "payment_method": "payment_method"},
        events=("created", "succeeded", "canceled"),
        unsupported=("attach_to_self", "customer_account"),
        event_prefix="setup_intent",
    ),
    _kind(
        "payout",
        "payouts",
        "po_1",
        filters={"destination": "destination"},
        statuses=("paid", "pending", "in_transit", "canceled", "failed"),
        unsupported=("arrival_date",),
        event_prefix="payout",
    ),
    _kind(
        "balance_transaction",
        "balance_transactions",
        "txn_1",
        permission="balance",
        filters={"currency": "currency", "source": "source", "type": "type"},
        events=(),
        unsupported=("payout",),
        event_prefix="balance_transaction",
    ),
    _kind(
        "coupon",
        "coupons",
        "",
        length=8,
        events=("created", "updated", "deleted"),
        deletable=True,
        event_prefix="coupon",
    ),
    _kind(
        "promotion_code",
        "promotion_codes",
        "promo_1",
        filters={"active": "active", "code": "code", "coupon": "promotion.coupon", "customer": "customer"},
        unsupported=("customer_account",),
        event_prefix="promotion_code",
    ),
    _kind(
        "tax_rate",
        "tax_rates",
        "txr_1",
        filters={"active": "active", "inclusive": "inclusive"},
        event_prefix="tax_rate",
    ),
    _kind(
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
    _kind(
        "credit_note",
        "credit_notes",
        "cn_1",
        filters={"customer": "customer", "invoice": "invoice"},
        unsupported=("customer_account",),
        children="lines",
        event_prefix="credit_note",
    ),
    _kind(
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
    _kind(
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
    _kind(
        "subscription_schedule",
        "subscription_schedules",
        "sub_sched_1",
        permission="subscription",
        filters={"customer": "customer"},
        events=("created", "updated", "canceled", "released"),
        unsupported=("canceled_at", "completed_at", "customer_account", "released_at", "scheduled"),
        event_prefix="subscription_schedule",
    ),
    _kind(
        "transfer",
        "transfers",
        "tr_3",
        filters={"destination": "destination", "transfer_group": "transfer_group"},
        events=("created", "updated", "reversed"),
        children="reversals",
        event_prefix="transfer",
    ),
    _kind(
        "early_fraud_warning",
        "radar/early_fraud_warnings",
        "issfr_1",
        permission="early_fraud_warning",
        filters=_CHARGE,
        event_prefix="radar.early_fraud_warning",
        object="radar.early_fraud_warning",
    ),
    _kind(
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
    _kind(
        "payment_link",
        "payment_links",
        "plink_1",
        filters={"active": "active"},
        created="",
        lists_by_time=False,
        event_prefix="payment_link",
    ),
    _kind(
        "meter",
        "billing/meters",
        "mtr_test_",
        permission="billing_meter",
        statuses=("active", "inactive"),
        lists_by_time=False,
        event_prefix="billing.meter",
        object="billing.meter",
    ),
    _kind(
        "feature",
        "entitlements/features",
        "feat_test_",
        permission="entitlement",
        filters={"lookup_key": "lookup_key"},
        events=(),
        created="",
        lists_by_time=False,
        unsupported=("archived",),
        event_prefix="entitlements.feature",
        object="entitlements.feature",
    ),
)

MORE_KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ROWS}
# The contents of an account at scale 1, except types whose number follows from the first six.
MORE_COUNTS: Mapping[str, int] = {
    "setup_intent": 120,
    "coupon": 12,
    "promotion_code": 30,
    "tax_rate": 8,
    "checkout_session": 260,
    "credit_note": 90,
    "invoiceitem": 150,
    "subscription_schedule": 40,
    "transfer": 60,
    "early_fraud_warning": 15,
    "quote": 130,
    "payment_link": 25,
    "meter": 6,
    "feature": 9,
}
