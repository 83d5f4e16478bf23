"""Lists with Stripe's semantics: filters and their defaults, cursors, `has_more`. A page is a join of bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.sandbox.answers import Answer, Refused, encode, no_such
from scripts.sandbox.forms import Params, plain_text, whole_number
from scripts.sandbox.kinds import Filter, Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.shelf import Shelf
from scripts.sandbox.timeline import Accepts, Record, Timeline

MAX_LIMIT = 100
_PAGING = frozenset(("limit", "starting_after", "ending_before", "expand"))
FLAGS = ("true", "false")
_BOUNDS = frozenset(("gt", "gte", "lt", "lte"))


@dataclass(frozen=True, slots=True)
class Paging:
    limit: int
    starting_after: str | None
    ending_before: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """A list's filters: a timeline, its range of time, and the conditions to check one by one."""

    timeline: Timeline
    first_second: int | None
    last_second: int | None
    accepts: Accepts | None

    def holds(self, record: Record) -> bool:
        """Whether the filters still match, ignoring `created`.

        At Stripe, moving a bound under a cursor is no error. It silently loses rows (stripe-facts.md, section 1.4).
        """
        return self.timeline.has(record) and (self.accepts is None or self.accepts(record))


def refuse_unknown(params: Params, known: frozenset[str]) -> None:
    for name in params:
        if name not in known:
            raise Refused(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def paging(params: Params) -> Paging:
    limit = whole_number(params.get("limit", 10), "limit")
    if limit < 1:
        raise Refused("This value must be greater than or equal to 1.", param="limit")
    if limit > MAX_LIMIT:
        raise Refused(f"This value must be less than or equal to {MAX_LIMIT}.", param="limit")
    after, before = (
        plain_text(params[name], name) if name in params else None for name in ("starting_after", "ending_before")
    )
    if after is not None and before is not None:
        raise Refused("You can only specify one of these parameters: starting_after, ending_before.")
    return Paging(limit, after, before)


def created_range(value: Any) -> tuple[int | None, int | None]:
    """First and last second of a `created` filter, which is exact or consists of gt, gte, lt and lte."""
    if value is None:
        return None, None
    if not isinstance(value, dict):
        exact = whole_number(value, "created")
        return exact, exact
    for name in value:
        if name not in _BOUNDS:
            raise Refused(
                f"Received unknown parameter: created[{name}]", code="parameter_unknown", param=f"created[{name}]"
            )
    bounds = {name: whole_number(bound, f"created[{name}]") for name, bound in value.items()}
    firsts = [bounds["gte"]] if "gte" in bounds else []
    lasts = [bounds["lte"]] if "lte" in bounds else []
    firsts += [bounds["gt"] + 1] if "gt" in bounds else []
    lasts += [bounds["lt"] - 1] if "lt" in bounds else []
    return max(firsts, default=None), min(lasts, default=None)


def list_objects(shelf: Shelf, params: Params, *, not_before: int | None = None, url: str = "") -> Answer:
    """A page of a type's list endpoint, without objects created before `not_before`."""
    return page(shelf, select(shelf, params, not_before), paging(params), url or shelf.kind.path)


def select(shelf: Shelf, params: Params, not_before: int | None = None) -> Selection:
    kind = shelf.kind
    _refuse_unsupported(kind, params)
    refuse_unknown(params, _known_params(kind))
    first, last = created_range(params.get("created"))
    if not_before is not None:
        first = max(first or 0, not_before)
    timeline = shelf.timeline
    for name in kind.groups:
        if name in params:
            timeline = shelf.indexed(name, plain_text(params[name], name))
    wanted: list[tuple[int, frozenset[str]]] = []
    for name, rule in kind.filters.items():
        values = _accepted(name, rule, params)
        if values is None:
            continue
        if rule.facet in kind.indexed and len(values) == 1 and timeline is shelf.timeline:
            timeline = shelf.indexed(rule.facet, next(iter(values)))
        else:
            wanted.append((shelf.facet_at(rule.facet), values))
    return Selection(timeline, first, last, _accepting(wanted))


def _known_params(kind: Kind) -> frozenset[str]:
    by_time = ("created",) if kind.lists_by_time else ()
    return _PAGING.union(by_time, kind.filters, kind.groups)


def _refuse_unsupported(kind: Kind, params: Mapping[str, Any]) -> None:
    for name in params:
        if name in kind.unsupported:
            raise Refused(f"The sandbox does not implement the filter {name}; Stripe does.", param=name)


def _accepted(name: str, rule: Filter, params: Params) -> frozenset[str] | None:
    value = params.get(name)
    if value is None:
        return rule.default
    if isinstance(value, list):
        return frozenset(plain_text(each, name) for each in value)
    value = plain_text(value, name)
    if rule.allowed == FLAGS:
        value = value.lower()
    if rule.allowed and value not in rule.allowed:
        raise Refused(f"Invalid {name}: must be one of {', '.join(rule.allowed)}", param=name)
    return rule.accepted(value)


def _accepting(wanted: list[tuple[int, frozenset[str]]]) -> Accepts | None:
    if not wanted:
        return None
    if len(wanted) == 1:
        at, values = wanted[0]
        return lambda record: _matches(record, at, values)
    return lambda record: all(_matches(record, at, values) for at, values in wanted)


def _matches(record: Record, at: int, values: frozenset[str]) -> bool:
    value = record.facets[at]
    if isinstance(value, tuple):
        return not values.isdisjoint(value)
    return value in values


def page(shelf: Shelf, selection: Selection, paging: Paging, url: str) -> Answer:
    """Cursors are exclusive, and `has_more` respects the filter and the direction."""
    timeline = selection.timeline
    low, high = timeline.between(selection.first_second, selection.last_second)
    if paging.ending_before is not None:
        cursor = _cursor(shelf, selection, paging.ending_before, "ending_before")
        low = max(low, timeline.position(cursor.key) + 1)
        found = timeline.oldest_first(low, high, paging.limit + 1, selection.accepts)
        return join(found[: paging.limit][::-1], len(found) > paging.limit, url)
    if paging.starting_after is not None:
        cursor = _cursor(shelf, selection, paging.starting_after, "starting_after")
        high = min(high, timeline.position(cursor.key))
    found = timeline.newest_first(low, high, paging.limit + 1, selection.accepts)
    return join(found[: paging.limit], len(found) > paging.limit, url)


def _cursor(shelf: Shelf, selection: Selection, id: str, param: str) -> Record:
    """Refuses a cursor that is unknown, deleted or no longer matches the filter (stripe-facts.md, section 1.3)."""
    record = shelf.get(id)
    if record is None or not selection.holds(record):
        raise no_such(shelf.kind.words, id, param=param, status=400)
    return record


def list_children(children: list[Json], params: Params, noun: str, url: str) -> Answer:
    """A page of a nested list, in the parent's order."""
    refuse_unknown(params, _PAGING)
    at = {child["id"]: position for position, child in enumerate(children)}
    ask = paging(params)
    for param, cursor in (("starting_after", ask.starting_after), ("ending_before", ask.ending_before)):
        if cursor is not None and cursor not in at:
            raise no_such(noun, cursor, param=param, status=400)
    if ask.ending_before is not None:
        end = at[ask.ending_before]
        start = max(0, end - ask.limit)
        has_more = start > 0
    else:
        start = at[ask.starting_after] + 1 if ask.starting_after is not None else 0
        end = start + ask.limit
        has_more = end < len(children)
    return join_bodies([encode(child) for child in children[start:end]], has_more, url)


def join(records: list[Record], has_more: bool, url: str) -> Answer:
    return join_bodies([record.body for record in records], has_more, url)


def join_bodies(bodies: list[bytes], has_more: bool, url: str) -> Answer:
    """Copies the bytes once: the frame is attached to the first and last object before the join."""
    head = b'{"object":"list","data":['
    tail = b'],"has_more":%s,"url":"%s"}' % (b"true" if has_more else b"false", url.encode())
    if not bodies:
        return Answer(200, head + tail)
    bodies[0] = head + bodies[0]
    bodies[-1] = bodies[-1] + tail
    return Answer(200, b",".join(bodies))
