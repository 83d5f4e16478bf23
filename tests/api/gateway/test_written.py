"""What a write left at Stripe stays in the mirror, whatever older news of the object arrives later."""

import psycopg
import pytest

from api.gateway import written
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.stripe.curl import Headers, HttpAnswer
from tests.api.gateway.mirror_filling import database_url_of
from tests.factories import encoded
from tests.sync.conftest import make_team
from tests.sync.mirrored import row
from tests.sync.simulated_stripe import simulated_stripe, source_of

CUSTOMER = OBJECT_TYPES["customer"]


@pytest.fixture(scope="module")
def store(new_database):
    with psycopg.connect(new_database(), autocommit=True) as connection:
        team = make_team(database_url_of(connection), connection)
        yield MirrorStore(connection, team.id)


def test_a_write_that_puts_back_what_the_mirror_has_is_not_overtaken_by_the_one_before_it(store):
    """The later one leaves the row as it is, and yet the earlier one's answer, which comes last, must not replace it."""
    stripe = simulated_stripe(counts={"customer": 1})
    (customer,) = stripe.account.objects("customer")
    path, source = CUSTOMER.path_of(customer["id"]), source_of(stripe)

    def write(description):
        before = written.look(store, path, ["customer"])
        stripe.clock.advance(1)
        answer = stripe.send("post", f"https://stripe.invalid{path}?description={description}", {})
        return before, HttpAnswer(answer.status, Headers(answer.headers), answer.body)

    def bring_in(before, answer, *, is_ours):
        return written.bring_in(
            store, lambda: source, before, answer, mirrored=["customer"], elapsed_s=0.1, is_ours=is_ours
        )

    assert bring_in(*write("A"), is_ours=True)
    stripe.clock.advance(60)

    earlier, later = write("B"), write("A")
    assert bring_in(*later, is_ours=False)
    assert bring_in(*earlier, is_ours=True)

    assert row(store, customer["id"]).raw["description"] == "A"


def test_an_object_that_the_mirror_never_had_stays_deleted_when_its_creation_is_told(store):
    """The webhooks of both may still be under way when the deletion is answered."""
    stripe = simulated_stripe(seed=2, counts={"customer": 1})
    (customer,) = stripe.account.objects("customer")
    path, source = CUSTOMER.path_of(customer["id"]), source_of(stripe)
    assert row(store, customer["id"]) is None
    before = written.look(store, path, ["customer"])
    answer = stripe.send("delete", f"https://stripe.invalid{path}", {})

    deleted = HttpAnswer(answer.status, Headers(answer.headers), answer.body)
    assert written.bring_in(store, lambda: source, before, deleted, mirrored=["customer"], elapsed_s=0.1, is_ours=True)
    creation = store.apply_event(
        CUSTOMER, customer["id"], encoded(customer), created=customer["created"], checked_until=None
    )

    assert creation == "older"
    assert row(store, customer["id"]).deleted_at is not None
