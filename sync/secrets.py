"""Encrypts Stripe keys at rest with AES-256-GCM; the team's id is authenticated with them, so a row cannot be moved."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sync.errors import ConfigError

_NONCE_BYTES = 12


class SecretBox:
    """Seals with the first key and opens with any of them, so that a key can be rotated by putting a new one in front."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]

    def seal(self, secret: str, *, team_id: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret.encode(), team_id.encode())

    def open(self, sealed: bytes, *, team_id: str) -> str:
        """Raises ConfigError when no key of BILLSTACK_SECRET_KEY opens it."""
        nonce, box = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, box, team_id.encode()).decode()
            except InvalidTag:
                continue
        raise ConfigError(
            f"no key in BILLSTACK_SECRET_KEY opens the stored Stripe key of {team_id}: add the key it was stored with"
        )
