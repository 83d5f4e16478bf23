"""Shows prices as plans, their older shape. Each recurring price is a plan with the same id.

https://docs.stripe.com/api/plans says what a plan has, and that prices replace plans compatibly. Where it leaves a doubt, Stripe
is asked: which plans a list without `active` has, and whether inline prices are among them.
"""

from typing import Any

from api.gateway.errors import OnlyStripeCan

Json = dict[str, Any]

PATH = "/v1/plans"
FILTERS = frozenset(("active", "created", "product", "limit", "starting_after", "ending_before", "expand"))
EXPANDABLE = frozenset(("product", "tiers"))
# Before it, a plan always showed its tiers, and once also its product's name.
OLDEST_VERSION = "2020-08-27"
_SAME = (
    *("id", "active", "billing_scheme", "created", "currency", "livemode", "metadata", "nickname", "product"),
    "tiers_mode",
)
_RENAMED = {"amount": "unit_amount", "amount_decimal": "unit_amount_decimal", "transform_usage": "transform_quantity"}
_RECURRING = ("interval", "interval_count", "trial_period_days", "usage_type")
# In some API versions only.
_OF_VERSIONS = ("aggregate_usage", "meter")


def plan_of(price: Json, *, shows_tiers: bool = False) -> Json:
    """Raises OnlyStripeCan if the price does not tell all that its plan has."""
    every = price.get("recurring")
    if not isinstance(every, dict):
        raise OnlyStripeCan(
            f"{price['id']} is no recurring price, and the mirror cannot tell how Stripe shows it as a plan"
        )
    try:
        plan = {"object": "plan"} | {name: price[name] for name in _SAME}
        plan |= {name: price[of_price] for name, of_price in _RENAMED.items()}
        plan |= {name: every[name] for name in _RECURRING}
    except KeyError as exc:
        raise OnlyStripeCan(f"the mirror's price {price['id']} has no {exc.args[0]}") from exc
    plan |= {name: every[name] for name in _OF_VERSIONS if name in every}
    if shows_tiers:
        if "tiers" not in price:
            raise OnlyStripeCan(f"the mirror's price {price['id']} has no tiers to expand")
        plan["tiers"] = price["tiers"]
    return plan


def require_listed(price: Json, *, is_narrowed: bool) -> None:
    """Raises OnlyStripeCan unless Stripe's list of plans certainly has this price. `is_narrowed`: by `active`."""
    if not is_narrowed and not price.get("active"):
        raise OnlyStripeCan("the mirror cannot tell whether Stripe lists inactive plans here")
    if _may_be_inline(price):
        raise OnlyStripeCan(
            f"the mirror cannot tell whether {price['id']} is an inline price, which Stripe does not list"
        )


def _may_be_inline(price: Json) -> bool:
    """Whether `price_data` could have made it, which chooses no id and knows no tiers, metering or trial."""
    every = price.get("recurring") or {}
    return (
        price["id"].startswith("price_")
        and price.get("billing_scheme") == "per_unit"
        and every.get("usage_type") == "licensed"
        and every.get("trial_period_days") is None
    )
