"""Plain requests are answered before gunicorn reads them (api/http/buffering_worker.py), and nobody can tell."""

import json
import os
import socket
from contextlib import closing

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.parser import RequestParser

from api.gateway import lean_reads
from api.http.ahead_of_flask import AHEAD
from api.http.buffering_worker import BufferingWorker, _Connection, _Received
from api.http.whole_answers import WholeAnswers
from api.projects.key_store import KeyStore, Scope
from tests.api.gateway.mirror_filling import connect_team, finish_backfill, put_objects
from tests.factories import customer

# A header that leaves the request to gunicorn.
TO_GUNICORN = b"TE: trailers\r\n"
VARYING = (b"Date", b"Request-Id", b"X-Request-Id", b"RateLimit-Remaining", b"RateLimit-Reset")


@pytest.fixture
def team(owner, database):
    connect_team(database, owner.team_id)
    rows = [json.dumps(customer(id=f"cus_{number}", name="Zoë")) for number in range(20)]
    put_objects(database, owner.team_id, "customers", rows)
    finish_backfill(database, owner.team_id)
    yield owner.team_id
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def key(team, database):
    names = [scope.value for scope in Scope]
    return KeyStore(database).create_key(team, "k", project_id=None, scopes=names, expires_at=None)[1]


@pytest.fixture
def worker(app):
    """Without its loop and processes."""
    return new_worker(app)


def new_worker(app, **settings):
    config = Config()
    for name, value in settings.items():
        config.set(name, value)
    made = BufferingWorker(1, os.getpid(), [], None, 30, config, Logger(config))
    made.wsgi = app
    return made


class Client:
    """A connection to the worker, and what comes back of it."""

    def __init__(self, worker):
        self._worker = worker
        ours, self._end = socket.socketpair()
        sock = WholeAnswers(ours.family, ours.type, ours.proto, fileno=ours.detach())
        self._connection = _Connection(worker, sock, ("127.0.0.1", 1), ("127.0.0.1", 2))
        self._connection.init()

    def ask(self, address, key, headers=b""):
        """(status line, headers, body, whether the connection stays open)"""
        is_kept = self.send(address, key, headers)
        head, _, body = self._end.recv(1 << 20).partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        return status, [tuple(line.split(b": ", 1)) for line in lines], body, is_kept

    def send(self, address, key, headers=b""):
        """Whether the connection stays open."""
        line = f"GET {address} HTTP/1.1\r\nHost: billstack.test\r\nAuthorization: Bearer {key}\r\n"
        self._connection.request = _Received.of(line.encode() + headers + b"\r\n")
        return self._worker._answer(self._connection)

    def known(self):
        return self._connection.sock.known

    def hang_up(self):
        self._end.close()

    def close(self):
        self._end.close()
        self._connection.sock.close()


@pytest.fixture
def client(worker):
    with closing(Client(worker)) as made:
        yield made


def same(answer):
    status, headers, body, is_kept = answer
    return status, [(name, value) for name, value in headers if name not in VARYING], body, is_kept


@pytest.mark.parametrize("headers", [b"", b"Accept-Encoding: gzip\r\n", b"Stripe-Version: 2024-06-20\r\n"])
@pytest.mark.parametrize(
    "address", ["/v1/customers/cus_1", "/v1/customers?limit=20", "/v1/customers/cus_none", "/v1/nothing"]
)
def test_the_answer_is_the_same_as_through_gunicorn(client, key, address, headers):
    plain = client.ask(address, key, headers)
    through_gunicorn = client.ask(address, key, headers + TO_GUNICORN)

    assert same(plain) == same(through_gunicorn)
    assert {name for name, _ in plain[1]} == {name for name, _ in through_gunicorn[1]}
    assert plain[3] is True


def test_gunicorn_does_not_see_it(client, key, monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(RequestParser, "__next__", fail)

    status, _, body, _ = client.ask("/v1/customers?limit=20", key)

    assert (status, len(json.loads(body)["data"])) == (b"HTTP/1.1 200 OK", 20)


@pytest.mark.parametrize("address", ["/v1/customers/cus_none", "/v1/customers?limit=0"])
def test_what_goes_on_to_flask_is_checked_once(client, key, address, monkeypatch):
    checked = []
    real = lean_reads._checked
    monkeypatch.setattr(lean_reads, "_checked", lambda check: checked.append(1) or real(check))

    _, headers, _, _ = client.ask(address, key, b"X-Request-Id: given-1\r\n")

    assert len(checked) == 1
    assert (b"X-Request-Id", b"given-1") in headers


def test_what_was_found_out_about_a_request_is_not_used_for_the_next(client, key):
    """A request that goes on to Flask takes along that its key is valid."""
    assert client.ask("/v1/customers/cus_none", key)[0] == b"HTTP/1.1 404 NOT FOUND"

    for headers in (TO_GUNICORN, b""):
        assert client.ask("/v1/customers/cus_1", "bs_" + "0" * 48, headers)[0] == b"HTTP/1.1 401 UNAUTHORIZED"
    assert client.ask("/v1/customers/cus_1", key, TO_GUNICORN)[0] == b"HTTP/1.1 200 OK"


def test_a_process_that_stops_says_so(client, key, worker):
    worker.alive = False

    status, headers, _, is_kept = client.ask("/v1/customers/cus_1", key)

    assert (status, is_kept) == (b"HTTP/1.1 200 OK", False)
    assert (b"Connection", b"close") in headers


def test_a_client_that_has_gone_is_left(client, key):
    client.hang_up()

    assert client.send("/v1/customers/cus_1", key) is False


def test_a_defect_is_answered_and_ends_the_connection(client, key, app, monkeypatch):
    monkeypatch.setitem(app.extensions, AHEAD, lambda _: 1 / 0)

    status, _, _, is_kept = client.ask("/v1/customers/cus_1", key)

    assert (status, is_kept) == (b"HTTP/1.1 500 Internal Server Error", False)


def test_nothing_of_a_request_is_kept_with_its_connection(client, key):
    """What went on to Flask holds the error that says why, and that all that was read."""
    client.ask("/v1/customers?limit=20&expand[]=data.none", key)

    assert client.known() == {}


@pytest.mark.parametrize("value", ["2025\r\nX-Injected: 1", "2025\nX: 1", "2025-\u2603"])
def test_no_value_makes_a_header_of_its_own(client, key, monkeypatch, value):
    monkeypatch.setattr(lean_reads, "mirror_headers", lambda *_: {"Stripe-Version": value})

    status, headers, _, is_kept = client.ask("/v1/customers/cus_1", key)

    assert (status, is_kept) == (b"HTTP/1.1 500 Internal Server Error", False)
    assert not [name for name, _ in headers if name.startswith(b"X-")]


@pytest.mark.parametrize(
    "setting", [{"accesslog": "-"}, {"syslog": True}, {"limit_request_fields": 5}, {"limit_request_line": 60}], ids=str
)
def test_what_gunicorn_is_told_to_do_itself_it_does(app, key, setting, monkeypatch):
    seen = []
    real = RequestParser.__next__
    monkeypatch.setattr(RequestParser, "__next__", lambda parser: seen.append(1) or real(parser))

    with closing(Client(new_worker(app, **setting))) as client:
        assert client.ask("/v1/customers/cus_1", key)[0] == b"HTTP/1.1 200 OK"

    assert seen


def test_it_counts_for_a_restart_after_so_many_requests(client, key, worker):
    worker.max_requests = 3

    assert [client.ask("/v1/customers/cus_1", key)[3] for _ in range(3)] == [True, True, False]
    assert worker.alive is False
