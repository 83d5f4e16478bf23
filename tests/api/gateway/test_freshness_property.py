"""However writes through the gateway, changes at Stripe, events, pages, partial backfills and crashes interleave:

- a read after an answered write never shows the state before it;
- an answer marked `mirror` was Stripe's state at its `X-BillStack-Synced-At` or later.

One thread, so that a seed gives the same run each time: while a request is at Stripe, other things go on, as in
tests/sync/events/test_events_property.py. The gateway is the whole application; only its way to Stripe is simulated.
"""

import contextlib
import json
import random
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from api.gateway.forward import Forwarder
from api.http.context import EXTENSION
from api.people import People
from api.projects.key_store import KeyStore, Scope
from scripts.sandbox.changes import Changer
from scripts.sandbox.seeding import Recipe
from sync.backfill.part_records import FINISH
from sync.errors import Conflict, LeaseLost, StripeError
from sync.events.applying import apply_batch, record_event
from sync.events.ledger import Ledger
from sync.events.sweep import sweep
from sync.mirror.page_writer import SplitPage, write_page
from sync.mirror.refresh import refresh
from sync.mirror.store import MirrorStore, PageToWrite
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from sync.teams.connections import Connections
from tests.api.gateway.mirror_filling import connect_with_key, create_gateway, database_url_of
from tests.api.gateway.watched_stripe import WATCHED, Simulated, Watched
from tests.factories import NOW, encoded
from tests.sync.backfilling import Backfilling, Killed, Process, turns_of
from tests.sync.conftest import Team, empty_team
from tests.sync.mirrored import open_window
from tests.sync.simulated_stripe import Clock, Request, mirrored_of, source_of

# Few objects, so that most of what happens happens to the same ones.
COUNTS = {"customer": 3, "product": 1, "price": 1, "subscription": 1, "invoice": 2, "charge": 0}
MOST_NESTED = 2

bounded = settings(
    max_examples=max(12, settings().max_examples // 5),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def installed(new_database, redis_database):
    with psycopg.connect(new_database(), autocommit=True) as connection:
        url = database_url_of(connection)
        fast = {"STRIPE_ACCOUNT_RPS": "100000", "STRIPE_ENDPOINT_RPS": "100000"}
        app = create_gateway(connection, redis_database, "https://stripe.invalid", **fast)
        team_id = People(connection).create_team("Acme")
        connect_with_key(app, connection, team_id, "sk_test_simulated")
        yield app, Team(team_id, url, connection)
        app.extensions[EXTENSION].close()


@bounded
@given(seed=st.integers(0, 2**32), steps=st.integers(20, 50))
@example(seed=229041, steps=50)  # a deletion of what the mirror never had, and then the event of its creation
def test_reads_show_what_was_written_and_what_they_claim(installed, monkeypatch, seed, steps):
    app, team = installed
    run = Run(app, team, random.Random(seed), monkeypatch)

    for _ in range(steps):
        run.act()
    run.read_all()

    assert run.lies == []
    assert run.answered


@pytest.mark.slow
@settings(bounded, max_examples=200)
@given(seed=st.integers(0, 2**32), steps=st.integers(60, 200))
def test_reads_show_what_was_written_and_what_they_claim_after_long_runs(installed, monkeypatch, seed, steps):
    app, team = installed
    run = Run(app, team, random.Random(seed), monkeypatch)

    for _ in range(steps):
        run.act()
    run.read_all()

    assert run.lies == []


class Run:
    def __init__(self, app: Any, team: Team, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
        _empty(team)
        self._team, self._rng = team, rng
        clock = Clock(NOW)
        counts = dict.fromkeys(OBJECT_TYPES, 0) | COUNTS
        self._account = Watched(Recipe(seed=rng.randrange(10**6), counts=counts, until=NOW - 120), clock)
        self._stripe = Simulated(self._account, clock)
        self._changer = Changer(self._account, seed=rng.randrange(10**6))
        self._source = source_of(self._stripe, page_size=rng.choice([5, 100]))
        self._store = MirrorStore(team.connection, team.id)
        self._backfills = Backfilling(team, self._stripe)
        app.extensions["billstack-forwarder"] = Forwarder(self._stripe, "https://stripe.invalid")
        monkeypatch.setattr("api.gateway.views.open_source", lambda *_args, **_options: self._source)
        scopes = [scope.value for scope in Scope if scope is not Scope.READ_STRIPE]
        _, key = KeyStore(team.connection).create_key(team.id, "k", project_id=None, scopes=scopes, expires_at=None)
        self._client, self._headers = app.test_client(), {"Authorization": f"Bearer {key}"}
        self._connections = Connections(team.connection, app.extensions[EXTENSION].box)
        self._delivered: set[str] = set()
        self._held: list[Any] = []
        self._written: dict[tuple[str, str], int] = {}  # the state that the last answered write left
        self._kill_after: int | None = None
        self._depth = 0
        self._nested = 40  # what happens inside requests makes further requests: a life must end
        self._running: str | None = None
        self.lies: list[str] = []
        self.answered = 0
        assert self._backfills.run(self._backfills.start(*DEFAULT_TYPES)) == "ready"
        self._stripe.at_begin = self._stripe.at_end = self._meanwhile
        moves: list[tuple[int, Callable[[], object]]] = [
            (8, self._write),
            (10, self._read),
            (5, self._edit),
            (3, self._let_time_pass),
            (6, self._deliver),
            (6, self._apply),
            (1, self._apply_and_die),
            (2, self._sweep),
            (3, self._read_page),
            (3, self._write_page),
            (1, self._refresh),
            (2, self._backfill_a_little),
        ]
        self._moves = [move for _, move in moves]
        # Each run has a character. All of everything would heal more than it hurts.
        self._weights = [weight * rng.choice([0, 0.3, 1, 1, 3]) for weight, _ in moves]
        self._weights[0] += 1
        self._weights[1] += 1

    def act(self) -> None:
        self._rng.choices(self._moves, self._weights)[0]()

    def _meanwhile(self, request: Request) -> None:
        """At the beginning and at the end of each request of this thread; a backfill has others."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self._kill_after is not None:
            self._kill_after -= 1
            if self._kill_after < 0:
                self._kill_after = None
                raise Killed
        if self._depth < MOST_NESTED and self._nested and self._rng.random() < 0.4:
            self._depth += 1
            self._nested -= 1
            try:
                for _ in range(self._rng.randint(1, 3)):
                    self.act()
            finally:
                self._depth -= 1

    # Through the gateway --------------------------------------------------------------------------------------------

    def _some(self, *types: str) -> tuple[str, str] | None:
        known = [key for key in self._account.states if key[0] in types]
        return self._rng.choice(known) if known else None

    def _write(self) -> None:
        """A change of an object, a new customer, or a deletion; sometimes the process dies in it."""
        kind = self._rng.random()
        some = self._some("customer", "product", "invoice")
        if kind < 0.15 or some is None:
            self._send("POST", "/v1/customers", {"name": self._rng.choice("AB")})
        elif kind < 0.25 and some[0] == "customer":
            self._send("DELETE", f"/v1/customers/{some[1]}", {})
        else:
            self._send("POST", _address(some), {"description": self._rng.choice("AB")})

    def _send(self, method: str, path: str, params: dict[str, str]) -> None:
        dies = self._kill_after is None and self._rng.random() < 0.1
        if dies:
            self._kill_after = self._rng.randint(0, 3)
        answer = self._client.open(
            path,
            method=method,
            data=urlencode(params),
            headers=self._headers,
            content_type="application/x-www-form-urlencoded",
        )
        if dies:
            self._kill_after = None
        if answer.status_code == 200 and answer.headers.get("X-BillStack-Mirror") != "behind":
            written = json.loads(answer.data)
            key = (written["object"], written["id"])
            left = self._account.left_by[answer.headers["Request-Id"]][key]
            self._written[key] = max(self._written.get(key, 0), left)

    def _last(self, key: tuple[str, str], state: Any) -> int:
        """The latest of its states that looks so; -1: it never did."""
        states = self._account.states.get(key, [(0.0, None)])
        return max((at for at, (_, each) in enumerate(states) if each == state), default=-1)

    def _read(self) -> None:
        if self._rng.random() < 0.3:
            self._read_list(self._rng.choice(["customer", "invoice", "product"]))
        elif some := self._some(*WATCHED):
            self._read_object(some)

    def _read_object(self, key: tuple[str, str]) -> None:
        answer = self._client.get(_address(key), headers=self._headers)
        if answer.status_code == 404:
            self._judge(key, None, None)
        elif answer.status_code == 200:
            body = answer.json
            self._judge(key, None if body.get("deleted") else body, answer.headers["X-BillStack-Synced-At"])

    def _read_list(self, name: str) -> None:
        answer = self._client.get(f"{OBJECT_TYPES[name].path}?limit=100", headers=self._headers)
        if answer.status_code != 200:
            return
        found = {each["id"]: each for each in answer.json["data"]}
        for key in [key for key in self._account.states if key[0] == name]:
            self._judge(key, found.pop(key[1], None), answer.headers["X-BillStack-Synced-At"])
        self.lies += [f"{object_id} never was" for object_id in found]

    def _judge(self, key: tuple[str, str], shown: Any, synced_at: str | None) -> None:
        """`synced_at`: errors do not say it."""
        self.answered += 1
        at = self._last(key, shown)
        states = self._account.states[key]
        if at < 0:
            self.lies.append(f"{key} never looked like {shown}")
        elif at < self._written.get(key, 0):
            self.lies.append(f"{key} is shown as before the last write: state {at} of {len(states)}")
        elif synced_at and at + 1 < len(states):
            ended, claimed = int(states[at + 1][0]), int(datetime.fromisoformat(synced_at).timestamp())
            if ended <= claimed:
                self.lies.append(f"{key} is shown as it was until {ended}, and the answer claims {claimed}")

    def read_all(self) -> None:
        self._depth = MOST_NESTED
        for key in list(self._account.states):
            self._read_object(key)

    # What else goes on ----------------------------------------------------------------------------------------------

    def _edit(self) -> None:
        if self._rng.random() < 0.4:
            self._changer.make_one()
            return
        customers = [each["id"] for each in self._account.objects("customer")]
        for _ in range(self._rng.randint(1, 3)):
            if customers:
                self._account.update("customer", self._rng.choice(customers), description=self._rng.choice("AB"))
            self._stripe.clock.advance(self._rng.choice([0, 0, 0.4, 1, 2]))

    def _let_time_pass(self) -> None:
        self._stripe.clock.advance(self._rng.choice([0.3, 1, 2, 5, 61]))

    def _deliver(self) -> None:
        undelivered = [event for event in self._account.events() if event["id"] not in self._delivered]
        for event in self._rng.sample(undelivered, len(undelivered)):
            if self._rng.random() < 0.6:
                self._delivered.add(event["id"])
                record_event(Ledger(self._team.connection, self._team.id), encoded(event), delivered=True)

    def _apply(self) -> None:
        apply_batch(self._team.connection, self._team.id, self._source, mirrored_of(self._stripe))

    def _apply_and_die(self) -> None:
        if self._kill_after is None:
            self._kill_after = self._rng.randint(0, 4)
            try:
                self._apply()
            except Killed:
                return
            finally:
                self._kill_after = None

    def _sweep(self) -> None:
        sweep(Ledger(self._team.connection, self._team.id), self._connections, self._source, is_over=lambda: False)

    def _read_page(self) -> None:
        object_type = OBJECT_TYPES[self._rng.choice(["customer", "customer", "product", "invoice"])]
        page = self._source.page(object_type, object_type.variants[0])
        answers = self._source.complete(object_type, page.cut_ids(object_type), page.answer)
        written = PageToWrite(
            body=page.answer.body,
            as_of=page.answer.as_of,
            as_of_until=max([page.answer.as_of_until, *(answer.as_of_until for answer in answers.values())]),
            has_more=page.has_more,
            completed={id: answer.body for id, answer in answers.items()},
        )
        try:
            key = open_window(self._store, object_type)
        except Conflict:
            return  # a backfill of other types is running
        self._held.append((object_type, key, page, written))

    def _write_page(self) -> None:
        if not self._held:
            return
        object_type, key, page, written = self._held.pop(self._rng.randrange(len(self._held)))
        try:
            found = write_page(self._store, object_type, key, written, SplitPage(page.heads, page.raw_objects))
        except LeaseLost:
            return  # another backfill has begun meanwhile
        for object_id in found.overlapping:
            refresh(self._store, self._source, object_type, object_id)

    def _refresh(self) -> None:
        if some := self._some("customer", "product", "price"):
            refresh(self._store, self._source, OBJECT_TYPES[some[0]], some[1])

    def _backfill_a_little(self) -> None:
        """Some parts of a backfill get a turn each, which may be cut short or end with its process."""
        if self._running is None or self._backfills.get(self._running).state != "running":
            self._backfills.store.cancel(self._team.id)
            types = self._rng.sample(DEFAULT_TYPES, self._rng.randint(1, len(DEFAULT_TYPES)))
            self._running = self._backfills.start(*types)
        self._backfills.let_leases_run_out()
        due = [part.part for part in self._backfills.due(self._running)]
        if self._depth and FINISH in due:
            return  # it would wait for the events that an outer move is applying
        depth, self._depth = self._depth, MOST_NESTED  # nothing inside: its threads hold locks
        for part in due[: self._rng.randint(1, 8)]:
            process = Process(dies_after=self._rng.choice([None, None, 5, 20, 60]))
            with contextlib.suppress(LeaseLost, StripeError):
                self._backfills.work_on(self._running, part, process=process, should_yield=turns_of(20))
        self._depth = depth


def _address(key: tuple[str, str]) -> str:
    return OBJECT_TYPES[key[0]].path_of(key[1])


def _empty(team: Team) -> None:
    empty_team(team)
    team.connection.execute("DELETE FROM billstack.type_proofs WHERE team_id = %s", (team.id,))
    team.connection.execute(
        "UPDATE billstack.connections SET swept_until = NULL, unread_until = NULL, sweep_error = NULL WHERE team_id = %s",
        (team.id,),
    )
