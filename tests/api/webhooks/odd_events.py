"""Events that a tenant could sign to do harm: Stripe's own with one to three of their values replaced by odd ones. Seeded."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from sync.event_types import LISTENED_TYPES, REFERENCES
from tests.factories import FACTORIES, NOW, Json, event

HTML = "<img src=x onerror=alert(1)>"


# Stands for nesting that Python's own encoder would not write: in msgspec's depth, beyond it, and beyond Postgres'.
_DEPTHS = (20, 200, 450, 498, 2_000, 20_000)
_DEEP = "@deep@"


ODD_NUMBERS = (
    *(0, -1, 1, -0.0, 0.5, 1e-300, 1e300, 10.5, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(10**18)),
    *(253_402_300_799, 253_402_300_800, 253_402_214_400, -62_135_596_800, -62_135_596_801, 9_224_318_015_999),
    *(NOW, NOW + 40 * 365 * 86_400),
)
ODD_TEXTS = (
    *("", " ", ".", "..", "/", "a/b", "a%2Fb", "../../v1/account", "%00", 'o"brien', "it's", "' OR 1=1 --", HTML),
    *(
        "\0",
        "\x7f",
        "\n\r",
        "\u202e",
        "\u2028",
        "\ud800",
        "\ud83d\ude00",
        "İ",
        "e\u0301",
        "{{7*7}}",
        "%s %(id)s {0} {team}",
    ),
    *("x" * 255, "x" * 256, "x" * 4_000, "字" * 20_000, "cus_1", "evt_1", "null", "2026-01-01T00:00:00Z"),
    *(
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "-infinity",
        "1e5",
        "NaN",
        "customer",
        "charge.refunded",
    ),
)
ODD_VALUES = (None, True, False, [], {}, [[]], [None], {"": ""}, {"id": None}, {"id": "cus_1"}, {"object": "list"})
_ODD = (*ODD_NUMBERS, *ODD_TEXTS, *ODD_VALUES, _DEEP)


def odd_bodies(seed: int) -> Iterator[bytes]:
    """Without end."""
    dice = random.Random(seed)
    while True:
        told = _an_event(dice)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            _replace_somewhere(told, dice)
        depth = dice.choice(_DEPTHS)
        deep = b'{"a":[' * depth + b"]}" * depth
        yield _mangled(json.dumps(told).encode().replace(f'"{_DEEP}"'.encode(), deep), dice)


def _an_event(dice: random.Random) -> Json:
    about = copy.deepcopy(dice.choice(list(FACTORIES.values()))())
    about["id"] = dice.choice((about["id"], f"{about['id']}_{dice.randrange(50)}", HTML, "a b/c"))
    about["metadata"] = {"plan": "gold"}
    if dice.random() < 0.2:  # of something that only names a mirrored object
        name, reference = dice.choice(list(REFERENCES.items()))
        about = {**about, "object": name, **dict.fromkeys(reference.names, about["id"])}
    created = dice.choice((NOW, NOW + dice.randrange(1000)))
    told = event(about, dice.choice((f"{about['object']}.deleted", *LISTENED_TYPES)), created=created)
    if dice.random() < 0.1:
        told["related_object"] = {"id": about["id"], "type": about["object"]}
    return told


def _replace_somewhere(told: Json, dice: random.Random) -> None:
    """The head's own fields as often as all that lies below."""
    if dice.random() < 0.5:
        told[dice.choice(("id", "type", "created", "livemode", "account", "api_version", "data", "related_object"))] = (
            dice.choice(_ODD)
        )
        return
    holder, key = dice.choice(list(_places(told.get("data"))) or [(told, "data")])
    holder[key] = dice.choice(_ODD)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def _digits(body: bytes) -> bytes:
    return body.replace(b"4900", b"9" * 5_000)


def _duplicated(body: bytes) -> bytes:
    return body.replace(b'"object": {', b'"object": {"id": "twice", "created": 1, ', 1)


_MANGLES: tuple[Callable[[bytes], bytes], ...] = (
    lambda body: body[:-1],
    lambda body: body + b"\n \t",
    lambda body: b"\xef\xbb\xbf" + body,
    lambda body: body.replace(b"a", b"\xff", 1),
    lambda body: body.replace(b"4900", b"1e400"),
    lambda body: body.replace(b"4900", b"1e100000"),
    lambda body: body.replace(b'"metadata": {', b'"metadata": {"big": 1e5000, '),
    _digits,
    _duplicated,
)


def _mangled(body: bytes, dice: random.Random) -> bytes:
    return dice.choice(_MANGLES)(body) if dice.random() < 0.15 else body
