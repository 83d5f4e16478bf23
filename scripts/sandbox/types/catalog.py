"""The kinds and shapes of what an account offers: discounts, taxes, links, meters and features."""

from collections.abc import Mapping

from scripts.sandbox.rows import Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.types.kind import kind
from scripts.sandbox.types.maker import Made, Maker, Shape, without

KINDS: tuple[Kind, ...] = (
    kind(
        "coupon",
        "coupons",
        "",
        length=8,
        events=("created", "updated", "deleted"),
        deletable=True,
        event_prefix="coupon",
    ),
    kind(
        "promotion_code",
        "promotion_codes",
        "promo_1",
        filters={"active": "active", "code": "code", "coupon": "promotion.coupon", "customer": "customer"},
        unsupported=("customer_account",),
        event_prefix="promotion_code",
    ),
    kind(
        "tax_rate",
        "tax_rates",
        "txr_1",
        filters={"active": "active", "inclusive": "inclusive"},
        event_prefix="tax_rate",
    ),
    kind(
        "payment_link",
        "payment_links",
        "plink_1",
        filters={"active": "active"},
        created="",
        lists_by_time=False,
        event_prefix="payment_link",
    ),
    kind(
        "meter",
        "billing/meters",
        "mtr_test_",
        permission="billing_meter",
        statuses=("active", "inactive"),
        lists_by_time=False,
        event_prefix="billing.meter",
        object="billing.meter",
    ),
    kind(
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


def _coupon(make: Maker, head: Json, about: Json | None) -> Made:
    percent = make.dice.pick((None, 10, 12.5, 25, 50))
    return {
        **head,
        "amount_off": None if percent else make.dice.pick((500, 2000)),
        "currency": None if percent else "usd",
        "duration": "repeating",
        "duration_in_months": make.dice.pick((3, 6, 12)),
        "max_redemptions": None,
        "name": make.dice.pick(("Launch", "Früher Vogel", "友達")),
        "percent_off": percent,
        "redeem_by": None,
        "times_redeemed": make.dice.number(0, 40),
        "valid": True,
    }, None


def _promotion_code(make: Maker, head: Json, about: Json | None) -> Made:
    return {
        **head,
        "active": make.dice.chance(0.8),
        "code": make.dice.token(8).upper(),
        "customer": make.id_of("customer") if make.dice.chance(0.3) else None,
        "expires_at": None,
        "max_redemptions": None,
        "promotion": {"coupon": make.id_of("coupon"), "type": "coupon"},
        "restrictions": {"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
        "times_redeemed": make.dice.number(0, 9),
    }, None


def _tax_rate(make: Maker, head: Json, about: Json | None) -> Made:
    country, name, percentage = make.dice.pick((("DE", "MwSt", 19.0), ("US", "Sales Tax", 8.875), ("FR", "TVA", 20.0)))
    return {
        **head,
        "active": make.dice.chance(0.7),
        "country": country,
        "description": None,
        "display_name": name,
        "effective_percentage": percentage,
        "inclusive": make.dice.chance(0.5),
        "jurisdiction": country,
        "percentage": percentage,
        "state": None,
        "tax_type": "vat",
    }, None


def _payment_link(make: Maker, head: Json, about: Json | None) -> Made:
    return {
        **head,
        "active": make.dice.chance(0.8),
        "allow_promotion_codes": False,
        "currency": "usd",
        "payment_method_types": None,
        "submit_type": "auto",
        "url": f"https://buy.stripe.com/test_{make.dice.token(14)}",
    }, None


def _meter(make: Maker, head: Json, about: Json | None) -> Made:
    name = make.dice.pick(("Requests", "Minutes", "Größe"))
    return {
        **without(head, "metadata"),
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": "sum"},
        "display_name": name,
        "event_name": f"{name.lower()}_{make.dice.token(4)}",
        "event_time_window": None,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": head["created"],
        "value_settings": {"event_payload_key": "value"},
    }, None


def _feature(make: Maker, head: Json, about: Json | None) -> Made:
    return {
        **head,
        "active": True,
        "lookup_key": f"feature_{make.dice.token(6)}",
        "name": make.dice.pick(("Export", "Single sign-on", "Größere Teams")),
    }, None


SHAPES: Mapping[str, Shape] = {
    "coupon": _coupon,
    "promotion_code": _promotion_code,
    "tax_rate": _tax_rate,
    "payment_link": _payment_link,
    "meter": _meter,
    "feature": _feature,
}
