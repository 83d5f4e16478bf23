"""The shapes of a card charge and its refund.

A shape is one literal with Stripe's fields in Stripe's order, to be compared with its documentation. So the functions
are long.
"""

from scripts.sandbox.shapes import Json


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
    """Turns a charge into a failed one."""
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


def dispute(id: str, created: int, livemode: bool, charge: Json) -> Json:
    return {
        "id": id,
        "object": "dispute",
        "amount": charge["amount"],
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "is_charge_refundable": True,
        "livemode": livemode,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": "fraudulent",
        "status": "needs_response",
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
