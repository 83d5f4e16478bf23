"""Reads at /v1 are answered ahead of Flask, and nobody can tell."""

import gzip
import json

import pytest
import redis

from api.http.rate_limits import LEASE_S, LEASED, Limit, Taken, Taker
from api.http.seats import TEAM
from api.projects import key_access
from api.projects.key_store import KeyStore, Scope
from sync.round_trip import RoundTrips
from tests.api.gateway.mirror_filling import connect_team, finish_backfill, put_objects
from tests.factories import customer, invoice
from workers.pool import Pool, PoolTimeout


@pytest.fixture
def team(owner, database):
    connect_team(database, owner.team_id)
    put_objects(
        database, owner.team_id, "customers", [json.dumps(customer(id=f"cus_{number}")) for number in range(20)]
    )
    put_objects(database, owner.team_id, "invoices", [json.dumps(invoice(id="in_1"))])
    finish_backfill(database, owner.team_id)
    yield owner.team_id
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def key(team, database):
    def create(*scopes, project_id=None):
        names = [scope.value for scope in scopes]
        return KeyStore(database).create_key(team, "k", project_id=project_id, scopes=names, expires_at=None)[1]

    return create


VARYING = {"Request-Id", "X-Request-Id", "RateLimit-Remaining", "RateLimit-Reset"}


@pytest.mark.parametrize("encoding", ["", "gzip, deflate", "gzip;q=0"])
@pytest.mark.parametrize("address", ["/v1/customers/cus_3", "/v1/customers?limit=2", "/v1/invoices/in_1"])
def test_body_and_headers_are_those_of_flasks_answer(client, team, key, flask_was_asked, address, encoding):
    headers = {"Authorization": f"Bearer {key(*Scope)}"} | ({"Accept-Encoding": encoding} if encoding else {})

    lean = client.get(address, headers=headers)
    through_flask = client.get(f"/api/billstack/teams/{team}/mirror{address}", headers=headers)

    assert flask_was_asked == [f"/api/billstack/teams/{team}/mirror{address.partition('?')[0]}"]
    assert (lean.status_code, lean.data) == (200, through_flask.data)
    assert set(lean.headers.keys()) == set(through_flask.headers.keys())
    assert {name: value for name, value in lean.headers.items() if name not in VARYING} == {
        name: value for name, value in through_flask.headers.items() if name not in VARYING
    }
    assert lean.headers["Request-Id"] == lean.headers["X-Request-Id"]


def test_a_long_answer_is_gzipped_for_whom_it_may_be(client, team, key):
    answer = client.get(
        "/v1/customers?limit=20",
        headers={"Authorization": f"Bearer {key(*Scope)}", "Accept-Encoding": "gzip"},
    )

    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.data))["data"]) == 20


def test_its_log_line_is_as_any_other(client, team, key, log_lines):
    client.get("/v1/customers/cus_1", headers={"Authorization": f"Bearer {key(*Scope)}", "X-Request-Id": "given-1"})

    (line,) = [line for line in log_lines() if line["event"] == "request.answered"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/customers/cus_1", 200)
    assert (line["request_id"], line["team"]) == ("given-1", team)
    assert line["api_key"].startswith("key_")
    assert line["duration_ms"] >= 0


@pytest.mark.parametrize(
    ("scopes", "address", "status"),
    [
        ((Scope.READ_CUSTOMERS,), "/v1/customers/cus_none", 404),
        ((Scope.READ_CUSTOMERS,), "/v1/customers?limit=0", 400),
        ((Scope.READ_CUSTOMERS,), "/v1/products", 403),
        ((Scope.READ_CUSTOMERS,), "/v1/balance", 403),
        ((), "/v1/customers/cus_1", 403),
    ],
    ids=["missing", "bad value", "scope", "not in the mirror", "no scope"],
)
def test_a_refusal_is_flasks_and_costs_one_request(client, key, flask_was_asked, scopes, address, status):
    headers = {"Authorization": f"Bearer {key(*scopes)}"}

    first, second = client.get(address, headers=headers), client.get(address, headers=headers)

    assert first.status_code == second.status_code == status
    assert first.json["error"]["type"] == "invalid_request_error"
    assert len(flask_was_asked) == 2
    remaining = [int(each.headers["RateLimit-Remaining"]) for each in (first, second)]
    assert remaining[0] - remaining[1] <= 1, "its token is taken once"


@pytest.mark.parametrize("raw_key", ["bs_" + "0" * 48, "bs_short"])
def test_a_key_that_does_not_exist_is_refused(client, team, raw_key):
    answer = client.get("/v1/customers", headers={"Authorization": f"Bearer {raw_key}"})

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "invalid_api_key")


def test_a_revoked_key_is_refused_at_once(client, team, key, database):
    headers = {"Authorization": f"Bearer {key(*Scope)}"}
    assert client.get("/v1/customers", headers=headers).status_code == 200

    database.execute("DELETE FROM billstack.api_keys")

    assert client.get("/v1/customers", headers=headers).status_code == 401


# What the process remembers of a key is trusted by nobody -------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch):
    """The round trips to Postgres of requests, each as the number of its statements."""
    sent = []
    real = RoundTrips.read

    def noted(self, statements, values):
        sent.append(len(statements))
        return real(self, statements, values)

    monkeypatch.setattr(RoundTrips, "read", noted)
    return sent


def test_a_key_that_was_used_before_is_checked_with_the_read(client, key, reads):
    headers = {"Authorization": f"Bearer {key(*Scope)}"}

    answers = [client.get("/v1/customers/cus_1", headers=headers) for _ in range(3)]

    assert reads == [1, 2, 3, 3], "key; standing and object; then all three"
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.data for answer in answers}) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("DELETE FROM billstack.api_keys", 401),
        ("UPDATE billstack.api_keys SET expires_at = now()", 401),
        ("UPDATE billstack.api_keys SET scopes = '{products:read}'", 403),
        ("UPDATE billstack.api_keys SET team_id = 'team_other'", 503),
        ("UPDATE billstack.api_keys SET key_sha256 = '\\x00'", 401),
    ],
    ids=["revoked", "expired", "other scopes", "other team", "other secret"],
)
@pytest.mark.parametrize("address", ["/v1/customers/cus_1", "/v1/customers/cus_none", "/v1/customers?limit=1"])
def test_a_key_that_is_another_now_reads_nothing_more(client, key, database, change, status, address):
    headers = {"Authorization": f"Bearer {key(*Scope)}"}
    for _ in range(2):
        assert client.get("/v1/customers/cus_1", headers=headers).status_code == 200
    database.execute("INSERT INTO billstack.teams (id, name) VALUES ('team_other', 'Other')")

    database.execute(change)
    answers = [client.get(address, headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [status, status]
    assert not any(b"cus_" in answer.data for answer in answers)


def test_its_use_is_noted_all_the_same(client, key, database):
    headers = {"Authorization": f"Bearer {key(*Scope)}"}
    client.get("/v1/customers/cus_1", headers=headers)
    database.execute("UPDATE billstack.api_keys SET last_used_at = now() - interval '2 minutes'")

    assert client.get("/v1/customers/cus_1", headers=headers).status_code == 200

    (row,) = database.execute("SELECT last_used_at > now() - interval '1 minute' FROM billstack.api_keys").fetchall()
    assert row == (True,)


def test_beyond_its_limit_nothing_is_read_for_it(client, key, reads, monkeypatch):
    headers = {"Authorization": f"Bearer {key(*Scope)}"}
    client.get("/v1/customers/cus_1", headers=headers)
    monkeypatch.setattr(
        "api.gateway.lean_reads.take", lambda redis, limit, who: Taken(limit, False, 0, wait_s=1.0, full_s=10.0)
    )
    reads.clear()

    answer = client.get("/v1/customers/cus_1", headers=headers)

    assert (answer.status_code, reads) == (429, [1]), "only the key"


def test_a_key_that_is_looked_up_after_the_read_waits_for_no_seat_of_its_team(client, key, database, monkeypatch):
    headers = {"Authorization": f"Bearer {key(*Scope)}"}
    looked_up = []
    real = key_access._find_key
    monkeypatch.setattr(key_access, "_find_key", lambda *given: looked_up.append(TEAM.get()) or real(*given))

    client.get("/v1/customers/cus_1", headers=headers)
    client.get("/v1/balance", headers=headers)
    database.execute("UPDATE billstack.api_keys SET last_used_at = now() - interval '2 minutes'")
    client.get("/v1/customers/cus_1", headers=headers)
    database.execute("DELETE FROM billstack.api_keys")
    client.get("/v1/customers/cus_1", headers=headers)

    assert looked_up == [None] * 4, "the first time, for Stripe, when its use was due, and once it was revoked"


def test_while_postgres_is_away_a_request_waits_for_it_once(client, key, monkeypatch):
    headers = {"Authorization": f"Bearer {key(*Scope)}"}
    client.get("/v1/customers/cus_1", headers=headers)
    waits = []

    def away(self, timeout=None):
        waits.append(1)
        raise PoolTimeout

    monkeypatch.setattr(Pool, "connection", away)
    for _ in range(2):
        waits.clear()
        assert client.get("/v1/customers/cus_1", headers=headers).status_code == 503
        assert len(waits) == 1


@pytest.mark.parametrize("address", ["/v1/customers/cus_1", "/v1/balance", "/v1/customers/cus_none"])
def test_while_redis_is_away_a_request_asks_it_once(client, key, monkeypatch, address):
    headers = {"Authorization": f"Bearer {key(*Scope)}"}
    client.get("/v1/customers/cus_1", headers=headers)
    asked = []
    monkeypatch.setattr(Taker, "take", lambda *given: asked.append(1))

    client.get(address, headers=headers)

    assert len(asked) == 1


def test_a_key_of_a_project_does_not_reach_the_mirror(client, owner, team, key):
    project_id = owner.client.post(f"/api/billstack/teams/{team}/projects", json={"name": "Shop"}).json["project"]["id"]

    answer = client.get(
        "/v1/customers", headers={"Authorization": f"Bearer {key(Scope.READ_CUSTOMERS, project_id=project_id)}"}
    )

    assert answer.status_code == 403


# The limit's leases ---------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_connection(redis_url):
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


PLENTY = Limit("plenty", most=1000, rate=0.001)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lent():
    """(tokens that a process took, tokens left in the bucket) of each round trip."""
    return []


@pytest.fixture
def taker(redis_connection, clock, lent):
    made = Taker(redis_connection, clock)
    take = made._take

    def noted(**given):
        answered = take(**given)
        lent.append(tuple(answered[:2]))
        return answered

    made._take = noted
    return made


def test_tokens_of_a_bucket_with_plenty_are_taken_some_at_a_time(taker, lent):
    remaining = [taker.take(PLENTY, "somebody").remaining for _ in range(1 + 2 + 4 + 8 + 16 + LEASED)]

    assert remaining == [PLENTY.most - number - 1 for number in range(len(remaining))]
    assert [count for count, _ in lent] == [1, 2, 4, 8, 16, LEASED]


def test_a_process_takes_as_many_as_its_caller_needs(taker, clock, lent):
    for _ in range(40):
        assert taker.take(PLENTY, "somebody").is_allowed
        clock.now += 0.4 * LEASE_S

    assert sum(count for count, _ in lent) <= 2 * 40
    assert max(count for count, _ in lent) <= 4


def test_a_caller_that_comes_back_alone_takes_one_again(taker, clock, lent):
    for _ in range(100):
        taker.take(PLENTY, "somebody")
    for _ in range(3):
        clock.now += 10 * LEASE_S
        taker.take(PLENTY, "somebody")

    assert lent[-1][0] == 1


def test_a_bucket_lends_at_most_a_tenth_of_what_it_has(taker, lent):
    while taker.take(PLENTY, "somebody").is_allowed:
        pass

    assert all(count == 1 or count <= (left + count) / 10 for count, left in lent[:-1])
    assert sum(count for count, _ in lent) == PLENTY.most
    assert len(lent) < PLENTY.most / 10


def test_two_threads_that_take_at_once_lose_no_tokens(taker):
    take, others = taker._take, []

    def take_while_another_thread_does(**given):
        answered = take(**given)
        if not others:
            others.append(None)
            others[0] = taker.take(PLENTY, "somebody")
        return answered

    for _ in range(9):
        taker.take(PLENTY, "somebody")
    taker._take = take_while_another_thread_does
    allowed = 9
    while taker.take(PLENTY, "somebody").is_allowed:
        allowed += 1

    assert others[0].is_allowed
    assert allowed + 1 == PLENTY.most


def test_several_processes_never_get_more_than_the_limit_permits(redis_connection):
    takers = [Taker(redis_connection) for _ in range(3)]

    allowed = sum(takers[number % 3].take(PLENTY, "somebody").is_allowed for number in range(2 * PLENTY.most))

    assert allowed == PLENTY.most


def test_a_lease_ends(taker, clock, lent):
    for _ in range(2):
        taker.take(PLENTY, "somebody")
    clock.now += LEASE_S

    assert taker.take(PLENTY, "somebody").remaining == PLENTY.most - sum(count for count, _ in lent)
    assert len(lent) == 3
