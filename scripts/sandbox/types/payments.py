"""The kinds and shapes of payments, and of what moves an account's money."""

from collections.abc import Mapping

from scripts.sandbox.rows import Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.subscription_shapes import embedded_list
from scripts.sandbox.types.kind import CHARGE_FILTERS, kind
from scripts.sandbox.types.maker import DAY, Made, Maker, Shape, without

KINDS: tuple[Kind, ...] = (
    kind(
        "refund",
        "refunds",
        "re_3",
        permission="charge",
        filters=CHARGE_FILTERS,
        events=("created", "failed", "updated"),
        event_prefix="refund",
    ),
    kind(
        "dispute",
        "disputes",
        "dp_1",
        filters=CHARGE_FILTERS,
        event_prefix="charge.dispute",
    ),
    kind(
        "payment_intent",
        "payment_intents",
        "pi_3",
        filters={"customer": "customer"},
        events=("created", "succeeded", "canceled", "payment_failed"),
        unsupported=("customer_account",),
        event_prefix="payment_intent",
    ),
    kind(
        "setup_intent",
        "setup_intents",
        "seti_1",
        filters={"customer": "customer", "payment_method": "payment_method"},
        events=("created", "succeeded", "canceled"),
        unsupported=("attach_to_self", "customer_account"),
        event_prefix="setup_intent",
    ),
    kind(
        "payout",
        "payouts",
        "po_1",
        filters={"destination": "destination"},
        statuses=("paid", "pending", "in_transit", "canceled", "failed"),
        unsupported=("arrival_date",),
        event_prefix="payout",
    ),
    kind(
        "balance_transaction",
        "balance_transactions",
        "txn_1",
        permission="balance",
        filters={"currency": "currency", "source": "source", "type": "type"},
        events=(),
        groups=("payout",),
        event_prefix="balance_transaction",
    ),
    kind(
        "transfer",
        "transfers",
        "tr_3",
        filters={"destination": "destination", "transfer_group": "transfer_group"},
        events=("created", "updated", "reversed"),
        children="reversals",
        event_prefix="transfer",
    ),
    kind(
        "early_fraud_warning",
        "radar/early_fraud_warnings",
        "issfr_1",
        permission="early_fraud_warning",
        filters=CHARGE_FILTERS,
        event_prefix="radar.early_fraud_warning",
        object="radar.early_fraud_warning",
    ),
)


def _refund(make: Maker, head: Json, about: Json | None) -> Made:
    charge = make.charge(about)
    return {
        **without(head, "livemode"),
        "amount": charge.get("amount_refunded") or charge["amount"],
        "balance_transaction": "txn_1" + make.dice.token(22),
        "charge": charge["id"],
        "currency": charge["currency"],
        "customer": charge["customer"],
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "payment_intent": charge["payment_intent"],
        "reason": make.dice.pick((None, "requested_by_customer", "duplicate")),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }, None


def _dispute(make: Maker, head: Json, about: Json | None) -> Made:
    charge = make.charge(about)
    status = make.dice.pick(("needs_response", "under_review", "won", "lost"))
    return {
        **head,
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {"customer_name": None, "uncategorized_text": None},
        "evidence_details": {
            "due_by": head["created"] + 14 * DAY,
            "has_evidence": status != "needs_response",
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": status == "needs_response",
        "payment_intent": charge["payment_intent"],
        "reason": make.dice.pick(("fraudulent", "product_not_received", "subscription_canceled")),
        "status": status,
    }, None


def _payment_intent(make: Maker, head: Json, about: Json | None) -> Made:
    charge = make.charge(about)
    is_paid = charge["status"] == "succeeded"
    if about:
        head["id"] = charge["payment_intent"]
    return {
        **head,
        "amount": charge["amount"],
        "amount_capturable": 0,
        "amount_received": charge["amount"] if is_paid else 0,
        "application_fee_amount": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "confirmation_method": "automatic",
        "currency": charge["currency"],
        "customer": charge["customer"],
        "description": charge.get("description"),
        "last_payment_error": None if is_paid else {"code": "card_declined", "type": "card_error"},
        "latest_charge": charge["id"],
        "payment_method": charge.get("payment_method"),
        "payment_method_types": ["card"],
        "receipt_email": charge.get("receipt_email"),
        "setup_future_usage": None,
        "status": "succeeded" if is_paid else "requires_payment_method",
    }, None


def _setup_intent(make: Maker, head: Json, about: Json | None) -> Made:
    return {
        **head,
        "cancellation_reason": None,
        "customer": make.id_of("customer"),
        "description": None,
        "last_setup_error": None,
        "latest_attempt": "setatt_1" + make.dice.token(22),
        "payment_method": "pm_1" + make.dice.token(22),
        "payment_method_types": ["card"],
        "status": make.dice.pick(("succeeded", "succeeded", "requires_payment_method", "canceled")),
        "usage": "off_session",
    }, None


def _payout(make: Maker, head: Json, about: Json | None) -> Made:
    """`about` is what is paid out. Without it, a manual payout: nobody knows which transactions it is made of."""
    paid_out = about or {"amount": make.dice.number(10_000, 9_000_000_000), "currency": "usd"}
    return {
        **head,
        "amount": paid_out["amount"],
        "arrival_date": head["created"] + 2 * DAY,
        "automatic": about is not None,
        "balance_transaction": "txn_1" + make.dice.token(22),
        "currency": paid_out["currency"],
        "description": "STRIPE PAYOUT",
        "destination": "ba_1" + make.dice.token(22),
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "method": "standard",
        "original_payout": None,
        "reconciliation_status": "completed" if about else "not_applicable",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "paid",
        "type": "bank_account",
    }, None


def _balance_transaction(make: Maker, head: Json, about: Json | None) -> Made:
    """Belongs to a charge, a refund or a payout, which names it."""
    source = about or make.some("charge") or {"object": "charge", "id": None, "amount": 900, "currency": "usd"}
    comes_in = source["object"] == "charge"
    fee = source["amount"] * 29 // 1000 + 30 if comes_in else 0
    amount = source["amount"] if comes_in else -source["amount"]
    if about:
        head["id"] = source["balance_transaction"]
    return {
        **without(head, "livemode", "metadata"),
        "amount": amount,
        "available_on": head["created"] + 2 * DAY,
        "balance_type": "payments",
        "currency": source["currency"],
        "description": source.get("description"),
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [{"amount": fee, "currency": source["currency"], "type": "stripe_fee"}] if fee else [],
        "net": amount - fee,
        "reporting_category": source["object"],
        "source": source["id"],
        "status": "available",
        "type": source["object"],
    }, None


def _transfer(make: Maker, head: Json, about: Json | None) -> Made:
    charge, id = make.charge(about), head["id"]
    count = make.dice.number(11, 14) if make.dice.chance(0.05) else make.dice.pick((0, 0, 0, 1))
    reversals = [
        {
            "id": "trr_3" + make.dice.token(22),
            "object": "transfer_reversal",
            "amount": 1,
            "balance_transaction": None,
            "created": head["created"],
            "currency": charge["currency"],
            "metadata": {},
            "transfer": id,
        }
        for _ in range(count)
    ]
    return {
        **head,
        "amount": charge["amount"],
        "amount_reversed": count,
        "balance_transaction": "txn_1" + make.dice.token(22),
        "currency": charge["currency"],
        "description": None,
        "destination": "acct_1" + make.dice.token(15),
        "destination_payment": "py_1" + make.dice.token(22),
        "reversals": embedded_list(reversals, f"/v1/transfers/{id}/reversals"),
        "reversed": False,
        "source_transaction": charge["id"],
        "source_type": "card",
        "transfer_group": make.dice.pick((None, "ORDER 1", "ORDER 2")),
    }, reversals


def _early_fraud_warning(make: Maker, head: Json, about: Json | None) -> Made:
    charge = make.charge(about)
    return {
        **without(head, "metadata"),
        "actionable": True,
        "charge": charge["id"],
        "fraud_type": make.dice.pick(("made_with_stolen_card", "misc", "unauthorized_use_of_card")),
        "payment_intent": charge["payment_intent"],
    }, None


SHAPES: Mapping[str, Shape] = {
    "refund": _refund,
    "dispute": _dispute,
    "payment_intent": _payment_intent,
    "setup_intent": _setup_intent,
    "payout": _payout,
    "balance_transaction": _balance_transaction,
    "transfer": _transfer,
    "early_fraud_warning": _early_fraud_warning,
}
