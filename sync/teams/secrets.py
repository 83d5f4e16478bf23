"""Encrypts secrets in the database with AES-256-GCM, which also authenticates their use.

An encrypted secret can be decrypted only for its own team and use. A row or column that somebody moved cannot.
"""

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sync.errors import ConfigError

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Use:
    """A secret's use. Both columns of entered signing secrets are one use, because secrets move between them."""

    name: str

    def of(self, team_id: str) -> bytes:
        return f"{team_id}/{self.name}".encode()


SECRET_KEY = Use("secret_key")
WEBHOOK_SECRET = Use("webhook_secret")
ENDPOINT_SECRET = Use("endpoint_secret")
ALERT_URL = Use("alert_url")
ALERT_SECRET = Use("alert_secret")


class SecretBox:
    """Encrypts with the first key and decrypts with any, so that putting a new key first rotates the key."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]

    def seal(self, secret: str, *, team_id: str, use: Use) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret.encode(), use.of(team_id))

    def open(self, sealed: bytes, *, team_id: str, use: Use) -> str:
        """Raises ConfigError if no key of BILLSTACK_SECRET_KEY decrypts it."""
        for cipher in self._ciphers:
            # Before schema version 3, only the team was authenticated.
            for context in (use.of(team_id), team_id.encode()):
                secret = _opened(cipher, sealed, context)
                if secret is not None:
                    return secret
        raise ConfigError(
            f"no key in BILLSTACK_SECRET_KEY decrypts the stored secrets of {team_id}: add the key that encrypted them"
        )

    def is_current(self, sealed: bytes, *, team_id: str, use: Use) -> bool:
        """Whether the first key alone decrypts it, and only for its use."""
        return _opened(self._ciphers[0], sealed, use.of(team_id)) is not None


def _opened(cipher: AESGCM, sealed: bytes, context: bytes) -> str | None:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context).decode()
    except InvalidTag:
        return None
