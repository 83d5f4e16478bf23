"""`GET /v1/customers/search` and its like: Stripe's query language over all objects of a type.

At Stripe a new object can be found within a minute; here at once.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from scripts.sandbox.answers import Answer, Refused, decode, encode
from scripts.sandbox.forms import Params, plain_text
from scripts.sandbox.listing import paging, refuse_unknown
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State

# What can be searched, and as what, as Stripe's documentation of the language has it: `:` compares a token or number as a
# whole, and a string by its words; `~` is for strings, and an order for numbers.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "customer": {"created": "numeric", "email": "string", "metadata": "token", "name": "string", "phone": "string"},
    "charge": {
        **dict.fromkeys(("amount", "created"), "numeric"),
        **dict.fromkeys(("currency", "customer", "disputed", "metadata", "refunded", "status"), "token"),
        **dict.fromkeys(
            (f"payment_method_details.card.{name}" for name in ("brand", "exp_month", "exp_year")), "token"
        ),
        **dict.fromkeys((f"payment_method_details.card.{name}" for name in ("last4", "fingerprint")), "token"),
    },
    "invoice": {
        **dict.fromkeys(("created", "total"), "numeric"),
        **dict.fromkeys(("currency", "customer", "metadata"), "token"),
        **dict.fromkeys(("number", "receipt_number", "status", "subscription"), "string"),
    },
    "payment_intent": {
        **dict.fromkeys(("amount", "created"), "numeric"),
        **dict.fromkeys(("currency", "customer", "metadata", "status"), "token"),
    },
    "price": {
        **dict.fromkeys(("active", "currency", "metadata", "type"), "token"),
        **dict.fromkeys(("lookup_key", "product"), "string"),
    },
    "product": {
        **dict.fromkeys(("active", "metadata", "shippable"), "token"),
        **dict.fromkeys(("description", "name", "url"), "string"),
    },
    "subscription": {
        **dict.fromkeys(("canceled_at", "created"), "numeric"),
        **dict.fromkeys(("metadata", "status"), "token"),
    },
}
_WORD = re.compile(r"\w+")
_CLAUSE = re.compile(
    r"""\s*(?P<negated>-)?(?P<field>[a-z][a-z0-9_.]*)(?:\[(?P<quote>["'])(?P<key>.*?)(?P=quote)\])?"""
    r"""(?P<operator>:|~|>=|<=|>|<)(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^\s"']+))\s*"""
)
_JOINT = re.compile(r"(AND|OR)(?=\s)|", re.IGNORECASE)
_PARAMS = frozenset(("query", "limit", "page", "expand"))
_MOST_CLAUSES = 10


@dataclass(frozen=True, slots=True)
class _Clause:
    field: str
    key: str | None
    operator: str
    value: str
    negated: bool
    kind: str

    def holds(self, obj: Json) -> bool:
        found = _value_at(obj, self.field)
        if self.key is not None:
            found = (found or {}).get(self.key)
        return self._compares(found) is not self.negated

    def _compares(self, found: Any) -> bool:
        if self.value == "null" and self.operator == ":":
            return found is None
        if found is None:
            return False
        if self.operator in _ORDERS:
            return _ORDERS[self.operator](float(found), float(self.value))
        text, wanted = _as_text(found).casefold(), self.value.casefold()
        if self.operator == "~":
            return wanted in text
        return _has_words(text, wanted) if self.kind == "string" else wanted == text


_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    ">": float.__gt__,
    ">=": float.__ge__,
    "<": float.__lt__,
    "<=": float.__le__,
}


def _has_words(text: str, wanted: str) -> bool:
    """All of the words in the same order, whatever stands between them."""
    words = iter(_WORD.findall(text))
    return all(any(each == word for each in words) for word in _WORD.findall(wanted))


_OPERATORS: Mapping[str, tuple[str, ...]] = {"numeric": (":", *_ORDERS), "string": (":", "~"), "token": (":",)}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _value_at(obj: Json, field: str) -> Any:
    if field == "subscription" and obj["object"] == "invoice":
        field = "parent.subscription_details.subscription"
    found: Any = obj
    for name in field.split("."):
        found = (found or {}).get(name)
    return found


def search(state: State, _: str, params: Params, *, type: str) -> Answer:
    """A page of what matches, newest first."""
    refuse_unknown(params, _PARAMS)
    if not params.get("query"):
        raise Refused("Missing required param: query.", code="parameter_missing", param="query")
    matches = _parsed(plain_text(params["query"], "query"), type)
    limit = paging({"limit": params.get("limit", 10)}).limit
    shelf = state.shelves[type]
    found = [each for record in reversed(list(shelf.timeline)) if matches(each := decode(record.body))]
    first = _first_of(params.get("page"))
    page, rest = found[first : first + limit], found[first + limit :]
    answer = {
        "object": "search_result",
        "data": page,
        "has_more": bool(rest),
        "next_page": _token(first + limit) if rest else None,
        "url": f"{shelf.kind.path}/search",
    }
    if "total_count" in params.get("expand", ()):
        answer["total_count"] = len(found)
    return Answer(200, encode(answer))


def _token(at: int) -> str:
    return f"WyIx{at:06}"


def _first_of(page: Any) -> int:
    if page is None:
        return 0
    if not isinstance(page, str) or not re.fullmatch(r"WyIx\d{6}", page):
        raise Refused("Invalid page token.", param="page")
    return int(page[4:])


def _parsed(query: str, type: str) -> Callable[[Json], bool]:
    """All clauses joined by AND, or all by OR."""
    clauses, joints, at = [], set(), 0
    while True:
        match = _CLAUSE.match(query, at)
        if match is None:
            raise _unreadable()
        clauses.append(_clause(match, type))
        at = match.end()
        if at == len(query):
            break
        joint = _JOINT.match(query, at)
        assert joint
        joints.add((joint[1] or "and").lower())
        at = joint.end()
    if len(joints) > 1 or len(clauses) > _MOST_CLAUSES:
        raise _unreadable()
    holds = any if joints == {"or"} else all
    return partial(_matches, holds, clauses)


def _matches(holds: Callable[[Any], bool], clauses: list[_Clause], obj: Json) -> bool:
    return holds(clause.holds(obj) for clause in clauses)


def _clause(match: re.Match[str], type: str) -> _Clause:
    field = match["field"]
    if field not in FIELDS[type]:
        raise Refused(
            f"Field `{field}` is an unsupported search field for resource `{type}s`. See "
            f"http://stripe.com/docs/search#query-fields-for-{type}s for a list of supported fields.",
        )
    quoted = match["double"] if match["double"] is not None else match["single"]
    value = match["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    if (field == "metadata") != (match["key"] is not None):
        raise _unreadable()
    kind = FIELDS[type][field]
    if match["operator"] not in _OPERATORS[kind]:
        raise _unreadable()
    if match["operator"] in _ORDERS and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        raise _unreadable()
    return _Clause(field, match["key"], match["operator"], value, match["negated"] is not None, kind)


def _unreadable() -> Refused:
    return Refused(
        'We were unable to parse your search query. Try using the format `metadata["key"]:"value"` to query for metadata '
        'or key:"value" to query for other fields.'
    )
