"""Stripe's object shapes at the SDK's API version: complete dictionaries from the few facts that differ."""

from typing import Any

Json = dict[str, Any]

API_VERSION = "2026-10-28.endive"


def account(account_id: str, name: str, created: int) -> Json:
    """The answer of `GET /v1/account`: the fields that a mirror reads, and the usual ones around them."""
    return {
        "id": account_id,
        "object": "account",
        "business_profile": {"mcc": "5734", "name": name, "support_email": f"help@{name}.example", "url": None},
        "business_type": "company",
        "charges_enabled": True,
        "country": "US",
        "created": created,
        "default_currency": "usd",
        "details_submitted": True,
        "email": f"owner@{name}.example",
        "payouts_enabled": True,
        "settings": {
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "dashboard": {"display_name": name.replace("_", " ").title(), "timezone": "Etc/UTC"},
            "payments": {"statement_descriptor": name.upper()[:22]},
        },
        "type": "standard",
    }


def balance(livemode: bool) -> Json:
    """The same for every account: nothing here depends on it."""
    amount = {"amount": 482_100, "currency": "usd", "source_types": {"card": 482_100}}
    return {"object": "balance", "available": [amount], "livemode": livemode, "pending": [{**amount, "amount": 9_900}]}


def address(line1: str, city: str, country: str, postal_code: str) -> Json:
    return {
        "city": city,
        "country": country,
        "line1": line1,
        "line2": None,
        "postal_code": postal_code,
        "state": None,
    }


def customer(id: str, created: int, livemode: bool, invoice_prefix: str) -> Json:
    return {
        "id": id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "business_name": None,
        "created": created,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "individual_name": None,
        "invoice_prefix": invoice_prefix,
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": livemode,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def product(id: str, created: int, livemode: bool, name: str) -> Json:
    return {
        "id": id,
        "object": "product",
        "active": True,
        "attributes": [],
        "created": created,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": livemode,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "tax_details": None,
        "type": "service",
        "unit_label": None,
        "updated": created,
        "url": None,
    }


def price(id: str, created: int, livemode: bool, product_id: str, currency: str, unit_amount: int | None) -> Json:
    """A one-time price. `recurring` and `type` turn it into a subscription's."""
    return {
        "id": id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": created,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": livemode,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product_id,
        "recurring": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": None if unit_amount is None else str(unit_amount),
    }


def hidden_of_price(price: Json, given: Json) -> Json:
    """The fields that Stripe shows only if they are expanded, where this price has its own. Amounts are texts or numbers."""
    found: Json = {}
    if "tiers" in given:
        found["tiers"] = [_tier(each) for each in given["tiers"]]
    if "currency_options" in given:
        own = {price["currency"]: {"unit_amount": price["unit_amount"]}, **given["currency_options"]}
        found["currency_options"] = {currency: _option(each) for currency, each in sorted(own.items())}
    return found


def _tier(given: Json) -> Json:
    end = given["up_to"]
    return {
        **_amount(given, "flat_amount"),
        **_amount(given, "unit_amount"),
        "up_to": None if end == "inf" else int(end),
    }


def _option(given: Json) -> Json:
    return {"custom_unit_amount": None, "tax_behavior": "unspecified", **_amount(given, "unit_amount")}


def _amount(given: Json, name: str) -> Json:
    amount = given.get(name)
    return {name: None if amount is None else int(amount), f"{name}_decimal": None if amount is None else str(amount)}


def recurring(interval: str, interval_count: int = 1) -> Json:
    return {
        "interval": interval,
        "interval_count": interval_count,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def plan(price: Json) -> Json:
    """The older form of a recurring price, which subscription items still have beside it."""
    every = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": every["interval"],
        "interval_count": every["interval_count"],
        "livemode": price["livemode"],
        "metadata": price["metadata"],
        "meter": every["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": every["trial_period_days"],
        "usage_type": every["usage_type"],
    }


def webhook_endpoint(id: str, created: int, livemode: bool, url: str, enabled_events: list[str]) -> Json:
    """Without its secret, which Stripe shows only at creation."""
    return {
        "id": id,
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": created,
        "description": None,
        "enabled_events": enabled_events,
        "livemode": livemode,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }
