"""What a tenant signs harms nobody: not its own team's pages, not other teams' deliveries, not our log, and nothing for good."""

import itertools
import json
import threading
import time

import psycopg
import pytest
from psycopg import sql

from api.http.context import EXTENSION
from api.projects.store import ProjectStore
from scripts.sandbox.courier import signature
from sync.database.schema import create_team_schema, schema_name
from sync.error_text import loggable_reason
from sync.events.applying import apply_batch
from sync.events.ledger import Ended, Ledger
from sync.events.routing import Mirrored
from sync.ids import new_id
from sync.object_types import OBJECT_TYPES
from sync.teams.connections import Connections
from sync.teams.secrets import SecretBox
from tests.api.http.team_surface import failures
from tests.api.webhooks.odd_events import HTML, odd_bodies
from tests.factories import NOW, customer, encoded, event
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, simulated_stripe, source_of
from workers.redis.meter import EVENTS, KEY, Meter, label_field

SECRET = "whsec_" + "s" * 32
YEAR_9999 = 253_402_300_799
QUICK, SLOW = 1_000, 10_000


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe()


@pytest.fixture
def tenant(owner, database, settings, stripe):
    """A connected team with an empty mirror, a project and a person in it."""
    connect(database, settings, owner.team_id, stripe)
    project = ProjectStore(database, owner.team_id).create_project("App").id
    database.execute(
        "INSERT INTO billstack.project_customers (id, team_id, project_id, stripe_customer_id, email, metadata)"
        " VALUES (%s, %s, %s, 'cus_1', 'ada@example.com', '{}')",
        (new_id("pc"), owner.team_id, project),
    )
    yield owner
    database.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema_name(owner.team_id))))


def connect(database, settings, team_id: str, stripe: SimulatedStripe) -> None:
    with database.transaction():
        create_team_schema(database, team_id)

    Connections(database, SecretBox(settings.secret_keys)).put(
        team_id,
        account_id=stripe.account.state.id,
        account_name=None,
        livemode=False,
        secret_key="sk_test_demo",
        publishable_key=None,
        webhook_secret=SECRET,
    )


def deliver(client, team_id: str, body: bytes):
    headers = {"Stripe-Signature": signature(body, SECRET, int(time.time()))}
    return client.post(f"/api/webhooks/stripe/{team_id}", data=body, headers=headers)


def apply_all(database, team_id: str, stripe: SimulatedStripe) -> None:
    """As the job does; what fails has one more try."""
    mirrored = Mirrored(stripe.account.state.id, livemode=False)
    for _ in range(2):
        while apply_batch(database, team_id, source_of(stripe, attempts=1), mirrored):
            pass
        database.execute("UPDATE billstack.events SET next_attempt_at = now() WHERE team_id = %s", (team_id,))


# Numbers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("created", [YEAR_9999 + 1, 9_224_318_015_999, 2**63 - 1, -1, -62_135_596_801, 2**70])
def test_an_event_from_no_year_of_ours_is_refused(app, client, tenant, database, created):
    answer = deliver(
        client,
        tenant.team_id,
        encoded({**event(customer()), "created": str(created)}).replace(f'"{created}"'.encode(), str(created).encode()),
    )

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_event")
    assert failures(app, tenant, database) == []


@pytest.mark.parametrize("type", ["customer.updated", "customer.deleted"])
def test_an_event_from_the_future_is_settled_by_stripe_and_does_not_stand_above_what_comes(
    client, tenant, database, stripe, type
):
    """The last second of 9999, as a row's `as_of`, would be newer than all that Stripe ever says."""
    about = stripe.account.create("customer", name="now")
    deliver(client, tenant.team_id, encoded(event({**about, "name": "then"}, type, created=YEAR_9999)))
    apply_all(database, tenant.team_id, stripe)

    assert row_of(database, tenant, about["id"])["raw"]["name"] == "now"
    assert tenant.client.get(f"{tenant.stripe}/status").json["lastEventAt"] < "2100"
    stripe.clock.advance(60)
    later = stripe.account.update("customer", about["id"], name="later")
    deliver(client, tenant.team_id, encoded(event(later, created=int(stripe.clock.now))))
    apply_all(database, tenant.team_id, stripe)
    assert row_of(database, tenant, about["id"])["raw"]["name"] == "later"


@pytest.mark.parametrize("moment", ["12000-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC", "infinity", "-infinity"])
def test_a_team_that_an_earlier_version_bricked_answers_again(app, tenant, database, stripe, client, moment):
    put_row(database, tenant, "cus_odd", deleted_at=moment, as_of=300_000_000_000)
    database.execute("UPDATE billstack.connections SET last_event_at = %s", (moment,))
    ledger = Ledger(database, tenant.team_id)
    ledger.record(
        "evt_future", "customer.updated", 300_000_000_000, encoded(event(customer())).decode(), delivered=True
    )

    assert failures(app, tenant, database) == []

    deliver(client, tenant.team_id, encoded(event(customer("cus_fresh"))))
    apply_all(database, tenant.team_id, stripe)
    assert row_of(database, tenant, "cus_fresh")["as_of"] == NOW
    assert tenant.client.get(f"{tenant.stripe}/status").json["lastEventAt"] < "2100", "it heals"


@pytest.mark.parametrize("type", ["customer.updated", "customer.deleted"])
def test_a_row_of_the_future_is_settled_by_stripe(tenant, database, stripe, client, type):
    about = stripe.account.create("customer", name="now")
    put_row(database, tenant, about["id"], as_of=YEAR_9999)
    if type == "customer.deleted":
        stripe.account.delete("customer", about["id"])

    deliver(client, tenant.team_id, encoded(event(about, type, created=int(stripe.clock.now))))
    apply_all(database, tenant.team_id, stripe)

    found = row_of(database, tenant, about["id"])
    assert found["as_of"] <= stripe.clock.now
    assert (found["deleted_at"] is not None) == (type == "customer.deleted")


def test_numbers_that_python_cannot_read_are_shown_all_the_same(app, tenant, database, client, stripe):
    """In a person's metadata, where a program reads them; and in a raw object."""
    body = (
        encoded(event(customer(balance=7, metadata={"big": 7777})))
        .replace(b"7777", b"1e5000")
        .replace(b":7,", b":1e400,")
    )
    assert deliver(client, tenant.team_id, body).status_code == 200
    apply_all(database, tenant.team_id, stripe)
    assert row_of(database, tenant, "cus_1")

    assert failures(app, tenant, database) == []


# Ids, types and texts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        {"id": "e" * 4_000},
        {"id": "e" * 256},
        {"id": ""},
        {"id": HTML},
        {"type": "t" * 900_000},
        {"type": HTML},
        {"type": ""},
    ],
    ids=lambda head: next(f"{key}-{len(value)}" for key, value in head.items()),
)
def test_an_id_or_type_that_stripe_would_not_send_is_refused(client, tenant, database, head):
    answer = deliver(client, tenant.team_id, encoded({**event(customer()), **head}))

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_event")
    assert database.execute("SELECT count(*) FROM billstack.events").fetchone() == (0,)


@pytest.mark.parametrize("object_id", ["", "x" * 256, "a\0b", "\n"])
@pytest.mark.parametrize("fields", [{}, {"api_version": "2020-08-27"}], ids=["applied", "fetched"])
def test_an_object_without_a_usable_id_is_skipped_and_stripe_is_not_asked(
    client, tenant, database, stripe, object_id, fields
):
    stripe.requests.clear()

    assert deliver(client, tenant.team_id, encoded(event(customer(object_id), **fields))).status_code == 200
    apply_all(database, tenant.team_id, stripe)

    assert database.execute("SELECT state FROM billstack.events").fetchone() == ("skipped",)
    assert stripe.requests == []


@pytest.mark.parametrize(
    "odd",
    [
        {"api_version": "a\0b"},
        {"api_version": "v" * 100_000},
        {"data": {"object": {"object": "a\0b", "id": "x"}}},
        {"data": {"object": {"object": HTML, "id": "x"}}},
        {"account": "a\0b"},
    ],
    ids=["version-nul", "version-long", "object-nul", "object-html", "account-nul"],
)
def test_odd_texts_of_an_event_hold_up_no_other(client, tenant, database, stripe, odd):
    deliver(client, tenant.team_id, encoded({**event(customer("cus_odd")), **odd}))
    deliver(client, tenant.team_id, encoded(event(customer("cus_good"), created=NOW + 1)))

    apply_all(database, tenant.team_id, stripe)

    assert row_of(database, tenant, "cus_good")
    reasons = database.execute("SELECT coalesce(error, '') FROM billstack.events").fetchall()
    assert not any("<" in reason for (reason,) in reasons)
    assert not any("vvvv" in warning for warning in tenant.client.get(f"{tenant.stripe}/status").json["warnings"])


def test_types_that_are_not_stripes_do_not_become_labels(app, client, tenant, database):
    """Anybody reads /metrics, and a label lives for ever; what an earlier version took in is forgotten."""
    context = app.extensions[EXTENSION]
    context.redis.hincrbyfloat(KEY + EVENTS, label_field(("x" * 900_000, "applied")), 1)
    meter = Meter(context.redis)

    meter.events("skipped", [Ended("a.tenants.own", 0.1), Ended("customer.updated", 0.1)])

    text = client.get("/metrics").text

    assert 'type="other"' in text
    assert 'type="customer.updated"' in text
    assert "a.tenants.own" not in text
    assert len(text) < 100_000
    assert context.redis.hlen(KEY + EVENTS) == 2


# Neighbours ---------------------------------------------------------------------------------------------------------------


def test_what_postgres_refuses_of_one_delivery_is_no_other_teams_503(app, client, tenant, database, monkeypatch):
    """Deliveries of a moment share a commit; here one of them slips through every check."""
    monkeypatch.setattr("sync.events.routing.is_event_id", lambda text: True)
    context, statuses = app.extensions[EXTENSION], []
    random_id = "".join(chr(0x4E00 + number) for number in range(4_000))  # nothing that Postgres could compress

    def post(number: int) -> None:
        told = event(customer(), id=f"evt_{random_id}" if number % 5 == 0 else f"evt_good{number}")
        statuses.append((number % 5, deliver(app.test_client(), tenant.team_id, encoded(told)).status_code))

    with context.pool.connection() as blocker, blocker.transaction():
        blocker.execute("LOCK billstack.events IN SHARE MODE")  # so that all of them wait, and then go together
        threads = [threading.Thread(target=post, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
    for thread in threads:
        thread.join()

    assert {status for rest, status in statuses if rest} == {200}
    assert {status for rest, status in statuses if not rest} == {400}


# Words ---------------------------------------------------------------------------------------------------------------------


def test_an_object_that_never_stands_still_fails_its_event_alone_and_its_name_is_told_nowhere(
    client, tenant, database, stripe, log_lines
):
    """A flood of signed events about one object, whose id is a script, while each fetch of it runs."""
    put_row(database, tenant, HTML, as_of=NOW + 100)

    def meanwhile(request: Request) -> None:
        if "img" in request.path:
            put_row(database, tenant, HTML, raw={"id": HTML, "n": len(stripe.requests)})
            request.instead = error(404, "resource_missing", message=f"No such customer: '{HTML}'")

    stripe.at_begin = meanwhile
    deliver(client, tenant.team_id, encoded(event(customer(HTML), api_version="2020-08-27")))
    deliver(client, tenant.team_id, encoded(event(customer("cus_good"))))

    apply_all(database, tenant.team_id, stripe)

    states = dict(database.execute("SELECT body::jsonb #>> '{data,object,id}', state FROM billstack.events").fetchall())
    assert states == {HTML: "failed", "cus_good": "applied"}
    assert HTML not in json.dumps(log_lines())


def test_a_mistake_of_ours_about_one_event_holds_up_no_other(client, tenant, database, stripe, monkeypatch, log_lines):
    def broken(*_: object, **__: object) -> None:
        raise KeyError(HTML)

    monkeypatch.setattr("sync.events.fetches.refresh", broken)
    deliver(client, tenant.team_id, encoded(event(customer(), api_version="2020-08-27")))
    deliver(client, tenant.team_id, encoded(event(customer("cus_good"))))

    apply_all(database, tenant.team_id, stripe)

    assert row_of(database, tenant, "cus_good")
    error_kept = database.execute("SELECT error FROM billstack.events WHERE state = 'failed'").fetchone()
    assert error_kept == ("BillStack itself failed to apply this event.",)
    assert HTML not in json.dumps(log_lines())


def test_what_postgres_says_of_a_value_is_not_repeated(database):
    with pytest.raises(psycopg.Error) as caught:
        database.execute("SELECT %s::text::bigint", (HTML,))
    assert HTML in str(caught.value)

    assert loggable_reason(caught.value) == "InvalidTextRepresentation (22P02)"


# All together -----------------------------------------------------------------------------------------------------------


def fuzz(app, tenant, database, stripe, count: int) -> None:
    client = app.test_client()
    for number, body in enumerate(itertools.islice(odd_bodies(seed=14), count), start=1):
        answer = deliver(client, tenant.team_id, body)
        assert answer.status_code in (200, 400), (number, answer.status_code, body[:500])
        if number % 100 == 0:
            apply_all(database, tenant.team_id, stripe)
            assert failures(app, tenant, database) == [], number


def test_after_a_thousand_odd_events_every_page_and_endpoint_answers(app, tenant, database, stripe):
    fuzz(app, tenant, database, stripe, QUICK)
    states = dict(database.execute("SELECT state, count(*) FROM billstack.events GROUP BY state").fetchall())
    assert states["applied"] > 100
    assert "pending" not in states


@pytest.mark.slow
def test_after_ten_thousand_odd_events_every_page_and_endpoint_answers(app, tenant, database, stripe):
    fuzz(app, tenant, database, stripe, SLOW)


# Rows ---------------------------------------------------------------------------------------------------------------------


def put_row(
    database, tenant, object_id: str, *, as_of: int = NOW - 60, deleted_at: str | None = None, raw=None
) -> None:
    statement = sql.SQL(
        "INSERT INTO {} (id, raw, as_of, as_of_until, deleted_at) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET raw = excluded.raw"
    ).format(sql.Identifier(schema_name(tenant.team_id), OBJECT_TYPES["customer"].table))
    given = json.dumps(raw or customer(object_id, created=YEAR_9999))
    database.execute(statement, (object_id, given, as_of, as_of, deleted_at))


def row_of(database, tenant, object_id: str) -> dict:
    statement = sql.SQL("SELECT raw, as_of, deleted_at FROM {} WHERE id = %s").format(
        sql.Identifier(schema_name(tenant.team_id), OBJECT_TYPES["customer"].table)
    )
    found = database.execute(statement, (object_id,)).fetchone()
    return dict(zip(("raw", "as_of", "deleted_at"), found, strict=True)) if found else {}
