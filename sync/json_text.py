"""Stripe's JSON, which goes to Postgres as its original bytes."""

import re
from typing import NamedTuple

import psycopg
from psycopg.adapt import Dumper

# Matches every escape, so that an escaped backslash hides what follows it. Tries a whole pair before its half.
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


def repair_surrogates(body: bytes) -> bytes:
    r"""Replaces each unpaired surrogate, such as a lone `\ud800`, with \u0000.

    Postgres stores neither. But msgspec cannot read JSON with an unpaired surrogate at all, so it could not say which
    object of a page has it. It can read a NUL. So only that object is refused, not its page.
    """
    return _ESCAPE.sub(lambda match: rb"\u0000" if match["half"] else match[0], body)
