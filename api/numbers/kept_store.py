"""Kept numbers in Postgres; the statements are in kept.sql."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("kept.sql")).bind()


@dataclass(frozen=True, slots=True)
class Kept:
    """`as_of`: up to when everything was known. None if no full sync had finished."""

    found: dict[str, Any]
    as_of: datetime | None
    age_s: float


class KeptStore:
    """One team's numbers of one name."""

    def __init__(self, connection: psycopg.Connection[Any], team_id: str, name: str) -> None:
        self._connection = connection
        self._key = {"team_id": team_id, "name": name}

    def find(self) -> Kept | None:
        with self._connection.cursor(row_factory=class_row(Kept)) as cursor:
            return cursor.execute(_QUERIES["find"], self._key).fetchone()

    def claim(self, longest: timedelta) -> bool:
        """Whether the caller is the one to compute them now."""
        return self._connection.execute(_QUERIES["claim"], self._key | {"longest": longest}).fetchone() is not None

    def keep(self, found: dict[str, Any], as_of: str | None) -> None:
        self._connection.execute(_QUERIES["keep"], self._key | {"found": Jsonb(found), "as_of": as_of})

    def release(self) -> None:
        self._connection.execute(_QUERIES["release"], self._key)

    def forget_old(self) -> None:
        """Of the whole team."""
        self._connection.execute(_QUERIES["forget_old"], self._key)
