"""The made-up business has the counts, relations and oddities that a mirror has to survive."""

from collections import Counter, defaultdict
from typing import ClassVar, get_args, get_origin

import pytest
import stripe

from scripts.sandbox.account import Account
from scripts.sandbox.kinds import DEFAULT_COUNTS, SUBSCRIPTION_STATUSES
from scripts.sandbox.seeding import Recipe
from scripts.sandbox.shapes import Json
from tests.sandbox.conftest import NOW, SMALL, Clock

_WEEK = 7 * 86_400


@pytest.fixture(scope="module")
def whole() -> Account:
    return Account("demo", Recipe(), Clock())


def test_the_default_account_has_the_promised_counts(whole: Account) -> None:
    listed = {type: len(shelf.timeline) for type, shelf in whole.state.shelves.items()}

    assert {type: count for type, count in listed.items() if count} == DEFAULT_COUNTS


def test_a_seed_makes_the_same_account_to_the_byte_and_another_seed_another() -> None:
    one, same, other = (Account("demo", Recipe(seed, 0.1), Clock()) for seed in (3, 3, 4))

    assert one.state.dump("invoice") == same.state.dump("invoice")
    assert one.state.dump("invoice") != other.state.dump("invoice")


def test_test_and_live_mode_hold_different_objects_of_one_account() -> None:
    test, live = Account("demo", SMALL, Clock()), Account("demo", SMALL, Clock(), livemode=True)

    assert test.state.id == live.state.id
    assert all(customer["livemode"] for customer in live.objects("customer"))
    assert not {each["id"] for each in test.objects("customer")} & {each["id"] for each in live.objects("customer")}


def test_relations_lead_somewhere(whole: Account) -> None:
    customers, prices, subscriptions, products, invoices = (
        {each["id"] for each in whole.objects(type)}
        for type in ("customer", "price", "subscription", "product", "invoice")
    )

    assert all(charge["customer"] in customers for charge in whole.objects("charge"))
    assert all(price["product"] in products for price in whole.objects("price"))
    for subscription in whole.objects("subscription", full=True):
        assert subscription["customer"] in customers
        assert subscription["latest_invoice"] is None or subscription["latest_invoice"] in invoices
        assert all(item["price"]["id"] in prices for item in subscription["items"]["data"])
    for invoice in whole.objects("invoice", full=True):
        assert invoice["customer"] in customers
        assert all(line["pricing"]["price_details"]["price"] in prices for line in invoice["lines"]["data"])
        if invoice["parent"]:
            assert invoice["parent"]["subscription_details"]["subscription"] in subscriptions
        assert invoice["total"] == sum(line["amount"] for line in invoice["lines"]["data"])


def test_whoever_pays_has_an_invoice_that_was_charged(whole: Account) -> None:
    of_subscription = defaultdict(list)
    for invoice in whole.objects("invoice"):
        if invoice["parent"]:
            of_subscription[invoice["parent"]["subscription_details"]["subscription"]].append(invoice)
    charged = {
        (charge["customer"], charge["currency"], charge["amount"], charge["created"])
        for charge in whole.objects("charge")
        if charge["status"] == "succeeded"
    }

    for subscription in whole.objects("subscription"):
        invoices = of_subscription[subscription["id"]]
        if subscription["status"] in ("active", "past_due", "unpaid"):
            assert any(
                (each["customer"], each["currency"], each["amount_paid"], each["status_transitions"]["paid_at"])
                in charged
                for each in invoices
            )
            assert min(each["created"] for each in invoices) >= subscription["created"]
        elif subscription["status"] in ("trialing", "incomplete", "incomplete_expired"):
            assert not invoices


def test_amounts_are_those_of_a_business_and_the_huge_ones_a_corner(whole: Account) -> None:
    for type, field in [("invoice", "total"), ("charge", "amount")]:
        objects = whole.objects(type)
        huge = [each for each in objects if each[field] > 2**31]
        assert 0.005 < len(huge) / len(objects) < 0.04
        assert {each["currency"] for each in huge} <= {"idr", "vnd"}
        dollars = sorted(each[field] for each in objects if each["currency"] == "usd")
        assert 1000 <= dollars[len(dollars) // 2] <= 100_000
        assert Counter(each["currency"] for each in objects).most_common(1)[0][0] == "usd"


def test_people_are_not_shouted_at(whole: Account) -> None:
    customers, emails = (
        whole.objects("customer"),
        [each["email"] for each in whole.objects("customer") if each["email"]],
    )

    assert not any(each["name"].isupper() for each in customers)
    assert not any(email.isupper() for email in emails)
    assert any(email != email.lower() for email in emails)  # lists compare exactly
    assert len(set(emails)) < len(emails)  # some share theirs


def test_as_many_lists_are_cut_as_before(whole: Account) -> None:
    assert 60 <= sum(each["lines"]["has_more"] for each in whole.objects("invoice")) <= 90
    assert 8 <= sum(each["items"]["has_more"] for each in whole.objects("subscription")) <= 14


def test_it_has_what_breaks_mirrors(whole: Account) -> None:
    invoices, subscriptions = whole.objects("invoice"), whole.objects("subscription")
    statuses = Counter(each["status"] for each in subscriptions)
    text = b"".join(whole.state.dump("customer")).decode()

    assert set(statuses) == set(SUBSCRIPTION_STATUSES)
    assert 60 <= statuses["canceled"] <= 120
    assert {each["status"] for each in invoices} == {"draft", "open", "paid", "uncollectible", "void"}
    assert any(not product["active"] for product in whole.objects("product"))
    assert any(not price["active"] for price in whole.objects("price"))
    assert max(invoice["total"] for invoice in invoices) > 2**31
    assert {"usd", "jpy", "kwd"} <= {price["currency"] for price in whole.objects("price")}
    assert any(invoice["lines"]["has_more"] for invoice in invoices)
    assert any(subscription["items"]["has_more"] for subscription in subscriptions)
    assert all(sign in text for sign in ("🚀", "לוי", "فاطمة", "美咲"))


def test_hundreds_of_objects_share_one_second(whole: Account) -> None:
    for type, at_least in [("customer", 100), ("invoice", 300), ("charge", 400)]:
        assert Counter(each["created"] for each in whole.objects(type)).most_common(1)[0][1] >= at_least


def test_sizes_are_those_of_real_objects(whole: Account) -> None:
    for type, low, high in [("invoice", 3000, 6000), ("subscription", 3000, 6000), ("charge", 2000, 3000)]:
        bodies = whole.state.dump(type)
        assert low < sum(map(len, bodies)) / len(bodies) < high


def test_everything_was_created_before_now_and_business_grows(whole: Account) -> None:
    times = sorted(each["created"] for each in whole.objects("charge"))

    assert times[-1] < NOW
    assert NOW - times[0] > 2.5 * 365 * 86_400
    assert sum(each > NOW - 365 * 86_400 for each in times) > len(times) * 0.4


def test_the_history_can_end_at_a_fixed_second_so_that_a_restart_makes_the_same_account() -> None:
    first = Account("demo", Recipe(scale=0.1, until=NOW), Clock(NOW + 50))
    later = Account("demo", Recipe(scale=0.1, until=NOW), Clock(NOW + 5000))

    assert first.state.dump("charge") == later.state.dump("charge")


def test_profiles_shape_the_history() -> None:
    def times(profile: str) -> list[int]:
        account = Account("demo", Recipe(profile=profile, counts={"customer": 5000, "charge": 0}), Clock())
        return sorted(each["created"] for each in account.objects("customer"))

    assert NOW - times("last-month")[0] <= 30 * 86_400
    assert Counter(times("one-second")).most_common(1)[0][1] == 2000
    bursts = Counter(second // 3600 for second in times("bursts"))
    assert sum(count for _, count in bursts.most_common(80)) > 4500
    ten_years = Account("demo", Recipe(profile="ten-years"), Clock())
    assert {len(ten_years.state.shelves[type].timeline) for type in DEFAULT_COUNTS} == {10}


def test_a_restart_gives_new_objects_and_events_no_used_id() -> None:
    first, later = (Account("demo", Recipe(scale=0, until=NOW), Clock(NOW + after)) for after in (50, 5000))

    for account in (first, later):
        account.create("customer")

    assert first.objects("customer")[0]["id"] != later.objects("customer")[0]["id"]
    assert first.events()[0]["id"] != later.events()[0]["id"]


@pytest.mark.parametrize(
    ("name", "sdk_class", "unnamed"),
    [
        ("customer", stripe.Customer, set()),
        ("product", stripe.Product, {"attributes"}),
        ("price", stripe.Price, set()),
        ("subscription", stripe.Subscription, {"plan", "quantity"}),
        ("invoice", stripe.Invoice, set()),
        ("charge", stripe.Charge, {"destination", "dispute", "order"}),
    ],
)
def test_objects_have_the_fields_that_the_sdk_types(
    whole: Account, name: str, sdk_class: type[stripe.StripeObject], unnamed: set[str]
) -> None:
    """`unnamed` are fields that Stripe sends and its SDK leaves out."""
    typed = {field: each for field, each in sdk_class.__annotations__.items() if get_origin(each) is not ClassVar}
    required = {field for field, each in typed.items() if type(None) not in get_args(each)}

    for obj in whole.objects(name)[:200]:
        assert set(obj) - set(typed) == unnamed
        assert required <= {field for field, value in obj.items() if value is not None}


@pytest.fixture(scope="module")
def broad() -> Account:
    return Account("demo", Recipe(types="all"), Clock())


def test_an_account_with_all_types_has_the_first_six_as_without_the_others(whole: Account, broad: Account) -> None:
    assert broad.state.dump("invoice") == whole.state.dump("invoice")
    assert all(len(shelf.timeline) for shelf in broad.state.shelves.values())


def test_every_charge_has_its_payment_intent_and_what_moved_has_its_balance_transaction(broad: Account) -> None:
    charges, refunds = broad.objects("charge"), broad.objects("refund")
    intents = {each["id"]: each for each in broad.objects("payment_intent")}
    moved = {each["id"]: each for each in broad.objects("balance_transaction")}

    assert {intents[each["payment_intent"]]["latest_charge"] for each in charges} == {each["id"] for each in charges}
    assert all(moved[each["balance_transaction"]]["amount"] == each["amount"] for each in charges if each["paid"])
    assert {each["charge"] for each in refunds} == {each["id"] for each in charges if each["amount_refunded"]}
    assert all(moved[each["balance_transaction"]]["amount"] == -each["amount"] for each in refunds)


def test_payouts_add_up(broad: Account) -> None:
    """All that was available a week ago has been paid out, but for weeks in which more went back than came in."""
    weekly: Counter[tuple[str, int]] = Counter()
    for each in broad.objects("balance_transaction"):
        if each["type"] != "payout":
            weekly[each["currency"], each["available_on"] // _WEEK] += each["net"]
    over = {(currency, week + 1): net for (currency, week), net in weekly.items() if net > 0}
    now = broad.state.now()

    paid = {(each["currency"], each["created"] // _WEEK): each["amount"] for each in broad.objects("payout")}

    assert paid == {key: net for key, net in over.items() if key[1] * _WEEK < now}
    sources = {each["source"] for each in broad.objects("balance_transaction")}
    assert {each["id"] for each in broad.objects("payout")} <= sources


def test_a_payout_is_the_net_of_what_stripe_lists_for_it(broad: Account) -> None:
    """The list has the payout's own balance transaction, too, so that it comes to nothing."""
    payouts, listed = broad.objects("payout"), set[str]()

    for payout in payouts:
        moved = _moved(broad, payout["id"])
        own = [each for each in moved if each["type"] == "payout"]
        assert [(each["id"], each["source"]) for each in own] == [(payout["balance_transaction"], payout["id"])]
        assert {each["currency"] for each in moved} == {payout["currency"]}
        assert sum(each["net"] for each in moved) == 0
        assert sum(each["net"] for each in moved if each["type"] != "payout") == payout["amount"]
        assert not listed & {each["id"] for each in moved}, "paid out once"
        listed |= {each["id"] for each in moved}

    assert len(listed) > 4 * len(payouts) > 0


def _moved(account: Account, payout_id: str) -> list[Json]:
    found: list[Json] = []
    after: dict[str, str] = {}
    while True:
        page = account.list("/v1/balance_transactions", {"payout": payout_id, "limit": 100, **after}).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = {"starting_after": found[-1]["id"]}
