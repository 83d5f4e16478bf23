"""Bar plots as values for an SVG, each with its table: the server draws them, so they need no script."""

from collections.abc import Sequence
from dataclasses import dataclass

# In SVG units; the browser scales the plot as a whole.
WIDTH, HEIGHT, TOP = 600.0, 200.0, 32.0
_GAP = 10.0
# Keeps the smallest bar visible.
_LOWEST = 3.0


@dataclass(frozen=True, slots=True)
class Value:
    label: str
    amount: int
    shown: str


@dataclass(frozen=True, slots=True)
class Bar:
    """`text_x` and `anchor` keep the value's text inside the plot."""

    label: str
    shown: str
    x: float
    y: float
    width: float
    height: float
    text_x: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Plot:
    id: str
    title: str
    bars: Sequence[Bar]


def plot(id: str, title: str, values: Sequence[Value]) -> Plot:
    most = max((each.amount for each in values), default=0)
    slot = WIDTH / max(len(values), 1)
    return Plot(id, title, [_bar(number, each, most, slot) for number, each in enumerate(values)])


def _bar(number: int, value: Value, most: int, slot: float) -> Bar:
    height = max(_LOWEST, round((HEIGHT - TOP) * value.amount / most, 1)) if value.amount > 0 else 0.0
    x = slot * number
    middle = x + slot / 2
    anchor = "start" if middle < WIDTH / 3 else "end" if middle > 2 * WIDTH / 3 else "middle"
    text_x = {"start": x + _GAP / 2, "middle": middle, "end": x + slot - _GAP / 2}[anchor]
    return Bar(
        value.label,
        value.shown,
        round(x + _GAP / 2, 1),
        round(HEIGHT - height, 1),
        round(slot - _GAP, 1),
        height,
        round(text_x, 1),
        anchor,
    )
