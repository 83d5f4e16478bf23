"""Whatever is sent to the gateway: never a 5xx of ours, another team's byte, or a team's Stripe key in answer or log."""

import base64
import io
import logging
import random
from urllib.parse import quote

import pytest
import structlog

from scripts.sandbox.searching import FIELDS
from sync.object_types import OBJECT_TYPES
from tests.api.gateway.two_teams import ALL, SECRET_OF_OTHERS, two_teams

REQUESTS = 2_000
MANY_REQUESTS = 20_000
# A key has a limit of its own; these many fit into it.
REQUESTS_A_KEY = 250

METHODS = ["GET"] * 12 + ["POST"] * 5 + ["DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"]
WORDS = [
    *(
        "search",
        "upcoming",
        "create_preview",
        "lines",
        "items",
        "line_items",
        "confirm",
        "cancel",
        "finalize",
        "refund",
    ),
    *("..", ".", "%2e%2e", "%00", "%0d%0aX: y", "%ff", "%", "", "*", ";a=b", "🦉", "a" * 300, "//", "%2F", "v1", "me"),
]
VALUES = [
    *("1", "0", "-1", "100", "101", "1e3", "9" * 40, "true", "True", "null", "", "all", "active", "\0", "é", "🦉"),
    *("1700000000", "-62135596801", "253402300800", "9223372036854775807", "data.customer", "data." * 9, "customer"),
    *("data.items.data.price", "lines", "usd", "{}", "[]", "' OR 1=1 --", "%s", "%(id)s", "$1", "{team}", "\ud83d"),
    *("created>0 AND email~'a'", "email:'a@b.c' created>0", "metadata['a']:'%_'", "status:'open' OR status:'paid'"),
    *("created<999999999999999 amount:-1", "total>1 AND currency:'usd'", "customer:'cus_1'", "active:'true'"),
]
NAMES = [
    *("limit", "starting_after", "ending_before", "expand[]", "expand", "expand[0][]", "created", "created[gte]"),
    *("created[lt]", "created[x]", "email", "status", "customer", "active", "ids[]", "price", "query", "page", "name"),
    *(
        "metadata[a]",
        "metadata",
        "items[0][price]",
        "recurring[interval]",
        "amount",
        "currency",
        "",
        "[]",
        "[",
        "\0",
        "a[b]c",
    ),
]
VERSIONS = ["2023-10-16", "2026-10-28.endive", "", "latest", "é", "x" * 500, "2026-10-28.endive; beta=v1"]


@pytest.fixture(scope="module")
def teams(new_database, redis_database):
    with two_teams(new_database, redis_database) as teams:
        teams.let_in(teams.ours)
        yield teams


@pytest.fixture
def log(teams):
    """What is logged from here on: the handler that the application made is turned to a buffer."""
    buffer = io.StringIO()
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            handler.setStream(buffer)
    return buffer


@pytest.mark.parametrize("seed", [1])
def test_odd_requests(teams, log, seed):
    fuzz(teams, log, random.Random(seed), REQUESTS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2])
def test_twenty_thousand_odd_requests(teams, log, seed):
    fuzz(teams, log, random.Random(seed), MANY_REQUESTS)


def fuzz(teams, log, rng, count):
    client = teams.app.test_client()
    secrets = [teams.ours.stripe_key, teams.others.stripe_key]
    statuses, keys = {}, []
    for number in range(count):
        if number % REQUESTS_A_KEY == 0:
            keys = [teams.key(*ALL)[1], teams.key(*rng.sample(ALL, 3))[1]]
        odd = Odd(teams, rng, keys)
        asked = odd.request()
        answer = client.open(**asked)
        body = answer.get_data()
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        shown = f"{asked} -> {answer.status_code} {body[:300]!r}"
        is_stripes = answer.headers.get("X-BillStack-Source") == "stripe"
        assert answer.status_code < 500 or is_stripes, shown
        told = body + str(answer.headers).encode()
        assert not any(secret.encode() in told for secret in secrets), shown
        assert SECRET_OF_OTHERS.encode() not in told, shown
    logged = log.getvalue()
    assert not [line for line in logged.splitlines() if any(secret in line for secret in secrets)]
    assert SECRET_OF_OTHERS not in logged
    assert "request.answered" in logged
    # It meets what answers, not only what turns away.
    assert statuses[200] > count / 10
    assert statuses.get(429, 0) < count / 20


class Odd:
    """One request."""

    def __init__(self, teams, rng, keys):
        self._teams, self._rng, self._keys = teams, rng, keys

    def request(self):
        """Half of them odd in one place at most, so that they get far."""
        rng = self._rng
        if rng.random() < 0.5:
            return self._nearly_right()
        method = rng.choice(METHODS)
        body = rng.random() < 0.5 or method == "POST"
        return {
            "path": self._path(),
            "method": method,
            "headers": self._headers(),
            "query_string": self._query() if rng.random() < 0.7 else "",
            **({"data": self._body()} if body else {}),
        }

    def _nearly_right(self):
        rng = self._rng
        name, object_id = rng.choice(list(self._teams.ours.ids.items()))
        path = OBJECT_TYPES[name].path if rng.random() < 0.5 else OBJECT_TYPES[name].path_of(object_id)
        asked = {"path": path, "method": "GET", "headers": {"Authorization": f"Bearer {self._keys[0]}"}}
        odd = rng.random()
        if odd < 0.2:
            asked["query_string"] = f"{quote(rng.choice(NAMES), safe='[]')}={quote(self._value(), safe='')}"
        elif odd < 0.4:
            asked["query_string"] = f"limit={rng.randint(1, 100)}&created[gte]={quote(self._value(), safe='')}"
        elif odd < 0.6:
            asked["headers"] |= self._headers()
        elif odd < 0.8:
            asked |= {"method": "POST", "data": self._query()}
        return asked

    def _path(self):
        rng = self._rng
        prefix = "" if rng.random() < 0.8 else f"/api/billstack/teams/{self._team().id}/mirror"
        collection = rng.choice(
            [
                *(each.path for each in OBJECT_TYPES.values()),
                "/v1/balance",
                "/v1/subscription_items",
                "/v1/plans",
                "/v1/x",
            ]
        )
        parts = [self._part() for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 3]))]
        if rng.random() < 0.05:
            collection = rng.choice(["/v1", "/v1/", "/v2/core/events", "/v1//customers", "/V1/customers"])
        if rng.random() < 0.1:
            collection, parts = OBJECT_TYPES[rng.choice(list(FIELDS))].path, ["search"]
        return prefix + "/".join([collection, *parts])

    def _part(self):
        rng = self._rng
        if rng.random() < 0.6:
            return rng.choice(list(self._team().ids.values()))
        return quote(rng.choice(WORDS), safe="%/;*")

    def _team(self):
        return self._teams.ours if self._rng.random() < 0.7 else self._teams.others

    def _query(self):
        pairs = [(self._rng.choice(NAMES), self._value()) for _ in range(self._rng.randint(1, 4))]
        encoded = "&".join(f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in pairs)
        return encoded if self._rng.random() < 0.95 else encoded + "&%ff=%zz&=&&"

    def _value(self):
        rng = self._rng
        value = rng.choice(VALUES) if rng.random() < 0.7 else rng.choice(list(self._team().ids.values()))
        return value.encode("utf-8", "replace").decode()

    def _headers(self):
        rng = self._rng
        headers = {"Authorization": self._credentials()}
        if rng.random() < 0.2:
            headers["Stripe-Version"] = rng.choice(VERSIONS)
        if rng.random() < 0.1:
            headers["Stripe-Account"] = rng.choice(["acct_1", "acct_1other", "", "é", "x" * 400])
        if rng.random() < 0.1:
            headers["X-BillStack-Fresh"] = rng.choice(["true", "True", "1", ""])
        if rng.random() < 0.2:
            headers["Idempotency-Key"] = rng.choice(["a", "a", "é", "", "k" * 300, "\t"])
        if rng.random() < 0.3:
            headers["Content-Type"] = rng.choice(
                [
                    *("application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x"),
                    *("text/plain; charset=utf-16", "", "é", "application/x-www-form-urlencoded; charset=nonsense"),
                ]
            )
        for name in rng.sample(["Content-Encoding", "Expect", "Range", "If-None-Match", "X-Forwarded-For", "Host"], 1):
            if rng.random() < 0.1:
                headers[name] = rng.choice(["gzip", "100-continue", "bytes=0-1", "*", "127.0.0.1", "api.stripe.com"])
        return headers

    def _credentials(self):
        rng, key = self._rng, self._rng.choice(self._keys)
        if rng.random() < 0.1:
            return f"Bearer {self._teams.ours.stripe_key}"
        if rng.random() < 0.85:
            return f"Bearer {key}"
        basic = base64.b64encode(f"{key}:".encode()).decode()
        wrong = [f"Basic {basic}", "Basic %", "Bearer", "Bearer é", "Basic Og==", "Digest a", f"Bearer {key}x", ""]
        return rng.choice([*wrong, f"bearer {key}", f"Bearer {self._teams.others.stripe_key}", "Bearer rk_test_nobody"])

    def _body(self):
        rng = self._rng
        if rng.random() < 0.7:
            return self._query().encode()
        odd = [b"", b"{}", b"\xff\xfe", b"a" * 300_000, b"a=%00", b'{"email":"a"}', b"--x\r\n\r\n", rng.randbytes(50)]
        return rng.choice(odd)
