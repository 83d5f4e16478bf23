"""Finds the Stripe customers with an e-mail address: the candidates for a link, and which one is meant.

Stripe's lists are immediate and exact, so they are asked for the address as typed and in lower case. Its search API
lags (stripe-facts 9). The mirror knows the other spellings.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg

from sync.customers.store import ProjectCustomerStore
from sync.errors import BadRequest, Conflict
from sync.mirror.refresh import refresh
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.stripe.answers import Answer, Read
from sync.stripe.caller import Caller
from sync.stripe.odd_objects import read_one_by_one
from sync.stripe.source import Source

CUSTOMER = OBJECT_TYPES["customer"]
PROJECT_KEY = "project_id"  # metadata key: the project that linked the Stripe customer first

Connect = Callable[[], AbstractContextManager[psycopg.Connection]]


@dataclass(frozen=True, slots=True)
class Person:
    """The person to link. `stripe_customer_id` chooses among several Stripe customers with the address."""

    email: str
    name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    stripe_customer_id: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A live Stripe customer.

    `answer` is Stripe's answer that contained it. None: it was read from the mirror, which was just refreshed.
    """

    customer: dict[str, Any]
    answer: Answer | None
    version: str | None = None  # of the mirror's row, from before the request

    @property
    def id(self) -> str:
        return str(self.customer["id"])

    @property
    def metadata(self) -> dict[str, str]:
        return self.customer.get("metadata") or {}


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


class Candidates:
    """One team's Stripe customers by e-mail address, in any case."""

    def __init__(self, connect: Connect, team_id: str, caller: Caller) -> None:
        self._connect = connect
        self._team_id = team_id
        self._caller = caller
        self._source = Source(caller)

    def find(self, email: str) -> dict[str, Found]:
        """The live ones, by id."""
        found = self.listed(email)
        with self._connect() as connection:
            store = ProjectCustomerStore(connection, self._team_id)
            unconfirmed = [each for each in store.mirrored_ids(email) if each not in found]
        for stripe_customer_id in unconfirmed:  # spelled in a third way, or the mirror is behind
            with self._connect() as connection:
                refresh(MirrorStore(connection, self._team_id), self._source, CUSTOMER, stripe_customer_id)
                raw = ProjectCustomerStore(connection, self._team_id).mirrored(stripe_customer_id, email)
            if raw is not None:
                found[stripe_customer_id] = Found(msgspec.json.decode(raw), None)
        return found

    def listed(self, email: str) -> dict[str, Found]:
        """Only those in Stripe's lists."""
        found = {}
        for spelling in dict.fromkeys((email, email.lower())):
            params = {"email": spelling, "limit": self._source.page_size}
            for each in self._caller.get(Read(CUSTOMER.list_endpoint, CUSTOMER.path, params, _read_list)):
                found[each.id] = each
        return found

    def foreign(self, project_id: str, candidates: Mapping[str, Found]) -> set[str]:
        """Ids of those that another project of the team has or linked first, and that this one does not have."""
        brought_by = {found.id: found.metadata.get(PROJECT_KEY) for found in candidates.values()}
        with self._connect() as connection:
            return ProjectCustomerStore(connection, self._team_id).foreign(project_id, brought_by)


def chosen(candidates: Mapping[str, Found], person: Person, foreign: Collection[str]) -> Found | None:
    """None if nobody has this address yet. Raises if the caller must choose, or chose another person's customer.

    Says nothing about a `foreign` candidate except that it exists.
    """
    if person.stripe_customer_id is not None:
        if person.stripe_customer_id not in candidates:
            raise BadRequest(
                f"stripeCustomerId {person.stripe_customer_id} is not a Stripe customer with this e-mail address",
                code="stripe_customer_mismatch",
            )
        return candidates[person.stripe_customer_id]
    if len(candidates) > 1:
        raise Conflict(
            "several Stripe customers have this e-mail address: repeat with the stripeCustomerId of one of them",
            code="ambiguous_email",
            details={"candidates": [_shown(found, found.id in foreign) for found in candidates.values()]},
        )
    return next(iter(candidates.values()), None)


def _shown(found: Found, is_foreign: bool) -> dict[str, Any]:
    customer = {"email": found.customer.get("email")} if is_foreign else found.customer
    shown = {key: customer.get(key) for key in ("email", "name", "created", "metadata")}
    return {"stripeCustomerId": found.id, **shown}


def _read_list(answer: Answer) -> list[Found]:
    """Skips entries that are no live customer, so that they do not hide the others."""
    read = read_one_by_one(CUSTOMER, msgspec.json.decode(answer.body, type=_List).data)
    return [Found(msgspec.json.decode(raw), Answer(bytes(raw), answer.as_of, answer.as_of_until)) for raw in read.raws]
