"""The shape of an invoice and its lines, and how finalizing and settling change it.

A shape is one literal with Stripe's fields in Stripe's order, to be compared with its documentation. So the functions
are long.
"""

from scripts.sandbox.shapes import Json
from scripts.sandbox.subscription_shapes import embedded_list


def line_item(id: str, invoice_id: str, livemode: bool, price: Json, period: tuple[int, int], quantity: int) -> Json:
    """A line that names its price under `pricing.price_details`. The caller sets `parent`."""
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
    """Marks a line as made by a subscription's item."""
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
    """Marks a line as added to the invoice by a person."""
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
    """A draft with its sums. `bill_subscription`, `finalize` and `settle` develop it further."""
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
    """Since 2025-03-31 an invoice names its subscription only under `parent`."""
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
    """From draft to open: it gets a number, and addresses that a customer can open."""
    address = f"https://invoice.stripe.com/i/acct_sandbox/test_{secret}"
    invoice["status"] = "open"
    invoice["number"] = number
    invoice["effective_at"] = at
    invoice["ending_balance"] = 0
    invoice["hosted_invoice_url"] = f"{address}?s=ap"
    invoice["invoice_pdf"] = f"https://pay.stripe.com/invoice/acct_sandbox/test_{secret}/pdf?s=ap"
    invoice["status_transitions"]["finalized_at"] = at


def settle(invoice: Json, status: str, at: int) -> None:
    """From open to paid, void or uncollectible."""
    invoice["status"] = status
    field = {"paid": "paid_at", "void": "voided_at", "uncollectible": "marked_uncollectible_at"}[status]
    invoice["status_transitions"][field] = at
    if status == "paid":
        invoice["attempted"] = True
        invoice["attempt_count"] = 1
        invoice["amount_paid"] = invoice["amount_due"]
        invoice["amount_remaining"] = 0
