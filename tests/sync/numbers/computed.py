"""The numbers of a business, computed in Python from Stripe's raw objects: what the views must say, found by another way."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fractions import Fraction

from tests.factories import Json

NONE: Mapping[str, Json] = {}
A_MONTH = {"day": Fraction(365, 12), "week": Fraction(52, 12), "month": Fraction(1), "year": Fraction(1, 12)}


Prices = Mapping[str, Json]


def mrr(
    subscriptions: Iterable[Json], now: int, prices: Prices = NONE, customers: Mapping[str, Json] = NONE
) -> dict[str, Fraction]:
    """By currency, in its smallest unit, not rounded: of what is active or past due and not paused."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    for subscription in subscriptions:
        if subscription["status"] in ("active", "past_due"):
            total[subscription["currency"]] += 0
            if not subscription.get("pause_collection"):
                total[subscription["currency"]] += monthly(subscription, now, prices, customers)
    return dict(total)


def monthly(subscription: Json, now: int, prices: Prices = NONE, customers: Mapping[str, Json] = NONE) -> Fraction:
    """What a subscription's items bring a month, after discounts that go on; whatever its status."""
    items, currency = subscription["items"]["data"], subscription["currency"]
    amounts = [after(item_amount(item, currency, prices), item.get("discounts", ()), now, currency) for item in items]
    whole = sum(amounts, Fraction())
    ratio = after(whole, discounts_of(subscription, customers), now, currency) / whole if whole else Fraction(1)
    return sum((amount * ratio * how_often(item) for amount, item in zip(amounts, items, strict=True)), Fraction())


def discounts_of(subscription: Json, customers: Mapping[str, Json]) -> Iterable[Json | str]:
    """Its own, or else its customer's."""
    of_customer = customers.get(subscription["customer"], {}).get("discount")
    return subscription.get("discounts") or ([of_customer] if of_customer else [])


def how_often(item: Json) -> Fraction:
    recurring = item["price"]["recurring"]
    return A_MONTH[recurring["interval"]] / recurring["interval_count"]


def item_amount(item: Json, currency: str | None = None, prices: Prices = NONE) -> Fraction:
    """For one interval of the price; 0 for what is metered, or what the item and the price of that id do not tell."""
    price = item["price"]
    if price["recurring"].get("usage_type") == "metered":
        return Fraction()
    quantity = item["quantity"]
    terms = {**in_currency(prices.get(price["id"], {}), currency), **in_currency(price, currency)}
    if price.get("billing_scheme") == "tiered":
        return tiered(terms.get("tiers", []), price["tiers_mode"], quantity)
    if package := price.get("transform_quantity"):
        rounded = math.ceil if package["round"] == "up" else math.floor
        quantity = rounded(Fraction(quantity, package["divide_by"]))
    return Fraction(terms.get("unit_amount_decimal") or 0) * quantity


def in_currency(price: Json, currency: str | None) -> Json:
    """What a price says of its costs in a currency; nothing if it does not say."""
    if not price or currency in (None, price["currency"]):
        return {key: price[key] for key in ("tiers", "unit_amount_decimal") if key in price}
    found: Json = price.get("currency_options", {}).get(currency, {})
    return found


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


def after(amount: Fraction, discounts: Iterable[Json | str], now: int, currency: str) -> Fraction:
    for discount in discounts:
        if isinstance(discount, str):
            continue
        coupon = discount["source"]["coupon"]
        goes_on = coupon["duration"] == "repeating" and (discount["end"] is None or discount["end"] > now)
        if coupon["duration"] == "forever" or goes_on:
            amount *= 1 - Fraction(str(coupon["percent_off"] or 0)) / 100
            amount = max(amount - amount_off(coupon, currency), Fraction())
    return amount


def amount_off(coupon: Json, currency: str) -> int:
    """In another currency than its own only if it says how much."""
    options = coupon.get("currency_options", {})
    if currency in options:
        return int(options[currency]["amount_off"])
    return (coupon["amount_off"] or 0) if coupon["currency"] == currency else 0


@dataclass
class Months:
    """What the overview says of a currency: amounts a month, counts of subscriptions, and the change of each month."""

    mrr: Fraction = Fraction()
    new_mrr: Fraction = Fraction()
    churned_mrr: Fraction = Fraction()
    began: int = 0
    lost: int = 0
    stayed: int = 0
    left: int = 0
    moves: dict[str, int] = field(default_factory=dict)


def months(subscriptions: Iterable[Json], now: int, since: int, first: date) -> dict[str, Months]:
    """By currency: what began and what ended since a moment. What ended before it began never counted."""
    found: dict[str, Months] = defaultdict(Months)
    for each in subscriptions:
        row, amount = found[each["currency"]], monthly(each, now)
        trial = each.get("trial_end") or 0
        began, ended = max(each["created"], trial if trial <= now else 0), each.get("ended_at")
        runs = each["status"] in ("active", "past_due") and not each.get("pause_collection")
        ran = each["status"] == "canceled" and ended is not None and began < ended
        if runs:
            row.mrr += amount
            row.new_mrr += amount if began > since else 0
            row.began += began > since
            row.stayed += began <= since
        if ran and ended > since:
            row.churned_mrr += amount
            row.lost += 1
            row.left += began <= since
        for second, change in ((began, 1), (ended, -1)) if runs or ran else ():
            if second is not None:
                month = max(month_of(second), first).isoformat()
                row.moves[month] = row.moves.get(month, 0) + change
    return dict(found)


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
