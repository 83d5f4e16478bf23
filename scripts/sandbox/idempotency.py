"""Stripe's idempotency keys: for a day, a POST repeated with the same key is answered from memory."""

from dataclasses import dataclass
from typing import Any

from scripts.sandbox.answers import Answer, Refused

_KEPT_S = 24 * 3600  # "pruned after at least 24 h" (stripe-facts.md, section 8)
_MAX_LENGTH = 255


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: tuple[str, Any]
    answer: Answer
    at: float


class IdempotencyKeys:
    """The keys of one account. A stored 500 is replayed; refused parameters are not stored."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def recall(self, key: str, path: str, params: Any, now: float) -> Answer | None:
        """The key's earlier answer, or None for a new key. Other parameters are refused."""
        if len(key) > _MAX_LENGTH:
            raise Refused(f"Idempotency keys can be at most {_MAX_LENGTH} characters.", type="idempotency_error")
        kept = self._kept.get(key)
        if kept is None or now - kept.at > _KEPT_S:
            return None
        if kept.fingerprint != (path, params):
            raise Refused(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                type="idempotency_error",
            )
        return Answer(kept.answer.status, kept.answer.body, {**kept.answer.headers, "Idempotent-Replayed": "true"})

    def remember(self, key: str, path: str, params: Any, answer: Answer, now: float) -> None:
        if answer.status < 400 or answer.status >= 500:
            self._kept[key] = _Kept((path, params), answer, now)
