"""Shows a backfill in the terminal: a bar per type, redrawn in place, or plain lines where that is impossible."""

import os
import shutil
import textwrap
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

PLAIN_LINE_EVERY_S = 2.0
NARROWEST_BAR = 8
WIDEST_BAR = 32
COUNT_WIDTH = 11
BLOCKS = " ▏▎▍▌▋▊▉█"
COLOURS = {"ready": 32, "syncing": 36, "error": 31, "pending": 90}


@dataclass(frozen=True, slots=True)
class Look:
    """What the terminal can show."""

    width: int
    redraws: bool
    coloured: bool
    blocks: bool  # ▏▎▍▌▋▊▉█ instead of #

    @classmethod
    def of(cls, stream: TextIO) -> "Look":
        is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        return cls(
            width=shutil.get_terminal_size((80, 24)).columns,
            redraws=is_terminal,
            coloured=is_terminal and not os.environ.get("NO_COLOR"),
            blocks="utf" in (stream.encoding or "").lower(),
        )

    def paint(self, text: str, status: str) -> str:
        colour = COLOURS.get(status)
        return f"\033[{colour}m{text}\033[0m" if self.coloured and colour else text


class Display:
    """Shows one status after the other. `say` prints a line that stays."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0
        self._said_at = 0.0

    def show(self, status: Mapping[str, Any], *, is_last: bool = False) -> None:
        """Takes an answer of `GET stripe/status`."""
        look = Look.of(self._stream)  # each time, because windows are resized
        if look.redraws:
            self._redraw(render(status, look))
        elif is_last or time.monotonic() - self._said_at >= PLAIN_LINE_EVERY_S:
            self._said_at = time.monotonic()
            self._write([plain_line(status)])

    def say(self, line: str = "") -> None:
        """Prints above the bars, if there are any: they are redrawn below the line."""
        self._redraw([])
        self._write([line])

    def finish(self) -> None:
        """Leaves the bars where they are. Later output comes below."""
        self._drawn = 0

    def _redraw(self, lines: list[str]) -> None:
        if self._drawn:
            self._stream.write(f"\033[{self._drawn}A\033[J")
        self._drawn = len(lines)
        self._write(lines)

    def _write(self, lines: Iterable[str]) -> None:
        self._stream.writelines(f"{line}\n" for line in lines)
        self._stream.flush()


def render(status: Mapping[str, Any], look: Look) -> list[str]:
    """A line with a bar per type, and one for the whole."""
    results: Mapping[str, Any] = status["result"]
    name_width = max(map(len, results), default=0)
    bar_width = look.width - name_width - COUNT_WIDTH - len("  100%  pending") - 4
    lines = []
    for name, result in results.items():
        parts = [f"  {name:<{name_width}} "]
        if bar_width >= NARROWEST_BAR:
            parts.append(look.paint(bar(result["progress"], min(bar_width, WIDEST_BAR), look), result["status"]))
        parts.append(f"{result['synced']:>{COUNT_WIDTH},} {result['progress']:>5.0%}  ")
        parts.append(look.paint(result["status"], result["status"]))
        lines.append("".join(parts))
    return [*lines, f"  {totals(status)}"[: look.width], *notice_lines(status, look.width)]


def notice_lines(status: Mapping[str, Any], width: int) -> list[str]:
    """Why nothing seems to move, such as a dead worker or a refusal by Stripe."""
    notice = (status.get("backfill") or {}).get("notice") or ""
    return textwrap.wrap(notice, width, initial_indent="  ", subsequent_indent="  ")


def bar(progress: float, width: int, look: Look) -> str:
    """`progress` from 0 to 1 as that part of `width` cells, to an eighth of a cell."""
    eighths = round(max(0.0, min(1.0, progress)) * width * 8)
    if not look.blocks:
        return "#" * (eighths // 8) + "." * (width - eighths // 8)
    partial = BLOCKS[eighths % 8] if eighths % 8 else ""
    return ("█" * (eighths // 8) + partial).ljust(width)


def plain_line(status: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name} {result['synced']:,}" for name, result in status["result"].items())
    notice = (status.get("backfill") or {}).get("notice")
    return f"  {counts} - {totals(status)}" + (f" - {notice}" if notice else "")


def totals(status: Mapping[str, Any]) -> str:
    """`4,120 objects, 2,300 objects/s, about 4 s left`."""
    backfill = status.get("backfill") or {}
    parts = [f"{sum(result['synced'] for result in status['result'].values()):,} objects"]
    if rate := backfill.get("objectsPerSecond"):
        parts.append(f"{rate:,.0f} objects/s")
    if left := backfill.get("etaSeconds"):
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
