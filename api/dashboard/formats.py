"""Formats numbers, times and money for pages."""

import re
from datetime import UTC, datetime
from decimal import Decimal

from flask import Flask

from api.dashboard.agents import device
from api.numbers.currencies import decimals

_MINUS = "\N{MINUS SIGN}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
Moment = datetime | str


def install(app: Flask) -> None:
    for show in (ago, day, device, duration, machine, money, moment, number, rate, sentence):
        app.add_template_filter(show)


def money(amount: int | Decimal | None, currency: str | None) -> str:
    """`amount` in the currency's smallest unit: (123450, "eur") -> "1,234.50 EUR". Zero is 0.00; unknown is a dash."""
    if amount is None:
        return "—"
    digits = decimals(currency)
    value = Decimal(amount).scaleb(-digits) + 0  # turns -0 into 0
    places = max(digits, -int(value.normalize().as_tuple().exponent))  # a price may be a fraction of a cent
    return f"{value:,.{places}f} {(currency or '').upper()}".replace("-", _MINUS).strip()


def number(value: float | None) -> str:
    return "—" if value is None else f"{value:,.0f}"


def rate(value: float) -> str:
    """Per second. One decimal for small values."""
    return f"{value:,.1f}" if value < 99.95 else f"{value:,.0f}"


def moment(value: Moment | None) -> str:
    """Always in UTC, so that everybody sees the same."""
    return f"{_aware(value):%-d %b %Y, %H:%M} UTC" if value else "—"


def day(value: Moment | None) -> str:
    return f"{_aware(value):%-d %b %Y}" if value else "—"


def machine(value: Moment) -> str:
    """For `datetime` attributes, which scripts read."""
    return _aware(value).isoformat()


def ago(value: Moment | None) -> str:
    """times.js keeps it up to date."""
    return f"{_roughly((datetime.now(UTC) - _aware(value)).total_seconds())} ago" if value else "never"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "—"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def sentence(text: str) -> str:
    """Error sentences are written to follow a colon.

    On a page they stand alone, so they get a capital and a full stop.
    """
    text = text.strip()
    is_name = re.match(r"[a-z]+([A-Z]|[._]\w)", text)  # an API name such as secretKey keeps its case
    return (text if is_name else text[:1].upper() + text[1:]) + ("" if text.endswith((".", "!", "?")) else ".")


def _roughly(seconds: float) -> str:
    if seconds < _MINUTE:
        return "a moment"
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count > 1 else ''}"
    raise AssertionError


def _aware(value: Moment) -> datetime:
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
