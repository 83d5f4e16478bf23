"""The shapes of what is billed: subscriptions with their items, invoices with their lines, charges, refunds."""

from scripts.sandbox.shapes import Json, plan

EMBEDDED_CHILDREN = 10  # Stripe embeds about ten children in a list and says has_more (stripe-facts.md, section 4)


def embedded_list(children: list[Json], url: str) -> Json:
    """A nested list as its parent shows it: cut at ten."""
    return {
        "object": "list",
        "data": children[:EMBEDDED_CHILDREN],
        "has_more": len(children) > EMBEDDED_CHILDREN,
        "url": url,
    }


def subscription_item(id: str, created: int, price: Json, subscription_id: str, period: tuple[int, int]) -> Json:
    """Since 2025-03-31 the billing period stands here and no longer on the subscription."""
    return {
        "id": id,
        "object": "subscription_item",
        "billed_until": period[1],
        "billing_thresholds": None,
        "created": created,
        "current_period_end": period[1],
        "current_period_start": period[0],
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "plan": plan(price),
        "price": price,
        "quantity": 1,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def subscription(id: str, created: int, livemode: bool, customer_id: str, currency: str, items: list[Json]) -> Json:
    return {
        "id": id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": created,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": None},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "feedback_option": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": created,
        "currency": currency,
        "customer": customer_id,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": embedded_list(items, f"/v1/subscription_items?subscription={id}"),
        "latest_invoice": None,
        "livemode": livemode,
        "managed_payments": {"enabled": False},
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": {
                "acss_debit": None,
                "bancontact": None,
                "card": {"network": None, "request_three_d_secure": "automatic"},
                "customer_balance": None,
                "konbini": None,
                "sepa_debit": None,
                "us_bank_account": None,
            },
            "payment_method_types": ["card"],
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "plan": items[0]["plan"] if len(items) == 1 else None,
        "presentment_details": None,
        "quantity": items[0]["quantity"] if len(items) == 1 else None,
        "schedule": None,
        "start_date": created,
        "status": "active",
        "status_details": None,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }


def line_item(id: str, invoice_id: str, livemode: bool, price: Json, period: tuple[int, int], quantity: int) -> Json:
    """A line that names its price under `pricing.price_details`; `parent` is the caller's to set."""
    amount = price["unit_amount"] * quantity
    return {
        "id": id,
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": f"{quantity} × {price['nickname'] or 'Seat'}",  # noqa: RUF001 (Stripe's own sign)
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice_id,
        "livemode": livemode,
        "metadata": {},
        "parent": None,
        "period": {"end": period[1], "start": period[0]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": None,
        "subtotal": amount,
        "taxes": [],
    }


def item_of_subscription(line: Json, subscription_id: str, item_id: str) -> None:
    """Marks a line as one that a subscription's item made."""
    line["subscription"] = subscription_id
    line["parent"] = {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": False,
            "proration_details": {"credited_items": None},
            "subscription": subscription_id,
            "subscription_item": item_id,
        },
        "type": "subscription_item_details",
    }


def item_by_hand(line: Json, invoice_item_id: str) -> None:
    """Marks a line as one that a person put on the invoice."""
    line["parent"] = {
        "invoice_item_details": {
            "invoice_item": invoice_item_id,
            "proration": False,
            "proration_details": {"credited_items": None},
            "subscription": None,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }


def invoice(id: str, created: int, livemode: bool, customer: Json, currency: str, lines: list[Json]) -> Json:
    """A draft with its sums; `bill_subscription`, `finalize` and `settle` make more of it."""
    total = sum(line["amount"] for line in lines)
    return {
        "id": id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Sandbox",
        "account_tax_ids": None,
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": total,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": False,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": "manual",
        "collection_method": "charge_automatically",
        "created": created,
        "currency": currency,
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": None,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": embedded_list(lines, f"/v1/invoices/{id}/lines"),
        "livemode": livemode,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": None,
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": created,
        "period_start": created,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_details": None,
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": None,
        "threshold_reason": None,
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": created,
    }


def bill_subscription(invoice: Json, subscription_id: str, reason: str) -> None:
    """Since 2025-03-31 an invoice names its subscription under `parent` only."""
    invoice["billing_reason"] = reason
    invoice["parent"] = {
        "quote_details": None,
        "subscription_details": {
            "metadata": {},
            "subscription": subscription_id,
            "subscription_proration_date": None,
        },
        "type": "subscription_details",
    }


def finalize(invoice: Json, at: int, number: str, secret: str) -> None:
    """Draft to open: from now on it has a number and addresses that a customer can open."""
    address = f"https://invoice.stripe.com/i/acct_sandbox/test_{secret}"
    invoice["status"] = "open"
    invoice["number"] = number
    invoice["effective_at"] = at
    invoice["ending_balance"] = 0
    invoice["hosted_invoice_url"] = f"{address}?s=ap"
    invoice["invoice_pdf"] = f"https://pay.stripe.com/invoice/acct_sandbox/test_{secret}/pdf?s=ap"
    invoice["status_transitions"]["finalized_at"] = at


def settle(invoice: Json, status: str, at: int) -> None:
    """Open to paid, void or uncollectible."""
    invoice["status"] = status
    field = {"paid": "paid_at", "void": "voided_at", "uncollectible": "marked_uncollectible_at"}[status]
    invoice["status_transitions"][field] = at
    if status == "paid":
        invoice["attempted"] = True
        invoice["attempt_count"] = 1
        invoice["amount_paid"] = invoice["amount_due"]
        invoice["amount_remaining"] = 0


def charge(id: str, created: int, livemode: bool, customer: Json, currency: str, amount: int, card: Json) -> Json:
    """A succeeded card charge. `refunds` is not embedded since 2022-11-15; `invoice` is gone since 2025-03-31."""
    tail = id[3:]
    return {
        "id": id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": f"txn_{tail}",
        "billing_details": {
            "address": customer["address"],
            "email": customer["email"],
            "name": customer["name"],
            "phone": customer["phone"],
            "tax_id": None,
        },
        "calculated_statement_descriptor": "SANDBOX SAAS",
        "captured": True,
        "created": created,
        "currency": currency,
        "customer": customer["id"],
        "description": "Subscription update",
        "destination": None,
        "dispute": None,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": livemode,
        "metadata": {},
        "on_behalf_of": None,
        "order": None,
        "outcome": _approved(),
        "paid": True,
        "payment_intent": f"pi_{tail}",
        "payment_method": f"pm_1{tail[1:]}",
        "payment_method_details": {"card": _card_used(card, amount), "type": "card"},
        "presentment_details": None,
        "radar_options": {},
        "receipt_email": customer["email"],
        "receipt_number": None,
        "receipt_url": f"https://pay.stripe.com/receipts/invoices/CAcaFwoVYWNjdF8x{tail}?s=ap",
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def _approved() -> Json:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": "Payment complete.",
        "type": "authorized",
    }


def _card_used(card: Json, amount: int) -> Json:
    return {
        "amount_authorized": amount,
        "authorization_code": "123456",
        **card,
        "checks": {"address_line1_check": None, "address_postal_code_check": "pass", "cvc_check": "pass"},
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network_token": {"used": False},
        "network_transaction_id": "104102978678771",
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "wallet": None,
    }


def decline(charge: Json) -> None:
    """Makes a charge a failed one."""
    charge.update(
        status="failed",
        paid=False,
        amount_captured=0,
        balance_transaction=None,
        failure_code="card_declined",
        failure_message="Your card was declined.",
        receipt_url=None,
    )
    charge["outcome"].update(
        network_status="declined_by_network",
        reason="generic_decline",
        seller_message="The bank did not return any further details with this decline.",
        type="issuer_declined",
    )


def refund(id: str, created: int, charge: Json, amount: int) -> Json:
    return {
        "id": id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def card(brand: str, last4: str, fingerprint: str, expires: int) -> Json:
    return {
        "brand": brand,
        "country": "US",
        "exp_month": 1 + expires % 12,
        "exp_year": 2027 + expires % 6,
        "fingerprint": fingerprint,
        "funding": "credit",
        "last4": last4,
        "network": brand,
    }
