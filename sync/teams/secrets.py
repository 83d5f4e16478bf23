"""Seals what must not be readable in the database: AES-256-GCM, and what a secret is for is authenticated with it.

A sealed secret opens only for its team and its use: a row, or a column, that somebody moved does not open.
"""

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sync.errors import ConfigError

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Use:
    """What a sealed secret is for. Both columns of pasted signing secrets are one use: they change places."""

    name: str

    def of(self, team_id: str) -> bytes:
        return f"{team_id}/{self.name}".encode()


SECRET_KEY = Use("secret_key")
WEBHOOK_SECRET = Use("webhook_secret")
ENDPOINT_SECRET = Use("endpoint_secret")


class SecretBox:
    """Seals with the first key and opens with any of them, so that a key can be rotated by putting a new one in front."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]

    def seal(self, secret: str, *, team_id: str, use: Use) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret.encode(), use.of(team_id))

    def open(self, sealed: bytes, *, team_id: str, use: Use) -> str:
        """Raises ConfigError when no key of BILLSTACK_SECRET_KEY opens it."""
        for cipher in self._ciphers:
            # Before version 3 of the schema only the team was authenticated.
            for context in (use.of(team_id), team_id.encode()):
                secret = _opened(cipher, sealed, context)
                if secret is not None:
                    return secret
        raise ConfigError(
            f"no key in BILLSTACK_SECRET_KEY opens the stored Stripe key of {team_id}: add the key it was stored with"
        )

    def is_current(self, sealed: bytes, *, team_id: str, use: Use) -> bool:
        """Whether the first key alone opens it, for its use alone."""
        return _opened(self._ciphers[0], sealed, use.of(team_id)) is not None


def _opened(cipher: AESGCM, sealed: bytes, context: bytes) -> str | None:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context).decode()
    except InvalidTag:
        return None
