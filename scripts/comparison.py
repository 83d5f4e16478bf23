"""Compares a team's mirror with the sandbox: every field of every object, not totals."""

import hashlib
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
import psycopg
from psycopg import sql

from sync.database.schema import schema_name
from sync.object_types import ObjectType, in_order
from sync.teams.mirrored_types import MirroredTypes

ROWS_AT_A_TIME = 500
EXAMPLES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """How the mirror's objects of one type differ from Stripe's. All fields are empty if they are equal."""

    object_type: str
    compared: int  # objects on both sides
    missing: tuple[str, ...]  # at Stripe but not in the mirror
    extra: tuple[str, ...]  # in the mirror but not at Stripe
    different: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return not (self.missing or self.extra or self.different)

    def __str__(self) -> str:
        if self.is_equal:
            return "all equal"
        found = {"missing": self.missing, "extra": self.extra, "different": self.different}
        return ", ".join(f"{len(ids):,} {what} ({some(ids)})" for what, ids in found.items() if ids)


def compare_with_sandbox(database_url: str, team_id: str, sandbox_url: str, account: str) -> Iterator[Difference]:
    """One Difference per type that the team mirrors, in the registry's order."""
    with psycopg.connect(database_url) as connection:
        for object_type in in_order(MirroredTypes(connection, team_id).names()):
            source = sandbox_objects(sandbox_url, account, object_type)
            yield compare(object_type.name, source, mirrored_objects(connection, team_id, object_type))


def compare(object_type: str, source: Iterable[bytes | str], mirrored: Iterable[bytes | str]) -> Difference:
    """Takes the objects of both sides as JSON texts."""
    expected = fingerprints(source)
    found = fingerprints(mirrored)
    both = expected.keys() & found.keys()
    return Difference(
        object_type,
        compared=len(both),
        missing=tuple(sorted(expected.keys() - both)),
        extra=tuple(sorted(found.keys() - both)),
        different=tuple(sorted(id for id in both if expected[id] != found[id])),
    )


def fingerprints(objects: Iterable[bytes | str]) -> dict[str, bytes]:
    """A digest by id, so that millions of objects fit into memory. Ignores the order of keys and escapes."""
    digests = {}
    for text in objects:
        value: dict[str, Any] = msgspec.json.decode(text)
        canonical = msgspec.json.encode(value, order="deterministic")
        digests[value["id"]] = hashlib.blake2b(canonical, digest_size=16).digest()
    return digests


def sandbox_objects(sandbox_url: str, account: str, object_type: ObjectType) -> Iterator[bytes]:
    """The sandbox's own dump, which uses no lists or cursors: all live objects, with complete nested lists."""
    query = urlencode({"account": account, "type": object_type.name, "full": "true"})
    with urllib.request.urlopen(f"{sandbox_url}/sandbox/objects?{query}") as lines:
        for line in lines:
            if line.strip():  # a type without objects gives one empty line
                yield line


def mirrored_objects(connection: psycopg.Connection, team_id: str, object_type: ObjectType) -> Iterator[str]:
    """The live rows' `raw`, through a server-side cursor."""
    table = sql.Identifier(schema_name(team_id), object_type.table)
    statement = sql.SQL("SELECT raw::text FROM {} WHERE deleted_at IS NULL").format(table)
    with connection.cursor("mirrored") as cursor:
        cursor.itersize = ROWS_AT_A_TIME
        cursor.execute(statement)
        for (raw,) in cursor:
            yield raw


def some(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:EXAMPLES_SHOWN]) + (", ..." if len(ids) > EXAMPLES_SHOWN else "")
