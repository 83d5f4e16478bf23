"""Fills an account with a made-up business: consistent relations, odd texts, large amounts and long nested lists.

It is one long file, because each step takes what the steps before it have made, from the same dice.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.sandbox import charge_shapes, invoice_shapes, pools, shapes, subscription_shapes
from scripts.sandbox.dice import Dice
from scripts.sandbox.kinds import (
    CHARGE,
    CUSTOMER,
    DEFAULT_COUNTS,
    FURTHER_COUNTS,
    FURTHER_KINDS,
    INVOICE,
    KINDS,
    PRICE,
    PRODUCT,
    SUBSCRIPTION,
)
from scripts.sandbox.pairing import followers
from scripts.sandbox.profiles import PROFILES, Profile
from scripts.sandbox.shapes import Json
from scripts.sandbox.shelf import Shelf
from scripts.sandbox.types.seeding import FurtherSeeder

_MONTH = 30 * 86_400
# Subscriptions that have been paid for at least once, and those that nobody has been billed for.
_PAID_FOR = ("active", "past_due", "unpaid")
_NEVER_BILLED = ("trialing", "incomplete", "incomplete_expired")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to create. The same recipe gives the same account, to the byte."""

    seed: int = 1
    scale: float = 1.0
    profile: str = "default"
    counts: Mapping[str, int] = field(default_factory=dict)
    until: int | None = None  # the second at which the made-up history ends; None: when the account is made
    types: str = "six"  # or "all"

    def count(self, type: str) -> int:
        """How many of a type: as told, or the default times the scale, within what the profile allows."""
        if type in self.counts:
            return self.counts[type]
        return self._scaled(DEFAULT_COUNTS[type])

    def further_counts(self) -> dict[str, int | None]:
        """Of the types beyond the first six; None: as many as follow from those."""
        if self.types == "six":
            return {type: self.counts.get(type, 0) for type in FURTHER_KINDS}
        every = {type: self._scaled(FURTHER_COUNTS[type]) if type in FURTHER_COUNTS else None for type in FURTHER_KINDS}
        return every | {type: count for type, count in self.counts.items() if type in FURTHER_KINDS}

    def _scaled(self, count: int) -> int:
        count = round(count * self.scale)
        most = PROFILES[self.profile].most
        return count if most is None else min(count, most)


class Seeder:
    """Creates one account's objects, type by type, each from earlier ones."""

    def __init__(self, shelves: Mapping[str, Shelf], recipe: Recipe, name: str, *, livemode: bool, now: int) -> None:
        self._shelves = shelves
        self._recipe = recipe
        self._name = name
        self._livemode = livemode
        self._now = now
        self._profile: Profile = PROFILES[recipe.profile]
        self._dice = Dice(f"{recipe.seed}:{name}:{livemode}")  # ids are unique over all accounts, as at Stripe
        self._customers: list[Json] = []
        self._products: list[Json] = []
        self._prices: dict[str, list[Json]] = {}
        self._inline: list[Json] = []
        self._latest_invoice: dict[str, str] = {}
        self._numbered: dict[str, int] = {}  # how many numbered invoices a customer has
        self._subscriptions: list[tuple[Json, list[Json]]] = []  # those that may be billed
        self._first_of: dict[int, int] = {}  # by an invoice's place, the subscription's whose first one it is
        self._billed: dict[int, Json] = {}  # by a charge's place, the invoice that it is for
        self._invoice_of: dict[str, Json] = {}  # by a charge's id

    def fill(self) -> None:
        self._invoice_times, self._charge_times = self._times("invoice"), self._times("charge")
        self._charge_of = followers(self._invoice_times, self._charge_times)  # by the places of both
        self._make_products()
        self._make_prices()
        self._make_customers()
        self._make_subscriptions()
        self._make_invoices()
        self._make_charges()
        self._make_further()

    def _make_further(self) -> None:
        """With dice of their own: the first six are the same with and without the others."""
        counts = self._recipe.further_counts()
        if any(count != 0 for count in counts.values()):
            dice = Dice(f"{self._recipe.seed}:{self._name}:{self._livemode}:more")
            more = FurtherSeeder(
                self._shelves, counts, dice, self._profile, self._invoice_of, livemode=self._livemode, now=self._now
            )
            more.fill()

    def _times(self, type: str) -> list[int]:
        return self._profile.times(self._dice, self._recipe.count(type), self._now)

    def _id(self, type: str) -> str:
        kind = KINDS[type]
        return kind.id_prefix + self._dice.token(kind.id_length)

    def _metadata(self) -> dict[str, str]:
        dice = self._dice
        if dice.chance(0.7):
            return {"internal_id": dice.token(12), "source": dice.pick(("web", "sales", "import", "パートナー"))}
        return {}

    def _make_products(self) -> None:
        for at, created in enumerate(self._times("product")):
            plan, again = pools.PLANS[at % len(pools.PLANS)], at // len(pools.PLANS)
            name = f"{plan.product} {again + 1}" if again else plan.product
            product = shapes.product(self._id("product"), created, self._livemode, name)
            product["active"] = at % 5 != 1
            product["description"] = plan.description
            product["metadata"] = self._metadata()
            product["updated"] = min(self._now - 1, created + self._dice.number(0, _MONTH))
            self._products.append(product)
            self._shelves[PRODUCT.name].put(product)

    def _make_prices(self) -> None:
        """The listed prices, and a few inline ones that only a subscription's item will name."""
        if not self._products:
            return
        for at, created in enumerate(self._times("price")):
            price = self._price(at, created)
            price["active"] = at % 5 != 3
            self._shelves[PRICE.name].put(price)
            self._prices.setdefault(price["currency"], []).append(price)
        for at in range(min(max(2, self._recipe.count("price") // 20), self._recipe.count("subscription"))):
            price = self._price(4 * at, self._products[0]["created"])
            price["nickname"] = f"Agreed by hand {at}"
            self._shelves[PRICE.name].put(price, listed=False)
            self._inline.append(price)

    def _price(self, at: int, created: int) -> Json:
        """Of each product first what it costs in its own currency, then the others, and at last by the year."""
        place, again = at % len(self._products), at // len(self._products)
        plan = pools.PLANS[place % len(pools.PLANS)]
        currency, amount, is_yearly = plan.currency, plan.amount, again % 3 == 2
        if again % 3 == 1 and currency in ("usd", "eur", "gbp"):
            currency, share = next(each for each in pools.OTHER_CURRENCIES if each[0] != currency)
            amount = amount * share // 100
        if is_yearly:
            amount *= 10  # two months for nothing
        product = self._products[place]["id"]
        price = shapes.price(self._id("price"), created, self._livemode, product, currency, amount)
        price["recurring"] = shapes.recurring("year" if is_yearly else "month")
        price["type"] = "recurring"
        price["nickname"] = "Yearly" if is_yearly else self._dice.pick((None, "Monthly", "Standard", "Günstig", "季刊"))
        price["metadata"] = self._metadata()
        return price

    def _make_customers(self) -> None:
        for at, created in enumerate(self._times("customer")):
            self._shelves[CUSTOMER.name].put(self._customer(at, created))

    def _customer(self, at: int, created: int) -> Json:
        dice = self._dice
        customer = shapes.customer(self._id("customer"), created, self._livemode, dice.token(8).upper())
        city, country = dice.pick(pools.CITIES)
        customer["name"], address = _person(at)
        # Every 40th shares its address with another one. Every 25th has capitals, because lists compare exactly.
        address = _person(at - 1)[1] if at % 40 == 39 else address
        customer["email"] = None if at % 100 == 77 else address.title() if at % 25 == 13 else address
        customer["address"] = shapes.address(
            f"{dice.number(1, 200)} Main St", city, country, f"{dice.number(10000, 99999)}"
        )
        customer["phone"] = f"+1555{dice.number(1000000, 9999999)}" if dice.chance(0.5) else None
        customer["balance"] = -5_000_000_000 if at % 500 == 250 else 0
        customer["delinquent"] = dice.chance(0.04)
        customer["description"] = "مشترك منذ البداية" if dice.chance(0.05) else None
        customer["metadata"] = self._metadata()
        self._customers.append(customer)
        return customer

    def _existing(self, made: Sequence[Any], created_of: list[int], second: int) -> Any:
        """An object that existed by then, or else the very first one."""
        return made[int(self._dice.random() * max(1, bisect_right(created_of, second)))]

    def _make_subscriptions(self) -> None:
        if not self._customers or not self._prices:
            return
        born = [customer["created"] for customer in self._customers]
        times = self._times("subscription")
        statuses = [self._dice.pick(pools.SUBSCRIPTION_STATUSES) for _ in times]
        self._bill_first(times, statuses)
        for at, created in enumerate(times):
            self._make_subscription(at, created, self._existing(self._customers, born, created), statuses[at])

    def _bill_first(self, times: list[int], statuses: list[str]) -> None:
        """Who pays has an invoice that was charged: the next one after it began.

        What began after the last is on trial.
        """
        inline = len(self._inline)  # they are never invoiced: nothing but their item names their price
        statuses[:inline] = ["trialing"] * inline
        places = [at for at, status in enumerate(statuses) if status in _PAID_FOR]
        found = followers([times[at] for at in places], self._invoice_times, self._charge_of)
        self._first_of = {invoice: places[at] for at, invoice in found.items()}
        if self._charge_of:
            for at in places[len(found) :]:
                statuses[at] = "trialing"

    def _make_subscription(self, at: int, created: int, customer: Json, status: str) -> None:
        dice = self._dice
        id = self._id("subscription")
        period_start = created + (self._now - created) // _MONTH * _MONTH
        items = [
            subscription_shapes.subscription_item(
                "si_" + dice.token(14), created, price, id, (period_start, period_start + _MONTH)
            )
            for price in self._prices_for_items(at)
        ]
        subscription = subscription_shapes.subscription(
            id, created, self._livemode, customer["id"], items[0]["price"]["currency"], items
        )
        subscription["metadata"] = self._metadata()
        self._set_status(subscription, status)
        self._subscriptions.append((subscription, items))
        self._shelves[SUBSCRIPTION.name].put(subscription, items)

    def _prices_for_items(self, at: int) -> list[Json]:
        if at < len(self._inline):
            return [self._inline[at]]
        prices = self._prices_of_somebody()
        if at % 83 == 41:  # more items than Stripe embeds; it allows twenty
            prices = self._prices.get("usd", prices)
            return [self._dice.pick(prices) for _ in range(self._dice.number(11, 20))]
        return self._dice.sample(prices, min(len(prices), self._dice.pick((1, 1, 1, 1, 2, 3))))

    def _prices_of_somebody(self) -> list[Json]:
        """All in one currency, which most customers share."""
        currency = self._dice.pick(pools.CURRENCIES)
        return self._prices.get(currency) or next(iter(self._prices.values()))

    def _set_status(self, subscription: Json, status: str) -> None:
        created = subscription["created"]
        subscription["status"] = status
        if status in ("canceled", "incomplete_expired"):
            ended = created + int(self._dice.random() * (self._now - created))
            subscription.update(canceled_at=ended, ended_at=ended)
            subscription["cancellation_details"]["reason"] = "cancellation_requested"
        if status == "trialing":
            subscription.update(trial_start=created, trial_end=self._now + _MONTH)
        if status == "active" and self._dice.chance(0.05):
            subscription.update(cancel_at_period_end=True, cancel_at=self._now + _MONTH, canceled_at=created)

    def _make_invoices(self) -> None:
        if not self._customers or not self._prices:
            return
        billed = [each for each in self._subscriptions if each[0]["status"] not in _NEVER_BILLED]
        born = [subscription["created"] for subscription, _ in billed]
        by_id = {customer["id"]: customer for customer in self._customers}
        for at, created in enumerate(self._invoice_times):
            if at in self._first_of:
                subscription, items = self._subscriptions[self._first_of[at]]
            elif at % 20 and born and born[0] <= created:
                subscription, items = self._running(billed, born, created)
            else:
                self._make_single(at, created, self._dice.pick(self._customers))
                continue
            self._make_renewal(at, created, subscription, items, by_id[subscription["customer"]])
        for subscription, _ in self._subscriptions:
            if subscription["id"] in self._latest_invoice:
                subscription["latest_invoice"] = self._latest_invoice[subscription["id"]]
                self._shelves[SUBSCRIPTION.name].put(subscription)

    def _running(self, billed: list[tuple[Json, list[Json]]], born: list[int], second: int) -> tuple[Json, list[Json]]:
        """A subscription that had begun by then, and with some luck one that had not ended."""
        for _ in range(4):
            found: tuple[Json, list[Json]] = self._existing(billed, born, second)
            if found[0]["ended_at"] is None or found[0]["ended_at"] > second:
                break
        return found

    def _make_renewal(self, at: int, created: int, subscription: Json, items: list[Json], customer: Json) -> None:
        id = self._id("invoice")
        lines = []
        for item in items * (4 if at % 67 == 33 else 1):
            line = self._line(id, item["price"], created, self._dice.pick((1, 1, 1, 2, 5)))
            invoice_shapes.item_of_subscription(line, subscription["id"], item["id"])
            lines.append(line)
        invoice = invoice_shapes.invoice(id, created, self._livemode, customer, subscription["currency"], lines)
        reason = "subscription_create" if at in self._first_of else "subscription_cycle"
        invoice_shapes.bill_subscription(invoice, subscription["id"], reason)
        self._latest_invoice[subscription["id"]] = id
        self._put_invoice(at, invoice, lines)

    def _make_single(self, at: int, created: int, customer: Json) -> None:
        """A one-off invoice. Some have far more lines than Stripe embeds."""
        id = self._id("invoice")
        prices = self._prices_of_somebody()
        lines = []
        for _ in range(self._dice.number(11, 45) if at % 100 == 60 else self._dice.number(1, 3)):
            line = self._line(id, self._dice.pick(prices), created, 1)
            invoice_shapes.item_by_hand(line, "ii_1" + self._dice.token(22))
            lines.append(line)
        currency = prices[0]["currency"]
        self._put_invoice(at, invoice_shapes.invoice(id, created, self._livemode, customer, currency, lines), lines)

    def _line(self, invoice_id: str, price: Json, created: int, quantity: int) -> Json:
        id = "il_1" + self._dice.token(22)
        return invoice_shapes.line_item(id, invoice_id, self._livemode, price, (created, created + _MONTH), quantity)

    def _put_invoice(self, at: int, invoice: Json, lines: list[Json]) -> None:
        status = "paid" if at in self._first_of else self._dice.pick(pools.INVOICE_STATUSES)
        created, charge = invoice["created"], self._charge_of.get(at)
        if status != "draft":
            number = self._numbered[invoice["customer"]] = self._numbered.get(invoice["customer"], 0) + 1
            invoice_shapes.finalize(
                invoice, created, f"{invoice['customer'][-8:].upper()}-{number:04}", self._dice.token(48)
            )
        if status in ("paid", "void", "uncollectible"):
            soon = min(self._now - 1, created + 3600)
            settled = self._charge_times[charge] if status == "paid" and charge is not None else soon
            invoice_shapes.settle(invoice, status, settled)
        if charge is not None and status in ("paid", "open", "uncollectible"):
            self._billed[charge] = invoice
        invoice["metadata"] = self._metadata()
        self._shelves[INVOICE.name].put(invoice, lines)

    def _make_charges(self) -> None:
        """Of the invoices, and of customers who paid once without one."""
        if not self._customers:
            return
        born = [customer["created"] for customer in self._customers]
        by_id = {customer["id"]: customer for customer in self._customers}
        for at, created in enumerate(self._charge_times):
            invoice = self._billed.get(at)
            customer = by_id[invoice["customer"]] if invoice else self._existing(self._customers, born, created)
            charge = self._charge(created, customer, invoice)
            is_declined = at % 12 == 5 if invoice is None else invoice["status"] != "paid"
            if is_declined:
                charge_shapes.decline(charge)
            elif at % 30 == 7:
                charge.update(refunded=True, amount_refunded=charge["amount"])
            if invoice is not None:
                self._invoice_of[charge["id"]] = invoice
            self._shelves[CHARGE.name].put(charge)

    def _charge(self, created: int, customer: Json, invoice: Json | None) -> Json:
        dice = self._dice
        card = charge_shapes.card(
            dice.pick(pools.BRANDS), f"{dice.number(0, 9999):04}", dice.token(16), dice.number(0, 99)
        )
        currency, amount, words = self._what_for(invoice)
        charge = charge_shapes.charge(self._id("charge"), created, self._livemode, customer, currency, amount, card)
        charge["description"] = words
        charge["metadata"] = self._metadata()
        return charge

    def _what_for(self, invoice: Json | None) -> tuple[str, int, str]:
        if invoice is not None:
            began = invoice["billing_reason"] == "subscription_create"
            words = "Subscription creation" if began else "Subscription update" if invoice["parent"] else "Invoice"
            return invoice["currency"], invoice["amount_due"], words
        plan = self._dice.pick(pools.ONCE)
        return plan.currency, plan.amount * self._dice.pick((1, 1, 1, 2, 3)), plan.product


def _person(at: int) -> tuple[str, str]:
    """Name and e-mail address of the customer at that place: of each place another one."""
    given, family = pools.GIVEN[at * 5 % len(pools.GIVEN)], pools.FAMILY[at * 7 % len(pools.FAMILY)]
    domain = pools.DOMAINS[at // 3 % len(pools.DOMAINS)]
    return f"{given[0]} {family[0]}", f"{given[1]}.{family[1]}.{at}@{domain}"
