"""Links people to Stripe customers: finds the one of their email, or creates it, once, whatever fails on the way.

1. Commit an intent, unique for team and lower-cased email, with a lease: one request at a time works on an email.
2. Ask the mirror and Stripe who has that email. Lists are immediate and exact, so the email is asked for as typed and in
   lower case; the search API lags (stripe-facts 9).
3. Nobody has it: commit what Stripe is about to be asked for, with an idempotency key, into the intent; then ask.
4. Commit the link, the mirror's row and the end of the intent together.

A request that dies leaves its intent behind; after the lease, the next one begins at 2 and repeats 3 with the same key and
the same parameters. No transaction is open while Stripe is asked.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
import structlog

from sync.bounds import loggable
from sync.caller import Answer, Caller, Read
from sync.errors import BadRequest, Conflict, LeaseLost, NotFound, StripeRejected, StripeUnavailable
from sync.object_types import OBJECT_TYPES
from sync.project_customers import LEASE, Intent, ProjectCustomer, ProjectCustomerStore
from sync.refresh import refresh
from sync.source import Source
from sync.store import REFUSALS, MirrorStore

# A request that waits longer than another one's lease takes over what that one left.
_WAIT_S = LEASE.total_seconds() + 5
_POLL_S = 0.1
_CUSTOMER = OBJECT_TYPES["customer"]
PROJECT_KEY = "project_id"  # of a Stripe customer's metadata: the project that brought it

Connect = Callable[[], AbstractContextManager[psycopg.Connection]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Person:
    """Who shall be linked. `stripe_customer_id` chooses among several Stripe customers of that email."""

    email: str
    name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    stripe_customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A live Stripe customer; `answer` is where it was read, None: in the mirror, just now refreshed."""

    customer: dict[str, Any]
    answer: Answer | None
    version: str | None = None  # of the mirror's row, from before the answer was asked for

    @property
    def id(self) -> str:
        return str(self.customer["id"])

    @property
    def metadata(self) -> dict[str, str]:
        return self.customer.get("metadata") or {}


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


class CustomerLinks:
    """One team's. Raises StripeError when Stripe refused or failed: then nothing is linked."""

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
        self._sleep = sleep
        self._monotonic = monotonic

    def link(self, project_id: str, person: Person) -> ProjectCustomer:
        """Raises Conflict: customer_exists, ambiguous_email, customer_in_progress."""
        try:
            with self._intent(person.email.lower()) as intent:
                self._refuse_known(project_id, person.email)
                found = _chosen(self._candidates(person.email), person)
                if found is None:
                    found = self._create(intent, project_id, person)
                found = self._filled(found, project_id, person)
                return self._commit(intent, project_id, person, found)
        except psycopg.errors.ForeignKeyViolation as exc:
            raise Conflict(
                "the project, or the team's mirror, was deleted meanwhile", code="deleted_meanwhile"
            ) from exc

    def change(self, project_id: str, person_id: str, changes: dict[str, Any]) -> ProjectCustomer:
        """`changes` has `name`, `metadata` or both, as Stripe takes them: metadata merges, an empty text unsets."""
        with self._connect() as connection:
            known = _existing(ProjectCustomerStore(connection, self._team_id).find(project_id, person_id))
            version = MirrorStore(connection, self._team_id).version(_CUSTOMER, known.stripe_customer_id)
        if not changes:
            return known
        changed = self._post(_CUSTOMER.path_of(known.stripe_customer_id), changes, str(uuid.uuid4()), version)
        with self._connect() as connection:
            store = ProjectCustomerStore(connection, self._team_id)
            with connection.transaction():
                store.update(project_id, person_id, name=changed.customer.get("name"), metadata=changed.metadata)
                is_certain = self._mirror(connection, changed)
            if not is_certain:
                refresh(MirrorStore(connection, self._team_id), self._source, _CUSTOMER, changed.id)
            return _existing(store.find(project_id, person_id))

    # The intent -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _intent(self, email: str) -> Iterator[Intent]:
        """Ends it, however the block ends; only where Stripe may have created unseen, the next request goes on with it."""
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

    def _candidates(self, email: str) -> dict[str, _Found]:
        """Live Stripe customers of this email in any case, by id."""
        found = self._listed(email)
        with self._connect() as connection:
            store = ProjectCustomerStore(connection, self._team_id)
            unconfirmed = [each for each in store.mirrored_ids(email) if each not in found]
        for stripe_customer_id in unconfirmed:  # written in a third case, or the mirror is behind
            with self._connect() as connection:
                refresh(MirrorStore(connection, self._team_id), self._source, _CUSTOMER, stripe_customer_id)
                raw = ProjectCustomerStore(connection, self._team_id).mirrored(stripe_customer_id, email)
            if raw is not None:
                found[stripe_customer_id] = _Found(msgspec.json.decode(raw), None)
        return found

    def _listed(self, email: str) -> dict[str, _Found]:
        found = {}
        for spelling in dict.fromkeys((email, email.lower())):
            params = {"email": spelling, "limit": self._source.page_size}
            for each in self._caller.get(Read(_CUSTOMER.list_endpoint, _CUSTOMER.path, params, _read_list)):
                found[each.id] = each
        return found

    # What is written at Stripe ----------------------------------------------------------------------------------------

    def _create(self, intent: Intent, project_id: str, person: Person) -> _Found:
        """Goes on with the creation of a request that died, if there was one."""
        is_repair = intent.creation is not None
        for is_last in (False, True):
            if intent.creation is None:
                self._decide(intent, str(uuid.uuid4()), _creation(project_id, person))
            try:
                created = self._post_creation(intent)
            except StripeUnavailable as exc:
                found = _chosen(self._listed(person.email), person)  # an error may come after the work
                if found is not None:
                    return found
                if is_last or not exc.is_replay:
                    raise
                log.info("customer.key_renewed")  # Stripe keeps this error under this key, and made nothing
            else:
                if not is_repair or self._source.fetch(_CUSTOMER, created.id).body:
                    return created
                log.info("customer.deleted_meanwhile")  # a key replays what it made also after that was deleted
            self._decide(intent, None, None)
            is_repair = False
        raise AssertionError("the last round returns or raises")

    def _post_creation(self, intent: Intent) -> _Found:
        assert intent.creation is not None
        assert intent.idempotency_key is not None
        try:
            return self._post(_CUSTOMER.path, intent.creation, intent.idempotency_key, None)
        except StripeRejected:
            self._decide(intent, None, None)
            raise

    def _filled(self, found: _Found, project_id: str, person: Person) -> _Found:
        """Fills what Stripe's customer lacks and overwrites nothing: it may be another project's too."""
        changes: dict[str, Any] = {}
        given = {**person.metadata, PROJECT_KEY: project_id}
        if lacking := {key: value for key, value in given.items() if not found.metadata.get(key)}:
            changes["metadata"] = lacking
        if person.name and not found.customer.get("name"):
            changes["name"] = person.name
        if not changes:
            return found
        with self._connect() as connection:
            version = MirrorStore(connection, self._team_id).version(_CUSTOMER, found.id)
        return self._post(_CUSTOMER.path_of(found.id), changes, str(uuid.uuid4()), version)

    def _post(self, path: str, params: dict[str, Any], idempotency_key: str, version: str | None) -> _Found:
        endpoint = "create_customers" if path == _CUSTOMER.path else "update_customers"

        def read(answer: Answer) -> _Found:
            return _Found(msgspec.json.decode(answer.body, type=dict[str, Any]), answer, version)

        return self._caller.post(endpoint, path, params, read, idempotency_key=idempotency_key)

    # What is written here ---------------------------------------------------------------------------------------------

    def _commit(self, intent: Intent, project_id: str, person: Person, found: _Found) -> ProjectCustomer:
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

    def _mirror(self, connection: psycopg.Connection, found: _Found) -> bool:
        """What Stripe answered is true now; False: the row changed meanwhile, and may be newer."""
        if found.answer is None:
            return True
        try:
            with connection.transaction():
                store = MirrorStore(connection, self._team_id)
                return store.put_fetched(_CUSTOMER, found.id, found.answer, version=found.version) != "changed"
        except REFUSALS as exc:
            log.warning("object.rejected", type=_CUSTOMER.name, id=loggable(found.id), reason=type(exc).__name__)
            return True


def _creation(project_id: str, person: Person) -> dict[str, Any]:
    named = {"name": person.name} if person.name else {}
    return {"email": person.email, **named, "metadata": {**person.metadata, PROJECT_KEY: project_id}}


def _chosen(candidates: dict[str, _Found], person: Person) -> _Found | None:
    """None when nobody has this email yet. Raises where the caller has to choose, or chose somebody else."""
    if person.stripe_customer_id is not None:
        if person.stripe_customer_id not in candidates:
            raise BadRequest(
                f"stripeCustomerId {person.stripe_customer_id} is no customer of this e-mail address at Stripe",
                code="stripe_customer_mismatch",
            )
        return candidates[person.stripe_customer_id]
    if len(candidates) > 1:
        raise Conflict(
            "several Stripe customers have this e-mail address: repeat with the stripeCustomerId of one of them",
            code="ambiguous_email",
            details={"candidates": [_candidate(found.customer) for found in candidates.values()]},
        )
    return next(iter(candidates.values()), None)


def _candidate(customer: dict[str, Any]) -> dict[str, Any]:
    shown = {key: customer.get(key) for key in ("email", "name", "created", "metadata")}
    return {"stripeCustomerId": customer["id"], **shown}


def _exists(known: ProjectCustomer) -> Conflict:
    return Conflict(
        "this e-mail address is a customer of the project already",
        code="customer_exists",
        details={"customerId": known.id, "stripeCustomerId": known.stripe_customer_id},
    )


def _in_progress() -> Conflict:
    return Conflict(
        "another request is linking this e-mail address: ask again in a moment", code="customer_in_progress"
    )


def _existing(person: ProjectCustomer | None) -> ProjectCustomer:
    if person is None:
        raise NotFound("there is no such customer in this project")
    return person


def _read_list(answer: Answer) -> list[_Found]:
    listed = msgspec.json.decode(answer.body, type=_List)
    return [
        _Found(msgspec.json.decode(raw), Answer(bytes(raw), answer.as_of, answer.as_of_until)) for raw in listed.data
    ]
