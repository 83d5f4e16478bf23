"""Tables for the terminal: the first column is left-aligned, numbers are right-aligned."""

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines indented by two. A row may be shorter than the head."""
    width = len(heads)
    cells = [list(heads), *[[*row, *[""] * (width - len(row))] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(width)]
    lines = [line(row, widths) for row in cells]
    return [lines[0], "  " + "  ".join("-" * each for each in widths), *lines[1:]]


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    return "  " + "  ".join(
        [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    )


def seconds(value: float) -> str:
    return f"{value:,.2f} s"


def megabytes(value: float) -> str:
    return f"{value:,.1f} MB"


def of_bytes(value: float) -> str:
    return megabytes(value / 1024**2)
