"""The SQL of a team's project customers, and of the intents that link them (store.sql)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sync.database.schema import schema_name
from sync.errors import LeaseLost
from sync.ids import new_id
from sync.sql import BoundQueries, Queries

_QUERIES = Queries(Path(__file__).with_name("store.sql"))
# Longer than nearly every request to Stripe. A slower request loses its intent to the next one, which uses the same
# idempotency key. So this only bounds how long others wait for a dead process.
LEASE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class ProjectCustomer:
    """A person in a project, as the API shows them. `metadata` is the Stripe customer's."""

    id: str
    project_id: str
    stripe_customer_id: str
    email: str
    name: str | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


@dataclass(slots=True)
class Intent:
    """One request's right to link an e-mail address.

    If there is a `creation`, Stripe may have created the customer already.
    """

    email: str
    holder: str
    idempotency_key: str | None = None
    creation: dict[str, Any] | None = field(default=None, repr=False)


class ProjectCustomerStore:
    """One team's, on one connection. The caller begins and ends transactions."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self.connection = connection
        self._team_id = team_id

    def has_mirror(self) -> bool:
        """Without a mirror a team has no project customers either: they are deleted together."""
        row = self._run("has_mirror", customers=f"{schema_name(self._team_id)}.customers").fetchone()
        return bool(row and row[0])

    def list_people(self, project_id: str, *, email: str | None, limit: int, offset: int) -> list[ProjectCustomer]:
        """The newest first. E-mail addresses compare without case."""
        blocks = ("select", "where_email", "page") if email else ("select", "page")
        return self._select(*blocks, project_id=project_id, email=email, limit=limit, offset=offset)

    def find(self, project_id: str, person_id: str) -> ProjectCustomer | None:
        return next(iter(self._select("select", "where_id", project_id=project_id, id=person_id)), None)

    def find_linked(self, project_id: str, stripe_customer_id: str) -> ProjectCustomer | None:
        blocks = ("select", "where_stripe_customer")
        return next(iter(self._select(*blocks, project_id=project_id, stripe_customer_id=stripe_customer_id)), None)

    def insert(
        self, project_id: str, stripe_customer_id: str, *, email: str, name: str | None, metadata: dict[str, str]
    ) -> str | None:
        """Returns the new id, or None if the project already has this Stripe customer."""
        row = self._run(
            "insert",
            id=new_id("pc"),
            project_id=project_id,
            stripe_customer_id=stripe_customer_id,
            email=email,
            name=name,
            metadata=Jsonb(metadata),
        ).fetchone()
        return row[0] if row else None

    def update(self, project_id: str, person_id: str, *, name: str | None, metadata: dict[str, str]) -> None:
        self._run("update", project_id=project_id, id=person_id, name=name, metadata=Jsonb(metadata))

    def delete(self, project_id: str, person_id: str) -> bool:
        """Returns False if the project has no such person."""
        return self._run("delete", project_id=project_id, id=person_id).fetchone() is not None

    def foreign(self, project_id: str, brought_by: Mapping[str, str | None]) -> set[str]:
        """Those that another project of the team has or linked first, and that this project does not have."""
        ids, projects = list(brought_by), list(brought_by.values())
        rows = self._run("foreign", project_id=project_id, ids=ids, brought_by=projects).fetchall()
        return {stripe_customer_id for (stripe_customer_id,) in rows}

    def mirrored_ids(self, email: str) -> list[str]:
        """Live Stripe customers with this address, as far as the mirror knows."""
        return [stripe_customer_id for (stripe_customer_id,) in self._run("mirrored_ids", email=email).fetchall()]

    def mirrored(self, stripe_customer_id: str, email: str) -> str | None:
        """The customer's JSON, if it still is live and has the address."""
        row = self._run("mirrored", stripe_customer_id=stripe_customer_id, email=email).fetchone()
        return row[0] if row else None

    def claim(self, email: str) -> Intent | None:
        """None while another request holds it."""
        holder = new_id("req")
        row = self._run("claim", email=email, holder=holder, lease=LEASE).fetchone()
        return Intent(*row) if row else None

    def decide(self, intent: Intent, idempotency_key: str | None, creation: dict[str, Any] | None) -> None:
        """Records the creation that Stripe will get. None: nothing was created. Raises LeaseLost."""
        kept = Jsonb(creation) if creation is not None else None
        row = self._run_intent("decide", intent, idempotency_key=idempotency_key, creation=kept, lease=LEASE).fetchone()
        if row is None:
            raise LeaseLost("another request has taken over this e-mail address")
        intent.idempotency_key, intent.creation = idempotency_key, creation

    def hold(self, intent: Intent) -> None:
        """Keeps others from taking the intent over until the transaction ends. Raises LeaseLost if one has."""
        if self._run_intent("hold", intent).fetchone() is None:
            raise LeaseLost("another request has taken over this e-mail address")

    def let_go(self, intent: Intent) -> None:
        """Lets the next request continue with it. Does nothing if the intent was lost or deleted."""
        self._run_intent("let_go", intent)

    def forget(self, intent: Intent) -> None:
        self._run_intent("forget", intent)

    def _run_intent(self, query: str, intent: Intent, **params: Any) -> psycopg.Cursor[Any]:
        return self._run(query, email=intent.email, holder=intent.holder, **params)

    def _select(self, *blocks: str, **params: Any) -> list[ProjectCustomer]:
        queries = _bound(schema_name(self._team_id))
        statement = "\n".join(queries[block] for block in blocks)
        with self.connection.cursor(row_factory=class_row(ProjectCustomer)) as cursor:
            return cursor.execute(statement, params | {"team_id": self._team_id}).fetchall()

    def _run(self, query: str, /, **params: Any) -> psycopg.Cursor[Any]:
        return self.connection.execute(_bound(schema_name(self._team_id))[query], params | {"team_id": self._team_id})


@cache
def _bound(schema: str) -> BoundQueries:
    return _QUERIES.bind(team=schema)
