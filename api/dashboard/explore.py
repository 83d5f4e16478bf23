"""The explore pages: a table for each type with filters and an order, and a page for each object with what belongs to it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import psycopg
from flask import Blueprint, request

from api.account.status import read_status
from api.dashboard import related
from api.dashboard.asked import Asked, read_asked
from api.dashboard.mirror_rows import MirrorRows, Page
from api.dashboard.mirror_tables import TABLES, Table
from api.dashboard.pages import show_page
from api.dashboard.paging import read_place, read_sort, sort_keys
from api.dashboard.timeline import Moment, read_timeline
from api.http.access import Access, allow
from api.http.context import current_context
from sync.errors import NotFound
from sync.teams.mirrored_types import MirroredTypes

blueprint = Blueprint("explore", __name__)

_PAGE = 50
# Counting stops there.
_MOST_COUNTED = 10_000
_MOMENTS = 30


@blueprint.get("/teams/<team_id>/explore/<kind>")
@allow(Access.READ_TEAM)
def show_table(team_id: str, kind: str) -> str:
    table = table_of(kind)
    asked, sort = read_asked(table, request.args), read_sort(table, request.args)
    after, before = (read_place(request.args.get(name), sort) for name in ("after", "before"))
    count, page = 0, Page([], None, None)
    with current_context().pool.connection() as connection:
        mirror = MirrorRows(connection, team_id)
        has_mirror = mirror.has_table(kind)
        if has_mirror:
            page = mirror.read_page(kind, asked, sort, _PAGE, after=after, before=before)
            count = _count(mirror, kind, asked)
    filters = dict(asked.given)
    return show_page(
        "explore_table.html",
        team_id,
        table=table,
        page=page,
        has_mirror=has_mirror,
        given=filters,
        asked={**filters, **({"sort": sort.name} if "sort" in request.args else {})},
        sort=sort,
        sort_keys=sort_keys(table),
        count=count,
        most_counted=_MOST_COUNTED,
        reference=related.words_of(asked.reference) if asked.reference else None,
        named=asked.params.get("reference"),
        is_further=bool(after or before),
    )


@blueprint.get("/teams/<team_id>/explore/<kind>/<id:object_id>")
@allow(Access.READ_TEAM)
def show_object(team_id: str, kind: str, object_id: str) -> str:
    table = table_of(kind)
    with current_context().pool.connection() as connection:
        mirror = MirrorRows(connection, team_id)
        row = mirror.find_row(kind, object_id) if mirror.has_table(kind) else None
        if row is None:
            raise NotFound(f"there is no such {table.one} in the mirror")
        raw = mirror.raw(kind, object_id)
        mirrored = MirroredTypes(connection, team_id).names()
        named = related.read_named(connection, team_id, mirrored, kind, object_id)
        naming = related.read_naming(connection, team_id, mirrored, kind, object_id)
        moments = _moments(connection, team_id, mirrored, kind, object_id)
    status = read_status(current_context(), team_id)
    return show_page(
        "explore_object.html",
        team_id,
        table=table,
        row=row,
        raw=raw,
        named=named,
        naming=naming,
        limit=related.LIMIT,
        moments=moments,
        stripe_url=_stripe_url(table, object_id, status),
    )


def table_of(kind: str) -> Table:
    if kind not in TABLES:
        raise NotFound("there is nothing at this address")
    return TABLES[kind]


def _count(mirror: MirrorRows, kind: str, asked: Asked) -> int:
    """Of a whole table it is known without counting. Otherwise it stops one above the limit."""
    return mirror.count(kind, asked, _MOST_COUNTED + 1) if asked.conditions else mirror.count_live(kind)


def _moments(
    connection: psycopg.Connection, team_id: str, mirrored: list[str], kind: str, object_id: str
) -> list[Moment]:
    if kind != "customers":
        return []
    return read_timeline(connection, team_id, object_id, mirrored, _MOMENTS)


def _stripe_url(table: Table, object_id: str, status: Mapping[str, Any]) -> str | None:
    """None if Stripe's dashboard has no such page, or if a browser would resolve the address to something else."""
    if object_id in (".", "..") or not table.explored.stripe_path:
        return None
    mode = "" if status["livemode"] else "test/"
    return f"https://dashboard.stripe.com/{status['accountId']}/{mode}{table.explored.stripe_path}/{quote(object_id, safe='')}"
