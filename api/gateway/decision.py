"""Decides how a request to Stripe's API is answered: from the mirror, by Stripe, or not at all.

`decide` looks at the request alone, so that one round trip brings the answer and what `doubt` judges it by. Both are pure.
tests/api/gateway/test_decision.py is its table.
"""

from dataclasses import dataclass, replace

from api.gateway import plans, search_query
from api.gateway.errors import RefusedParameter
from api.gateway.params import Values, first_unanswerable, paging, select, without
from api.gateway.search_query import Query, Unanswerable
from api.gateway.selection import Paging, Selection
from api.gateway.store import Standing
from api.http.addresses import possible_ids
from sync.object_types import CHILDREN, OBJECT_TYPES, NestedList, ObjectType

DEEPEST_EXPAND = 4  # Stripe's limit; the `data.` of a list counts, too
# These follow a list's address but are not ids.
_WORDS = frozenset({"search", "upcoming", "create_preview"})
_TYPES = {object_type.path: object_type for object_type in OBJECT_TYPES.values()}
_NESTED_BY_PARAMETER = {
    nested.path: (object_type, parameter)
    for object_type in OBJECT_TYPES.values()
    if (nested := object_type.nested)
    for parameter, value in nested.params.items()
    if value == "{id}"
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as Stripe's libraries send it. `path` begins with /v1/. Ids in it are still escaped."""

    method: str
    path: str
    values: Values
    api_version: str | None = None
    account: str | None = None
    wants_fresh: bool = False


@dataclass(frozen=True, slots=True)
class Under:
    """The object in an address below which the objects of another type are listed."""

    object_type: ObjectType
    ids: tuple[str, ...]
    field: str


@dataclass(frozen=True, slots=True)
class MirrorList:
    """`as_plans`: the prices are shown as plans. `is_narrowed`: the request says whether active ones are wanted."""

    object_type: ObjectType
    selection: Selection
    paging: Paging
    expand: tuple[str, ...] = ()
    under: Under | None = None
    url: str = ""
    as_plans: bool = False
    is_narrowed: bool = True


@dataclass(frozen=True, slots=True)
class MirrorObject:
    """`ids` are the ids that the address may mean, the likeliest first. `as_plan`: the price is shown as a plan."""

    object_type: ObjectType
    ids: tuple[str, ...]
    expand: tuple[str, ...] = ()
    under: Under | None = None
    as_plan: bool = False


@dataclass(frozen=True, slots=True)
class MirrorNested:
    """The list inside an object, which has an address of its own."""

    object_type: ObjectType
    nested: NestedList
    ids: tuple[str, ...]
    paging: Paging
    url: str


@dataclass(frozen=True, slots=True)
class MirrorSearch:
    object_type: ObjectType
    query: Query
    limit: int
    expand: tuple[str, ...]
    url: str


@dataclass(frozen=True, slots=True)
class Forward:
    """Stripe answers. `reason` says why the mirror cannot. `is_known_later`: it can once a backfill has finished."""

    reason: str
    is_known_later: bool = False


FromMirror = MirrorList | MirrorObject | MirrorNested | MirrorSearch
Decision = FromMirror | Forward


def decide(asked: Asked) -> Decision:
    """What the mirror would be asked, whatever it holds. Raises RefusedParameter for values that Stripe also refuses."""
    if asked.method != "GET":
        return Forward("only Stripe can change something")
    found = _read(asked)
    if isinstance(found, Forward):
        return found
    if asked.account is not None:
        return Forward("Stripe-Account names another account than the mirror's")
    if asked.wants_fresh:
        return Forward("X-BillStack-Fresh asks for Stripe's own answer")
    return found


def doubt(asked: Asked, object_type: ObjectType, standing: Standing) -> Forward | None:
    """Why the mirror cannot vouch for an answer about this type, if it cannot."""
    if asked.api_version not in (None, standing.api_version):
        return Forward(f"the mirror speaks API version {standing.api_version} only")
    if not standing.is_connected:
        return Forward("this team is not connected to Stripe", is_known_later=True)
    title = object_type.title.lower()
    if object_type.name not in standing.mirrored:
        return Forward(f"this team does not mirror {title}")
    if object_type.name not in standing.right_as_of:
        return Forward(f"the mirror has not read all {title} yet", is_known_later=True)
    return None


def _read(asked: Asked) -> Decision:
    """Which part of the mirror the address names."""
    if asked.path in _NESTED_BY_PARAMETER:
        return _nested_by_parameter(asked.path, asked.values)
    if asked.path == plans.PATH or asked.path.startswith(f"{plans.PATH}/"):
        return _plans(asked)
    object_type, rest = collection_at(asked.path)
    if object_type is None:
        return Forward(f"the mirror holds nothing at {asked.path}")
    if not rest:
        return _list(object_type, asked.values)
    if len(rest) > 1 and (child := _child(object_type, rest)):
        return _below(object_type, child, rest, asked)
    if rest == ["search"]:
        return _search(object_type, asked)
    if len(rest) == 1 and rest[0] and rest[0] not in _WORDS:
        return _object(object_type, rest[0], asked.values)
    if len(rest) == 2 and object_type.nested and object_type.nested.path == f"{object_type.path}/{{id}}/{rest[1]}":
        return _nested(object_type, rest[0], asked.path, asked.values)
    return Forward(f"the mirror holds nothing at {asked.path}")


def collection_at(path: str) -> tuple[ObjectType | None, list[str]]:
    """The type whose list address begins the path, and the parts after it."""
    parts = path.split("/")
    for length in range(len(parts), 2, -1):
        if object_type := _TYPES.get("/".join(parts[:length])):
            return object_type, parts[length:]
    return None, []


def _child(object_type: ObjectType, rest: list[str]) -> ObjectType | None:
    """The type that is listed at this address below one object."""
    path = f"{object_type.path}/{{id}}/{rest[1]}"
    found = (each for each in CHILDREN.get(object_type.name, ()) if each.parent and each.parent.path == path)
    return next(found, None)


def _below(object_type: ObjectType, child: ObjectType, rest: list[str], asked: Asked) -> Decision:
    assert child.parent
    under = Under(object_type, tuple(possible_ids(rest[0])), child.parent.field)
    if len(rest) == 2:
        decision = _list(child, asked.values, is_below=True)
        return replace(decision, under=under, url=asked.path) if isinstance(decision, MirrorList) else decision
    if len(rest) == 3 and rest[2]:
        decision = _object(child, rest[2], asked.values)
        return replace(decision, under=under) if isinstance(decision, MirrorObject) else decision
    return Forward(f"the mirror holds nothing at {asked.path}")


def _list(object_type: ObjectType, values: Values, *, is_below: bool = False) -> Decision:
    if object_type.parent and not is_below and object_type.parent.field not in values:
        return Forward(f"Stripe lists {object_type.title.lower()} of one {object_type.parent.type} only")
    if (name := first_unanswerable(object_type.name, values)) is not None:
        return Forward(f"the mirror cannot narrow {object_type.title.lower()} by {name}")
    expand = _expand(values, prefix="data.")
    if isinstance(expand, Forward):
        return expand
    return MirrorList(object_type, select(object_type.name, values), paging(values), expand)


def _object(object_type: ObjectType, part: str, values: Values) -> Decision:
    for name in values:
        if name != "expand":
            return Forward(f"the mirror does not know the parameter {name}")
    expand = _expand(values)
    if isinstance(expand, Forward):
        return expand
    return MirrorObject(object_type, tuple(possible_ids(part)), expand)


def _plans(asked: Asked) -> Decision:
    price, part = OBJECT_TYPES["price"], asked.path.removeprefix(f"{plans.PATH}/")
    is_list = asked.path == plans.PATH
    if unknown := asked.values.keys() - (plans.FILTERS if is_list else {"expand"}):
        return Forward(f"the mirror does not know the parameter {min(unknown)}")
    if not is_list and (not part or "/" in part):
        return Forward(f"the mirror holds nothing at {asked.path}")
    listed = {"active": "true", **asked.values, "type": "recurring"}
    found = _list(price, listed) if is_list else _object(price, part, asked.values)
    if not isinstance(found, MirrorList | MirrorObject):
        return found
    if hidden := {path.partition(".")[0] for path in found.expand} - plans.EXPANDABLE:
        return Forward(f"the mirror cannot expand {min(hidden)} of a plan")
    if isinstance(found, MirrorObject):
        return replace(found, as_plan=True)
    is_narrowed = "active" in asked.values
    selection = found.selection if is_narrowed else without(found.selection, "active")
    return replace(found, selection=selection, url=plans.PATH, as_plans=True, is_narrowed=is_narrowed)


def _search(object_type: ObjectType, asked: Asked) -> Decision:
    text = asked.values.get("query")
    if not isinstance(text, str) or asked.values.keys() - {"query", "limit", "expand"}:
        return Forward("only Stripe's search knows these parameters")
    try:
        query = search_query.read(object_type.name, text)
    except Unanswerable as exc:
        return Forward(str(exc))
    expand = _expand(asked.values, prefix="data.")
    if isinstance(expand, Forward):
        return expand
    return MirrorSearch(
        object_type, query, paging({"limit": asked.values.get("limit", "10")}).limit, expand, asked.path
    )


def _nested(object_type: ObjectType, part: str, url: str, values: Values) -> Decision:
    if unknown := values.keys() - {"limit", "starting_after", "ending_before"}:
        return Forward(f"the mirror does not know the parameter {min(unknown)}")
    assert object_type.nested
    return MirrorNested(object_type, object_type.nested, tuple(possible_ids(part)), paging(values), url)


def _nested_by_parameter(collection: str, values: Values) -> Decision:
    object_type, parameter = _NESTED_BY_PARAMETER[collection]
    given = dict(values)
    of = given.pop(parameter, None)
    if not isinstance(of, str):
        return Forward(f"the mirror lists these of one {object_type.words} only")
    decision = _nested(object_type, "", collection, given)
    if isinstance(decision, MirrorNested):
        return MirrorNested(object_type, decision.nested, (of,), decision.paging, collection)
    return decision


def _expand(values: Values, *, prefix: str = "") -> tuple[str, ...] | Forward:
    """Paths into one object."""
    given = values.get("expand")
    if given is None:
        return ()
    paths = list(given.values()) if isinstance(given, dict) else [given]
    for path in paths:
        if not isinstance(path, str) or not path:
            raise RefusedParameter("Invalid array", "expand")
        if path.count(".") >= DEEPEST_EXPAND:
            message = f"You cannot expand more than {DEEPEST_EXPAND} levels of a property. Property: {path}"
            raise RefusedParameter(message, code="property_expansion_max_depth")
        if not path.startswith(prefix):
            return Forward(f"the mirror cannot expand {path}")
    return tuple(path.removeprefix(prefix) for path in paths)
