"""A team's events as people read them: filtered, in pages, the newest first."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from sync.bounds import LAST_SECOND
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("log.sql")).bind()

STATES = ("pending", "applied", "skipped", "refused", "failed")
_UNAPPLIED = ("pending", "failed")
# How many events one page looks at. If fewer match, the next page looks further.
_LOOK = 10_000
# Finding an id means to read each event's body.
_LOOK_INTO = 2_000


@dataclass(frozen=True, slots=True)
class Logged:
    """An event and what became of it. `created` is on Stripe's clock, in seconds; `body` is its JSON."""

    id: str
    type: str
    created: int
    state: str
    attempts: int
    error: str | None
    delivered: bool
    received_at: datetime
    applied_at: datetime | None
    next_attempt_at: datetime
    body: str

    @property
    def place(self) -> "Place":
        return Place(self.created, self.id)


@dataclass(frozen=True, slots=True)
class Place:
    """An event's place in the log. A page continues below it."""

    created: int
    id: str


NEWEST = Place(LAST_SECOND + 1, "")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events. A `type` that ends with `*` names a family, like `invoice.*`. `mentions` is an object's id."""

    state: str | None = None
    type: str | None = None
    mentions: str | None = None


@dataclass(frozen=True, slots=True)
class LogPage:
    """`older` is where the next page begins, or None at the end. A page may be empty and still have an older one."""

    events: list[Logged]
    older: Place | None


class _About(msgspec.Struct):
    id: str = ""
    object: str = ""


class _Data(msgspec.Struct):
    object: _About


class _Related(msgspec.Struct):
    id: str
    type: str


class _Event(msgspec.Struct):
    data: _Data | None = None
    related_object: _Related | None = None


class EventLog:
    """One team's events, on one connection."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self._connection = connection
        self._team_id = team_id

    def page(self, wanted: Wanted, *, limit: int, below: Place = NEWEST) -> LogPage:
        is_waiting = wanted.state in _UNAPPLIED
        look = _LOOK_INTO if wanted.mentions else _LOOK
        is_family = wanted.type is not None and wanted.type.endswith("*")
        params = {
            "team_id": self._team_id,
            "before": below.created,
            "before_id": below.id,
            "look": look,
            "state": wanted.state,
            "type": None if is_family else wanted.type,
            "family": wanted.type[:-1] if wanted.type and is_family else None,
            "mentioned": f'"{wanted.mentions}"' if wanted.mentions else None,
            "limit": limit + 1,
        }
        found = self._read("waiting" if is_waiting else "page", params)
        if len(found) > limit:
            return LogPage(found[:limit], found[limit - 1].place)
        row = self._connection.execute(_QUERIES["waiting_end" if is_waiting else "look_end"], params).fetchone()
        return LogPage(found, Place(*row) if row else None)

    def get(self, event_id: str) -> Logged | None:
        return next(iter(self._read("get", {"team_id": self._team_id, "id": event_id})), None)

    def _read(self, name: str, params: dict[str, Any]) -> list[Logged]:
        with self._connection.cursor(row_factory=class_row(Logged)) as cursor:
            return cursor.execute(_QUERIES[name], params).fetchall()


def object_of(body: str) -> tuple[str, str] | None:
    """Stripe's type and the id of the object that an event is about. None if it has none that can be read."""
    try:
        head = msgspec.json.decode(body, type=_Event)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if head.related_object:
        return head.related_object.type.removeprefix("v1."), head.related_object.id
    about = head.data.object if head.data else _About()
    return (about.object, about.id) if about.id and about.object else None
