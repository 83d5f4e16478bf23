"""Public ids: a prefix for the kind of object, and a random part that nobody can guess."""

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits
_LENGTH = 20  # log2(36) * 20 = 103 bits; the contract asks for 96


def new_id(prefix: str) -> str:
    """`new_id("bf")` -> `bf_k3v9…`: lower-case letters and digits only, safe in URLs and as part of a schema name."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))}"
