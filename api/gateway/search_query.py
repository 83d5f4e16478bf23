"""Reads queries of Stripe's search language, as far as the mirror can answer them: https://docs.stripe.com/search.

The documentation leaves open what a word is, whether metadata's keys have upper and lower case, and how results are ordered. So a
query is answered only if that makes no difference: SQL finds every object that could match, and each of them must match
certainly. Everything else goes to Stripe, also what it refuses.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.gateway.params import FIRST_SECOND, LAST_SECOND
from api.gateway.selection import Selection

Json = dict[str, Any]
Values = Mapping[str, Any]

OLDEST_VERSION = "2020-08-27"
_MOST_CLAUSES = 10
# Printable and without quotes or backslashes: it stands in a JSON text as it is.
_VALUE = r"[ !#-&(-\[\]-~]+"
_CLAUSE = re.compile(
    rf"""(?P<field>[a-z_]+)(?:\[(?P<kq>["'])(?P<key>{_VALUE})(?P=kq)\])?(?P<operator>:|>=|<=|>|<)"""
    rf"""(?:(?P<vq>["'])(?P<quoted>{_VALUE})(?P=vq)|(?P<bare>-?[0-9]{{1,15}}))"""
)
_JOINT = re.compile(r"\s+(?:(and|or)\s+)?", re.IGNORECASE)
_NUMBER = re.compile(r"-?[0-9]{1,15}")
_WORD = re.compile(r"[a-z]+|[0-9]+")
_STATUSES: Mapping[str, frozenset[str]] = {
    "charge": frozenset(("failed", "pending", "succeeded")),
    "invoice": frozenset(("draft", "open", "paid", "uncollectible", "void")),
    "payment_intent": frozenset(
        (
            *("canceled", "processing", "requires_action", "requires_capture", "requires_confirmation"),
            *("requires_payment_method", "succeeded"),
        )
    ),
    "subscription": frozenset(
        ("active", "canceled", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid")
    ),
}
# Prices are not among them: search has inline prices, which the mirror may lack.
_FIELDS: Mapping[str, frozenset[str]] = {
    "charge": frozenset(("amount", "created", "currency", "customer", "disputed", "metadata", "status")),
    "customer": frozenset(("created", "email", "metadata")),
    "invoice": frozenset(("created", "currency", "customer", "metadata", "status", "subscription", "total")),
    "payment_intent": frozenset(("amount", "created", "currency", "customer", "metadata", "status")),
    "product": frozenset(("active", "metadata")),
    "subscription": frozenset(("created", "metadata", "status")),
}


class Unanswerable(Exception):
    """The message says why the mirror cannot answer the query."""


@dataclass(frozen=True, slots=True)
class _Clause:
    field: str
    key: str | None
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Query:
    """`selection` is of all objects that could match. `is_certain` tells of one of them whether it does.

    `is_indexed`: an index finds them, however large the table is.
    """

    selection: Selection
    clauses: tuple[_Clause, ...] = field(repr=False)
    is_indexed: bool

    def is_certain(self, obj: Json) -> bool:
        names_status = any(clause.field == "status" for clause in self.clauses)
        if obj.get("test_clock") is not None or (obj.get("status") == "canceled" and not names_status):
            return False  # whether search has them is not documented
        return all(_CERTAIN[clause.field](clause, obj) for clause in self.clauses if clause.field in _CERTAIN)


def read(type_name: str, text: str) -> Query:
    """Raises Unanswerable."""
    if type_name not in _FIELDS:
        raise Unanswerable("the mirror cannot search these")
    clauses, joint = _clauses(text.strip())
    for clause in clauses:
        if clause.field not in _FIELDS[type_name] or (clause.field == "metadata") != (clause.key is not None):
            raise Unanswerable(f"the mirror cannot search by {clause.field}")
    selection = _any_status(type_name, clauses) if joint == "or" else _all_of(type_name, clauses)
    return Query(selection, tuple(clauses), any(clause.field in ("customer", "subscription") for clause in clauses))


def _clauses(text: str) -> tuple[list[_Clause], str]:
    clauses: list[_Clause] = []
    joints: set[str] = set()
    at = 0
    while match := _CLAUSE.match(text, at):
        value = match["bare"] or match["quoted"]
        if value != value.strip() or value.lower() == "null":
            break
        clauses.append(_Clause(match["field"], match["key"], match["operator"], value))
        at = match.end()
        if at == len(text) and len(joints) <= 1 and len(clauses) <= _MOST_CLAUSES:
            return clauses, next(iter(joints), "and")
        joint = _JOINT.match(text, at)
        if joint is None:
            break
        joints.add((joint[1] or "and").lower())
        at = joint.end()
    raise Unanswerable("the mirror cannot answer this search query exactly")


def _any_status(type_name: str, clauses: list[_Clause]) -> Selection:
    if any(clause.field != "status" for clause in clauses):
        raise Unanswerable("the mirror cannot join search clauses by OR")
    statuses = [_status(type_name, clause) for clause in clauses]
    return Selection(("where_statuses",), {"statuses": statuses})


def _all_of(type_name: str, clauses: list[_Clause]) -> Selection:
    if sum(clause.field == "email" for clause in clauses) > 1:
        raise Unanswerable("the mirror cannot search by two values of email")
    bounds: dict[str, list[tuple[str, int]]] = {}
    given: dict[str, Any] = {}
    for clause in clauses:
        if clause.field in ("amount", "created", "total"):
            bounds.setdefault(clause.field, []).append((clause.operator, _number(clause)))
        elif clause.field == "metadata":
            given.setdefault("metadata_like", []).append(_like(f'"{clause.key}": "{_exact(".+")(clause)}"'))
        elif clause.field == "email":
            given |= _email_words(clause)
        else:
            name, value = _READ[clause.field](type_name, clause)
            if given.setdefault(name, value) != value:
                raise Unanswerable(f"the mirror cannot search by two values of {clause.field}")
    first, last = (_as_second(bound) for bound in _range(bounds.pop("created", [])))
    for name, found in bounds.items():
        least, most = _range(found)
        given |= {f"{name}_from": least} if least is not None else {}
        given |= {f"{name}_to": most} if most is not None else {}
    blocks = tuple(f"where_{name}" for name in given if name != "email_like")
    return Selection(blocks, given, first, last)


def _range(bounds: list[tuple[str, int]]) -> tuple[int | None, int | None]:
    """Both included."""
    firsts = [bound + (operator == ">") for operator, bound in bounds if operator in (">", ">=", ":")]
    lasts = [bound - (operator == "<") for operator, bound in bounds if operator in ("<", "<=", ":")]
    return max(firsts, default=None), min(lasts, default=None)


def _as_second(bound: int | None) -> int | None:
    """Postgres has no time for bounds further out."""
    return None if bound is None else min(max(bound, FIRST_SECOND), LAST_SECOND)


def _number(clause: _Clause) -> int:
    if not _NUMBER.fullmatch(clause.value):
        raise Unanswerable(f"the mirror cannot search by {clause.field} {clause.value}")
    return int(clause.value)


def _like(text: str) -> str:
    """A pattern of texts that contain it."""
    return "%" + re.sub(r"([%_])", r"\\\1", text.lower()) + "%"


# Exact fields --------------------------------------------------------------------------------------------------------


def _exact(pattern: str, *, lower: bool = True) -> Callable[[_Clause], str]:
    """Of values that are sure to be compared as a whole: no other value has the same words."""

    def read(clause: _Clause) -> str:
        value = clause.value.lower() if lower else clause.value
        if clause.operator != ":" or not re.fullmatch(pattern, value, re.ASCII):
            raise Unanswerable(f"the mirror cannot search by this {clause.field}")
        return value

    return read


def _status(type_name: str, clause: _Clause) -> str:
    value = _exact(r"[a-z_]+")(clause)
    if value not in _STATUSES[type_name]:
        raise Unanswerable(f"the mirror knows no status {clause.value}")
    return value


def _email_words(clause: _Clause) -> dict[str, str]:
    """Of addresses with these words in their order, however short words are: a regular expression, and a quick first look."""
    words = _WORD.findall(_exact(r"[^@]+@[^@]+")(clause))
    if not words:
        raise Unanswerable("the mirror cannot search by this email")
    kinds = ["[a-z]" if word.isalpha() else "[0-9]" for word in words]
    pattern = ".*".join(f"(?<!{kind}){word}(?!{kind})" for word, kind in zip(words, kinds, strict=True))
    return {"email_words": pattern, "email_like": f"%{'%'.join(words)}%"}


_flag, _currency = _exact("true|false"), _exact("[a-z]{3}")
# Ids as Stripe makes them. Those that people choose may differ in case alone, or have several words.
_customer, _subscription = _exact(r"cus_[A-Za-z0-9]+", lower=False), _exact(r"sub_[A-Za-z0-9]+", lower=False)
_READ: Mapping[str, Callable[[str, _Clause], tuple[str, Any]]] = {
    "active": lambda _, clause: ("active", _flag(clause) == "true"),
    "currency": lambda _, clause: ("currency", _currency(clause)),
    "customer": lambda _, clause: ("customer", _customer(clause)),
    "disputed": lambda _, clause: ("disputed", _flag(clause) == "true"),
    "status": lambda type_name, clause: ("statuses", [_status(type_name, clause)]),
    "subscription": lambda _, clause: ("subscription", _subscription(clause)),
}


# What could match, and does -------------------------------------------------------------------------------------------


def _has_email(clause: _Clause, customer: Json) -> bool:
    return str(customer.get("email")).lower() == clause.value.lower()


def _has_metadata(clause: _Clause, obj: Json) -> bool:
    found = (obj.get("metadata") or {}).get(clause.key)
    return isinstance(found, str) and found.lower() == clause.value.lower()


_CERTAIN: Mapping[str, Callable[[_Clause, Json], bool]] = {"email": _has_email, "metadata": _has_metadata}
