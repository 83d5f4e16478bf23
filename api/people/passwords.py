"""Hashes passwords with argon2id, a limited number at once, and refuses passwords that are too common."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from sync.errors import BadRequest, TooManyRequests

# OWASP's minimum. A sign-in takes about 30 ms of one core and 19 MiB.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Checked if the e-mail address is unknown, so that the answer takes as long as for a known one.
_NOBODYS_HASH = "$argon2id$v=19$m=19456,t=2,p=1$p8UcMKPQv1M7m9xaC+jcKA$D6lCAoiQawp6YTsNcJhFltcHv+2UjzXHe1VzTym20BY"
# The passwords of a breach list (zxcvbn's, MIT) that are long enough for us to accept otherwise.
_COMMON = Path(__file__).with_name("common_passwords.txt")

AT_ONCE = min(4, os.cpu_count() or 1)  # in one process; more would only share the same cores, and each takes 19 MiB
MOST_WAITING = 16  # half of a process' threads; the other half answers requests that need no hash
_BUSY_S = 1.0


class Turns:
    """Lets `at_once` callers in, `most_waiting` more wait, and refuses the rest."""

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self._admitted = threading.BoundedSemaphore(at_once + most_waiting)
        self._running = threading.BoundedSemaphore(at_once)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises TooManyRequests if too many are waiting already."""
        if not self._admitted.acquire(blocking=False):
            raise TooManyRequests("too many people are signing in right now: try again", retry_after_s=_BUSY_S)
        try:
            with self._running:
                yield
        finally:
            self._admitted.release()


_TURNS = Turns(AT_ONCE, MOST_WAITING)


def hash_new_password(password: str, *, email: str, field: str = "password") -> str:
    """Raises BadRequest for a password that attackers try first."""
    name, _, _ = email.partition("@")
    if password.casefold() in _common() or password.casefold() in (email.casefold(), name.casefold()):
        sentence = "is one of the first passwords that attackers guess: choose another one"
        raise BadRequest(f"{field} {sentence}", code="invalid_field", details={"fields": {field: [sentence]}})
    return hash_password(password)


def hash_password(password: str) -> str:
    with _TURNS.turn():
        return _HASHER.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """None as the hash stands for an unknown user. The check then takes as long as for a known one."""
    try:
        with _TURNS.turn():
            _HASHER.verify(password_hash or _NOBODYS_HASH, password)
    except (VerifyMismatchError, InvalidHashError):
        return False
    return password_hash is not None


@cache
def _common() -> frozenset[str]:
    return frozenset(_COMMON.read_text().splitlines())
