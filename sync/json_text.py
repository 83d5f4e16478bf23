"""Makes JSON readable that holds half of a surrogate pair, so that the one object with it is refused and not its whole page."""

import re

# Every escape, so that what follows an escaped backslash is no escape; a whole pair is tried before its half.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def mended(body: bytes) -> bytes:
    r"""With \u0000 in place of each `\ud800` without its other half.

    Neither is a text that Postgres stores. But msgspec reads no JSON in which a half stands, and so could not even say which
    object of a page it is in; a NUL it reads.
    """
    return _ESCAPE.sub(lambda match: rb"\u0000" if match["half"] else match[0], body)
