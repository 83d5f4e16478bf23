"""`expand[]`: replaces ids with whole objects."""

from typing import Any

from scripts.sandbox.answers import Answer, Refused, decode, encode
from scripts.sandbox.forms import plain_text
from scripts.sandbox.kinds import KINDS
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State, hidden_fields
from scripts.sandbox.subscription_shapes import embedded_list

_MOST_LEVELS = 4  # Stripe counts the `data.` of a list, too
# The longest first: a schedule's id begins like a subscription's.
_PREFIXES = sorted(
    ((kind.id_prefix.rstrip("0123456789"), kind.name) for kind in KINDS.values() if kind.id_prefix), reverse=True
)
# Fields that are named after what they hold in some other way, or hold ids that people choose.
_TYPE_OF_FIELD = {"customer": "customer", "product": "product", "price": "price", "coupon": "coupon"}


def expanded(state: State, answer: Answer, expand: Any) -> Answer:
    """The answer with these paths expanded. `total_count` can no longer be (stripe-facts.md, section 1.6)."""
    body = decode(answer.body)
    for path in expand if isinstance(expand, list) else [expand]:
        names = plain_text(path, "expand").split(".")
        if len(names) > _MOST_LEVELS:
            raise _too_deep(path)
        _expand(state, body, names, path)
    return Answer(answer.status, encode(body), answer.headers)


def _too_deep(path: str) -> Refused:
    refused = Refused(
        f"You cannot expand more than {_MOST_LEVELS} levels of a property. Property: {path}",
        code="property_expansion_max_depth",
    )
    del refused.error["doc_url"]  # Stripe has no page about it
    return refused


def _expand(state: State, value: Any, names: list[str], path: str) -> None:
    if isinstance(value, list):
        for each in value:
            _expand(state, each, names, path)
        return
    name = names[0]
    if isinstance(value, dict) and name not in value:
        _show_children(state, value, name)
        if _show_hidden(state, value, name):
            return
    if not isinstance(value, dict) or name not in value:
        raise Refused(f"This property cannot be expanded ({path}).", param="expand[0]")
    if isinstance(value[name], str):
        value[name] = _object(state, name, value[name], path)
    if len(names) > 1 and value[name] is not None:
        _expand(state, value[name], names[1:], path)


def _show_children(state: State, value: Json, name: str) -> None:
    """A list that an object only has where it is expanded, cut like any other."""
    for kind in KINDS.values():
        if kind.hides_children and (kind.object_name, kind.children) == (value.get("object"), name):
            children = state.children(kind.name, value["id"])
            value[name] = embedded_list(children, f"{kind.path}/{value['id']}/{name}")


def _show_hidden(state: State, value: Json, name: str) -> bool:
    """Shows a hidden field if the object has it. Returns whether objects of its type may have it."""
    for kind in KINDS.values():
        if kind.object_name == value.get("object") and name in kind.hides:
            fields = hidden_fields(kind, state.record(kind.name, value["id"]), value)
            value.update({name: fields[name]} if name in fields else {})
            return True
    return False


def _object(state: State, field: str, id: str, path: str) -> Any:
    type = _TYPE_OF_FIELD.get(field) or next((name for prefix, name in _PREFIXES if id.startswith(prefix)), None)
    if type is None:
        raise Refused(f"This property cannot be expanded ({path}).", param="expand[0]")
    shelf = state.shelves[type]
    if id in shelf.deleted:
        return {"id": id, "object": shelf.kind.object_name, "deleted": True}
    record = shelf.get(id)
    return decode(record.body) if record is not None else id
