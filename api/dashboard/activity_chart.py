"""The activity chart: bars of the last 24 hours or 30 days, as values for an SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api.http.context import current_context
from sync.teams.activity import Activity, Span, activity_since

# In SVG units. The browser stretches the chart to the available width.
SLOT, GAP, HEIGHT = 10.0, 2.0, 100.0
# Keeps the smallest bar visible.
LOWEST = 2.0
_SPANS: dict[Span, tuple[int, timedelta]] = {"hour": (24, timedelta(hours=1)), "day": (30, timedelta(days=1))}


@dataclass(frozen=True, slots=True)
class Bar:
    at: datetime
    count: int
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    most: int
    total: int
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Chart:
    span: Span
    width: float
    series: Sequence[Series]


def read_chart(team_id: str, wanted: str | None) -> Chart:
    span: Span = "day" if wanted == "day" else "hour"
    starts = _starts(span, datetime.now(UTC))
    with current_context().pool.connection() as connection:
        found = {each.at: each for each in activity_since(connection, team_id, span, starts[0])}
    spans = [found.get(at, Activity(at, 0, 0)) for at in starts]
    return Chart(
        span,
        SLOT * len(spans),
        [
            _series("Objects mirrored by syncs", spans, lambda each: each.objects),
            _series("Events applied", spans, lambda each: each.events),
        ],
    )


def _starts(span: Span, now: datetime) -> list[datetime]:
    """The start of each hour or day. The current one is last."""
    number, length = _SPANS[span]
    last = now.replace(hour=now.hour if span == "hour" else 0, minute=0, second=0, microsecond=0)
    return [last - length * back for back in reversed(range(number))]


def _series(name: str, spans: Sequence[Activity], count_of: Callable[[Activity], int]) -> Series:
    most = max(map(count_of, spans))
    bars = [_bar(number, each.at, count_of(each), most) for number, each in enumerate(spans)]
    return Series(name, most, sum(map(count_of, spans)), bars)


def _bar(number: int, at: datetime, count: int, most: int) -> Bar:
    height = max(LOWEST, round(HEIGHT * count / most, 1)) if count else 0.0
    return Bar(at, count, SLOT * number + GAP / 2, HEIGHT - height, height)
