"""Links people to Stripe customers: finds the one with their address or creates it, exactly once, whatever fails.

1. Commit an intent with a lease. It is unique for team and lower-cased address: one request at a time works on an
address.
2. Ask the mirror and Stripe who has the address (sync/customers/candidates.py).
3. If nobody has it, commit the request that Stripe will get, with an idempotency key, into the intent. Then send it.
4. Commit the link, the mirror's row and the end of the intent together.

A request that dies leaves its intent behind. After the lease, the next request begins at 2 and repeats 3 with the same
key and the same parameters. No transaction is open during a request to Stripe.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg
import structlog

from sync.bounds import loggable
from sync.customers.candidates import CUSTOMER, PROJECT_KEY, Candidates, Connect, Found, Person, chosen
from sync.customers.store import LEASE, Intent, ProjectCustomer, ProjectCustomerStore
from sync.errors import Conflict, Forbidden, LeaseLost, NotFound, StripeRejected, StripeUnavailable
from sync.mirror.refresh import refresh
from sync.mirror.store import REFUSALS, MirrorStore
from sync.stripe.answers import Answer
from sync.stripe.caller import Caller
from sync.stripe.source import Source

# Longer than a lease, so that a waiting request can take over what another one left.
_WAIT_S = LEASE.total_seconds() + 5
_POLL_S = 0.1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Linked:
    """`was_there`: Stripe already had a customer with this address.

    Otherwise this request, or an earlier try, created it.
    """

    customer: ProjectCustomer
    was_there: bool


@dataclass(frozen=True, slots=True)
class _Wanted:
    """`across_projects`: the caller may see the customers of the team's other projects."""

    project_id: str
    person: Person
    across_projects: bool


class CustomerLinks:
    """One team's links. Raises StripeError if Stripe refused or failed; then nothing is linked."""

    def __init__(
        self,
        connect: Connect,
        team_id: str,
        caller: Caller,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._team_id = team_id
        self._caller = caller
        self._source = Source(caller)
        self._candidates = Candidates(connect, team_id, caller)
        self._sleep = sleep
        self._monotonic = monotonic

    def link(self, project_id: str, person: Person, *, across_projects: bool = False) -> Linked:
        """Raises Conflict: customer_exists, ambiguous_email, customer_in_progress; Forbidden: other_project."""
        wanted = _Wanted(project_id, person, across_projects)
        try:
            with self._intent(person.email) as intent:
                self._refuse_known(project_id, person.email)
                found = self._choose(wanted, self._candidates.find(person.email)) or self._create(intent, wanted)
                was_there = not _is_own_creation(intent, found)
                found = self._filled(found, project_id, person)
                return Linked(self._commit(intent, project_id, person, found), was_there)
        except psycopg.errors.ForeignKeyViolation as exc:
            raise Conflict(
                "the project, or the team's mirror, was deleted during this request", code="deleted_meanwhile"
            ) from exc

    def change(self, project_id: str, person_id: str, changes: dict[str, Any]) -> ProjectCustomer:
        """`changes` has `name`, `metadata` or both, in Stripe's form: metadata merges, an empty text unsets."""
        with self._connect() as connection:
            known = _existing(ProjectCustomerStore(connection, self._team_id).find(project_id, person_id))
            version = MirrorStore(connection, self._team_id).version(CUSTOMER, known.stripe_customer_id)
        if not changes:
            return known
        changed = self._post(CUSTOMER.path_of(known.stripe_customer_id), changes, str(uuid.uuid4()), version)
        with self._connect() as connection:
            store = ProjectCustomerStore(connection, self._team_id)
            with connection.transaction():
                store.update(project_id, person_id, name=changed.customer.get("name"), metadata=changed.metadata)
                is_certain = self._mirror(connection, changed)
            if not is_certain:
                refresh(MirrorStore(connection, self._team_id), self._source, CUSTOMER, changed.id)
            return _existing(store.find(project_id, person_id))

    # The intent -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _intent(self, email: str) -> Iterator[Intent]:
        """Ends the intent however the block ends.

        It stays only if Stripe may have created a customer without our knowledge. Then the next request continues with
        it.
        """
        intent = self._claim(email)
        try:
            yield intent
        except LeaseLost as exc:
            raise _in_progress() from exc
        finally:
            with self._connect() as connection:
                store = ProjectCustomerStore(connection, self._team_id)
                (store.let_go if intent.creation else store.forget)(intent)

    def _claim(self, email: str) -> Intent:
        deadline = self._monotonic() + _WAIT_S
        while True:
            with self._connect() as connection:
                intent = ProjectCustomerStore(connection, self._team_id).claim(email)
            if intent is not None:
                return intent
            if self._monotonic() >= deadline:
                raise _in_progress()
            self._sleep(_POLL_S)

    def _decide(self, intent: Intent, idempotency_key: str | None, creation: dict[str, Any] | None) -> None:
        with self._connect() as connection:
            ProjectCustomerStore(connection, self._team_id).decide(intent, idempotency_key, creation)

    # Who is there -----------------------------------------------------------------------------------------------------

    def _refuse_known(self, project_id: str, email: str) -> None:
        with self._connect() as connection:
            store = ProjectCustomerStore(connection, self._team_id)
            for known in store.list_people(project_id, email=email, limit=1, offset=0):
                raise _exists(known)

    def _choose(self, wanted: _Wanted, candidates: dict[str, Found]) -> Found | None:
        """None if nobody has this address yet."""
        foreign: set[str] = set()
        if candidates and not wanted.across_projects:
            foreign = self._candidates.foreign(wanted.project_id, candidates)
        found = chosen(candidates, wanted.person, foreign)
        if found is not None and found.id in foreign:
            raise _other_project()
        return found

    # What is written at Stripe ----------------------------------------------------------------------------------------

    def _create(self, intent: Intent, wanted: _Wanted) -> Found:
        """Continues the creation of a request that died, if there was one."""
        is_repair = intent.creation is not None
        for is_last in (False, True):
            if intent.creation is None:
                self._decide(intent, str(uuid.uuid4()), _creation(wanted))
            try:
                created = self._post_creation(intent)
            except StripeUnavailable as exc:
                # Stripe may have created the customer although it answered with an error.
                found = self._choose(wanted, self._candidates.listed(wanted.person.email))
                if found is not None:
                    return found
                if is_last or not exc.is_replay:
                    raise
                log.info("customer.key_renewed")  # Stripe keeps this error under this key, and created nothing
            else:
                self._choose(wanted, {created.id: created})  # an earlier request's may be another project's
                if not is_repair or self._source.fetch(CUSTOMER, created.id).body:
                    return created
                log.info("customer.deleted_meanwhile")  # a key also replays a customer that was deleted since
            self._decide(intent, None, None)
            is_repair = False
        raise AssertionError("the last round returns or raises")

    def _post_creation(self, intent: Intent) -> Found:
        assert intent.creation is not None
        assert intent.idempotency_key is not None
        try:
            return self._post(CUSTOMER.path, intent.creation, intent.idempotency_key, None)
        except StripeRejected:
            self._decide(intent, None, None)
            raise

    def _filled(self, found: Found, project_id: str, person: Person) -> Found:
        """Fills in what Stripe's customer lacks and overwrites nothing, because other projects may use it too."""
        changes: dict[str, Any] = {}
        given = {**person.metadata, PROJECT_KEY: project_id}
        if lacking := {key: value for key, value in given.items() if not found.metadata.get(key)}:
            changes["metadata"] = lacking
        if person.name and not found.customer.get("name"):
            changes["name"] = person.name
        if not changes:
            return found
        with self._connect() as connection:
            version = MirrorStore(connection, self._team_id).version(CUSTOMER, found.id)
        return self._post(CUSTOMER.path_of(found.id), changes, str(uuid.uuid4()), version)

    def _post(self, path: str, params: dict[str, Any], idempotency_key: str, version: str | None) -> Found:
        endpoint = "create_customers" if path == CUSTOMER.path else "update_customers"

        def read(answer: Answer) -> Found:
            return Found(msgspec.json.decode(answer.body, type=dict[str, Any]), answer, version)

        return self._caller.post(endpoint, path, params, read, idempotency_key=idempotency_key)

    # What is written here ---------------------------------------------------------------------------------------------

    def _commit(self, intent: Intent, project_id: str, person: Person, found: Found) -> ProjectCustomer:
        with self._connect() as connection, connection.transaction():
            store = ProjectCustomerStore(connection, self._team_id)
            store.hold(intent)
            inserted = store.insert(
                project_id,
                found.id,
                email=person.email,
                name=found.customer.get("name"),
                metadata=found.metadata,
            )
            self._mirror(connection, found)
            store.forget(intent)
            linked = _existing(store.find_linked(project_id, found.id))
        intent.creation = None
        if inserted is None:
            raise _exists(linked)
        log.info("customer.linked", project=project_id, project_customer=linked.id)
        return linked

    def _mirror(self, connection: psycopg.Connection, found: Found) -> bool:
        """Writes Stripe's answer. Returns False if the row has changed and may be newer."""
        if found.answer is None:
            return True
        try:
            with connection.transaction():
                store = MirrorStore(connection, self._team_id)
                return store.put_fetched(CUSTOMER, found.id, found.answer, version=found.version) != "changed"
        except REFUSALS as exc:
            log.warning("object.rejected", type=CUSTOMER.name, id=loggable(found.id), reason=type(exc).__name__)
            return True


def _creation(wanted: _Wanted) -> dict[str, Any]:
    person = wanted.person
    named = {"name": person.name} if person.name else {}
    return {"email": person.email, **named, "metadata": {**person.metadata, PROJECT_KEY: wanted.project_id}}


def _is_own_creation(intent: Intent, found: Found) -> bool:
    """Before Stripe got this creation, nobody had the address."""
    creation = intent.creation
    return creation is not None and found.metadata.get(PROJECT_KEY) == creation["metadata"][PROJECT_KEY]


def _other_project() -> Forbidden:
    return Forbidden(
        "another project has a customer with this e-mail address: use an API key of the whole team, or the dashboard",
        code="other_project",
    )


def _exists(known: ProjectCustomer) -> Conflict:
    return Conflict(
        "this e-mail address already belongs to a customer of the project",
        code="customer_exists",
        details={"customerId": known.id, "stripeCustomerId": known.stripe_customer_id},
    )


def _in_progress() -> Conflict:
    return Conflict(
        "another request is linking this e-mail address: try again in a moment", code="customer_in_progress"
    )


def _existing(person: ProjectCustomer | None) -> ProjectCustomer:
    if person is None:
        raise NotFound("there is no such customer in this project")
    return person
