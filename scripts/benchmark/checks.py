"""Checks how a mirror handles cases in which others fail. Each check uses a small account of the sandbox."""

import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from scripts.benchmark.rig import Rig, secret_key
from scripts.benchmark.rows import Rows
from scripts.benchmark.sides import Attempt, Side
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES, in_order

SCALE = 0.1
DELETED_CUSTOMERS = 10
ABOVE_32_BITS = 3_000_000_000  # 30 million rupiah, some 1,800 dollars
AS_SHIPPED = "large"  # in this check a program gets no help from us
# The second page of charges, in the middle of a type: the same for both sides.
SECOND_CHARGES_PAGE = {"path": "/v1/charges", "numbers": [2]}


class Checks:
    """One side's checks. Each has its own account, the same for both sides, and reports its result in a few words."""

    def __init__(self, rig: Rig, side: Side) -> None:
        self._rig = rig
        self._sandbox = rig.sandbox
        self._side = side
        self.notes: list[str] = []
        self._missing_anyway: Counter[str] = Counter()

    def run(self) -> dict[str, str]:
        """Returns the results by check. If a program ended early, its output goes to `notes`."""
        self._sandbox.call("PUT", "latency", ms=0)
        checks: Mapping[str, Callable[[str], dict[str, str]]] = {
            "plain": self._plain_and_again,
            "deleted": self._deleted,
            "limited": lambda account: {"one request answered 429": self._struck(account, "429")},
            "garbled": lambda account: {"one broken JSON body": self._struck(account, "garbage")},
            AS_SHIPPED: self._large_amount,
        }
        found: dict[str, str] = {}
        for account, check in checks.items():
            self._sandbox.add_account(account, scale=SCALE, until=self._rig.until)
            self._side.prepare(account, as_shipped=account == AS_SHIPPED)
            found |= check(account)
        return found

    def _plain_and_again(self, account: str) -> dict[str, str]:
        attempt = self._side.mirror(account)
        self._missing_anyway = self._missing(account)
        found = {
            "missing after a backfill": shown(self._missing_anyway),
            "canceled subscriptions there": self._canceled(account),
        }
        place = self._side.place(account)
        rows = Rows(place.database_url, place.schema)
        rows.remember()
        again = self._side.mirror(account)
        self._note(attempt, again)
        return found | {"an unchanged account again: rows rewritten": f"{rows.rewritten():,} of {rows.total():,}"}

    def _deleted(self, account: str) -> dict[str, str]:
        self._side.mirror(account)
        customers = [each["id"] for each in self._sandbox.objects("customer", account=account)][:DELETED_CUSTOMERS]
        for id in customers:
            self._stripe(account, "DELETE", f"/v1/customers/{id}")
        again = self._side.mirror(account)
        stay = self._side.place(account).live_ids(OBJECT_TYPES["customer"]) & set(customers)
        self._note(again)
        return {"customers deleted at Stripe, then run again": f"{len(stay)} of {len(customers)} stay"}

    def _struck(self, account: str, fault: str) -> str:
        self._sandbox.call("PUT", "faults", faults=[{"kind": fault, **SECOND_CHARGES_PAGE}])
        attempt = self._side.mirror(account)
        self._sandbox.call("DELETE", "faults")
        return self._outcome(attempt, account)

    def _large_amount(self, account: str) -> dict[str, str]:
        fields = {"currency": "idr", "unit_amount": ABOVE_32_BITS, "product_data[name]": "Large"}
        price = self._stripe(account, "POST", "/v1/prices", fields)["id"]
        attempt = self._side.mirror(account)
        right = self._side.place(account).unit_amount(price) == ABOVE_32_BITS
        came_out = "right" if right and not attempt.problem else self._outcome(attempt, account)
        return {"a price above 2^31": came_out}

    def _outcome(self, attempt: Attempt, account: str) -> str:
        missing = self._missing(account)
        self._note(attempt)
        if attempt.problem:
            return f"aborts; {missing.total()} objects missing"
        return "survives" if missing == self._missing_anyway else f"says it is done; {missing.total()} missing"

    def _note(self, *attempts: Attempt) -> None:
        self.notes += [f"{self._side.name}: {attempt.problem}" for attempt in attempts if attempt.problem]

    def _missing(self, account: str) -> Counter[str]:
        """By type: how many objects the sandbox has and the mirror lacks."""
        place = self._side.place(account)
        return Counter(
            {each.name: len(self._ids(account, each.name) - place.live_ids(each)) for each in in_order(DEFAULT_TYPES)}
        )

    def _canceled(self, account: str) -> str:
        at_stripe = {
            each["id"]
            for each in self._sandbox.objects("subscription", account=account)
            if each["status"] == "canceled"
        }
        there = at_stripe & self._side.place(account).live_ids(OBJECT_TYPES["subscription"])
        return f"{len(there)} of {len(at_stripe)}"

    def _ids(self, account: str, type: str) -> set[str]:
        return {each["id"] for each in self._sandbox.objects(type, account=account)}

    def _stripe(self, account: str, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Any:
        """Calls the sandbox' API as the merchant would."""
        body = urlencode(fields).encode() if fields else None
        request = urllib.request.Request(self._sandbox.url + path, body, method=method)
        request.add_header("Authorization", f"Bearer {secret_key(account)}")
        with urllib.request.urlopen(request) as answer:
            return msgspec.json.decode(answer.read())


def shown(missing: Counter[str]) -> str:
    """`3 price`, or `none`."""
    return ", ".join(f"{count} {name}" for name, count in missing.items() if count) or "none"
