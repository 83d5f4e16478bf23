"""Passwords as argon2id hashes."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

# OWASP's minimum. A sign-in takes about 30 ms of one core and 19 MiB, which eight threads at once can afford.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Nobody's: checked for an unknown e-mail address, so that the answer takes as long as for a known one.
_NOBODYS_HASH = "$argon2id$v=19$m=19456,t=2,p=1$p8UcMKPQv1M7m9xaC+jcKA$D6lCAoiQawp6YTsNcJhFltcHv+2UjzXHe1VzTym20BY"


def hash_password(password: str) -> str:
    return _HASHER.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """`None` stands for a user who does not exist, and takes as long."""
    try:
        _HASHER.verify(password_hash or _NOBODYS_HASH, password)
    except (VerifyMismatchError, InvalidHashError):
        return False
    return password_hash is not None
