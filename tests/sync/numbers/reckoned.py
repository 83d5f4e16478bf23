"""The numbers of a business, reckoned in Python from Stripe's raw objects: what the views must say, found by another way."""

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from fractions import Fraction

from tests.factories import Json

A_MONTH = {"day": Fraction(365, 12), "week": Fraction(52, 12), "month": Fraction(1), "year": Fraction(1, 12)}


def mrr(subscriptions: Iterable[Json], now: int) -> dict[str, Fraction]:
    """By currency, in its smallest unit, not rounded: of what is active or past due and not paused."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    for subscription in subscriptions:
        if subscription["status"] in ("active", "past_due"):
            total[subscription["currency"]] += 0
            if not subscription.get("pause_collection"):
                total[subscription["currency"]] += monthly(subscription, now)
    return dict(total)


def monthly(subscription: Json, now: int) -> Fraction:
    """What a subscription's items bring a month, after discounts that go on; whatever its status."""
    items = subscription["items"]["data"]
    amounts = [after(item_amount(item), item.get("discounts", ()), now) for item in items]
    whole = sum(amounts, Fraction())
    ratio = after(whole, subscription.get("discounts", ()), now) / whole if whole else Fraction(1)
    return sum((amount * ratio * how_often(item) for amount, item in zip(amounts, items, strict=True)), Fraction())


def how_often(item: Json) -> Fraction:
    recurring = item["price"]["recurring"]
    return A_MONTH[recurring["interval"]] / recurring["interval_count"]


def item_amount(item: Json) -> Fraction:
    """For one interval of the price; 0 for what is metered, or what has tiers that Stripe did not send."""
    price = item["price"]
    if price["recurring"].get("usage_type") == "metered":
        return Fraction()
    quantity = item["quantity"]
    if price.get("billing_scheme") == "tiered":
        return tiered(price.get("tiers", []), price["tiers_mode"], quantity)
    if package := price.get("transform_quantity"):
        rounded = math.ceil if package["round"] == "up" else math.floor
        quantity = rounded(Fraction(quantity, package["divide_by"]))
    return Fraction(price["unit_amount_decimal"]) * quantity


def tiered(tiers: list[Json], mode: str, quantity: int) -> Fraction:
    """Unit by unit, where each is charged in the tier that it falls in."""
    if not tiers:
        return Fraction()
    tops = [math.inf if tier["up_to"] is None else tier["up_to"] for tier in tiers]
    tier_of = [next(number for number, top in enumerate(tops) if unit <= top) for unit in range(1, quantity + 1)]
    if mode == "volume":
        reached = tier_of[-1] if tier_of else 0
        return Fraction(tiers[reached]["unit_amount_decimal"]) * quantity + tiers[reached]["flat_amount"]
    units = sum((Fraction(tiers[number]["unit_amount_decimal"]) for number in tier_of), Fraction())
    return units + sum(tiers[number]["flat_amount"] for number in {0, *tier_of})


def after(amount: Fraction, discounts: Iterable[Json | str], now: int) -> Fraction:
    for discount in discounts:
        if isinstance(discount, str):
            continue
        coupon = discount["source"]["coupon"]
        goes_on = coupon["duration"] == "repeating" and (discount["end"] is None or discount["end"] > now)
        if coupon["duration"] == "forever" or goes_on:
            amount *= 1 - Fraction(str(coupon["percent_off"] or 0)) / 100
            amount = max(amount - (coupon["amount_off"] or 0), Fraction())
    return amount


def revenue(invoices: Iterable[Json], charges: Iterable[Json]) -> dict[tuple[date, str], tuple[int, ...]]:
    """By month and currency: paid invoices, what was invoiced, charges, what was charged, refunded, and net."""
    rows: dict[tuple[date, str], list[int]] = defaultdict(lambda: [0] * 6)
    for invoice in invoices:
        if invoice["status"] == "paid":
            row = rows[month_of(invoice["status_transitions"]["paid_at"]), invoice["currency"]]
            row[0] += 1
            row[1] += invoice["amount_paid"]
    for charge in charges:
        if is_payment(charge):
            row = rows[month_of(charge["created"]), charge["currency"]]
            row[2] += 1
            row[3] += charge["amount_captured"]
            row[4] += charge["amount_refunded"]
            row[5] += charge["amount_captured"] - charge["amount_refunded"]
    return {key: tuple(row) for key, row in rows.items()}


def is_payment(charge: Json) -> bool:
    return bool(charge["status"] == "succeeded" and charge["captured"])


def month_of(second: int) -> date:
    return datetime.fromtimestamp(second, UTC).date().replace(day=1)
