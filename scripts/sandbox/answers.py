"""The sandbox's answers (a status, bytes and headers), and refusals in Stripe's error shape."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

encode = msgspec.json.encode
decode = msgspec.json.decode


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer without the headers that every answer has."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return decode(self.body)


class Refused(Exception):
    """A refusal by Stripe. Its SDKs build their exceptions from `type`, `code`, `param` and `message`."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        error: dict[str, Any] = {"message": message, "type": type}
        if code is not None:
            error["code"] = code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param is not None:
            error["param"] = param
        self.error = error

    def answer(self) -> Answer:
        return Answer(self.status, encode({"error": self.error}), self.headers)


def ok(value: Any) -> Answer:
    return Answer(200, encode(value))


def no_such(noun: str, id: str, *, param: str = "id", status: int = 404) -> Refused:
    """Stripe's `resource_missing`: 404 for the object in the address, 400 for one that a parameter names."""
    return Refused(f"No such {noun}: '{id}'", status=status, code="resource_missing", param=param)


def unrecognized(method: str, path: str) -> Refused:
    return Refused(
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
        status=404,
    )
