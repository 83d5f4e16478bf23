"""Creates one object of a type beyond the first six. It names other objects of the account."""

from collections.abc import Callable, Mapping
from typing import Any

from scripts.sandbox.answers import decode
from scripts.sandbox.dice import Dice
from scripts.sandbox.more_kinds import MORE_KINDS
from scripts.sandbox.shapes import Json
from scripts.sandbox.shelf import Shelf
from scripts.sandbox.subscription_shapes import embedded_list

_DAY = 86_400
Made = tuple[Json, list[Json] | None]  # the object, and its list if it has one


class Maker:
    """Creates objects for one account. The same dice and shelves give the same objects."""

    def __init__(self, shelves: Mapping[str, Shelf], dice: Dice, *, livemode: bool) -> None:
        self._shelves = shelves
        self._dice = dice
        self._livemode = livemode
        self._makers: dict[str, Callable[[Json, Json | None], Made]] = {
            "refund": self._refund,
            "dispute": self._dispute,
            "payment_intent": self._payment_intent,
            "setup_intent": self._setup_intent,
            "payout": self._payout,
            "balance_transaction": self._balance_transaction,
            "coupon": self._coupon,
            "promotion_code": self._promotion_code,
            "tax_rate": self._tax_rate,
            "checkout_session": self._checkout_session,
            "credit_note": self._credit_note,
            "invoiceitem": self._invoiceitem,
            "invoice_payment": self._invoice_payment,
            "subscription_schedule": self._subscription_schedule,
            "transfer": self._transfer,
            "early_fraud_warning": self._early_fraud_warning,
            "quote": self._quote,
            "payment_link": self._payment_link,
            "meter": self._meter,
            "feature": self._feature,
        }

    def make(self, type: str, created: int, about: Json | None = None) -> Made:
        """`about` is the object that it belongs to, such as a payment intent's charge.

        None: any object of the account.
        """
        kind = MORE_KINDS[type]
        head = {
            "id": kind.id_prefix + self._dice.token(kind.id_length),
            "object": kind.object_name,
            **({kind.created: created} if kind.created else {}),
            "livemode": self._livemode,
            "metadata": {"source": self._dice.pick(("web", "sales", "パートナー"))} if self._dice.chance(0.5) else {},
        }
        return self._makers[type](head, about)

    def some(self, type: str) -> Json | None:
        """A random object that the account lists."""
        timeline = self._shelves[type].timeline
        if not len(timeline):
            return None
        found: Json = decode(timeline.at(self._dice.number(0, len(timeline) - 1)).body)
        return found

    def _id_of(self, type: str) -> str | None:
        found = self.some(type)
        return found["id"] if found else None

    def _charge(self, about: Json | None) -> Json:
        nothing = {"id": None, "amount": 900, "currency": "usd", "payment_intent": None, "customer": None, "status": ""}
        return about or self.some("charge") or nothing

    def _refund(self, head: Json, about: Json | None) -> Made:
        charge = self._charge(about)
        return {
            **_without(head, "livemode"),
            "amount": charge.get("amount_refunded") or charge["amount"],
            "balance_transaction": "txn_1" + self._dice.token(22),
            "charge": charge["id"],
            "currency": charge["currency"],
            "customer": charge["customer"],
            "destination_details": {"card": {"type": "refund"}, "type": "card"},
            "payment_intent": charge["payment_intent"],
            "reason": self._dice.pick((None, "requested_by_customer", "duplicate")),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }, None

    def _dispute(self, head: Json, about: Json | None) -> Made:
        charge = self._charge(about)
        status = self._dice.pick(("needs_response", "under_review", "won", "lost"))
        return {
            **head,
            "amount": charge["amount"],
            "balance_transactions": [],
            "charge": charge["id"],
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {"customer_name": None, "uncategorized_text": None},
            "evidence_details": {
                "due_by": head["created"] + 14 * _DAY,
                "has_evidence": status != "needs_response",
                "past_due": False,
                "submission_count": 0,
            },
            "is_charge_refundable": status == "needs_response",
            "payment_intent": charge["payment_intent"],
            "reason": self._dice.pick(("fraudulent", "product_not_received", "subscription_canceled")),
            "status": status,
        }, None

    def _payment_intent(self, head: Json, about: Json | None) -> Made:
        charge = self._charge(about)
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

    def _setup_intent(self, head: Json, about: Json | None) -> Made:
        return {
            **head,
            "cancellation_reason": None,
            "customer": self._id_of("customer"),
            "description": None,
            "last_setup_error": None,
            "latest_attempt": "setatt_1" + self._dice.token(22),
            "payment_method": "pm_1" + self._dice.token(22),
            "payment_method_types": ["card"],
            "status": self._dice.pick(("succeeded", "succeeded", "requires_payment_method", "canceled")),
            "usage": "off_session",
        }, None

    def _payout(self, head: Json, about: Json | None) -> Made:
        paid_out = about or {"amount": self._dice.number(10_000, 9_000_000_000), "currency": "usd"}
        return {
            **head,
            "amount": paid_out["amount"],
            "arrival_date": head["created"] + 2 * _DAY,
            "automatic": True,
            "balance_transaction": "txn_1" + self._dice.token(22),
            "currency": paid_out["currency"],
            "description": "STRIPE PAYOUT",
            "destination": "ba_1" + self._dice.token(22),
            "failure_balance_transaction": None,
            "failure_code": None,
            "failure_message": None,
            "method": "standard",
            "original_payout": None,
            "reconciliation_status": "completed",
            "reversed_by": None,
            "source_type": "card",
            "statement_descriptor": None,
            "status": "paid",
            "type": "bank_account",
        }, None

    def _balance_transaction(self, head: Json, about: Json | None) -> Made:
        """Belongs to a charge, a refund or a payout, which names it."""
        source = about or self.some("charge") or {"object": "charge", "id": None, "amount": 900, "currency": "usd"}
        comes_in = source["object"] == "charge"
        fee = source["amount"] * 29 // 1000 + 30 if comes_in else 0
        amount = source["amount"] if comes_in else -source["amount"]
        if about:
            head["id"] = source["balance_transaction"]
        return {
            **_without(head, "livemode", "metadata"),
            "amount": amount,
            "available_on": head["created"] + 2 * _DAY,
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

    def _coupon(self, head: Json, about: Json | None) -> Made:
        percent = self._dice.pick((None, 10, 12.5, 25, 50))
        return {
            **head,
            "amount_off": None if percent else self._dice.pick((500, 2000)),
            "currency": None if percent else "usd",
            "duration": "repeating",
            "duration_in_months": self._dice.pick((3, 6, 12)),
            "max_redemptions": None,
            "name": self._dice.pick(("Launch", "Früher Vogel", "友達")),
            "percent_off": percent,
            "redeem_by": None,
            "times_redeemed": self._dice.number(0, 40),
            "valid": True,
        }, None

    def _promotion_code(self, head: Json, about: Json | None) -> Made:
        return {
            **head,
            "active": self._dice.chance(0.8),
            "code": self._dice.token(8).upper(),
            "customer": self._id_of("customer") if self._dice.chance(0.3) else None,
            "expires_at": None,
            "max_redemptions": None,
            "promotion": {"coupon": self._id_of("coupon"), "type": "coupon"},
            "restrictions": {"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
            "times_redeemed": self._dice.number(0, 9),
        }, None

    def _tax_rate(self, head: Json, about: Json | None) -> Made:
        country, name, percentage = self._dice.pick(
            (("DE", "MwSt", 19.0), ("US", "Sales Tax", 8.875), ("FR", "TVA", 20.0))
        )
        return {
            **head,
            "active": self._dice.chance(0.7),
            "country": country,
            "description": None,
            "display_name": name,
            "effective_percentage": percentage,
            "inclusive": self._dice.chance(0.5),
            "jurisdiction": country,
            "percentage": percentage,
            "state": None,
            "tax_type": "vat",
        }, None

    def _checkout_session(self, head: Json, about: Json | None) -> Made:
        """Its `line_items` appear only if they are expanded."""
        charge, count = self._charge(about), self._many()
        items = [self._line("li_1", "item", charge["currency"]) for _ in range(count)]
        is_done = self._dice.chance(0.7)
        return {
            **head,
            "amount_subtotal": charge["amount"],
            "amount_total": charge["amount"],
            "cancel_url": None,
            "client_reference_id": self._dice.token(8),
            "currency": charge["currency"],
            "customer": charge["customer"],
            "customer_details": {"email": "buyer@example.com", "name": "Zoë Buyer"},
            "customer_email": None,
            "expires_at": head["created"] + _DAY,
            "invoice": None,
            "mode": "payment",
            "payment_intent": charge["payment_intent"] if is_done else None,
            "payment_link": None,
            "payment_method_types": ["card"],
            "payment_status": "paid" if is_done else "unpaid",
            "setup_intent": None,
            "status": "complete" if is_done else self._dice.pick(("open", "expired")),
            "subscription": None,
            "success_url": "https://example.com/thanks",
            "ui_mode": "hosted",
            "url": None,
        }, items

    def _credit_note(self, head: Json, about: Json | None) -> Made:
        invoice = about or self.some("invoice") or {"id": None, "customer": None, "currency": "usd"}
        lines = [self._line("cnli_1", "credit_note_line_item", invoice["currency"]) for _ in range(self._many())]
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
            "memo": self._dice.pick((None, "Gutschrift")),
            "number": f"CN-{self._dice.number(1, 99999):05}",
            "pdf": f"https://pay.stripe.com/credit_notes/{head['id']}/pdf",
            "reason": self._dice.pick(("duplicate", "order_change", "product_unsatisfactory", None)),
            "refunds": [],
            "status": "issued",
            "subtotal": total,
            "total": total,
            "type": "post_payment",
            "voided_at": None,
        }, lines

    def _many(self) -> int:
        """Sometimes more than Stripe embeds."""
        return self._dice.number(11, 130) if self._dice.chance(0.08) else self._dice.number(1, 3)

    def _line(self, prefix: str, object: str, currency: str) -> Json:
        amount = self._dice.number(100, 9000)
        return {
            "id": prefix + self._dice.token(22),
            "object": object,
            "amount": amount,
            "amount_total": amount,
            "currency": currency,
            "description": "Étude",
            "quantity": 1,
        }

    def _invoiceitem(self, head: Json, about: Json | None) -> Made:
        price = self.some("price") or {"id": None, "product": None, "currency": "usd", "unit_amount": 900}
        return {
            **head,
            "amount": price["unit_amount"],
            "currency": price["currency"],
            "customer": self._id_of("customer"),
            "description": "Added by hand",
            "discountable": True,
            "discounts": [],
            "invoice": self._id_of("invoice") if self._dice.chance(0.5) else None,
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

    def _invoice_payment(self, head: Json, about: Json | None) -> Made:
        """`about` is the charge, and the invoice that it is for under `invoice`."""
        charge = self._charge(about)
        invoice = charge.get("invoice") or self.some("invoice") or {"id": None}
        is_paid = charge["status"] == "succeeded"
        return {
            **_without(head, "metadata"),
            "amount_paid": charge["amount"] if is_paid else None,
            "amount_requested": charge["amount"],
            "currency": charge["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "payment": {"payment_intent": charge["payment_intent"], "type": "payment_intent"},
            "status": "paid" if is_paid else "open",
            "status_transitions": {"canceled_at": None, "paid_at": head["created"] if is_paid else None},
        }, None

    def _subscription_schedule(self, head: Json, about: Json | None) -> Made:
        subscription = self.some("subscription") or {"id": None, "customer": None}
        status = self._dice.pick(("active", "not_started", "completed", "released"))
        start, end = head["created"], head["created"] + 365 * _DAY
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

    def _transfer(self, head: Json, about: Json | None) -> Made:
        charge, id = self._charge(about), head["id"]
        count = self._dice.number(11, 14) if self._dice.chance(0.05) else self._dice.pick((0, 0, 0, 1))
        reversals = [
            {
                "id": "trr_3" + self._dice.token(22),
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
            "balance_transaction": "txn_1" + self._dice.token(22),
            "currency": charge["currency"],
            "description": None,
            "destination": "acct_1" + self._dice.token(15),
            "destination_payment": "py_1" + self._dice.token(22),
            "reversals": embedded_list(reversals, f"/v1/transfers/{id}/reversals"),
            "reversed": False,
            "source_transaction": charge["id"],
            "source_type": "card",
            "transfer_group": self._dice.pick((None, "ORDER 1", "ORDER 2")),
        }, reversals

    def _early_fraud_warning(self, head: Json, about: Json | None) -> Made:
        charge = self._charge(about)
        return {
            **_without(head, "metadata"),
            "actionable": True,
            "charge": charge["id"],
            "fraud_type": self._dice.pick(("made_with_stolen_card", "misc", "unauthorized_use_of_card")),
            "payment_intent": charge["payment_intent"],
        }, None

    def _quote(self, head: Json, about: Json | None) -> Made:
        amount = self._dice.number(1_000, 900_000)
        return {
            **head,
            "amount_subtotal": amount,
            "amount_total": amount,
            "collection_method": "charge_automatically",
            "currency": "usd",
            "customer": self._id_of("customer"),
            "description": None,
            "expires_at": head["created"] + 30 * _DAY,
            "invoice": None,
            "number": f"QT-{self._dice.number(1, 99999):05}",
            "status": self._dice.pick(("draft", "open", "accepted", "canceled")),
            "subscription": None,
            "subscription_schedule": None,
            "test_clock": None,
        }, None

    def _payment_link(self, head: Json, about: Json | None) -> Made:
        return {
            **head,
            "active": self._dice.chance(0.8),
            "allow_promotion_codes": False,
            "currency": "usd",
            "payment_method_types": None,
            "submit_type": "auto",
            "url": f"https://buy.stripe.com/test_{self._dice.token(14)}",
        }, None

    def _meter(self, head: Json, about: Json | None) -> Made:
        name = self._dice.pick(("Requests", "Minutes", "Größe"))
        return {
            **_without(head, "metadata"),
            "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
            "default_aggregation": {"formula": "sum"},
            "display_name": name,
            "event_name": f"{name.lower()}_{self._dice.token(4)}",
            "event_time_window": None,
            "status": "active",
            "status_transitions": {"deactivated_at": None},
            "updated": head["created"],
            "value_settings": {"event_payload_key": "value"},
        }, None

    def _feature(self, head: Json, about: Json | None) -> Made:
        return {
            **head,
            "active": True,
            "lookup_key": f"feature_{self._dice.token(6)}",
            "name": self._dice.pick(("Export", "Single sign-on", "Größere Teams")),
        }, None


def _without(head: Json, *names: str) -> dict[str, Any]:
    return {name: value for name, value in head.items() if name not in names}
