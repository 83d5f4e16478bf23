"""Random changes to an account, like those of a business. A mirror has to keep up with them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from scripts.sandbox.account import Account
from scripts.sandbox.answers import Answer
from scripts.sandbox.dice import Dice
from scripts.sandbox.rows import Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.types.registry import FURTHER_KINDS

# People may choose a customer's id, and may use it again after that customer was deleted.
_OWN_IDS = ('o"brien', "Team/A+B 50%", "Zoë #1?", "..")
_TRIES = 20  # a random change may be refused (a paid invoice cannot be voided); then another is tried


class Changer:
    """Makes one change after the other. A seed and an account always give the same changes."""

    def __init__(self, account: Account, seed: int = 1) -> None:
        self._account = account
        self._dice = Dice(f"changes:{seed}")
        # The share of each change: mostly edits, some new objects, a few deletions.
        self._moves: tuple[tuple[int, Callable[[], Answer | None]], ...] = (
            (10, self._edit_customer),
            (3, self._flip_customer_within_a_second),
            (4, self._new_customer),
            (3, self._delete_customer),
            (3, self._edit_product),
            (1, self._new_product),
            (5, self._flip_price),
            (2, self._new_price),
            (6, self._edit_subscription),
            (4, self._cancel_subscription),
            (4, self._new_subscription),
            (6, self._edit_invoice),
            (6, self._advance_invoice),
            (4, self._new_invoice),
            (2, self._delete_draft),
            (5, self._edit_charge),
            (4, self._new_charge),
            (3, self._refund_charge),
            (2, self._dispute_charge),
            (2, self._fail_refund),
        )
        # Where an account has more than the first six types; only what Stripe tells of.
        self._more = [type for type in FURTHER_KINDS if len(account.state.shelves[type].timeline)]
        if self._more:
            self._moves += ((20, self._edit_more), (8, self._new_more), (4, self._delete_more))
        if "customer_balance_transaction" in self._more:
            self._moves += ((2, self._adjust_balance),)
        self._bag = tuple(move for weight, move in self._moves for _ in range(weight))

    def make(self, count: int) -> int:
        """Makes this many changes and returns how many were possible."""
        return sum(self.make_one() for _ in range(count))

    def make_one(self) -> bool:
        for _ in range(_TRIES):
            answer = self._dice.pick(self._bag)()
            if answer is not None and answer.status == 200:
                return True
        return False

    def _any(self, type: str) -> str | None:
        """The id of a random listed object. Recent ones are as likely as old ones."""
        timeline = self._account.state.shelves[type].timeline
        return timeline.at(self._dice.number(0, len(timeline) - 1)).id if len(timeline) else None

    def _post(self, path: str, **params: Any) -> Answer:
        return self._account.handle("POST", path, params)

    def _edit(self, type: str, plural: str, params: Json) -> Answer | None:
        id = self._any(type)
        return None if id is None else self._account.handle("POST", f"/v1/{plural}/{quote(id, safe='')}", params)

    def _mark(self) -> Json:
        return {"metadata": {"edited": self._dice.token(8)}}

    def _edit_customer(self) -> Answer | None:
        name = self._dice.pick(("Zoë 🚀", "محمد", "Plain Name", "渡辺"))
        return self._edit("customer", "customers", {**self._mark(), "name": f"{name} {self._dice.number(1, 999)}"})

    def _flip_customer_within_a_second(self) -> Answer | None:
        """From A to B to A: events of the same second have no order."""
        id = self._any("customer")
        if id is None:
            return None
        before = self._account.state.get("customer", id)["description"]
        self._post(f"/v1/customers/{quote(id, safe='')}", description="for a moment")
        return self._post(f"/v1/customers/{quote(id, safe='')}", description=before or "")

    def _new_customer(self) -> Answer:
        own = {"id": self._dice.pick(_OWN_IDS)} if self._dice.chance(0.4) else {}
        email = f"new-{self._dice.token(8)}@customer.example"
        return self._post("/v1/customers", email=email, name="新しい Person", **own)

    def _delete_customer(self) -> Answer | None:
        id = self._any("customer")
        return None if id is None else self._account.handle("DELETE", f"/v1/customers/{quote(id, safe='')}", {})

    def _edit_product(self) -> Answer | None:
        return self._edit("product", "products", {**self._mark(), "active": self._dice.chance(0.6)})

    def _new_product(self) -> Answer:
        return self._post("/v1/products", name=f"Product {self._dice.token(6)}")

    def _flip_price(self) -> Answer | None:
        id = self._any("price")
        if id is None:
            return None
        return self._post(f"/v1/prices/{id}", active=not self._account.state.get("price", id)["active"])

    def _new_price(self) -> Answer | None:
        product = self._any("product")
        if product is None:
            return None
        every = {"product": product, "currency": "usd", "recurring": {"interval": "month"}}
        if self._dice.chance(0.3):
            tiers = [{"up_to": 10, "unit_amount": 500}, {"up_to": "inf", "unit_amount": 300}]
            return self._post("/v1/prices", **every, billing_scheme="tiered", tiers_mode="graduated", tiers=tiers)
        return self._post("/v1/prices", **every, unit_amount=self._dice.pick((700, 1900, 5_000_000_000)))

    def _edit_subscription(self) -> Answer | None:
        params = {**self._mark(), "cancel_at_period_end": self._dice.chance(0.3)}
        return self._edit("subscription", "subscriptions", params)

    def _cancel_subscription(self) -> Answer | None:
        id = self._any("subscription")
        return None if id is None else self._account.handle("DELETE", f"/v1/subscriptions/{id}", {})

    def _new_subscription(self) -> Answer | None:
        """Some have an inline price, which no list of prices ever contains."""
        customer, price, product = self._any("customer"), self._any("price"), self._any("product")
        if customer is None or price is None:
            return None
        item: Json = {"price": price, "quantity": self._dice.number(1, 9)}
        if self._dice.chance(0.2):
            data = {"currency": "usd", "product": product, "unit_amount": 4200, "recurring": {"interval": "month"}}
            item = {"price_data": data}
        return self._post("/v1/subscriptions", customer=customer, items=[item])

    def _edit_invoice(self) -> Answer | None:
        return self._edit("invoice", "invoices", {**self._mark(), "description": f"Rechnung {self._dice.token(4)}"})

    def _advance_invoice(self) -> Answer | None:
        id = self._any("invoice")
        if id is None:
            return None
        status = self._account.state.get("invoice", id)["status"]
        action = {"draft": "finalize", "open": self._dice.pick(("pay", "void", "mark_uncollectible"))}.get(status)
        return None if action is None else self._post(f"/v1/invoices/{id}/{action}")

    def _new_invoice(self) -> Answer | None:
        """Some have more lines than Stripe embeds."""
        customer = self._any("customer")
        if customer is None:
            return None
        answer = self._post("/v1/invoices", customer=customer, description="By hand")
        lines = self._dice.number(11, 30) if self._dice.chance(0.2) else self._dice.number(1, 3)
        amounts = [{"amount": self._dice.number(100, 9_000_000_000), "description": "Étude"} for _ in range(lines)]
        return self._post(f"/v1/invoices/{answer.json()['id']}/add_lines", lines=amounts)

    def _delete_draft(self) -> Answer:
        customer = self._any("customer") or ""
        answer = self._post("/v1/invoices", customer=customer)
        if answer.status != 200:
            return answer
        return self._account.handle("DELETE", f"/v1/invoices/{answer.json()['id']}", {})

    def _edit_charge(self) -> Answer | None:
        return self._edit("charge", "charges", self._mark())

    def _new_charge(self) -> Answer:
        amount = self._dice.number(100, 3_000_000_000)
        return self._post("/v1/charges", customer=self._any("customer") or "", amount=amount, currency="usd")

    def _refund_charge(self) -> Answer | None:
        charge = self._any("charge")
        return None if charge is None else self._post("/v1/refunds", charge=charge)

    def _dispute_charge(self) -> Answer | None:
        return self._happens_to_charge("dispute")

    def _fail_refund(self) -> Answer | None:
        return self._happens_to_charge("fail_refund")

    def _happens_to_charge(self, what: str) -> Answer | None:
        """A change to a charge that has no charge event."""
        charge = self._any("charge")
        return None if charge is None else self._post(f"/v1/charges/{charge}/{what}")

    def _some_more(self, event: str) -> Kind | None:
        """One of the further types for which Stripe sends this event."""
        kinds = [FURTHER_KINDS[type] for type in self._more if event in FURTHER_KINDS[type].events]
        return self._dice.pick(kinds) if kinds else None

    def _edit_more(self) -> Answer | None:
        kind = self._some_more("updated")
        params = {**self._mark(), "description": f"Étude {self._dice.token(4)}"}
        return self._edit(kind.name, kind.plural, params) if kind else None

    def _new_more(self) -> Answer | None:
        kind = self._some_more("created")
        if kind is None or (kind.parent and self._any("customer") is None):
            return None
        return self._post(kind.path)

    def _delete_more(self) -> Answer | None:
        kind = self._some_more("deleted")
        id = self._any(kind.name) if kind else None
        if kind is None or id is None:
            return None
        address = f"{kind.path}/{quote(id, safe='')}"
        return self._post(f"{address}/detach") if kind.keeps_orphans else self._account.handle("DELETE", address, {})

    def _adjust_balance(self) -> Answer | None:
        """Stripe sends no event for the transaction, only for the customer."""
        id = self._any("customer")
        address = f"/v1/customers/{quote(id or '', safe='')}/balance_transactions"
        return None if id is None else self._post(address, amount=self._dice.number(-900, 900), currency="usd")
