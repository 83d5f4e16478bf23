"""Field types. Their error messages complete a sentence that begins with the field's name."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import marshmallow
from marshmallow import ValidationError, fields, validate

from sync.stripe.sdk import API_VERSION, OLDEST_API_VERSION

# Only a letter would show whether the address exists.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_EMAIL_ON_THE_INTERNET = re.compile(r"[^@\s]+@(?:[^@\s.]+\.)+[^@\s.]+")
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?", re.ASCII)
_COMMON: dict[str, str | list[Any] | dict[Any, Any]] = {
    "required": "is required",
    "null": "must not be null: leave it out instead",
}


class Body(marshmallow.Schema):
    """A JSON object, or a URL's query, that refuses unknown keys."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        keys = sorted(field.data_key or name for name, field in self.load_fields.items())
        allowed = f"allowed are {', '.join(keys)}" if keys else "none are allowed"
        self.error_messages |= {"unknown": f"is not a known key: {allowed}", "type": "must be a JSON object"}


class Text(fields.String):
    """Text of `shortest` to `longest` characters that Postgres can store."""

    default_error_messages = _COMMON | {"invalid": "must be text", "invalid_utf8": "must be text"}

    def __init__(self, *, shortest: int = 1, longest: int, **options: Any) -> None:
        length = validate.Length(shortest, longest, error=f"must be {shortest} to {longest} characters long")
        super().__init__(validate=[length, _storable], **options)


class Email(Text):
    def __init__(self, **options: Any) -> None:
        super().__init__(longest=254, **options)
        self.validators.append(_email)


class NewEmail(Email):
    """The e-mail address of a new account. Existing accounts such as `admin@localhost` keep theirs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.validators.append(_email_on_the_internet)


class StripeKey(Text):
    """Any Stripe key or secret.

    Only Stripe can say whether it works; here it must be printable, to fit into a header.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(longest=255, **options)
        self.validators.append(_printable)


class ApiVersion(Text):
    """A version of Stripe's API whose shapes our tables read, like 2023-10-16 or 2025-03-31.basil."""

    def __init__(self, **options: Any) -> None:
        super().__init__(longest=40, **options)
        self.validators.append(_api_version)


class Flag(fields.Boolean):
    """`true` or `false` in a URL."""

    default_error_messages = _COMMON | {"invalid": "must be true or false"}

    def __init__(self, **options: Any) -> None:
        super().__init__(truthy={"true"}, falsy={"false"}, **options)


class Count(fields.Integer):
    """A whole number in a URL."""

    def __init__(self, *, least: int, most: int, **options: Any) -> None:
        sentence = f"must be a whole number from {least} to {most}"
        messages = _COMMON | {"invalid": sentence, "too_large": sentence}
        in_range = validate.Range(least, most, error=sentence)
        super().__init__(validate=in_range, error_messages=messages, **options)


class _Time(fields.Field[datetime]):
    """An ISO 8601 date or date-time. Without an offset it is UTC."""

    default_error_messages = _COMMON | {
        "invalid": "must be an ISO 8601 date or date-time, like 2025-01-01 or 2025-01-01T00:00:00Z",
        "future": "must not be in the future",
        "past": "must be in the future",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"type": "string", "format": "date-time"}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (TypeError, ValueError, OverflowError) as exc:
            raise self.make_error("invalid") from exc
        self._check(moment)
        return moment

    def _check(self, moment: datetime) -> None:
        raise NotImplementedError


class PastTime(_Time):
    def _check(self, moment: datetime) -> None:
        if moment > datetime.now(UTC):
            raise self.make_error("future")


class FutureTime(_Time):
    def _check(self, moment: datetime) -> None:
        if moment <= datetime.now(UTC):
            raise self.make_error("past")


class Metadata(fields.Field[dict[str, str | None]]):
    """Stripe metadata: texts by name. If `may_unset`, a value may be `null`, which removes the name."""

    _SENTENCE = "must be an object of at most 50 texts of up to 500 characters, with names of 1 to 40"

    def __init__(self, *, may_unset: bool = False, **options: Any) -> None:
        self._may_unset = may_unset
        shape = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 500, "nullable": may_unset}}
        super().__init__(metadata=shape, error_messages=_COMMON | {"invalid": self._SENTENCE}, **options)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> dict[str, str | None]:
        if not isinstance(value, dict) or len(value) > 50 or not all(map(self._is_entry, value.items())):
            raise self.make_error("invalid")
        return value

    def _is_entry(self, entry: tuple[Any, Any]) -> bool:
        name, text = entry
        if not 1 <= len(name) <= 40 or any(each in name for each in "[]"):
            return False
        for part in (name, text or ""):
            if isinstance(part, str):
                _storable(part)
        return (text is None and self._may_unset) or (isinstance(text, str) and len(text) <= 500)


class Choice(Text):
    """One of the `allowed` words."""

    def __init__(self, allowed: tuple[str, ...], **options: Any) -> None:
        super().__init__(longest=100, **options)
        self.validators = [validate.OneOf(allowed, error=f"must be one of {', '.join(allowed)}")]


class Choices(fields.Field[list[str]]):
    """A list of at least one of the `allowed` names, each at most once."""

    def __init__(self, allowed: tuple[str, ...], **options: Any) -> None:
        self._allowed = allowed
        sentence = f"must be a list of one or more of {', '.join(allowed)}, each at most once"
        shape = {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "string", "enum": [*allowed]}}
        super().__init__(metadata=shape, error_messages=_COMMON | {"invalid": sentence}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> list[str]:
        if not isinstance(value, list) or not value:
            raise self.make_error("invalid")
        if any(not isinstance(name, str) or name not in self._allowed for name in value):
            raise self.make_error("invalid")
        if len(set(value)) < len(value):
            raise self.make_error("invalid")
        return value


def _email(text: str) -> None:
    if not _EMAIL.fullmatch(text):
        raise ValidationError("must be an e-mail address")


def _email_on_the_internet(text: str) -> None:
    if not _EMAIL_ON_THE_INTERNET.fullmatch(text):
        raise ValidationError("must be a whole e-mail address, like ada@example.com")


def _api_version(text: str) -> None:
    if not (_API_VERSION.fullmatch(text) and OLDEST_API_VERSION <= text[:10] <= API_VERSION[:10]):
        raise ValidationError(f"must be a version of Stripe's API from {OLDEST_API_VERSION} to {API_VERSION}")


def _printable(text: str) -> None:
    if not all("!" <= character <= "~" for character in text):
        raise ValidationError("must be a key as Stripe shows it, without spaces")


def _storable(text: str) -> None:
    """Postgres text cannot hold NUL and UTF-8 has no lone surrogates, but JSON can spell both."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError("must not contain NUL or broken characters")
