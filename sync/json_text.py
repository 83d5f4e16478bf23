"""Stripe's JSON, which goes to Postgres as the bytes that came."""

import re
from typing import NamedTuple

import psycopg
from psycopg.adapt import Dumper

# Every escape, so that what follows an escaped backslash is no escape; a whole pair is tried before its half.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class AsJsonb(NamedTuple):
    """Stripe's bytes as one jsonb parameter: no Python object, no second encoding, no copy."""

    raw: bytes


class _AsJsonbDumper(Dumper):
    oid = psycopg.adapters.types["jsonb"].oid

    def dump(self, obj: AsJsonb) -> bytes:
        return obj.raw


psycopg.adapters.register_dumper(AsJsonb, _AsJsonbDumper)


def mended(body: bytes) -> bytes:
    r"""With \u0000 in place of each `\ud800` without its other half, so that the one object with it is refused, not its page.

    Neither is a text that Postgres stores. But msgspec reads no JSON in which a half stands, and so could not even say which
    object of a page it is in; a NUL it reads.
    """
    return _ESCAPE.sub(lambda match: rb"\u0000" if match["half"] else match[0], body)
