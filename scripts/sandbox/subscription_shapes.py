"""The shape of a subscription and its items, and how Stripe embeds a nested list.

A shape is one literal with Stripe's fields in Stripe's order, to be compared with its documentation. So the functions
are long.
"""

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
    """Since 2025-03-31 the billing period is here and no longer on the subscription."""
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
