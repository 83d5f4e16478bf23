"""Compares every object of a mirror with Stripe, repairs what differs, and reports it.

A backfill repairs as much, but cannot report it: it writes at once, so it cannot tell a row that had drifted from one
whose event was still on its way. It also occupies the team's windows, seen ids and status, and it hurries. A comparison
sends one request after the other, its pages only read, and it fetches a differing object only after all events so far
are applied.

A type is compared in slices of `created`, or of its parents. Each is short enough for its ids to fit into memory, and
for its time to fit between two checkpoints.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg
import structlog

from sync.bounds import loggable
from sync.errors import CursorLost
from sync.mirror.page_writer import keep_order, reject_all
from sync.mirror.parents import ParentStore
from sync.mirror.refresh import refresh
from sync.mirror.shared_seconds import SharedSeconds, shared_in_pages, shared_seconds
from sync.mirror.store import REFUSALS, MirrorStore, reason_of
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.reconcile.comparison import Comparison
from sync.reconcile.records import ReconcileStore, Suspicion, Work
from sync.reconcile.repairs import MOST_RECORDED, RecordingStore, forget_repairs
from sync.stripe.lists import END_OF_CREATED, created_filter
from sync.stripe.odd_objects import OddObject
from sync.stripe.pages import Page
from sync.stripe.source import Source
from sync.teams.mirrored_types import MirroredTypes

SLICE_ROWS = 2000
SLICE_PARENTS = 20  # each costs a request
# At this many, they are fetched before the type continues. More than a few mean a lasting fault.
MOST_SUSPECTS = 1000
IDS_SHOWN = 20
# A crash loses the report of at most this many repairs.
_SETTLED_AT_A_TIME = 50

_PRICE = OBJECT_TYPES["price"]
# An object that could not be stored could not be repaired either.
_REPAIRED = ("missing", "stale", "notDeleted")
_KINDS = (*_REPAIRED, "notStored")
# How a suspicion ends as drift. A combination that is not here means that the row was right by then.
_KIND_OF: dict[tuple[str, str], str] = {
    ("missing", "written"): "missing",
    ("named", "written"): "missing",
    ("stale", "written"): "stale",
    ("unlisted", "written"): "stale",  # an inline price, which no list contains
    ("unlisted", "deleted"): "notDeleted",
}

# Type, kind, why it could not be repaired, and the record of the repair.
_Drift = tuple[str, str, str | None, int | None]
Ended = Literal["done", "yielded", "canceled"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReconcileTools:
    """`catch_up` applies all events that Stripe has made so far. Returns what its clock showed before.

    `changed_since` returns those of the ids that have had events since a second.
    """

    source: Source
    catch_up: Callable[[], int]
    changed_since: Callable[[Sequence[str], int], set[str]]
    should_yield: Callable[[], bool]
    sleep: Callable[[float], None] = time.sleep


class ReconcileRun:
    """One turn, run by the holder of the comparison's lease."""

    def __init__(self, connection: psycopg.Connection, work: Work, tools: ReconcileTools) -> None:
        self._connection = connection
        self._store = ReconcileStore(connection)
        self._work = work
        self._tools = tools
        repaired = (found[kind]["count"] for found in work.found.values() for kind in _REPAIRED if kind in found)
        self._room = MOST_RECORDED - sum(repaired)

    def run(self) -> Ended:
        """Returns "canceled" if a backfill began, which repairs as much.

        Raises StripeError, LeaseLost, psycopg.Error.
        """
        work = self._work
        if work.upper is None:
            work.upper = self._tools.source.account().now
        names = MirroredTypes(self._connection, work.team_id).names()
        for name in names[names.index(work.type) if work.type in names else 0 :]:
            if work.type != name:
                work.type, work.compared_until, work.parents_until = name, 0, ""
                work.found[name] = {"compared": 0, **{kind: {"count": 0, "ids": []} for kind in _KINDS}}
            ended = self._compare_type(OBJECT_TYPES[name])
            if ended:
                return ended
        return "done"

    def _compare_type(self, object_type: ObjectType) -> Ended | None:
        """None: the type is done."""
        work, compare = self._work, Comparison(self._connection, self._work.team_id, object_type)
        while work.compared_until < END_OF_CREATED or work.suspects:
            if self._store.running_backfill(work.team_id):
                return "canceled"
            if self._tools.should_yield():
                return "yielded"
            if work.compared_until >= END_OF_CREATED or len(work.suspects) >= MOST_SUSPECTS:
                self._settle(object_type)
                continue
            compare_slice = self._compare_parents if object_type.parent else self._compare_slice
            work.found[object_type.name]["compared"] += compare_slice(compare, object_type)
            self._store.save(work)
        return None

    def _compare_parents(self, compare: Comparison, object_type: ObjectType) -> int:
        """Compares what is listed under the next parents. Returns how many objects Stripe listed."""
        work, listed = self._work, set[str]()
        parents = ParentStore(self._connection, work.team_id)
        ids = parents.parents(object_type, after=work.parents_until, limit=SLICE_PARENTS)
        for parent_id in ids:
            self._store.renew(work)
            pages = self._tools.source.pages_of_parent(object_type, parent_id)
            self._keep_order(object_type, shared_seconds([head for page in pages for head in page.heads]))
            for page in pages:
                work.suspects |= {id: f"{why} {parent_id}" for id, why in compare.differing(page, {}).items()}
                listed |= {head.id for head in page.heads}
                self._reject(object_type, page.odd)
        if ids:
            work.parents_until = ids[-1]
            self._suspect(parents.unlisted(object_type, ids, list(listed)), "unlisted")
        else:
            work.compared_until = END_OF_CREATED
            self._suspect(parents.orphans(object_type), "unlisted")
        return len(listed)

    def _compare_slice(self, compare: Comparison, object_type: ObjectType) -> int:
        """Compares the next seconds of `created`. Returns how many objects Stripe listed."""
        listed: set[str] = set()
        start = self._work.compared_until
        end = (object_type.is_by_time and compare.slice_end(start, rows=SLICE_ROWS)) or END_OF_CREATED
        for page, shared in self._pages(object_type, start, end):
            self._store.renew(self._work)
            self._keep_order(object_type, shared)
            source = self._tools.source
            answers = source.complete(object_type, page.cut_ids(object_type), page.answer)
            completed = {object_id: answer.body for object_id, answer in answers.items()}
            self._work.suspects |= compare.differing(page, completed)
            self._suspect(compare.unknown_prices(page.named_prices(object_type, completed)), "named")
            listed |= {head.id for head in page.heads if start <= head.created < end}
            self._reject(object_type, page.odd)
        self._suspect(compare.unlisted(start, end, list(listed)), "unlisted")
        if end == END_OF_CREATED:
            self._suspect(compare.undated(), "unlisted")
        self._work.compared_until = end
        return len(listed)

    def _reject(self, object_type: ObjectType, odd: Sequence[OddObject]) -> None:
        reject_all(MirrorStore(self._connection, self._work.team_id), object_type, odd)
        for object_id, reason in odd:
            self._note(object_id, object_type.name, "notStored", reason)

    def _keep_order(self, object_type: ObjectType, shared: SharedSeconds | None) -> None:
        keep_order(MirrorStore(self._connection, self._work.team_id), object_type, shared)

    def _suspect(self, ids: Sequence[str], suspicion: Suspicion) -> None:
        for object_id in ids:
            self._work.suspects.setdefault(object_id, suspicion)

    def _pages(self, object_type: ObjectType, start: int, end: int) -> Iterator[tuple[Page, SharedSeconds | None]]:
        for variant in object_type.variants:
            params: dict[str, str | int] = {**variant}
            if object_type.is_by_time:
                params |= created_filter(start, end)
            oldest = end
            before: Page | None = None
            while True:
                # Waits in line for the budget, because nobody waits for a comparison.
                self._tools.sleep(self._tools.source.reserve(object_type).wait_s)
                try:
                    page = self._tools.source.page(object_type, params, reserved=True)
                except CursorLost:
                    # The cursor's object was deleted. Without a cursor the filter may change, so this second is read
                    # once more.
                    if params.get("created[lt]") == oldest + 1:
                        raise  # it failed again without any progress
                    del params["starting_after"]
                    before = None
                    if object_type.is_by_time:
                        params["created[lt]"] = oldest + 1
                    continue
                yield page, shared_in_pages(page, before)
                if not page.has_more:
                    break
                assert page.cursor is not None
                params["starting_after"] = page.cursor
                oldest = page.heads[-1].created if page.heads else oldest
                before = page

    def _settle(self, object_type: ObjectType) -> None:
        """Fetches each suspect.

        If the answer changes the row, the row had drifted, unless Stripe changed it just now.
        """
        work = self._work
        caught_up = self._tools.catch_up()
        while work.suspects and not self._tools.should_yield():
            some = dict(list(work.suspects.items())[:_SETTLED_AT_A_TIME])
            drifted = {id: drift for id, suspicion in some.items() if (drift := self._ask(object_type, id, suspicion))}
            under_way = self._tools.changed_since(list(drifted), caught_up) if drifted else set()
            for object_id, (type_name, kind, reason, _) in drifted.items():
                if object_id not in under_way:
                    self._note(object_id, type_name, kind, reason)
            if under_way:
                forget_repairs(self._connection, [record for id in under_way if (record := drifted[id][3])])
            work.suspects = {id: suspicion for id, suspicion in work.suspects.items() if id not in some}
            self._store.save(work)

    def _ask(self, object_type: ObjectType, object_id: str, suspect: str) -> _Drift | None:
        """Repairs one object and returns how it had drifted, or None if it had not."""
        suspicion, _, parent_id = suspect.partition(" ")
        about = _PRICE if suspicion == "named" else object_type
        compare = Comparison(self._connection, self._work.team_id, about)
        if suspicion == "unlisted" and not compare.is_live(object_id):
            return None  # the event of its deletion was on its way
        self._store.renew(self._work)
        mirror = RecordingStore(self._connection, self._work.team_id, self._work.id, room=self._room)
        try:
            outcome = refresh(mirror, self._tools.source, about, object_id, parent_id=parent_id)
        except REFUSALS as exc:
            mirror.reject(about, object_id, reason_of(exc))
            return about.name, "notStored", reason_of(exc), None
        if suspicion in ("unlisted", "named") and outcome in ("equal", "written"):
            self._work.found[about.name]["compared"] += 1  # no list contained it
        self._room -= bool(mirror.recorded)
        kind = _KIND_OF.get((suspicion, outcome))
        if kind is None and mirror.recorded:
            forget_repairs(self._connection, [mirror.recorded])
        return (about.name, kind, None, mirror.recorded) if kind else None

    def _note(self, object_id: str, type_name: str, kind: str, reason: str | None) -> None:
        log.warning("object.had_drifted", type=type_name, id=loggable(object_id), kind=kind)
        found = self._work.found[type_name].setdefault(kind, {"count": 0, "ids": []})
        found["count"] += 1
        if reason:
            found["reason"] = reason
        if len(found["ids"]) < IDS_SHOWN:
            found["ids"].append(object_id)
