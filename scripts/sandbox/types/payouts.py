"""Payouts, and the balance transactions that each of them pays out."""

from collections import defaultdict

from scripts.sandbox.answers import Answer, Refused, decode
from scripts.sandbox.fields import one_of
from scripts.sandbox.forms import Params
from scripts.sandbox.listing import list_objects
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State
from scripts.sandbox.types import writes
from scripts.sandbox.types.making import make_up

_reconciled = one_of("completed", "in_progress", "not_applicable")


def create(state: State, params: Params) -> Json:
    """Pays out one currency's available balance, as Stripe does every day. A manual payout if there is none.

    `reconciliation_status` may be given, because something has to cause the events of a business.
    """
    given = dict(params)
    asked = _reconciled(given.pop("reconciliation_status", "completed"), "reconciliation_status")
    due = [] if asked == "not_applicable" else _due(state)
    about = {"amount": sum(each["net"] for each in due), "currency": due[0]["currency"]} if due else None
    payout, _ = make_up(state, "payout", about)
    if due:
        payout["reconciliation_status"] = asked
    state.create("payout", writes.told(state, "payout", payout, given))
    own, _ = make_up(state, "balance_transaction", payout)
    state.create("balance_transaction", own)
    for each in (*due, own) if due else ():
        state.shelves["balance_transaction"].group("payout", payout["id"], each["id"])
    return payout


def _due(state: State) -> list[Json]:
    """What is available and not paid out yet, in the currency with the most of it."""
    shelf = state.shelves["balance_transaction"]
    by_currency: dict[str, list[Json]] = defaultdict(list)
    for record in shelf.timeline:
        transaction = decode(record.body)
        is_open = ("payout", record.id) not in shelf.group_of and transaction["type"] != "payout"
        if is_open and transaction["available_on"] <= state.now():
            by_currency[transaction["currency"]].append(transaction)
    most = max(by_currency.values(), key=_net, default=[])
    return most if _net(most) > 0 else []


def _net(transactions: list[Json]) -> int:
    return sum(each["net"] for each in transactions)


def update(state: State, id: str, params: Params) -> Json:
    given = dict(params)
    payout = state.get("payout", id)
    asked = _reconciled(given.pop("reconciliation_status", payout["reconciliation_status"]), "reconciliation_status")
    if asked != payout["reconciliation_status"]:
        state.change("payout", {**payout, "reconciliation_status": asked}, also=(f"reconciliation_{asked}",))
    return writes.update(state, id, given, type="payout")


def list_transactions(state: State, params: Params) -> Answer:
    """With `payout`, what an automatic payout is made of. Stripe cannot tell of a manual one."""
    if "payout" in params and not state.named("payout", params["payout"], "payout")["automatic"]:
        raise Refused("Balance transaction history can only be filtered on automatic transfers, not manual.")
    return list_objects(state.shelves["balance_transaction"], params)
